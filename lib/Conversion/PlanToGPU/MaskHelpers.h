//===- MaskHelpers.h - masks that read operands, on a GPU ------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The answers that the runtime gives about a rectangle (sa_classify_X in abi.h), by a
// thread that reads operands and tables in the device's memory. They follow the law of
// sa_classify_fn, too: a single pair is always decided.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_CONVERSION_MASKHELPERS_H
#define SPARSE_ATTN_LIB_CONVERSION_MASKHELPERS_H

#include "GPUBuilder.h"

namespace sparse_attn {

/// Builds one question of a mask, where it is asked. Functions take the arguments of the
/// runtime's function and return a tile class as i32.
class HelperBuilder {
public:
  HelperBuilder(GPUBuilder &b, block_plan::HelperOp helper) : b(b), helper(helper) {}

  mlir::Value classifySegments(mlir::ValueRange arguments);
  mlir::Value classifyGlobal(mlir::ValueRange arguments);
  mlir::Value classifyBlockMask(mlir::ValueRange arguments);
  mlir::Value classifyReach(mlir::ValueRange arguments);        ///< ReachHelper.cpp
  mlir::Value classifyRandomBlocks(mlir::ValueRange arguments); ///< DrawnBlocks.cpp

private:
  enum Kind { Empty = 0, Full = 1, Partial = 2 }; // sparse_attn_tile_class

  struct Rectangle {
    mlir::Value p0, p1, j0, j1;

    explicit Rectangle(mlir::ValueRange last)
        : p0(last[0]), p1(last[1]), j0(last[2]), j1(last[3]) {}
  };

  /// An ascending row of i32 in the device's memory.
  struct SortedRow {
    mlir::Value data, count;
  };

  /// Whether some pair is kept, and whether all are.
  struct Kept {
    mlir::Value any, all;
  };

  mlir::Value kind(Kind kind) { return b.i32(kind); }
  mlir::Value toKind(mlir::Value any, mlir::Value all) {
    return b.select(any, b.select(all, kind(Full), kind(Partial)), kind(Empty));
  }
  /// Further pairs change nothing.
  mlir::Value isDecided(mlir::Value any, mlir::Value all) {
    return b.land(any, b.lnot(all));
  }
  mlir::Value sizeOf(mlir::Value view, int64_t axis);
  mlir::Value rowOf(mlir::Value view, mlir::Value i1, mlir::Value i2);
  mlir::Value at(mlir::Value row, mlir::Value index);
  mlir::Value count(const SortedRow &row, mlir::Value x, bool orEqual);
  mlir::Value classifyMembers(const SortedRow &set, mlir::Value first, mlir::Value last);
  mlir::Value classifyBits(mlir::Value bits, mlir::Value b0, mlir::Value block,
                           mlir::Value r0, mlir::Value r1, mlir::Value c0,
                           mlir::Value c1);
  Kept askOutside(const Rectangle &r, mlir::Value p0, mlir::Value p1);
  Kept askSlot(mlir::Value table, mlir::Value slot, const Rectangle &r);

  GPUBuilder &b;
  block_plan::HelperOp helper;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_CONVERSION_MASKHELPERS_H
