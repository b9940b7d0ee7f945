//===- EncodeTilesTest.cpp - states of blocks of keys ---------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// pooled and antidiagonal against docs/semantics.md, in double: the score of a tile and
// a block is the product of what is made of them.
//
//===----------------------------------------------------------------------===//

#include "EncodingMock.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstring>

using namespace mock;

namespace {

constexpr Shape kShape = {2, 6, 2, 21, 53};
constexpr int kD = 10;

uint32_t bitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

//===----------------------------------------------------------------------===//
// pooled
//===----------------------------------------------------------------------===//

struct PooledMock : EncodingMock {
  PooledMock(const Cube::Fill &fill, int64_t block, int64_t width, bool shared = false,
             sa_real type = SA_F32, bool gaps = false)
      : EncodingMock(SA_ENCODE_POOLED, kShape, kD, 3, fill, type, gaps), width(width) {
    if (width) {
      addInput(Cube({1, shared ? 1 : kShape.heads, kD, width}, scatter(8)));
      addInput(Cube({1, kShape.kvHeads, kD, width}, scatter(9)));
    } else {
      addAbsentInput();
      addAbsentInput();
    }
    addState(SA_WORD_F32, width ? width : kD, block);
    queryWords = width ? width : kD;
    get();
  }

  std::vector<double> pool(const Cube &cube, int64_t b, int64_t h, int64_t first,
                           int64_t end, int gate) const {
    std::vector<double> mean(kD);
    for (int64_t i = first; i < end; ++i)
      for (int d = 0; d < kD; ++d)
        mean[d] += cube(b, h, i, d) / double(end - first);
    if (!width)
      return mean;
    if (weights[gate].view.size[1] == 1)
      h = 0;
    std::vector<double> projected(width);
    for (int64_t e = 0; e < width; ++e)
      for (int d = 0; d < kD; ++d)
        projected[e] += mean[d] * weights[gate](0, h, d, e);
    return projected;
  }
  int64_t width;
};

TEST(EncodePooled, means) {
  for (sa_real type : kTypes)
    for (int64_t width : {0, 7, 40})
      for (int64_t block : {1, 3, 16, 64})
        for (bool shared : {false, true}) {
          PooledMock mock(scatter(1), block, width, shared, type, true);
          EncodingMock::Planes planes = mock.encode(1, 1, 53);
          for (int64_t unit = 0; unit * block < 53; ++unit) {
            std::vector<double> mean = mock.pool(
                mock.k, 1, 1, unit * block, std::min<int64_t>(53, (unit + 1) * block), 1);
            for (size_t w = 0; w < mean.size(); ++w)
              ASSERT_NEAR(planes.real(0, unit, w), mean[w], 3e-6);
          }
          std::vector<float> query = mock.queryReals(1, 4, 16, 21);
          std::vector<double> mean = mock.pool(mock.q, 1, 4, 16, 21, 0);
          ASSERT_EQ(query.size(), mean.size());
          for (size_t w = 0; w < mean.size(); ++w)
            ASSERT_NEAR(query[w], mean[w], 3e-6);
        }
}

TEST(EncodePooled, keyByKeyIsAllAtOnce) {
  for (int64_t width : {0, 7})
    for (int64_t block : {1, 5, 16}) {
      PooledMock mock(scatter(1), block, width);
      int64_t units = (53 + block - 1) / block;
      EXPECT_EQ(mock.encode(1, 1, 53, everyKey(kShape.keys)).words(units),
                mock.encode(1, 1, 53).words(units));
      EXPECT_EQ(mock.encode(1, 1, 53, {9, 31, 48}).words(units),
                mock.encode(1, 1, 53).words(units));
    }
}

TEST(EncodePooled, aNaNStaysInItsBlock) {
  auto fill = [](int64_t, int64_t, int64_t j, int64_t) { return j == 20 ? kNaN : 1.; };
  PooledMock mock(fill, 16, 0);
  EncodingMock::Planes planes = mock.encode(0, 0, 53);
  for (int64_t unit = 0; unit < 4; ++unit)
    EXPECT_EQ(std::isnan(planes.real(0, unit, 3)), unit == 1);
}

//===----------------------------------------------------------------------===//
// antidiagonal
//===----------------------------------------------------------------------===//

struct AntidiagonalMock : EncodingMock {
  AntidiagonalMock(const Cube::Fill &fill, int64_t block, int64_t stride,
                   sa_real type = SA_F32, bool gaps = false)
      : EncodingMock(SA_ENCODE_ANTIDIAGONAL, kShape, kD, 3, fill, type, gaps) {
    parameters = {stride};
    addState(SA_WORD_F32, std::min(block, stride) * kD, block);
    queryWords = std::min(block, stride) * kD + 1;
    get();
  }

