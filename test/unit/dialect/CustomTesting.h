//===- CustomTesting.h - the law of a custom region ------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Checks a region on every rectangle, near and at the ends of the positions, of
// neighbours and in steps: the class that is emitted obeys the law of MaskOpInterface.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_DIALECT_CUSTOMTESTING_H
#define SPARSE_ATTN_TEST_UNIT_DIALECT_CUSTOMTESTING_H

#include "MaskTesting.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/MathExtras.h"

namespace sparse_attn::testing {

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
  mlir::Value keys() override { return unexpected(); }
  mlir::Value heads() override { return unexpected(); }
  mlir::Value load(mlir::Value, mlir::ValueRange) override { return unexpected(); }
  TileClass callHelper(llvm::StringRef, mlir::ValueRange) override {
    return uniform(unexpected());
  }
  KeyExtent callExtentHelper(llvm::StringRef, mlir::Operation *,
                             mlir::ValueRange) override {
    ADD_FAILURE() << "a custom mask calls a helper";
    return alikeIfDecided(constantClass(false));
  }
  TileClass callTableHelper(llvm::StringRef, mlir::Operation *,
                            mlir::ValueRange) override {
    return uniform(unexpected());
  }

private:
  mlir::Value unexpected() {
    ADD_FAILURE() << "a custom mask depends on its region alone";
    return truth(false);
  }
};

/// Interprets a block of integer arithmetic.
class Interpreter {
public:
  explicit Interpreter(mlir::Block &block) {
    for (mlir::BlockArgument argument : block.getArguments())
      number(argument);
    for (mlir::Operation &op : block) {
      Step step;
      step.name = op.getName().getStringRef();
      for (auto [i, operand] : llvm::enumerate(op.getOperands())) {
        step.operands[i] = numbers.lookup(operand);
        step.operandWidth = operand.getType().getIntOrFloatBitWidth();
      }
      llvm::APInt constant;
      if (mlir::matchPattern(op.getResult(0), mlir::m_ConstantInt(&constant)))
        step.constant = constant.getSExtValue();
      if (auto compare = llvm::dyn_cast<mlir::arith::CmpIOp>(op))
        step.predicate = compare.getPredicate();
      step.width = op.getResult(0).getType().getIntOrFloatBitWidth();
      step.compute = getCode(step.name);
      if (!step.compute)
        ADD_FAILURE() << "not elementwise arithmetic: " << step.name.str();
      step.result = number(op.getResult(0));
      steps.push_back(step);
    }
  }

  void run(llvm::ArrayRef<int64_t> arguments) {
    llvm::copy(arguments, values.begin());
    for (const Step &step : steps)
      values[step.result] = llvm::SignExtend64(
          step.compute(step, values[step.operands[0]], values[step.operands[1]],
                       values[step.operands[2]]),
          step.width);
  }
  bool get(mlir::Value value) const { return values[numbers.lookup(value)] != 0; }

private:
  struct Step;
  using Code = int64_t (*)(const Step &, int64_t, int64_t, int64_t);
  struct Step {
    llvm::StringRef name;
    Code compute = nullptr;
    unsigned operands[3] = {0, 0, 0}, result = 0, width = 0, operandWidth = 0;
    int64_t constant = 0;
    mlir::arith::CmpIPredicate predicate = mlir::arith::CmpIPredicate::eq;
    uint64_t plain(int64_t x) const {
      return operandWidth == 64 ? x : x & ((uint64_t(1) << operandWidth) - 1);
    }
  };

  static Code getCode(llvm::StringRef name) {
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
           return mlir::arith::applyCmpPredicate(s.predicate,
                                                 llvm::APInt(64, a, /*isSigned=*/true),
                                                 llvm::APInt(64, b, /*isSigned=*/true));
         }}};
    return codes.lookup(name);
  }

  unsigned number(mlir::Value value) {
    unsigned next = values.size();
    numbers[value] = next;
    values.push_back(0);
    return next;
  }

  llvm::DenseMap<mlir::Value, unsigned> numbers;
  std::vector<int64_t> values;
  std::vector<Step> steps;
};

//===----------------------------------------------------------------------===//
// Checking a region
//===----------------------------------------------------------------------===//

class CustomTest : public ::testing::Test {
protected:
  CustomTest() {
    context.loadDialect<SparseAttnDialect, mlir::arith::ArithDialect,
                        mlir::math::MathDialect>();
  }

