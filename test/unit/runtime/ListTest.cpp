//===- ListTest.cpp - bits and lists of plan-time masks -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Plans of enough query tiles that lists share bits, pair by pair against the predicate:
// with a classifier alone, and with functions that tell which keys are alike, and that
// decide pairs.
//
//===----------------------------------------------------------------------===//

#include "MockKernel.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <cstring>
#include <random>

extern "C" {
#include "internal.h"
}

using namespace mock;

namespace {

constexpr int kRows = 750, kKeys = 205; // both end inside of a tile

/// Masks whose edges run along the rows, along the keys, across both, and anywhere.
std::vector<Predicate> makeMasks() {
  auto segment = [](int t, int length) { return (t + 40) / length; };
  std::vector<uint8_t> noise(64 * 1024);
  std::mt19937 engine(3);
  for (uint8_t &x : noise)
    x = static_cast<uint8_t>(engine());
  return {
      [=](int, int, int p, int j, int) { return segment(p, 230) == segment(4 * j, 230); },
      [=](int, int, int p, int j, int) {
        return 4 * j <= p && (j % 50 < 21 || j % 7 == 0);
      },
      [=](int, int, int p, int j, int) { return std::abs(p - 4 * j) < 37 || j == 100; },
      [=](int b, int h, int p, int j, int) {
        return noise[(p / 64 * 331 + j / 16 * 7 + b * 5 + h) % noise.size()] % 3 == 0;
      },
      [=](int, int h, int p, int j, int) {
        return noise[(p * 331 + j * 7 + h) % noise.size()] % 5 == 0;
      },
      [=](int, int, int, int j, int) { return j >= 8; },
  };
}

/// Decides rectangles by trying every pair, large ones not at all.
Classifier exhaustiveIfSmall(Predicate keep) {
  return [keep](const sa_mask_context *context, int b, int h, int p0, int p1, int j0,
                int j1, int) -> int {
    if ((p1 - p0 + 1) * (j1 - j0 + 1) > 2048)
      return SPARSE_ATTN_TILE_PARTIAL;
    bool any = false, all = true;
    for (int p = p0; p <= p1 && !(any && !all); ++p)
      for (int j = j0; j <= j1; ++j) {
        bool kept = keep(b, h, p, j, context->keys);
        any = any || kept;
        all = all && kept;
      }
    return !any  ? SPARSE_ATTN_TILE_EMPTY
           : all ? SPARSE_ATTN_TILE_FULL
                 : SPARSE_ATTN_TILE_PARTIAL;
  };
}

/// What fillPairs decides by: functions of a kernel have no context of their own.
Predicate filled;

void fillPairs(const sa_fill_args *args) {
  std::memset(args->bits, 0, static_cast<size_t>(args->rows * args->row_bytes));
  for (int r = 0; r < args->rows; ++r)
    for (int k = 0; k < args->keys; ++k)
      if (filled(static_cast<int>(args->b), static_cast<int>(args->h),
                 static_cast<int>(args->first_position) + r,
                 static_cast<int>(args->first_key) + k, args->context->keys))
        args->bits[r * args->row_bytes + k / 8] |= 1 << k % 8;
}

/// The keys that are alike, found by trying all of them; not much at a time.
uint32_t findExtent(const sa_mask_context *context, int32_t b, int32_t h, int32_t p0,
                    int32_t p1, int32_t j0, int32_t j1, int32_t) {
  auto keeps = [&](int p, int j) { return filled(b, h, p, j, context->keys); };
  bool any = false, all = true;
  int stop = j1 + 1;
  for (int p = p0; p <= p1; ++p) {
    bool kept = keeps(p, j0);
    any = any || kept;
    all = all && kept;
    for (int j = j0 + 1; j < stop; ++j)
      if (keeps(p, j) != kept)
        stop = j;
  }
  if (j1 - j0 > 100 && stop - j0 < 3)
    return sa_pack_extent(j0, SPARSE_ATTN_TILE_PARTIAL);
  return sa_pack_extent(stop, !any  ? SPARSE_ATTN_TILE_EMPTY
                              : all ? SPARSE_ATTN_TILE_FULL
                                    : SPARSE_ATTN_TILE_PARTIAL);
}

struct PlannedMask {
  Kernel kernel{"attn"};
  Attention *attention;
  explicit PlannedMask(Predicate keep, bool fill = false, bool extent = false) {
    kernel.addQKV(8, 8);
    attention = &kernel.attention(8, 8, exhaustiveIfSmall(keep), keep);
    attention->code.binding = SA_BINDING_PLAN;
    attention->code.per_batch = attention->code.per_head = 1;
    filled = keep;
    if (extent)
      attention->code.extent = findExtent;
    if (fill) {
      for (sa_level &level : attention->levels)
        level.fill = fillPairs;
    }
    kernel.outputState(8);
  }
  Plan plan(int threads) {
    sparse_attn_options options{};
    options.threads = threads;
    return makePlan(kernel.get(), {2, 2, 1, kRows, kKeys}, {}, &options);
  }
};

/// The kept pairs of query tile `t`, one bit for each, and the runs that say so.
std::vector<uint8_t> unfold(const sa_run_list &list) {
  const int tiles = (kKeys + kTileKeys - 1) / kTileKeys;
  std::vector<uint8_t> pairs(kTileRows * tiles); // 8 keys a byte
  int end = 0;
  for (int64_t i = 0; i < list.count; ++i) {
    const sa_run &run = list.runs[i];
    EXPECT_GE(run.first_tile, end) << "runs ascend";
    end = run.first_tile + run.tiles;
    for (int t = 0; t < run.tiles; ++t)
      for (int r = 0; r < kTileRows; ++r)
        pairs[r * tiles + run.first_tile + t] =
            run.mask < 0 ? 0xff : list.bits[(run.mask + t) * kTileRows + r];
  }
  EXPECT_LE(end, tiles);
  return pairs;
}

TEST(List, pairsMatchThePredicate) {
  const int tiles = (kKeys + kTileKeys - 1) / kTileKeys;
  std::vector<Predicate> masks = makeMasks();
  for (size_t m = 0; m < 4 * masks.size(); ++m) {
    const Predicate &keep = masks[m / 4];
    PlannedMask mask(keep, /*fill=*/m % 2, /*extent=*/m / 2 % 2);
    Plan plan = mask.plan(2);
    for (int plane = 0; plane < 4; ++plane)
      for (int i = 0; i < kRows; ++i) {
        int b = plane / 2, h = plane % 2;
        std::vector<uint8_t> pairs =
            unfold(sa_table_list(&plan->attentions[0], b, h, i / kTileRows));
        int p = i + kKeys - kRows;
        for (int j = 0; j < tiles * kTileKeys; ++j)
          ASSERT_EQ(pairs[i % kTileRows * tiles + j / 8] >> (j % 8) & 1,
                    j < kKeys && keep(b, h, p, j, kKeys))
              << "b " << b << " h " << h << " p " << p << " j " << j;
      }
  }
}

TEST(List, plansDoNotDependOnThreads) {
  for (const Predicate &keep : makeMasks()) {
    PlannedMask mask(keep);
    Plan one = mask.plan(1);
    for (int threads : {2, 7}) {
      Plan many = mask.plan(threads);
      ASSERT_EQ(sparse_attn_plan_bytes(one.get()), sparse_attn_plan_bytes(many.get()));
      const sa_tile_table &a = one->attentions[0].table, &b = many->attentions[0].table;
      ASSERT_EQ(a.lists, b.lists);
      ASSERT_EQ(a.piece_count, b.piece_count);
      for (int64_t i = 0; i < a.piece_count; ++i) {
        const sa_table_piece &x = a.pieces[i], &y = b.pieces[i];
        ASSERT_EQ(x.runs.size, y.runs.size);
        ASSERT_EQ(x.bits.size, y.bits.size);
        ASSERT_TRUE(!x.runs.size || !std::memcmp(x.runs.data, y.runs.data, x.runs.size));
        ASSERT_TRUE(!x.bits.size || !std::memcmp(x.bits.data, y.bits.data, x.bits.size));
      }
      ASSERT_TRUE(std::equal(a.list_order, a.list_order + a.lists, b.list_order));
      ASSERT_TRUE(std::equal(a.list_begin, a.list_begin + a.lists, b.list_begin));
    }
  }
}

/// Lists that are equal have the same bit tiles, and so have tiles that are moved.
TEST(List, listsShareBits) {
  for (Predicate keep : {Predicate([](int, int, int, int j, int) { return j < 100; }),
                         Predicate([](int, int, int p, int j, int) { return j <= p; })}) {
    PlannedMask mask(keep);
    Plan plan = mask.plan(1);
    size_t bytes = 0;
    const sa_tile_table &table = plan->attentions[0].table;
    for (int64_t i = 0; i < table.piece_count; ++i)
      bytes += table.pieces[i].bits.size;
    EXPECT_LT(bytes, table.lists * kTileRows * kTileKeys / 8 / 4);
  }
}

} // namespace
