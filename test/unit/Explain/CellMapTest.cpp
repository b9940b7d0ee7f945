//===- CellMapTest.cpp - summing tiles into cells -------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Explain/CellMap.h"
#include <gtest/gtest.h>
#include <random>

using namespace sparse_attn;

namespace {

/// Full and partial units of a map, from the shares of its cells.
Share countUnits(const CellMap &map) {
  Share sum;
  for (int64_t row = 0; row < map.rows(); ++row)
    for (int64_t column = 0; column < map.columns(); ++column) {
      double units =
          double(std::min(map.rowUnits(), map.unitRows() - row * map.rowUnits())) *
          double(std::min(map.columnUnits(),
                          map.unitColumns() - column * map.columnUnits()));
      sum.full += map.share(row, column).full * units;
      sum.partial += map.share(row, column).partial * units;
    }
  return sum;
}

CellMap makeRandomMap(int64_t rows, int64_t columns, int64_t most, Share &units) {
  std::mt19937 generator(1);
  CellMap map(rows, columns, most);
  units = {};
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns;) {
      int64_t count = std::min<int64_t>(1 + generator() % 7, columns - column);
      unsigned kind = generator() % 3;
      if (kind == 1)
        units.full += count;
      if (kind == 2)
        units.partial += count;
      if (kind)
        map.add(row, column, count, kind == 1 ? CellMap::Full : CellMap::Partial);
      column += count;
    }
  return map;
}

TEST(CellMap, KeepsUnitsApartWhereTheyFit) {
  CellMap map(3, 5, 8);
  map.add(1, 2, 2, CellMap::Full);
  map.add(2, 4, 1, CellMap::Partial);
  EXPECT_TRUE(map.isExact());
  EXPECT_EQ(map.rows(), 3);
  EXPECT_EQ(map.columns(), 5);
  EXPECT_EQ(map.share(1, 2), (Share{1, 0}));
  EXPECT_EQ(map.share(1, 4), (Share{0, 0}));
  EXPECT_EQ(map.share(2, 4), (Share{0, 1}));
}

TEST(CellMap, JoinsPowersOfTwo) {
  CellMap map(5, 1000, 100);
  EXPECT_FALSE(map.isExact());
  EXPECT_EQ(map.rowUnits(), 1);
  EXPECT_EQ(map.columnUnits(), 16); // 8 would leave 125 cells
  EXPECT_EQ(map.columns(), 63);
}

TEST(CellMap, SplitsARunOverCells) {
  CellMap map(1, 16, 4); // cells of 4 units
  map.add(0, 3, 6, CellMap::Full);
  EXPECT_EQ(map.share(0, 0).full, 0.25);
  EXPECT_EQ(map.share(0, 1).full, 1);
  EXPECT_EQ(map.share(0, 2).full, 0.25);
  EXPECT_EQ(map.share(0, 3).full, 0);
}

TEST(CellMap, TheLastCellCountsWhatItHas) {
  CellMap map(1, 5, 3); // cells of 2, 2 and 1 units
  map.add(0, 4, 1, CellMap::Partial);
  EXPECT_EQ(map.columns(), 3);
  EXPECT_EQ(map.share(0, 2).partial, 1);
}

TEST(CellMap, SumsNothingAway) {
  for (int64_t most : {512, 64, 17, 1}) {
    Share units;
    CellMap map = makeRandomMap(90, 203, most, units);
    EXPECT_NEAR(countUnits(map).full, units.full, 1e-6);
    EXPECT_NEAR(countUnits(map).partial, units.partial, 1e-6);
  }
}

TEST(CellMap, ReducesToTheMapMadeSo) {
  Share units;
  CellMap fine = makeRandomMap(90, 203, 512, units);
  CellMap coarse = makeRandomMap(90, 203, 40, units);
  CellMap reduced = fine.reduce(40);
  ASSERT_EQ(reduced.rows(), coarse.rows());
  ASSERT_EQ(reduced.columns(), coarse.columns());
  for (int64_t row = 0; row < coarse.rows(); ++row)
    for (int64_t column = 0; column < coarse.columns(); ++column)
      EXPECT_EQ(reduced.share(row, column), coarse.share(row, column));
}

TEST(CellMap, ResamplesByArea) {
  CellMap map(1, 3, 8);
  map.add(0, 0, 1, CellMap::Full);
  map.add(0, 2, 1, CellMap::Partial);
  // Halves of one and a half units each.
  std::vector<Share> halves = map.resample(1, 2);
  EXPECT_NEAR(halves[0].full, 2.0 / 3, 1e-12);
  EXPECT_NEAR(halves[0].partial, 0, 1e-12);
  EXPECT_NEAR(halves[1].full, 0, 1e-12);
  EXPECT_NEAR(halves[1].partial, 2.0 / 3, 1e-12);
  // More columns than units repeat them.
  std::vector<Share> six = map.resample(2, 6);
  EXPECT_NEAR(six[1].full, 1, 1e-12);
  EXPECT_NEAR(six[2].full, 0, 1e-12);
  EXPECT_NEAR(six[11].partial, 1, 1e-12);
}

TEST(CellMap, ResamplingKeepsTheMean) {
  Share units;
  CellMap map = makeRandomMap(90, 203, 32, units);
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{7, 64}, {90, 203}, {1, 1}}) {
    Share sum;
    for (const Share &share : map.resample(rows, columns)) {
      sum.full += share.full;
      sum.partial += share.partial;
    }
    EXPECT_NEAR(sum.full / double(rows * columns), units.full / (90 * 203), 1e-9);
    EXPECT_NEAR(sum.partial / double(rows * columns), units.partial / (90 * 203), 1e-9);
  }
}

} // namespace
