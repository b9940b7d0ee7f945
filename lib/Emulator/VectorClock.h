//===- VectorClock.h - what a warp knows of the others' past ----*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Warps and mbarriers are actors. A warp's own entry counts its releases; entry `a` of a
// warp's clock says up to where the past of actor `a` is ordered before the warp.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_VECTORCLOCK_H
#define SPARSE_ATTN_LIB_EMULATOR_VECTORCLOCK_H

#include <algorithm>
#include <array>
#include <cstdint>

namespace sparse_attn::emulator {

inline constexpr unsigned kMaxWarps = 32;
inline constexpr unsigned kMaxMbarriers = 96;
inline constexpr unsigned kMaxActors = kMaxWarps + kMaxMbarriers;

struct VectorClock {
  std::array<uint32_t, kMaxActors> time = {};

  void join(const VectorClock &other) {
    for (unsigned i = 0; i < kMaxActors; ++i)
      time[i] = std::max(time[i], other.time[i]);
  }
  uint32_t &operator[](unsigned actor) { return time[actor]; }
  uint32_t operator[](unsigned actor) const { return time[actor]; }
};

/// What is ordered before a point, and what part of it has passed a fence between the
/// generic and the asynchronous proxy.
struct Past {
  VectorClock seen, fenced;

  void join(const Past &other) {
    seen.join(other.seen);
    fenced.join(other.fenced);
  }
};

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_VECTORCLOCK_H
