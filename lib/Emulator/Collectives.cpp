//===- Collectives.cpp - shuffles, votes, matches, reductions of a warp ---===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Intrinsics.h"
#include "ThreadBlock.h"
#include "llvm/IR/InstrTypes.h"

using namespace llvm;
using namespace sparse_attn::emulator;

/// The lanes that the first operand names, which have to be here; 0 after a fault.
static uint32_t members(Warp &warp, const WarpInstruction &instruction, Slot slot) {
  const auto *masks = warp.lanes<uint32_t>(slot);
  uint32_t all = 0;
  bool ok = true;
  warp.forLanes([&](unsigned lane) {
    all |= masks[lane];
    if (!ok)
      return;
    if (!(masks[lane] >> lane & 1)) {
      ok = false;
      warp.fault(instruction, FaultKind::MissingLanes,
                 "the lane executes an instruction whose mask does not name it", lane);
    }
  });
  if (uint32_t missing = all & ~warp.mask; missing && ok) {
    ok = false;
    warp.fault(instruction, FaultKind::MissingLanes,
               "lane " + Twine(std::countr_zero(missing)) +
                   " is named by the mask, but " +
                   (missing & warp.alive ? "is elsewhere" : "has exited"),
               std::countr_zero(missing));
  }
  return ok ? all : 0;
}

//===----------------------------------------------------------------------===//
// shfl.sync
//===----------------------------------------------------------------------===//

namespace {
enum Shuffle { Up, Down, Butterfly, Index };
}

/// Operands: mask, value, lane or distance, clamp and segment mask. The pseudo-code of
/// the PTX manual.
static void executeShuffle(Warp &warp, const WarpInstruction &instruction) {
  uint32_t named = members(warp, instruction, instruction.operand(0));
  if (!named)
    return;
  uint32_t source[32], distances[32], clamps[32];
  std::copy_n(warp.lanes<uint32_t>(instruction.operand(1)), 32, source);
  std::copy_n(warp.lanes<uint32_t>(instruction.operand(2)), 32, distances);
  std::copy_n(warp.lanes<uint32_t>(instruction.operand(3)), 32, clamps);
  auto *result = warp.lanes<uint32_t>(instruction.result());
  uint32_t *valid =
      instruction.numResults > 1 ? warp.lanes<uint32_t>(instruction.result(1)) : nullptr;
  warp.forLanes([&](unsigned lane) {
    int distance = distances[lane] & 0x1f;
    int clamp = clamps[lane] & 0x1f;
    int segment = clamps[lane] >> 8 & 0x1f;
    int most = (int(lane) & segment) | (clamp & ~segment);
    int least = int(lane) & segment;
    int from = 0;
    bool inside = false;
    switch (static_cast<Shuffle>(instruction.immediate)) {
    case Up:
      from = int(lane) - distance;
      inside = from >= most;
      break;
    case Down:
      from = int(lane) + distance;
      inside = from <= most;
      break;
    case Butterfly:
      from = int(lane) ^ distance;
      inside = from <= most;
      break;
    case Index:
      from = least | (distance & ~segment);
      inside = from <= most;
      break;
    }
    if (!inside)
      from = int(lane);
    if (!(warp.mask >> from & 1))
      return warp.fault(instruction, FaultKind::MissingLanes,
                        "reads from lane " + Twine(from) + ", which does not take part",
                        lane);
    result[lane] = source[from];
    if (valid)
      valid[lane] = inside;
  });
}

//===----------------------------------------------------------------------===//
// Votes, matches, reductions
//===----------------------------------------------------------------------===//

namespace {
enum Vote { Ballot, All, Any, Uniform };
}

static void executeVote(Warp &warp, const WarpInstruction &instruction) {
  uint32_t named = members(warp, instruction, instruction.operand(0));
  if (!named)
    return;
  const auto *predicate = warp.lanes<uint32_t>(instruction.operand(1));
  uint32_t ballot = 0;
  warp.forLanes([&](unsigned lane) { ballot |= (predicate[lane] & 1) << lane; });
  ballot &= named;
  auto *result = warp.lanes<uint32_t>(instruction.result());
  uint32_t value = ballot;
  switch (static_cast<Vote>(instruction.immediate)) {
  case Ballot:
    break;
  case All:
    value = ballot == named;
    break;
  case Any:
    value = ballot != 0;
    break;
  case Uniform:
    value = ballot == named || ballot == 0;
    break;
  }
  warp.forLanes([&](unsigned lane) { result[lane] = value; });
}

template <typename T>
static void executeMatchAny(Warp &warp, const WarpInstruction &instruction) {
  uint32_t named = members(warp, instruction, instruction.operand(0));
  if (!named)
    return;
  const T *values = warp.lanes<T>(instruction.operand(1));
  auto *result = warp.lanes<uint32_t>(instruction.result());
  warp.forLanes([&](unsigned lane) {
    uint32_t equal = 0;
    for (uint32_t rest = named; rest; rest &= rest - 1)
      if (values[std::countr_zero(rest)] == values[lane])
        equal |= rest & -rest;
    result[lane] = equal;
  });
}

