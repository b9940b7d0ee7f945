//===- Barriers.cpp - bar.sync and its kin --------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Barriers.h"
#include "Intrinsics.h"
#include "ThreadBlock.h"

using namespace llvm;
using namespace sparse_attn::emulator;

static constexpr uint64_t kReductions = kBarrierPopc | kBarrierAnd | kBarrierOr;

/// Lets the waiting warps go on.
static void complete(ThreadBlock &block, NamedBarrier &barrier) {
  for (Warp &warp : block.warps) {
    if (!(barrier.waiting >> warp.index & 1))
      continue;
    const WarpInstruction &instruction = *warp.waitingAt;
    uint64_t mode = instruction.immediate;
    if (mode & kReductions) {
      uint32_t value = barrier.trueLanes;
      if (mode & kBarrierAnd)
        value = barrier.trueLanes == barrier.arrivedLanes;
      else if (mode & kBarrierOr)
        value = barrier.trueLanes != 0;
      auto *result = warp.lanes<uint32_t>(instruction.result());
      warp.forLanes([&](unsigned lane) { result[lane] = value; });
    }
    warp.past.join(barrier.past);
    block.wake(warp);
  }
  barrier = NamedBarrier();
  block.notify();
}

static unsigned numRunning(const ThreadBlock &block) {
  return llvm::count_if(block.warps, [](const Warp &warp) { return warp.alive != 0; });
}

void sparse_attn::emulator::completeBarriersOfAll(ThreadBlock &block) {
  for (NamedBarrier &barrier : block.barriers)
    if (barrier.all && barrier.arrived && barrier.arrived == numRunning(block) * 32)
      complete(block, barrier);
}

void sparse_attn::emulator::executeBarrier(Warp &warp,
                                           const WarpInstruction &instruction) {
  uint64_t mode = instruction.immediate;
  auto misuse = [&](const Twine &message) {
    warp.fault(instruction, FaultKind::BarrierMisuse, message);
  };
  if (warp.mask != warp.alive)
    return misuse("a barrier is executed by " + Twine(std::popcount(warp.mask)) +
                  " lanes of the warp while " +
                  Twine(std::popcount(warp.alive & ~warp.mask)) + " are elsewhere");
  auto id = warp.uniform(instruction, instruction.operand(0), false, "the barrier");
  if (!id)
    return;
  if (*id >= 16)
    return misuse("barrier " + Twine(*id) + " of 16");
  ThreadBlock &block = warp.block;
  NamedBarrier &barrier = block.barriers[*id];
  bool all = !(mode & kBarrierCount);
  unsigned count = numRunning(block) * 32;
  if (!all) {
    auto given = warp.uniform(instruction, instruction.operand(1), false, "the count");
    if (!given)
      return;
    count = *given;
    if (count == 0 || count % 32 || count > block.warps.size() * 32)
      return misuse("a barrier of " + Twine(count) +
                    " threads: it has to be a multiple of 32 up to the block's " +
                    Twine(block.warps.size() * 32));
  }
  auto misuseWith = [&](const Twine &message) {
    warp.stop = true;
    block.report(FaultKind::BarrierMisuse, message,
                 block.place(warp.index, -1, instruction.source),
                 block.place(barrier.firstWarp, -1, barrier.first->source));
  };
  if (barrier.first && (barrier.all != all || (!all && barrier.expected != count)))
    return misuseWith("barrier " + Twine(*id) + " is for " + Twine(count) +
                      " threads here and for " +
                      Twine(barrier.all ? numRunning(block) * 32 : barrier.expected) +
                      " where another warp has arrived");
  if (barrier.warps >> warp.index & 1)
    return misuseWith("the warp arrives twice at barrier " + Twine(*id) +
                      " before it is complete");
  if (!barrier.first) {
    barrier.first = &instruction;
    barrier.firstWarp = warp.index;
    barrier.expected = count;
    barrier.all = all;
  }
  barrier.warps |= 1u << warp.index;
  barrier.arrived += 32;
  barrier.arrivedLanes += std::popcount(warp.mask);
  if (mode & kReductions) {
    const auto *predicate =
        warp.lanes<uint32_t>(instruction.operand(instruction.numOperands - 1));
    warp.forLanes([&](unsigned lane) { barrier.trueLanes += predicate[lane] & 1; });
  }
  barrier.past.join(warp.past);
  warp.release();
  if (!(mode & kBarrierArrive)) {
    barrier.waiting |= 1u << warp.index;
    warp.waitFor = Warp::WaitFor::Barrier;
    warp.waitObject = *id;
    warp.wait(instruction);
  } else {
    warp.tick();
  }
  if (barrier.arrived >= count)
    complete(block, barrier);
}

void sparse_attn::emulator::executeWarpSync(Warp &warp,
                                            const WarpInstruction &instruction) {
  const auto *members = warp.lanes<uint32_t>(instruction.operand(0));
  uint32_t missing = members[warp.firstLane()] & ~warp.mask & warp.alive;
  if (missing)
    return warp.fault(instruction, FaultKind::MissingLanes,
                      "lane " + Twine(std::countr_zero(missing)) +
                          " is named, but is elsewhere",
                      std::countr_zero(missing));
  warp.release();
}

