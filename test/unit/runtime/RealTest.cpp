//===- RealTest.cpp - f16 and bf16 by bits --------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Against the definition of the formats in double: sign, exponent and mantissa of
// each of the 65,536 patterns, and for rounding every midpoint between neighbours.
//
//===----------------------------------------------------------------------===//

#include "real.h"

#include "gtest/gtest.h"

#include <cmath>
#include <limits>
#include <random>

namespace {

/// A format of 16 bits, as its definition says.
struct Format {
  int mantissaBits, bias;
  float (*widen)(uint16_t);
  uint16_t (*narrow)(float);

  int exponentMask() const { return (1 << (15 - mantissaBits)) - 1; }
  bool isNan(int half) const { return (half & 0x7fff) > infinity(); }
  int infinity() const { return exponentMask() << mantissaBits; }
  double value(int half) const {
    int exponent = half >> mantissaBits & exponentMask();
    int mantissa = half & ((1 << mantissaBits) - 1);
    double sign = half & 0x8000 ? -1 : 1;
    if (exponent == exponentMask())
      return mantissa ? NAN : sign * INFINITY;
    int hidden = exponent ? 1 << mantissaBits : 0;
    return sign *
           std::ldexp(hidden + mantissa, std::max(exponent, 1) - bias - mantissaBits);
  }
};

const Format kF16 = {10, 15, sa_from_f16, sa_to_f16};
const Format kBf16 = {7, 127, sa_from_bf16, sa_to_bf16};

class Real : public testing::TestWithParam<const Format *> {};
INSTANTIATE_TEST_SUITE_P(Formats, Real, testing::Values(&kF16, &kBf16),
                         [](const auto &info) { return info.index ? "bf16" : "f16"; });

TEST_P(Real, everyPatternWidens) {
  const Format &format = *GetParam();
  for (int half = 0; half < 65536; ++half) {
    float wide = format.widen(static_cast<uint16_t>(half));
    if (format.isNan(half)) {
      ASSERT_TRUE(std::isnan(wide)) << half;
      continue;
    }
    ASSERT_EQ(wide, format.value(half)) << half;
    ASSERT_EQ(std::signbit(wide), bool(half & 0x8000)) << half;
  }
}

TEST_P(Real, everyPatternComesBack) {
  const Format &format = *GetParam();
  for (int half = 0; half < 65536; ++half) {
    uint16_t back = format.narrow(format.widen(static_cast<uint16_t>(half)));
    // A signalling NaN may come back quiet.
    int quiet = format.isNan(half) ? 1 << (format.mantissaBits - 1) : 0;
    ASSERT_EQ(back | quiet, half | quiet);
  }
}

TEST_P(Real, everyNanStays) {
  const Format &format = *GetParam();
  // The payload's upper or lower half alone, and all of it.
  for (uint32_t payload : {1u, 0x2000u, 0x10000u, 0x400000u, 0x7fffffu})
    for (uint32_t sign : {0u, 0x80000000u}) {
      uint16_t half = format.narrow(sa_float_of(sign | 0x7f800000 | payload));
      EXPECT_TRUE(format.isNan(half)) << payload;
      EXPECT_EQ(half & 0x8000, sign >> 16);
    }
}

/// Between each two neighbours: the even one at the midpoint, the nearer one beside.
TEST_P(Real, everyMidpointRoundsToEven) {
  const Format &format = *GetParam();
  for (int sign : {0, 0x8000})
    for (int half = 0; half < format.infinity(); ++half) {
      // Past the largest number, the next power of two stands for infinity.
      double low = format.value(half);
      double high = half + 1 < format.infinity()
                        ? format.value(half + 1)
                        : std::ldexp(1, format.exponentMask() - format.bias);
      double middle = (low + high) / 2, direction = sign ? -1 : 1;
      float exact = static_cast<float>(direction * middle);
      ASSERT_EQ(exact, direction * middle);
      float less = std::nextafter(exact, 0.0f);
      float more = std::nextafter(exact, sign ? -INFINITY : INFINITY);
      ASSERT_EQ(format.narrow(exact), sign | (half + (half & 1))) << half;
      ASSERT_EQ(format.narrow(less), sign | half) << half;
      ASSERT_EQ(format.narrow(more), sign | (half + 1)) << half;
      // From double, beside the midpoint by less than an f32 can say.
      double step = std::ldexp(middle, -40);
      ASSERT_EQ(format.narrow(sa_round_to_odd(direction * middle)),
                sign | (half + (half & 1)));
      ASSERT_EQ(format.narrow(sa_round_to_odd(direction * (middle - step))), sign | half);
      ASSERT_EQ(format.narrow(sa_round_to_odd(direction * (middle + step))),
                sign | (half + 1));
    }
  EXPECT_EQ(format.narrow(std::numeric_limits<float>::max()), format.infinity());
  EXPECT_EQ(format.narrow(-INFINITY), 0x8000 | format.infinity());
}

TEST(RealOdd, keepsWhatAnF32Holds) {
  for (float value : {0.0f, -0.0f, 1.5f, -3e38f, 1e-42f, INFINITY})
    EXPECT_EQ(sa_bits_of(sa_round_to_odd(value)), sa_bits_of(value));
  EXPECT_TRUE(std::isnan(sa_round_to_odd(NAN)));
  // Beyond the largest f32: not infinity yet, the last rounding decides.
  EXPECT_EQ(sa_round_to_odd(1e300), std::numeric_limits<float>::max());
  EXPECT_EQ(sa_to_bf16(sa_round_to_odd(-1e300)), 0xff80);
}

TEST(RealRows, everyTypeReadsAndWrites) {
  const double values[] = {1.0, -2.5, 65504.0, 0.0};
  for (sa_real type : {SA_F32, SA_F16, SA_BF16}) {
    uint32_t memory[4];
    float back[4];
    sa_write_reals(type, values, 4, memory);
    sa_read_reals(type, memory, 4, back);
    for (int i = 0; i < 4; ++i)
      EXPECT_EQ(back[i], i == 2 && type == SA_BF16 ? 65536.0f : values[i]);
    EXPECT_EQ(sa_real_bytes(type), type == SA_F32 ? 4 : 2);
  }
}

TEST(RealTypes, knowsThree) {
  sa_real type;
  EXPECT_TRUE(sa_find_real(kDLFloat, 32, &type) && type == SA_F32);
  EXPECT_TRUE(sa_find_real(kDLFloat, 16, &type) && type == SA_F16);
  EXPECT_TRUE(sa_find_real(kDLBfloat, 16, &type) && type == SA_BF16);
  for (auto [code, bits] : {std::pair(kDLFloat, 64), {kDLBfloat, 32}, {kDLInt, 32}})
    EXPECT_FALSE(sa_find_real(code, bits, &type));
}

} // namespace
