//===- CustomTest.cpp - custom regions: meaning, law, binding --------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Regions written by hand and random ones. On every pair, `evaluate` agrees with
// MLIR's constant folding of the region. On every rectangle, near and at the ends
// of the positions, of neighbours and in steps, the emitted class obeys the law of
// MaskOpInterface.
//
//===----------------------------------------------------------------------===//

#include "CustomTesting.h"
#include "mlir/IR/Verifier.h"
#include <random>

using namespace mlir;
using namespace sparse_attn;
using namespace sparse_attn::testing;

namespace {

//===----------------------------------------------------------------------===//
// Regions by hand
//===----------------------------------------------------------------------===//

struct CustomCase {
  const char *body;
  bool exact;   ///< the class is unknown only where pairs differ
  bool compile; ///< its binding
};

// A body without a yield; the last line defines %r.
const CustomCase kCases[] = {
    {"%r = arith.cmpi sle, %j, %p : index", true, true},
    {"%r = arith.cmpi ult, %j, %p : index", false, true},
    {"%r = arith.cmpi ne, %j, %p : index", true, true},
    {"%c = arith.constant 3 : index\n%s = arith.subi %p, %c : index\n"
     "%r = arith.cmpi sge, %j, %s : index",
     true, true},
    {"%c = arith.constant 2 : index\n%d = arith.subi %p, %j : index\n"
     "%a = arith.cmpi sge, %d, %c : index\n%e = arith.cmpi eq, %h, %b : index\n"
     "%r = arith.ori %a, %e : i1",
     true, true},
    {"%c = arith.constant -2 : index\n%d = arith.muli %p, %c : index\n"
     "%r = arith.cmpi sgt, %d, %j : index",
     true, true},
    {"%c = arith.constant 1 : index\n%d = arith.shli %j, %c : index\n"
     "%r = arith.cmpi sgt, %d, %p : index",
     true, true},
    {"%c = arith.constant 4 : index\n%d = arith.floordivsi %p, %c : index\n"
     "%e = arith.floordivsi %j, %c : index\n%r = arith.cmpi eq, %d, %e : index",
     true, false},
    {"%c = arith.constant 4 : index\n%d = arith.divsi %p, %c : index\n"
     "%e = arith.divui %j, %c : index\n%r = arith.cmpi sge, %d, %e : index",
     true, false},
    {"%c = arith.constant 3 : index\n%d = arith.ceildivsi %p, %c : index\n"
     "%e = arith.ceildivui %j, %c : index\n%r = arith.cmpi slt, %e, %d : index",
     true, false},
    {"%c = arith.constant 3 : index\n%d = arith.remsi %p, %c : index\n"
     "%e = arith.remui %j, %c : index\n%r = arith.cmpi eq, %d, %e : index",
     false, false},
    {"%c = arith.constant 3 : index\n%d = arith.remui %p, %c : index\n"
     "%r = arith.cmpi ule, %d, %j : index",
     false, false},
    {"%c = arith.constant 3 : index\n%d = arith.andi %p, %c : index\n"
     "%e = arith.andi %c, %j : index\n%r = arith.cmpi eq, %d, %e : index",
     false, false},
    {"%d = arith.xori %p, %j : index\n%c = arith.constant 4 : index\n"
     "%r = arith.cmpi slt, %d, %c : index",
     false, false},
    {"%d = arith.ori %p, %j : index\n%c = arith.constant 5 : index\n"
     "%r = arith.cmpi sle, %d, %c : index",
     false, false},
    {"%c = arith.constant -1 : index\n%d = arith.xori %p, %c : index\n"
     "%r = arith.cmpi sle, %d, %j : index",
     true, false},
    {"%d = arith.subi %p, %j : index\n%e = math.absi %d : index\n"
     "%c = arith.constant 2 : index\n%r = arith.cmpi sle, %e, %c : index",
     true, false},
    {"%d = arith.minsi %p, %j : index\n%e = arith.maxsi %p, %j : index\n"
     "%f = arith.subi %e, %d : index\n%c = arith.constant 3 : index\n"
     "%r = arith.cmpi sle, %f, %c : index",
     false, false},
    {"%d = arith.minui %p, %j : index\n%e = arith.maxui %p, %j : index\n"
     "%r = arith.cmpi ult, %d, %e : index",
     false, false},
    {"%c = arith.constant 2 : index\n%d = arith.shrsi %p, %c : index\n"
     "%e = arith.shrui %j, %c : index\n%r = arith.cmpi eq, %d, %e : index",
     true, false},
    {"%c = arith.constant 60 : index\n%d = arith.shrui %p, %c : index\n"
     "%r = arith.cmpi sle, %d, %j : index",
     false, false},
    {"%d = arith.muli %p, %j : index\n%c = arith.constant 9 : index\n"
     "%r = arith.cmpi sgt, %d, %c : index",
     false, false},
    // Wraps around: 2^30 to the power of three leaves 64 bits.
    {"%d = arith.muli %p, %j : index\n%e = arith.muli %d, %p : index\n"
     "%r = arith.cmpi sgt, %e, %j : index",
     false, false},
    {"%x = arith.index_cast %p : index to i32\n%y = arith.index_cast %j : index to i32\n"
     "%s = arith.addi %x, %y : i32\n%t = arith.addi %s, %s : i32\n"
     "%c = arith.constant 7 : i32\n%r = arith.cmpi slt, %t, %c : i32",
     false, true},
    {"%x = arith.index_castui %p : index to i32\n%y = arith.extui %x : i32 to i64\n"
     "%z = arith.index_cast %j : index to i64\n%r = arith.cmpi sgt, %y, %z : i64",
     false, false},
    {"%x = arith.index_cast %p : index to i32\n%y = arith.extsi %x : i32 to i64\n"
     "%z = arith.index_cast %j : index to i64\n%r = arith.cmpi sgt, %y, %z : i64",
     true, true},
    {"%x = arith.index_cast %p : index to i32\n%r = arith.trunci %x : i32 to i1", false,
     false},
    {"%a = arith.cmpi sle, %j, %p : index\n%e = arith.extui %a : i1 to i32\n"
     "%f = arith.extsi %a : i1 to i32\n%r = arith.cmpi slt, %f, %e : i32",
     true, false},
    {"%a = arith.cmpi sle, %j, %p : index\n%s = arith.select %a, %p, %j : index\n"
     "%c = arith.constant 4 : index\n%r = arith.cmpi slt, %s, %c : index",
     false, false},
    {"%a = arith.cmpi sle, %j, %p : index\n%c = arith.constant 1 : index\n"
     "%e = arith.cmpi eq, %h, %c : index\n%t = arith.constant true\n"
     "%r = arith.select %e, %a, %t : i1",
     true, true},
    {"%a = arith.cmpi sle, %j, %p : index\n%c = arith.constant 1 : index\n"
     "%e = arith.cmpi eq, %h, %c : index\n%r = arith.cmpi eq, %a, %e : i1",
     true, true},
    {"%a = arith.cmpi sle, %j, %p : index\n%c = arith.constant 1 : index\n"
     "%e = arith.cmpi eq, %h, %c : index\n%r = arith.addi %a, %e : i1",
     false, false},
    {"%a = arith.cmpi sle, %j, %p : index\n%c = arith.constant 1 : index\n"
     "%e = arith.cmpi eq, %h, %c : index\n%r = arith.xori %a, %e : i1",
     true, true},
    {"%r = arith.constant false", true, true},
};

TEST_F(CustomTest, RegionsByHand) {
  for (const CustomCase &entry : kCases) {
    CustomOp op = parse(std::string(entry.body) + "\nsparse_attn.yield %r : i1");
    ASSERT_TRUE(op) << text;
    EXPECT_EQ(op.getOwnBinding(), entry.compile ? Binding::Compile : Binding::Plan)
        << text;
    checkLaw(op, entry.exact);
    checkInSteps(op, /*step=*/3, /*exact=*/false);
    if (HasFatalFailure())
      return;
  }
}

TEST_F(CustomTest, TellsHeadsAndBatchesApartWhereUsed) {
  CustomOp op = parse("%r = arith.cmpi eq, %h, %j : index\nsparse_attn.yield %r : i1");
  EXPECT_TRUE(op.isPerHead());
  EXPECT_FALSE(op.isPerBatch());
  op = parse("%r = arith.cmpi eq, %b, %j : index\nsparse_attn.yield %r : i1");
  EXPECT_FALSE(op.isPerHead());
  EXPECT_TRUE(op.isPerBatch());
}

// Distances fit 32 bits, so vectors of them have twice as many lanes.
TEST_F(CustomTest, UsesNarrowIntegersWhereNothingCanLeaveThem) {
  auto widestOf = [&](CustomOp op) {
    Block block;
    emit(op, block, /*onePair=*/true);
    unsigned widest = 0;
    for (Operation &inner : block)
      widest = std::max(widest, inner.getResult(0).getType().getIntOrFloatBitWidth());
    return widest;
  };
  const char *distance = "%d = arith.subi %p, %j : index\n%c = arith.constant 8 : index\n"
                         "%r = arith.cmpi slt, %d, %c : index\nsparse_attn.yield %r : i1";
  EXPECT_EQ(widestOf(parse(distance)), 32u);
  const char *product = "%d = arith.muli %p, %j : index\n%c = arith.constant 8 : index\n"
                        "%r = arith.cmpi slt, %d, %c : index\nsparse_attn.yield %r : i1";
  EXPECT_EQ(widestOf(parse(product)), 64u);
}

//===----------------------------------------------------------------------===//
// Random regions
//===----------------------------------------------------------------------===//

class RegionGenerator {
public:
  RegionGenerator(OpBuilder &builder, uint32_t seed) : b(builder), random(seed) {}

