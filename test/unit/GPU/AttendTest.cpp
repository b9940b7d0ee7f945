//===- AttendTest.cpp - GPU attention against the reference ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The kernels for sm_80, as LLVM's backend gets them, on the emulator, which reports
// races, uninitialised reads and accesses out of bounds too.
//
//===----------------------------------------------------------------------===//

#include "EmulatedAttention.h"
#include <gtest/gtest.h>
#include <limits>

using namespace sparse_attn;

TEST(GPUAttend, everyHeadSizeAndType) {
  for (ElementType type : {ElementType::BF16, ElementType::F16, ElementType::F32})
    for (int64_t dim : {16, 64, 80, 96, 128, 192, 256})
      checkEmulated(makeCase("causal & (window(70, 0) | sink(3))", dim, type, 150, 201));
}

TEST(GPUAttend, structuralPatterns) {
  for (const char *pattern :
       {"all", "causal", "window(20, 33)", "none", "strided(7) & causal",
        "block_diagonal(48)", "global(stride=32) | window(3, 3)", "~window(40, 40)"})
    checkEmulated(makeCase(pattern, 32, ElementType::BF16, 130, 170));
}

TEST(GPUAttend, groupsAndStacks) {
  for (int64_t stack : {1, 3}) {
    EmulatedCase test = makeCase("causal", 64, ElementType::BF16, 5, 300);
    test.batch = 2, test.heads = 6, test.kvHeads = 2, test.stack = stack;
    checkEmulated(std::move(test));
  }
}

TEST(GPUAttend, partsOfTheKeysAreCombined) {
  for (ElementType type : {ElementType::BF16, ElementType::F32}) {
    EmulatedCase test = makeCase("window(400, 0)", 64, type, 1, 700);
    test.heads = 4, test.stack = 4, test.parts = 5;
    checkEmulated(std::move(test));
  }
}

TEST(GPUAttend, stepsOfAPeriod) {
  EmulatedCase test = makeCase("dilated(255, 0, 4)", 32, ElementType::F16, 150, 330);
  test.step = 4;
  checkEmulated(std::move(test));
}

TEST(GPUAttend, modifiersAndSinks) {
  EmulatedCase test = makeCase("causal", 64, ElementType::F32, 70, 90);
  addModifiersAndSinks(test);
  checkEmulated(std::move(test));
}

TEST(GPUAttend, plansListTiles) {
  EmulatedCase test =
      makeCase("causal & segments(offsets)", 64, ElementType::BF16, 200, 200);
  addOffsets(test, {0, 90, 95, 200});
  checkEmulated(std::move(test));
}

TEST(GPUAttend, rowsThatAreNotAligned) {
  for (ElementType type : {ElementType::BF16, ElementType::F32}) {
    EmulatedCase test = makeCase("causal", 40, type, 70, 100);
    test.spec.valueDim = 19;
    test.strideSlack = 3;
    checkEmulated(std::move(test));
  }
}
