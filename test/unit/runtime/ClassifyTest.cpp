//===- ClassifyTest.cpp - helpers of generated classifiers --------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MockKernel.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <functional>
#include <random>
#include <set>

extern "C" void sa_philox(uint32_t counter[4], uint64_t key);

using namespace mock;

namespace {

/// Answers for rectangles: the helper under test.
using Helper = std::function<int(int p0, int p1, int j0, int j1)>;
using Pair = std::function<bool(int p, int j)>;

/// Checks the law of sa_classify_fn on every rectangle with ends in the given
/// ranges, and that the answer is the sharpest one where `exact`.
void checkLaw(const Helper &classify, const Pair &keep, int pBegin, int pEnd, int keys,
              bool exact) {
  for (int p0 = pBegin; p0 < pEnd; ++p0)
    for (int p1 = p0; p1 < pEnd; ++p1)
      for (int j0 = 0; j0 < keys; ++j0) {
        bool any = false, all = true;
        for (int j1 = j0; j1 < keys; ++j1) {
          for (int p = p0; p <= p1; ++p) {
            bool kept = keep(p, j1);
            any = any || kept;
            all = all && kept;
          }
          int kind = classify(p0, p1, j0, j1), sharpest = !any ? 0 : all ? 1 : 2;
          bool single = p0 == p1 && j0 == j1;
          if (kind != sharpest && (exact || single || kind != 2))
            FAIL() << "p [" << p0 << ", " << p1 << "] j [" << j0 << ", " << j1 << "] is "
                   << kind << ", expected " << sharpest;
        }
      }
}

/// Writes the pairs of a tile: the helper under test.
using Filler = std::function<void(const sa_fill_args *pairs, uint8_t *bits)>;

/// Checks tiles of all sorts, rows and keys 1 to 3 apart, and that nothing beside
/// them is written.
void checkFill(const Filler &fill, const Pair &keep, int pBegin, int pEnd, int keys) {
  std::mt19937 engine(7);
  auto below = [&](int n) { return static_cast<int>(engine() % n); };
  for (int trial = 0; trial < 200; ++trial) {
    // A row of 8 bytes is filled by words, shorter ones by bytes.
    int rowBytes = trial % 2 ? 8 : 2, step = 1 + below(3);
    int p0 = pBegin + below(pEnd - pBegin), j0 = below(keys);
    int rows = 1 + below((pEnd - p0 + step - 1) / step);
    int columns = 1 + below(std::min((keys - j0 + step - 1) / step, 8 * rowBytes));
    std::vector<uint8_t> bits(static_cast<size_t>(rows + 1) * rowBytes, 0xa5);
    sa_fill_args pairs = {nullptr, nullptr, rowBytes, 0, 0, p0, rows, j0, columns, step};
    fill(&pairs, bits.data());
    for (int r = 0; r < rows; ++r)
      for (int k = 0; k < 8 * rowBytes; ++k) {
        bool kept = bits[r * rowBytes + k / 8] >> (k % 8) & 1;
        ASSERT_EQ(kept, k < columns && keep(p0 + step * r, j0 + step * k))
            << "p " << p0 << " + " << step << " * " << r << ", j " << j0 << " + " << step
            << " * " << k;
      }
    for (int k = 0; k < rowBytes; ++k)
      ASSERT_EQ(bits[rows * rowBytes + k], 0xa5);
  }
}

sa_view viewOf(const Tensor &tensor) {
  sa_view view = {nullptr, tensor.dl.data, 0, {1, 1, 1, 1}, {0, 0, 0, 0}};
  int pad = 4 - tensor.dl.ndim;
  for (int axis = 0; axis < tensor.dl.ndim; ++axis) {
    view.size[pad + axis] = tensor.dl.shape[axis];
    view.stride[pad + axis] = tensor.dl.shape[axis] > 1 ? tensor.dl.strides[axis] : 0;
  }
  return view;
}

TEST(Philox, knownAnswers) {
  // The vectors of the authors' Random123 library.
  struct {
    uint32_t counter[4];
    uint64_t key;
    uint32_t expected[4];
  } cases[] = {
      {{0, 0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{~0u, ~0u, ~0u, ~0u},
       ~uint64_t(0),
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       uint64_t(0x299f31d0) << 32 | 0xa4093822,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (auto &test : cases) {
    sa_philox(test.counter, test.key);
    for (int i = 0; i < 4; ++i)
      EXPECT_EQ(test.counter[i], test.expected[i]);
  }
}

TEST(Classify, segments) {
  // Leading and trailing tokens outside, empty segments at both ends and inside.
  const std::vector<std::vector<int32_t>> cases = {
      {0, 12}, {2, 5, 5, 9, 10}, {0, 0, 3, 3, 3, 12, 12}, {4, 4}, {0}, {3, 7}};
  for (const std::vector<int32_t> &offsets : cases) {
    auto tensor = Tensor::of({1, static_cast<int64_t>(offsets.size())}, offsets);
    sa_view view = viewOf(*tensor);
    auto segment = [&](int t) {
      for (size_t s = 0; s + 1 < offsets.size(); ++s)
        if (offsets[s] <= t && t < offsets[s + 1])
          return static_cast<int>(s);
      return -1;
    };
    auto keep = [&](int p, int j) { return segment(p) >= 0 && segment(p) == segment(j); };
    checkLaw([&](int p0, int p1, int j0,
                 int j1) { return sa_classify_segments(&view, 0, p0, p1, j0, j1); },
             keep, -3, 14, 12,
             /*exact=*/true);
    checkFill([&](const sa_fill_args *pairs,
                  uint8_t *bits) { sa_fill_segments(&view, 0, pairs, bits); },
              keep, -3, 14, 12);
  }
}

TEST(Classify, segmentsByBatchEntry) {
  auto tensor = Tensor::of({2, 3}, std::vector<int32_t>{0, 4, 8, 0, 2, 8});
  sa_view view = viewOf(*tensor);
  EXPECT_EQ(sa_classify_segments(&view, 0, 3, 3, 0, 0), 1);
  EXPECT_EQ(sa_classify_segments(&view, 1, 3, 3, 0, 0), 0);
}

TEST(Classify, global) {
  const std::vector<std::vector<int32_t>> cases = {
      {}, {-1, -1}, {0}, {3, 4, 5}, {-1, 0, 2, 2, 3, 11}, {1, 1, 1}, {5, 7, 7, 8, 9}};
  for (const std::vector<int32_t> &index : cases) {
    auto tensor = Tensor::of({1, static_cast<int64_t>(index.size())}, index);
    sa_view view = viewOf(*tensor);
    auto isGlobal = [&](int t) {
      return t >= 0 && std::find(index.begin(), index.end(), t) != index.end();
    };
    auto keep = [&](int p, int j) { return isGlobal(p) || isGlobal(j); };
    checkLaw([&](int p0, int p1, int j0,
                 int j1) { return sa_classify_global(&view, 0, p0, p1, j0, j1); },
             keep, -3, 14, 12, true);
    checkFill([&](const sa_fill_args *pairs,
                  uint8_t *bits) { sa_fill_global(&view, 0, pairs, bits); },
              keep, -3, 14, 12);
  }
}

TEST(Classify, blockMask) {
  std::mt19937 engine(4);
  for (auto [rows, keys] : {std::pair{1, 1}, {3, 2}, {2, 5}, {4, 4}, {16, 16}, {5, 11}}) {
    for (bool withBits : {false, true}) {
      for (int density : {0, 3, 8, 10}) {
        int blockRows = 9 / rows + 1, blockKeys = 12 / keys + 1;
        std::vector<int32_t> indptr = {0}, indices;
        for (int r = 0; r < blockRows; ++r) {
          for (int c = 0; c < blockKeys; ++c)
            if (static_cast<int>(engine() % 10) < density)
              indices.push_back(c);
          indptr.push_back(static_cast<int32_t>(indices.size()));
        }
        int64_t blocks = static_cast<int64_t>(indices.size());
        int bytes = (keys + 7) / 8;
        std::vector<uint8_t> bits(blocks * rows * bytes);
        for (uint8_t &byte : bits)
          byte = engine() % 3 ? 0xff : static_cast<uint8_t>(engine());
        auto indptrTensor = Tensor::of({1, 1, blockRows + 1}, indptr);
        auto indicesTensor = Tensor::of({1, 1, blocks}, indices);
        auto bitsTensor = Tensor::of({1, blocks, rows, bytes}, bits);
        sa_view indptrView = viewOf(*indptrTensor), indicesView = viewOf(*indicesTensor);
        sa_view bitsView = viewOf(*bitsTensor);
        auto keep = [&](int p, int j) {
          if (p < 0 || p / rows >= blockRows)
            return false;
          for (int i = indptr[p / rows]; i < indptr[p / rows + 1]; ++i)
            if (indices[i] == j / keys) {
              int key = j % keys;
              return !withBits ||
                     (bits[(i * rows + p % rows) * bytes + key / 8] >> (key % 8) & 1);
            }
          return false;
        };
        checkLaw(
            [&](int p0, int p1, int j0, int j1) {
              return sa_classify_block_mask(&indptrView, &indicesView,
                                            withBits ? &bitsView : nullptr, rows, keys, 0,
                                            0, p0, p1, j0, j1);
            },
            keep, -3, 14, 12, /*exact=*/!withBits);
        checkFill(
            [&](const sa_fill_args *pairs, uint8_t *bits) {
              sa_fill_block_mask(&indptrView, &indicesView,
                                 withBits ? &bitsView : nullptr, rows, keys, 0, 0, pairs,
                                 bits);
            },
            keep, -3, 14, 12);
      }
    }
  }
}

TEST(Classify, blockMaskByBatchEntryAndHead) {
  // indptr differs by head, indices by batch entry.
  auto indptr = Tensor::of({1, 2, 2}, std::vector<int32_t>{0, 1, 0, 2});
  auto indices = Tensor::of({2, 1, 2}, std::vector<int32_t>{0, 1, 2, 3});
  sa_view indptrView = viewOf(*indptr), indicesView = viewOf(*indices);
  for (int b = 0; b < 2; ++b)
    for (int h = 0; h < 2; ++h)
      for (int j = 0; j < 4; ++j) {
        bool expected = j >= 2 * b && j < 2 * b + 1 + h;
        EXPECT_EQ(sa_classify_block_mask(&indptrView, &indicesView, nullptr, 1, 1, b, h,
                                         0, 0, j, j),
                  expected)
            << b << " " << h << " " << j;
      }
}

/// The drawing as the documentation words it.
std::set<int> drawBlocks(int total, int count, int64_t seed, int plane, int queryBlock) {
  std::set<int> drawn;
  if (total <= count) {
    for (int block = 0; block < total; ++block)
      drawn.insert(block);
    return drawn;
  }
  for (int i = 0; i < count; ++i) {
    uint32_t counter[4] = {static_cast<uint32_t>(plane),
                           static_cast<uint32_t>(queryBlock), static_cast<uint32_t>(i),
                           0};
    sa_philox(counter, static_cast<uint64_t>(seed));
    int t = total - count + i;
    int r = static_cast<int>(uint64_t(counter[0]) * (uint64_t(t) + 1) >> 32);
    if (!drawn.insert(r).second)
      drawn.insert(t);
  }
  EXPECT_EQ(static_cast<int>(drawn.size()), count);
  return drawn;
}

TEST(Classify, randomBlocks) {
  for (int block : {1, 2, 3, 5})
    for (int count : {1, 2, 4, 9})
      for (int64_t seed : {int64_t(0), int64_t(-1), int64_t(0x123456789abcdef)})
        for (int plane : {0, 3}) {
          const int keys = 13;
          int total = (keys + block - 1) / block;
          std::vector<std::set<int>> drawn;
          for (int p = -4; p < 12; ++p)
            drawn.push_back(drawBlocks(total, count, seed, plane,
                                       p >= 0 ? p / block : -((block - 1 - p) / block)));
          auto keep = [&](int p, int j) { return drawn[p + 4].count(j / block) > 0; };
          checkLaw(
              [&](int p0, int p1, int j0, int j1) {
                return sa_classify_random_blocks(block, count, seed, plane, keys, p0, p1,
                                                 j0, j1);
              },
              keep, -4, 12, keys, true);
          checkFill(
              [&](const sa_fill_args *pairs, uint8_t *bits) {
                sa_fill_random_blocks(block, count, seed, plane, keys, pairs, bits);
              },
              keep, -4, 12, keys);
        }
}

TEST(Classify, randomBlocksWithMoreDrawsThanAreKept) {
  // Above some number nothing is kept, and each pair is decided by recursion.
  for (int count : {127, 128, 129, 300, 511}) {
    const int total = 512;
    std::set<int> drawn = drawBlocks(total, count, 7, 2, 1);
    for (int j = 0; j < total; ++j)
      ASSERT_EQ(sa_classify_random_blocks(1, count, 7, 2, total, 1, 1, j, j),
                drawn.count(j))
          << count << " " << j;
    for (int width : {2, 5, 60})
      for (int first = 0; first + width <= total; first += 3) {
        int hits =
            std::distance(drawn.lower_bound(first), drawn.lower_bound(first + width));
        ASSERT_EQ(sa_classify_random_blocks(1, count, 7, 2, total, 1, 1, first,
                                            first + width - 1),
                  hits == 0       ? 0
                  : hits == width ? 1
                                  : 2)
            << count << " " << first << " " << width;
      }
    checkFill(
        [&](const sa_fill_args *pairs, uint8_t *bits) {
          sa_fill_random_blocks(1, count, 7, 2, total, pairs, bits);
        },
        [&](int, int j) { return drawn.count(j) > 0; }, 1, 2, total);
  }
  EXPECT_EQ(sa_classify_random_blocks(1, 600, 7, 2, 512, 0, 9, 0, 511), 1);
  EXPECT_EQ(sa_classify_random_blocks(1, 3, 7, 2, 512, 0, 400, 0, 511), 2);
}

} // namespace
