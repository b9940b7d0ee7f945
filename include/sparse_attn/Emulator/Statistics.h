//===- Statistics.h - what a launch executed --------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Counts are per warp: an instruction of a warp counts once, whatever its mask.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_EMULATOR_STATISTICS_H
#define SPARSE_ATTN_EMULATOR_STATISTICS_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/raw_ostream.h"
#include <array>
#include <cstdint>

namespace sparse_attn::emulator {

/// The groups that instructions are counted in.
enum class InstructionKind : uint8_t {
  Integer,
  Float,
  Double,
  SpecialFunction,
  Convert,
  Branch,
  LoadGlobal,
  StoreGlobal,
  LoadShared,
  StoreShared,
  LoadOther,
  StoreOther,
  Atomic,
  Shuffle,
  Barrier,
  Mbarrier,
  Fence,
  LoadMatrix,
  StoreMatrix,
  Mma,
  Wgmma,
  CopyAsync,
  Tma,
  Special,
  Move,
  Count
};

llvm::StringRef nameOf(InstructionKind kind);

struct Statistics {
  static constexpr size_t kKinds = static_cast<size_t>(InstructionKind::Count);

  std::array<uint64_t, kKinds> executed = {};
  uint64_t blocks = 0;
  uint64_t warps = 0;
  /// Multiply-adds of mma and wgmma instructions.
  uint64_t matrixMultiplyAdds = 0;
  /// Passes over the 32 banks that loads and stores of shared memory took, and the
  /// passes that they would take without conflicts.
  uint64_t sharedWavefronts = 0;
  uint64_t sharedWavefrontsIdeal = 0;
  /// Bytes of shared memory that wgmma reads: its B once for the four warps, and its A
  /// where that is there.
  uint64_t wgmmaSharedBytes = 0;
  /// 32-byte sectors of global memory that loads, stores and cp.async touched.
  uint64_t globalSectors = 0;
  /// Bytes that cp.async and TMA moved into and TMA out of shared memory.
  uint64_t bytesCopiedAsync = 0;

  uint64_t &operator[](InstructionKind kind) {
    return executed[static_cast<size_t>(kind)];
  }
  uint64_t operator[](InstructionKind kind) const {
    return executed[static_cast<size_t>(kind)];
  }
  /// All instructions that a machine would execute: moves between registers that only
  /// the form of the IR asks for are left out.
  uint64_t total() const;
  void add(const Statistics &other);
  void print(llvm::raw_ostream &stream) const;
};

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_EMULATOR_STATISTICS_H
