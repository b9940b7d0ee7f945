//===- EncodeDirectionsTest.cpp - states that directions make -------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// cluster and sample.lsh against docs/semantics.md, sections 5 and 6, in double.
//
//===----------------------------------------------------------------------===//

#include "EncodingMock.h"

#include "gtest/gtest.h"

#include <bit>
#include <cmath>

using namespace mock;

namespace {

constexpr Shape kShape = {2, 6, 2, 5, 150};
constexpr int kD = 12;
constexpr int kNone = 0xffff;

/// Number `d` of direction `r`, in units of 2^33.
double direction(int64_t seed, int64_t r, int64_t d, uint32_t stream) {
  uint32_t w[4] = {uint32_t(r), uint32_t(d), 0, stream};
  sa_philox(w, uint64_t(seed));
  int64_t ones = std::popcount(w[0]) + std::popcount(w[1]) + std::popcount(w[2]);
  int64_t odd = 2 * ((ones << 32) + w[3]) + 1 - (int64_t(97) << 32);
  return double(float(odd)) / 8589934592.0;
}

//===----------------------------------------------------------------------===//
// cluster
//===----------------------------------------------------------------------===//

struct ClusterMock : EncodingMock {
  ClusterMock(const Cube::Fill &fill, int rounds, int buckets, sa_real type = SA_F32,
              bool gaps = false)
      : EncodingMock(SA_ENCODE_CLUSTER, kShape, kD, 3, fill, type, gaps) {
    addAbsentInput();
    parameters = {rounds, buckets, -77};
    addState(SA_WORD_U16, rounds);
    queryWords = rounds;
    get();
  }
  ClusterMock(const Cube::Fill &fill, int centroids, const Cube::Fill &centroidFill)
      : EncodingMock(SA_ENCODE_CLUSTER, kShape, kD, 3, fill) {
    addInput(Cube({1, kShape.kvHeads, centroids, kD}, centroidFill, SA_F32, true));
    parameters = {1, 0, 0};
    addState(SA_WORD_U16, 1);
    queryWords = 1;
    get();
  }

