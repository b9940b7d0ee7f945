//===- LawTest.cpp - tile classes against the meaning, pair by pair --------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The law of MaskOpInterface for every compile-time mask, on every rectangle of
// positions [-4, 20] and keys [0, 20), and on a sample of them moved to the ends of
// the positions that are supported:
//
//   must => every pair is kept     !may => no pair is kept     one pair => decided
//
// and of the keys that buildKeyExtent calls alike. A class is emitted once on symbolic
// ends and interpreted for every rectangle; again for positions and keys that are
// several apart, with the mask's own period and with others; with p0 = p1 and j0 = j1,
// which is what predicates are made of; and on constants, where it must fold away.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"
#include <gtest/gtest.h>
#include <set>

using namespace mlir;
using namespace sparse_attn;

namespace {

constexpr int64_t kPositions = 25, kKeys = 20, kHeads = 3;

/// Where the rectangles lie: positions from `p` on, keys from `j` on.
struct Corner {
  int64_t p, j;
};
constexpr Corner kNear = {-4, 0};
constexpr int64_t kEnd = int64_t{1} << 30;
constexpr Corner kFar[] = {{kEnd - kPositions, kEnd - kKeys},
                           {kEnd - kPositions, 0},
                           {-4, kEnd - kKeys},
                           {1 - kEnd, 0}};

/// A mask, as IR, and whether its class is unknown only where it has to be: for
/// rectangles, and for positions and keys that are a period apart.
struct LawCase {
  const char *text;
  bool exact = true;
  bool exactInStep = exact;
};

void PrintTo(const LawCase &lawCase, std::ostream *os) { *os << lawCase.text; }

/// Knows the lengths alone: compile-time masks ask for nothing else.
class ShapeEvaluator : public Evaluator {
public:
  double at(Value, ArrayRef<int64_t>) override {
    ADD_FAILURE() << "a compile-time mask reads an operand";
    return 0;
  }
  ArrayRef<int64_t> shape(Value) override {
    ADD_FAILURE() << "a compile-time mask asks for a shape";
    return {};
  }
  int64_t keys(int64_t) override { return kKeys; }
  int64_t heads() override { return kHeads; }
};

class LawTileBuilder : public TileBuilder {
public:
  using TileBuilder::TileBuilder;
  Value n, headCount;

  Value keys() override { return n; }
  Value heads() override { return headCount; }
  Value load(Value, ValueRange) override {
    ADD_FAILURE() << "a compile-time mask loads";
    return constant(0);
  }
  TileClass callHelper(StringRef, ValueRange) override {
    ADD_FAILURE() << "a compile-time mask calls a helper";
    return constantClass(false);
  }
  TileClass callTableHelper(StringRef, Operation *, ValueRange) override {
    ADD_FAILURE() << "a compile-time mask calls a helper";
    return constantClass(false);
  }
  KeyExtent callExtentHelper(StringRef, Operation *, ValueRange) override {
    ADD_FAILURE() << "a compile-time mask calls a helper";
    return alikeIfDecided(constantClass(false));
  }
};

/// Interprets a block of i32 and i1 arithmetic, which wraps as on the machine.
class Interpreter {
public:
  /// Numbers the values of `block`; false where it holds anything else.
  bool load(Block &block) {
    for (BlockArgument argument : block.getArguments())
      number(argument);
    for (Operation &op : block) {
      IntegerAttr constant;
      std::optional<Code> code = getCode(op);
      if (!code) {
        ADD_FAILURE() << "not elementwise arithmetic: "
                      << op.getName().getStringRef().str();
        return false;
      }
      Step step{*code, 0, {0, 0, 0}, number(op.getResult(0))};
      if (matchPattern(op.getResult(0), m_Constant(&constant)))
        step.value = constant.getType().isInteger(1) ? !constant.getValue().isZero()
                                                     : constant.getInt();
      if (auto compare = dyn_cast<arith::CmpIOp>(op))
        step.value = static_cast<int64_t>(compare.getPredicate());
      for (auto [i, operand] : llvm::enumerate(op.getOperands()))
        step.operands[i] = numbers.lookup(operand);
      steps.push_back(step);
    }
    return true;
  }

