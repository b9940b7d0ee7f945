//===- EmulatedAttention.h - GPU kernels on the emulator -------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_GPU_EMULATEDATTENTION_H
#define SPARSE_ATTN_TEST_UNIT_GPU_EMULATEDATTENTION_H

#include "sparse_attn/Emulator/Device.h"
#include "sparse_attn/Expression/Expression.h"
#include "sparse_attn/Support/Array.h"
#include "llvm/ADT/StringMap.h"
#include <functional>

namespace sparse_attn {

/// An attention, its inputs and how a launch divides it.
struct EmulatedCase {
  KernelSpec spec; ///< without a name
  int64_t batch = 1, heads = 1, kvHeads = 1, queries = 1, keys = 1;
  llvm::StringMap<Array> operands; ///< by name, but for q, k and v
  int64_t stack = 1;               ///< heads of a tile
  int64_t parts = 1;               ///< of the keys of a tile
  int64_t step = 1;                ///< of rows and keys
  int64_t tileQueries = 0;         ///< rows of a head in a tile; 0: as many as fit
  int64_t strideSlack = 0;         ///< elements between rows of Q, K and V
  uint64_t seed = 1;
  const char *target = "sm_80";
  bool maps = true;    ///< tensor maps where the kernel takes them
  unsigned blocks = 0; ///< of a kernel that goes on with more items; 0: one for each
  /// Changes Q, K and V before the run.
  std::function<void(Array &q, Array &k, Array &v)> change;
};

struct EmulatedResult {
  double outError = 0; ///< 2-norm of the difference over that of the reference
  double lseError = 0; ///< largest difference
  emulator::Statistics statistics[2]; ///< of attend and of combine
};

/// Compiles the attention for its target, runs its kernels on the emulator into poisoned
/// outputs, and compares with the reference: rows without keys exactly, and NaN with NaN.
llvm::Expected<EmulatedResult> runEmulated(EmulatedCase test);

/// Fails the test that calls it where the result is not within the bounds of its type;
/// infs and NaNs are compared one by one.
void checkEmulated(EmulatedCase test);

/// One head.
EmulatedCase makeCase(const char *pattern, int64_t dim, ElementType type, int64_t queries,
                      int64_t keys, const char *target = "sm_80");
/// Two heads, softcap, slopes and sinks.
void addModifiersAndSinks(EmulatedCase &test);
/// The operand of segments(offsets).
void addOffsets(EmulatedCase &test, llvm::ArrayRef<int32_t> starts);

} // namespace sparse_attn

#endif // SPARSE_ATTN_TEST_UNIT_GPU_EMULATEDATTENTION_H