  /// The numbers of which a bucket is the argmax.
  std::vector<double> products(const std::vector<double> &x, int64_t head,
                               int round) const {
    std::vector<double> result;
    if (!weights.empty()) {
      for (int64_t c = 0; c < weights[0].view.size[2]; ++c) {
        result.push_back(0);
        for (int d = 0; d < kD; ++d)
          result.back() += x[d] * weights[0](0, head, c, d);
      }
      return result;
    }
    int64_t half = parameters[1] / 2;
    for (int64_t c = 0; c < half; ++c) {
      result.push_back(0);
      for (int d = 0; d < kD; ++d)
        result.back() += x[d] * direction(parameters[2], round * half + c, d, 6);
    }
    for (int64_t c = 0; c < half; ++c)
      result.push_back(-result[c]);
    return result;
  }
};

/// `bucket` is an argmax up to rounding.
void checkArgmax(const std::vector<double> &products, uint32_t bucket) {
  ASSERT_LT(bucket, products.size());
  for (double x : products)
    EXPECT_GE(products[bucket], x - 1e-4);
}

TEST(EncodeCluster, angularBuckets) {
  for (auto [rounds, buckets] : {std::pair(1, 2), {3, 8}, {5, 64}, {2, 400}})
    for (sa_real type : kTypes) {
      ClusterMock mock(scatter(1), rounds, buckets, type, true);
      EncodingMock::Planes planes = mock.encode(1, 1, 150);
      for (int round = 0; round < rounds; ++round) {
        for (int64_t j = 0; j < 150; ++j)
          checkArgmax(mock.products(mock.k.row(1, 1, j), 1, round),
                      planes.integer(0, j, round));
        checkArgmax(mock.products(mock.q.row(1, 5, 2), 1, round),
                    mock.query(1, 5, 2)[round]);
      }
    }
}

TEST(EncodeCluster, centroidsAndTies) {
  // Of integers products are exact, and many are equal: the first largest wins.
  ClusterMock mock(scatterIntegers(1, 2), 33, scatterIntegers(2, 1));
  EncodingMock::Planes planes = mock.encode(1, 1, 150);
  auto first = [](const std::vector<double> &products) {
    uint32_t best = 0;
    for (uint32_t c = 1; c < products.size(); ++c)
      if (products[c] > products[best])
        best = c;
    return best;
  };
  for (int64_t j = 0; j < 150; ++j)
    EXPECT_EQ(planes.integer(0, j, 0), first(mock.products(mock.k.row(1, 1, j), 1, 0)));
  EXPECT_EQ(mock.query(0, 4, 2)[0], first(mock.products(mock.q.row(0, 4, 2), 1, 0)));
}

TEST(EncodeCluster, aNaNIsInNoBucketAndZeroInTheFirst) {
  auto fill = [](int64_t, int64_t, int64_t j, int64_t d) {
    return j == 1 && d == 4 ? kNaN : 0.;
  };
  ClusterMock mock(fill, 2, 8);
  EncodingMock::Planes planes = mock.encode(0, 0, 2);
  EXPECT_EQ(planes.integer(0, 0, 1), 0u);
  EXPECT_EQ(planes.integer(0, 1, 1), uint32_t(kNone));
  EXPECT_EQ(mock.query(0, 0, 1)[0], uint32_t(kNone));
  // Some products may be NaN: an infinity against centroids with zeros.
  auto infinite = [](int64_t, int64_t, int64_t, int64_t d) { return d ? 0 : kInf; };
  ClusterMock other(infinite, 4, [](int64_t, int64_t, int64_t c, int64_t d) {
    return d == 0 && c >= 2 ? 1. : 0.;
  });
  EXPECT_EQ(other.encode(0, 0, 1).integer(0, 0, 0), 2u);
}

TEST(EncodeCluster, keyByKeyIsAllAtOnce) {
  ClusterMock mock(scatter(1), 5, 64);
  EXPECT_EQ(mock.encode(1, 1, 150, everyKey(kShape.keys)).words(150),
            mock.encode(1, 1, 150).words(150));
}

TEST(EncodeCluster, matches) {
  auto fill = [](int64_t i0, int64_t i1, int64_t j, int64_t d) {
    return (j == 3 || j == 70) && d == 0 ? kNaN : scatter(1)(i0, i1, j, d);
  };
  ClusterMock mock(fill, 3, 6);
  EncodingMock::Planes planes = mock.encode(1, 1, 150);
  for (int64_t row : {1, 3}) // row 3 is in no bucket
    for (int64_t n : {1, 16, 63, 64, 65, 150}) {
      std::vector<uint32_t> query = mock.query(1, 5, row);
      std::vector<uint64_t> bits(3, ~uint64_t(0));
      sa_match_buckets(&mock.code, query.data(), planes.data[0].data(), n, bits.data());
      for (int64_t j = 0; j < (n + 63) / 64 * 64; ++j) {
        bool shared = false;
        for (int round = 0; j < n && round < 3; ++round)
          shared = shared ||
                   (query[round] != kNone && planes.integer(0, j, round) == query[round]);
        EXPECT_EQ(bits[j / 64] >> (j % 64) & 1, shared);
      }
    }
}

//===----------------------------------------------------------------------===//
// sample.lsh
//===----------------------------------------------------------------------===//

enum { Keys, Both, None };
enum { Cosine, SimpleLsh };

struct LshMock : EncodingMock {
  LshMock(const Cube::Fill &fill, int tables, int bits, int center, int normalize,
          bool withMean = false, sa_real type = SA_F32, bool gaps = false,
          int64_t n = 150)
      : EncodingMock(SA_ENCODE_LSH, kShape, kD, 3, fill, type, gaps), n(n) {
    if (withMean)
      addInput(Cube({1, kShape.batch, kShape.kvHeads, kD}, scatter(9, 0.5)));
    else
      addAbsentInput();
    parameters = {tables, bits, center, normalize, 4711};
    addState(bits <= 16 ? SA_WORD_U16 : SA_WORD_I32, tables);
    addState(SA_WORD_F32, 1);
    queryWords = tables;
    get();
    int64_t planes = kShape.batch * kShape.kvHeads;
    centers.assign(planes * sa_lsh_center_size(&code), NAN);
    size_t bytes;
    EXPECT_TRUE(sa_lsh_sum_bytes(&code, planes, kShape.keys, &bytes));
    std::vector<double> sums(bytes / sizeof(double), NAN);
    std::vector<float> key(kD);
    sa_lsh_job job{};
    job.encoder = &encoder;
    job.batch = kShape.batch;
    job.length = [](const void *context, int64_t) {
      return static_cast<const LshMock *>(context)->n;
    };
    job.context = this;
    job.centers = centers.data();
    job.sums = sums.data();
    job.scratch = reinterpret_cast<char *>(key.data());
    sa_lsh_find_centers(&job, nullptr, 1);
    encoder.centers = centers.data();
  }

