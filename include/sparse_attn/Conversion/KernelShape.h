//===- KernelShape.h - shapes and memory of a kernel -----------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_CONVERSION_KERNELSHAPE_H
#define SPARSE_ATTN_CONVERSION_KERNELSHAPE_H

#include "dialect/BlockPlan/BlockPlan.h"
#include "sparse_attn/Target/CPULevel.h"

namespace sparse_attn {

/// Shapes and places of everything that one attention kernel works with.
struct KernelShape {
  KernelShape(block_plan::AttentionOp plan, const CPULevel &level);

  const CPULevel &level;
  mlir::Type element; ///< of Q, K and V
  int64_t lanes, panel;
  int64_t rows;       ///< of a query tile
  int64_t stackRows;  ///< that a call takes: tiles of several heads
  int64_t paddedRows; ///< stackRows up to whole register tiles and vectors
  int64_t keys;       ///< of a key tile
  int64_t headDim;
  int64_t valueDim, paddedValueDim; ///< up to whole vectors

  /// Up to this many rows, keys and values that one call reads are not packed.
  int64_t rowsInPlace;

  /// Byte offsets in the scratch of one worker. `tile` is room for one packed tile,
  /// `products` for Q K of a vector of keys, before lanes are summed.
  int64_t queries, scores, maxima, rowMaxima, decays, sums, outputs, products, tile,
      scratchBytes;
  /// Byte offsets in a packed key tile: K panels [keys / panel][headDim][panel],
  /// V [keys][paddedValueDim], then one i32: V holds an inf or NaN.
  int64_t packedKeys, packedValues, packedFlag, packedBytes;
  /// Byte offsets in the state of one row: l for each lane, O, then m.
  int64_t stateSums, stateOutputs, stateMaximum, stateBytes;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_CONVERSION_KERNELSHAPE_H
