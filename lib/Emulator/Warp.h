//===- Warp.h - 32 lanes that execute one instruction at a time --*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Where lanes part, the warp becomes fragments, each at the beginning of a block with its
// mask. The fragment at the block that comes first is executed; fragments that meet at a
// block join. Blocks are numbered so that a block comes after all from which it is
// reached, loops in one piece (BlockOrder), hence lanes that part are together again at
// the immediate post-dominator at the latest.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_WARP_H
#define SPARSE_ATTN_LIB_EMULATOR_WARP_H

#include "Program.h"
#include "VectorClock.h"
#include "sparse_attn/Emulator/Fault.h"
#include <bit>
#include <deque>

namespace sparse_attn::emulator {

class ThreadBlock;

inline constexpr uint32_t kAllLanes = 0xffffffffu;

/// cp.async: a piece of shared memory that is written some time before its wait.
struct PendingCopy {
  uint64_t offset;
  unsigned bytes;
  unsigned lane;
  /// How many groups its lane has committed before it.
  uint32_t group;
  uint32_t source;
  unsigned char data[16];
};

/// A wgmma that has been issued and not been waited for.
struct PendingWgmma {
  uint64_t group = 0;
  unsigned n = 0;
  bool halfAccumulator = false;
  const WarpInstruction *source = nullptr;
  llvm::SmallVector<Slot, 0> accumulators;
  struct Range {
    uint64_t offset, bytes;
  };
  llvm::SmallVector<Range, 0> reads;
};

/// cp.async.bulk from shared memory to global memory.
struct PendingStore {
  struct Piece {
    /// In `data`.
    size_t offset;
    unsigned bytes;
    void *destination;
  };

  unsigned lane;
  uint32_t group;
  bool readDone;
  std::vector<Piece> pieces;
  std::vector<unsigned char> data;
  /// What it reads of shared memory.
  uint64_t from;
  unsigned fromBytes;
  uint32_t source;
};

class Warp {
public:
  enum class State { Runnable, Waiting, Exited };

  Warp(ThreadBlock &block, unsigned index) : block(block), index(index) {}

  /// Executes until the warp waits, exits, faults, or its time slice is over.
  void run();

  template <typename T> T *lanes(Slot slot) {
    return reinterpret_cast<T *>(frame + size_t(slot) * kSlotBytes);
  }

  /// Calls `function` for every active lane.
  template <typename F> void forLanes(F &&function) const {
    if (mask == kAllLanes) {
      for (unsigned lane = 0; lane < 32; ++lane)
        function(lane);
      return;
    }
    for (uint32_t rest = mask; rest; rest &= rest - 1)
      function(static_cast<unsigned>(std::countr_zero(rest)));
  }

  unsigned firstLane() const { return std::countr_zero(mask); }

  /// Reports a fault of `instruction` and ends the launch.
  void fault(const WarpInstruction &instruction, FaultKind kind,
             const llvm::Twine &message, int lane = -1);

  /// The operand's value where all active lanes agree; a fault otherwise.
  std::optional<uint64_t> uniform(const WarpInstruction &instruction, Slot slot,
                                  bool wide, llvm::StringRef what);

  /// Faults unless all lanes of the warp that have not exited are active.
  bool requireAllLanes(const WarpInstruction &instruction);

  /// Goes on at the target of an edge with the lanes of `lanes`; the others of the
  /// current fragment have been given to other edges.
  void takeEdge(const Edge &edge, uint32_t lanes);
  /// Continues with the fragment that comes first.
  void resumeFirstFragment();
  /// The active lanes end.
  void exitLanes();

  /// Stops after this instruction, which is executed again when the warp is woken.
  void waitAndRetry(const WarpInstruction &instruction);
  /// Stops after this instruction.
  void wait(const WarpInstruction &instruction);
  /// Ends the time slice after this instruction.
  void yield() { stop = true; }
  /// Counts an access after which another warp may be scheduled.
  void tick() {
    if (slice == 0 || --slice == 0)
      stop = true;
  }

  /// Everything before is ordered before what acquires it.
  void release() { ++past.seen[index]; }

  /// Faults where `instruction` touches a register that a wgmma in flight writes.
  bool checkPending(const WarpInstruction &instruction);
  /// A copy that no machine executes takes along what is known of the register.
  void copyAsyncState(Slot to, Slot from);

  ThreadBlock &block;
  unsigned index;
  State state = State::Runnable;
  std::byte *frame = nullptr;
  std::byte *local = nullptr;
  uint32_t mask = 0;
  /// Lanes that have not exited.
  uint32_t alive = 0;
  const WarpInstruction *pc = nullptr;
  uint32_t currentBlock = 0;
  bool stop = false;
  unsigned slice = 0;
  /// The instruction that the warp waits at.
  const WarpInstruction *waitingAt = nullptr;
  enum class WaitFor { Nothing, Barrier, Mbarrier, Cluster } waitFor = WaitFor::Nothing;
  /// The number of the barrier, or the offset of the mbarrier.
  uint64_t waitObject = 0;
  /// Set when test_wait answered no: the state of synchronisation that it saw.
  uint64_t polledEpoch = ~0ull;

  struct Fragment {
    uint32_t block;
    uint32_t mask;
  };
  /// Those that are not executed now.
  llvm::SmallVector<Fragment, 4> fragments;
  /// The mask outside of a predicated statement of inline assembly.
  uint32_t outerMask = 0;

  Past past;

  // Asynchronous operations.
  std::deque<PendingCopy> copies;
  std::array<uint32_t, 32> copyGroups = {};
  std::deque<PendingWgmma> wgmmas;
  uint64_t wgmmaGroup = 0;
  /// By slot: whether a wgmma in flight writes it.
  std::vector<uint8_t> pendingSlots;
  unsigned numPending = 0;
  std::deque<PendingStore> stores;
  std::array<uint32_t, 32> storeGroups = {};
  /// Instructions executed; for the order of register writes and wgmma.fence.
  uint64_t executed = 0;
  uint64_t lastWgmmaFence = 0;
  /// By slot that a wgmma reads: `executed` at the last write by others.
  std::vector<uint64_t> slotWritten;
};

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_WARP_H
