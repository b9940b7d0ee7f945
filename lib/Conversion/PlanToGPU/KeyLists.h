//===- KeyLists.h - keys that operands list, as tiles ----------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_CONVERSION_KEYLISTS_H
#define SPARSE_ATTN_LIB_CONVERSION_KEYLISTS_H

#include "AttendGPU.h"

namespace sparse_attn {

/// The keys that an operand lists for the rows of a block, in shared memory: see
/// KeyLists.cpp. Those past the last one are negative.
class KeyLists {
public:
  KeyLists(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame);

  Values begin();
  std::pair<GPUTile, Values> next(mlir::ValueRange state);

  /// The key at a place, and log2 of one over its probability.
  mlir::Value keyAt(mlir::Value place);
  mlir::Value biasAt(mlir::Value place);
  /// What rows at positions [p0, p1] of a head do with a listed key.
  TileClass classOf(mlir::Value head, mlir::Value p0, mlir::Value p1, mlir::Value key);
  /// Pointer to the bits of a row of bit tile `number`, which next() has decided.
  mlir::Value bitsOf(mlir::Value number, const GPURow &row);

private:
  struct Element;
  struct Table;
  struct Question;
  TileClass combine(mlir::Value mask, Question &question);
  TileClass combineOperands(const KeySet &set, Question &question);
  TileClass combineHeads(const KeySet &set, mlir::Value head,
                         llvm::ArrayRef<TileClass> operands);
  mlir::Value shared(int64_t at, mlir::Value number);
  Element load(mlir::Value number);
  void forEach(mlir::Value first, mlir::Value end,
               llvm::function_ref<void(mlir::Value number, const Element &)> body);
  void markKept(Table &table, mlir::Value first, mlir::Value end);
  mlir::Value writeList(mlir::Value first, mlir::Value at);
  mlir::Value makeList(mlir::Value first, mlir::Value end, mlir::Value at);
  void decidePairs(mlir::Value place, mlir::Value number);

  GPUBuilder &b;
  const GPUContext &context;
  const GPUFrame &frame;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_CONVERSION_KEYLISTS_H
