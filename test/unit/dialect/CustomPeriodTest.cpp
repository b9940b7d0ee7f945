//===- CustomPeriodTest.cpp - remainders in custom regions -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CustomTesting.h"

using namespace mlir;
using namespace sparse_attn;
using namespace sparse_attn::testing;

namespace {

/// A region with remainders, how often it repeats, and whether its class is then
/// unknown only where pairs differ.
struct PeriodicCase {
  const char *body;
  int64_t period;
  bool exact;
};

const PeriodicCase kPeriodicCases[] = {
    // The same residue; positions are negative, too, where remainders are.
    {"%c = arith.constant 3 : index\n%d = arith.remsi %p, %c : index\n"
     "%e = arith.remsi %j, %c : index\n%r = arith.cmpi eq, %d, %e : index",
     3, false},
    {"%c = arith.constant 3 : index\n%d = arith.subi %p, %j : index\n"
     "%e = arith.remsi %d, %c : index\n%z = arith.constant 0 : index\n"
     "%r = arith.cmpi eq, %e, %z : index",
     3, false},
    {"%c = arith.constant 3 : index\n%d = arith.remui %j, %c : index\n"
     "%o = arith.constant 1 : index\n%r = arith.cmpi eq, %d, %o : index",
     3, true},
    {"%c = arith.constant 3 : index\n%d = arith.remui %p, %c : index\n"
     "%o = arith.constant 1 : index\n%r = arith.cmpi ule, %d, %o : index",
     3, false},
    // The lower bits are a remainder, for either sign.
    {"%c = arith.constant 3 : index\n%t = arith.constant 2 : index\n"
     "%x = arith.muli %p, %c : index\n%y = arith.shli %j, %t : index\n"
     "%d = arith.subi %x, %y : index\n%e = arith.andi %d, %c : index\n"
     "%r = arith.cmpi slt, %e, %t : index",
     4, true},
    // A product of both is a polynomial; two remainders have their least multiple.
    {"%c = arith.constant 2 : index\n%u = arith.constant 1 : index\n"
     "%q = arith.muli %p, %j : index\n%d = arith.andi %q, %u : index\n"
     "%t = arith.constant 3 : index\n%e = arith.remui %j, %t : index\n"
     "%r = arith.cmpi eq, %d, %e : index",
     6, true},
    // Of 32 bits, widened: what wraps around there is no polynomial.
    {"%x = arith.index_cast %p : index to i32\n%y = arith.extsi %x : i32 to i64\n"
     "%c = arith.constant 3 : i64\n%d = arith.andi %y, %c : i64\n"
     "%o = arith.constant 1 : i64\n%r = arith.cmpi sle, %d, %o : i64",
     4, true},
    {"%x = arith.index_cast %p : index to i32\n%s = arith.constant 8 : i32\n"
     "%m = arith.muli %x, %s : i32\n%y = arith.extsi %m : i32 to i64\n"
     "%c = arith.constant 3 : i64\n%d = arith.remsi %y, %c : i64\n"
     "%o = arith.constant 1 : i64\n%r = arith.cmpi sle, %d, %o : i64",
     1, false},
    {"%x = arith.index_cast %p : index to i32\n%y = arith.extui %x : i32 to i64\n"
     "%c = arith.constant 3 : i64\n%d = arith.remsi %y, %c : i64\n"
     "%o = arith.constant 1 : i64\n%r = arith.cmpi sle, %d, %o : i64",
     1, false},
    // A quotient moves, and the head does not.
    {"%c = arith.constant 2 : index\n%q = arith.floordivsi %p, %c : index\n"
     "%d = arith.remsi %q, %c : index\n%r = arith.cmpi eq, %d, %j : index",
     1, false},
    {"%c = arith.constant 2 : index\n%d = arith.remsi %h, %c : index\n"
     "%r = arith.cmpi eq, %d, %j : index",
     1, false},
};

TEST_F(CustomTest, RemaindersRepeat) {
  for (const PeriodicCase &entry : kPeriodicCases) {
    CustomOp op = parse(std::string(entry.body) + "\nsparse_attn.yield %r : i1");
    ASSERT_TRUE(op) << text;
    EXPECT_EQ(op.getPeriod(), entry.period) << text;
    checkLaw(op, /*exact=*/false);
    for (int64_t step : {int64_t{2}, int64_t{3}, entry.period, 2 * entry.period})
      if (step > 1)
        checkInSteps(op, step, entry.exact && step % entry.period == 0);
    if (HasFatalFailure())
      return;
  }
}

// Numbers of one sign are decided in steps.
TEST_F(CustomTest, SignedRemaindersAreDecidedWhereTheSignIs) {
  CustomOp op = parse("%c = arith.constant 4 : index\n%d = arith.subi %p, %j : index\n"
                      "%e = arith.remsi %d, %c : index\n%z = arith.constant 0 : index\n"
                      "%r = arith.cmpi eq, %e, %z : index\nsparse_attn.yield %r : i1");
  Block block;
  TileClass tile = emit(op, block, /*onePair=*/false, /*period=*/4);
  Interpreter onTile(block);
  auto classify = [&](int64_t p0, int64_t p1, int64_t j0, int64_t j1, int64_t step) {
    onTile.run({0, 0, p0, p1, j0, j1, step});
    return std::pair(onTile.get(tile.may), onTile.get(tile.must));
  };
  const std::pair full{true, true}, empty{false, false}, unknown{true, false};
  EXPECT_EQ(classify(100, 160, 40, 80, 4), full);
  EXPECT_EQ(classify(100, 160, 40, 80, 1), unknown);
  EXPECT_EQ(classify(100, 160, 140, 180, 4), full) << "0 has no sign";
  EXPECT_EQ(classify(101, 161, 40, 80, 4), empty);
  EXPECT_EQ(classify(1, 41, 200, 240, 4), empty);
  EXPECT_EQ(classify(101, 161, 140, 180, 4), unknown) << "1, or -3";
}

} // namespace
