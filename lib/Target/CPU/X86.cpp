//===- X86.cpp - the instruction levels of x86-64 -------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Target/CPULevel.h"
#include "sparse_attn/abi.h"

using namespace sparse_attn;

// A fused multiply-add takes 4 cycles and two start in each, so 8 accumulators
// hide its latency (12 that of vdpbf16ps, 6 cycles); more reuse each load further.
//   avx2:   16 registers: 6 x 2 accumulators, 2 of B, 1 or 2 broadcasts
//   avx512: 32 registers: 8 x 2 accumulators, 2 of B; 4 x 4 is as fast, 6 x 4 pads
//           the 64 rows of a tile to 66
static const CPULevel kLevels[] = {
    {SA_LEVEL_AVX2, "avx2", "x86-64-v3", "", 8, 6, 2, /*bf16Dot=*/false,
     /*scalef=*/false},
    {SA_LEVEL_AVX512, "avx512", "x86-64-v4", "-prefer-256-bit", 16, 8, 2,
     /*bf16Dot=*/false, /*scalef=*/true},
    {SA_LEVEL_AVX512_BF16, "avx512_bf16", "x86-64-v4", "-prefer-256-bit,+avx512bf16", 16,
     8, 2, /*bf16Dot=*/true, /*scalef=*/true},
};

llvm::ArrayRef<CPULevel> sparse_attn::getX86Levels() { return kLevels; }

const CPULevel *sparse_attn::findLevel(llvm::StringRef name) {
  for (const CPULevel &level : kLevels)
    if (level.name == name)
      return &level;
  return nullptr;
}
