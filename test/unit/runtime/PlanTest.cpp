//===- PlanTest.cpp - what a plan holds and shows -----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MockKernel.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <tuple>

using namespace mock;

namespace {

using Visit = std::tuple<int64_t, int64_t, int>; ///< first tile, tiles, kind

std::vector<Visit> visits(const sparse_attn_plan *plan, int64_t b, int64_t h,
                          int64_t rowTile) {
  std::vector<Visit> result;
  EXPECT_EQ(
      sparse_attn_plan_visit(
          plan, 0, b, h, rowTile,
          [](void *context, int64_t first, int64_t tiles, sparse_attn_tile_class kind) {
            static_cast<std::vector<Visit> *>(context)->emplace_back(first, tiles, kind);
          },
          &result),
      SPARSE_ATTN_OK)
      << sparse_attn_last_error();
  return result;
}

/// kinds[row tile][key tile] of a plane, as one of the two walks tells them.
std::vector<std::vector<int>> kindsOf(const sparse_attn_plan *plan, int64_t b, int64_t h,
                                      bool byKeys) {
  sparse_attn_grid grid;
  EXPECT_EQ(sparse_attn_plan_grid(plan, 0, &grid), SPARSE_ATTN_OK);
  std::vector<std::vector<int>> kinds(grid.row_tiles, std::vector<int>(grid.key_tiles));
  if (!byKeys) {
    for (int64_t row = 0; row < grid.row_tiles; ++row)
      for (auto [first, tiles, kind] : visits(plan, b, h, row))
        std::fill_n(kinds[row].begin() + first, tiles, kind);
    return kinds;
  }
  struct Column {
    std::vector<std::vector<int>> &kinds;
    int64_t key, end;
    int kind;
  };
  for (int64_t key = 0; key < grid.key_tiles; ++key) {
    Column column{kinds, key, 0, 0};
    EXPECT_EQ(
        sparse_attn_plan_visit_keys(
            plan, 0, b, h, key,
            [](void *context, int64_t first, int64_t tiles, sparse_attn_tile_class kind) {
              auto &column = *static_cast<Column *>(context);
              EXPECT_TRUE(first > column.end ||
                          (first == column.end && kind != column.kind))
                  << "runs ascend and are maximal";
              column.end = first + tiles;
              column.kind = kind;
              for (int64_t row = first; row < first + tiles; ++row)
                column.kinds.at(row)[column.key] = kind;
            },
            &column),
        SPARSE_ATTN_OK)
        << sparse_attn_last_error();
  }
  return kinds;
}

/// A kernel with one mask; D = Dv = 8.
struct MaskKernel {
  Kernel kernel{"attn"};
  Attention *attention;
  MaskKernel(Classifier classify, Predicate predicate, int binding) {
    kernel.addQKV(8, 8);
    attention = &kernel.attention(8, 8, std::move(classify), std::move(predicate));
    attention->code.binding = binding;
    kernel.outputState(8);
  }
};

constexpr int kFull = SPARSE_ATTN_TILE_FULL, kPartial = SPARSE_ATTN_TILE_PARTIAL;

TEST(PlanVisit, runsAreMergedAndTheLastTileIsNotFull) {
  for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN}) {
    MaskKernel mock([](const sa_mask_context *, int, int, int p0, int p1, int j0, int j1,
                       int) { return classifyCausal(p0, p1, j0, j1); },
                    causal(), binding);
    // Tiles of 4 rows x 8 keys; the last key tile holds 3 keys.
    Plan plan = makePlan(mock.kernel.get(), {1, 1, 1, 35, 35});
    EXPECT_EQ(visits(plan.get(), 0, 0, 0), (std::vector<Visit>{{0, 1, kPartial}}));
    EXPECT_EQ(visits(plan.get(), 0, 0, 2),
              (std::vector<Visit>{{0, 1, kFull}, {1, 1, kPartial}}));
    EXPECT_EQ(visits(plan.get(), 0, 0, 8),
              (std::vector<Visit>{{0, 4, kFull}, {4, 1, kPartial}}));
    sparse_attn_grid grid;
    ASSERT_EQ(sparse_attn_plan_grid(plan.get(), 0, &grid), SPARSE_ATTN_OK);
    EXPECT_EQ(grid.queries, 35);
    EXPECT_EQ(grid.tile_rows, 4);
    EXPECT_EQ(grid.tile_keys, 8);
    EXPECT_EQ(grid.plan_time, binding == SA_BINDING_PLAN);
    EXPECT_EQ(sparse_attn_plan_attention_count(plan.get()), 1u);
  }
}