  CustomOp generate() {
    Location loc = b.getUnknownLoc();
    auto op = CustomOp::create(b, loc, MaskType::get(b.getContext(), false));
    Block &body = op.getBody().emplaceBlock();
    for (int i = 0; i < 4; ++i)
      integers.push_back(body.addArgument(b.getIndexType(), loc));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&body);
    for (int64_t i = 0, e = pick(1, 7); i < e; ++i)
      integers.push_back(addInteger());
    for (int i = 0; i < 3; ++i)
      truths.push_back(compare());
    for (int64_t i = 0, e = pick(0, 3); i < e; ++i)
      truths.push_back(addTruth());
    YieldOp::create(b, loc, truths.back());
    return op;
  }

private:
  int64_t pick(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  }
  Value pickOf(ArrayRef<Value> values) { return values[pick(0, values.size() - 1)]; }
  template <typename Op> Value make(Value x, Value y) {
    return Op::create(b, b.getUnknownLoc(), x, y);
  }
  Value constant(Type type, int64_t value) {
    return arith::ConstantOp::create(b, b.getUnknownLoc(), b.getIntegerAttr(type, value));
  }
  Value convert(Value value, Type type) {
    Location loc = b.getUnknownLoc();
    if (value.getType() == type)
      return value;
    if (value.getType().isIndex() || type.isIndex())
      return pick(0, 1) ? arith::IndexCastOp::create(b, loc, type, value).getResult()
                        : arith::IndexCastUIOp::create(b, loc, type, value).getResult();
    if (type.getIntOrFloatBitWidth() < value.getType().getIntOrFloatBitWidth())
      return arith::TruncIOp::create(b, loc, type, value);
    return pick(0, 1) ? arith::ExtSIOp::create(b, loc, type, value).getResult()
                      : arith::ExtUIOp::create(b, loc, type, value).getResult();
  }
  Type pickType() {
    switch (pick(0, 4)) {
    case 0:
      return b.getI32Type();
    case 1:
      return b.getI64Type();
    default:
      return b.getIndexType();
    }
  }
  Value small(Type type) {
    return pick(0, 5) ? constant(type, pick(-6, 6))
                      : constant(type, (int64_t(1) << pick(8, 30)) - pick(0, 1));
  }

