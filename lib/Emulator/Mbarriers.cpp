//===- Mbarriers.cpp - mbarriers ------------------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Mbarriers.h"
#include "Intrinsics.h"

using namespace llvm;
using namespace sparse_attn::emulator;

/// The largest count of arrivals, and of bytes under way.
static constexpr int64_t kMost = (1 << 20) - 1;

//===----------------------------------------------------------------------===//
// Phases
//===----------------------------------------------------------------------===//

Mbarrier *ThreadBlock::findMbarrier(const Accessor &by, uint64_t address,
                                    uint64_t &offset) {
  std::optional<uint64_t> where = shared.locate(by, address, 8, 8);
  if (!where)
    return nullptr;
  offset = *where;
  auto it = mbarriers.find(offset);
  if (it == mbarriers.end()) {
    by.warp.fault(by.instruction, FaultKind::MbarrierMisuse,
                  "no mbarrier is initialised at " + Twine(offset) + " of shared memory",
                  by.lane);
    return nullptr;
  }
  return shared.useMbarrier(by, offset) ? &it->second : nullptr;
}

void ThreadBlock::completePhase(Mbarrier &mbarrier) {
  ++mbarrier.phase;
  mbarrier.pending = mbarrier.expected;
  mbarrier.complete = mbarrier.arriving;
  mbarrier.complete.seen[mbarrier.actor] = uint32_t(mbarrier.phase);
  mbarrier.arriving = Past();
  for (Warp &warp : warps)
    if (warp.state == Warp::State::Waiting &&
        warp.waitingAt->handler == executeMbarrierWait)
      wake(warp);
  notify();
}

static void completeIfDone(ThreadBlock &block, Mbarrier &mbarrier) {
  if (mbarrier.pending == 0 && mbarrier.transactions == 0)
    block.completePhase(mbarrier);
}

void sparse_attn::emulator::completeTransaction(ThreadBlock &block, Mbarrier &mbarrier,
                                                int64_t bytes) {
  mbarrier.transactions -= bytes;
  completeIfDone(block, mbarrier);
}

bool sparse_attn::emulator::arriveAt(ThreadBlock &block, Mbarrier &mbarrier,
                                     uint32_t count) {
  if (count > mbarrier.pending)
    return false;
  mbarrier.pending -= count;
  completeIfDone(block, mbarrier);
  return true;
}

//===----------------------------------------------------------------------===//
// Handlers
//===----------------------------------------------------------------------===//

/// Calls `function(mbarrier, lane, offset)` for the active lanes until it answers no.
template <typename F>
static void forMbarriers(Warp &warp, const WarpInstruction &instruction, F &&function) {
  const auto *addresses = warp.lanes<uint64_t>(instruction.operand(0));
  for (uint32_t rest = warp.mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    uint64_t offset;
    Mbarrier *mbarrier =
        warp.block.findMbarrier({warp, instruction, int(lane)}, addresses[lane], offset);
    if (!mbarrier || !function(*mbarrier, lane, offset))
      return;
  }
}

void sparse_attn::emulator::executeMbarrierInit(Warp &warp,
                                                const WarpInstruction &instruction) {
  ThreadBlock &block = warp.block;
  const auto *addresses = warp.lanes<uint64_t>(instruction.operand(0));
  const auto *counts = warp.lanes<uint32_t>(instruction.operand(1));
  for (uint32_t rest = warp.mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    Accessor by{warp, instruction, int(lane)};
    auto offset = block.shared.locate(by, addresses[lane], 8, 8);
    if (!offset)
      return;
    if (counts[lane] == 0 || counts[lane] > kMost)
      return warp.fault(instruction, FaultKind::BadOperand,
                        "an mbarrier for " + Twine(counts[lane]) + " arrivals", lane);
    if (block.numMbarriers == kMaxMbarriers)
      return warp.fault(instruction, FaultKind::BadOperand,
                        "more than " + Twine(kMaxMbarriers) +
                            " mbarriers in one block are not known to the emulator",
                        lane);
    if (!block.shared.makeMbarrier(by, *offset))
      return;
    Mbarrier &mbarrier = block.mbarriers[*offset];
    mbarrier = Mbarrier();
    mbarrier.expected = mbarrier.pending = counts[lane];
    mbarrier.actor = kMaxWarps + block.numMbarriers++;
  }
}

void sparse_attn::emulator::executeMbarrierInvalidate(
    Warp &warp, const WarpInstruction &instruction) {
  const auto *addresses = warp.lanes<uint64_t>(instruction.operand(0));
  for (uint32_t rest = warp.mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    uint64_t offset;
    if (!warp.block.findMbarrier({warp, instruction, int(lane)}, addresses[lane], offset))
      return;
    warp.block.mbarriers.erase(offset);
    warp.block.shared.dropMbarrier(offset);
  }
}

