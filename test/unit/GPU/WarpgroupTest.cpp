//===- WarpgroupTest.cpp - kernels of warpgroups against the reference ----===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The kernels for sm_90a on the emulator, as in AttendTest.cpp: wgmma, TMA, mbarriers.
//
//===----------------------------------------------------------------------===//

#include "EmulatedAttention.h"
#include <algorithm>
#include <gtest/gtest.h>
#include <limits>

using namespace sparse_attn;

static void check(EmulatedCase test) {
  double bound = test.spec.elementType == ElementType::F16   ? 1e-3
                 : test.spec.elementType == ElementType::F32 ? 5e-6
                                                             : 4e-3;
  SCOPED_TRACE(test.spec.pattern);
  auto result = runEmulated(std::move(test));
  ASSERT_TRUE(bool(result)) << llvm::toString(result.takeError());
  EXPECT_LE(result->outError, bound);
  EXPECT_LE(result->lseError, 2e-5);
}

static EmulatedCase makeCase(const char *pattern, int64_t dim, ElementType type,
                             int64_t queries, int64_t keys) {
  EmulatedCase test;
  test.target = "sm_90a";
  test.spec.pattern = pattern;
  test.spec.headDim = dim;
  test.spec.elementType = type;
  test.queries = queries, test.keys = keys;
  return test;
}

TEST(GPUWarpgroups, everyHeadSizeAndType) {
  for (ElementType type : {ElementType::BF16, ElementType::F16, ElementType::F32})
    for (int64_t dim : {16, 64, 80, 96, 128, 192, 256})
      check(makeCase("causal & (window(170, 0) | sink(3))", dim, type, 200, 401));
}

TEST(GPUWarpgroups, structuralPatterns) {
  for (const char *pattern :
       {"all", "causal", "window(20, 33)", "none", "strided(7) & causal",
        "block_diagonal(48)", "global(stride=32) | window(3, 3)", "~window(40, 40)"})
    check(makeCase(pattern, 32, ElementType::BF16, 330, 570));
}

TEST(GPUWarpgroups, blocksGoOn) {
  for (uint64_t seed : {1, 2, 3}) {
    EmulatedCase test = makeCase("causal", 64, ElementType::BF16, 700, 700);
    test.batch = 2, test.heads = 4, test.kvHeads = 2, test.blocks = 3;
    test.seed = seed;
    check(std::move(test));
  }
}

TEST(GPUWarpgroups, groupsAndStacks) {
  for (int64_t stack : {1, 3}) {
    EmulatedCase test = makeCase("causal", 64, ElementType::BF16, 5, 300);
    test.batch = 2, test.heads = 6, test.kvHeads = 2, test.stack = stack;
    check(std::move(test));
  }
}

TEST(GPUWarpgroups, partsOfTheKeysAreCombined) {
  EmulatedCase test = makeCase("window(900, 0)", 64, ElementType::BF16, 1, 1700);
  test.heads = 4, test.stack = 4, test.parts = 5;
  check(std::move(test));
}

TEST(GPUWarpgroups, stepsOfAPeriod) {
  EmulatedCase test = makeCase("dilated(255, 0, 4)", 32, ElementType::F16, 150, 630);
  test.step = 4;
  check(std::move(test));
}

TEST(GPUWarpgroups, modifiersAndSinks) {
  EmulatedCase test = makeCase("causal", 64, ElementType::F16, 70, 290);
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

TEST(GPUWarpgroups, plansListTiles) {
  EmulatedCase test =
      makeCase("causal & segments(offsets)", 64, ElementType::BF16, 500, 500);
  Array offsets = llvm::cantFail(Array::create(ElementKind::I32, {1, 4}));
  const int32_t starts[] = {0, 90, 95, 500};
  std::copy(std::begin(starts), std::end(starts), offsets.as<int32_t>());
  test.operands["offsets"] = std::move(offsets);
  check(std::move(test));
}

/// Without tensor maps all threads of the producer copy, by 16 bytes or element by
/// element.
TEST(GPUWarpgroups, copiesWithoutMaps) {
  for (int64_t slack : {0, 8, 3}) {
    EmulatedCase test = makeCase("causal", 80, ElementType::BF16, 170, 300);
    test.spec.valueDim = 40;
    test.strideSlack = slack;
    test.maps = slack == 8;
    check(std::move(test));
  }
}

/// Rows after the last key may hold anything, also where TMA could bring them.
TEST(GPUWarpgroups, lengthsOfPaddedSequences) {
  EmulatedCase test = makeCase("all", 64, ElementType::BF16, 100, 300);
  test.batch = 2;
  test.spec.kvLen = true;
  Array lengths = llvm::cantFail(Array::create(ElementKind::I32, {2}));
  lengths.as<int32_t>()[0] = 300, lengths.as<int32_t>()[1] = 201;
  test.operands["kv_len"] = std::move(lengths);
  test.change = [](Array &, Array &k, Array &v) {
    for (Array *array : {&k, &v})
      std::fill(array->as<float>() + (300 + 201) * 64, array->as<float>() + 600 * 64,
                std::numeric_limits<float>::quiet_NaN());
  };
  check(std::move(test));
}
