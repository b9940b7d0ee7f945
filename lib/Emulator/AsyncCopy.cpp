//===- AsyncCopy.cpp - cp.async -------------------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AsyncCopy.h"
#include "Intrinsics.h"
#include "Mbarriers.h"
#include "Memory.h"
#include "llvm/IR/InstrTypes.h"
#include <cstring>

using namespace llvm;
using namespace sparse_attn::emulator;

/// The data of copies that `isDone` chooses are in shared memory now, as if the warp had
/// written them.
template <typename F> static void arrive(Warp &warp, F &&isDone) {
  SharedMemory &shared = warp.block.shared;
  uint32_t now = warp.past.seen[warp.index];
  for (const PendingCopy &copy : warp.copies)
    if (isDone(copy))
      shared.endWrite(copy.offset, copy.bytes, copy.data, warp.index, now,
                      /*async=*/false);
  llvm::erase_if(warp.copies, isDone);
}

void sparse_attn::emulator::executeCopyAsync(Warp &warp,
                                             const WarpInstruction &instruction) {
  const auto *to = warp.lanes<uint64_t>(instruction.operand(0));
  const auto *from = warp.lanes<uint64_t>(instruction.operand(1));
  const uint32_t *sizes = instruction.numOperands > 2
                              ? warp.lanes<uint32_t>(instruction.operand(2))
                              : nullptr;
  auto bytes = unsigned(instruction.immediate);
  ThreadBlock &block = warp.block;
  for (uint32_t rest = warp.mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    Accessor by{warp, instruction, int(lane)};
    auto offset = block.shared.locate(by, to[lane], bytes, bytes);
    if (!offset)
      return;
    unsigned given = sizes ? sizes[lane] : bytes;
    if (given > bytes)
      return warp.fault(instruction, FaultKind::BadOperand,
                        Twine(given) + " bytes of a source that has " + Twine(bytes),
                        lane);
    PendingCopy copy{*offset, bytes, lane, warp.copyGroups[lane], instruction.source, {}};
    if (from[lane] % bytes)
      return warp.fault(instruction, FaultKind::Misaligned,
                        "copies " + Twine(bytes) + " bytes from 0x" +
                            Twine::utohexstr(from[lane]),
                        lane);
    if (given) {
      const unsigned char *source = resolve(warp, instruction, lane, Space::Global,
                                            from[lane], given, 1, /*write=*/false);
      if (!source)
        return;
      std::memcpy(copy.data, source, given);
    }
    if (!block.shared.beginWrite(by, *offset, bytes))
      return;
    warp.copies.push_back(copy);
  }
  block.launch.statistics.bytesCopiedAsync += bytes * std::popcount(warp.mask);
  countSectors(warp, from, bytes);
  warp.tick();
}

void sparse_attn::emulator::executeCopyCommit(Warp &warp, const WarpInstruction &) {
  warp.forLanes([&](unsigned lane) { ++warp.copyGroups[lane]; });
}

void sparse_attn::emulator::executeCopyWait(Warp &warp,
                                            const WarpInstruction &instruction) {
  auto left = uint32_t(instruction.immediate);
  arrive(warp, [&](const PendingCopy &copy) {
    return (warp.mask >> copy.lane & 1) && copy.group + left < warp.copyGroups[copy.lane];
  });
  warp.tick();
}

void sparse_attn::emulator::executeCopyWaitAll(Warp &warp, const WarpInstruction &) {
  arrive(warp, [&](const PendingCopy &copy) { return warp.mask >> copy.lane & 1; });
  warp.tick();
}

void sparse_attn::emulator::executeCopyArrive(Warp &warp,
                                              const WarpInstruction &instruction) {
  const auto *addresses = warp.lanes<uint64_t>(instruction.operand(0));
  ThreadBlock &block = warp.block;
  for (uint32_t rest = warp.mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    uint64_t offset;
    Mbarrier *mbarrier =
        block.findMbarrier({warp, instruction, int(lane)}, addresses[lane], offset);
    if (!mbarrier)
      return;
    if (!(instruction.immediate & 1))
      ++mbarrier->pending; // And the arrival takes it back.
    // The copies of the lane leave the warp: whoever waits for the mbarrier has them.
    auto mine = std::make_shared<std::vector<PendingCopy>>();
    for (const PendingCopy &copy : warp.copies)
      if (copy.lane == lane)
        mine->push_back(copy);
    llvm::erase_if(warp.copies,
                   [&](const PendingCopy &copy) { return copy.lane == lane; });
    const WarpInstruction *source = &instruction;
    block.postponeArrival([&block, &warp, mine, offset, source, lane] {
      auto it = block.mbarriers.find(offset);
      if (it == block.mbarriers.end())
        return warp.fault(*source, FaultKind::MbarrierMisuse,
                          "the mbarrier is gone when the copies are complete", lane);
      Mbarrier &target = it->second;
      for (const PendingCopy &copy : *mine)
        block.shared.endWrite(copy.offset, copy.bytes, copy.data, target.actor,
                              uint32_t(target.phase + 1), /*async=*/false);
      if (!arriveAt(block, target, 1))
        warp.fault(*source, FaultKind::MbarrierMisuse,
                   "one arrival more than the mbarrier expects", lane);
    });
  }
  warp.tick();
}

void sparse_attn::emulator::addAsyncCopyIntrinsics(IntrinsicTable &table) {
  constexpr auto kind = InstructionKind::CopyAsync;
  for (auto [name, bytes] : {std::pair("ca.shared.global.4", 4),
                             {"ca.shared.global.8", 8},
                             {"ca.shared.global.16", 16},
                             {"cg.shared.global.16", 16}}) {
    table.add(Twine("llvm.nvvm.cp.async.") + name, executeCopyAsync, kind, bytes);
    table.add(Twine("llvm.nvvm.cp.async.") + name + ".s", executeCopyAsync, kind, bytes);
  }
  table.add("llvm.nvvm.cp.async.commit.group", executeCopyCommit, kind);
  table.add("llvm.nvvm.cp.async.wait.group",
            [](Decoder &decoder, const CallBase &call) -> Error {
              Expected<uint64_t> left = decoder.constantOperand(call.getArgOperand(0));
              if (!left)
                return left.takeError();
              emitCall(decoder, call, executeCopyWait, InstructionKind::CopyAsync, *left,
                       0);
              return Error::success();
            });
  table.add("llvm.nvvm.cp.async.wait.all", executeCopyWaitAll, kind);
  for (const char *space : {"", ".shared"}) {
    table.add(Twine("llvm.nvvm.cp.async.mbarrier.arrive") + space, executeCopyArrive,
              kind);
    table.add(Twine("llvm.nvvm.cp.async.mbarrier.arrive.noinc") + space,
              executeCopyArrive, kind, 1);
  }
}
