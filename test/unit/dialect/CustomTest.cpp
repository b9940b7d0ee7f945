//===- CustomTest.cpp - custom regions: meaning, law, binding --------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Regions written by hand and random ones. On every pair, `evaluate` agrees with
// MLIR's constant folding of the region. On every rectangle, near and at the ends
// of the positions, the emitted class obeys the law of MaskOpInterface.
//
//===----------------------------------------------------------------------===//

#include "MaskTesting.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/MathExtras.h"
#include <random>

using namespace mlir;
using namespace sparse_attn;
using namespace sparse_attn::testing;

namespace {

constexpr int64_t kPositions = 11, kKeys = 8, kHeads = 2;
constexpr int64_t kEnd = int64_t(1) << 30;

/// The first position and key of a grid of pairs.
struct Corner {
  int64_t p, j;
};
constexpr Corner kCorners[] = {
    {-3, 0}, {kEnd - kPositions, kEnd - kKeys}, {1 - kEnd, 0}, {1 - kEnd, kEnd - kKeys}};

//===----------------------------------------------------------------------===//
// Running what is emitted
//===----------------------------------------------------------------------===//

class CustomTileBuilder : public TileBuilder {
public:
  using TileBuilder::TileBuilder;
  Value keys() override { return unexpected(); }
  Value heads() override { return unexpected(); }
  Value load(Value, ValueRange) override { return unexpected(); }
  TileClass callHelper(StringRef, ValueRange) override { return uniform(unexpected()); }
  KeyExtent callExtentHelper(StringRef, Operation *, ValueRange) override {
    ADD_FAILURE() << "a custom mask calls a helper";
    return alikeIfDecided(constantClass(false));
  }
  TileClass callTableHelper(StringRef, Operation *, ValueRange) override {
    return uniform(unexpected());
  }

private:
  Value unexpected() {
    ADD_FAILURE() << "a custom mask depends on its region alone";
    return truth(false);
  }
};

/// Interprets a block of integer arithmetic.
class Interpreter {
public:
  explicit Interpreter(Block &block) {
    for (BlockArgument argument : block.getArguments())
      number(argument);
    for (Operation &op : block) {
      Step step;
      step.name = op.getName().getStringRef();
      for (auto [i, operand] : llvm::enumerate(op.getOperands())) {
        step.operands[i] = numbers.lookup(operand);
        step.operandWidth = operand.getType().getIntOrFloatBitWidth();
      }
      APInt constant;
      if (matchPattern(op.getResult(0), m_ConstantInt(&constant)))
        step.constant = constant.getSExtValue();
      if (auto compare = dyn_cast<arith::CmpIOp>(op))
        step.predicate = compare.getPredicate();
      step.width = op.getResult(0).getType().getIntOrFloatBitWidth();
      step.compute = getCode(step.name);
      if (!step.compute)
        ADD_FAILURE() << "not elementwise arithmetic: " << step.name.str();
      step.result = number(op.getResult(0));
      steps.push_back(step);
    }
  }

  void run(ArrayRef<int64_t> arguments) {
    llvm::copy(arguments, values.begin());
    for (const Step &step : steps)
      values[step.result] = llvm::SignExtend64(
          step.compute(step, values[step.operands[0]], values[step.operands[1]],
                       values[step.operands[2]]),
          step.width);
  }
  bool get(Value value) const { return values[numbers.lookup(value)] != 0; }

private:
  struct Step;
  using Code = int64_t (*)(const Step &, int64_t, int64_t, int64_t);
  struct Step {
    StringRef name;
    Code compute = nullptr;
    unsigned operands[3] = {0, 0, 0}, result = 0, width = 0, operandWidth = 0;
    int64_t constant = 0;
    arith::CmpIPredicate predicate = arith::CmpIPredicate::eq;
    uint64_t plain(int64_t x) const {
      return operandWidth == 64 ? x : x & ((uint64_t(1) << operandWidth) - 1);
    }
  };