  std::vector<double> mean(int64_t b, int64_t head) const {
    std::vector<double> result(kD);
    for (int d = 0; d < kD && parameters[2] != None; ++d)
      if (!weights.empty())
        result[d] = weights[0](0, b, head, d);
      else
        for (int64_t j = 0; j < n; ++j)
          result[d] += k(b, head, j, d) / double(n);
    return result;
  }
  std::vector<double> centered(int64_t b, int64_t head, int64_t j) const {
    std::vector<double> x = k.row(b, head, j), m = mean(b, head);
    for (int d = 0; d < kD; ++d)
      x[d] -= m[d];
    return x;
  }
  static double norm(const std::vector<double> &x) {
    double sum = 0;
    for (double value : x)
      sum += value * value;
    return std::sqrt(sum);
  }
  double longest(int64_t b, int64_t head) const {
    double result = 0;
    for (int64_t j = 0; j < n; ++j)
      result = std::max(result, norm(centered(b, head, j)));
    return result;
  }
  /// What is hashed.
  std::vector<double> key(int64_t b, int64_t head, int64_t j, double longest) const {
    std::vector<double> x = centered(b, head, j);
    if (parameters[3] == SimpleLsh) {
      double rest = longest * longest - norm(x) * norm(x);
      for (double &value : x)
        value = longest > 0 ? value / longest : 0;
      x.push_back(longest > 0 ? std::sqrt(std::max(rest, 0.0)) / longest : 1);
    }
    return x;
  }
  std::vector<double> row(int64_t b, int64_t h, int64_t i) const {
    std::vector<double> x = q.row(b, h, i), m = mean(b, h / 3);
    for (int d = 0; d < kD && parameters[2] == Both; ++d)
      x[d] -= m[d];
    if (parameters[3] == SimpleLsh)
      x.push_back(0);
    return x;
  }
  void checkHashes(const std::vector<double> &x,
                   const std::function<uint32_t(int64_t)> &hashOf) const {
    for (int64_t t = 0; t < parameters[0]; ++t)
      for (int64_t bit = 0; bit < parameters[1]; ++bit) {
        double sum = 0;
        for (size_t d = 0; d < x.size(); ++d)
          sum += x[d] * direction(parameters[4], t * parameters[1] + bit, d, 5);
        if (std::abs(sum) > 1e-4) {
          EXPECT_EQ(hashOf(t) >> bit & 1, sum >= 0 ? 1u : 0u) << sum;
        }
      }
  }
  double cosine(int64_t b, int64_t h, int64_t i, int64_t j) {
    std::vector<double> row(kD);
    std::vector<float> scratch(kD);
    double norm = sa_lsh_row(&encoder, b, h, i, row.data(), scratch.data());
    return sa_lsh_cosine(&encoder, b, h / 3, row.data(), norm, j, scratch.data());
  }
  int64_t n;
  std::vector<double> centers;
};

TEST(EncodeLsh, hashesNormsAndCosines) {
  for (auto [tables, bits] : {std::pair(3, 8), {20, 10}, {2, 32}})
    for (int center : {Keys, Both, None})
      for (int normalize : {Cosine, SimpleLsh})
        for (bool withMean : {false, true}) {
          if (withMean && center == None)
            continue;
          sa_real type = kTypes[(tables + center) % 3];
          LshMock mock(scatter(1), tables, bits, center, normalize, withMean, type, true,
                       140);
          double longest = mock.longest(1, 1);
          EncodingMock::Planes planes = mock.encode(1, 1, 140);
          std::vector<double> row = mock.row(1, 4, 3);
          std::vector<uint32_t> query = mock.query(1, 4, 3);
          mock.checkHashes(row, [&](int64_t t) { return query[t]; });
          for (int64_t j = 0; j < 140; j += 7) {
            std::vector<double> key = mock.key(1, 1, j, longest);
            mock.checkHashes(key, [&](int64_t t) { return planes.integer(0, j, t); });
            EXPECT_NEAR(planes.real(1, j, 0), LshMock::norm(key), 1e-6);
            double dot = 0;
            for (size_t d = 0; d < key.size(); ++d)
              dot += key[d] * row[d];
            EXPECT_NEAR(mock.cosine(1, 4, 3, j),
                        dot / LshMock::norm(key) / LshMock::norm(row), 1e-12);
          }
        }
}

TEST(EncodeLsh, vectorsOfZeros) {
  auto zero = [](int64_t, int64_t, int64_t, int64_t) { return 0.; };
  for (int normalize : {Cosine, SimpleLsh}) {
    LshMock mock(zero, 2, 8, None, normalize);
    // With its coordinate a key of simple_lsh is no vector of zeros.
    EXPECT_EQ(mock.cosine(0, 0, 0, 0), normalize == Cosine ? 1 : 0);
    EXPECT_EQ(mock.query(0, 0, 0)[0], 0xffu);
    EXPECT_EQ(mock.encode(0, 0, 1).real(1, 0, 0), normalize);
    uint32_t expected = 0;
    for (int bit = 0; bit < 8; ++bit)
      expected |= uint32_t(normalize == Cosine || direction(4711, bit, kD, 5) >= 0)
                  << bit;
    EXPECT_EQ(mock.encode(0, 0, 1).integer(0, 0, 0), expected);
  }
  auto zeroKeys = [](int64_t i0, int64_t, int64_t, int64_t) { return i0 < 50 ? 1. : 0.; };
  LshMock mock(zeroKeys, 2, 8, None, Cosine);
  EXPECT_EQ(mock.cosine(0, 0, 0, 0), 0);
}

TEST(EncodeLsh, aNaNHasNoSignAndIsNotTheLongest) {
  auto fill = [](int64_t, int64_t, int64_t j, int64_t d) {
    return j == 2 && d == 1 ? kNaN : j == 5 ? 2. : 1.;
  };
  LshMock mock(fill, 2, 8, None, SimpleLsh);
  EXPECT_EQ(mock.encode(0, 0, 6).integer(0, 2, 0), 0u);
  EXPECT_TRUE(std::isnan(mock.cosine(0, 0, 0, 2)));
  EXPECT_DOUBLE_EQ(mock.centers[kD], 2 * std::sqrt(double(kD)));
}

TEST(EncodeLsh, keyByKeyIsAllAtOnce) {
  LshMock mock(scatter(1), 20, 10, Keys, Cosine, true);
  EXPECT_EQ(mock.encode(1, 1, 150, everyKey(kShape.keys)).words(150),
            mock.encode(1, 1, 150).words(150));
}

TEST(EncodeLsh, matches) {
  for (int bits : {3, 20}) { // of 2 and of 4 bytes
    LshMock mock(scatter(1), 9, bits, Keys, Cosine);
    EncodingMock::Planes planes = mock.encode(1, 1, 150);
    for (int64_t minMatches : {1, 2})
      for (int64_t n : {1, 16, 63, 64, 65, 150}) {
        std::vector<uint32_t> query = mock.query(1, 5, 1);
        if (bits == 20) // some do agree
          for (int t : {2, 5})
            query[t] = planes.integer(0, 14 + t % 2, t);
        std::vector<uint64_t> found(3, ~uint64_t(0));
        sa_match_hashes(&mock.code, query.data(), planes.data[0].data(), minMatches, n,
                        found.data());
        int64_t total = 0;
        for (int64_t j = 0; j < (n + 63) / 64 * 64; ++j) {
          int64_t matches = 0;
          for (int t = 0; j < n && t < 9; ++t)
            matches += planes.integer(0, j, t) == query[t];
          EXPECT_EQ(found[j / 64] >> (j % 64) & 1, matches >= minMatches);
          total += matches >= minMatches;
        }
        if (n == 150 && (bits == 3 || minMatches == 1)) {
          EXPECT_GT(total, 0);
        }
      }
  }
}

TEST(Directions, areSharedAndComeBack) {
  ClusterMock one(scatter(1), 2, 8), other(scatter(2), 2, 8), third(scatter(2), 3, 8);
  EXPECT_EQ(one.encoder.directions, other.encoder.directions);
  EXPECT_NE(one.encoder.directions, third.encoder.directions);
  EXPECT_EQ(sa_directions_bytes(&one.code), 2u * 4 * kD * sizeof(float));
}

} // namespace
