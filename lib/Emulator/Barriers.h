//===- Barriers.h - bar.sync and its kin ------------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_BARRIERS_H
#define SPARSE_ATTN_LIB_EMULATOR_BARRIERS_H

#include "Program.h"

namespace sparse_attn::emulator {

class ThreadBlock;

/// What a barrier instruction does, in its immediate.
enum BarrierMode : uint64_t {
  /// Operand 1 is the number of threads; without, all of the block.
  kBarrierCount = 1,
  /// Goes on at once.
  kBarrierArrive = 2,
  /// The last operand is a predicate; the result its number of true lanes, all, or any.
  kBarrierPopc = 4,
  kBarrierAnd = 8,
  kBarrierOr = 16,
};
void executeBarrier(Warp &warp, const WarpInstruction &instruction);

/// After a warp has ended: barriers of all threads may be complete.
void completeBarriersOfAll(ThreadBlock &block);

void executeWarpSync(Warp &warp, const WarpInstruction &instruction);
void executeProxyFence(Warp &warp, const WarpInstruction &instruction);
void executeNothing(Warp &warp, const WarpInstruction &instruction);
void executeSetMaxRegisters(Warp &warp, const WarpInstruction &instruction);
void executeClusterArrive(Warp &warp, const WarpInstruction &instruction);
void executeClusterWait(Warp &warp, const WarpInstruction &instruction);

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_BARRIERS_H
