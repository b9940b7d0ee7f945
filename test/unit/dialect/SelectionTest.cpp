//===- SelectionTest.cpp - worked cases of the selections -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The cases that the semantics page and the ops' documentation give in numbers, and
// ties, infinities and NaN; random masks are compared with NumPy by cross_check.py.
//
//===----------------------------------------------------------------------===//

#include "SelectionTesting.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace sparse_attn;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<std::string> choose(const std::string &op, const std::string &parameters,
                                const std::string &candidates = "all") {
  return {"%s = score.dot", "%c = " + candidates, "%m = " + op + " %s, %c " + parameters};
}

TEST_F(SelectionTest, TopK) {
  EXPECT_EQ(draw(choose("top_k", "k = 2"), {1, 3, 2, 0}), ".xx.\n");
  // The lower index first, also between 0 and -0.
  EXPECT_EQ(draw(choose("top_k", "k = 2"), {2, 5, 2, 2}), "xx..\n");
  EXPECT_EQ(draw(choose("top_k", "k = 1"), {-0.0, 0.0}), "x.\n");
  // More than there are: all of them.
  EXPECT_EQ(draw(choose("top_k", "k = 9"), {2, 5, 2}), "xxx\n");
  // floor(0.5 * 5), floor(0.1 * 5).
  EXPECT_EQ(draw(choose("top_k", "fraction = 0.5"), {1, 2, 3, 4, 5}), "...xx\n");
  EXPECT_EQ(draw(choose("top_k", "fraction = 0.1"), {1, 2, 3, 4, 5}), ".....\n");
  // A NaN comes after every number, and is chosen when nothing else is left.
  EXPECT_EQ(draw(choose("top_k", "k = 2"), {kNaN, -kInfinity, 3, kNaN}), ".xx.\n");
  EXPECT_EQ(draw(choose("top_k", "k = 3"), {kNaN, -kInfinity, 3, kNaN}), "xxx.\n");
}

TEST_F(SelectionTest, TopKPicture) {
  RowEvaluator evaluator;
  // Row i of q picks column i of k.
  evaluator.q = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}};
  evaluator.k = {{5, 5, 1, 2}, {0, 1, 3, 2}, {0, 0, 2, 2}, {9, 9, 9, 2}};
  EXPECT_EQ(draw(choose("top_k", "k = 2", "causal"), evaluator), "x...\n"
                                                                 "xx..\n"
                                                                 ".xx.\n"
                                                                 "xx..\n");
  EXPECT_EQ(draw(choose("threshold", "t = 2.0", "causal"), evaluator), "x...\n"
                                                                       "x...\n"
                                                                       ".xx.\n"
                                                                       "xxxx\n");
  // Two rows choose together: the largest score of a candidate pair counts.
  EXPECT_EQ(draw(choose("top_k", "k = 1 block_q = 2", "causal"), evaluator), "x...\n"
                                                                             "x...\n"
                                                                             ".x..\n"
                                                                             ".x..\n");
  // Two keys are chosen together, as far as they are candidates.
  EXPECT_EQ(draw(choose("top_k", "k = 1 block_k = 2", "causal"), evaluator), "x...\n"
                                                                             "xx..\n"
                                                                             "xx..\n"
                                                                             "xx..\n");
}