template <typename T>
static void executeMatchAll(Warp &warp, const WarpInstruction &instruction) {
  uint32_t named = members(warp, instruction, instruction.operand(0));
  if (!named)
    return;
  const T *values = warp.lanes<T>(instruction.operand(1));
  bool equal = true;
  for (uint32_t rest = named; rest; rest &= rest - 1)
    equal &= values[std::countr_zero(rest)] == values[std::countr_zero(named)];
  auto *result = warp.lanes<uint32_t>(instruction.result());
  auto *predicate = warp.lanes<uint32_t>(instruction.result(1));
  warp.forLanes([&](unsigned lane) {
    result[lane] = equal ? named : 0;
    predicate[lane] = equal;
  });
}

namespace {
enum Reduction {
  ReduceAdd,
  ReduceMin,
  ReduceMax,
  ReduceUMin,
  ReduceUMax,
  ReduceAnd,
  ReduceOr,
  ReduceXor
};
}

/// Operands: value, mask.
static void executeReduction(Warp &warp, const WarpInstruction &instruction) {
  uint32_t named = members(warp, instruction, instruction.operand(1));
  if (!named)
    return;
  const auto *values = warp.lanes<uint32_t>(instruction.operand(0));
  uint32_t sum = values[std::countr_zero(named)];
  for (uint32_t rest = named & (named - 1); rest; rest &= rest - 1) {
    uint32_t value = values[std::countr_zero(rest)];
    switch (static_cast<Reduction>(instruction.immediate)) {
    case ReduceAdd:
      sum += value;
      break;
    case ReduceMin:
      sum = std::min(int32_t(sum), int32_t(value));
      break;
    case ReduceMax:
      sum = std::max(int32_t(sum), int32_t(value));
      break;
    case ReduceUMin:
      sum = std::min(sum, value);
      break;
    case ReduceUMax:
      sum = std::max(sum, value);
      break;
    case ReduceAnd:
      sum &= value;
      break;
    case ReduceOr:
      sum |= value;
      break;
    case ReduceXor:
      sum ^= value;
      break;
    }
  }
  auto *result = warp.lanes<uint32_t>(instruction.result());
  warp.forLanes([&](unsigned lane) { result[lane] = sum; });
}

/// {leader, whether this lane is it}.
static void executeElect(Warp &warp, const WarpInstruction &instruction) {
  uint32_t named = members(warp, instruction, instruction.operand(0));
  if (!named)
    return;
  unsigned leader = std::countr_zero(named);
  auto *result = warp.lanes<uint32_t>(instruction.result());
  auto *predicate = warp.lanes<uint32_t>(instruction.result(1));
  warp.forLanes([&](unsigned lane) {
    result[lane] = leader;
    predicate[lane] = lane == leader;
  });
}

static void executeActiveMask(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<uint32_t>(instruction.result());
  warp.forLanes([&](unsigned lane) { result[lane] = warp.mask; });
}

void sparse_attn::emulator::addCollectiveIntrinsics(IntrinsicTable &table) {
  constexpr auto kind = InstructionKind::Shuffle;
  for (auto [name, mode] :
       {std::pair("up", Up), {"down", Down}, {"bfly", Butterfly}, {"idx", Index}})
    for (const char *type : {"i32", "f32", "i32p", "f32p"})
      table.add(Twine("llvm.nvvm.shfl.sync.") + name + "." + type, executeShuffle, kind,
                mode);
  for (auto [name, mode] :
       {std::pair("ballot", Ballot), {"all", All}, {"any", Any}, {"uni", Uniform}})
    table.add(Twine("llvm.nvvm.vote.") + name + ".sync", executeVote, kind, mode);
  for (auto [name, mode] : {std::pair("add", ReduceAdd),
                            {"min", ReduceMin},
                            {"max", ReduceMax},
                            {"umin", ReduceUMin},
                            {"umax", ReduceUMax},
                            {"and", ReduceAnd},
                            {"or", ReduceOr},
                            {"xor", ReduceXor}})
    table.add(Twine("llvm.nvvm.redux.sync.") + name, executeReduction, kind, mode);
  table.add("llvm.nvvm.match.any.sync.i32", executeMatchAny<uint32_t>, kind);
  table.add("llvm.nvvm.match.any.sync.i64", executeMatchAny<uint64_t>, kind);
  table.add("llvm.nvvm.match.all.sync.i32p", executeMatchAll<uint32_t>, kind);
  table.add("llvm.nvvm.match.all.sync.i64p", executeMatchAll<uint64_t>, kind);
  table.add("llvm.nvvm.elect.sync", executeElect, InstructionKind::Special);
  table.add("llvm.nvvm.activemask", executeActiveMask, InstructionKind::Special);
}