  void run(ArrayRef<int64_t> arguments) {
    llvm::copy(arguments, values.begin());
    for (const Step &step : steps)
      values[step.result] = static_cast<int32_t>(compute(step));
  }

  bool get(Value value) const { return getInteger(value) != 0; }
  int64_t getInteger(Value value) const { return values[numbers.lookup(value)]; }

private:
  enum class Code {
    Constant,
    Add,
    Sub,
    Mul,
    Min,
    Max,
    Div,
    Shift,
    And,
    Or,
    Xor,
    Compare,
    Select
  };
  struct Step {
    Code code;
    int64_t value;
    unsigned operands[3];
    unsigned result;
  };

  unsigned number(Value value) {
    unsigned next = values.size();
    numbers[value] = next;
    values.push_back(0);
    return next;
  }

  static std::optional<Code> getCode(Operation &op) {
    return llvm::TypeSwitch<Operation *, std::optional<Code>>(&op)
        .Case([](arith::ConstantOp) { return Code::Constant; })
        .Case([](arith::AddIOp) { return Code::Add; })
        .Case([](arith::SubIOp) { return Code::Sub; })
        .Case([](arith::MulIOp) { return Code::Mul; })
        .Case([](arith::MinSIOp) { return Code::Min; })
        .Case([](arith::MaxSIOp) { return Code::Max; })
        .Case([](arith::FloorDivSIOp) { return Code::Div; })
        .Case([](arith::ShRSIOp) { return Code::Shift; })
        .Case([](arith::AndIOp) { return Code::And; })
        .Case([](arith::OrIOp) { return Code::Or; })
        .Case([](arith::XOrIOp) { return Code::Xor; })
        .Case([](arith::CmpIOp) { return Code::Compare; })
        .Case([](arith::SelectOp) { return Code::Select; })
        .Default(std::nullopt);
  }

  int64_t compute(const Step &step) const {
    int64_t a = values[step.operands[0]], b = values[step.operands[1]];
    switch (step.code) {
    case Code::Constant:
      return step.value;
    case Code::Add:
      return a + b;
    case Code::Sub:
      return a - b;
    case Code::Mul:
      return a * b;
    case Code::Min:
      return std::min(a, b);
    case Code::Max:
      return std::max(a, b);
    case Code::Div:
      return llvm::divideFloorSigned(a, b);
    case Code::Shift:
      return a >> b;
    case Code::And:
      return a & b;
    case Code::Or:
      return a | b;
    case Code::Xor:
      return a ^ b;
    case Code::Compare:
      return arith::applyCmpPredicate(static_cast<arith::CmpIPredicate>(step.value),
                                      APInt(64, a, /*isSigned=*/true),
                                      APInt(64, b, /*isSigned=*/true));
    case Code::Select:
      return a ? b : values[step.operands[2]];
    }
    llvm_unreachable("unknown code");
  }

  llvm::DenseMap<Value, unsigned> numbers;
  std::vector<int64_t> values;
  std::vector<Step> steps;
};

class LawTest : public testing::TestWithParam<LawCase> {
protected:
  void SetUp() override {
    context.loadDialect<SparseAttnDialect, arith::ArithDialect>();
    module = parseSourceString<ModuleOp>(GetParam().text, &context);
    ASSERT_TRUE(module);
    mask = module->getBody()->back().getResult(0);
    ASSERT_EQ(getBinding(mask), Binding::Compile);
  }

  /// Which pairs head `h` keeps, as sums over all pairs above and to the left.
  void evaluate(int64_t h, Corner at) {
    corner = at;
    ShapeEvaluator evaluator;
    sums.assign((kPositions + 1) * (kKeys + 1), 0);
    for (int64_t y = 0; y < kPositions; ++y)
      for (int64_t j = 0; j < kKeys; ++j) {
        Pair pair{0, h, y, corner.p + y, corner.j + j};
        double probability = evaluator.evaluate(mask, pair);
        ASSERT_TRUE(probability == 0 || probability == 1);
        sum(y + 1, j + 1) =
            sum(y, j + 1) + sum(y + 1, j) - sum(y, j) + (probability == 1);
      }
  }

