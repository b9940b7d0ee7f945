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

/// The bounds of docs/semantics.md, section 9. Of f32 on a GPU: products of tf32, three
/// for one, leave out 2^-22 of each, and 2^x is off by 2^-22 of it.
static double getBound(ElementType type) {
  switch (type) {
  case ElementType::F32:
    return 5e-6;
  case ElementType::BF16:
    return 4e-3;
  case ElementType::F16:
    return 1e-3;
  }
  llvm_unreachable("every type has a bound");
}

static void check(EmulatedCase test) {
  double bound = getBound(test.spec.elementType);
  SCOPED_TRACE(test.spec.pattern);
  auto result = runEmulated(std::move(test));
  ASSERT_TRUE(bool(result)) << llvm::toString(result.takeError());
  EXPECT_LE(result->outError, bound);
  EXPECT_LE(result->lseError, 2e-5);
}

static EmulatedCase makeCase(const char *pattern, int64_t dim, ElementType type,
                             int64_t queries, int64_t keys) {
  EmulatedCase test;
  test.spec.pattern = pattern;
  test.spec.headDim = dim;
  test.spec.elementType = type;
  test.queries = queries, test.keys = keys;
  return test;
}

TEST(GPUAttend, everyHeadSizeAndType) {
  for (ElementType type : {ElementType::BF16, ElementType::F16, ElementType::F32})
    for (int64_t dim : {16, 64, 80, 96, 128, 192, 256})
      check(makeCase("causal & (window(70, 0) | sink(3))", dim, type, 150, 201));
}

TEST(GPUAttend, structuralPatterns) {
  for (const char *pattern :
       {"all", "causal", "window(20, 33)", "none", "strided(7) & causal",
        "block_diagonal(48)", "global(stride=32) | window(3, 3)", "~window(40, 40)"})
    check(makeCase(pattern, 32, ElementType::BF16, 130, 170));
}

TEST(GPUAttend, groupsAndStacks) {
  for (int64_t stack : {1, 3}) {
    EmulatedCase test = makeCase("causal", 64, ElementType::BF16, 5, 300);
    test.batch = 2, test.heads = 6, test.kvHeads = 2, test.stack = stack;
    check(std::move(test));
  }
}

TEST(GPUAttend, partsOfTheKeysAreCombined) {
  for (ElementType type : {ElementType::BF16, ElementType::F32}) {
    EmulatedCase test = makeCase("window(400, 0)", 64, type, 1, 700);
    test.heads = 4, test.stack = 4, test.parts = 5;
    check(std::move(test));
  }
}

TEST(GPUAttend, stepsOfAPeriod) {
  EmulatedCase test = makeCase("dilated(255, 0, 4)", 32, ElementType::F16, 150, 330);
  test.step = 4;
  check(std::move(test));
}

TEST(GPUAttend, modifiersAndSinks) {
  EmulatedCase test = makeCase("causal", 64, ElementType::F32, 70, 90);
  test.spec.modifiers = "softcap(5.0), alibi(slopes)";
  test.spec.sinks = true;
  test.heads = 2;
  for (const char *name : {"slopes", "sinks"}) {
    Array array = llvm::cantFail(Array::create(ElementKind::F32, {2}));
    array.as<float>()[0] = 0.25f, array.as<float>()[1] = 1.5f;
    test.operands[name] = std::move(array);
  }
  check(std::move(test));
}

TEST(GPUAttend, plansListTiles) {
  EmulatedCase test =
      makeCase("causal & segments(offsets)", 64, ElementType::BF16, 200, 200);
  Array offsets = llvm::cantFail(Array::create(ElementKind::I32, {1, 4}));
  const int32_t starts[] = {0, 90, 95, 200};
  std::copy(std::begin(starts), std::end(starts), offsets.as<int32_t>());
  test.operands["offsets"] = std::move(offsets);
  check(std::move(test));
}

TEST(GPUAttend, rowsThatAreNotAligned) {
  for (ElementType type : {ElementType::BF16, ElementType::F32}) {
    EmulatedCase test = makeCase("causal", 40, type, 70, 100);
    test.spec.valueDim = 19;
    test.strideSlack = 3;
    check(std::move(test));
  }
}
