//===- ThreadBlock.cpp - the warps of a block and what they share ---------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ThreadBlock.h"
#include "llvm/IR/DebugInfoMetadata.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>

using namespace llvm;
using namespace sparse_attn::emulator;

ThreadBlock::ThreadBlock(Launch &launch) : launch(launch) {
  numThreads = launch.blockDim.x * launch.blockDim.y * launch.blockDim.z;
  unsigned numWarps = divideCeil(numThreads, 32u);
  size_t frameBytes = size_t(launch.program.numSlots) * kSlotBytes;
  frames = std::make_unique<std::byte[]>(frameBytes * numWarps + kSlotBytes);
  auto base = reinterpret_cast<uint64_t>(frames.get());
  auto *first = frames.get() + (alignTo(base, kSlotBytes) - base);
  locals.resize(size_t(launch.program.localBytes) * 32 * numWarps);
  warps.reserve(numWarps);
  for (unsigned i = 0; i < numWarps; ++i) {
    Warp &warp = warps.emplace_back(*this, i);
    warp.frame = first + frameBytes * i;
    warp.local = locals.data() + size_t(launch.program.localBytes) * 32 * i;
    // Constants are never written: they stay from block to block.
    for (const ConstantSlot &constant : launch.program.constants)
      for (unsigned lane = 0; lane < 32; ++lane)
        if (constant.wide)
          warp.lanes<uint64_t>(constant.slot)[lane] = constant.value;
        else
          warp.lanes<uint32_t>(constant.slot)[lane] = uint32_t(constant.value);
  }
}

void ThreadBlock::start(Dim3 blockIndex) {
  index = blockIndex;
  shared.reset(launch.sharedBytes, warps.size(), launch.options.checkShared,
               launch.options.checkWithinWarp);
  barriers = {};
  mbarriers.clear();
  numMbarriers = 0;
  warpgroups.assign(divideCeil(warps.size(), size_t(4)), WarpgroupLog());
  arrivals.clear();
  clusterArrived = 0;
  clusterPhase = 0;
  clusterArrivedPhase = {};
  clusterPast = clusterComplete = Past();
  std::fill(locals.begin(), locals.end(), std::byte(0xff));
  for (Warp &warp : warps) {
    Warp fresh(*this, warp.index);
    fresh.frame = warp.frame;
    fresh.local = warp.local;
    unsigned threads = std::min(32u, numThreads - warp.index * 32);
    fresh.mask = fresh.alive = threads == 32 ? kAllLanes : (1u << threads) - 1;
    fresh.pc = &launch.program.code[launch.program.blockStart[0]];
    fresh.past.seen[warp.index] = 1;
    if (launch.program.hasWgmma) {
      fresh.slotWritten.resize(launch.program.numSlots);
      fresh.pendingSlots.resize(launch.program.numSlots);
    }
    warp.~Warp();
    new (&warp) Warp(std::move(fresh));
  }
}

void ThreadBlock::wake(Warp &warp) {
  warp.state = Warp::State::Runnable;
  warp.waitingAt = nullptr;
}

/// A random warp that can go on.
Warp *ThreadBlock::pick() {
  SmallVector<Warp *, kMaxWarps> ready;
  for (Warp &warp : warps)
    if (warp.state == Warp::State::Runnable && warp.polledEpoch != epoch)
      ready.push_back(&warp);
  if (ready.empty())
    return nullptr;
  return ready[launch.nextRandom() % ready.size()];
}

/// A warp whose test_wait answered no: it may have something else to do, but not for
/// ever.
Warp *ThreadBlock::pickPolling() {
  constexpr unsigned kMostPolls = 10000;
  if (pollEpoch != epoch)
    numPolls = 0;
  pollEpoch = epoch;
  SmallVector<Warp *, kMaxWarps> polling;
  for (Warp &warp : warps)
    if (warp.state == Warp::State::Runnable)
      polling.push_back(&warp);
  if (polling.empty() || ++numPolls > kMostPolls)
    return nullptr;
  return polling[launch.nextRandom() % polling.size()];
}