  int64_t &sum(int64_t y, int64_t j) { return sums[y * (kKeys + 1) + j]; }

  /// Pairs that are kept in positions [p0, p1] and keys [j0, j1].
  int64_t count(int64_t p0, int64_t p1, int64_t j0, int64_t j1) {
    int64_t y0 = p0 - corner.p, y1 = p1 - corner.p + 1;
    int64_t x0 = j0 - corner.j, x1 = j1 - corner.j + 1;
    return sum(y1, x1) - sum(y0, x1) - sum(y1, x0) + sum(y0, x0);
  }

  void check(int64_t p0, int64_t p1, int64_t j0, int64_t j1, bool may, bool must,
             int64_t step = 1) {
    int64_t kept = 0, pairs = 0;
    if (step == 1) {
      kept = count(p0, p1, j0, j1);
      pairs = (p1 - p0 + 1) * (j1 - j0 + 1);
    } else {
      for (int64_t p = p0; p <= p1; p += step)
        for (int64_t j = j0; j <= j1; j += step, ++pairs)
          kept += count(p, p, j, j);
    }
    auto where = [&] {
      return testing::Message()
             << GetParam().text << ": p in [" << p0 << ", " << p1 << "], j in [" << j0
             << ", " << j1 << "], step " << step << ", " << kept << " of " << pairs
             << " kept, may = " << may << ", must = " << must;
    };
    ASSERT_TRUE(!must || may) << where();
    ASSERT_TRUE(!must || kept == pairs) << where();
    ASSERT_TRUE(may || kept == 0) << where();
    ASSERT_TRUE(pairs != 1 || may == must) << where();
    bool isOwnPeriod = step > 1 && step == getPeriod(mask);
    if (step == 1 ? GetParam().exact : isOwnPeriod && GetParam().exactInStep) {
      ASSERT_EQ(may, kept != 0) << where();
      ASSERT_EQ(must, kept == pairs) << where();
    }
  }

  /// Keys [j0, stop) are kept by the same positions, and have the class that is told.
  void checkExtent(int64_t p0, int64_t p1, int64_t j0, int64_t j1, int64_t step, bool may,
                   bool must, int64_t stop) {
    auto where = [&] {
      return testing::Message()
             << GetParam().text << ": p in [" << p0 << ", " << p1 << "], j in [" << j0
             << ", " << j1 << "], step " << step << ", stop " << stop;
    };
    ASSERT_TRUE(j0 <= stop && stop <= j1 + 1) << where();
    if (stop == j0)
      return;
    for (int64_t p = p0; p <= p1; p += step)
      for (int64_t j = j0 + step; j < stop; j += step)
        ASSERT_EQ(count(p, p, j, j), count(p, p, j0, j0)) << where() << " p " << p;
    bool any = false, all = true;
    for (int64_t p = p0; p <= p1; p += step) {
      any |= count(p, p, j0, j0) != 0;
      all &= count(p, p, j0, j0) != 0;
    }
    ASSERT_TRUE((may || !any) && (!must || all) && (!must || may)) << where();
    // A single position is decided.
    ASSERT_TRUE(p0 != p1 || may == must) << where();
  }

  /// One of every `sample` rectangles of positions and keys that are `step` apart.
  template <typename Fn> void forEachRectangle(int64_t sample, int64_t step, Fn fn) {
    int64_t index = 0;
    for (int64_t p0 = corner.p; p0 < corner.p + kPositions; ++p0)
      for (int64_t p1 = p0; p1 < corner.p + kPositions; p1 += step)
        for (int64_t j0 = corner.j; j0 < corner.j + kKeys; ++j0)
          for (int64_t j1 = j0; j1 < corner.j + kKeys && !HasFatalFailure(); j1 += step)
            if (index++ % sample == 0)
              fn(p0, p1, j0, j1);
  }

