//===- NonFiniteTest.cpp - infs and NaNs of V on GPUs ---------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// They reach the rows that attend to their keys and no others, as in the reference: in
// partial tiles and full ones, where rows of the tile leave the key out, in tiles that
// are empty for other rows, past the end of a sequence and in other heads. With kernels
// of warps and of warpgroups.
//
//===----------------------------------------------------------------------===//

#include "EmulatedAttention.h"
#include <gtest/gtest.h>
#include <limits>

using namespace sparse_attn;

static constexpr float kInf = std::numeric_limits<float>::infinity();
static constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
static constexpr ElementType kTypes[] = {ElementType::BF16, ElementType::F16,
                                         ElementType::F32};

namespace {
struct Spot {
  int64_t head, key, column;
  float value;
};

/// With the kernels of a target.
class GPUNonFinite : public testing::TestWithParam<const char *> {
protected:
  void check(EmulatedCase test) {
    test.target = GetParam();
    checkEmulated(std::move(test));
  }
};
} // namespace
INSTANTIATE_TEST_SUITE_P(targets, GPUNonFinite, testing::Values("sm_80", "sm_90a"),
                         [](const auto &info) { return std::string(info.param); });

static EmulatedCase makeSpottedCase(const char *pattern, int64_t dim, ElementType type,
                                    int64_t queries, int64_t keys,
                                    std::vector<Spot> spots) {
  EmulatedCase test = makeCase(pattern, dim, type, queries, keys);
  test.change = [spots = std::move(spots)](Array &, Array &, Array &v) {
    for (const Spot &spot : spots)
      v.as<float>()[v.position({0, spot.head, spot.key, spot.column})] = spot.value;
  };
  return test;
}

/// A NaN, infs, both infs in one column and several columns, some keys apart.
static std::vector<Spot> makeSpots(int64_t head, int64_t first, int64_t apart,
                                   int64_t lastColumn) {
  std::vector<Spot> spots;
  int64_t key = first;
  for (auto [column, value] : {std::pair<int64_t, float>{1, kNaN},
                               {2, kInf},
                               {3, -kInf},
                               {4, kInf},
                               {4, -kInf},
                               {lastColumn, kNaN},
                               {lastColumn - 1, -kInf}}) {
    spots.push_back({head, key, column, value});
    key += apart;
  }
  return spots;
}

TEST_P(GPUNonFinite, everyTypeAndShape) {
  // Two row tiles of a warp and one, one and many chunks of columns, padded ones.
  for (ElementType type : kTypes)
    for (int64_t dim : {24, 64, 128})
      check(makeSpottedCase("causal & window(40, 0)", dim, type, 140, 150,
                            makeSpots(0, 45, 11, dim - 1)));
}

TEST_P(GPUNonFinite, wholeRowsOfV) {
  for (ElementType type : kTypes) {
    std::vector<Spot> spots;
    for (int64_t column = 0; column < 40; ++column)
      spots.push_back({0, 77, column, column % 3 == 0 ? kNaN : kInf});
    check(makeSpottedCase("causal", 40, type, 100, 100, spots));
  }
}

// Full tiles, and tiles whose rows see one of two documents each.
TEST_P(GPUNonFinite, patterns) {
  for (const char *pattern :
       {"all", "window(20, 33)", "block_diagonal(48)", "global(stride=32) | window(3, 3)",
        "~window(40, 40)", "strided(7) & causal"})
    check(makeSpottedCase(pattern, 32, ElementType::BF16, 130, 170,
                          makeSpots(0, 6, 23, 31)));
}

TEST_P(GPUNonFinite, masksOfAPlan) {
  for (ElementType type : kTypes) {
    EmulatedCase test = makeSpottedCase("causal & segments(offsets)", 64, type, 200, 200,
                                        makeSpots(0, 60, 9, 63));
    addOffsets(test, {0, 90, 95, 200});
    check(std::move(test));
  }
}

TEST_P(GPUNonFinite, otherHeadsAndStacks) {
  for (int64_t stack : {1, 3}) {
    EmulatedCase test = makeSpottedCase("causal", 64, ElementType::BF16, 40, 130,
                                        makeSpots(1, 20, 16, 63));
    test.heads = 6, test.kvHeads = 2, test.stack = stack;
    check(std::move(test));
  }
}

