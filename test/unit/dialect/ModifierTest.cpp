//===- ModifierTest.cpp - score modifiers, as meant and as emitted ---------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// `evaluate` against values worked out by hand, and what `buildScore` emits
// against `evaluate`, folded by MLIR in f32.
//
//===----------------------------------------------------------------------===//

#include "MaskTesting.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"
#include <cmath>

using namespace mlir;
using namespace sparse_attn;
using namespace sparse_attn::testing;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Builds a score on constants; loads read the evaluator's tensors.
class FoldingScoreBuilder : public ScoreBuilder {
public:
  FoldingScoreBuilder(OpBuilder &builder, TensorEvaluator &evaluator)
      : ScoreBuilder(builder, builder.getUnknownLoc()), evaluator(evaluator) {}

  Value load(Value tensor, ValueRange index) override {
    ArrayRef<int64_t> shape = evaluator.shape(tensor);
    SmallVector<int64_t> at;
    for (auto [i, size] : llvm::zip_equal(index, shape)) {
      IntegerAttr constant;
      EXPECT_TRUE(matchPattern(i, m_Constant(&constant))) << "an index does not fold";
      at.push_back(size == 1 ? 0 : constant.getInt());
    }
    return constantF32(evaluator.at(tensor, at));
  }
  Value size(Value tensor, unsigned axis) override {
    return constant(evaluator.shape(tensor)[axis]);
  }

private:
  TensorEvaluator &evaluator;
};

class ModifierTest : public ::testing::Test {
protected:
  ModifierTest() {
    context.loadDialect<SparseAttnDialect, arith::ArithDialect, math::MathDialect,
                        tensor::TensorDialect, func::FuncDialect>();
  }

  /// Parses `sparse_attn.<op>` with the arguments that the evaluator holds.
  void parse(const std::string &arguments, const std::string &op) {
    // What an evaluator derives belongs to the ops that it has seen.
    TensorEvaluator fresh;
    fresh.arguments = std::move(evaluator.arguments);
    evaluator = std::move(fresh);
    module = parseSourceString<ModuleOp>(
        "func.func @f(" + arguments + ") {\n  %m = sparse_attn." + op + "\n  return\n}",
        &context);
    ASSERT_TRUE(module) << op;
    auto function = cast<func::FuncOp>(module->getBody()->front());
    modifier = cast<ModifierOpInterface>(function.getBody().front().front());
  }

  double evaluate(double score, const Pair &pair) {
    return modifier.evaluate(score, pair, evaluator);
  }

  /// What the emitted code gives, with `hops` edges between the tokens.
  double build(double score, const Pair &pair, double hops = 0) {
    OpBuilder builder(&context);
    Block block;
    builder.setInsertionPointToStart(&block);
    FoldingScoreBuilder scores(builder, evaluator);
    scores.b = scores.constant(pair.b);
    scores.h = scores.constant(pair.h);
    scores.i = scores.constant(pair.i);
    scores.p = scores.constant(pair.p);
    scores.j = scores.constant(pair.j);
    scores.hops = scores.constantF32(hops);
    Value result = modifier.buildScore(scores.constantF32(score), scores);
    Attribute folded = foldBlock(block, {}).lookup(result);
    EXPECT_TRUE(folded) << "what is emitted does not fold";
    return folded ? cast<FloatAttr>(folded).getValueAsDouble() : NAN;
  }

