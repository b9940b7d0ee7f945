//===- Check.h - comparing outputs with the reference ----------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TOOLS_RUN_CHECK_H
#define SPARSE_ATTN_TOOLS_RUN_CHECK_H

#include "Oracle.h"
#include <functional>
#include <vector>

namespace sparse_attn::run {

/// The bound of LSE: docs/semantics.md, section 9.
inline constexpr double kLseBound = 2e-5;

/// The least bound of O on a GPU: f32 goes through tf32 and through exponentials of the
/// processor's function unit (docs/architecture.md, "GPU kernels").
inline constexpr double kGPUOutBound = 5e-6;

struct CheckResult {
  int64_t rows = 0, allRows = 0;
  double outError = 0; ///< |O - ref| / |ref|, 2-norm over the checked rows
  double lseError = 0; ///< largest |LSE - ref|
  double outBound = 0;
  /// NaN compares as false.
  bool passed() const { return outError <= outBound && lseError <= kLseBound; }
};

struct CheckRequest {
  int64_t rows = 0; ///< 0: all, or a sample where there are more than 2^28 pairs
  uint64_t seed = 0;
  double leastBound = 0; ///< of O
  unsigned threads = 0;
  std::function<void(int64_t done, int64_t total)> progress;
};

/// Computes rows in float64 and compares. `outputs` are those of the kernel, in
/// order: rank 4 is an O, rank 3 an LSE.
llvm::Expected<CheckResult> checkOutputs(Oracle &oracle, const CheckRequest &request,
                                         llvm::ArrayRef<Array> outputs);

} // namespace sparse_attn::run

#endif // SPARSE_ATTN_TOOLS_RUN_CHECK_H
