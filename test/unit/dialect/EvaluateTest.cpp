//===- EvaluateTest.cpp - pictures of what the patterns keep ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every picture of the ops' documentation, drawn by `evaluate`, and what the
// pictures leave open: negative positions, draws, operands per batch entry.
//
//===----------------------------------------------------------------------===//

#include "MaskFunction.h"
#include "dialect/SparseAttn/PatternSupport.h"
#include <gtest/gtest.h>
#include <set>

using namespace mlir;
using namespace sparse_attn;

namespace {

class EvaluateTest : public testing::Test {
protected:
  EvaluateTest() { context.loadDialect<SparseAttnDialect, func::FuncDialect>(); }

  /// What `op` keeps for positions p0, p0 + 1, ...: one line each, x or a dot for
  /// every key.
  std::string draw(const std::string &op, int64_t p0, int64_t rows, int64_t keys,
                   const std::vector<Tensor> &tensors = {}, int64_t b = 0,
                   int64_t h = 0) {
    OwningOpRef<ModuleOp> module = parseMask(op, tensors, &context);
    if (!module)
      return "does not parse";
    TensorEvaluator evaluator(keys);
    Value mask = bindMask(*module, tensors, evaluator);
    std::string picture;
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < keys; ++j)
        picture += evaluator.evaluate(mask, Pair{b, h, i, p0 + i, j}) == 1 ? 'x' : '.';
      picture += '\n';
    }
    return picture;
  }

  MLIRContext context;
};

TEST_F(EvaluateTest, Window) {
  EXPECT_EQ(draw("causal", 0, 4, 4), "x...\n"
                                     "xx..\n"
                                     "xxx.\n"
                                     "xxxx\n");
  EXPECT_EQ(draw("window left = 2 right = 1", 0, 6, 6), "xx....\n"
                                                        "xxx...\n"
                                                        "xxxx..\n"
                                                        ".xxxx.\n"
                                                        "..xxxx\n"
                                                        "...xxx\n");
  // Three queries at the end of eight keys: {4, 5}, {5, 6}, {6, 7}.
  EXPECT_EQ(draw("window left = 1 right = 0", 5, 3, 8), "....xx..\n"
                                                        ".....xx.\n"
                                                        "......xx\n");
  EXPECT_EQ(draw("window right = 2", -3, 5, 4), "....\n"
                                                "x...\n"
                                                "xx..\n"
                                                "xxx.\n"
                                                "xxxx\n");
}

TEST_F(EvaluateTest, Dilated) {
  EXPECT_EQ(draw("dilated left = 4 right = 2 rate = 2", 0, 6, 6), "x.x...\n"
                                                                  ".x.x..\n"
                                                                  "x.x.x.\n"
                                                                  ".x.x.x\n"
                                                                  "x.x.x.\n"
                                                                  ".x.x.x\n");
  // Distances of negative positions round down as well.
  EXPECT_EQ(draw("dilated rate = 3", -2, 2, 6), ".x..x.\n"
                                                "..x..x\n");
}

TEST_F(EvaluateTest, SinkAndPrefix) {
  EXPECT_EQ(draw("sink size = 2", 0, 2, 4), "xx..\n"
                                            "xx..\n");
  const Tensor lengths = {{2}, {3, 1}};
  EXPECT_EQ(draw("prefix %a : tensor<?xi32>", 0, 2, 5, {lengths}), "xxx..\n"
                                                                   "xxx..\n");
  EXPECT_EQ(draw("prefix %a : tensor<?xi32>", -1, 2, 5, {lengths}, /*b=*/1), "x....\n"
                                                                             "x....\n");
}

TEST_F(EvaluateTest, Global) {
  const char *picture = "xxxxx\n"
                        "x..x.\n"
                        "x..x.\n"
                        "xxxxx\n"
                        "x..x.\n";
  EXPECT_EQ(draw("global positions = [3, 0]", 0, 5, 5), picture);
  EXPECT_EQ(draw("global stride = 3", 0, 5, 5), picture);
  EXPECT_EQ(draw("global index(%a : tensor<?x?xi32>)", 0, 5, 5, {{{1, 3}, {3, -1, 0}}}),
            picture);
  // A multiple of the stride is global at negative positions too; padding is not
  // a position.
  EXPECT_EQ(draw("global stride = 3", -4, 3, 5), "x..x.\n"
                                                 "xxxxx\n"
                                                 "x..x.\n");
  EXPECT_EQ(draw("global index(%a : tensor<?x?xi32>)", -1, 2, 5, {{{1, 2}, {2, -1}}}),
            "..x..\n"
            "..x..\n");
}

TEST_F(EvaluateTest, Strided) {
  EXPECT_EQ(draw("strided stride = 3", 0, 5, 7), "x..x..x\n"
                                                 ".x..x..\n"
                                                 "..x..x.\n"
                                                 "x..x..x\n"
                                                 ".x..x..\n");
  EXPECT_EQ(draw("fixed stride = 4 columns = 1", -1, 2, 9), "...x...x.\n"
                                                            "...x...x.\n");
}