TEST(PlanVisit, undecidedTilesAreSettledWhenPlanned) {
  // A classifier that only ever decides single pairs: keys 8 to 23.
  Classifier lazy = [](const sa_mask_context *, int, int, int p0, int p1, int j0, int j1,
                       int) {
    return p0 == p1 && j0 == j1 ? (j0 >= 8 && j0 < 24) || j0 == 33 : 2;
  };
  MaskKernel planned(lazy, nullptr, SA_BINDING_PLAN);
  Plan plan = makePlan(planned.kernel.get(), {1, 1, 1, 5, 40});
  std::vector<Visit> expected = {{1, 2, kFull}, {4, 1, kPartial}};
  EXPECT_EQ(visits(plan.get(), 0, 0, 0), expected);
  EXPECT_EQ(visits(plan.get(), 0, 0, 1), expected) << "one row can be full as well";
  MaskKernel compiled(lazy, nullptr, SA_BINDING_COMPILE);
  plan = makePlan(compiled.kernel.get(), {1, 1, 1, 5, 40});
  EXPECT_EQ(visits(plan.get(), 0, 0, 0), (std::vector<Visit>{{0, 5, kPartial}}));
}

TEST(PlanVisit, agreesWithThePairs) {
  Predicate keep = [](int b, int h, int p, int j, int) {
    return (p * 5 + j * 3 + b + 2 * h) % 7 < 2 && (p / 8 + j / 8) % 2 == b % 2;
  };
  for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN}) {
    MaskKernel mock(exhaustive(keep), keep, binding);
    mock.attention->code.per_batch = mock.attention->code.per_head = 1;
    const sparse_attn_shape shape = {2, 2, 1, 27, 43};
    Plan plan = makePlan(mock.kernel.get(), shape);
    for (int b = 0; b < 2; ++b)
      for (int h = 0; h < 2; ++h)
        for (int t = 0; t < 7; ++t) {
          std::vector<int> kinds(6, 0);
          int64_t last = -1;
          for (auto [first, tiles, kind] : visits(plan.get(), b, h, t)) {
            ASSERT_GT(first, last) << "ascending";
            last = first + tiles - 1;
            std::fill_n(kinds.begin() + first, tiles, kind);
          }
          for (int tile = 0; tile < 6; ++tile) {
            bool any = false, every = true;
            for (int i = 4 * t; i < std::min(4 * t + 4, 27); ++i)
              for (int j = 8 * tile; j < 8 * tile + 8; ++j) {
                bool kept = j < 43 && keep(b, h, i + 16, j, 43);
                any = any || kept;
                every = every && kept;
              }
            EXPECT_EQ(kinds[tile], !any ? 0 : every ? kFull : kPartial);
          }
        }
  }
}