  Value addInteger() {
    Type type = pickType();
    int64_t width = type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
    Value x = convert(pickOf(integers), type);
    Value y = pick(0, 1) ? convert(pickOf(integers), type) : small(type);
    Value divisor = constant(type, pick(0, 3) ? pick(1, 5) : int64_t(1) << pick(0, 30));
    Value shift = constant(type, pick(0, 3) ? pick(0, 3) : pick(0, width - 1));
    switch (pick(0, 21)) {
    case 0:
    case 1:
      return make<arith::AddIOp>(x, y);
    case 2:
    case 3:
      return make<arith::SubIOp>(x, y);
    case 4:
      return make<arith::MulIOp>(x, y);
    case 5:
      return make<arith::DivSIOp>(x, divisor);
    case 6:
      return make<arith::DivUIOp>(x, divisor);
    case 7:
      return make<arith::RemSIOp>(x, divisor);
    case 8:
      return make<arith::RemUIOp>(x, divisor);
    case 9:
      return make<arith::FloorDivSIOp>(x, divisor);
    case 10:
      return make<arith::CeilDivSIOp>(x, divisor);
    case 11:
      return make<arith::CeilDivUIOp>(x, divisor);
    case 12:
      return make<arith::AndIOp>(x, y);
    case 13:
      return make<arith::OrIOp>(x, y);
    case 14:
      return make<arith::XOrIOp>(x, y);
    case 15:
      return make<arith::ShLIOp>(x, shift);
    case 16:
      return make<arith::ShRSIOp>(x, shift);
    case 17:
      return make<arith::ShRUIOp>(x, shift);
    case 18:
      return pick(0, 1) ? make<arith::MinSIOp>(x, y) : make<arith::MaxSIOp>(x, y);
    case 19:
      return pick(0, 1) ? make<arith::MinUIOp>(x, y) : make<arith::MaxUIOp>(x, y);
    case 20:
      return math::AbsIOp::create(b, b.getUnknownLoc(), x);
    default:
      return arith::SelectOp::create(b, b.getUnknownLoc(), compare(), x, y);
    }
  }

