//===- SM90A.cpp - NVIDIA's Hopper: wgmma, TMA ----------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Target/GPUTarget.h"

namespace sparse_attn::gpu {
extern const GPUTarget SM90A = {
    .name = "sm_90a",
    .features = "+ptx80",
    .capability = 90,
    .exact = true,
    .sharedBytes = 227 * 1024,
    .warpgroups = true,
};
} // namespace sparse_attn::gpu
