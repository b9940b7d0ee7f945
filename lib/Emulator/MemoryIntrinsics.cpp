//===- MemoryIntrinsics.cpp - memcpy, memmove, memset ---------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Intrinsics.h"
#include "Memory.h"
#include "llvm/IR/IntrinsicInst.h"
#include <cstring>

using namespace llvm;
using namespace sparse_attn::emulator;

namespace {

struct Spaces {
  unsigned to = 0, from = 0;
  bool wideLength = false;
};

} // namespace

static uint64_t lengthOf(Warp &warp, const WarpInstruction &instruction, unsigned lane) {
  const auto &spaces = *static_cast<const Spaces *>(instruction.data);
  return spaces.wideLength ? warp.lanes<uint64_t>(instruction.operand(2))[lane]
                           : warp.lanes<uint32_t>(instruction.operand(2))[lane];
}

/// Writes what a lane has to memory of any space; false after a fault.
static bool put(Warp &warp, const WarpInstruction &instruction, unsigned lane,
                unsigned addressSpace, uint64_t address, ArrayRef<unsigned char> bytes,
                uint32_t serial) {
  Space space = spaceOf(addressSpace, address);
  if (space == Space::Shared) {
    Accessor by{warp, instruction, int(lane)};
    auto offset = warp.block.shared.locate(by, address, bytes.size(), 1);
    return offset &&
           warp.block.shared.write(by, *offset, bytes.size(), bytes.data(), serial);
  }
  unsigned char *to =
      resolve(warp, instruction, lane, space, address, bytes.size(), 1, /*write=*/true);
  if (to)
    std::memcpy(to, bytes.data(), bytes.size());
  return to != nullptr;
}

static void executeMemoryCopy(Warp &warp, const WarpInstruction &instruction) {
  const auto &spaces = *static_cast<const Spaces *>(instruction.data);
  const auto *to = warp.lanes<uint64_t>(instruction.operand(0));
  const auto *from = warp.lanes<uint64_t>(instruction.operand(1));
  uint32_t serial = warp.block.shared.nextSerial();
  for (uint32_t rest = warp.mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    uint64_t bytes = lengthOf(warp, instruction, lane);
    if (!bytes)
      continue;
    Space space = spaceOf(spaces.from, from[lane]);
    const unsigned char *source;
    if (space == Space::Shared) {
      Accessor by{warp, instruction, int(lane)};
      auto offset = warp.block.shared.locate(by, from[lane], bytes, 1);
      if (!offset || !warp.block.shared.read(by, *offset, bytes))
        return;
      source = warp.block.shared.data() + *offset;
    } else {
      source = resolve(warp, instruction, lane, space, from[lane], bytes, 1, false);
      if (!source)
        return;
    }
    std::vector<unsigned char> data(source, source + bytes);
    if (!put(warp, instruction, lane, spaces.to, to[lane], data, serial))
      return;
  }
  warp.tick();
}

static void executeMemorySet(Warp &warp, const WarpInstruction &instruction) {
  const auto &spaces = *static_cast<const Spaces *>(instruction.data);
  const auto *to = warp.lanes<uint64_t>(instruction.operand(0));
  const auto *value = warp.lanes<uint32_t>(instruction.operand(1));
  uint32_t serial = warp.block.shared.nextSerial();
  for (uint32_t rest = warp.mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    std::vector<unsigned char> data(lengthOf(warp, instruction, lane),
                                    static_cast<unsigned char>(value[lane]));
    if (!data.empty() && !put(warp, instruction, lane, spaces.to, to[lane], data, serial))
      return;
  }
  warp.tick();
}

void sparse_attn::emulator::addMemoryIntrinsics(IntrinsicTable &table) {
  auto add = [&](const char *name, Handler handler) {
    table.add(name, [=](Decoder &decoder, const CallBase &call) -> Error {
      const auto &memory = cast<AnyMemIntrinsic>(call);
      Spaces spaces{memory.getDestAddressSpace(), 0,
                    decoder.isWide(call.getArgOperand(2))};
      if (const auto *transfer = dyn_cast<AnyMemTransferInst>(&call))
        spaces.from = transfer->getSourceAddressSpace();
      emitCall(decoder, call, handler, InstructionKind::StoreOther, 0, 3,
               decoder.own(spaces));
      return Error::success();
    });
  };
  add("llvm.memcpy", executeMemoryCopy);
  add("llvm.memcpy.inline", executeMemoryCopy);
  add("llvm.memmove", executeMemoryCopy);
  add("llvm.memset", executeMemorySet);
  add("llvm.memset.inline", executeMemorySet);
}
