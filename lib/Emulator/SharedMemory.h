//===- SharedMemory.h - shared memory with a shadow that finds races --*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// For every 4 bytes the shadow keeps who wrote them last (which of the bytes, when on the
// writer's clock, by which instruction) and when each warp has read them last. An access
// is a race where the clock of the accessing warp does not include the earlier one.
// Writes of neighbouring bytes inside 4 bytes by several warps are no race, but only the
// latest of them is remembered.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_SHAREDMEMORY_H
#define SPARSE_ATTN_LIB_EMULATOR_SHAREDMEMORY_H

#include "Warp.h"

namespace sparse_attn::emulator {

/// Who accesses.
struct Accessor {
  Warp &warp;
  const WarpInstruction &instruction;
  int lane;
  /// Through the asynchronous proxy.
  bool async = false;
  bool atomic = false;
};

class SharedMemory {
public:
  /// Empty, uninitialised memory for a block of `numWarps`.
  void reset(unsigned bytes, unsigned numWarps, bool check, bool checkWithinWarp);

  unsigned size() const { return numBytes; }
  unsigned char *data() { return bytes.data(); }

  /// The offset of `address`, which may be a generic pointer; a fault outside.
  std::optional<uint64_t> locate(const Accessor &by, uint64_t address, unsigned size,
                                 unsigned align);

  /// Checks; the caller copies the bytes. False after a fault.
  bool read(const Accessor &by, uint64_t offset, unsigned size);
  /// Checks and stores. `serial` is the same for all lanes of one instruction.
  bool write(const Accessor &by, uint64_t offset, unsigned size, const void *data,
             uint32_t serial);

  /// An asynchronous write is issued: a write now, and untouchable until it ends.
  bool beginWrite(const Accessor &by, uint64_t offset, unsigned size);
  /// Its data arrive, for those whose clock has `time` at `actor`.
  void endWrite(uint64_t offset, unsigned size, const void *data, unsigned actor,
                uint32_t time, bool async);

  /// An asynchronous read is issued; no write until it ends.
  bool beginRead(const Accessor &by, uint64_t offset, unsigned size);
  void endRead(const Accessor &by, uint64_t offset, unsigned size);

  /// The 8 bytes of an mbarrier: ordinary accesses are faults.
  bool makeMbarrier(const Accessor &by, uint64_t offset);
  void dropMbarrier(uint64_t offset);
  /// Checks that the initialisation of an mbarrier is ordered before.
  bool useMbarrier(const Accessor &by, uint64_t offset);

  uint32_t nextSerial() { return ++serial; }

private:
  enum Flag : uint8_t { kGeneric = 1, kPending = 2, kMbarrier = 4, kAtomic = 8 };

  struct Granule {
    uint32_t clock = 0;
    uint32_t source = 0;
    uint32_t serial = 0;
    uint8_t actor = 0;
    uint8_t lane = 0;
    /// Bytes of the last writer; bytes that have been written at all.
    uint8_t written : 4 = 0;
    uint8_t initialised : 4 = 0;
    uint8_t flags = 0;
  };
  static_assert(sizeof(Granule) == 16);

  bool mayRead(const Accessor &by, const Granule &shadow) const;
  bool mayWrite(const Accessor &by, uint64_t first, uint64_t last, uint32_t serial) const;
  bool readGranule(const Accessor &by, uint64_t granule, uint8_t bytesOf);
  bool writeGranule(const Accessor &by, uint64_t granule, uint8_t bytesOf,
                    const unsigned char *data, uint32_t serial);
  bool reportPending(const Accessor &by, const Granule &shadow, uint64_t granule);
  uint64_t &reader(unsigned warp, uint64_t granule) {
    return readers[warp * granules.size() + granule];
  }
  void report(const Accessor &by, FaultKind kind, const llvm::Twine &message,
              const Granule *writer, int reader = -1, uint64_t granule = 0);

  std::vector<unsigned char> bytes;
  std::vector<Granule> granules;
  /// [warp * number of granules + granule]: clock << 32 | source.
  std::vector<uint64_t> readers;
  /// Asynchronous reads in flight, for every 16 bytes.
  std::vector<uint16_t> inFlight;
  unsigned numBytes = 0;
  unsigned numWarps = 0;
  uint32_t serial = 0;
  bool check = true;
  bool checkWithinWarp = true;
};

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_SHAREDMEMORY_H
