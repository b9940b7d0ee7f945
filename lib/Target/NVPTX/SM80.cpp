//===- SM80.cpp - NVIDIA's Ampere and newer: mma.sync, cp.async -----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Target/GPUTarget.h"

namespace sparse_attn::gpu {
extern const GPUTarget SM80 = {
    .name = "sm_80",
    .features = "+ptx80",
    .capability = 80,
    // 8.6 and 8.9, which run this code too, have 99 KiB.
    .sharedBytes = 99 * 1024,
};
} // namespace sparse_attn::gpu
