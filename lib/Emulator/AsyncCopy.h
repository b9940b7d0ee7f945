//===- AsyncCopy.h - cp.async -----------------------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_ASYNCCOPY_H
#define SPARSE_ATTN_LIB_EMULATOR_ASYNCCOPY_H

#include "Program.h"

namespace sparse_attn::emulator {

/// Operands: destination, source, and optionally how many bytes the source has; the rest
/// is zero. The immediate is the size.
void executeCopyAsync(Warp &warp, const WarpInstruction &instruction);
void executeCopyCommit(Warp &warp, const WarpInstruction &instruction);
/// The immediate is how many of the latest groups need not be complete.
void executeCopyWait(Warp &warp, const WarpInstruction &instruction);
/// Waits for groups that are not committed, too.
void executeCopyWaitAll(Warp &warp, const WarpInstruction &instruction);
/// Operand 0: an mbarrier that the lanes arrive at when their copies are complete.
/// Immediate 1 for noinc.
void executeCopyArrive(Warp &warp, const WarpInstruction &instruction);

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_ASYNCCOPY_H