  Value compare() {
    Value x = pickOf(integers);
    Value y = pick(0, 1) ? convert(pickOf(integers), x.getType()) : small(x.getType());
    auto predicate = static_cast<arith::CmpIPredicate>(
        pick(0, arith::getMaxEnumValForCmpIPredicate()));
    return arith::CmpIOp::create(b, b.getUnknownLoc(), predicate, x, y);
  }

  Value addTruth() {
    Value x = pickOf(truths), y = pickOf(truths), z = pickOf(truths);
    switch (pick(0, 5)) {
    case 0:
      return make<arith::AndIOp>(x, y);
    case 1:
      return make<arith::OrIOp>(x, y);
    case 2:
      return make<arith::XOrIOp>(x, y);
    case 3:
      return arith::SelectOp::create(b, b.getUnknownLoc(), x, y, z);
    case 4: {
      Value wide = arith::ExtSIOp::create(b, b.getUnknownLoc(), b.getI32Type(), x);
      integers.push_back(wide);
      return compare();
    }
    default:
      return arith::TruncIOp::create(b, b.getUnknownLoc(), b.getI1Type(),
                                     convert(pickOf(integers), b.getI64Type()));
    }
  }

  OpBuilder &b;
  std::mt19937 random;
  SmallVector<Value> integers, truths;
};

TEST_F(CustomTest, RandomRegions) {
  constexpr int kRegions = 200;
  for (int seed = 0; seed < kRegions && !HasFatalFailure(); ++seed) {
    module = ModuleOp::create(UnknownLoc::get(&context));
    OpBuilder builder = OpBuilder::atBlockBegin(module->getBody());
    CustomOp op = RegionGenerator(builder, seed).generate();
    text.clear();
    llvm::raw_string_ostream(text) << *module;
    ASSERT_TRUE(succeeded(verify(*module))) << text;
    checkLaw(op, /*exact=*/false);
    checkInSteps(op, /*step=*/2, /*exact=*/false);
    if (int64_t period = op.getPeriod(); period > 2 && period < kPositions)
      checkInSteps(op, period, /*exact=*/false);
  }
}

} // namespace