  /// Both give `expected`, up to f32 rounding.
  void expect(double expected, double score, const Pair &pair, double hops = 0) {
    EXPECT_NEAR(evaluate(score, pair), expected, 1e-12 * std::abs(expected));
    EXPECT_NEAR(build(score, pair, hops), expected, 1e-6 * (1 + std::abs(expected)));
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  ModifierOpInterface modifier;
  TensorEvaluator evaluator;
};

TEST_F(ModifierTest, Softcap) {
  parse("", "softcap cap = 30.0");
  for (double score : {-1000.0, -30.0, -0.125, 0.0, 1.0, 45.0, 1000.0})
    expect(30 * std::tanh(score / 30), score, Pair());
}

TEST_F(ModifierTest, Alibi) {
  evaluator.arguments = {{{2}, {0.5, 0.25}}};
  parse("%s: tensor<2xf32>", "alibi %s : tensor<2xf32>");
  expect(1.0 - 0.5 * 4, 1, {0, 0, 0, 7, 3});
  expect(1.0 - 0.25 * 4, 1, {0, 1, 0, 7, 3});
  expect(1.0 - 0.25 * 6, 1, {0, 1, 0, -2, 4}); // the key is ahead
}

TEST_F(ModifierTest, Bias) {
  // [B = 2, H, M = 2, N = 3], one table for all heads.
  evaluator.arguments = {{{2, 1, 2, 3}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}}};
  parse("%s: tensor<?x?x?x?xf32>", "bias %s : tensor<?x?x?x?xf32>");
  expect(0.5 + 5, 0.5, {0, 3, 1, 9, 2});
  expect(0.5 + 7, 0.5, {1, 2, 0, 8, 1});
}

TEST_F(ModifierTest, RelativeBias) {
  // Distances -2 to 2 for two heads; further ones read the ends.
  evaluator.arguments = {{{2, 5}, {1, 2, 3, 4, 5, 10, 20, 30, 40, 50}}};
  parse("%s: tensor<?x?xf32>", "relative_bias %s : tensor<?x?xf32>");
  expect(3, 0, {0, 0, 0, 6, 6});
  expect(4, 0, {0, 0, 0, 6, 5});
  expect(2, 0, {0, 0, 0, 6, 7});
  expect(50, 0, {0, 1, 0, 6, 4});
  expect(50, 0, {0, 1, 0, 1000, 0});
  expect(10, 0, {0, 1, 0, -5, 100});
  // One table for all heads.
  evaluator.arguments = {{{1, 3}, {1, 2, 3}}};
  parse("%s: tensor<?x?xf32>", "relative_bias %s : tensor<?x?xf32>");
  expect(3, 0, {0, 7, 0, 6, 4});
}

TEST_F(ModifierTest, HopDecay) {
  // Chunks [0, 2), [2, 4), [4, 6) on nodes 0, 1, 3; edges 0 - 1 - 2; 3 alone.
  evaluator.arguments = {
      {{1, 4}, {0, 2, 4, 6}}, {{1, 3}, {0, 2, 3}}, {{5}, {0, 1, 2, 2, 2}}, {{2}, {1, 2}}};
  const char *arguments = "%o: tensor<?x?xi32>, %c: tensor<?x?xi32>, %p: tensor<?xi32>, "
                          "%i: tensor<?xi32>";
  const std::string types = " : tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, "
                            "tensor<?xi32>";
  parse(arguments, "hop_decay %o, %c, %p, %i max_hops = 1 temperature = 0.5" + types);
  expect(3, 3, {0, 0, 0, 1, 0}, /*hops=*/0);
  expect(3 - (2 - 1) / 0.5, 3, {0, 0, 0, 1, 2}, /*hops=*/2);
  expect(3 - (2 - 1) / 0.5, 3, {0, 0, 0, 2, 1}, /*hops=*/2); // edges count both ways
  EXPECT_EQ(evaluate(3, {0, 0, 0, 0, 5}), -kInfinity);
  EXPECT_TRUE(modifier.excludes({0, 0, 0, 0, 5}, evaluator));
  EXPECT_FALSE(modifier.excludes({0, 0, 0, 1, 2}, evaluator));
  EXPECT_EQ(build(3, {0, 0, 0, 0, 5}, kInfinity), -kInfinity);
  // A token outside every chunk sees itself alone.
  EXPECT_EQ(evaluate(3, {0, 0, 0, 7, 7}), 3);
  EXPECT_EQ(evaluate(3, {0, 0, 0, 7, 0}), -kInfinity);

  parse(arguments, "hop_decay %o, %c, %p, %i max_hops = 0 temperature = 2.0 "
                   "directed = true" +
                       types);
  expect(3 - 2 / 2.0, 3, {0, 0, 0, 0, 2}, /*hops=*/2);
  EXPECT_EQ(evaluate(3, {0, 0, 0, 2, 0}), -kInfinity);
}