  static Code getCode(StringRef name) {
    using S = const Step &;
    using I = int64_t;
    static const llvm::StringMap<Code> codes = {
        {"arith.constant", [](S s, I, I, I) { return s.constant; }},
        {"arith.addi", [](S, I a, I b, I) { return I(uint64_t(a) + b); }},
        {"arith.subi", [](S, I a, I b, I) { return I(uint64_t(a) - b); }},
        {"arith.muli", [](S, I a, I b, I) { return I(uint64_t(a) * b); }},
        {"arith.divsi", [](S, I a, I b, I) { return a / b; }},
        {"arith.divui", [](S s, I a, I b, I) { return I(s.plain(a) / s.plain(b)); }},
        {"arith.remsi", [](S, I a, I b, I) { return a % b; }},
        {"arith.remui", [](S s, I a, I b, I) { return I(s.plain(a) % s.plain(b)); }},
        {"arith.floordivsi",
         [](S, I a, I b, I) { return llvm::divideFloorSigned(a, b); }},
        {"arith.ceildivsi", [](S, I a, I b, I) { return llvm::divideCeilSigned(a, b); }},
        {"arith.ceildivui",
         [](S s, I a, I b, I) {
           return I(s.plain(a) / s.plain(b) + (s.plain(a) % s.plain(b) != 0));
         }},
        {"arith.andi", [](S, I a, I b, I) { return a & b; }},
        {"arith.ori", [](S, I a, I b, I) { return a | b; }},
        {"arith.xori", [](S, I a, I b, I) { return a ^ b; }},
        {"arith.shli", [](S, I a, I b, I) { return I(uint64_t(a) << b); }},
        {"arith.shrsi", [](S, I a, I b, I) { return a >> b; }},
        {"arith.shrui", [](S s, I a, I b, I) { return I(s.plain(a) >> b); }},
        {"arith.minsi", [](S, I a, I b, I) { return std::min(a, b); }},
        {"arith.maxsi", [](S, I a, I b, I) { return std::max(a, b); }},
        {"arith.minui", [](S s, I a, I b, I) { return s.plain(a) < s.plain(b) ? a : b; }},
        {"arith.maxui", [](S s, I a, I b, I) { return s.plain(a) > s.plain(b) ? a : b; }},
        {"arith.select", [](S, I a, I b, I c) { return a ? b : c; }},
        {"arith.extsi", [](S, I a, I, I) { return a; }},
        {"arith.trunci", [](S, I a, I, I) { return a; }},
        {"arith.extui", [](S s, I a, I, I) { return I(s.plain(a)); }},
        {"arith.cmpi", [](S s, I a, I b, I) -> I {
           return arith::applyCmpPredicate(s.predicate, APInt(64, a, /*isSigned=*/true),
                                           APInt(64, b, /*isSigned=*/true));
         }}};
    return codes.lookup(name);
  }

  unsigned number(Value value) {
    unsigned next = values.size();
    numbers[value] = next;
    values.push_back(0);
    return next;
  }

  llvm::DenseMap<Value, unsigned> numbers;
  std::vector<int64_t> values;
  std::vector<Step> steps;
};

//===----------------------------------------------------------------------===//
// Checking a region
//===----------------------------------------------------------------------===//

class CustomTest : public ::testing::Test {
protected:
  CustomTest() {
    context.loadDialect<SparseAttnDialect, arith::ArithDialect, math::MathDialect>();
  }

  /// Parses a region's body; the op lives as long as the test.
  CustomOp parse(const std::string &body) {
    text =
        "%m = sparse_attn.custom {\n^bb0(%b: index, %h: index, %p: index, %j: index):\n" +
        body + "\n}";
    module = parseSourceString<ModuleOp>(text, &context);
    return module ? cast<CustomOp>(module->getBody()->back()) : CustomOp();
  }