TEST(PlanVisit, keysSeeTheSameTiles) {
  Predicate scattered = [](int b, int h, int p, int j, int) {
    return (p * 5 + j * 3 + b + 2 * h) % 7 < 2 && (p / 8 + j / 8) % 3 == (b + h) % 3;
  };
  Predicate squares = [](int b, int h, int p, int j, int) {
    return (p / 16 + j / 16 + b + h) % 2 == 0;
  };
  Predicate bands = [](int b, int h, int p, int j, int) {
    return j <= p && (p - j < 30 + 9 * h || j < 3 + b);
  };
  for (const Predicate &keep : {scattered, squares, bands})
    for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN}) {
      Kernel kernel("attn");
      kernel.addQKV(8, 8);
      int rows = kernel.layout("q_len", {1}), keys = kernel.layout("kv_len", {1});
      sa_attention &code = kernel.attention(8, 8, exhaustive(keep), keep).code;
      code.binding = binding;
      code.q_len = rows;
      code.kv_len = keys;
      code.per_batch = code.per_head = 1;
      kernel.outputState(8);
      auto queryLengths = Tensor::of({3}, std::vector<int32_t>{61, 30, 0});
      auto keyLengths = Tensor::of({3}, std::vector<int32_t>{75, 64, 75});
      Plan plan = makePlan(kernel.get(), {3, 2, 1, 61, 75},
                           {queryLengths.get(), keyLengths.get()});
      for (int b = 0; b < 3; ++b)
        for (int h = 0; h < 2; ++h)
          EXPECT_EQ(kindsOf(plan.get(), b, h, true), kindsOf(plan.get(), b, h, false));
    }
}

TEST(PlanVisit, keysSeeTheSameTilesInSteps) {
  Predicate keep = [](int, int h, int p, int j, int) {
    return (p - j) % 4 == 0 && j <= p + 20 * h;
  };
  Classifier classify = [keep](const sa_mask_context *, int, int h, int p0, int p1,
                               int j0, int j1, int step) {
    bool any = false, all = true;
    for (int p = p0; p <= p1; p += step)
      for (int j = j0; j <= j1; j += step) {
        any |= keep(0, h, p, j, 0);
        all &= keep(0, h, p, j, 0);
      }
    return !any ? 0 : all ? 1 : 2;
  };
  for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN}) {
    MaskKernel mock(classify, keep, binding);
    mock.attention->code.period = 4;
    mock.attention->code.per_head = 1;
    Plan plan = makePlan(mock.kernel.get(), {1, 2, 1, 122, 131});
    sparse_attn_grid grid;
    ASSERT_EQ(sparse_attn_plan_grid(plan.get(), 0, &grid), SPARSE_ATTN_OK);
    ASSERT_EQ(grid.step, 4);
    for (int h = 0; h < 2; ++h)
      EXPECT_EQ(kindsOf(plan.get(), 0, h, true), kindsOf(plan.get(), 0, h, false));
  }
}

TEST(PlanVisit, paddingRowsVisitNothing) {
  Kernel kernel("attn");
  kernel.addQKV(8, 8);
  int rows = kernel.layout("q_len", {1});
  Attention &attention = kernel.attention(8, 8, nullptr, all());
  attention.code.q_len = rows;
  kernel.outputState(8);
  for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN}) {
    attention.code.binding = binding;
    auto lengths = Tensor::of({2}, std::vector<int32_t>{5, 0});
    Plan plan = makePlan(kernel.get(), {2, 1, 1, 12, 16}, {lengths.get()});
    EXPECT_EQ(visits(plan.get(), 0, 0, 1), (std::vector<Visit>{{0, 2, kFull}}));
    EXPECT_TRUE(visits(plan.get(), 0, 0, 2).empty());
    EXPECT_TRUE(visits(plan.get(), 1, 0, 0).empty());
  }
}

