//===- @CAMEL@.cpp - @CAMEL@ and its instruction levels @FILL@===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Target/CPUArchitecture.h"
#include "sparse_attn/abi.h"
#include "llvm/Support/TargetSelect.h"

using namespace sparse_attn;

// TODO(you): latency times issue width is the number of accumulators that hide
// the latency of a fused multiply-add; registers / lanes bound the tile.
static const CPULevel kLevels[] = {
    {.id = SA_LEVEL_@UPPER@,
     .name = "@LOWER@",
     .cpu = "generic",
     .features = "",
     .lanes = 4,
     .tileRows = 4,
     .tileVectors = 2},
};

// TODO(you): the names of LLVM's backend.
static void registerBackend() {
  LLVMInitialize@CAMEL@TargetInfo();
  LLVMInitialize@CAMEL@Target();
  LLVMInitialize@CAMEL@TargetMC();
  LLVMInitialize@CAMEL@AsmPrinter();
}

// TODO(you): the architecture's name in LLVM's triples and in Debian's packages, and
// the dynamic linker of glibc.
namespace sparse_attn::cpu {
extern const CPUArchitecture @CAMEL@ = {
    .name = "@LOWER@",
    .baselineCpu = "generic",
    .debianName = "@LOWER@",
    .loader = "ld-linux-@LOWER@.so.1",
    .registerBackend = registerBackend,
    .levels = kLevels,
};
} // namespace sparse_attn::cpu