bool ThreadBlock::run(Dim3 blockIndex) {
  start(blockIndex);
  while (!launch.fault) {
    if (llvm::all_of(warps, [](const Warp &w) { return w.state == Warp::State::Exited; }))
      return finish();
    Warp *warp = pick();
    if (!arrivals.empty() && (!warp || launch.nextRandom() % 16 == 0)) {
      size_t which = launch.nextRandom() % arrivals.size();
      std::function<void()> arrival = std::move(arrivals[which]);
      arrivals.erase(arrivals.begin() + which);
      arrival();
      notify();
      continue;
    }
    if (!warp)
      warp = pickPolling();
    if (!warp) {
      reportDeadlock();
      break;
    }
    warp->run();
    if (launch.options.instructionLimit &&
        launch.statistics.total() > launch.options.instructionLimit)
      report(FaultKind::InstructionLimit,
             "more than " + Twine(launch.options.instructionLimit) + " warp instructions",
             place(warp->index, -1, warp->pc->source));
  }
  return false;
}

bool ThreadBlock::finish() {
  if (arrivals.empty())
    return !launch.fault;
  report(FaultKind::AsyncInFlight,
         "the block ends while asynchronous copies into its shared memory are in flight",
         FaultPlace());
  return false;
}

FaultPlace ThreadBlock::place(unsigned warp, int lane, uint32_t source) const {
  FaultPlace result;
  result.warp = warp;
  result.lane = lane;
  const Source &from = launch.program.sources[source];
  if (!from.instruction)
    return result;
  raw_string_ostream stream(result.instruction);
  if (from.statement.empty())
    from.instruction->print(stream);
  else
    stream << from.statement;
  result.instruction = StringRef(result.instruction).trim().str();
  if (const DebugLoc &location = from.instruction->getDebugLoc()) {
    raw_string_ostream where(result.location);
    where << location->getFilename() << ':' << location->getLine() << ':'
          << location->getColumn();
  }
  return result;
}

void ThreadBlock::report(FaultKind kind, const Twine &message, FaultPlace where,
                         std::optional<FaultPlace> other) {
  if (launch.fault)
    return;
  launch.fault = std::make_unique<Fault>(kind, message.str());
  launch.fault->kernel = launch.program.name;
  launch.fault->block = {index.x, index.y, index.z};
  launch.fault->place = std::move(where);
  launch.fault->other = std::move(other);
}

void ThreadBlock::describeWait(raw_ostream &stream, const Warp &warp) const {
  switch (warp.waitFor) {
  case Warp::WaitFor::Nothing:
    break;
  case Warp::WaitFor::Barrier: {
    const NamedBarrier &barrier = barriers[warp.waitObject];
    unsigned expected = barrier.expected;
    if (barrier.all)
      expected = 32 * llvm::count_if(warps, [](const Warp &w) { return w.alive != 0; });
    stream << " for " << expected - barrier.arrived << " of the " << expected
           << " threads of barrier " << warp.waitObject;
    break;
  }
  case Warp::WaitFor::Mbarrier: {
    auto it = mbarriers.find(warp.waitObject);
    if (it == mbarriers.end())
      break;
    stream << " for the mbarrier at " << it->first << " of shared memory, in phase "
           << it->second.phase << ", which lacks " << it->second.pending
           << " arrivals and " << it->second.transactions << " bytes,";
    break;
  }
  case Warp::WaitFor::Cluster:
    stream << " for the cluster barrier";
    break;
  }
}

void ThreadBlock::reportDeadlock() {
  std::string text;
  raw_string_ostream stream(text);
  stream << "no warp can go on:";
  const Warp *first = nullptr;
  for (const Warp &warp : warps) {
    stream << "\n  warp " << warp.index << ' ';
    if (warp.state == Warp::State::Exited) {
      stream << "has exited";
      continue;
    }
    if (!first)
      first = &warp;
    const WarpInstruction *at = warp.waitingAt ? warp.waitingAt : warp.pc;
    stream << (warp.waitingAt ? "waits" : "polls");
    describeWait(stream, warp);
    stream << " at " << place(warp.index, -1, at->source).instruction;
  }
  const WarpInstruction *at = first->waitingAt ? first->waitingAt : first->pc;
  report(FaultKind::Deadlock, text, place(first->index, -1, at->source));
}
