//===- GPUShape.h - shapes and memory of a GPU kernel ----------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_CONVERSION_GPUSHAPE_H
#define SPARSE_ATTN_CONVERSION_GPUSHAPE_H

#include "dialect/BlockPlan/BlockPlan.h"
#include "sparse_attn/Target/GPUTarget.h"

namespace sparse_attn {

/// What a thread block works at, and where it keeps that in shared memory:
///
///   Q [rows][pitch]   K [keys][pitch]   V [keys][valuePitch]
///
/// Each warp has `rowTiles` times 16 rows, whose sums stay in its registers. Rows in
/// shared memory lie an odd number of 16 bytes apart, so that the 8 rows of a matrix that
/// a warp reads at once are in different banks.
struct GPUShape {
  GPUShape(block_plan::AttentionOp plan, const GPUTarget &target);

  mlir::Type element; ///< of Q, K and V
  int64_t elementBytes;
  int64_t step; ///< elements that one matrix instruction contracts
  int64_t warps = 4, threads;
  int64_t rowTiles; ///< of 16 rows, of each warp
  int64_t rows;     ///< of a query tile
  int64_t keys;     ///< of a key tile
  int64_t headDim, paddedHeadDim;
  int64_t valueDim, paddedValueDim;

  /// In bytes.
  int64_t pitch, valuePitch;
  int64_t queriesAt, keysAt, valuesAt, sharedBytes;
};

/// Why `plan` has no GPU kernel; empty where it has one.
std::string getGPUObstacle(block_plan::AttentionOp plan, const GPUTarget &target);

/// Whether a kernel finds the tiles of `plan` by itself: else a plan lists them.
bool findsTilesOnGPU(block_plan::AttentionOp plan);

} // namespace sparse_attn

#endif // SPARSE_ATTN_CONVERSION_GPUSHAPE_H
