//===- @CAMEL@.cpp - the instruction levels of @CAMEL@ @FILL@===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Target/CPULevel.h"
#include "sparse_attn/abi.h"

using namespace sparse_attn;

// TODO(you): latency times issue width is the number of accumulators that hide
// the latency of a fused multiply-add; registers / lanes bound the tile.
//   id, name, cpu of LLVM, features, f32 lanes, rows and vectors of the tile
static const CPULevel kLevels[] = {
    {SA_LEVEL_@UPPER@, "@LOWER@", "generic", "", 4, 4, 2},
};

llvm::ArrayRef<CPULevel> sparse_attn::get@CAMEL@Levels() { return kLevels; }
