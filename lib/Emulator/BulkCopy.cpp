//===- BulkCopy.cpp - cp.async.bulk: TMA ----------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BulkCopy.h"
#include "Intrinsics.h"
#include "Mbarriers.h"
#include "Memory.h"
#include "llvm/IR/Constants.h"
#include <cstring>

using namespace llvm;
using namespace sparse_attn::emulator;

//===----------------------------------------------------------------------===//
// Boxes
//===----------------------------------------------------------------------===//

/// Where byte `offset` of a tile lies in shared memory: chunks of 16 bytes change places
/// inside of 32, 64 or 128 bytes by bits 7, 8, ... of the address.
static uint64_t swizzled(TensorSwizzle swizzle, uint64_t offset) {
  uint64_t bits = (1u << unsigned(swizzle)) - 1;
  return offset ^ ((offset >> 7 & bits) << 4);
}

namespace {

/// Rows of a tile, one after another as they lie in shared memory.
struct Box {
  TensorMapInfo info;
  unsigned rowBytes = 0;
  unsigned rows = 1;

  unsigned bytes() const { return rowBytes * rows; }
};

} // namespace

/// Reads the map that a lane names; nothing after a fault.
static std::optional<Box> readBox(Warp &warp, const WarpInstruction &instruction,
                                  unsigned lane, uint64_t address, unsigned rank) {
  const unsigned char *map =
      resolve(warp, instruction, lane, Space::Global, address, sizeof(TensorMap), 64,
              /*write=*/false);
  if (!map)
    return std::nullopt;
  Expected<TensorMapInfo> info = decodeTensorMap(map);
  if (!info) {
    warp.fault(instruction, FaultKind::BadOperand, toString(info.takeError()), lane);
    return std::nullopt;
  }
  if (info->rank != rank) {
    warp.fault(instruction, FaultKind::BadOperand,
               "a tensor map of rank " + Twine(info->rank) + " with " + Twine(rank) +
                   " coordinates",
               lane);
    return std::nullopt;
  }
  Box box{*info};
  box.rowBytes = info->box[0] * sizeOf(info->element);
  for (unsigned i = 1; i < rank; ++i)
    box.rows *= info->box[i];
  return box;
}

/// Calls `function(row, address, first, last)` for each row of the box: elements
/// [first, last) of it are inside the tensor, element 0 at `address`.
template <typename F>
static bool forRows(const Box &box, const int32_t *coordinates, F &&function) {
  const TensorMapInfo &info = box.info;
  for (unsigned row = 0; row < box.rows; ++row) {
    int64_t address = reinterpret_cast<int64_t>(info.base) +
                      int64_t(coordinates[0]) * sizeOf(info.element);
    bool inside = true;
    unsigned rest = row;
    for (unsigned i = 1; i < info.rank; ++i) {
      int64_t at = int64_t(coordinates[i]) + rest % info.box[i];
      rest /= info.box[i];
      inside &= at >= 0 && at < int64_t(info.sizes[i]);
      address += at * int64_t(info.strides[i - 1]);
    }
    int64_t first = std::max<int64_t>(0, -int64_t(coordinates[0]));
    int64_t last =
        std::min<int64_t>(info.box[0], int64_t(info.sizes[0]) - coordinates[0]);
    if (!inside || last <= first)
      first = last = 0;
    if (!function(row, address, unsigned(first), unsigned(last)))
      return false;
  }
  return true;
}

static void fillElement(const TensorMapInfo &info, unsigned char *to) {
  unsigned bytes = sizeOf(info.element);
  std::memset(to, 0, bytes);
  if (info.fill == TensorFill::Zero)
    return;
  // The fill is a special NaN; any will do to tell it from numbers.
  std::memset(to, 0xff, bytes);
  to[bytes - 1] = 0x7f;
}

//===----------------------------------------------------------------------===//
// Into shared memory
//===----------------------------------------------------------------------===//

