//===- SamplingTest.cpp - statistics of the draws -------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Seeds are fixed, so every figure is the same in every run. A mean has to lie within
// 4 standard errors of what it estimates, a chi-square below its 1 - 3e-5 quantile: what
// is right fails one such check in 15,000, and there are a few hundred.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/Sampling.h"
#include "SelectionTesting.h"
#include <cmath>
#include <numeric>
#include <random>

using namespace mlir;
using namespace sparse_attn;

namespace {

constexpr int kSeeds = 10000;
constexpr double kStandardErrors = 4;

/// The 1 - 3e-5 quantile of chi-square (Wilson and Hilferty's approximation).
double chiSquareLimit(double degrees) {
  double third = 2 / (9 * degrees);
  return degrees * std::pow(1 - third + kStandardErrors * std::sqrt(third), 3);
}

//===----------------------------------------------------------------------===//
// The permutation
//===----------------------------------------------------------------------===//

TEST(KeyedPermutation, IsAPermutation) {
  for (uint32_t size = 1; size < 200; ++size) {
    KeyedPermutation permute(size, 3, 5, Stream::Uniform, size);
    std::vector<bool> seen(size);
    for (uint32_t x = 0; x < size; ++x) {
      ASSERT_LT(permute(x), size);
      ASSERT_FALSE(seen[permute(x)]) << x << " of " << size;
      seen[permute(x)] = true;
    }
  }
}

// What other implementations have to draw.
TEST(KeyedPermutation, IsTheSameEverywhere) {
  auto draws = [](KeyedPermutation permute) {
    return std::vector<uint32_t>{permute(0), permute(1), permute(2), permute(3)};
  };
  EXPECT_EQ(draws({7, 0, 4, Stream::RandomKeys, 5}), (std::vector<uint32_t>{2, 1, 4, 0}));
  EXPECT_EQ(draws({-1, 9, 0xffffffff, Stream::Adaptive, 100000}),
            (std::vector<uint32_t>{85573, 99973, 39197, 21650}));
}

/// Of `size` candidates, how often each is among `draws` draws, and each pair of
/// neighbours (in a circle).
struct Counts {
  std::vector<int64_t> single, pairs;
};

Counts countInclusions(uint32_t size, uint32_t draws) {
  Counts counts{std::vector<int64_t>(size), std::vector<int64_t>(size)};
  for (int seed = 0; seed < kSeeds; ++seed) {
    KeyedPermutation permute(seed, 1, 2, Stream::Uniform, size);
    std::vector<bool> drawn(size);
    for (uint32_t d = 0; d < draws; ++d)
      drawn[permute(d)] = true;
    for (uint32_t r = 0; r < size; ++r) {
      counts.single[r] += drawn[r];
      counts.pairs[r] += drawn[r] && drawn[(r + 1) % size];
    }
  }
  return counts;
}

TEST(SampleUniform, DrawsEveryCandidateEquallyOften) {
  for (auto [size, draws] : {std::pair<uint32_t, uint32_t>{2, 1},
                             {3, 2},
                             {4, 2},
                             {5, 2},
                             {6, 3},
                             {9, 4},
                             {17, 8},
                             {64, 16},
                             {100, 5},
                             {257, 64},
                             {300, 100}}) {
    Counts counts = countInclusions(size, draws);
    double expected = static_cast<double>(kSeeds) * draws / size, sum = 0;
    for (int64_t count : counts.single)
      sum += (count - expected) * (count - expected) / expected;
    // Counts of a sample without replacement vary less, by 1 - b / n, and add up.
    double share = static_cast<double>(draws) / size;
    double chiSquare = sum / (1 - share) * (size - 1) / size;
    EXPECT_LT(chiSquare, chiSquareLimit(size - 1)) << draws << " of " << size;
    double both = share * (draws - 1) / (size - 1);
    for (uint32_t r = 0; size > 2 && r < size; ++r)
      EXPECT_NEAR(counts.pairs[r], kSeeds * both,
                  kStandardErrors * std::sqrt(kSeeds * both * (1 - both)) + 1)
          << draws << " of " << size;
  }
}

// sum of e v / pi and sum of e / pi estimate the numerator and the denominator.
TEST(SampleUniform, IsUnbiased) {
  constexpr uint32_t kSize = 96, kDraws = 12;
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  std::vector<double> numerators, denominators;
  for (uint32_t j = 0; j < kSize; ++j) {
    double e = std::exp(normal(random));
    denominators.push_back(e);
    numerators.push_back(e * normal(random));
  }
  double probability = static_cast<double>(kDraws) / kSize;
  for (const std::vector<double> &terms : {numerators, denominators}) {
    double truth = std::accumulate(terms.begin(), terms.end(), 0.0);
    double sum = 0, squares = 0;
    for (int seed = 0; seed < kSeeds; ++seed) {
      KeyedPermutation permute(seed, 0, 77, Stream::Uniform, kSize);
      double estimate = 0;
      for (uint32_t d = 0; d < kDraws; ++d)
        estimate += terms[permute(d)] / probability;
      sum += estimate;
      squares += estimate * estimate;
    }
    double mean = sum / kSeeds;
    double deviation = std::sqrt((squares / kSeeds - mean * mean) / kSeeds);
    EXPECT_NEAR(mean, truth, kStandardErrors * deviation);
    // And varies as a sample without replacement does.
    double average = truth / kSize, variance = 0;
    for (double term : terms)
      variance += (term - average) * (term - average) / (kSize - 1);
    double expected = kSize * kSize * variance * (1 - probability) / kDraws;
    EXPECT_NEAR(deviation * deviation * kSeeds / expected, 1, 0.1);
  }
}

//===----------------------------------------------------------------------===//
// sample.lsh
//===----------------------------------------------------------------------===//

TEST(SampleLsh, WorkedProbabilities) {
  EXPECT_NEAR(computeMatchProbability(0.5, 8, 75, 1), 0.949461, 5e-7);
  EXPECT_NEAR(computeMatchProbability(0.5, 8, 75, 2), 0.795558, 5e-7);
  EXPECT_NEAR(computeMatchProbability(0, 10, 150, 1), 0.136323, 5e-7);
  EXPECT_NEAR(computeMatchProbability(0, 10, 150, 2), 0.009684, 5e-7);
  EXPECT_EQ(computeMatchProbability(1, 10, 150, 2), 1);
  EXPECT_EQ(computeMatchProbability(-1, 10, 150, 2), 0);
}

/// How often keys at angles to the query are drawn: over seeds, through the op.
class SampleLshTest : public SelectionTest {
protected:
  void check(const std::string &parameters, int seeds) {
    constexpr size_t kWidth = 12;
    RowEvaluator evaluator;
    std::mt19937 random(5);
    std::normal_distribution<double> normal;
    auto draw = [&] {
      std::vector<double> x(kWidth);
      for (double &value : x)
        value = normal(random);
      return x;
    };
    evaluator.q = {draw()};
    for (double share : {-0.6, 0.0, 0.4, 1.0, 3.0}) {
      evaluator.k.push_back(draw());
      for (auto [x, q] : llvm::zip_equal(evaluator.k.back(), evaluator.q.front()))
        x += share * q;
    }
    std::vector<double> drawn(evaluator.k.size()), probability(evaluator.k.size());
    for (int seed = 0; seed < seeds; ++seed) {
      evaluator = evaluator.forget();
      Value mask = parse({"%c = all", "%m = sample.lsh %c " + parameters +
                                          " seed = " + std::to_string(seed)});
      for (size_t j = 0; j < drawn.size(); ++j) {
        drawn[j] += evaluator.isDrawn(mask, evaluator.pairOf(0, j));
        probability[j] = evaluator.evaluate(mask, evaluator.pairOf(0, j));
      }
    }
    for (auto [count, p] : llvm::zip_equal(drawn, probability)) {
      EXPECT_NEAR(count / seeds, p, kStandardErrors * std::sqrt(p * (1 - p) / seeds))
          << parameters;
      EXPECT_GT(p, 0.001);
    }
  }
};

TEST_F(SampleLshTest, MatchesFollowTheAngle) {
  check("tables = 8 bits = 2 min_matches = 1 center = none", 4000);
  check("tables = 8 bits = 2 center = none", 4000);
  check("tables = 20 bits = 4 center = both", 1500);
  check("tables = 20 bits = 3 normalize = simple_lsh", 1500);
}

//===----------------------------------------------------------------------===//
// sample.adaptive
//===----------------------------------------------------------------------===//

TEST(SampleAdaptive, Quantiles) {
  EXPECT_NEAR(computeNormalQuantile(0.5), 0, 1e-15);
  EXPECT_NEAR(computeNormalQuantile(0.8), 0.8416212335729143, 1e-14);
  EXPECT_NEAR(computeNormalQuantile(0.975), 1.959963984540054, 1e-14);
  EXPECT_NEAR(computeNormalQuantile(0.001), -3.090232306167814, 1e-13);
}

TEST(SampleAdaptive, WorkedBudget) {
  AdaptiveRule rule = makeAdaptiveRule(0.2, 0.2, /*oneSided=*/true,
                                       /*finitePopulation=*/false);
  double draws = std::pow(rule.z * 1 * 1e5 / (0.2 * 1e4), 2);
  EXPECT_NEAR(draws, 1770.8, 0.05);
  EXPECT_EQ(computeBudget(rule, 100000, 2, 1, 1e4), 1771);
  rule.finitePopulation = true; // 1770.8 * 1e5 / (1e5 + 1770.8) = 1740.003
  EXPECT_EQ(computeBudget(rule, 100000, 2, 1, 1e4), 1741);
  // At least the first sample, at most all; all where nothing is known.
  EXPECT_EQ(computeBudget(rule, 100000, 5000, 1, 1e4), 5000);
  EXPECT_EQ(computeBudget(rule, 100, 2, 1, 1e-3), 100);
  EXPECT_EQ(computeBudget(rule, 100, 2, 0, 5), 2);
  EXPECT_EQ(computeBudget(rule, 100, 2, 0, 0), 100);
  EXPECT_EQ(computeBudget(rule, 100, 2, std::nan(""), 5), 100);
}

using MakeScores = std::vector<double> (*)(std::mt19937 &, size_t);

std::vector<double> makeGaussian(std::mt19937 &random, size_t size) {
  std::normal_distribution<double> normal;
  std::vector<double> scores(size);
  for (double &score : scores)
    score = normal(random);
  return scores;
}

std::vector<double> makeHeavyTailed(std::mt19937 &random, size_t size) {
  std::student_t_distribution<double> student(4);
  std::vector<double> scores(size);
  for (double &score : scores)
    score = std::clamp(student(random), -20.0, 20.0);
  return scores;
}

std::vector<double> makeNeedles(std::mt19937 &random, size_t size) {
  std::vector<double> scores = makeGaussian(random, size);
  for (int needle = 0; needle < 8; ++needle)
    scores[random() % size] += 5;
  return scores;
}

struct Failures {
  double tooHigh = 0, tooLow = 0, draws = 0;
};

/// How often the estimate of the denominator is off by more than epsilon: rows of 1,024
/// keys, of which the best 5 % are attended beside the draws.
Failures countFailures(MakeScores make, const AdaptiveRule &rule) {
  constexpr size_t kKeys = 1024, kBest = 51;
  constexpr int kRows = kSeeds, kRowsOfOneKind = 50;
  std::mt19937 random(11);
  Failures failures;
  std::vector<double> scores, rest, best;
  double kept = 0, truth = 0;
  for (int row = 0; row < kRows; ++row) {
    if (row % kRowsOfOneKind == 0) {
      scores = make(random, kKeys);
      llvm::sort(scores, std::greater<double>());
      best.assign(scores.begin(), scores.begin() + kBest);
      rest.assign(scores.begin() + kBest, scores.end());
      kept = truth = 0;
      for (double score : best)
        kept += std::exp(score);
      for (double score : rest)
        truth += std::exp(score);
      truth += kept;
    }
    auto n = static_cast<int64_t>(rest.size()), m = n / 10;
    KeyedPermutation first(3, 0, row, Stream::AdaptiveBase, n);
    int64_t budget = chooseBudget(rule, first, m, rest, best);
    KeyedPermutation permute(3, 0, row, Stream::Adaptive, n);
    double sum = 0;
    for (int64_t draw = 0; draw < budget; ++draw)
      sum += std::exp(rest[permute(draw)]);
    double estimate = kept + sum * static_cast<double>(n) / static_cast<double>(budget);
    failures.tooHigh += (estimate > truth * (1 + rule.epsilon)) / double(kRows);
    failures.tooLow += (estimate < truth * (1 - rule.epsilon)) / double(kRows);
    failures.draws += static_cast<double>(budget) / kRows;
  }
  return failures;
}

TEST(SampleAdaptive, FailsAtMostWithProbabilityDelta) {
  const std::pair<double, double> pairs[] = {
      {0.02, 0.2}, {0.03, 0.1}, {0.05, 0.25}, {0.25, 0.25}};
  for (auto [name, make] : {std::pair<const char *, MakeScores>{"gaussian", makeGaussian},
                            {"heavy-tailed", makeHeavyTailed},
                            {"needles", makeNeedles}})
    for (auto [epsilon, delta] : pairs)
      for (bool oneSided : {false, true}) {
        AdaptiveRule rule =
            makeAdaptiveRule(epsilon, delta, oneSided, /*finitePopulation=*/true);
        Failures failures = countFailures(make, rule);
        std::string what = std::string(name) + " epsilon " + formatReal(epsilon) +
                           " delta " + formatReal(delta) +
                           (oneSided ? " one-sided" : " two-sided");
        RecordProperty(what, formatReal(failures.tooHigh) + " + " +
                                 formatReal(failures.tooLow) + ", " +
                                 formatReal(failures.draws) + " draws");
        double limit = delta + kStandardErrors * std::sqrt(delta * (1 - delta) / kSeeds);
        if (oneSided) {
          EXPECT_LE(failures.tooHigh, limit) << what;
          EXPECT_LE(failures.tooLow, limit) << what;
        } else {
          EXPECT_LE(failures.tooHigh + failures.tooLow, limit) << what;
        }
      }
}

// The budget is not more than the bound needs: where it is above the first sample, rows
// do fail now and then.
TEST(SampleAdaptive, DrawsNoMoreThanItNeeds) {
  AdaptiveRule rule = makeAdaptiveRule(0.03, 0.2, /*oneSided=*/false,
                                       /*finitePopulation=*/true);
  Failures failures = countFailures(makeGaussian, rule);
  EXPECT_GT(failures.tooHigh + failures.tooLow, 0.1);
  EXPECT_LT(failures.draws, 600);
}

} // namespace
