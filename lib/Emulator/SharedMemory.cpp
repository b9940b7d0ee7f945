//===- SharedMemory.cpp - shared memory with a shadow that finds races ----===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SharedMemory.h"
#include "ThreadBlock.h"
#include <cstring>

using namespace llvm;
using namespace sparse_attn::emulator;

namespace {
/// In Granule::lane: several lanes wrote.
constexpr uint8_t kSeveralLanes = 0xff;
} // namespace

void SharedMemory::reset(unsigned size, unsigned warps, bool checkAll, bool within) {
  numBytes = size;
  numWarps = warps;
  check = checkAll;
  checkWithinWarp = within;
  bytes.assign(alignTo(size, 16), 0xff);
  granules.assign(alignTo(size, 16) / 4, Granule());
  inFlight.assign(alignTo(size, 16) / 16, 0);
  readers.assign(check ? granules.size() * numWarps : 0, 0);
}

std::optional<uint64_t> SharedMemory::locate(const Accessor &by, uint64_t address,
                                             unsigned size, unsigned align) {
  uint64_t plain = address & ~kWindowMask;
  uint64_t offset = plain - kSharedBase;
  if (plain < kSharedBase || offset + size > numBytes) {
    by.warp.fault(by.instruction, FaultKind::OutOfBounds,
                  "accesses " + Twine(size) + " bytes at " + Twine(int64_t(offset)) +
                      " of shared memory, which has " + Twine(numBytes),
                  by.lane);
    return std::nullopt;
  }
  if (plain % align) {
    by.warp.fault(by.instruction, FaultKind::Misaligned,
                  "accesses " + Twine(size) + " bytes at " + Twine(offset) +
                      " of shared memory, no multiple of " + Twine(align),
                  by.lane);
    return std::nullopt;
  }
  return offset;
}

void SharedMemory::report(const Accessor &by, FaultKind kind, const Twine &message,
                          const Granule *writer, int reader, uint64_t granule) {
  ThreadBlock &block = by.warp.block;
  std::optional<FaultPlace> other;
  if (writer && writer->actor < kMaxWarps)
    other =
        block.place(writer->actor, writer->lane == kSeveralLanes ? -1 : int(writer->lane),
                    writer->source);
  else if (writer)
    other = block.place(0, -1, writer->source);
  else if (reader >= 0)
    other = block.place(reader, -1, static_cast<uint32_t>(this->reader(reader, granule)));
  by.warp.stop = true;
  block.report(kind, message, block.place(by.warp.index, by.lane, by.instruction.source),
               other);
}

static std::string at(uint64_t granule) {
  return (" at " + Twine(granule * 4) + " of shared memory").str();
}

bool SharedMemory::reportPending(const Accessor &by, const Granule &shadow,
                                 uint64_t granule) {
  if (shadow.flags & kMbarrier)
    report(by, FaultKind::MbarrierMisuse,
           "an ordinary access to an mbarrier" + at(granule), &shadow);
  else
    report(by, FaultKind::AsyncInFlight,
           "touches the destination" + at(granule) +
               " of an asynchronous copy that has not been waited for",
           &shadow);
  return false;
}

bool SharedMemory::readGranule(const Accessor &by, uint64_t index, uint8_t bytesOf) {
  Granule &shadow = granules[index];
  if (shadow.flags & (kPending | kMbarrier))
    return reportPending(by, shadow, index);
  if (!check)
    return true;
  if (bytesOf & ~shadow.initialised) {
    report(by, FaultKind::UninitialisedShared,
           "reads bytes" + at(index) + " that nobody has written", nullptr);
    return false;
  }
  Warp &warp = by.warp;
  if ((shadow.written & bytesOf) && !(by.atomic && (shadow.flags & kAtomic))) {
    if (shadow.actor != warp.index) {
      if (shadow.clock > warp.past.seen[shadow.actor]) {
        report(by, FaultKind::SharedRace,
               "reads" + at(index) + " what another warp writes; no barrier is between",
               &shadow);
        return false;
      }
    } else if (checkWithinWarp && shadow.clock == warp.past.seen[warp.index] &&
               by.lane >= 0 && shadow.lane != by.lane && shadow.lane != kSeveralLanes) {
      report(
          by, FaultKind::SharedRace,
          "reads" + at(index) +
              " what another lane of the warp has written; no bar.warp.sync is between",
          &shadow);
      return false;
    }
    if (by.async && (shadow.flags & kGeneric) &&
        shadow.clock > warp.past.fenced[shadow.actor]) {
      report(by, FaultKind::MissingProxyFence,
             "an asynchronous operation reads" + at(index) +
                 " what a store has written; no fence.proxy.async is between",
             &shadow);
      return false;
    }
  }
  reader(warp.index, index) =
      uint64_t(warp.past.seen[warp.index]) << 32 | by.instruction.source;
  return true;
}