/// Marks the destination and lets `data` arrive some time; `pieces` are offsets in shared
/// memory of every `pieceBytes` of the data.
static bool issueLoad(Warp &warp, const WarpInstruction &instruction, unsigned lane,
                      uint64_t mbarrierAddress, std::vector<uint64_t> pieces,
                      unsigned pieceBytes, std::vector<unsigned char> data) {
  ThreadBlock &block = warp.block;
  Accessor by{warp, instruction, int(lane), /*async=*/true};
  uint64_t mbarrierOffset;
  if (!block.findMbarrier(by, mbarrierAddress, mbarrierOffset))
    return false;
  for (uint64_t piece : pieces)
    if (!block.shared.beginWrite(by, piece, pieceBytes))
      return false;
  block.launch.statistics.bytesCopiedAsync += data.size();
  const WarpInstruction *source = &instruction;
  block.postponeArrival([&block, &warp, lane, source, mbarrierOffset,
                         pieces = std::move(pieces), pieceBytes, data = std::move(data)] {
    auto it = block.mbarriers.find(mbarrierOffset);
    if (it == block.mbarriers.end())
      return warp.fault(*source, FaultKind::MbarrierMisuse,
                        "the mbarrier is gone when the copy arrives", lane);
    Mbarrier &mbarrier = it->second;
    for (size_t i = 0; i < pieces.size(); ++i)
      block.shared.endWrite(pieces[i], pieceBytes, &data[i * pieceBytes], mbarrier.actor,
                            uint32_t(mbarrier.phase + 1), /*async=*/true);
    completeTransaction(block, mbarrier, int64_t(data.size()));
  });
  return true;
}

void sparse_attn::emulator::executeTensorLoad(Warp &warp,
                                              const WarpInstruction &instruction) {
  auto rank = unsigned(instruction.immediate);
  const auto *destinations = warp.lanes<uint64_t>(instruction.operand(0));
  const auto *barriers = warp.lanes<uint64_t>(instruction.operand(1));
  const auto *maps = warp.lanes<uint64_t>(instruction.operand(2));
  for (uint32_t rest = warp.mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    std::optional<Box> box = readBox(warp, instruction, lane, maps[lane], rank);
    if (!box)
      return;
    auto offset =
        warp.block.shared.locate({warp, instruction, int(lane), true}, destinations[lane],
                                 box->bytes(), /*align=*/128);
    if (!offset)
      return;
    int32_t coordinates[5];
    for (unsigned i = 0; i < rank; ++i)
      coordinates[i] = warp.lanes<int32_t>(instruction.operand(3 + i))[lane];
    unsigned elementBytes = sizeOf(box->info.element);
    std::vector<unsigned char> data(box->bytes());
    bool ok = forRows(*box, coordinates,
                      [&](unsigned row, int64_t address, unsigned first, unsigned last) {
                        unsigned char *to = &data[row * box->rowBytes];
                        for (unsigned i = 0; i < box->info.box[0]; ++i)
                          if (i < first || i >= last)
                            fillElement(box->info, to + i * elementBytes);
                        if (first == last)
                          return true;
                        const unsigned char *from =
                            resolve(warp, instruction, lane, Space::Global,
                                    address + first * elementBytes,
                                    (last - first) * elementBytes, 1, /*write=*/false);
                        if (from)
                          std::memcpy(to + first * elementBytes, from,
                                      (last - first) * elementBytes);
                        return from != nullptr;
                      });
    if (!ok)
      return;
    std::vector<uint64_t> pieces;
    for (unsigned at = 0; at < box->bytes(); at += 16)
      pieces.push_back(swizzled(box->info.swizzle, *offset + at));
    if (!issueLoad(warp, instruction, lane, barriers[lane], std::move(pieces), 16,
                   std::move(data)))
      return;
  }
  warp.tick();
}

