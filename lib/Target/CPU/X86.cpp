//===- X86.cpp - x86-64 and its instruction levels -----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Target/CPUArchitecture.h"
#include "sparse_attn/abi.h"
#include "llvm/Support/TargetSelect.h"

using namespace sparse_attn;

// A fused multiply-add takes 4 cycles and two start in each, so 8 accumulators
// hide its latency (12 that of vdpbf16ps, 6 cycles); more reuse each load further.
//   avx2:   16 registers: 6 x 2 accumulators, 2 of B, 1 or 2 broadcasts
//   avx512: 32 registers: 8 x 2 accumulators, 2 of B; 4 x 4 is as fast, 6 x 4 pads
//           the 64 rows of a tile to 66
static const CPULevel kLevels[] = {
    {.id = SA_LEVEL_AVX2,
     .name = "avx2",
     .cpu = "x86-64-v3",
     .features = "",
     .lanes = 8,
     .tileRows = 6,
     .tileVectors = 2},
    {.id = SA_LEVEL_AVX512,
     .name = "avx512",
     .cpu = "x86-64-v4",
     .features = "-prefer-256-bit",
     .lanes = 16,
     .tileRows = 8,
     .tileVectors = 2,
     .scalef = true},
    {.id = SA_LEVEL_AVX512_BF16,
     .name = "avx512_bf16",
     .cpu = "x86-64-v4",
     .features = "-prefer-256-bit,+avx512bf16",
     .lanes = 16,
     .tileRows = 8,
     .tileVectors = 2,
     .bf16Dot = true,
     .scalef = true},
};

static void registerBackend() {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
}

namespace sparse_attn::cpu {
extern const CPUArchitecture X86 = {
    .name = "x86_64",
    .baselineCpu = "x86-64-v2",
    .debianName = "amd64",
    .loader = "ld-linux-x86-64.so.2",
    .registerBackend = registerBackend,
    .levels = kLevels,
};
} // namespace sparse_attn::cpu
