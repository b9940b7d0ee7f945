//===- PatternSupport.h - what the pattern ops share -----------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_DIALECT_PATTERNSUPPORT_H
#define SPARSE_ATTN_DIALECT_PATTERNSUPPORT_H

#include "dialect/SparseAttn/SparseAttn.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/MathExtras.h"
#include <vector>

namespace sparse_attn {

/// Parameters and positions are below this, so i32 sums of two do not overflow.
inline constexpr int64_t kParameterEnd = int64_t{1} << 30;

/// Checks low <= value < 2^30; `instead` says what to write otherwise.
mlir::LogicalResult verifyParameter(mlir::Operation *op, const llvm::Twine &name,
                                    int64_t value, int64_t low, llvm::StringRef instead);

/// Whether a tensor may hold more than one entry along `axis`: an axis of size 1
/// is the same for every batch entry or head.
inline bool variesAlong(mlir::Value tensor, unsigned axis) {
  return llvm::cast<mlir::ShapedType>(tensor.getType()).getDimSize(axis) != 1;
}

//===--- Random numbers ---------------------------------------------------===//

/// The last word of a counter: what the draws are for. random_blocks draws from 0.
enum class Stream : uint32_t {
  RandomKeys = 1,
  Uniform = 2,
  AdaptiveBase = 3,
  Adaptive = 4,
  Lsh = 5,
  Cluster = 6
};

/// Philox 4x32-10 (Salmon et al., SC 2011): four random words for a key and a
/// counter.
std::array<uint32_t, 4> philox4x32(uint64_t key, std::array<uint32_t, 4> counter);

/// The key blocks that random_blocks draws for one query block, in draw order.
std::vector<int64_t> drawRandomBlocks(int64_t total, int64_t count, int64_t seed,
                                      uint32_t plane, uint32_t queryBlock);

} // namespace sparse_attn

#endif // SPARSE_ATTN_DIALECT_PATTERNSUPPORT_H