  /// Emits for this period and checks rectangles with steps of 1 and of the period.
  void checkRectangles(int64_t period) {
    OpBuilder builder(&context);
    Block block;
    builder.setInsertionPointToStart(&block);
    LawTileBuilder tile(builder, builder.getUnknownLoc());
    for (Value *value : {&tile.b, &tile.h, &tile.p0, &tile.p1, &tile.j0, &tile.j1,
                         &tile.step, &tile.n, &tile.headCount})
      *value = block.addArgument(builder.getI32Type(), builder.getUnknownLoc());
    tile.period = period;
    TileClass result = tile.classOf(mask);
    KeyExtent alike = tile.extentOf(mask);
    Interpreter interpreter;
    ASSERT_TRUE(interpreter.load(block));

    auto checkAt = [&](int64_t h, Corner at, int64_t sample, int64_t step) {
      evaluate(h, at);
      forEachRectangle(sample, step, [&](int64_t p0, int64_t p1, int64_t j0, int64_t j1) {
        interpreter.run({0, h, p0, p1, j0, j1, step, kKeys, kHeads});
        check(p0, p1, j0, j1, interpreter.get(result.may), interpreter.get(result.must),
              step);
        checkExtent(p0, p1, j0, j1, step, interpreter.get(alike.kind.may),
                    interpreter.get(alike.kind.must), interpreter.getInteger(alike.stop));
      });
    };
    for (int64_t step : {int64_t{1}, period}) {
      // What a step of 1 answers does not depend on the period, or hardly.
      int64_t sample = step == 1 && period != 1 ? 7 : 1;
      for (int64_t h = 0; h < headsToTest(); ++h)
        checkAt(h, kNear, sample, step);
      for (Corner corner : kFar)
        checkAt(/*h=*/0, corner, /*sample=*/31, step);
    }
  }