  /// What a kernel makes of the sums of a block and an encoded query.
  static double product(const Planes &planes, int64_t unit,
                        const std::vector<float> &query) {
    double sum = 0;
    for (size_t w = bitsOf(query.back()); w + 1 < query.size(); ++w) {
      double keys = planes.real(0, unit, static_cast<int64_t>(w));
      if (keys != 0 || !std::signbit(keys))
        sum += keys * query[w];
    }
    return sum;
  }

  /// The sum over the pairs of a tile and a block that section 4 names.
  double score(int64_t b, int64_t h, int64_t i0, int64_t i1, int64_t j0,
               int64_t j1) const {
    double sum = 0;
    for (int64_t i = i0; i < i1; ++i)
      for (int64_t j = j0; j < j1; ++j)
        if ((i - i0 + j - j0) % parameters[0] == parameters[0] - 1)
          for (int d = 0; d < kD; ++d)
            sum += q(b, h, i, d) * k(b, h / 3, j, d);
    return sum;
  }
};

TEST(EncodeAntidiagonal, scoresOfTiles) {
  for (sa_real type : kTypes)
    for (int64_t stride : {1, 2, 5, 8, 30})
      for (int64_t block : {1, 4, 16, 20}) {
        // Integers: every sum is exact.
        AntidiagonalMock mock(scatterIntegers(1, 4), block, stride, type, true);
        EncodingMock::Planes planes = mock.encode(1, 1, 53);
        for (auto [i0, i1] : {std::pair(0, 1), {0, 16}, {16, 21}, {3, 21}})
          for (int64_t unit = 0; unit * block < 53; ++unit)
            ASSERT_EQ(mock.product(planes, unit, mock.queryReals(1, 5, i0, i1)),
                      mock.score(1, 5, i0, i1, unit * block,
                                 std::min<int64_t>(53, (unit + 1) * block)))
                << stride << " " << block << " " << unit;
      }
}

// A NaN reaches the scores that have a product with it: that of a key those of the tiles
// with a row for it, that of a row those of the blocks with a key for it.
TEST(EncodeAntidiagonal, aNaNMeetsItsPairs) {
  constexpr int kKeys = 50; // EncodingMock fills keys as those of this batch entry on
  for (bool ofKey : {false, true}) {
    auto fill = [=](int64_t b, int64_t, int64_t i, int64_t) {
      return i == 18 && (b >= kKeys) == ofKey ? kNaN : -0.;
    };
    for (int64_t stride : {1, 5, 8, 30})
      for (int64_t block : {1, 4, 16, 20}) {
        AntidiagonalMock mock(fill, block, stride);
        EncodingMock::Planes planes = mock.encode(1, 1, 53);
        for (auto [i0, i1] : {std::pair(0, 1), {0, 16}, {16, 21}, {18, 19}, {3, 21}})
          for (int64_t unit = 0; unit * block < 53; ++unit)
            ASSERT_EQ(
                std::isnan(mock.product(planes, unit, mock.queryReals(1, 5, i0, i1))),
                std::isnan(mock.score(1, 5, i0, i1, unit * block,
                                      std::min<int64_t>(53, (unit + 1) * block))))
                << stride << " " << block << " " << unit;
      }
  }
}

TEST(EncodeAntidiagonal, keyByKeyIsAllAtOnce) {
  for (int64_t block : {1, 5, 16}) {
    AntidiagonalMock mock(scatter(1), block, 4);
    int64_t units = (53 + block - 1) / block;
    EXPECT_EQ(mock.encode(1, 1, 53, everyKey(kShape.keys)).words(units),
              mock.encode(1, 1, 53).words(units));
  }
}

} // namespace
