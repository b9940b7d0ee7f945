//===- ControlFlow.h - branches and moves -----------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_CONTROLFLOW_H
#define SPARSE_ATTN_LIB_EMULATOR_CONTROLFLOW_H

#include "Program.h"

namespace sparse_attn::emulator {

void executeBranch(Warp &warp, const WarpInstruction &instruction);
void executeCondBranch(Warp &warp, const WarpInstruction &instruction);
void executeSwitch(Warp &warp, const WarpInstruction &instruction);
void executeExit(Warp &warp, const WarpInstruction &instruction);
void executeUnreachable(Warp &warp, const WarpInstruction &instruction);

// Vector elements at a position that is known at run time. Operands: the position, for
// insertions the new element, then all elements.
void executeExtract(Warp &warp, const WarpInstruction &instruction);
void executeExtractWide(Warp &warp, const WarpInstruction &instruction);
void executeInsert(Warp &warp, const WarpInstruction &instruction);
void executeInsertWide(Warp &warp, const WarpInstruction &instruction);

/// Copies a scalar of up to 32 bits.
void executeMove(Warp &warp, const WarpInstruction &instruction);
void executeMoveWide(Warp &warp, const WarpInstruction &instruction);

// Statements of inline assembly behind a predicate, operand 0; immediate 1 negates it.
// Where no lane is left, `immediate >> 1` instructions are skipped.
void executePredicateOn(Warp &warp, const WarpInstruction &instruction);
void executePredicateOff(Warp &warp, const WarpInstruction &instruction);

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_CONTROLFLOW_H