TEST_F(EvaluateTest, Blocks) {
  EXPECT_EQ(draw("block_diagonal size = 2", -1, 6, 5), ".....\n"
                                                       "xx...\n"
                                                       "xx...\n"
                                                       "..xx.\n"
                                                       "..xx.\n"
                                                       "....x\n");
  const char *even = "x.x....\n"
                     ".......\n"
                     "x.x....\n"
                     ".......\n"
                     "....x.x\n";
  const char *odd = ".......\n"
                    ".x.x...\n"
                    ".......\n"
                    ".x.x...\n"
                    ".......\n";
  EXPECT_EQ(draw("dilated_segment segment = 4 rate = 2 offset = 0", 0, 5, 7), even);
  EXPECT_EQ(draw("dilated_segment segment = 4 rate = 2 offset = 1", 0, 5, 7), odd);
  EXPECT_EQ(draw("dilated_segment segment = 4 rate = 2", 0, 5, 7, {}, 0, /*h=*/2), even);
  EXPECT_EQ(draw("dilated_segment segment = 4 rate = 2", 0, 5, 7, {}, 0, /*h=*/3), odd);
}

TEST_F(EvaluateTest, Neighborhood) {
  EXPECT_EQ(draw("neighborhood grid = [6] radius = [1]", -1, 8, 7), ".......\n"
                                                                    "xxx....\n"
                                                                    "xxx....\n"
                                                                    ".xxx...\n"
                                                                    "..xxx..\n"
                                                                    "...xxx.\n"
                                                                    "...xxx.\n"
                                                                    ".......\n");
  // Rows of a grid of 2 x 3.
  EXPECT_EQ(draw("neighborhood grid = [2, 3] radius = [0, 1]", 0, 6, 6), "xxx...\n"
                                                                         "xxx...\n"
                                                                         "xxx...\n"
                                                                         "...xxx\n"
                                                                         "...xxx\n"
                                                                         "...xxx\n");
  // Even tokens are 0 2 4 6, odd ones 1 3 5: each class has its own ends.
  EXPECT_EQ(draw("neighborhood grid = [7] radius = [1] dilation = [2]", 0, 7, 7),
            "x.x.x..\n"
            ".x.x.x.\n"
            "x.x.x..\n"
            ".x.x.x.\n"
            "..x.x.x\n"
            ".x.x.x.\n"
            "..x.x.x\n");
  // An axis shorter than its window is kept whole.
  EXPECT_EQ(draw("neighborhood grid = [4] radius = [2]", 0, 2, 4), "xxxx\n"
                                                                   "xxxx\n");
}

// The window starts of NATTEN 0.17, in its own terms: the window begins a radius
// before the query, at the query's residue near the left edge, and where it ends
// with the axis near the right one.
static int64_t nattenStart(int64_t index, int64_t length, int64_t radius,
                           int64_t dilation) {
  int64_t reach = radius * dilation;
  if (index - reach < 0)
    return index % dilation;
  if (index + reach < length)
    return index - reach;
  int64_t whole = length / dilation * dilation, rest = length - whole;
  int64_t residue = index % dilation;
  int64_t last = residue < rest ? whole + residue : whole + residue - dilation;
  return last - 2 * reach;
}

TEST_F(EvaluateTest, NeighborhoodFollowsNatten) {
  for (int64_t radius : {1, 2, 3})
    for (int64_t dilation : {1, 2, 3, 4})
      for (int64_t length = (2 * radius + 1) * dilation; length < 30; ++length) {
        std::string expected;
        for (int64_t i = 0; i < length; ++i) {
          std::string row(length, '.');
          int64_t start = nattenStart(i, length, radius, dilation);
          for (int64_t k = 0; k <= 2 * radius; ++k)
            row[start + k * dilation] = 'x';
          expected += row + '\n';
        }
        std::string op = "neighborhood grid = [" + std::to_string(length) +
                         "] radius = [" + std::to_string(radius) + "] dilation = [" +
                         std::to_string(dilation) + "]";
        ASSERT_EQ(draw(op, 0, length, length), expected) << op;
      }
}

TEST_F(EvaluateTest, Segments) {
  EXPECT_EQ(draw("segments %a : tensor<?x?xi32>", 0, 6, 6, {{{1, 3}, {0, 3, 5}}}),
            "xxx...\n"
            "xxx...\n"
            "xxx...\n"
            "...xx.\n"
            "...xx.\n"
            "......\n");
  // An empty segment, tokens before the first one, a negative position.
  EXPECT_EQ(draw("segments %a : tensor<?x?xi32>", -1, 4, 4,
                 {{{2, 4}, {0, 0, 0, 0, 1, 2, 2, 3}}}, /*b=*/1),
            "....\n"
            "....\n"
            ".x..\n"
            "..x.\n");
}

