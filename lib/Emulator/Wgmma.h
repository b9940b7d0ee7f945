//===- Wgmma.h - products of a warpgroup ------------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_WGMMA_H
#define SPARSE_ATTN_LIB_EMULATOR_WGMMA_H

#include "Matrix.h"

namespace sparse_attn::emulator {

/// One wgmma.mma_async.
struct WgmmaShape {
  unsigned n = 8;
  unsigned k = 16;
  MatrixElement element = MatrixElement::BF16;
  /// Accumulators are pairs of f16 in 32 bits.
  bool halfAccumulator = false;
  /// A is in four registers, else behind a descriptor.
  bool registerA = false;
  bool negateA = false, negateB = false;
  /// A is M major, B is N major.
  bool transposeA = false, transposeB = false;
  /// The predicate scale-d is negated.
  bool negateScale = false;

  unsigned numAccumulators() const { return n / (halfAccumulator ? 4 : 2); }
};

/// Operands: the accumulators, A (a descriptor or four registers), the descriptor of B,
/// and scale-d. Results: the accumulators. Data: a WgmmaShape.
void executeWgmma(Warp &warp, const WarpInstruction &instruction);
void executeWgmmaFence(Warp &warp, const WarpInstruction &instruction);
void executeWgmmaCommit(Warp &warp, const WarpInstruction &instruction);
/// Immediate: how many of the latest groups may be in flight.
void executeWgmmaWait(Warp &warp, const WarpInstruction &instruction);

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_WGMMA_H