static bool expect(Warp &warp, const WarpInstruction &instruction, Mbarrier &mbarrier,
                   int64_t bytes, unsigned lane) {
  mbarrier.transactions += bytes;
  if (mbarrier.transactions <= kMost && mbarrier.transactions >= -kMost)
    return true;
  warp.fault(instruction, FaultKind::MbarrierMisuse,
             "the mbarrier expects " + Twine(mbarrier.transactions) +
                 " bytes, more than it can count",
             lane);
  return false;
}

void sparse_attn::emulator::executeMbarrierExpect(Warp &warp,
                                                  const WarpInstruction &instruction) {
  const auto *bytes = warp.lanes<uint32_t>(instruction.operand(1));
  forMbarriers(warp, instruction,
               [&](Mbarrier &mbarrier, unsigned lane, uint64_t offset) {
                 return expect(warp, instruction, mbarrier, bytes[lane], lane);
               });
}

void sparse_attn::emulator::executeMbarrierComplete(Warp &warp,
                                                    const WarpInstruction &instruction) {
  const auto *bytes = warp.lanes<uint32_t>(instruction.operand(1));
  forMbarriers(warp, instruction,
               [&](Mbarrier &mbarrier, unsigned lane, uint64_t offset) {
                 completeTransaction(warp.block, mbarrier, bytes[lane]);
                 return true;
               });
}

void sparse_attn::emulator::executeMbarrierArrive(Warp &warp,
                                                  const WarpInstruction &instruction) {
  uint64_t mode = instruction.immediate;
  const uint32_t *operand = mode & (kArriveCount | kArriveExpect)
                                ? warp.lanes<uint32_t>(instruction.operand(1))
                                : nullptr;
  auto *state =
      instruction.numResults ? warp.lanes<uint64_t>(instruction.result()) : nullptr;
  forMbarriers(
      warp, instruction, [&](Mbarrier &mbarrier, unsigned lane, uint64_t offset) {
        uint32_t count = mode & kArriveCount ? operand[lane] : 1;
        if ((mode & kArriveExpect) &&
            !expect(warp, instruction, mbarrier, operand[lane], lane))
          return false;
        if (state) // The phase, and how many arrivals it lacked.
          state[lane] = mbarrier.phase << 20 | mbarrier.pending;
        if (count == 0 || count > mbarrier.pending) {
          warp.fault(instruction, FaultKind::MbarrierMisuse,
                     Twine(count) + " arrivals at an mbarrier that lacks " +
                         Twine(mbarrier.pending) + " of " + Twine(mbarrier.expected),
                     lane);
          return false;
        }
        if ((mode & kArriveNoComplete) && count == mbarrier.pending) {
          warp.fault(instruction, FaultKind::MbarrierMisuse,
                     "an arrival that must not complete the phase does", lane);
          return false;
        }
        if (mode & kArriveDrop)
          mbarrier.expected -= count;
        if (!(mode & kArriveRelaxed))
          mbarrier.arriving.join(warp.past);
        return arriveAt(warp.block, mbarrier, count);
      });
  warp.release();
  warp.tick();
}