TEST(PlanClassify, seesTheCopyOfTheOperands) {
  Kernel kernel("attn");
  kernel.addQKV(8, 8);
  int index = kernel.layout("index", {17, 0});
  Attention &attention = kernel.attention(
      8, 8,
      [index](const sa_mask_context *context, int b, int, int p0, int p1, int j0, int j1,
              int) {
        return sa_classify_global(&context->values[index], b, p0, p1, j0, j1);
      },
      nullptr);
  attention.code.binding = SA_BINDING_PLAN;
  attention.code.per_batch = 1;
  attention.checks.push_back(kernel.makeCheck(SA_CHECK_INDEX, {index}, {0}, "global"));
  kernel.outputState(8);
  // Unordered, with padding and a repeat; rows of the operand lie backwards.
  auto operand = Tensor::of({2, 4}, std::vector<int32_t>{2, 2, -1, 0, 9, -1, 3, 9});
  operand->strides[0] = -4;
  operand->dl.byte_offset = 4 * sizeof(int32_t);
  Plan plan = makePlan(kernel.get(), {2, 1, 1, 10, 10}, {operand.get()});
  std::fill(operand->ints.begin(), operand->ints.end(), 0);
  for (int b = 0; b < 2; ++b)
    for (int p = 0; p < 10; ++p)
      for (int j = 0; j < 10; ++j) {
        auto isGlobal = [&](int x) {
          return b == 0 ? x == 3 || x == 9 : x == 0 || x == 2;
        };
        sparse_attn_tile_class kind;
        ASSERT_EQ(sparse_attn_plan_classify(plan.get(), 0, b, 0, p, p, j, j, &kind),
                  SPARSE_ATTN_OK);
        EXPECT_EQ(kind, isGlobal(p) || isGlobal(j)) << b << " " << p << " " << j;
      }
}

// Classes of four rows have fewer pairs than tiles of neighbours, but every call looks
// for tiles in 64 classes.
TEST(PlanVisit, callsAndClassesCountForAStep) {
  auto keep = [](int, int, int p, int j, int) { return (p - j) % 64 == 0; };
  MaskKernel mock(exhaustive(keep), keep, SA_BINDING_COMPILE);
  mock.attention->code.period = 64;
  auto stepOf = [&](int64_t length) {
    sparse_attn_grid grid;
    Plan plan = makePlan(mock.kernel.get(), {1, 1, 1, length, length});
    EXPECT_EQ(sparse_attn_plan_grid(plan.get(), 0, &grid), SPARSE_ATTN_OK);
    return grid.step;
  };
  EXPECT_EQ(stepOf(256), 1);
  EXPECT_EQ(stepOf(2048), 64);
}

// 256 classes of two keys would be less work, but four times the packed keys.
TEST(PlanVisit, classesMayNotMultiplyThePackedKeys) {
  auto keep = [](int, int, int p, int j, int) { return (p - j) % 256 == 0; };
  auto classify = [](const sa_mask_context *, int, int, int p0, int p1, int j0, int j1,
                     int step) {
    bool alike = step == 256 || (p0 == p1 && j0 == j1);
    return !alike ? 2 : (p0 - j0) % 256 == 0 ? 1 : 0;
  };
  MaskKernel mock(classify, keep, SA_BINDING_COMPILE);
  mock.attention->code.period = 256;
  auto stepOf = [&](int64_t queries, int64_t keys) {
    sparse_attn_grid grid;
    Plan plan = makePlan(mock.kernel.get(), {1, 1, 1, queries, keys});
    EXPECT_EQ(sparse_attn_plan_grid(plan.get(), 0, &grid), SPARSE_ATTN_OK);
    return grid.step;
  };
  EXPECT_EQ(stepOf(2048, 512), 1);
  // Classes of eight keys fill their tiles.
  EXPECT_EQ(stepOf(2048, 2048), 256);
}

