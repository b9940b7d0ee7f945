//===- TileCostsTest.cpp - the terms of the cost model --------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Analysis/TileCosts.h"
#include "gtest/gtest.h"

using namespace sparse_attn;

namespace {

TEST(TileCosts, ProductsCountTheRowsOfWholeRegisterTiles) {
  TileProblem problem{64, 32, 16, 6, 2, 1};
  // Two multiply-adds of 16 lanes in a cycle; 64 rows are 11 register tiles of 6.
  EXPECT_DOUBLE_EQ(estimateTileCost(problem, {}, {96, 128}).products, 96.0 / 32);
  EXPECT_DOUBLE_EQ(estimateTileCost(problem, {}, {64, 128}).products,
                   96.0 / 32 * 66 / 64);
  problem.elementsPerLane = 2;
  EXPECT_DOUBLE_EQ(estimateTileCost(problem, {}, {96, 128}).products, 96.0 / 64);
}

TEST(TileCosts, EdgesGrowWithRowsAndKeys) {
  auto edges = [](TileShape tile) { return estimateTileCost({}, {}, tile).edges; };
  EXPECT_GT(edges({256, 128}), edges({64, 128}));
  EXPECT_GT(edges({64, 256}), edges({64, 128}));
  // Rows and keys that do not divide each other meet an edge anywhere.
  EXPECT_GT(edges({96, 128}), edges({128, 128}));
}

TEST(TileCosts, MoreKeysShareTheWorkOfARow) {
  auto rows = [](TileShape tile) { return estimateTileCost({}, {}, tile).rows; };
  EXPECT_DOUBLE_EQ(rows({64, 64}), 2 * rows({64, 128}));
}

TEST(TileCosts, MoreRowsShareAKeyTile) {
  auto keys = [](TileShape tile, CacheSizes caches) {
    return estimateTileCost({}, caches, tile).keys;
  };
  EXPECT_DOUBLE_EQ(keys({32, 128}, {}), 2 * keys({64, 128}, {}));
  // Keys of a head that no cache holds come from memory.
  EXPECT_GT(keys({64, 128}, {32 << 10, 1 << 20, 1 << 20}), keys({64, 128}, {}));
}

TEST(TileCosts, CachesMatterOnceATileOutgrowsThem) {
  auto caches = [](TileShape tile, CacheSizes sizes) {
    return estimateTileCost({}, sizes, tile).caches;
  };
  constexpr int64_t large = 1 << 30;
  EXPECT_EQ(caches({256, 512}, {large, large, large}), 0);
  double inL2 = caches({256, 512}, {32 << 10, large, large});
  EXPECT_GT(inL2, 0);
  EXPECT_GT(caches({256, 512}, {32 << 10, 256 << 10, large}), inL2);
}

TEST(TileCosts, RankedFromTheCheapest) {
  for (int64_t dim : {8, 32, 64, 128, 256}) {
    TileProblem problem;
    problem.headDim = problem.valueDim = dim;
    auto ranked = rankTiles(problem, {});
    ASSERT_GT(ranked.size(), 8u);
    for (size_t i = 1; i < ranked.size(); ++i)
      EXPECT_LE(ranked[i - 1].cost.total(), ranked[i].cost.total());
  }
}

// The choice is alike the cheapest, and no tile of more keys and few rows is.
TEST(TileCosts, ChoosesTheWidestOfTilesThatAreAlike) {
  TileProblem problem;
  auto ranked = rankTiles(problem, {});
  TileShape chosen = chooseTile(problem, {});
  double most = 1.02 * ranked.front().cost.total();
  EXPECT_LE(estimateTileCost(problem, {}, chosen).total(), most);
  EXPECT_LE(chosen.rows, 64);
  for (const RankedTile &other : ranked)
    EXPECT_TRUE(other.cost.total() > most || other.tile.rows > 64 ||
                other.tile.keys <= chosen.keys);
}

} // namespace
