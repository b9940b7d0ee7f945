//===- CPULevel.h - facts about an instruction level -----------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TARGET_CPULEVEL_H
#define SPARSE_ATTN_TARGET_CPULEVEL_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <string>

namespace sparse_attn {

/// What the lowering needs to know of one instruction level. A level is a row of
/// the table in lib/Target/CPU/<architecture>.cpp.
struct CPULevel {
  int32_t id;               ///< SA_LEVEL_* of the runtime
  llvm::StringLiteral name; ///< "avx512"
  llvm::StringLiteral cpu;  ///< what LLVM tunes and selects for
  llvm::StringLiteral features;
  /// f32 lanes of a vector register.
  int64_t lanes;
  /// The register tile of the matrix products: rows x (vectors * lanes) f32
  /// accumulators, which with one row of B and a broadcast fill the registers.
  int64_t tileRows, tileVectors;
  /// How A's elements reach the lanes: 1 where a multiply-add broadcasts one from
  /// memory, `lanes` where it takes any lane of a register.
  int64_t depth = 1;
  /// It multiplies pairs of bf16 and adds both products to an f32 (vdpbf16ps).
  bool bf16Dot = false;
  /// It scales by powers of two (vscalefps).
  bool scalef = false;

  int64_t panel() const { return tileVectors * lanes; }
};

/// The level called `name` of any architecture, null if there is none.
const CPULevel *findLevel(llvm::StringRef name);

/// "neon, avx2, avx512", for messages.
std::string listLevels();

} // namespace sparse_attn

#endif // SPARSE_ATTN_TARGET_CPULEVEL_H
