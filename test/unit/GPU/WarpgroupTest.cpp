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

static EmulatedCase makeHopperCase(const char *pattern, int64_t dim, ElementType type,
                                   int64_t queries, int64_t keys) {
  return makeCase(pattern, dim, type, queries, keys, "sm_90a");
}

TEST(GPUWarpgroups, everyHeadSizeAndType) {
  for (ElementType type : {ElementType::BF16, ElementType::F16, ElementType::F32})
    for (int64_t dim : {16, 64, 80, 96, 128, 192, 256})
      checkEmulated(
          makeHopperCase("causal & (window(170, 0) | sink(3))", dim, type, 200, 401));
}

/// By hand, for a full tile of 128 x 128 pairs with D = 128, of two warpgroups.
TEST(GPUWarpgroups, instructionsOfATile) {
  using emulator::InstructionKind;
  emulator::Statistics of[2];
  for (int64_t more : {0, 1}) {
    auto result = runEmulated(
        makeCase("all", 128, ElementType::BF16, 128, 128 * (3 + more), "sm_90a"));
    ASSERT_TRUE(bool(result)) << llvm::toString(result.takeError());
    of[more] = result->statistics[0];
  }
  auto count = [&](InstructionKind kind) { return of[1][kind] - of[0][kind]; };
  // Q K^T takes 16 elements of D at a time, P V 16 keys; a fence, two groups, two waits.
  EXPECT_EQ(count(InstructionKind::Wgmma), 2u * 4 * (128 / 16 + 128 / 16 + 5));
  EXPECT_EQ(of[1].matrixMultiplyAdds - of[0].matrixMultiplyAdds, 2u * 128 * 128 * 128);
  // A thread has 64 scores of two rows, each of which has a decay.
  EXPECT_EQ(count(InstructionKind::SpecialFunction), 2u * 4 * (64 + 2));
  // Each weight, though one instruction rounds two.
  EXPECT_EQ(count(InstructionKind::Convert), 2u * 4 * 64);
  // K and V, of which each warpgroup reads all; and Q.
  EXPECT_EQ(of[1].bytesCopiedAsync - of[0].bytesCopiedAsync, 2u * 128 * 128 * 2);
  EXPECT_EQ(of[1].wgmmaSharedBytes - of[0].wgmmaSharedBytes,
            2u * 2 * 128 * 128 * 2 + 128 * 128 * 2);
}

TEST(GPUWarpgroups, structuralPatterns) {
  for (const char *pattern :
       {"all", "causal", "window(20, 33)", "none", "strided(7) & causal",
        "block_diagonal(48)", "global(stride=32) | window(3, 3)", "~window(40, 40)"})
    checkEmulated(makeHopperCase(pattern, 32, ElementType::BF16, 330, 570));
}

TEST(GPUWarpgroups, blocksGoOn) {
  for (uint64_t seed : {1, 2, 3}) {
    EmulatedCase test = makeHopperCase("causal", 64, ElementType::BF16, 700, 700);
    test.batch = 2, test.heads = 4, test.kvHeads = 2, test.blocks = 3;
    test.seed = seed;
    checkEmulated(std::move(test));
  }
}

TEST(GPUWarpgroups, groupsAndStacks) {
  for (int64_t stack : {1, 3}) {
    EmulatedCase test = makeHopperCase("causal", 64, ElementType::BF16, 5, 300);
    test.batch = 2, test.heads = 6, test.kvHeads = 2, test.stack = stack;
    checkEmulated(std::move(test));
  }
}

TEST(GPUWarpgroups, partsOfTheKeysAreCombined) {
  EmulatedCase test = makeHopperCase("window(900, 0)", 64, ElementType::BF16, 1, 1700);
  test.heads = 4, test.stack = 4, test.parts = 5;
  checkEmulated(std::move(test));
}

TEST(GPUWarpgroups, stepsOfAPeriod) {
  EmulatedCase test =
      makeHopperCase("dilated(255, 0, 4)", 32, ElementType::F16, 150, 630);
  test.step = 4;
  checkEmulated(std::move(test));
}

TEST(GPUWarpgroups, modifiersAndSinks) {
  EmulatedCase test = makeHopperCase("causal", 64, ElementType::F16, 70, 290);
  addModifiersAndSinks(test);
  checkEmulated(std::move(test));
}

TEST(GPUWarpgroups, plansListTiles) {
  EmulatedCase test =
      makeHopperCase("causal & segments(offsets)", 64, ElementType::BF16, 500, 500);
  addOffsets(test, {0, 90, 95, 500});
  checkEmulated(std::move(test));
}

/// Without tensor maps all threads of the producer copy, by 16 bytes or element by
/// element.
TEST(GPUWarpgroups, copiesWithoutMaps) {
  for (int64_t slack : {0, 8, 3}) {
    EmulatedCase test = makeHopperCase("causal", 80, ElementType::BF16, 170, 300);
    test.spec.valueDim = 40;
    test.strideSlack = slack;
    test.maps = slack == 8;
    checkEmulated(std::move(test));
  }
}

/// Rows after the last key may hold anything, also where TMA could bring them.
TEST(GPUWarpgroups, lengthsOfPaddedSequences) {
  EmulatedCase test = makeHopperCase("all", 64, ElementType::BF16, 100, 300);
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
  checkEmulated(std::move(test));
}