  /// Pairs of one head, kept or not, as a grid and as sums to the upper left.
  void evaluate(CustomOp op, int64_t h, Corner at, bool fold) {
    corner = at;
    TensorEvaluator evaluator;
    Builder builder(&context);
    sums.assign((kPositions + 1) * (kKeys + 1), 0);
    for (int64_t y = 0; y < kPositions; ++y)
      for (int64_t x = 0; x < kKeys; ++x) {
        bool kept = evaluator.evaluate(op, {0, h, y, at.p + y, at.j + x}) == 1;
        sum(y + 1, x + 1) = sum(y, x + 1) + sum(y + 1, x) - sum(y, x) + kept;
        if (!fold)
          continue;
        Block &body = op.getBody().front();
        Attribute folded =
            foldBlock(body,
                      {builder.getIndexAttr(0), builder.getIndexAttr(h),
                       builder.getIndexAttr(at.p + y), builder.getIndexAttr(at.j + x)})
                .lookup(body.getTerminator()->getOperand(0));
        ASSERT_TRUE(folded) << text;
        ASSERT_EQ(kept, !cast<IntegerAttr>(folded).getValue().isZero())
            << text << "\nat h = " << h << ", p = " << at.p + y << ", j = " << at.j + x;
      }
  }

  int64_t &sum(int64_t y, int64_t x) { return sums[y * (kKeys + 1) + x]; }

  void checkLaw(CustomOp op, bool exact) {
    Block block, pairBlock;
    TileClass tile = emit(op, block, /*onePair=*/false);
    TileClass pair = emit(op, pairBlock, /*onePair=*/true);
    ASSERT_EQ(pair.may, pair.must) << "one pair needs one piece of code";
    Interpreter onTile(block), onPair(pairBlock);
    for (Corner at : kCorners)
      for (int64_t h = 0; h < kHeads && !HasFatalFailure(); ++h) {
        evaluate(op, h, at, /*fold=*/true);
        for (int64_t y0 = 0; y0 < kPositions; ++y0)
          for (int64_t y1 = y0; y1 < kPositions; ++y1)
            for (int64_t x0 = 0; x0 < kKeys; ++x0)
              for (int64_t x1 = x0; x1 < kKeys && !HasFatalFailure(); ++x1) {
                onTile.run({0, h, at.p + y0, at.p + y1, at.j + x0, at.j + x1});
                check(y0, y1, x0, x1, onTile.get(tile.may), onTile.get(tile.must), exact);
                if (y0 != y1 || x0 != x1)
                  continue;
                onPair.run({0, h, at.p + y0, at.j + x0});
                check(y0, y1, x0, x1, onPair.get(pair.may), onPair.get(pair.must), exact);
              }
      }
  }

  void check(int64_t y0, int64_t y1, int64_t x0, int64_t x1, bool may, bool must,
             bool exact) {
    int64_t kept = sum(y1 + 1, x1 + 1) - sum(y0, x1 + 1) - sum(y1 + 1, x0) + sum(y0, x0);
    int64_t pairs = (y1 - y0 + 1) * (x1 - x0 + 1);
    auto where = [&] {
      return ::testing::Message()
             << text << "\np in [" << corner.p + y0 << ", " << corner.p + y1
             << "], j in [" << corner.j + x0 << ", " << corner.j + x1 << "]: " << kept
             << " of " << pairs << " kept, may = " << may << ", must = " << must;
    };
    ASSERT_TRUE(!must || may) << where();
    ASSERT_TRUE(!must || kept == pairs) << where();
    ASSERT_TRUE(may || kept == 0) << where();
    ASSERT_TRUE(pairs != 1 || may == must) << where();
    ASSERT_TRUE(!exact || (may == (kept != 0) && must == (kept == pairs))) << where();
  }

  TileClass emit(CustomOp op, Block &block, bool onePair) {
    OpBuilder builder(&context);
    builder.setInsertionPointToStart(&block);
    CustomTileBuilder tile(builder, builder.getUnknownLoc());
    auto argument = [&] {
      return block.addArgument(builder.getI32Type(), builder.getUnknownLoc());
    };
    tile.b = argument();
    tile.h = argument();
    tile.p0 = argument();
    tile.p1 = onePair ? tile.p0 : argument();
    tile.j0 = argument();
    tile.j1 = onePair ? tile.j0 : argument();
    return tile.classOf(op);
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  std::string text;
  Corner corner = kCorners[0];
  std::vector<int64_t> sums;
};

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
  }
}

} // namespace