TEST_F(EvaluateTest, BlockMask) {
  const Tensor indptr = {{1, 1, 3}, {0, 1, 3}}, indices = {{1, 1, 3}, {1, 0, 2}};
  EXPECT_EQ(draw("block_mask %a, %b block = 2 x 3 : tensor<?x?x?xi32>, tensor<?x?x?xi32>",
                 -1, 6, 8, {indptr, indices}, /*b=*/1, /*h=*/3),
            "........\n"
            "...xxx..\n"
            "...xxx..\n"
            "xxx...xx\n"
            "xxx...xx\n"
            "........\n");
  // The same list for both heads, from which each takes its own part.
  const Tensor perHead = {{1, 2, 2}, {0, 1, 1, 3}};
  EXPECT_EQ(draw("block_mask %a, %b block = 2 x 3 : tensor<?x?x?xi32>, tensor<?x?x?xi32>",
                 0, 1, 8, {perHead, indices}, 0, /*h=*/1),
            "xxx...xx\n");
}

TEST_F(EvaluateTest, BlockMaskBits) {
  // Blocks of 1 x 10: 2 bytes each; -127 is 0b10000001.
  const Tensor indptr = {{1, 1, 3}, {0, 1, 2}}, indices = {{1, 1, 2}, {0, 1}};
  const Tensor bits = {{1, 2, 1, 2}, {-127, 2, 6, 1}, "i8"};
  std::string text = "block_mask %a, %b bits(%c : tensor<?x?x?x?xi8>) block = 1 x 10 : "
                     "tensor<?x?x?xi32>, tensor<?x?x?xi32>";
  EXPECT_EQ(draw(text, 0, 2, 20, {indptr, indices, bits}), "x......x.x..........\n"
                                                           "...........xx.....x.\n");
}

TEST_F(EvaluateTest, GraphHop) {
  const std::vector<Tensor> graph = {
      {{1, 4}, {1, 3, 4, 6}}, {{1, 3}, {0, 2, 1}}, {{4}, {0, 1, 2, 2}}, {{2}, {1, 2}}};
  std::string types = " : tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>";
  EXPECT_EQ(draw("graph_hop %a, %b, %c, %d max_hops = 1" + types, -1, 8, 7, graph),
            ".......\n"
            "x......\n"
            ".xx.xx.\n"
            ".xx.xx.\n"
            "...xxx.\n"
            ".xxxxx.\n"
            ".xxxxx.\n"
            "......x\n");
  EXPECT_EQ(draw("graph_hop %a, %b, %c, %d max_hops = 1 directed = true" + types, 0, 7, 7,
                 graph),
            "x......\n"
            ".xx.xx.\n"
            ".xx.xx.\n"
            "...x...\n"
            "...xxx.\n"
            "...xxx.\n"
            "......x\n");
  EXPECT_EQ(draw("graph_hop %a, %b, %c, %d max_hops = 0" + types, 1, 3, 7, graph),
            ".xx....\n"
            ".xx....\n"
            "...x...\n");
  EXPECT_EQ(draw("graph_hop %a, %b, %c, %d directed = true" + types, 1, 3, 7, graph),
            ".xxxxx.\n"
            ".xxxxx.\n"
            "...x...\n");
}

TEST(Philox, MatchesPublishedVectors) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(philox4x32(0, {0, 0, 0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32(~uint64_t(0), {~0u, ~0u, ~0u, ~0u}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(
      philox4x32(0x299f31d0a4093822, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
      (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST_F(EvaluateTest, RandomBlocks) {
  EXPECT_EQ(draw("random_blocks block = 2 count = 1 seed = 3", 0, 6, 6), "....xx\n"
                                                                         "....xx\n"
                                                                         "..xx..\n"
                                                                         "..xx..\n"
                                                                         "xx....\n"
                                                                         "xx....\n");
  // Head 0 of batch entry 1; the query block before the first is number 2^32 - 1.
  EXPECT_EQ(draw("random_blocks block = 2 count = 2 seed = 17", -2, 8, 9, {}, /*b=*/1),
            "....xx..x\n"
            "....xx..x\n"
            "....xx..x\n"
            "....xx..x\n"
            "......xxx\n"
            "......xxx\n"
            "..xx....x\n"
            "..xx....x\n");
  // No more blocks than draws.
  EXPECT_EQ(draw("random_blocks block = 2 count = 3 seed = 17", 0, 1, 6), "xxxxxx\n");
}

TEST(RandomBlocks, DrawsEveryBlockEquallyOften) {
  constexpr int64_t kTotal = 10, kCount = 3, kRows = 4000;
  std::vector<int64_t> times(kTotal);
  for (int64_t row = 0; row < kRows; ++row) {
    std::vector<int64_t> drawn = drawRandomBlocks(kTotal, kCount, /*seed=*/-5, 1, row);
    ASSERT_EQ(std::set<int64_t>(drawn.begin(), drawn.end()).size(), size_t(kCount));
    for (int64_t block : drawn)
      ++times.at(block);
  }
  // Five standard deviations of a binomial count: 5 sqrt(4000 * 0.3 * 0.7).
  for (int64_t count : times)
    EXPECT_NEAR(count, kRows * kCount / kTotal, 145);
}

} // namespace
