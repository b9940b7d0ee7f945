//===- ListTilesTest.cpp - lists that a GPU makes against the host's ------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM
// Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PlannedLists.h"

using namespace sparse_attn;
using namespace sparse_attn::planned;

TEST(GPULists, segments) {
  checkPattern("segments(offsets)");
  checkPattern("causal & segments(offsets)",
               {.type = ElementType::F32, .lengths = false});
}

TEST(GPULists, blockMasks) {
  checkPattern("block_mask(indptr, indices, 24, 40)");
  checkPattern("causal & block_mask(indptr, indices, 24, 40)",
               {.type = ElementType::F32, .lengths = false});
}

TEST(GPULists, bitsOfBlocks) {
  checkPattern("block_mask(indptr, indices, bits, 24, 40)");
}

TEST(GPULists, compositions) {
  for (const char *pattern :
       {"causal & (segments(offsets) | global(index) | sink(3))",
        "window(60, 10) | (block_mask(indptr, indices, 24, 40) & "
        "~segments(offsets))",
        "per_head([segments(offsets), causal & block_mask(indptr, indices, 24, "
        "40)], "
        "table = [1, 0])",
        "~(segments(offsets) | window(20, 20))", "causal - segments(offsets)"})
    checkPattern(pattern);
}
