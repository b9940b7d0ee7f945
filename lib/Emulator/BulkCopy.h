//===- BulkCopy.h - cp.async.bulk: TMA --------------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_BULKCOPY_H
#define SPARSE_ATTN_LIB_EMULATOR_BULKCOPY_H

#include "Program.h"

namespace sparse_attn::emulator {

/// Tile from global to shared memory. Operands: destination, mbarrier, tensor map,
/// coordinates. Immediate: the rank.
void executeTensorLoad(Warp &warp, const WarpInstruction &instruction);
/// Tile from shared to global memory. Operands: source, tensor map, coordinates.
void executeTensorStore(Warp &warp, const WarpInstruction &instruction);
/// Operands: destination, mbarrier, source, bytes.
void executeBulkLoad(Warp &warp, const WarpInstruction &instruction);
/// Operands: destination, source, bytes.
void executeBulkStore(Warp &warp, const WarpInstruction &instruction);
void executeBulkCommit(Warp &warp, const WarpInstruction &instruction);
/// Immediate: how many groups may be incomplete, times 2, plus 1 where only the reads
/// have to be.
void executeBulkWait(Warp &warp, const WarpInstruction &instruction);

/// At the end of a warp: the writes of its copies to global memory happen.
void finishStores(Warp &warp, const WarpInstruction &instruction);

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_BULKCOPY_H
