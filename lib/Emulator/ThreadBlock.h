//===- ThreadBlock.h - the warps of a block and what they share --*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A seeded scheduler runs one warp at a time, for a random number of shared-memory
// accesses or until it waits. Asynchronous copies arrive at a random step, or when no
// warp can go on, the latest legal moment.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_THREADBLOCK_H
#define SPARSE_ATTN_LIB_EMULATOR_THREADBLOCK_H

#include "GlobalMemory.h"
#include "SharedMemory.h"
#include "sparse_attn/Emulator/Device.h"
#include <functional>

namespace sparse_attn::emulator {

/// What all blocks of a launch share.
struct Launch {
  const Program &program;
  const Options &options;
  GlobalMemory &memory;
  Dim3 grid, blockDim;
  unsigned sharedBytes;
  unsigned dynamicSharedBytes;
  Statistics statistics;
  /// The first fault.
  std::unique_ptr<Fault> fault;
  uint64_t random = 0;

  /// splitmix64.
  uint64_t nextRandom() {
    uint64_t z = (random += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
};

/// One of the 16 barriers of bar.sync.
struct NamedBarrier {
  unsigned expected = 0;
  unsigned arrived = 0;
  unsigned arrivedLanes = 0;
  /// Whether the count is that of all threads of the block.
  bool all = false;
  uint32_t warps = 0;
  uint32_t waiting = 0;
  Past past;
  /// Of reductions: the instruction's operands so far.
  unsigned trueLanes = 0;
  const WarpInstruction *first = nullptr;
  unsigned firstWarp = 0;
};

struct Mbarrier {
  uint32_t expected = 0;
  uint32_t pending = 0;
  int64_t transactions = 0;
  uint64_t phase = 0;
  unsigned actor = 0;
  /// Of the phase under way, and of the last complete one.
  Past arriving, complete;
  /// By warp: the phase that it has last seen as not complete, plus 1.
  std::array<uint64_t, kMaxWarps> awaited = {};
};

/// wgmma: what the warps of a warpgroup have executed so far.
struct WarpgroupLog {
  struct Entry {
    uint32_t source;
    uint64_t a, b;
    bool scale;
  };
  std::deque<Entry> entries;
  /// Entries before have been executed by all four warps.
  uint64_t first = 0;
  std::array<uint64_t, 4> done = {};
};

class ThreadBlock {
public:
  explicit ThreadBlock(Launch &launch);

  /// Executes one block; false after a fault.
  bool run(Dim3 blockIndex);

  /// Adds a fault, unless there is one.
  void report(FaultKind kind, const llvm::Twine &message, FaultPlace place,
              std::optional<FaultPlace> other = std::nullopt);
  FaultPlace place(unsigned warp, int lane, uint32_t source) const;

  /// Something that a waiting or polling warp could wait for has happened.
  void notify() { ++epoch; }
  void wake(Warp &warp);

  /// Copies that arrive later; called with all else stopped.
  void postponeArrival(std::function<void()> arrival) {
    arrivals.push_back(std::move(arrival));
  }

  /// The mbarrier at an address; a fault where there is none.
  Mbarrier *findMbarrier(const Accessor &by, uint64_t address, uint64_t &offset);
  /// Ends the phase where all has arrived.
  void completePhase(Mbarrier &mbarrier);

  Launch &launch;
  Dim3 index;
  SharedMemory shared;
  std::vector<Warp> warps;
  std::array<NamedBarrier, 16> barriers;
  std::map<uint64_t, Mbarrier> mbarriers;
  unsigned numMbarriers = 0;
  std::vector<WarpgroupLog> warpgroups;
  uint64_t epoch = 0;
  // Cluster barriers, of the cluster that is this block.
  uint32_t clusterArrived = 0;
  uint64_t clusterPhase = 0;
  std::array<uint64_t, kMaxWarps> clusterArrivedPhase = {};
  Past clusterPast, clusterComplete;

private:
  void start(Dim3 blockIndex);
  Warp *pick();
  Warp *pickPolling();
  bool finish();
  void reportDeadlock();
  void describeWait(llvm::raw_ostream &stream, const Warp &warp) const;

  std::vector<std::function<void()>> arrivals;
  std::unique_ptr<std::byte[]> frames;
  std::vector<std::byte> locals;
  unsigned numThreads = 0;
  /// How often warps have polled since `pollEpoch`, in vain.
  unsigned numPolls = 0;
  uint64_t pollEpoch = 0;
};

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_THREADBLOCK_H
