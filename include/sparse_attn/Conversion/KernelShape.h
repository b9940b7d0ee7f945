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

/// How the operands of both matrix products lie in memory: in words of 32 bits, of one
/// f32 or, where the level multiplies those, of a pair of bf16 that are neighbours on
/// the contracted axis. One instruction multiplies the elements of the words of two
/// vectors and adds what belongs to a word to an f32.
///
///   A, rows     Q [rows][D], weights [rows][keys]
///   B, panels   K [keys / panel][D / size][panel][size]
///               V [Dv / panel][keys / size][panel][size], the last panel narrower
struct Words {
  mlir::Type element; ///< f32 or bf16
  mlir::Type type;    ///< f32 or i32
  int64_t size;       ///< elements of a word

  /// Words of `elements` neighbours, the last one filled up with zeros.
  int64_t count(int64_t elements) const { return (elements + size - 1) / size; }
};

/// Shapes and places of everything that one attention kernel works with.
struct KernelShape {
  KernelShape(block_plan::AttentionOp plan, const CPULevel &level);

  const CPULevel &level;
  mlir::Type element; ///< of Q, K and V
  Words words;        ///< of packed K and V, of Q and the weights in the scratch
  int64_t lanes, panel;
  int64_t rows;                     ///< of a query tile
  int64_t stackRows;                ///< that a call takes: tiles of several heads
  int64_t paddedRows;               ///< stackRows up to whole register tiles and vectors
  int64_t keys;                     ///< of a key tile
  int64_t headDim, paddedHeadDim;   ///< up to whole words
  int64_t valueDim, paddedValueDim; ///< up to whole vectors

  /// Up to this many rows, keys and values that one call reads are not packed.
  int64_t rowsInPlace;

  /// Byte offsets in the scratch of one worker. `tile` is room for one packed tile,
  /// `products` for Q K of a vector of keys, before lanes are summed.
  int64_t queries, scores, weights, maxima, rowMaxima, decays, sums, outputs, products,
      tile, scratchBytes;
  /// Byte offsets in a packed key tile: the panels of K and of V, then one i32: V
  /// holds an inf or NaN.
  int64_t packedKeys, packedValues, packedFlag, packedBytes;
  /// Byte offsets in the state of one row: l for each lane, O, then m.
  int64_t stateSums, stateOutputs, stateMaximum, stateBytes;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_CONVERSION_KERNELSHAPE_H
