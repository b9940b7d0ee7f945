//===- CeilingsLibrary.cpp - the ceilings for Python -----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What benchmark/ceilings.py calls by ctypes.
//
//===----------------------------------------------------------------------===//

#include "Ceilings.h"
#include <string_view>

using namespace sparse_attn_bench;

/// Bytes that no cache of this machine holds.
extern "C" __attribute__((visibility("default"))) size_t
sparse_attn_bytes_beyond_caches() {
  return getBytesBeyondCaches();
}

/// The ceiling `name` ("fma", "bf16_dot" or "read") of `threads` cores, measured over
/// about `seconds`, in FLOP/s or bytes/s; 0 where the processor has no such instruction,
/// -1 for another name.
extern "C" __attribute__((visibility("default"))) double
sparse_attn_measure_ceiling(const char *name, int threads, double seconds) {
  std::string_view wanted = name;
  if (wanted == "fma")
    return measureFma(threads, seconds);
  if (wanted == "bf16_dot")
    return measureBf16Dot(threads, seconds);
  if (wanted == "read")
    return measureRead(threads, seconds);
  return -1;
}