TEST_F(SelectionTest, TopP) {
  // Masses .1 .3 .2 .4 and the prefixes that the semantics page names.
  std::vector<double> scores = {std::log(.1), std::log(.3), std::log(.2), std::log(.4)};
  EXPECT_EQ(draw(choose("top_p", "p = 0.35"), scores), "...x\n");
  EXPECT_EQ(draw(choose("top_p", "p = 0.6"), scores), ".x.x\n");
  EXPECT_EQ(draw(choose("top_p", "p = 0.75"), scores), ".xxx\n");
  EXPECT_EQ(draw(choose("top_p", "p = 0.0"), scores), "...x\n");
  EXPECT_EQ(draw(choose("top_p", "p = 1.0"), scores), "xxxx\n");
  // Ties of the last one.
  EXPECT_EQ(draw(choose("top_p", "p = 0.0"), {1, 2, 1, 2}), ".x.x\n");
  EXPECT_EQ(draw(choose("top_p", "p = 0.5"), {1, 2, 1, 2, 1}), ".x.x.\n");
  EXPECT_EQ(draw(choose("top_p", "p = 0.8"), {1, 2, 1, 2, 1}), "xxxxx\n");
  // Infinities share the mass; NaN has none and is last.
  EXPECT_EQ(draw(choose("top_p", "p = 0.9"), {kInfinity, 1, kInfinity}), "x.x\n");
  EXPECT_EQ(draw(choose("top_p", "p = 0.0"), {-kInfinity, kNaN, -kInfinity}), "x.x\n");
  EXPECT_EQ(draw(choose("top_p", "p = 0.999"), {kNaN, 1}), ".x\n");
  EXPECT_EQ(draw(choose("top_p", "p = 1.0"), {kNaN, 1}), "xx\n");
}

TEST_F(SelectionTest, Threshold) {
  EXPECT_EQ(draw(choose("threshold", "t = 2.0"), {1, 2, kNaN, 3, -kInfinity}), ".x.x.\n");
  EXPECT_EQ(draw(choose("threshold", "t = 0xFFF0000000000000"), {kNaN, -kInfinity}),
            ".x\n");
}

TEST_F(SelectionTest, Pages) {
  RowEvaluator evaluator;
  evaluator.q = {{1, -1}};
  evaluator.k = {{1, 4}, {2, 0}, {1, 0}, {1.5, -0.25}};
  // Bounds 2 and 1.75 of pages whose best keys score 2 and 1.75.
  std::vector<std::string> ops = {"%s = score.pages", "%c = all",
                                  "%m = threshold %s, %c t = 2.0 block_k = 2"};
  EXPECT_EQ(draw(ops, evaluator), "xx..\n");
  ops[2] = "%m = threshold %s, %c t = 1.75 block_k = 2";
  EXPECT_EQ(draw(ops, evaluator), "xxxx\n");
}

TEST_F(SelectionTest, RandomKeysPicture) {
  EXPECT_EQ(draw({"%c = causal", "%m = random_keys %c count = 2 seed = 7"},
                 std::vector<double>(5), 5),
            "x....\n"
            "xx...\n"
            "xx...\n"
            "x.x..\n"
            ".xx..\n");
}

// A union of draws has drawn what one of them has, with the probability of both.
TEST_F(SelectionTest, SampledAlgebra) {
  RowEvaluator evaluator;
  evaluator.q = {{1}};
  evaluator.k.assign(8, {0});
  auto values = [&](const std::string &op) {
    Value mask = parse({"%c = all", "%w = sink size = 2",
                        "%a = sample.uniform %c count = 2 seed = 1",
                        "%b = sample.uniform %c count = 4 seed = 2", "%m = " + op});
    return std::pair{mask, evaluator.evaluate(mask, evaluator.pairOf(0, 5))};
  };
  std::string types = " : !sparse_attn.mask<sampled>, !sparse_attn.mask<sampled>";
  auto count = [&](Value mask) {
    int drawn = 0;
    for (int64_t j = 0; j < 8; ++j)
      drawn += evaluator.isDrawn(mask, evaluator.pairOf(0, j));
    return drawn;
  };
  auto [unionMask, unionProbability] = values("union %a, %b" + types);
  EXPECT_EQ(unionProbability, 1 - 0.75 * 0.5);
  int both = count(unionMask);
  auto [commonMask, commonProbability] = values("intersect %a, %b" + types);
  EXPECT_EQ(commonProbability, 0.125);
  EXPECT_EQ(count(commonMask), 2 + 4 - both);
  auto [rest, restProbability] =
      values("difference %a, %w : !sparse_attn.mask<sampled>, !sparse_attn.mask");
  EXPECT_EQ(restProbability, 0.25);
  EXPECT_FALSE(evaluator.isDrawn(rest, evaluator.pairOf(0, 1)));
  EXPECT_EQ(evaluator.evaluate(rest, evaluator.pairOf(0, 1)), 0);
}

} // namespace
