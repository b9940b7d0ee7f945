//===- Memory.h - addresses of all memory spaces ----------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_MEMORY_H
#define SPARSE_ATTN_LIB_EMULATOR_MEMORY_H

#include "Decoder.h"
#include "ThreadBlock.h"

namespace sparse_attn::emulator {

/// What a load or store moves: the scalars of a value and where they lie in memory.
struct Access {
  struct Part {
    unsigned offset;
    unsigned bytes;
    bool wide;
  };
  llvm::SmallVector<Part, 4> parts;
  unsigned bytes = 0;
  unsigned align = 1;
  unsigned space = 0;
  bool atomic = false;
  /// Parts fill all bytes.
  bool dense = true;
};

enum class Space { Global, Shared, Local };

/// The space of an address in an address space of LLVM's.
inline Space spaceOf(unsigned addressSpace, uint64_t address) {
  switch (addressSpace) {
  case 3:
  case 7:
    return Space::Shared;
  case 5:
    return Space::Local;
  case 0:
    if ((address & kWindowMask) == kSharedWindow)
      return Space::Shared;
    return (address & kWindowMask) == kLocalWindow ? Space::Local : Space::Global;
  default:
    return Space::Global;
  }
}

/// Where `bytes` of global or local memory lie on the host; null after a fault.
unsigned char *resolve(Warp &warp, const WarpInstruction &instruction, unsigned lane,
                       Space space, uint64_t address, unsigned bytes, unsigned align,
                       bool write);

/// Counts the 32-byte sectors that the active lanes touch.
void countSectors(Warp &warp, const uint64_t *addresses, unsigned bytes);
/// Counts the passes over the banks of shared memory for an access of `bytes` by each of
/// `lanes`.
void countWavefronts(Warp &warp, const uint64_t *addresses, unsigned bytes,
                     uint32_t lanes);

/// Emits a load or a store; operand 0 is the address.
void emitAccess(Decoder &decoder, bool isStore, llvm::ArrayRef<Slot> results,
                llvm::ArrayRef<Slot> operands, Access access);

llvm::Expected<bool> decodeAtomic(Decoder &decoder, const llvm::Instruction &instruction);

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_MEMORY_H