TEST(PlanVisit, stepsWhereThatIsLessWork) {
  // Every fourth key: of neighbours each tile keeps some.
  auto classify = [](const sa_mask_context *, int, int, int p0, int p1, int j0, int j1,
                     int step) {
    bool alike = step == 4 || (p0 == p1 && j0 == j1);
    return !alike ? 2 : (p0 - j0) % 4 == 0 ? 1 : 0;
  };
  auto keep = [](int, int, int p, int j, int) { return (p - j) % 4 == 0; };
  for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN}) {
    MaskKernel mock(classify, keep, binding);
    auto getGrid = [&](const Plan &plan) {
      sparse_attn_grid grid;
      EXPECT_EQ(sparse_attn_plan_grid(plan.get(), 0, &grid), SPARSE_ATTN_OK);
      return grid;
    };
    mock.attention->code.period = 4;
    Plan plan = makePlan(mock.kernel.get(), {1, 1, 1, 66, 66});
    sparse_attn_grid grid = getGrid(plan);
    EXPECT_EQ(grid.step, 4);
    // Classes 0 and 1 have 17 rows and keys: 5 and 3 tiles; the others 16: 4 and 2.
    EXPECT_EQ(grid.class_row_tiles, 5);
    EXPECT_EQ(grid.class_key_tiles, 3);
    EXPECT_EQ(grid.row_tiles, 20);
    EXPECT_EQ(grid.key_tiles, 12);
    EXPECT_EQ(visits(plan.get(), 0, 0, 0),
              (std::vector<Visit>{{0, 2, kFull}, {2, 1, kPartial}}));
    EXPECT_EQ(visits(plan.get(), 0, 0, 9),
              (std::vector<Visit>{{3, 2, kFull}, {5, 1, kPartial}}));
    EXPECT_EQ(visits(plan.get(), 0, 0, 10), (std::vector<Visit>{{6, 2, kFull}}));
    EXPECT_TRUE(visits(plan.get(), 0, 0, 14).empty()); // class 2 has 4 tiles of rows
    // Pairs are still asked by their positions.
    sparse_attn_tile_class kind;
    ASSERT_EQ(sparse_attn_plan_classify(plan.get(), 0, 0, 0, 5, 6, 1, 1, &kind),
              SPARSE_ATTN_OK);
    EXPECT_EQ(kind, kPartial);
    // A row sees only the keys of its class, however few rows there are.
    Plan decode = makePlan(mock.kernel.get(), {1, 1, 1, 1, 66});
    EXPECT_EQ(getGrid(decode).step, 4);
    EXPECT_EQ(getGrid(decode).row_tiles, 1);
    EXPECT_EQ(visits(decode.get(), 0, 0, 0),
              (std::vector<Visit>{{3, 2, kFull}, {5, 1, kPartial}}));
    // Tiles of a mask that does not gain hold neighbours.
    MaskKernel dense(exhaustive(causal()), causal(), binding);
    dense.attention->code.period = 4;
    EXPECT_EQ(getGrid(makePlan(dense.kernel.get(), {1, 1, 1, 66, 66})).step, 1);
  }
}

TEST(Plan, sharedListsAreKeptOnce) {
  Predicate keep = causal();
  auto bytes = [&](int perBatch, int perHead, sparse_attn_shape shape, int binding) {
    MaskKernel mock(exhaustive(keep), keep, binding);
    mock.attention->code.per_batch = perBatch;
    mock.attention->code.per_head = perHead;
    return sparse_attn_plan_bytes(makePlan(mock.kernel.get(), shape).get());
  };
  const sparse_attn_shape one = {1, 1, 1, 64, 64}, many = {4, 8, 2, 64, 64};
  size_t bare = bytes(0, 0, one, SA_BINDING_COMPILE);
  size_t single = bytes(0, 0, one, SA_BINDING_PLAN) - bare;
  EXPECT_EQ(bytes(0, 0, many, SA_BINDING_PLAN) - bare, single);
  EXPECT_GT(bytes(0, 1, many, SA_BINDING_PLAN) - bare, 3 * single);
  EXPECT_GT(bytes(1, 1, many, SA_BINDING_PLAN) - bare, 8 * single);
  // Without a table nothing depends on the shape.
  EXPECT_EQ(bytes(1, 1, many, SA_BINDING_COMPILE), bare);
}