  /// Parses a region's body; the op lives as long as the test.
  CustomOp parse(const std::string &body) {
    text =
        "%m = sparse_attn.custom {\n^bb0(%b: index, %h: index, %p: index, %j: index):\n" +
        body + "\n}";
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    return module ? llvm::cast<CustomOp>(module->getBody()->back()) : CustomOp();
  }

  /// Pairs of one head, kept or not, as a grid and as sums to the upper left.
  void evaluate(CustomOp op, int64_t h, Corner at, bool fold) {
    corner = at;
    TensorEvaluator evaluator;
    mlir::Builder builder(&context);
    sums.assign((kPositions + 1) * (kKeys + 1), 0);
    for (int64_t y = 0; y < kPositions; ++y)
      for (int64_t x = 0; x < kKeys; ++x) {
        bool kept = evaluator.evaluate(op, {0, h, y, at.p + y, at.j + x}) == 1;
        sum(y + 1, x + 1) = sum(y, x + 1) + sum(y + 1, x) - sum(y, x) + kept;
        if (!fold)
          continue;
        mlir::Block &body = op.getBody().front();
        mlir::Attribute folded =
            foldBlock(body,
                      {builder.getIndexAttr(0), builder.getIndexAttr(h),
                       builder.getIndexAttr(at.p + y), builder.getIndexAttr(at.j + x)})
                .lookup(body.getTerminator()->getOperand(0));
        ASSERT_TRUE(folded) << text;
        ASSERT_EQ(kept, !llvm::cast<mlir::IntegerAttr>(folded).getValue().isZero())
            << text << "\nat h = " << h << ", p = " << at.p + y << ", j = " << at.j + x;
      }
  }

  int64_t &sum(int64_t y, int64_t x) { return sums[y * (kKeys + 1) + x]; }

  void checkLaw(CustomOp op, bool exact) {
    mlir::Block block, pairBlock;
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

  /// Of positions and keys that are `step` apart, emitted for a plan of this period.
  void checkInSteps(CustomOp op, int64_t step, bool exact) {
    mlir::Block block;
    TileClass tile = emit(op, block, /*onePair=*/false, /*period=*/step);
    Interpreter onTile(block);
    for (Corner at : kCorners)
      for (int64_t h = 0; h < kHeads && !HasFatalFailure(); ++h) {
        evaluate(op, h, at, /*fold=*/false);
        for (int64_t y0 = 0; y0 < kPositions; ++y0)
          for (int64_t y1 = y0; y1 < kPositions; y1 += step)
            for (int64_t x0 = 0; x0 < kKeys; ++x0)
              for (int64_t x1 = x0; x1 < kKeys && !HasFatalFailure(); x1 += step) {
                onTile.run({0, h, at.p + y0, at.p + y1, at.j + x0, at.j + x1, step});
                int64_t kept = 0, pairs = 0;
                for (int64_t y = y0; y <= y1; y += step)
                  for (int64_t x = x0; x <= x1; x += step, ++pairs)
                    kept += isKept(y, x);
                bool may = onTile.get(tile.may), must = onTile.get(tile.must);
                ASSERT_TRUE((!must || (may && kept == pairs)) && (may || kept == 0) &&
                            (pairs != 1 || may == must) &&
                            (!exact || (may == (kept != 0) && must == (kept == pairs))))
                    << text << "\nstep " << step << ", p in [" << at.p + y0 << ", "
                    << at.p + y1 << "], j in [" << at.j + x0 << ", " << at.j + x1
                    << "]: " << kept << " of " << pairs << " kept, may = " << may
                    << ", must = " << must;
              }
      }
  }

  bool isKept(int64_t y, int64_t x) {
    return sum(y + 1, x + 1) - sum(y, x + 1) - sum(y + 1, x) + sum(y, x) != 0;
  }

  TileClass emit(CustomOp op, mlir::Block &block, bool onePair, int64_t period = 1) {
    mlir::OpBuilder builder(&context);
    builder.setInsertionPointToStart(&block);
    CustomTileBuilder tile(builder, builder.getUnknownLoc());
    tile.period = period;
    auto argument = [&] {
      return block.addArgument(builder.getI32Type(), builder.getUnknownLoc());
    };
    tile.b = argument();
    tile.h = argument();
    tile.p0 = argument();
    tile.p1 = onePair ? tile.p0 : argument();
    tile.j0 = argument();
    tile.j1 = onePair ? tile.j0 : argument();
    if (period > 1)
      tile.step = argument();
    return tile.classOf(op);
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::string text;
  Corner corner = kCorners[0];
  std::vector<int64_t> sums;
};

} // namespace sparse_attn::testing

#endif // SPARSE_ATTN_TEST_UNIT_DIALECT_CUSTOMTESTING_H