void sparse_attn::emulator::executeBulkLoad(Warp &warp,
                                            const WarpInstruction &instruction) {
  const auto *destinations = warp.lanes<uint64_t>(instruction.operand(0));
  const auto *barriers = warp.lanes<uint64_t>(instruction.operand(1));
  const auto *sources = warp.lanes<uint64_t>(instruction.operand(2));
  const auto *sizes = warp.lanes<uint32_t>(instruction.operand(3));
  for (uint32_t rest = warp.mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    unsigned bytes = sizes[lane];
    if (bytes == 0 || bytes % 16)
      return warp.fault(instruction, FaultKind::BadOperand,
                        "copies " + Twine(bytes) + " bytes, no multiple of 16", lane);
    auto offset = warp.block.shared.locate({warp, instruction, int(lane), true},
                                           destinations[lane], bytes, 16);
    const unsigned char *from =
        offset ? resolve(warp, instruction, lane, Space::Global, sources[lane], bytes, 16,
                         /*write=*/false)
               : nullptr;
    if (!from || !issueLoad(warp, instruction, lane, barriers[lane], {*offset}, bytes,
                            std::vector<unsigned char>(from, from + bytes)))
      return;
  }
  warp.tick();
}

//===----------------------------------------------------------------------===//
// Out of shared memory
//===----------------------------------------------------------------------===//

void sparse_attn::emulator::executeTensorStore(Warp &warp,
                                               const WarpInstruction &instruction) {
  auto rank = unsigned(instruction.immediate);
  const auto *sources = warp.lanes<uint64_t>(instruction.operand(0));
  const auto *maps = warp.lanes<uint64_t>(instruction.operand(1));
  SharedMemory &shared = warp.block.shared;
  for (uint32_t rest = warp.mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    std::optional<Box> box = readBox(warp, instruction, lane, maps[lane], rank);
    if (!box)
      return;
    Accessor by{warp, instruction, int(lane), /*async=*/true};
    auto offset = shared.locate(by, sources[lane], box->bytes(), 128);
    if (!offset || !shared.beginRead(by, *offset, box->bytes()))
      return;
    int32_t coordinates[5];
    for (unsigned i = 0; i < rank; ++i)
      coordinates[i] = warp.lanes<int32_t>(instruction.operand(2 + i))[lane];
    PendingStore store{lane,         warp.storeGroups[lane], false, {}, {}, *offset,
                       box->bytes(), instruction.source};
    unsigned elementBytes = sizeOf(box->info.element);
    bool ok = forRows(
        *box, coordinates,
        [&](unsigned row, int64_t address, unsigned first, unsigned last) {
          if (first == last)
            return true;
          unsigned char *to = resolve(warp, instruction, lane, Space::Global,
                                      address + first * elementBytes,
                                      (last - first) * elementBytes, 1, /*write=*/true);
          if (!to)
            return false;
          store.pieces.push_back({store.data.size(), (last - first) * elementBytes, to});
          for (unsigned at = first * elementBytes; at < last * elementBytes; ++at)
            store.data.push_back(shared.data()[swizzled(
                box->info.swizzle, *offset + uint64_t(row) * box->rowBytes + at)]);
          return true;
        });
    if (!ok)
      return;
    warp.block.launch.statistics.bytesCopiedAsync += store.data.size();
    warp.stores.push_back(std::move(store));
  }
  warp.tick();
}

void sparse_attn::emulator::executeBulkStore(Warp &warp,
                                             const WarpInstruction &instruction) {
  const auto *destinations = warp.lanes<uint64_t>(instruction.operand(0));
  const auto *sources = warp.lanes<uint64_t>(instruction.operand(1));
  const auto *sizes = warp.lanes<uint32_t>(instruction.operand(2));
  SharedMemory &shared = warp.block.shared;
  for (uint32_t rest = warp.mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    unsigned bytes = sizes[lane];
    if (bytes == 0 || bytes % 16)
      return warp.fault(instruction, FaultKind::BadOperand,
                        "copies " + Twine(bytes) + " bytes, no multiple of 16", lane);
    Accessor by{warp, instruction, int(lane), /*async=*/true};
    auto offset = shared.locate(by, sources[lane], bytes, 16);
    if (!offset || !shared.beginRead(by, *offset, bytes))
      return;
    unsigned char *to = resolve(warp, instruction, lane, Space::Global,
                                destinations[lane], bytes, 16, /*write=*/true);
    if (!to)
      return;
    PendingStore store{lane,
                       warp.storeGroups[lane],
                       false,
                       {{0, bytes, to}},
                       {shared.data() + *offset, shared.data() + *offset + bytes},
                       *offset,
                       bytes,
                       instruction.source};
    warp.block.launch.statistics.bytesCopiedAsync += bytes;
    warp.stores.push_back(std::move(store));
  }
  warp.tick();
}

