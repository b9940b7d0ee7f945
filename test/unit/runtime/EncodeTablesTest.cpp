//===- EncodeTablesTest.cpp - states that digest a key --------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// channels, pq and soft_hash against docs/semantics.md, in double.
//
//===----------------------------------------------------------------------===//

#include "EncodingMock.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace mock;

namespace {

constexpr Shape kShape = {2, 6, 2, 5, 37};
constexpr int kD = 12;

//===----------------------------------------------------------------------===//
// channels
//===----------------------------------------------------------------------===//

struct ChannelsMock : EncodingMock {
  ChannelsMock(const Cube::Fill &fill, int count, bool quantized, bool shared,
               sa_real type = SA_F32, bool gaps = false)
      : EncodingMock(SA_ENCODE_CHANNELS, kShape, kD, 3, fill, type, gaps), count(count),
        shared(shared) {
    int64_t heads = shared ? 1 : kShape.heads, words = (count + 7) / 8;
    std::vector<int32_t> table;
    for (int64_t h = 0; h < heads; ++h)
      for (int c = 0; c < count; ++c)
        table.push_back(channel(h, c));
    addInput(Cube::ofInts({1, 1, heads, count}, table));
    parameters = {count, quantized};
    if (quantized) {
      addState(SA_WORD_I32, words, 1, true);
      addState(SA_WORD_F32, 1, 1, true);
      addState(SA_WORD_F32, 1, 1, true);
      queryWords = words * 8 + 1;
    } else {
      addState(SA_WORD_F32, count, 1, true);
      queryWords = count;
    }
    get();
  }
  int channel(int64_t h, int c) const {
    return static_cast<int>((shared ? 0 : h * 5) + c * 7 + 3) % kD;
  }
  double label(int64_t b, int64_t h, int64_t j, int c) const {
    return k(b, h / 3, j, channel(h, c));
  }
  int count;
  bool shared;
};

TEST(EncodeChannels, labelsAndQueries) {
  for (sa_real type : kTypes)
    for (bool shared : {false, true}) {
      ChannelsMock mock(scatter(1), 5, false, shared, type, true);
      for (int64_t h : {0, 4}) {
        EncodingMock::Planes planes = mock.encode(1, h, 37);
        for (int64_t j = 0; j < 37; ++j)
          for (int c = 0; c < 5; ++c)
            EXPECT_EQ(planes.real(0, j, c), mock.label(1, h, j, c));
        std::vector<float> query = mock.queryReals(1, h, 2);
        for (int c = 0; c < 5; ++c)
          EXPECT_FLOAT_EQ(query[c], mock.q(1, h, 2, mock.channel(h, c)) / std::sqrt(5.0));
      }
    }
}

/// The score that the words give, and the one that section 4 defines.
TEST(EncodeChannels, quantizedLabelsGiveTheScore) {
  for (int count : {3, 8, 11}) {
    ChannelsMock mock(scatter(2), count, true, false);
    int64_t words = (count + 7) / 8;
    EncodingMock::Planes planes = mock.encode(1, 4, 37);
    std::vector<float> query = mock.queryReals(1, 4, 3);
    for (int64_t c = count; c < words * 8; ++c)
      EXPECT_EQ(query[c], 0);
    for (int64_t j = 0; j < 37; ++j) {
      double low = kInf, high = -kInf, expected = 0, codes = 0;
      for (int c = 0; c < count; ++c) {
        low = std::min(low, mock.label(1, 4, j, c));
        high = std::max(high, mock.label(1, 4, j, c));
      }
      double step = (high - low) / 15;
      for (int c = 0; c < count; ++c) {
        double x = mock.label(1, 4, j, c);
        double rounded = step == 0 ? low : low + step * std::nearbyint((x - low) / step);
        expected += mock.q(1, 4, 3, mock.channel(4, c)) * rounded;
      }
      for (int64_t c = 0; c < words * 8; ++c)
        codes += query[c] * (planes.integer(0, j, c / 8) >> (4 * (c % 8)) & 15);
      double score =
          planes.real(1, j, 0) * query[words * 8] + planes.real(2, j, 0) * codes;
      EXPECT_NEAR(score, expected / std::sqrt(double(count)), 1e-6);
    }
  }
}

TEST(EncodeChannels, halvesRoundToEven) {
  // low 0, high 15: a step of 1, numbers between two codes.
  auto fill = [](int64_t, int64_t, int64_t, int64_t d) {
    return d == 3 ? 0. : d == 10 ? 15. : d == 5 ? 2.5 : 3.5;
  };
  ChannelsMock mock(fill, 4, true, true); // channels 3, 10, 5, 0
  EncodingMock::Planes planes = mock.encode(0, 0, 1);
  EXPECT_EQ(planes.integer(0, 0, 0), 0u | 15u << 4 | 2u << 8 | 4u << 12);
  EXPECT_EQ(planes.real(1, 0, 0), 0);
  EXPECT_EQ(planes.real(2, 0, 0), 1);
}

TEST(EncodeChannels, whatHasNoCodesIsNaN) {
  // Key 0: all alike; key 1: a NaN; key 2: an infinity.
  auto fill = [](int64_t, int64_t, int64_t j, int64_t d) {
    return j == 1 && d == 10 ? kNaN : j == 2 && d == 10 ? kInf : j == 0 ? 7. : double(d);
  };
  ChannelsMock mock(fill, 4, true, true);
  EncodingMock::Planes planes = mock.encode(0, 0, 4);
  EXPECT_EQ(planes.integer(0, 0, 0), 0u);
  EXPECT_EQ(planes.real(1, 0, 0), 7);
  EXPECT_EQ(planes.real(2, 0, 0), 0);
  EXPECT_TRUE(std::isnan(planes.real(2, 1, 0)));
  EXPECT_TRUE(std::isnan(planes.real(2, 2, 0)));
  EXPECT_FALSE(std::isnan(planes.real(2, 3, 0)));
}

TEST(EncodeChannels, keyByKeyIsAllAtOnce) {
  for (bool quantized : {false, true}) {
    ChannelsMock mock(scatter(1), 9, quantized, false);
    EXPECT_EQ(mock.encode(1, 4, 37, everyKey(kShape.keys)).words(37),
              mock.encode(1, 4, 37).words(37));
  }
}

//===----------------------------------------------------------------------===//
// pq
//===----------------------------------------------------------------------===//

struct PqMock : EncodingMock {
  PqMock(const Cube::Fill &fill, int64_t d, int subvectors, int codes,
         const Cube::Fill &centroids, sa_real type = SA_F32, bool gaps = false)
      : EncodingMock(SA_ENCODE_PQ, kShape, d, 3, fill, type, gaps),
        subvectors(subvectors), codes(codes), length(d / subvectors) {
    addInput(Cube({kShape.kvHeads, subvectors, codes, length}, centroids, SA_F32, gaps));
    parameters = {subvectors, codes};
    addState(codes <= 256 ? SA_WORD_U8 : SA_WORD_U16, subvectors);
    queryWords = int64_t(subvectors) * codes;
    get();
  }
  double distance(int64_t b, int64_t head, int64_t j, int s, int64_t c) const {
    double sum = 0;
    for (int64_t d = 0; d < length; ++d)
      sum += std::pow(k(b, head, j, s * length + d) - weights[0](head, s, c, d), 2);
    return sum;
  }
  int subvectors, codes;
  int64_t length;
};

TEST(EncodePq, nearestCentroids) {
  for (auto [d, subvectors, codes] :
       {std::tuple(12, 1, 4), {12, 4, 16}, {24, 2, 300}, {16, 16, 3}, {64, 2, 20}})
    for (sa_real type : kTypes) {
      PqMock mock(scatter(1), d, subvectors, codes, scatter(2), type, true);
      EncodingMock::Planes planes = mock.encode(1, 1, 37);
      std::vector<float> query = mock.queryReals(1, 4, 3);
      for (int s = 0; s < subvectors; ++s) {
        for (int64_t j = 0; j < 37; ++j) {
          int64_t chosen = planes.integer(0, j, s);
          ASSERT_LT(chosen, codes);
          for (int64_t c = 0; c < codes; ++c)
            EXPECT_LE(mock.distance(1, 1, j, s, chosen),
                      mock.distance(1, 1, j, s, c) + 1e-5);
        }
        for (int64_t c = 0; c < codes; ++c) {
          double sum = 0;
          for (int64_t i = 0; i < mock.length; ++i)
            sum += mock.q(1, 4, 3, s * mock.length + i) * mock.weights[0](1, s, c, i);
          EXPECT_NEAR(query[s * codes + c], sum, 1e-5);
        }
      }
    }
}

TEST(EncodePq, theLowestOfEquallyNearOnes) {
  // Of integers distances are exact, and many of them are equal.
  PqMock mock(scatterIntegers(3, 1), 12, 4, 30, scatterIntegers(4, 1));
  EncodingMock::Planes planes = mock.encode(0, 1, 37);
  for (int64_t j = 0; j < 37; ++j)
    for (int s = 0; s < 4; ++s) {
      uint32_t nearest = 0;
      for (uint32_t c = 1; c < 30; ++c)
        if (mock.distance(0, 1, j, s, c) < mock.distance(0, 1, j, s, nearest))
          nearest = c;
      EXPECT_EQ(planes.integer(0, j, s), nearest);
    }
}

TEST(EncodePq, aNaNHasTheFirstCode) {
  auto fill = [](int64_t, int64_t, int64_t, int64_t d) { return d == 1 ? kNaN : 5.; };
  PqMock mock(fill, 12, 4, 30, scatterIntegers(4, 1));
  EXPECT_EQ(mock.encode(0, 0, 1).integer(0, 0, 0), 0u);
}

TEST(EncodePq, keyByKeyIsAllAtOnce) {
  PqMock mock(scatter(1), 24, 3, 300, scatter(2));
  EXPECT_EQ(mock.encode(1, 1, 37, everyKey(kShape.keys)).words(37),
            mock.encode(1, 1, 37).words(37));
}

//===----------------------------------------------------------------------===//
// soft_hash
//===----------------------------------------------------------------------===//

struct SoftHashMock : EncodingMock {
  SoftHashMock(const Cube::Fill &fill, int tables, int bits, double temperature,
               const Cube::Fill &projections, sa_real type = SA_F32, bool gaps = false)
      : EncodingMock(SA_ENCODE_SOFT_HASH, kShape, kD, 5, fill, type, gaps),
        tables(tables), bits(bits), temperature(temperature) {
    addInput(Cube({1, tables, kD, bits}, projections));
    parameters = {tables, bits};
    reals = {temperature};
    addState(SA_WORD_U16, tables);
    addState(SA_WORD_F32, 1);
    queryWords = int64_t(tables) << bits;
    get();
  }
  double project(const std::vector<double> &x, int table, int bit) const {
    double sum = 0;
    for (int d = 0; d < kD; ++d)
      sum += x[d] * weights[0](0, table, d, bit);
    return sum;
  }
  int tables, bits;
  double temperature;
};

TEST(EncodeSoftHash, bucketsAndNorms) {
  for (auto [tables, bits] : {std::pair(1, 1), {4, 3}, {3, 10}})
    for (sa_real type : kTypes) {
      SoftHashMock mock(scatter(1), tables, bits, 0.5, scatter(2), type, true);
      EncodingMock::Planes planes = mock.encode(1, 1, 37);
      for (int64_t j = 0; j < 37; ++j) {
        for (int t = 0; t < tables; ++t)
          for (int bit = 0; bit < bits; ++bit) {
            double x = mock.project(mock.k.row(1, 1, j), t, bit);
            if (std::abs(x) > 1e-5) {
              EXPECT_EQ(planes.integer(0, j, t) >> bit & 1, x < 0 ? 0u : 1u);
            }
          }
        double sum = 0;
        for (double x : mock.v.row(1, 1, j))
          sum += x * x;
        EXPECT_FLOAT_EQ(planes.real(1, j, 0), std::sqrt(sum));
      }
    }
}

TEST(EncodeSoftHash, zeroIsPositive) {
  SoftHashMock mock([](int64_t, int64_t, int64_t, int64_t) { return 0.; }, 2, 4, 1,
                    scatter(2));
  EXPECT_EQ(mock.encode(0, 0, 1).integer(0, 0, 1), 15u);
}

/// softmax over corners of <tanh(q W) / sqrt(D), corner> / tau, corner by corner.
TEST(EncodeSoftHash, tablesAreSoftmaxesOverCorners) {
  for (double temperature : {0.05, 0.5, 20.})
    for (int bits : {1, 4, 7}) {
      SoftHashMock mock(scatter(1, 2), 3, bits, temperature, scatter(2));
      std::vector<float> query = mock.queryReals(1, 5, 2);
      for (int t = 0; t < 3; ++t) {
        std::vector<double> weight;
        double total = 0;
        for (int corner = 0; corner < 1 << bits; ++corner) {
          double s = 0;
          for (int bit = 0; bit < bits; ++bit)
            s += std::tanh(mock.project(mock.q.row(1, 5, 2), t, bit)) /
                 std::sqrt(double(kD)) * (corner >> bit & 1 ? 1 : -1);
          weight.push_back(std::exp(s / temperature));
          total += weight.back();
        }
        for (int corner = 0; corner < 1 << bits; ++corner)
          EXPECT_NEAR(query[(t << bits) + corner], weight[corner] / total,
                      2e-5 * weight[corner] / total + 1e-30);
      }
    }
}

TEST(EncodeSoftHash, keyByKeyIsAllAtOnce) {
  SoftHashMock mock(scatter(1), 5, 6, 1, scatter(2));
  EXPECT_EQ(mock.encode(1, 1, 37, everyKey(kShape.keys)).words(37),
            mock.encode(1, 1, 37).words(37));
}

} // namespace
