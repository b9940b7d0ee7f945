//===- Memory.cpp - addresses, loads and stores ---------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Memory.h"
#include "Operations.h"
#include "llvm/IR/GetElementPtrTypeIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/Operator.h"
#include <cstring>

using namespace llvm;
using namespace sparse_attn::emulator;

//===----------------------------------------------------------------------===//
// Addresses
//===----------------------------------------------------------------------===//

unsigned char *sparse_attn::emulator::resolve(Warp &warp,
                                              const WarpInstruction &instruction,
                                              unsigned lane, Space space,
                                              uint64_t address, unsigned bytes,
                                              unsigned align, bool write) {
  if (space == Space::Local) {
    uint64_t offset = (address & ~kWindowMask) - kSharedBase;
    unsigned size = warp.block.launch.program.localBytes;
    if (offset + bytes > size || offset > size) {
      warp.fault(instruction, FaultKind::OutOfBounds,
                 "accesses " + Twine(bytes) + " bytes at " + Twine(int64_t(offset)) +
                     " of local memory, which has " + Twine(size),
                 lane);
      return nullptr;
    }
    return reinterpret_cast<unsigned char *>(warp.local) + size_t(size) * lane + offset;
  }
  if (!warp.block.launch.memory.contains(address, bytes, write)) {
    warp.fault(instruction, FaultKind::OutOfBounds,
               Twine(write ? "writes " : "reads ") + Twine(bytes) +
                   " bytes of global memory at 0x" + Twine::utohexstr(address) +
                   ", which no allocation holds",
               lane);
    return nullptr;
  }
  if (address % align) {
    warp.fault(instruction, FaultKind::Misaligned,
               "accesses " + Twine(bytes) + " bytes of global memory at 0x" +
                   Twine::utohexstr(address) + ", no multiple of " + Twine(align),
               lane);
    return nullptr;
  }
  return reinterpret_cast<unsigned char *>(address);
}

void sparse_attn::emulator::countSectors(Warp &warp, const uint64_t *addresses,
                                         unsigned bytes) {
  uint64_t sectors[32 * 33];
  unsigned count = 0;
  warp.forLanes([&](unsigned lane) {
    uint64_t last = (addresses[lane] + bytes - 1) / 32;
    for (uint64_t sector = addresses[lane] / 32; sector <= last; ++sector) {
      // Neighbouring lanes share sectors, mostly.
      bool isNew = true;
      for (unsigned i = count; isNew && i-- > 0;)
        isNew = sectors[i] != sector;
      if (isNew)
        sectors[count++] = sector;
    }
  });
  warp.block.launch.statistics.globalSectors += count;
}

/// The largest number of different words in one bank, for lanes that access one word or
/// some neighbouring ones each.
static unsigned countPasses(const uint64_t *addresses, unsigned bytes, uint32_t lanes) {
  // Mostly each bank is asked for one word.
  uint32_t banks = 0;
  bool conflict = bytes % 4 || bytes > 16;
  for (uint32_t rest = lanes; rest && !conflict; rest &= rest - 1) {
    uint64_t address = addresses[std::countr_zero(rest)];
    uint32_t some = std::rotl((1u << (bytes / 4)) - 1, address / 4 % 32);
    conflict = (banks & some) || address % 4;
    banks |= some;
  }
  if (!conflict)
    return 1;
  uint64_t words[32][32];
  uint8_t count[32] = {};
  unsigned most = 1;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    uint64_t address = addresses[std::countr_zero(rest)];
    for (uint64_t word = address / 4; word <= (address + bytes - 1) / 4; ++word) {
      unsigned bank = word % 32;
      bool isNew = true;
      for (unsigned i = 0; isNew && i < count[bank]; ++i)
        isNew = words[bank][i] != word;
      if (isNew && count[bank] < 32)
        words[bank][count[bank]++] = word;
      most = std::max<unsigned>(most, count[bank]);
    }
  }
  return most;
}

void sparse_attn::emulator::countWavefronts(Warp &warp, const uint64_t *addresses,
                                            unsigned bytes, uint32_t lanes) {
  // A pass reads one 4-byte word from each bank. Lanes with 8 and 16 bytes go in two and
  // four groups.
  unsigned group = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8;
  Statistics &statistics = warp.block.launch.statistics;
  for (unsigned first = 0; first < 32; first += group) {
    uint32_t some = (group == 32 ? kAllLanes : ((1u << group) - 1) << first) & lanes;
    if (!some)
      continue;
    statistics.sharedWavefronts += countPasses(addresses, bytes, some);
    ++statistics.sharedWavefrontsIdeal;
  }
}

namespace {

struct Gep {
  int64_t offset = 0;
  struct Index {
    int64_t stride;
    unsigned bits;
  };
  SmallVector<Index, 2> indices;
};

} // namespace

static void executeAddConstant(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<uint64_t>(instruction.result());
  const auto *base = warp.lanes<uint64_t>(instruction.operand(0));
  warp.forLanes(
      [&](unsigned lane) { result[lane] = base[lane] + instruction.immediate; });
}