static void write(const PendingStore &store) {
  for (const PendingStore::Piece &piece : store.pieces)
    std::memcpy(piece.destination, &store.data[piece.offset], piece.bytes);
}

void sparse_attn::emulator::executeBulkCommit(Warp &warp, const WarpInstruction &) {
  warp.forLanes([&](unsigned lane) { ++warp.storeGroups[lane]; });
}

void sparse_attn::emulator::executeBulkWait(Warp &warp,
                                            const WarpInstruction &instruction) {
  auto left = uint32_t(instruction.immediate >> 1);
  bool onlyReads = instruction.immediate & 1;
  auto isDone = [&](const PendingStore &store) {
    return (warp.mask >> store.lane & 1) &&
           store.group + left < warp.storeGroups[store.lane];
  };
  for (PendingStore &store : warp.stores) {
    if (!isDone(store))
      continue;
    if (!store.readDone)
      warp.block.shared.endRead({warp, instruction, int(store.lane), true}, store.from,
                                store.fromBytes);
    store.readDone = true;
    if (!onlyReads)
      write(store);
  }
  if (!onlyReads)
    llvm::erase_if(warp.stores, isDone);
}

void sparse_attn::emulator::finishStores(Warp &warp, const WarpInstruction &instruction) {
  for (const PendingStore &store : warp.stores) {
    if (!store.readDone)
      return warp.fault(instruction, FaultKind::AsyncInFlight,
                        "the warp ends while a bulk copy reads shared memory; "
                        "cp.async.bulk.wait_group.read is missing",
                        store.lane);
    write(store);
  }
  warp.stores.clear();
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

/// Operands are the first ones; copies to several blocks of a cluster are not known.
static DecodeCall copy(Handler handler, uint64_t immediate, unsigned numOperands,
                       std::optional<unsigned> multicast) {
  return [=](Decoder &decoder, const CallBase &call) -> Error {
    if (multicast && !cast<Constant>(call.getArgOperand(*multicast))->isNullValue())
      return decoder.unsupported("copies to several blocks of a cluster");
    emitCall(decoder, call, handler, InstructionKind::Tma, immediate, numOperands);
    return Error::success();
  };
}

void sparse_attn::emulator::addBulkCopyIntrinsics(IntrinsicTable &table) {
  const std::string stem = "llvm.nvvm.cp.async.bulk.";
  for (unsigned rank = 1; rank <= 5; ++rank) {
    std::string tile = ".tile." + std::to_string(rank) + "d";
    // After the coordinates: block mask, cache hint, then whether each is used.
    table.add(stem + "tensor.g2s" + tile,
              copy(executeTensorLoad, rank, 3 + rank, 3 + rank + 2));
    table.add(stem + "tensor.g2s.cta" + tile,
              copy(executeTensorLoad, rank, 3 + rank, std::nullopt));
    table.add(stem + "tensor.s2g" + tile,
              copy(executeTensorStore, rank, 2 + rank, std::nullopt));
    table.ignore(stem + "tensor.prefetch" + tile);
  }
  table.add(stem + "global.to.shared.cluster", copy(executeBulkLoad, 0, 4, 6));
  table.add(stem + "global.to.shared.cta", copy(executeBulkLoad, 0, 4, std::nullopt));
  table.add(stem + "shared.cta.to.global", copy(executeBulkStore, 0, 3, std::nullopt));
  table.add(stem + "commit.group", executeBulkCommit, InstructionKind::Tma);
  for (bool onlyReads : {false, true})
    table.add(stem + "wait.group" + (onlyReads ? ".read" : ""),
              [=](Decoder &decoder, const CallBase &call) -> Error {
                auto left = decoder.constantOperand(call.getArgOperand(0));
                if (!left)
                  return left.takeError();
                emitCall(decoder, call, executeBulkWait, InstructionKind::Tma,
                         *left * 2 + onlyReads, 0);
                return Error::success();
              });
}