bool SharedMemory::writeGranule(const Accessor &by, uint64_t index, uint8_t bytesOf,
                                const unsigned char *data, uint32_t instance) {
  Granule &shadow = granules[index];
  if (shadow.flags & (kPending | kMbarrier))
    return reportPending(by, shadow, index);
  Warp &warp = by.warp;
  if (inFlight[index / 4]) {
    report(by, FaultKind::AsyncInFlight,
           "writes" + at(index) + " what an asynchronous operation in flight reads",
           nullptr);
    return false;
  }
  uint32_t now = warp.past.seen[warp.index];
  uint8_t written = bytesOf;
  uint8_t lane = by.lane < 0 ? kSeveralLanes : uint8_t(by.lane);
  if (instance && shadow.serial == instance) {
    // Another lane of the same instruction wrote here.
    for (unsigned i = 0; i < 4; ++i)
      if ((bytesOf & shadow.written & (1 << i)) && bytes[index * 4 + i] != data[i]) {
        report(by, FaultKind::LaneConflict,
               "lanes " + Twine(int(shadow.lane)) + " and " + Twine(by.lane) +
                   " write different values" + at(index),
               &shadow);
        return false;
      }
    written |= shadow.written;
    lane = kSeveralLanes;
  } else if (check) {
    if ((shadow.written & bytesOf) && shadow.actor != warp.index &&
        shadow.clock > warp.past.seen[shadow.actor] &&
        !(by.atomic && (shadow.flags & kAtomic))) {
      report(by, FaultKind::SharedRace,
             "writes" + at(index) + " what another warp writes; no barrier is between",
             &shadow);
      return false;
    }
    for (unsigned other = 0; other < numWarps; ++other)
      if (uint32_t(reader(other, index) >> 32) > warp.past.seen[other] &&
          other != warp.index && !by.atomic) {
        report(by, FaultKind::SharedRace,
               "writes" + at(index) + " what another warp reads; no barrier is between",
               nullptr, other, index);
        return false;
      }
    if (shadow.actor == warp.index && shadow.clock == now) {
      if (shadow.lane != lane)
        lane = kSeveralLanes;
      if (shadow.written & ~bytesOf)
        written |= shadow.written;
    }
  }
  shadow.clock = now;
  shadow.source = by.instruction.source;
  shadow.serial = instance;
  shadow.actor = uint8_t(warp.index);
  shadow.lane = lane;
  shadow.written = written;
  shadow.initialised |= bytesOf;
  shadow.flags = uint8_t((by.async ? 0 : kGeneric) | (by.atomic ? kAtomic : 0));
  return true;
}

/// Calls `function(granule, bytes of it, offset in the access)` for each 4 bytes touched.
template <typename F>
static bool forGranules(uint64_t offset, unsigned size, F &&function) {
  uint64_t end = offset + size;
  if (!(offset & 3) && !(size & 3)) {
    for (uint64_t at = offset; at < end; at += 4)
      if (!function(at / 4, uint8_t(0xf), at - offset))
        return false;
    return true;
  }
  for (uint64_t at = offset; at < end;) {
    uint64_t next = std::min((at / 4 + 1) * 4, end);
    auto bytesOf = uint8_t(((1u << (next - at)) - 1) << (at & 3));
    if (!function(at / 4, bytesOf, at - offset))
      return false;
    at = next;
  }
  return true;
}

/// Whether reading all 4 bytes is right: the common case of readGranule.
inline bool SharedMemory::mayRead(const Accessor &by, const Granule &shadow) const {
  const Past &past = by.warp.past;
  if ((shadow.flags & (kPending | kMbarrier)) || shadow.initialised != 0xf)
    return false;
  if (shadow.actor != by.warp.index
          ? shadow.clock > past.seen[shadow.actor]
          : checkWithinWarp && shadow.clock == past.seen[shadow.actor] &&
                shadow.lane != by.lane)
    return false;
  return !by.async || !(shadow.flags & kGeneric) ||
         shadow.clock <= past.fenced[shadow.actor];
}

/// The same for writing granules [first, last).
inline bool SharedMemory::mayWrite(const Accessor &by, uint64_t first, uint64_t last,
                                   uint32_t instance) const {
  const VectorClock &seen = by.warp.past.seen;
  for (uint64_t index = first; index < last; ++index) {
    const Granule &shadow = granules[index];
    if ((shadow.flags & (kPending | kMbarrier)) || inFlight[index / 4] ||
        (instance && shadow.serial == instance) ||
        (shadow.actor != by.warp.index && shadow.clock > seen[shadow.actor]))
      return false;
  }
  bool ok = true;
  for (unsigned other = 0; other < numWarps; ++other) {
    uint64_t most = uint64_t(seen[other]) << 32 | 0xffffffff;
    const uint64_t *read = &readers[other * granules.size()];
    for (uint64_t index = first; index < last; ++index)
      ok &= read[index] <= most;
  }
  return ok;
}