void sparse_attn::emulator::executeMbarrierWait(Warp &warp,
                                                const WarpInstruction &instruction) {
  uint64_t mode = instruction.immediate;
  auto *result =
      instruction.numResults ? warp.lanes<uint32_t>(instruction.result()) : nullptr;
  uint32_t done = 0;
  Mbarrier *lacking = nullptr;
  uint64_t lackingOffset = 0;
  bool ok = false;
  SmallVector<Mbarrier *, 2> complete;
  forMbarriers(
      warp, instruction, [&](Mbarrier &mbarrier, unsigned lane, uint64_t offset) {
        bool isDone;
        if (mode & kWaitParity) {
          uint32_t parity = warp.lanes<uint32_t>(instruction.operand(1))[lane];
          if (parity > 1) {
            warp.fault(instruction, FaultKind::BadOperand, "parity " + Twine(parity),
                       lane);
            return false;
          }
          isDone = (mbarrier.phase & 1) != parity;
          // Who slept through two phases sees the parity that it waits for again.
          uint64_t &awaited = mbarrier.awaited[warp.index];
          if (awaited && ((awaited - 1) & 1) == parity && mbarrier.phase > awaited) {
            warp.fault(instruction, FaultKind::MbarrierMisuse,
                       "waits for phase " + Twine(awaited - 1) +
                           " of an mbarrier that is in phase " + Twine(mbarrier.phase) +
                           ": its parity cannot tell",
                       lane);
            return false;
          }
        } else {
          isDone =
              mbarrier.phase > warp.lanes<uint64_t>(instruction.operand(1))[lane] >> 20;
        }
        if (isDone) {
          done |= 1u << lane;
          mbarrier.awaited[warp.index] = 0;
          if (!is_contained(complete, &mbarrier))
            complete.push_back(&mbarrier);
        } else {
          lacking = &mbarrier;
          lackingOffset = offset;
        }
        ok = true;
        return true;
      });
  if (!ok || warp.block.launch.fault)
    return;
  if (lacking) {
    warp.waitFor = Warp::WaitFor::Mbarrier;
    warp.waitObject = lackingOffset;
    bool mayAnswerNo = result && warp.block.launch.nextRandom() % 16 == 0;
    if ((mode & kWaitBlocking) && !mayAnswerNo) {
      if (mode & kWaitParity)
        lacking->awaited[warp.index] = lacking->phase + 1;
      return warp.waitAndRetry(instruction);
    }
    if (!(mode & kWaitBlocking))
      warp.polledEpoch = warp.block.epoch;
    warp.yield();
  }
  if (!(mode & kWaitRelaxed))
    for (Mbarrier *mbarrier : complete)
      warp.past.join(mbarrier->complete);
  if (result)
    warp.forLanes([&](unsigned lane) { result[lane] = done >> lane & 1; });
}

static void executePendingCount(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<uint32_t>(instruction.result());
  const auto *state = warp.lanes<uint64_t>(instruction.operand(0));
  warp.forLanes([&](unsigned lane) { result[lane] = state[lane] & kMost; });
}

void sparse_attn::emulator::addMbarrierIntrinsics(IntrinsicTable &table) {
  constexpr auto kind = InstructionKind::Mbarrier;
  auto add = [&](const Twine &name, Handler handler, uint64_t mode = 0) {
    table.add("llvm.nvvm.mbarrier." + name, handler, kind, mode);
  };
  for (const char *space : {"", ".shared"}) {
    add(Twine("init") + space, executeMbarrierInit);
    add(Twine("inval") + space, executeMbarrierInvalidate);
    add(Twine("arrive") + space, executeMbarrierArrive);
    add(Twine("arrive.noComplete") + space, executeMbarrierArrive,
        kArriveCount | kArriveNoComplete);
    add(Twine("arrive.drop") + space, executeMbarrierArrive, kArriveDrop);
    add(Twine("arrive.drop.noComplete") + space, executeMbarrierArrive,
        kArriveDrop | kArriveCount | kArriveNoComplete);
    add(Twine("test.wait") + space, executeMbarrierWait);
  }
  add("pending.count", executePendingCount);
  for (const char *scope : {"cta", "cluster"})
    for (const char *space : {"cta", "cluster"}) {
      std::string suffix = (Twine(".scope.") + scope + ".space." + space).str();
      add("expect.tx" + suffix, executeMbarrierExpect);
      add("complete.tx" + suffix, executeMbarrierComplete);
      for (auto [relaxed, flags, waitFlags] :
           {std::tuple("", uint64_t(0), uint64_t(0)),
            {".relaxed", uint64_t(kArriveRelaxed), uint64_t(kWaitRelaxed)}}) {
        add(Twine("arrive") + relaxed + suffix, executeMbarrierArrive,
            kArriveCount | flags);
        add(Twine("arrive.expect.tx") + relaxed + suffix, executeMbarrierArrive,
            kArriveExpect | flags);
        add(Twine("arrive.drop") + relaxed + suffix, executeMbarrierArrive,
            kArriveDrop | kArriveCount | flags);
        add(Twine("arrive.drop.expect.tx") + relaxed + suffix, executeMbarrierArrive,
            kArriveDrop | kArriveExpect | flags);
        if (StringRef(space) != "cta")
          continue;
        for (auto [parity, mode] :
             {std::pair("", uint64_t(0)), {".parity", kWaitParity}}) {
          add(Twine("test.wait") + parity + relaxed + suffix, executeMbarrierWait,
              mode | waitFlags);
          add(Twine("try.wait") + parity + relaxed + suffix, executeMbarrierWait,
              mode | kWaitBlocking | waitFlags);
          add(Twine("try.wait") + parity + ".tl" + relaxed + suffix, executeMbarrierWait,
              mode | kWaitBlocking | waitFlags);
        }
      }
    }
}