static void executeGep(Warp &warp, const WarpInstruction &instruction) {
  const auto &gep = *static_cast<const Gep *>(instruction.data);
  auto *result = warp.lanes<uint64_t>(instruction.result());
  const auto *base = warp.lanes<uint64_t>(instruction.operand(0));
  uint64_t sum[32];
  for (unsigned lane = 0; lane < 32; ++lane)
    sum[lane] = base[lane] + static_cast<uint64_t>(gep.offset);
  for (unsigned i = 0; i < gep.indices.size(); ++i) {
    auto stride = static_cast<uint64_t>(gep.indices[i].stride);
    unsigned bits = gep.indices[i].bits;
    if (bits > 32) {
      const auto *index = warp.lanes<uint64_t>(instruction.operand(1 + i));
      for (unsigned lane = 0; lane < 32; ++lane)
        sum[lane] += index[lane] * stride;
    } else {
      const auto *index = warp.lanes<uint32_t>(instruction.operand(1 + i));
      for (unsigned lane = 0; lane < 32; ++lane)
        sum[lane] +=
            static_cast<uint64_t>(int64_t(signExtend(index[lane], bits))) * stride;
    }
  }
  warp.forLanes([&](unsigned lane) { result[lane] = sum[lane]; });
}

static Error decodeGep(Decoder &decoder, const GetElementPtrInst &instruction) {
  if (instruction.getType()->isVectorTy())
    return decoder.unsupported("vectors of pointers are not known");
  Gep gep;
  Slots operands = {decoder.slotOf(instruction.getPointerOperand())};
  for (auto it = gep_type_begin(instruction), end = gep_type_end(instruction); it != end;
       ++it) {
    const Value *index = it.getOperand();
    if (StructType *structure = it.getStructTypeOrNull()) {
      unsigned member = cast<ConstantInt>(index)->getZExtValue();
      gep.offset += decoder.layout.getStructLayout(structure)->getElementOffset(member);
      continue;
    }
    int64_t stride = it.getSequentialElementStride(decoder.layout).getFixedValue();
    if (const auto *fixed = dyn_cast<ConstantInt>(index)) {
      gep.offset += fixed->getSExtValue() * stride;
      continue;
    }
    gep.indices.push_back({stride, unsigned(index->getType()->getIntegerBitWidth())});
    operands.push_back(decoder.slotOf(index));
  }
  if (gep.indices.empty()) {
    if (gep.offset == 0)
      decoder.alias(&instruction, {operands[0]});
    else
      decoder.emit(executeAddConstant, InstructionKind::Integer,
                   decoder.slotsOf(&instruction), operands, gep.offset);
    return Error::success();
  }
  decoder.emit(executeGep, InstructionKind::Integer, decoder.slotsOf(&instruction),
               operands, 0, decoder.own(std::move(gep)));
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Loads and stores
//===----------------------------------------------------------------------===//

/// The lanes' values from where each of them reads.
static void loadParts(Warp &warp, const WarpInstruction &instruction,
                      const Access &access, const unsigned char *const *from) {
  for (unsigned i = 0; i < access.parts.size(); ++i) {
    const Access::Part &part = access.parts[i];
    if (part.wide) {
      auto *result = warp.lanes<uint64_t>(instruction.result(i));
      warp.forLanes([&](unsigned lane) {
        uint64_t value = 0;
        std::memcpy(&value, from[lane] + part.offset, part.bytes);
        result[lane] = value;
      });
    } else if (part.bytes == 4) {
      auto *result = warp.lanes<uint32_t>(instruction.result(i));
      warp.forLanes([&](unsigned lane) {
        std::memcpy(&result[lane], from[lane] + part.offset, 4);
      });
    } else {
      auto *result = warp.lanes<uint32_t>(instruction.result(i));
      warp.forLanes([&](unsigned lane) {
        uint32_t value = 0;
        std::memcpy(&value, from[lane] + part.offset, part.bytes);
        result[lane] = value;
      });
    }
  }
}

static void storeParts(Warp &warp, const WarpInstruction &instruction,
                       const Access &access, unsigned lane, unsigned char *to) {
  for (unsigned i = 0; i < access.parts.size(); ++i) {
    const Access::Part &part = access.parts[i];
    if (part.wide)
      std::memcpy(to + part.offset,
                  &warp.lanes<uint64_t>(instruction.operand(1 + i))[lane], part.bytes);
    else if (part.bytes == 4)
      std::memcpy(to + part.offset,
                  &warp.lanes<uint32_t>(instruction.operand(1 + i))[lane], 4);
    else
      std::memcpy(to + part.offset,
                  &warp.lanes<uint32_t>(instruction.operand(1 + i))[lane], part.bytes);
  }
}

/// Loads and stores may go to several spaces where the address is generic, so each lane
/// is looked at on its own.
template <bool isStore>
static void executeAccess(Warp &warp, const WarpInstruction &instruction) {
  const auto &access = *static_cast<const Access *>(instruction.data);
  const auto *addresses = warp.lanes<uint64_t>(instruction.operand(0));
  SharedMemory &shared = warp.block.shared;
  uint32_t serial = 0;
  bool anyShared = false, anyGlobal = false;
  unsigned char buffer[1024];
  const unsigned char *sources[32];
  for (uint32_t rest = warp.mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    uint64_t address = addresses[lane];
    Space space = spaceOf(access.space, address);
    if (space != Space::Shared) {
      unsigned char *at = resolve(warp, instruction, lane, space, address, access.bytes,
                                  access.align, isStore);
      if (!at)
        return;
      anyGlobal |= space == Space::Global;
      if constexpr (isStore)
        storeParts(warp, instruction, access, lane, at);
      else
        sources[lane] = at;
      continue;
    }
    Accessor by{warp, instruction, int(lane), false, access.atomic};
    std::optional<uint64_t> offset =
        shared.locate(by, address, access.bytes, access.align);
    if (!offset)
      return;
    if (!anyShared)
      serial = shared.nextSerial();
    anyShared = true;
    if constexpr (isStore)
      storeParts(warp, instruction, access, lane, buffer);
    if (access.dense) {
      if (isStore ? !shared.write(by, *offset, access.bytes, buffer, serial)
                  : !shared.read(by, *offset, access.bytes))
        return;
    } else {
      for (const Access::Part &part : access.parts)
        if (isStore ? !shared.write(by, *offset + part.offset, part.bytes,
                                    buffer + part.offset, serial)
                    : !shared.read(by, *offset + part.offset, part.bytes))
          return;
    }
    if constexpr (!isStore)
      sources[lane] = shared.data() + *offset;
  }
  if constexpr (!isStore)
    loadParts(warp, instruction, access, sources);
  if (anyShared) {
    countWavefronts(warp, addresses, access.bytes, warp.mask);
    warp.tick();
  } else if (anyGlobal) {
    countSectors(warp, addresses, access.bytes);
  }
}

static Expected<Access> describe(Decoder &decoder, Type *type, Align align,
                                 unsigned space) {
  Access access;
  auto scalars = decoder.scalarsOf(type);
  if (!scalars)
    return scalars.takeError();
  access.bytes = decoder.layout.getTypeStoreSize(type);
  access.space = space;
  unsigned sum = 0;
  for (const Scalar &scalar : *scalars) {
    bool isElement = type->isVectorTy();
    if (isElement && scalar.bits % 8)
      return decoder.unsupported("vectors of elements that are no bytes");
    access.parts.push_back({unsigned(scalar.offset), scalar.bytes(), scalar.isWide()});
    sum += scalar.bytes();
  }
  access.dense = sum == access.bytes;
  // The backend splits what the IR says to be less aligned.
  access.align = align.value();
  if (access.bytes > 1024)
    return decoder.unsupported("more than 1024 bytes at once");
  return access;
}

static InstructionKind kindOf(unsigned space, bool isStore) {
  switch (space) {
  case 1:
  case 0:
    return isStore ? InstructionKind::StoreGlobal : InstructionKind::LoadGlobal;
  case 3:
  case 7:
    return isStore ? InstructionKind::StoreShared : InstructionKind::LoadShared;
  default:
    return isStore ? InstructionKind::StoreOther : InstructionKind::LoadOther;
  }
}

void sparse_attn::emulator::emitAccess(Decoder &decoder, bool isStore,
                                       ArrayRef<Slot> results, ArrayRef<Slot> operands,
                                       Access access) {
  InstructionKind kind = kindOf(access.space, isStore);
  decoder.emit(isStore ? executeAccess<true> : executeAccess<false>, kind, results,
               operands, 0, decoder.own(std::move(access)));
}

Expected<bool> sparse_attn::emulator::decodeMemory(Decoder &decoder,
                                                   const llvm::Instruction &instruction) {
  if (const auto *gep = dyn_cast<GetElementPtrInst>(&instruction)) {
    if (Error error = decodeGep(decoder, *gep))
      return std::move(error);
    return true;
  }
  if (const auto *load = dyn_cast<LoadInst>(&instruction)) {
    unsigned space = load->getPointerAddressSpace();
    Expected<Access> access = describe(decoder, load->getType(), load->getAlign(), space);
    if (!access)
      return access.takeError();
    access->atomic = load->isAtomic();
    emitAccess(decoder, false, decoder.slotsOf(load),
               {decoder.slotOf(load->getPointerOperand())}, std::move(*access));
    return true;
  }
  if (const auto *store = dyn_cast<StoreInst>(&instruction)) {
    unsigned space = store->getPointerAddressSpace();
    Expected<Access> access =
        describe(decoder, store->getValueOperand()->getType(), store->getAlign(), space);
    if (!access)
      return access.takeError();
    access->atomic = store->isAtomic();
    Slots operands = {decoder.slotOf(store->getPointerOperand())};
    operands.append(decoder.slotsOf(store->getValueOperand()));
    emitAccess(decoder, true, {}, operands, std::move(*access));
    return true;
  }
  return decodeAtomic(decoder, instruction);
}