bool SharedMemory::read(const Accessor &by, uint64_t offset, unsigned size) {
  if (check && !(offset & 3) && !(size & 3)) {
    uint64_t stamp =
        uint64_t(by.warp.past.seen[by.warp.index]) << 32 | by.instruction.source;
    uint64_t *mine = &reader(by.warp.index, 0);
    for (uint64_t index = offset / 4; index < (offset + size) / 4; ++index) {
      if (!mayRead(by, granules[index]) && !readGranule(by, index, 0xf))
        return false;
      mine[index] = stamp;
    }
    return true;
  }
  return forGranules(offset, size, [&](uint64_t granule, uint8_t bytesOf, uint64_t) {
    return readGranule(by, granule, bytesOf);
  });
}

bool SharedMemory::write(const Accessor &by, uint64_t offset, unsigned size,
                         const void *data, uint32_t instance) {
  const auto *from = static_cast<const unsigned char *>(data);
  if (check && !(offset & 3) && !(size & 3) &&
      mayWrite(by, offset / 4, (offset + size) / 4, instance)) {
    Granule next;
    next.clock = by.warp.past.seen[by.warp.index];
    next.source = by.instruction.source;
    next.serial = instance;
    next.actor = uint8_t(by.warp.index);
    next.lane = by.lane < 0 ? kSeveralLanes : uint8_t(by.lane);
    next.written = next.initialised = 0xf;
    next.flags = uint8_t((by.async ? 0 : kGeneric) | (by.atomic ? kAtomic : 0));
    for (uint64_t index = offset / 4; index < (offset + size) / 4; ++index)
      granules[index] = next;
    std::memcpy(&bytes[offset], data, size);
    return true;
  }
  bool ok =
      forGranules(offset, size, [&](uint64_t granule, uint8_t bytesOf, uint64_t done) {
        // As the 4 bytes would lie in the granule.
        unsigned char word[4] = {};
        for (unsigned i = 0, next = 0; i < 4; ++i)
          if (bytesOf & (1 << i))
            word[i] = from[done + next++];
        return writeGranule(by, granule, bytesOf, word, instance);
      });
  if (ok)
    std::memcpy(&bytes[offset], data, size);
  return ok;
}

bool SharedMemory::beginWrite(const Accessor &by, uint64_t offset, unsigned size) {
  return forGranules(offset, size, [&](uint64_t granule, uint8_t bytesOf, uint64_t) {
    if (!writeGranule(by, granule, bytesOf, &bytes[granule * 4], 0))
      return false;
    granules[granule].flags |= kPending;
    return true;
  });
}

void SharedMemory::endWrite(uint64_t offset, unsigned size, const void *data,
                            unsigned actor, uint32_t time, bool async) {
  forGranules(offset, size, [&](uint64_t granule, uint8_t, uint64_t) {
    Granule &shadow = granules[granule];
    shadow.actor = uint8_t(actor);
    shadow.clock = time;
    shadow.flags = async ? 0 : kGeneric;
    return true;
  });
  std::memcpy(&bytes[offset], data, size);
}

bool SharedMemory::beginRead(const Accessor &by, uint64_t offset, unsigned size) {
  if (!read(by, offset, size))
    return false;
  for (uint64_t cell = offset / 16; cell <= (offset + size - 1) / 16; ++cell)
    ++inFlight[cell];
  return true;
}

void SharedMemory::endRead(const Accessor &by, uint64_t offset, unsigned size) {
  for (uint64_t cell = offset / 16; cell <= (offset + size - 1) / 16; ++cell)
    --inFlight[cell];
  if (!check)
    return;
  // The read was as late as this.
  uint64_t stamp =
      uint64_t(by.warp.past.seen[by.warp.index]) << 32 | by.instruction.source;
  for (uint64_t granule = offset / 4; granule <= (offset + size - 1) / 4; ++granule)
    reader(by.warp.index, granule) = stamp;
}

bool SharedMemory::makeMbarrier(const Accessor &by, uint64_t offset) {
  static const unsigned char zeros[8] = {};
  if (!write(by, offset, 8, zeros, 0))
    return false;
  granules[offset / 4].flags |= kMbarrier;
  granules[offset / 4 + 1].flags |= kMbarrier;
  return true;
}

void SharedMemory::dropMbarrier(uint64_t offset) {
  for (uint64_t granule : {offset / 4, offset / 4 + 1}) {
    granules[granule].flags &= ~kMbarrier;
    granules[granule].initialised = 0;
  }
}

bool SharedMemory::useMbarrier(const Accessor &by, uint64_t offset) {
  const Granule &shadow = granules[offset / 4];
  if (!check)
    return true;
  if (shadow.actor != by.warp.index && shadow.clock > by.warp.past.seen[shadow.actor]) {
    report(by, FaultKind::MbarrierMisuse,
           "uses an mbarrier" + at(offset / 4) +
               " that another warp initialises; no barrier is between",
           &shadow);
    return false;
  }
  if (by.async && shadow.clock > by.warp.past.fenced[shadow.actor]) {
    report(
        by, FaultKind::MissingProxyFence,
        "an asynchronous copy signals an mbarrier" + at(offset / 4) +
            "; no fence.mbarrier_init or fence.proxy.async is after its initialisation",
        &shadow);
    return false;
  }
  return true;
}
