//===- RuntimeDrawTest.cpp - the runtime draws what the dialect means -----===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/Sampling.h"
#include "dialect/SparseAttn/Selecting.h"
#include "gtest/gtest.h"
#include <cmath>
#include <random>

extern "C" {
#include "runtime/src/draw.h"
#include "runtime/src/sample.h"
}

using namespace sparse_attn;

namespace {

static_assert(SA_STREAM_RANDOM_KEYS == static_cast<int>(Stream::RandomKeys));
static_assert(SA_STREAM_UNIFORM == static_cast<int>(Stream::Uniform));
static_assert(SA_STREAM_ADAPTIVE_BASE == static_cast<int>(Stream::AdaptiveBase));
static_assert(SA_STREAM_ADAPTIVE == static_cast<int>(Stream::Adaptive));
static_assert(SA_STREAM_LSH == static_cast<int>(Stream::Lsh));
static_assert(SA_STREAM_CLUSTER == static_cast<int>(Stream::Cluster));

/// The numbers of `draws` draws of [0, size), as a set of words.
std::vector<uint64_t> draw(const sa_permutation &permutation, int64_t draws) {
  std::vector<uint64_t> all(sa_word_count(permutation.size)), drawn(all.size());
  for (uint32_t i = 0; i < permutation.size; ++i)
    all[i / 64] |= uint64_t(1) << i % 64;
  std::vector<char> room(sa_numbering_room_bytes(permutation.size));
  sa_numbering numbering = sa_number_elements(all.data(), permutation.size, room.data());
  sa_draw(&permutation, &numbering, draws, drawn.data());
  return drawn;
}

TEST(RuntimeDraws, PermutationsAgree) {
  std::mt19937_64 random(1);
  for (int trial = 0; trial < 1000; ++trial) {
    // Around every power of two, and anywhere.
    uint64_t power = uint64_t(1) << random() % (trial % 100 ? 12 : 24);
    uint64_t span = random() % 7;
    auto size = static_cast<uint32_t>(
        std::max<uint64_t>(1, trial % 2 ? power + span - 3 : random() % (2 * power) + 1));
    auto seed = static_cast<int64_t>(random());
    auto plane = static_cast<uint32_t>(random()), row = static_cast<uint32_t>(random());
    auto stream = static_cast<uint32_t>(random() % 7);
    KeyedPermutation meant(seed, plane, row, static_cast<Stream>(stream), size);
    sa_permutation made = sa_make_permutation(seed, plane, row, stream, size);
    uint32_t draws = std::min<uint32_t>(random() % size + 1, 1000);
    std::vector<uint64_t> expected(sa_word_count(size));
    for (uint32_t d = 0; d < draws; ++d) {
      uint32_t number = meant(d);
      expected[number / 64] |= uint64_t(1) << number % 64;
    }
    ASSERT_EQ(draw(made, draws), expected) << draws << " of " << size;
  }
}

TEST(RuntimeDraws, CountsAgree) {
  std::mt19937_64 random(2);
  for (int trial = 0; trial < 100000; ++trial) {
    auto candidates = static_cast<int64_t>(random() % (trial % 2 ? 100 : 1 << 30));
    // Rates that nearly name a whole number of candidates, and any.
    double rate = std::min(1.0, static_cast<double>(random() % 1000 + 1) / 1000);
    if (trial % 3 == 0)
      rate = static_cast<double>(random() % std::max<int64_t>(1, candidates) + 1) /
             static_cast<double>(std::max<int64_t>(1, candidates));
    auto count = static_cast<int64_t>(random() % 200);
    ASSERT_EQ(sa_count_draws(-1, rate, candidates),
              countDraws(std::nullopt, llvm::APFloat(rate), candidates));
    ASSERT_EQ(sa_count_draws(count, 0, candidates),
              countDraws(count, std::nullopt, candidates));
  }
}

/// Scores of which some are infinite or NaN.
std::vector<float> makeScores(std::mt19937_64 &random, size_t count, double spread,
                              int special) {
  std::normal_distribution<float> normal(0, static_cast<float>(spread));
  std::vector<float> scores(count);
  for (float &score : scores)
    score = normal(random);
  const float kinds[] = {-INFINITY, INFINITY, NAN};
  for (int i = 0; i < 3; ++i)
    if (count && special >> i & 1)
      scores[random() % count] = kinds[i];
  if (special == 8) // what a modifier excludes altogether
    std::fill(scores.begin(), scores.end(), -INFINITY);
  return scores;
}

TEST(RuntimeDraws, BudgetsAgree) {
  std::mt19937_64 random(3);
  int between = 0;
  for (int trial = 0; trial < 4000; ++trial) {
    double epsilon = std::pow(10, -2.0 * static_cast<double>(random() % 100) / 100) * 0.9;
    double delta = static_cast<double>(random() % 998 + 1) / 1000;
    bool oneSided = random() % 2, finite = random() % 2;
    AdaptiveRule meant = makeAdaptiveRule(epsilon, delta, oneSided, finite);
    sa_adaptive_rule made = {meant.z, meant.epsilon, meant.finitePopulation};
    auto n = static_cast<int64_t>(random() % (trial % 2 ? 6 : 500) + 2);
    auto m = std::min<int64_t>(n, static_cast<int64_t>(random() % 20 + 2));
    double spread = trial % 5 ? 1 : 30;
    int special = trial % 4 ? 0 : static_cast<int>(random() % 9);
    std::vector<float> scores = makeScores(random, n, spread, special);
    std::vector<float> beside = makeScores(
        random, random() % 40, spread, trial % 7 ? 0 : static_cast<int>(random() % 9));
    KeyedPermutation permute(trial, 0, 0, Stream::AdaptiveBase, n);
    std::vector<float> sample;
    for (int64_t d = 0; d < m; ++d)
      sample.push_back(scores[permute(d)]);
    int64_t expected =
        chooseBudget(meant, permute, m, std::vector<double>(scores.begin(), scores.end()),
                     std::vector<double>(beside.begin(), beside.end()));
    int64_t budget = sa_choose_budget(&made, n, sample.data(), m, beside.data(),
                                      static_cast<int64_t>(beside.size()));
    ASSERT_EQ(budget, expected) << "trial " << trial << ", n " << n << ", m " << m;
    between += budget > m && budget < n;
  }
  EXPECT_GT(between, 500); // not one of the ends
  sa_adaptive_rule rule = {1.6, 0.1, true};
  EXPECT_EQ(sa_choose_budget(&rule, 0, nullptr, 0, nullptr, 0), 0);
  EXPECT_EQ(sa_choose_budget(&rule, 1, nullptr, 1, nullptr, 0), 1);
}

TEST(RuntimeDraws, ProbabilitiesAgree) {
  for (int64_t bits : {1, 4, 8, 10, 32})
    for (int64_t tables : {1, 2, 75, 150, 4096})
      for (int64_t matches = 1; matches <= std::min<int64_t>(2, tables); ++matches)
        for (double cosine = -1.0625; cosine < 1.1; cosine += 1.0 / 64)
          ASSERT_EQ(sa_match_probability(cosine, bits, tables, matches),
                    computeMatchProbability(cosine, bits, tables, matches));
  EXPECT_TRUE(std::isnan(sa_match_probability(NAN, 4, 10, 2)));
}

} // namespace
