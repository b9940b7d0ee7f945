//===- ControlFlow.cpp - branches and moves -------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ControlFlow.h"
#include "BulkCopy.h"
#include "ThreadBlock.h"

using namespace llvm;
using namespace sparse_attn::emulator;

void sparse_attn::emulator::executeBranch(Warp &warp,
                                          const WarpInstruction &instruction) {
  const auto *terminator = static_cast<const Terminator *>(instruction.data);
  warp.takeEdge(terminator->edges[0], warp.mask);
}

/// Sends lanes along the edges. `chosen[i]` are the lanes of edge i.
static void part(Warp &warp, const Terminator &terminator, ArrayRef<uint32_t> chosen) {
  uint32_t all = warp.mask;
  for (unsigned i = 0; i < chosen.size(); ++i)
    if (chosen[i] == all)
      return warp.takeEdge(terminator.edges[i], all);
  // takeEdge resumes the fragment that comes first, so all but the last edge are left
  // behind as fragments before.
  uint32_t block = warp.currentBlock;
  auto others = std::move(warp.fragments);
  warp.fragments.clear();
  SmallVector<Warp::Fragment, 4> parted;
  for (unsigned i = 0; i < chosen.size(); ++i) {
    if (!chosen[i])
      continue;
    warp.currentBlock = block;
    warp.takeEdge(terminator.edges[i], chosen[i]);
    parted.push_back({terminator.edges[i].target, chosen[i]});
  }
  warp.fragments = std::move(others);
  warp.fragments.append(parted);
  warp.resumeFirstFragment();
}

void sparse_attn::emulator::executeCondBranch(Warp &warp,
                                              const WarpInstruction &instruction) {
  const auto *terminator = static_cast<const Terminator *>(instruction.data);
  const auto *condition = warp.lanes<uint32_t>(instruction.operand(0));
  uint32_t taken = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    taken |= (condition[lane] & 1) << lane;
  taken &= warp.mask;
  part(warp, *terminator, {taken, warp.mask & ~taken});
}

void sparse_attn::emulator::executeSwitch(Warp &warp,
                                          const WarpInstruction &instruction) {
  const auto *terminator = static_cast<const Terminator *>(instruction.data);
  SmallVector<uint32_t, 8> chosen(terminator->edges.size(), 0);
  warp.forLanes([&](unsigned lane) {
    uint64_t value = terminator->wideCondition
                         ? warp.lanes<uint64_t>(instruction.operand(0))[lane]
                         : warp.lanes<uint32_t>(instruction.operand(0))[lane];
    const auto *found = llvm::find(terminator->cases, value);
    bool isDefault = found == terminator->cases.end();
    chosen[isDefault ? 0 : found - terminator->cases.begin() + 1] |= 1u << lane;
  });
  part(warp, *terminator, chosen);
}

void sparse_attn::emulator::executeExit(Warp &warp, const WarpInstruction &instruction) {
  // cp.async may be abandoned; what reads shared memory may not.
  if (!warp.wgmmas.empty())
    return warp.fault(instruction, FaultKind::AsyncInFlight,
                      "the warp ends while a wgmma that it has not waited for is in "
                      "flight");
  if (warp.mask == warp.alive)
    finishStores(warp, instruction);
  warp.exitLanes();
}

void sparse_attn::emulator::executeUnreachable(Warp &warp,
                                               const WarpInstruction &instruction) {
  warp.fault(instruction, FaultKind::Undefined, "reaches `unreachable`",
             warp.firstLane());
}

template <typename T, bool insert>
static void pickElement(Warp &warp, const WarpInstruction &instruction) {
  constexpr unsigned first = insert ? 2 : 1;
  unsigned count = instruction.numOperands - first;
  bool wideIndex = instruction.immediate;
  warp.forLanes([&](unsigned lane) {
    uint64_t index = wideIndex ? warp.lanes<uint64_t>(instruction.operand(0))[lane]
                               : warp.lanes<uint32_t>(instruction.operand(0))[lane];
    if (index >= count)
      return warp.fault(instruction, FaultKind::Undefined,
                        "index " + Twine(index) + " of a vector of " + Twine(count),
                        lane);
    if constexpr (insert) {
      for (unsigned i = 0; i < count; ++i)
        warp.lanes<T>(instruction.result(i))[lane] =
            warp.lanes<T>(instruction.operand(i == index ? 1 : first + i))[lane];
    } else {
      warp.lanes<T>(instruction.result())[lane] =
          warp.lanes<T>(instruction.operand(first + index))[lane];
    }
  });
}

void sparse_attn::emulator::executeExtract(Warp &warp,
                                           const WarpInstruction &instruction) {
  pickElement<uint32_t, false>(warp, instruction);
}
void sparse_attn::emulator::executeExtractWide(Warp &warp,
                                               const WarpInstruction &instruction) {
  pickElement<uint64_t, false>(warp, instruction);
}
void sparse_attn::emulator::executeInsert(Warp &warp,
                                          const WarpInstruction &instruction) {
  pickElement<uint32_t, true>(warp, instruction);
}
void sparse_attn::emulator::executeInsertWide(Warp &warp,
                                              const WarpInstruction &instruction) {
  pickElement<uint64_t, true>(warp, instruction);
}

void sparse_attn::emulator::executeMove(Warp &warp, const WarpInstruction &instruction) {
  auto *to = warp.lanes<uint32_t>(instruction.result());
  const auto *from = warp.lanes<uint32_t>(instruction.operand(0));
  warp.forLanes([&](unsigned lane) { to[lane] = from[lane]; });
}

void sparse_attn::emulator::executeMoveWide(Warp &warp,
                                            const WarpInstruction &instruction) {
  auto *to = warp.lanes<uint64_t>(instruction.result());
  const auto *from = warp.lanes<uint64_t>(instruction.operand(0));
  warp.forLanes([&](unsigned lane) { to[lane] = from[lane]; });
}

void sparse_attn::emulator::executePredicateOn(Warp &warp,
                                               const WarpInstruction &instruction) {
  const auto *predicate = warp.lanes<uint32_t>(instruction.operand(0));
  uint32_t on = 0;
  warp.forLanes([&](unsigned lane) {
    on |= ((predicate[lane] ^ instruction.immediate) & 1) << lane;
  });
  warp.outerMask = warp.mask;
  if (on)
    warp.mask = on;
  else
    warp.pc += instruction.immediate >> 1;
}

void sparse_attn::emulator::executePredicateOff(Warp &warp, const WarpInstruction &) {
  warp.mask = warp.outerMask;
}
