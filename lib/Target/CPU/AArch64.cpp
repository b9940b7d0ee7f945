//===- AArch64.cpp - 64-bit Arm and its instruction levels ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Target/CPUArchitecture.h"
#include "sparse_attn/abi.h"
#include "llvm/Support/TargetSelect.h"

using namespace sparse_attn;

// 32 registers of 4 lanes. Neoverse V1 and V2 start four fused multiply-adds in a
// cycle (N1 and N2 two), each of which takes 4 cycles: 16 accumulators hide that, also
// without the early forwarding of sums that these cores have.
//   neon: 8 x 2 accumulators, 8 of A, 2 of B. A multiply-add takes any lane of a
//         register (fmla v.4s, v.4s, v.s[lane]), so a row of A is loaded 4 elements at
//         once: 12 loads for 64 multiply-adds. One element at a time, there would be
//         a load for every two of them, which (ld1r) takes a slot of a vector pipe
//         besides. 4 x 4 needs 20 loads; 6 x 3 and 5 x 4 do not divide 64 x 128.
static const CPULevel kLevels[] = {
    {.id = SA_LEVEL_NEON,
     .name = "neon",
     .cpu = "generic",
     .features = "",
     .lanes = 4,
     .tileRows = 8,
     .tileVectors = 2,
     .depth = 4},
};

static void registerBackend() {
  LLVMInitializeAArch64TargetInfo();
  LLVMInitializeAArch64Target();
  LLVMInitializeAArch64TargetMC();
  LLVMInitializeAArch64AsmPrinter();
}

namespace sparse_attn::cpu {
extern const CPUArchitecture AArch64 = {
    .name = "aarch64",
    .baselineCpu = "generic",
    .debianName = "arm64",
    .loader = "ld-linux-aarch64.so.1",
    .registerBackend = registerBackend,
    .levels = kLevels,
};
} // namespace sparse_attn::cpu
