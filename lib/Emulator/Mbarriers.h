//===- Mbarriers.h - mbarriers ----------------------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_MBARRIERS_H
#define SPARSE_ATTN_LIB_EMULATOR_MBARRIERS_H

#include "ThreadBlock.h"

namespace sparse_attn::emulator {

// Operand 0 is always the address.

/// Operand 1: the count.
void executeMbarrierInit(Warp &warp, const WarpInstruction &instruction);
void executeMbarrierInvalidate(Warp &warp, const WarpInstruction &instruction);
/// Operand 1: bytes.
void executeMbarrierExpect(Warp &warp, const WarpInstruction &instruction);
void executeMbarrierComplete(Warp &warp, const WarpInstruction &instruction);

/// What an arrival does, in its immediate.
enum ArriveMode : uint64_t {
  /// Operand 1 is a count.
  kArriveCount = 1,
  /// Operand 1 is the number of bytes to expect.
  kArriveExpect = 2,
  /// The thread takes no part in later phases.
  kArriveDrop = 4,
  /// The phase must not end.
  kArriveNoComplete = 8,
  /// Orders nothing.
  kArriveRelaxed = 16,
};
void executeMbarrierArrive(Warp &warp, const WarpInstruction &instruction);

enum WaitMode : uint64_t {
  /// Operand 1 is a parity, not a state.
  kWaitParity = 1,
  /// May wait: the emulator lets it wait until the phase is complete, or, at random,
  /// answer no.
  kWaitBlocking = 2,
  kWaitRelaxed = 4,
};
void executeMbarrierWait(Warp &warp, const WarpInstruction &instruction);

/// `bytes` of an asynchronous copy have arrived.
void completeTransaction(ThreadBlock &block, Mbarrier &mbarrier, int64_t bytes);
/// Counts arrivals without a thread; false where there are too many.
bool arriveAt(ThreadBlock &block, Mbarrier &mbarrier, uint32_t count);

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_MBARRIERS_H
