//===- NumbersTest.cpp - numbers as people read them ----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Explain/Numbers.h"
#include "lib/Explain/Picture.h"
#include <gtest/gtest.h>

using namespace sparse_attn;

namespace {

TEST(Numbers, Percent) {
  EXPECT_EQ(formatPercent(0), "0 %");
  EXPECT_EQ(formatPercent(1), "100 %");
  EXPECT_EQ(formatPercent(0.4609), "46.1 %");
  EXPECT_EQ(formatPercent(0.09996), "10.0 %");
  EXPECT_EQ(formatPercent(0.0123), "1.23 %");
  EXPECT_EQ(formatPercent(0.00043), "0.043 %");
  EXPECT_EQ(formatPercent(1e-9), "< 0.001 %");
  EXPECT_EQ(formatPercent(0.99999), "> 99.9 %");
}

TEST(Numbers, Units) {
  EXPECT_EQ(formatBytes(0), "0 bytes");
  EXPECT_EQ(formatBytes(1023), "1,023 bytes");
  EXPECT_EQ(formatBytes(1536), "1.50 KiB");
  EXPECT_EQ(formatBytes(uint64_t{300} << 40), "300 TiB");
  EXPECT_EQ(formatFlop(2097152), "2.10 MFLOP");
  EXPECT_EQ(formatFactor(2.171), "2.17");
  EXPECT_EQ(formatFactor(43.61), "43.6");
  EXPECT_EQ(formatFactor(1234), "1,234");
  EXPECT_EQ(formatCount(1234567), "1,234,567");
}

TEST(Numbers, Positions) {
  EXPECT_EQ(formatPosition(0), "0");
  EXPECT_EQ(formatPosition(-412), "-412");
  EXPECT_EQ(formatPosition(1000), "1000");
  EXPECT_EQ(formatPosition(1536), "1.5k");
  EXPECT_EQ(formatPosition(65536), "64k");
  EXPECT_EQ(formatPosition(3 << 20), "3M");
  EXPECT_EQ(chooseTickStep(1024, 6), 256);
  EXPECT_EQ(chooseTickStep(1, 4), 1);
}

} // namespace