void sparse_attn::emulator::executeProxyFence(Warp &warp, const WarpInstruction &) {
  warp.past.fenced.join(warp.past.seen);
  // What comes after in this warp is not covered.
  warp.release();
}

void sparse_attn::emulator::executeNothing(Warp &, const WarpInstruction &) {}

void sparse_attn::emulator::executeSetMaxRegisters(Warp &warp,
                                                   const WarpInstruction &instruction) {
  if (!warp.requireAllLanes(instruction))
    return;
  uint64_t count = warp.lanes<uint32_t>(instruction.operand(0))[0];
  if (count < 24 || count > 256 || count % 8)
    warp.fault(instruction, FaultKind::BadOperand,
               Twine(count) + " registers: a multiple of 8 from 24 to 256 is asked for");
}

void sparse_attn::emulator::executeClusterArrive(Warp &warp,
                                                 const WarpInstruction &instruction) {
  ThreadBlock &block = warp.block;
  if (warp.mask != warp.alive)
    return warp.fault(instruction, FaultKind::BarrierMisuse,
                      "a cluster barrier is executed by a part of the warp");
  if (block.clusterArrived >> warp.index & 1)
    return warp.fault(instruction, FaultKind::BarrierMisuse,
                      "the warp arrives twice at the cluster barrier");
  block.clusterArrived |= 1u << warp.index;
  block.clusterArrivedPhase[warp.index] = block.clusterPhase + 1;
  block.clusterPast.join(warp.past);
  warp.release();
  for (const Warp &other : block.warps)
    if (other.alive && !(block.clusterArrived >> other.index & 1))
      return;
  block.clusterComplete = block.clusterPast;
  block.clusterPast = Past();
  block.clusterArrived = 0;
  ++block.clusterPhase;
  for (Warp &other : block.warps)
    if (other.state == Warp::State::Waiting &&
        other.waitingAt->handler == executeClusterWait)
      block.wake(other);
  block.notify();
}

void sparse_attn::emulator::executeClusterWait(Warp &warp,
                                               const WarpInstruction &instruction) {
  ThreadBlock &block = warp.block;
  uint64_t phase = block.clusterArrivedPhase[warp.index];
  if (!phase)
    return warp.fault(instruction, FaultKind::BarrierMisuse,
                      "waits at the cluster barrier without having arrived");
  if (block.clusterPhase < phase) {
    warp.waitFor = Warp::WaitFor::Cluster;
    return warp.waitAndRetry(instruction);
  }
  warp.past.join(block.clusterComplete);
}

void sparse_attn::emulator::addBarrierIntrinsics(IntrinsicTable &table) {
  constexpr auto barrier = InstructionKind::Barrier;
  constexpr auto fence = InstructionKind::Fence;
  for (const char *aligned : {"", ".aligned"}) {
    auto add = [&](const Twine &name, uint64_t mode) {
      table.add("llvm.nvvm.barrier.cta." + name, executeBarrier, barrier, mode);
    };
    add(Twine("sync") + aligned + ".all", 0);
    add(Twine("sync") + aligned + ".count", kBarrierCount);
    add(Twine("arrive") + aligned + ".count", kBarrierCount | kBarrierArrive);
    for (auto [name, mode] :
         {std::pair("popc", kBarrierPopc), {"and", kBarrierAnd}, {"or", kBarrierOr}}) {
      add(Twine("red.") + name + aligned + ".all", mode);
      add(Twine("red.") + name + aligned + ".count", mode | kBarrierCount);
    }
    table.add(Twine("llvm.nvvm.barrier.cluster.arrive") + aligned, executeClusterArrive,
              barrier);
    table.add(Twine("llvm.nvvm.barrier.cluster.arrive.relaxed") + aligned,
              executeClusterArrive, barrier);
    table.add(Twine("llvm.nvvm.barrier.cluster.wait") + aligned, executeClusterWait,
              barrier);
  }
  table.add("llvm.nvvm.bar.warp.sync", executeWarpSync, barrier);
  for (const char *name :
       {"async", "async.global", "async.shared_cta", "async.shared_cluster"})
    table.add(Twine("llvm.nvvm.fence.proxy.") + name, executeProxyFence, fence);
  table.add("llvm.nvvm.fence.mbarrier_init.release.cluster", executeProxyFence, fence);
  for (const char *name :
       {"llvm.nvvm.membar.cta", "llvm.nvvm.membar.gl", "llvm.nvvm.membar.sys",
        "llvm.nvvm.fence.sc.cluster", "llvm.nvvm.griddepcontrol.wait",
        "llvm.nvvm.griddepcontrol.launch.dependents"})
    table.add(name, executeNothing, fence);
  table.add("llvm.nvvm.setmaxnreg.inc.sync.aligned.u32", executeSetMaxRegisters,
            InstructionKind::Special);
  table.add("llvm.nvvm.setmaxnreg.dec.sync.aligned.u32", executeSetMaxRegisters,
            InstructionKind::Special);
  table.add("llvm.nvvm.exit", [](Decoder &decoder, const CallBase &) {
    return decoder.unsupported("`exit` in the middle of a block is not known");
  });
}