// The score that the kernel sees for tokens without a path is infinite even where
// the temperature is as small as the verifier lets it be.
TEST_F(ModifierTest, HopDecayIsSharpAtTheSmallestTemperature) {
  parse("%o: tensor<?x?xi32>, %c: tensor<?x?xi32>, %p: tensor<?xi32>, %i: tensor<?xi32>",
        "hop_decay %o, %c, %p, %i max_hops = 1 temperature = 1.1754943508222875e-38 : "
        "tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>");
  EXPECT_EQ(build(3, Pair(), /*hops=*/1), 3);
  EXPECT_LT(build(3, Pair(), /*hops=*/2), -1e37);
  EXPECT_EQ(build(3, Pair(), kInfinity), -kInfinity);
}

/// Score, arguments and body of a region, and its value by hand.
struct ScoreCase {
  const char *body;
  double (*expected)(double s, const Pair &pair);
};

TEST_F(ModifierTest, CustomScore) {
  const ScoreCase cases[] = {
      {"%r = arith.mulf %s, %s : f32", [](double s, const Pair &) { return s * s; }},
      {"%x = arith.index_cast %h : index to i32\n%y = arith.sitofp %x : i32 to f32\n"
       "%r = arith.addf %s, %y : f32",
       [](double s, const Pair &x) { return s + x.h; }},
      {"%d = arith.subi %p, %j : index\n%x = arith.index_cast %d : index to i64\n"
       "%y = arith.sitofp %x : i64 to f32\n%a = math.absf %y : f32\n"
       "%r = arith.subf %s, %a : f32",
       [](double s, const Pair &x) { return s - std::abs(x.p - x.j); }},
      {"%z = arith.constant 0.0 : f32\n%c = arith.cmpf olt, %s, %z : f32\n"
       "%n = arith.negf %s : f32\n%r = arith.select %c, %n, %s : f32",
       [](double s, const Pair &) { return std::abs(s); }},
      {"%c = arith.cmpi slt, %p, %j : index\n%k = arith.constant -2.5 : f32\n"
       "%r = arith.select %c, %k, %s : f32",
       [](double s, const Pair &x) { return x.p < x.j ? -2.5 : s; }},
      {"%e = math.exp %s : f32\n%r = math.log1p %e : f32",
       [](double s, const Pair &) { return std::log1p(std::exp(s)); }},
      {"%k = arith.constant 2.0 : f32\n%m = arith.mulf %s, %k : f32\n%r = arith.addf %m, "
       "%k : f32",
       [](double s, const Pair &) { return 2 * s + 2; }},
      {"%k = arith.constant 1.0 : f32\n%r = arith.maximumf %s, %k : f32",
       [](double s, const Pair &) { return std::max(s, 1.0); }},
      {"%t = math.tanh %s : f32\n%r = arith.divf %t, %s : f32",
       [](double s, const Pair &) { return std::tanh(s) / s; }},
      {"%x = arith.index_castui %b : index to i32\n%y = arith.uitofp %x : i32 to f32\n"
       "%r = arith.minnumf %s, %y : f32",
       [](double s, const Pair &x) { return std::min<double>(s, x.b); }},
  };
  for (const ScoreCase &entry : cases) {
    SCOPED_TRACE(entry.body);
    parse("",
          std::string("custom_score {\n^bb0(%s: f32, %b: index, %h: index, %p: index, "
                      "%j: index):\n") +
              entry.body + "\nsparse_attn.yield %r : f32\n}");
    for (double score : {-2.0, 0.75, 3.0})
      for (Pair pair : {Pair{1, 2, 0, 5, 3}, Pair{0, 1, 0, -2, 7}})
        expect(entry.expected(score, pair), score, pair);
  }
}

} // namespace