// What one part has of a row must not reach the rows that attend to nothing in it.
TEST_P(GPUNonFinite, partsOfTheKeys) {
  for (ElementType type : kTypes) {
    EmulatedCase test = makeSpottedCase("causal & window(150, 0)", 64, type, 33, 700,
                                        makeSpots(0, 480, 30, 63));
    test.parts = 5;
    check(std::move(test));
  }
}

// The weight of a part with an inf is too small for f32, and of a key for its type; both
// are attended to.
TEST_P(GPUNonFinite, weightsThatVanish) {
  for (ElementType type : kTypes)
    for (int64_t parts : {1, 3}) {
      EmulatedCase test = makeCase("causal", 16, type, 4, 300);
      test.parts = parts;
      test.change = [](Array &q, Array &k, Array &v) {
        for (int64_t i = 0; i < q.elements(); ++i)
          q.as<float>()[i] = i % 16 == 0 ? 32.0f : 0.0f;
        for (int64_t key = 0; key < 300; ++key)
          k.as<float>()[key * 16] = key == 250 ? 40.0f : key == 20 ? -40.0f : 0.0f;
        v.as<float>()[20 * 16 + 3] = kInf, v.as<float>()[21 * 16 + 4] = -kInf;
        v.as<float>()[22 * 16 + 5] = kNaN;
      };
      check(std::move(test));
    }
}

TEST_P(GPUNonFinite, stepsModifiersAndSinks) {
  EmulatedCase steps = makeSpottedCase("dilated(255, 0, 4)", 32, ElementType::F16, 150,
                                       330, makeSpots(0, 200, 10, 31));
  steps.step = 4;
  check(std::move(steps));
  EmulatedCase test =
      makeSpottedCase("causal", 64, ElementType::F32, 70, 90, makeSpots(1, 40, 7, 63));
  addModifiersAndSinks(test);
  test.kvHeads = 2;
  check(std::move(test));
}

// A NaN score makes its rows NaN and no others; V is finite.
TEST_P(GPUNonFinite, keysAndQueries) {
  for (ElementType type : kTypes) {
    EmulatedCase test = makeCase("causal & window(40, 0)", 32, type, 130, 150);
    test.change = [](Array &q, Array &k, Array &) {
      k.as<float>()[140 * 32] = kNaN;
      k.as<float>()[60 * 32] = kInf;
      q.as<float>()[10 * 32] = kNaN;
    };
    check(std::move(test));
  }
}

// Rows past the end of the sequence, in a batch entry whose tensors are longer.
TEST_P(GPUNonFinite, keysThatDoNotExist) {
  for (ElementType type : kTypes) {
    EmulatedCase test = makeCase("all", 40, type, 50, 150);
    test.spec.valueDim = 19;
    test.strideSlack = 3;
    test.spec.kvLen = true;
    Array lengths = llvm::cantFail(Array::create(ElementKind::I32, {1}));
    lengths.as<int32_t>()[0] = 101;
    test.operands["kv_len"] = std::move(lengths);
    test.change = [](Array &, Array &k, Array &v) {
      for (int64_t key = 101; key < 150; ++key) {
        k.as<float>()[key * 40] = kNaN;
        v.as<float>()[key * 19 + key % 19] = kNaN;
      }
      v.as<float>()[70 * 19 + 18] = kNaN;
    };
    check(std::move(test));
  }
}

TEST_P(GPUNonFinite, listedKeys) {
  // Rows of a block share a list but not a diagonal, and the list names a key twice.
  for (ElementType type : kTypes) {
    EmulatedCase test = makeSpottedCase("causal & listed(indices, block_q = 30)", 40,
                                        type, 90, 90, makeSpots(0, 50, 1, 39));
    test.tileQueries = 30;
    Array indices = llvm::cantFail(Array::create(ElementKind::I32, {1, 1, 3, 70}));
    for (int64_t i = 0; i < indices.elements(); ++i)
      indices.as<int32_t>()[i] = i < 70 ? 7 : 100 - i % 70;
    indices.as<int32_t>()[75] = 52;
    test.operands["indices"] = std::move(indices);
    check(std::move(test));
  }
}
