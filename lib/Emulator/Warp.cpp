//===- Warp.cpp - 32 lanes that execute one instruction at a time ---------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Warp.h"
#include "Barriers.h"
#include "ThreadBlock.h"

using namespace llvm;
using namespace sparse_attn::emulator;

void Warp::run() {
  stop = false;
  // A short slice often, a long one sometimes: both kinds of interleaving show.
  uint64_t random = block.launch.nextRandom();
  slice = 1 + (random & 0xff) % ((random & 0x100) ? 16 : 256);
  auto &counts = block.launch.statistics.executed;
  while (!stop) {
    const WarpInstruction &instruction = *pc++;
    ++counts[static_cast<size_t>(instruction.kind)];
    ++executed;
    if (numPending && !checkPending(instruction))
      return;
    if (instruction.stamps)
      for (unsigned i = 0; i < instruction.numResults; ++i)
        slotWritten[instruction.result(i)] = executed;
    instruction.handler(*this, instruction);
  }
}

void Warp::fault(const WarpInstruction &instruction, FaultKind kind, const Twine &message,
                 int lane) {
  stop = true;
  block.report(kind, message, block.place(index, lane, instruction.source));
}

std::optional<uint64_t> Warp::uniform(const WarpInstruction &instruction, Slot slot,
                                      bool wide, StringRef what) {
  auto value = [&](unsigned lane) -> uint64_t {
    return wide ? lanes<uint64_t>(slot)[lane] : lanes<uint32_t>(slot)[lane];
  };
  uint64_t first = value(firstLane());
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    if (value(lane) != first) {
      fault(instruction, FaultKind::BadOperand,
            Twine(what) + " differs between the lanes of a warp: " + Twine(first) +
                " in lane " + Twine(firstLane()) + ", " + Twine(value(lane)) +
                " in lane " + Twine(lane),
            lane);
      return std::nullopt;
    }
  }
  return first;
}

bool Warp::requireAllLanes(const WarpInstruction &instruction) {
  if (mask == alive && alive == kAllLanes)
    return true;
  uint32_t missing = kAllLanes & ~mask;
  fault(instruction, FaultKind::MissingLanes,
        "all lanes of the warp have to execute this instruction together; " +
            Twine(std::popcount(missing)) + " of them " +
            (missing & alive ? "are elsewhere" : "have exited"),
        std::countr_zero(missing));
  return false;
}

void Warp::copyAsyncState(Slot to, Slot from) {
  // An accumulator that is still being written may pass through a phi: in registers
  // nothing moves.
  if (numPending && pendingSlots[from] != pendingSlots[to]) {
    numPending += pendingSlots[from];
    numPending -= pendingSlots[to];
    pendingSlots[to] = pendingSlots[from];
    for (PendingWgmma &wgmma : wgmmas) {
      bool writes = is_contained(wgmma.accumulators, from);
      erase(wgmma.accumulators, to);
      if (writes)
        wgmma.accumulators.push_back(to);
    }
  }
  // A constant becomes a register here.
  if (!slotWritten.empty())
    slotWritten[to] = slotWritten[from] ? slotWritten[from] : executed;
}

void Warp::takeEdge(const Edge &edge, uint32_t lanesOf) {
  mask = lanesOf;
  for (const Copy &copy : edge.copies) {
    for (unsigned part = 0; part <= unsigned(copy.wide); ++part)
      copyAsyncState(copy.to + part, copy.from + part);
    if (copy.wide) {
      auto *to = lanes<uint64_t>(copy.to), *from = lanes<uint64_t>(copy.from);
      forLanes([&](unsigned lane) { to[lane] = from[lane]; });
    } else {
      auto *to = lanes<uint32_t>(copy.to), *from = lanes<uint32_t>(copy.from);
      forLanes([&](unsigned lane) { to[lane] = from[lane]; });
    }
  }
  if (edge.target <= currentBlock) // A loop: no warp keeps the processor for ever.
    tick();
  currentBlock = edge.target;
  pc = &block.launch.program.code[block.launch.program.blockStart[edge.target]];
  if (!fragments.empty()) {
    fragments.push_back({currentBlock, mask});
    resumeFirstFragment();
  }
}

void Warp::resumeFirstFragment() {
  uint32_t first = ~0u;
  for (const Fragment &fragment : fragments)
    first = std::min(first, fragment.block);
  mask = 0;
  for (const Fragment &fragment : fragments)
    if (fragment.block == first)
      mask |= fragment.mask;
  erase_if(fragments, [&](const Fragment &fragment) { return fragment.block == first; });
  currentBlock = first;
  pc = &block.launch.program.code[block.launch.program.blockStart[first]];
}

void Warp::exitLanes() {
  alive &= ~mask;
  mask = 0;
  if (!fragments.empty())
    return resumeFirstFragment();
  state = State::Exited;
  stop = true;
  completeBarriersOfAll(block);
  block.notify();
}

void Warp::waitAndRetry(const WarpInstruction &instruction) {
  --pc;
  wait(instruction);
}

void Warp::wait(const WarpInstruction &instruction) {
  waitingAt = &instruction;
  state = State::Waiting;
  stop = true;
}

bool Warp::checkPending(const WarpInstruction &instruction) {
  // Instructions of wgmma look at their accumulators themselves.
  if (instruction.kind == InstructionKind::Wgmma)
    return true;
  for (unsigned i = 0, e = instruction.numResults + instruction.numOperands; i < e; ++i) {
    if (!pendingSlots[instruction.slots[i]])
      continue;
    fault(instruction, FaultKind::AsyncInFlight,
          i < instruction.numResults
              ? "overwrites an accumulator of a wgmma that has not been waited for"
              : "reads an accumulator of a wgmma that has not been waited for");
    return false;
  }
  return true;
}
