//===- EncodeTest.cpp - states of keys and words of queries ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// dot, pages and hash against docs/semantics.md, in double.
//
//===----------------------------------------------------------------------===//

#include "EncodingMock.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace mock;

namespace {

constexpr Shape kShape = {2, 6, 2, 5, 53};

//===----------------------------------------------------------------------===//
// dot, pages
//===----------------------------------------------------------------------===//

TEST(EncodeNone, queryIsScaled) {
  for (sa_real type : kTypes) {
    EncodingMock mock(SA_ENCODE_NONE, kShape, 7, 3, scatter(1), type, true);
    mock.reals = {0.3125};
    mock.queryWords = 7;
    mock.get();
    std::vector<float> query = mock.queryReals(1, 4, 3);
    for (int d = 0; d < 7; ++d)
      EXPECT_EQ(query[d], float(mock.q(1, 4, 3, d) * 0.3125));
  }
}

struct PagesMock : EncodingMock {
  PagesMock(const Cube::Fill &fill, int64_t block, sa_real type = SA_F32,
            bool gaps = false)
      : EncodingMock(SA_ENCODE_PAGES, kShape, 11, 3, fill, type, gaps) {
    int32_t word = type == SA_F16    ? SA_WORD_F16
                   : type == SA_BF16 ? SA_WORD_BF16
                                     : SA_WORD_F32;
    addState(word, 11, block);
    addState(word, 11, block);
    queryWords = 11;
    get();
  }
};

bool isSame(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

/// Bounds of pages of `block` of the keys below n, a NaN first of all.
void checkPages(PagesMock &mock, const EncodingMock::Planes &planes, int64_t b,
                int64_t head, int64_t block, int64_t n) {
  for (int64_t page = 0; page * block < n; ++page)
    for (int d = 0; d < 11; ++d) {
      double low = kInf, high = -kInf;
      for (int64_t j = page * block; j < std::min(n, (page + 1) * block); ++j) {
        double x = mock.k(b, head, j, d);
        low = std::isnan(x) || std::isnan(low) ? kNaN : std::min(low, x);
        high = std::isnan(x) || std::isnan(high) ? kNaN : std::max(high, x);
      }
      EXPECT_TRUE(isSame(planes.real(0, page, d), low)) << page << " " << d;
      EXPECT_TRUE(isSame(planes.real(1, page, d), high)) << page << " " << d;
    }
}

TEST(EncodePages, leastAndLargest) {
  for (sa_real type : kTypes)
    for (bool gaps : {false, true})
      for (int64_t block : {1, 2, 3, 16, 64})
        for (int64_t n : {1, 17, 53}) {
          PagesMock mock(scatter(2), block, type, gaps);
          checkPages(mock, mock.encode(1, 1, n), 1, 1, block, n);
        }
}

TEST(EncodePages, aNaNIsBothBounds) {
  auto fill = [](int64_t, int64_t, int64_t j, int64_t d) {
    if (d == 3 && (j == 0 || j == 21))
      return kNaN;
    if (d == 4 && (j == 15 || j == 30))
      return kNaN;
    return d == 5 ? (j % 2 ? kInf : -kInf) : double(j % 7) - 3;
  };
  PagesMock mock(fill, 16);
  EncodingMock::Planes planes = mock.encode(0, 0, 53);
  checkPages(mock, planes, 0, 0, 16, 53);
  for (int d : {3, 4})
    for (int page : {0, 1})
      EXPECT_TRUE(std::isnan(planes.real(0, page, d)));
  EXPECT_EQ(planes.real(1, 0, 5), kInf);
}

TEST(EncodePages, keyByKeyIsAllAtOnce) {
  for (int64_t block : {1, 5, 16}) {
    PagesMock mock(scatter(3), block);
    std::vector<int64_t> cuts;
    for (int64_t j = 1; j < 53; ++j)
      cuts.push_back(j);
    int64_t units = (53 + block - 1) / block;
    EXPECT_EQ(mock.encode(1, 0, 53, cuts).words(units),
              mock.encode(1, 0, 53).words(units));
    EXPECT_EQ(mock.encode(1, 0, 53, {7, 16, 40}).words(units),
              mock.encode(1, 0, 53).words(units));
  }
}

TEST(EncodePages, anUnfinishedGroupHoldsZeros) {
  PagesMock mock(scatter(3), 2);
  for (int64_t n : {9, 33}) {
    EncodingMock::Planes planes = mock.encode(0, 0, n, {1, 4});
    for (int64_t page = (n + 1) / 2; page % SA_STATE_LANES; ++page)
      EXPECT_EQ(planes.integer(0, page, 10), 0u) << n << " " << page;
  }
}

TEST(EncodePages, queryIsTheRow) {
  PagesMock mock(scatter(4), 16, SA_BF16, true);
  std::vector<float> query = mock.queryReals(1, 5, 4);
  for (int d = 0; d < 11; ++d)
    EXPECT_EQ(query[d], mock.q(1, 5, 4, d));
}

//===----------------------------------------------------------------------===//
// hash
//===----------------------------------------------------------------------===//

enum { Relu, Silu, Gelu, Tanh };

double activate(int activation, double x) {
  switch (activation) {
  case Relu:
    return std::max(x, 0.0);
  case Silu:
    return x / (1 + std::exp(-x));
  case Gelu:
    return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0)));
  default:
    return std::tanh(x);
  }
}