  /// Heads that may differ, or one for all.
  int64_t headsToTest() {
    bool perHead = false;
    for (Operation &op : *module->getBody())
      perHead |= cast<MaskOpInterface>(op).isPerHead();
    return perHead ? kHeads : 1;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  Value mask;
  Corner corner = kNear;
  std::vector<int64_t> sums;
};

TEST_P(LawTest, HoldsOnEveryRectangle) { checkRectangles(/*period=*/1); }

TEST_P(LawTest, HoldsInSteps) {
  // Periods of the op, of others that it is combined with, and of both.
  std::set<int64_t> periods = {2, 3, 4, 6};
  if (int64_t own = getPeriod(mask); own < kPositions)
    periods.insert({own, 2 * own});
  periods.erase(1);
  for (int64_t period : periods)
    checkRectangles(period);
}

TEST_P(LawTest, HoldsOnEveryPair) {
  OpBuilder builder(&context);
  Block block;
  builder.setInsertionPointToStart(&block);
  LawTileBuilder tile(builder, builder.getUnknownLoc());
  for (Value *value : {&tile.b, &tile.h, &tile.p0, &tile.j0, &tile.n, &tile.headCount})
    *value = block.addArgument(builder.getI32Type(), builder.getUnknownLoc());
  tile.p1 = tile.p0;
  tile.j1 = tile.j0;
  TileClass result = tile.classOf(mask);
  Interpreter interpreter;
  ASSERT_TRUE(interpreter.load(block));

  for (int64_t h = 0; h < headsToTest(); ++h) {
    evaluate(h, kNear);
    for (int64_t p = corner.p; p < corner.p + kPositions; ++p)
      for (int64_t j = corner.j; j < corner.j + kKeys && !HasFatalFailure(); ++j) {
        interpreter.run({0, h, p, j, kKeys, kHeads});
        check(p, p, j, j, interpreter.get(result.may), interpreter.get(result.must));
      }
  }
}

TEST_P(LawTest, FoldsOnConstants) {
  // Every constant is made anew, so a sample of the rectangles has to do.
  evaluate(/*h=*/1, kNear);
  auto fold = [&](int64_t p0, int64_t p1, int64_t j0, int64_t j1) {
    OpBuilder builder(&context);
    Block block;
    builder.setInsertionPointToStart(&block);
    LawTileBuilder tile(builder, builder.getUnknownLoc());
    tile.b = tile.constant(0);
    tile.h = tile.constant(1);
    tile.p0 = tile.constant(p0);
    tile.p1 = tile.constant(p1);
    tile.j0 = tile.constant(j0);
    tile.j1 = tile.constant(j1);
    tile.n = tile.constant(kKeys);
    tile.headCount = tile.constant(kHeads);
    TileClass result = tile.classOf(mask);
    IntegerAttr may, must;
    ASSERT_TRUE(matchPattern(result.may, m_Constant(&may)));
    ASSERT_TRUE(matchPattern(result.must, m_Constant(&must)));
    check(p0, p1, j0, j1, !may.getValue().isZero(), !must.getValue().isZero());
  };
  forEachRectangle(/*sample=*/137, /*step=*/1, fold);
}

/// The class of one rectangle of a mask, folded: 0 empty, 1 full, 2 unknown.
int classify(const char *text, int64_t p0, int64_t p1, int64_t j0, int64_t j1) {
  MLIRContext context;
  context.loadDialect<SparseAttnDialect, arith::ArithDialect>();
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &context);
  OpBuilder builder(&context);
  Block block;
  builder.setInsertionPointToStart(&block);
  LawTileBuilder tile(builder, builder.getUnknownLoc());
  tile.p0 = tile.constant(p0);
  tile.p1 = tile.constant(p1);
  tile.j0 = tile.constant(j0);
  tile.j1 = tile.constant(j1);
  TileClass result = tile.classOf(module->getBody()->back().getResult(0));
  return matchPattern(result.must, m_One())   ? 1
         : matchPattern(result.may, m_Zero()) ? 0
                                              : 2;
}

// Tokens a dilation apart are of one class where rows hold whole dilations.
TEST(Neighborhood, HasThePeriodOfItsLastAxis) {
  MLIRContext context;
  context.loadDialect<SparseAttnDialect>();
  auto periodOf = [&](const std::string &facts) {
    OwningOpRef<ModuleOp> module =
        parseSourceString<ModuleOp>("%0 = sparse_attn.neighborhood " + facts, &context);
    return getPeriod(module->getBody()->back().getResult(0));
  };
  EXPECT_EQ(periodOf("grid = [4096] radius = [7]"), 1);
  EXPECT_EQ(periodOf("grid = [4097] radius = [7] dilation = [4]"), 4);
  EXPECT_EQ(periodOf("grid = [64, 64] radius = [3, 3] dilation = [2, 4]"), 4);
  EXPECT_EQ(periodOf("grid = [64, 63] radius = [3, 3] dilation = [1, 2]"), 1);
  EXPECT_EQ(periodOf("grid = [1, 63] radius = [3, 3] dilation = [1, 2]"), 2);
  EXPECT_EQ(periodOf("grid = [64, 64] radius = [3, 3] dilation = [1, 64]"), 1);
}

// Tiles of 64 rows and 128 keys on grids of the sizes in use.
TEST(Neighborhood, DecidesDistantAndInnerTiles) {
  const char *image = "%0 = sparse_attn.neighborhood grid = [64, 64] radius = [3, 3]";
  // Row 10 sees rows 7 to 13; row 0 sees rows 0 to 6.
  EXPECT_EQ(classify(image, 640, 703, 320, 447), 0);
  EXPECT_EQ(classify(image, 640, 703, 384, 511), 2);
  EXPECT_EQ(classify(image, 640, 703, 896, 1023), 0);
  EXPECT_EQ(classify(image, 0, 63, 448, 575), 0);
  // One position, and keys of one row on the other side.
  EXPECT_EQ(classify(image, 640, 640, 640 + 7, 640 + 63), 0);
  EXPECT_EQ(classify(image, 650, 651, 648, 653), 1);
  const char *rows = "%0 = sparse_attn.neighborhood grid = [64, 64] radius = [3, 64]";
  EXPECT_EQ(classify(rows, 640, 703, 640, 767), 1);
  const char *video =
      "%0 = sparse_attn.neighborhood grid = [8, 16, 16] radius = [1, 2, 2] "
      "dilation = [2, 1, 1]";
  // Frame 2 sees frames 0, 2 and 4, and there rows of its own part.
  EXPECT_EQ(classify(video, 512, 575, 768, 895), 0);
  EXPECT_EQ(classify(video, 512, 575, 1024, 1151), 2);
  EXPECT_EQ(classify(video, 512, 575, 1024 + 128, 1024 + 255), 0);
}

INSTANTIATE_TEST_SUITE_P(
    Patterns, LawTest,
    testing::Values(
        LawCase{"%0 = sparse_attn.all"}, LawCase{"%0 = sparse_attn.none"},
        LawCase{"%0 = sparse_attn.causal"}, LawCase{"%0 = sparse_attn.window"},
        LawCase{"%0 = sparse_attn.window left = 3"},
        LawCase{"%0 = sparse_attn.window right = 2"},
        LawCase{"%0 = sparse_attn.window left = 0 right = 0"},
        LawCase{"%0 = sparse_attn.window left = 5 right = 1"},
        LawCase{"%0 = sparse_attn.window left = 1073741823 right = 1073741823"},
        LawCase{"%0 = sparse_attn.dilated rate = 3"},
        LawCase{"%0 = sparse_attn.dilated left = 7 right = 0 rate = 2"},
        LawCase{"%0 = sparse_attn.dilated left = 7 right = 5 rate = 3"},
        LawCase{"%0 = sparse_attn.dilated left = 6 rate = 4"},
        LawCase{"%0 = sparse_attn.dilated right = 4 rate = 5"},
        LawCase{"%0 = sparse_attn.dilated left = 2 right = 2 rate = 1"},
        LawCase{"%0 = sparse_attn.dilated left = 2 right = 2 rate = 1073741823"},
        LawCase{"%0 = sparse_attn.sink size = 0"},
        LawCase{"%0 = sparse_attn.sink size = 4"},
        LawCase{"%0 = sparse_attn.sink size = 20"},
        LawCase{"%0 = sparse_attn.global positions = [0]"},
        LawCase{"%0 = sparse_attn.global positions = [9, 3, 4, 5, 4, 17, 30]"},
        LawCase{"%0 = sparse_attn.global stride = 1"},
        LawCase{"%0 = sparse_attn.global stride = 4"},
        LawCase{"%0 = sparse_attn.global stride = 7"},
        LawCase{"%0 = sparse_attn.strided stride = 1"},
        LawCase{"%0 = sparse_attn.strided stride = 4"},
        LawCase{"%0 = sparse_attn.strided stride = 5"},
        LawCase{"%0 = sparse_attn.strided stride = 1073741823"},
        LawCase{"%0 = sparse_attn.fixed stride = 1 columns = 1"},
        LawCase{"%0 = sparse_attn.fixed stride = 6 columns = 0"},
        LawCase{"%0 = sparse_attn.fixed stride = 6 columns = 6"},
        LawCase{"%0 = sparse_attn.fixed stride = 8 columns = 2"},
        LawCase{"%0 = sparse_attn.fixed stride = 5 columns = 3"},
        LawCase{"%0 = sparse_attn.block_diagonal size = 1"},
        LawCase{"%0 = sparse_attn.block_diagonal size = 4"},
        LawCase{"%0 = sparse_attn.block_diagonal size = 7"},
        LawCase{"%0 = sparse_attn.block_diagonal size = 1073741823"}));

INSTANTIATE_TEST_SUITE_P(
    Grids, LawTest,
    testing::Values(
        LawCase{"%0 = sparse_attn.dilated_segment segment = 6 rate = 1"},
        LawCase{"%0 = sparse_attn.dilated_segment segment = 8 rate = 2"},
        LawCase{"%0 = sparse_attn.dilated_segment segment = 7 rate = 3", true, false},
        LawCase{"%0 = sparse_attn.dilated_segment segment = 3 rate = 2 offset = 1", true,
                false},
        LawCase{"%0 = sparse_attn.dilated_segment segment = 1 rate = 2", true, false},
        LawCase{"%0 = sparse_attn.dilated_segment segment = 2 rate = 5 offset = 4"},
        LawCase{"%0 = sparse_attn.dilated_segment segment = 40 rate = 3 offset = 2"},
        // One axis: the box of a tile is the tile itself.
        LawCase{"%0 = sparse_attn.neighborhood grid = [16] radius = [2]"},
        LawCase{"%0 = sparse_attn.neighborhood grid = [20] radius = [0]"},
        LawCase{"%0 = sparse_attn.neighborhood grid = [4] radius = [3]"},
        LawCase{"%0 = sparse_attn.neighborhood grid = [17] radius = [1073741823]"},
        LawCase{"%0 = sparse_attn.neighborhood grid = [1] radius = [1]"},
        LawCase{"%0 = sparse_attn.neighborhood grid = [30] radius = [4]"},
        LawCase{"%0 = sparse_attn.neighborhood grid = [16] radius = [1] dilation = [3]",
                false, true},
        LawCase{"%0 = sparse_attn.neighborhood grid = [19] radius = [2] dilation = [4]",
                false, true},
        LawCase{"%0 = sparse_attn.neighborhood grid = [9] radius = [3] dilation = [2]",
                false, true},
        LawCase{"%0 = sparse_attn.neighborhood grid = [5] radius = [1] dilation = [9]",
                false},
        LawCase{"%0 = sparse_attn.neighborhood grid = [15] radius = [0] dilation = [2]",
                false, true},
        LawCase{"%0 = sparse_attn.neighborhood grid = [4, 5] radius = [1, 1]", false},
        LawCase{"%0 = sparse_attn.neighborhood grid = [5, 4] radius = [1, 0]", false},
        LawCase{"%0 = sparse_attn.neighborhood grid = [3, 6] radius = [0, 2]", false},
        LawCase{"%0 = sparse_attn.neighborhood grid = [1, 18] radius = [2, 2]", false},
        LawCase{"%0 = sparse_attn.neighborhood grid = [2, 9] radius = [1, 1] dilation = "
                "[1, 3]",
                false},
        LawCase{"%0 = sparse_attn.neighborhood grid = [6, 3] radius = [1, 1] dilation = "
                "[2, 1]",
                false},
        // Rows of whole dilations, one row, and rows that begin in another class.
        LawCase{"%0 = sparse_attn.neighborhood grid = [3, 6] radius = [1, 1] dilation = "
                "[1, 2]",
                false},
        LawCase{"%0 = sparse_attn.neighborhood grid = [1, 17] radius = [2, 1] dilation = "
                "[2, 3]",
                false, true},
        LawCase{"%0 = sparse_attn.neighborhood grid = [3, 5] radius = [1, 1] dilation = "
                "[1, 2]",
                false},
        LawCase{"%0 = sparse_attn.neighborhood grid = [2, 3, 3] radius = [0, 1, 1]",
                false},
        LawCase{"%0 = sparse_attn.neighborhood grid = [3, 2, 3] radius = [1, 1, 1] "
                "dilation = [1, 1, 2]",
                false}));

INSTANTIATE_TEST_SUITE_P(
    Algebra, LawTest,
    testing::Values(
        LawCase{"%c = sparse_attn.causal\n%w = sparse_attn.window left = 4 right = 2\n"
                "%s = sparse_attn.sink size = 3\n%u = sparse_attn.union %w, %s\n"
                "%m = sparse_attn.intersect %c, %u",
                false},
        LawCase{"%c = sparse_attn.causal\n%f = sparse_attn.fixed stride = 5 columns = 2\n"
                "%m = sparse_attn.difference %c, %f",
                false},
        LawCase{
            "%b = sparse_attn.block_diagonal size = 6\n%m = sparse_attn.complement %b"},
        LawCase{"%a = sparse_attn.dilated rate = 3\n%b = sparse_attn.global stride = 6\n"
                "%c = sparse_attn.dilated_segment segment = 8 rate = 2\n"
                "%m = sparse_attn.per_head %a, %b, %c table = [2, 0, 1]"}));

} // namespace