TEST(Plan, inspectionErrors) {
  MaskKernel mock(exhaustive(causal()), causal(), SA_BINDING_PLAN);
  Plan plan = makePlan(mock.kernel.get(), {1, 2, 1, 8, 8});
  auto visit = [](void *, int64_t, int64_t, sparse_attn_tile_class) {};
  sparse_attn_tile_class kind;
  sparse_attn_grid grid;
  auto expect = [](sparse_attn_status status, const char *message) {
    EXPECT_EQ(status, SPARSE_ATTN_INVALID_ARGUMENT);
    EXPECT_STREQ(sparse_attn_last_error(), message);
  };
  expect(sparse_attn_plan_visit(plan.get(), 1, 0, 0, 0, visit, nullptr),
         "kernel 'attn' has no attention 1, only 1");
  expect(sparse_attn_plan_visit(plan.get(), 0, 1, 0, 0, visit, nullptr),
         "kernel 'attn': b is 1, expected 0 to 0");
  expect(sparse_attn_plan_visit(plan.get(), 0, 0, -1, 0, visit, nullptr),
         "kernel 'attn': h is -1, expected 0 to 1");
  expect(sparse_attn_plan_visit(plan.get(), 0, 0, 0, 2, visit, nullptr),
         "kernel 'attn': row_tile is 2, expected 0 to 1");
  expect(sparse_attn_plan_visit(plan.get(), 0, 0, 0, 0, nullptr, nullptr),
         "visit is null");
  expect(sparse_attn_plan_visit_keys(plan.get(), 0, 0, 2, 0, visit, nullptr),
         "kernel 'attn': h is 2, expected 0 to 1");
  expect(sparse_attn_plan_visit_keys(plan.get(), 0, 0, 0, 1, visit, nullptr),
         "kernel 'attn': key_tile is 1, expected 0 to 0");
  expect(sparse_attn_plan_visit_keys(plan.get(), 0, 0, 0, 0, nullptr, nullptr),
         "visit is null");
  expect(sparse_attn_plan_grid(plan.get(), 0, nullptr), "grid is null");
  expect(sparse_attn_plan_grid(nullptr, 0, &grid), "plan is null");
  expect(sparse_attn_plan_extent(plan.get(), 0, 0, nullptr), "extent is null");
  sparse_attn_extent extent;
  expect(sparse_attn_plan_extent(plan.get(), 0, 1, &extent),
         "kernel 'attn': b is 1, expected 0 to 0");
  expect(sparse_attn_plan_classify(plan.get(), 0, 0, 0, 3, 2, 0, 0, &kind),
         "positions [3, 2] x keys [0, 0] are no rectangle within -2^30 to 2^30 and 0 to "
         "2^30");
  EXPECT_EQ(sparse_attn_plan_bytes(nullptr), 0u);
  EXPECT_EQ(sparse_attn_plan_attention_count(nullptr), 0u);
}

TEST(Plan, millionsOfKeysAtCompileTime) {
  // The enumeration of a window takes as many steps as it has tiles, and the
  // logarithm of the rest.
  int calls = 0;
  MaskKernel mock(
      [&calls](const sa_mask_context *, int, int, int p0, int p1, int j0, int j1, int) {
        ++calls;
        return j0 > p1 || j1 < p0 - 100 ? 0 : j1 <= p0 && j0 >= p1 - 100 ? 1 : 2;
      },
      nullptr, SA_BINDING_COMPILE);
  const int64_t n = (1 << 30) - 1;
  Plan plan = makePlan(mock.kernel.get(), {1, 1, 1, n, n});
  calls = 0;
  std::vector<Visit> runs = visits(plan.get(), 0, 0, n / 8);
  EXPECT_EQ(runs.size(), 3u);
  EXPECT_LT(calls, 150);
  EXPECT_LT(sparse_attn_plan_bytes(plan.get()), 4096u);
}

} // namespace