struct HashMock : EncodingMock {
  HashMock(const Cube::Fill &fill, int activation, std::vector<int64_t> layers,
           bool sharedWeights, const Cube::Fill &weightFill, sa_real type = SA_F32,
           bool gaps = false)
      : EncodingMock(SA_ENCODE_HASH, kShape, 9, 3, fill, type, gaps), layers(layers) {
    int64_t count = 0, ins = 9;
    for (int64_t outs : layers) {
      count += ins * outs + outs;
      ins = outs;
    }
    int64_t heads = sharedWeights ? 1 : kShape.heads;
    for (int input : {0, 1})
      addInput(Cube({1, 1, heads, count}, [=](int64_t, int64_t, int64_t h, int64_t i) {
        return weightFill(input, 7, h, i);
      }));
    parameters = {activation};
    parameters.insert(parameters.end(), layers.begin(), layers.end());
    addState(SA_WORD_I32, layers.back() / 32, 1, true);
    queryWords = layers.back() / 32;
    get();
  }

  /// The numbers whose signs are the signature.
  std::vector<double> evaluate(std::vector<double> x, int input, int64_t h) const {
    const Cube &w = weights[input];
    if (w.view.size[2] == 1)
      h = 0;
    int64_t next = 0;
    for (size_t layer = 0; layer < layers.size(); ++layer) {
      int64_t outs = layers[layer], offsets = next + int64_t(x.size()) * outs;
      std::vector<double> y;
      for (int64_t o = 0; o < outs; ++o) {
        double sum = w(0, 0, h, offsets + o);
        for (size_t i = 0; i < x.size(); ++i)
          sum += x[i] * w(0, 0, h, next + int64_t(i) * outs + o);
        y.push_back(layer + 1 < layers.size() ? activate(int(parameters[0]), sum) : sum);
      }
      next = offsets + outs;
      x = y;
    }
    return x;
  }
  std::vector<int64_t> layers;
};

/// Bit i of word i / 32 says that number i is not below 0; numbers nearer to 0 than
/// `tolerance` are not looked at.
template <typename WordOf>
void checkSigns(const std::vector<double> &numbers, WordOf wordOf, double tolerance) {
  for (size_t i = 0; i < numbers.size(); ++i)
    if (tolerance == 0 || std::abs(numbers[i]) > tolerance) {
      EXPECT_EQ(wordOf(i / 32) >> (i % 32) & 1, numbers[i] < 0 ? 0u : 1u)
          << "bit " << i << " of " << numbers[i];
    }
}

void checkHash(HashMock &mock, double tolerance) {
  for (int64_t h : {0, 2, 5}) {
    EncodingMock::Planes planes = mock.encode(1, h, 20);
    for (int64_t j = 0; j < 20; ++j)
      checkSigns(
          mock.evaluate(mock.k.row(1, h / 3, j), 1, h),
          [&](int64_t word) { return planes.integer(0, j, word); }, tolerance);
    std::vector<uint32_t> query = mock.query(1, h, 4);
    checkSigns(
        mock.evaluate(mock.q.row(1, h, 4), 0, h),
        [&](int64_t word) { return query[word]; }, tolerance);
  }
}

TEST(EncodeHash, signsOfNetworks) {
  for (int activation : {Relu, Silu, Gelu, Tanh})
    for (const std::vector<int64_t> &layers :
         {std::vector<int64_t>{32}, {5, 32}, {40, 17, 64}, {33, 128}})
      for (bool shared : {false, true}) {
        HashMock mock(scatter(5, 2), activation, layers, shared, scatter(6));
        checkHash(mock, 1e-4);
      }
}

TEST(EncodeHash, integersAreExactAndZeroIsPositive) {
  // Small enough that many sums are 0.
  HashMock mock(scatterIntegers(7, 1), Relu, {6, 32}, false, scatterIntegers(8, 1));
  checkHash(mock, 0);
}

TEST(EncodeHash, typesAndStrides) {
  for (sa_real type : kTypes) {
    HashMock mock(scatter(5, 2), Relu, {16, 32}, false, scatter(6), type, true);
    checkHash(mock, 1e-4);
  }
}

TEST(EncodeHash, aNaNIsNotBelowZero) {
  auto fill = [](int64_t, int64_t, int64_t, int64_t d) { return d == 2 ? kNaN : -1.0; };
  HashMock mock(fill, Relu, {8, 32}, true, scatter(6));
  EXPECT_EQ(mock.encode(0, 0, 1).integer(0, 0, 0), 0xffffffffu);
  EXPECT_EQ(mock.query(0, 0, 0)[0], 0xffffffffu);
}

TEST(EncodeHash, keyByKeyIsAllAtOnce) {
  HashMock mock(scatter(5), Gelu, {16, 64}, false, scatter(6));
  std::vector<int64_t> cuts;
  for (int64_t j = 1; j < 53; ++j)
    cuts.push_back(j);
  EXPECT_EQ(mock.encode(1, 4, 53, cuts).words(53), mock.encode(1, 4, 53).words(53));
}

TEST(Project, sumsColumns) {
  for (int64_t ins : {1, 3, 40})
    for (int64_t outs : {1, 7, 32, 33, 75}) {
      Cube x({1, 1, 1, ins}, scatter(1)), w({1, 1, ins, outs}, scatter(2));
      std::vector<float> out(outs, NAN);
      sa_project(static_cast<float *>(x.view.data), static_cast<float *>(w.view.data),
                 out.data(), ins, outs);
      for (int64_t o = 0; o < outs; ++o) {
        double sum = 0;
        for (int64_t i = 0; i < ins; ++i)
          sum += x(0, 0, 0, i) * w(0, 0, i, o);
        EXPECT_NEAR(out[o], sum, 1e-5);
      }
    }
}

} // namespace
