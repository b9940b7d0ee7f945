//===- FoldTest.cpp - canonical masks against the masks as written ---------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Random expressions over the patterns, a graph and sampled masks are evaluated
// on every pair before and after canonicalization. Parameters are small and
// masks are used again often, so that identities apply most of the time.
//
//===----------------------------------------------------------------------===//

#include "MaskTesting.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include <random>

using namespace mlir;
using namespace sparse_attn;
using namespace sparse_attn::testing;

namespace {

constexpr int64_t kFirstPosition = -3, kEndPosition = 13, kKeys = 12, kHeads = 3;

//===----------------------------------------------------------------------===//
// A sampled mask
//===----------------------------------------------------------------------===//

/// Gives every pair a probability of 0, 0.25, 0.5 or 1, by its seed.
class SampledOp : public Op<SampledOp, OpTrait::ZeroRegions, OpTrait::OneResult,
                            OpTrait::OneTypedResult<Type>::Impl, OpTrait::ZeroSuccessors,
                            OpTrait::ZeroOperands, MemoryEffectOpInterface::Trait,
                            MaskOpInterface::Trait> {
public:
  using Op::Op;
  static StringRef getOperationName() { return "fold_test.sampled"; }
  static ArrayRef<StringRef> getAttributeNames() {
    static StringRef names[] = {"seed"};
    return names;
  }
  void getEffects(SmallVectorImpl<MemoryEffects::EffectInstance> &) {}

  double evaluate(const Pair &pair, Evaluator &) {
    uint64_t seed = (*this)->getAttrOfType<IntegerAttr>("seed").getInt();
    uint64_t x = seed * 1000003 + pair.h * 7919 + (pair.p + 64) * 131 + pair.j;
    x = (x ^ (x >> 13)) * 0x9e3779b97f4a7c15;
    constexpr double probabilities[] = {0, 0.25, 0.5, 1};
    return probabilities[x >> 62];
  }
  TileClass buildTileClass(TileBuilder &builder) {
    return {builder.truth(true), builder.truth(false)};
  }
  Binding getOwnBinding() { return Binding::Run; }
};

class FoldTestDialect : public Dialect {
public:
  explicit FoldTestDialect(MLIRContext *context)
      : Dialect(getDialectNamespace(), context, TypeID::get<FoldTestDialect>()) {
    addOperations<SampledOp>();
  }
  static StringRef getDialectNamespace() { return "fold_test"; }
};

//===----------------------------------------------------------------------===//
// Random expressions
//===----------------------------------------------------------------------===//

class MaskGenerator {
public:
  MaskGenerator(uint32_t seed, bool withSampled)
      : random(seed), withSampled(withSampled) {}

  /// A function of the body's arguments that returns one mask, as text.
  std::string generate() {
    body.clear();
    masks.clear();
    std::string root = combination(/*depth=*/3);
    bool sampled = isSampled(root);
    return "func.func @f(%o: tensor<1x4xi32>, %c: tensor<1x3xi32>, %p: tensor<4xi32>, "
           "%i: tensor<3xi32>) -> " +
           typeOf(sampled) + " {\n" + body + "  return " + root + " : " +
           typeOf(sampled) + "\n}\n";
  }

private:
  struct Mask {
    std::string name;
    bool sampled;
  };

  int64_t pick(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  }
  static std::string typeOf(bool sampled) {
    return sampled ? "!sparse_attn.mask<sampled>" : "!sparse_attn.mask";
  }
  bool isSampled(const std::string &name) {
    for (const Mask &mask : masks)
      if (mask.name == name)
        return mask.sampled;
    return false;
  }
  std::string add(const std::string &text, bool sampled = false) {
    std::string name = "%" + std::to_string(masks.size());
    body += "  " + name + " = " + text + "\n";
    masks.push_back({name, sampled});
    return name;
  }
  std::string pattern(StringRef op, std::string parameters) {
    return add("sparse_attn." + op.str() + " " + parameters);
  }
  static std::string number(StringRef name, int64_t value) {
    return name.str() + " = " + std::to_string(value) + " ";
  }
  std::string end(StringRef name) {
    return pick(0, 3) ? number(name, pick(0, 5)) : std::string();
  }

  std::string leaf() {
    int64_t stride = pick(1, 4);
    switch (pick(0, withSampled ? 14 : 13)) {
    case 0:
      return pattern("all", "");
    case 1:
      return pattern("none", "");
    case 2:
      return pattern("causal", "");
    case 3:
    case 4:
      return pattern("window", end("left") + end("right"));
    case 5:
      return pattern("dilated", end("left") + end("right") + number("rate", stride));
    case 6:
      return pattern("sink", number("size", pick(0, 4)));
    case 7:
      return pattern("strided", number("stride", stride));
    case 8:
      return pattern("fixed",
                     number("stride", stride) + number("columns", pick(0, stride)));
    case 9:
      return pattern("block_diagonal", number("size", 1 << pick(0, 3)));
    case 10:
      return pick(0, 1) ? pattern("global", number("stride", stride))
                        : pattern("global", "positions = [" + std::to_string(pick(0, 2)) +
                                                ", " + std::to_string(pick(0, 3)) + "]");
    case 11:
      return pattern("dilated_segment", number("segment", 1 << pick(1, 3)) +
                                            number("rate", stride) +
                                            (pick(0, 1) ? "offset = 0" : ""));
    case 12:
      return pattern("graph_hop",
                     "%o, %c, %p, %i " +
                         (pick(0, 3) ? number("max_hops", pick(0, 2)) : "") +
                         (pick(0, 1) ? "directed = true " : "") +
                         ": tensor<1x4xi32>, tensor<1x3xi32>, tensor<4xi32>, "
                         "tensor<3xi32>");
    case 13:
      return pattern("custom", "{\n  ^bb0(%b: index, %h: index, %x: index, %y: index):\n"
                               "    %k = arith.constant " +
                                   std::to_string(pick(0, 2)) +
                                   " : index\n    %s = arith.addi %y, %k : index\n"
                                   "    %r = arith.cmpi sle, %s, %x : index\n"
                                   "    sparse_attn.yield %r : i1\n  }");
    default:
      return add("\"fold_test.sampled\"() {seed = " + std::to_string(pick(0, 1)) +
                     "} : () -> !sparse_attn.mask<sampled>",
                 /*sampled=*/true);
    }
  }

  std::string combination(int depth) {
    if (!masks.empty() && pick(0, 3) == 0)
      return masks[pick(0, masks.size() - 1)].name;
    if (depth == 0)
      return leaf();
    switch (pick(0, 9)) {
    case 0:
      return negation("complement ", "", depth);
    case 1: {
      std::string left = combination(depth - 1);
      return negation("difference " + left + ", ", left, depth);
    }
    case 2:
      return perHead(depth);
    case 3:
      return leaf();
    default:
      return variadic(pick(0, 1) ? "union" : "intersect", depth);
    }
  }

  /// complement and difference negate a deterministic mask alone.
  std::string negation(const std::string &prefix, const std::string &left, int depth) {
    std::string mask = combination(depth - 1);
    while (isSampled(mask))
      mask = leaf();
    bool sampled = !left.empty() && isSampled(left);
    return add("sparse_attn." + prefix + mask +
                   (sampled ? " : " + typeOf(true) + ", " + typeOf(false) : ""),
               sampled);
  }

  std::string variadic(const std::string &op, int depth) {
    auto [operands, types, sampled] = list(pick(1, 3), depth);
    return add("sparse_attn." + op + " " + operands + (sampled ? " : " + types : ""),
               sampled);
  }

  std::string perHead(int depth) {
    int64_t count = pick(1, 3);
    auto [operands, types, sampled] = list(count, depth);
    std::string table;
    for (int64_t h = 0; h < kHeads; ++h)
      table += (h ? ", " : "") + std::to_string(pick(0, count - 1));
    return add("sparse_attn.per_head " + operands + " table = [" + table + "]" +
                   (sampled ? " : " + types : ""),
               sampled);
  }

  std::tuple<std::string, std::string, bool> list(int64_t count, int depth) {
    std::string operands, types;
    bool sampled = false;
    for (int64_t i = 0; i < count; ++i) {
      std::string mask = combination(depth - 1);
      operands += (i ? ", " : "") + mask;
      types += (i ? ", " : "") + typeOf(isSampled(mask));
      sampled |= isSampled(mask);
    }
    return {operands, types, sampled};
  }

  std::mt19937 random;
  bool withSampled;
  std::string body;
  std::vector<Mask> masks;
};

//===----------------------------------------------------------------------===//
// The tests
//===----------------------------------------------------------------------===//

class FoldTest : public ::testing::Test {
protected:
  void SetUp() override {
    context.loadDialect<SparseAttnDialect, arith::ArithDialect, func::FuncDialect,
                        FoldTestDialect>();
    RewritePatternSet set(&context);
    for (Dialect *dialect : context.getLoadedDialects())
      dialect->getCanonicalizationPatterns(set);
    for (RegisteredOperationName op : context.getRegisteredOperations())
      op.getCanonicalizationPatterns(set, &context);
    patterns = std::move(set);
  }

  static Value getRoot(ModuleOp module) {
    auto function = cast<func::FuncOp>(module.getBody()->front());
    return function.getBody().front().getTerminator()->getOperand(0);
  }

  /// Every pair's probability, for every head.
  static std::vector<double> evaluate(ModuleOp module) {
    TensorEvaluator evaluator;
    // Three chunks, a path of three nodes and back.
    evaluator.arguments = {{{1, 4}, {0, 2, 6, 9}},
                           {{1, 3}, {2, 0, 1}},
                           {{4}, {0, 1, 2, 3}},
                           {{3}, {1, 2, 1}}};
    evaluator.n = kKeys;
    evaluator.headCount = kHeads;
    Value root = getRoot(module);
    std::vector<double> result;
    for (int64_t h = 0; h < kHeads; ++h)
      for (int64_t p = kFirstPosition; p < kEndPosition; ++p)
        for (int64_t j = 0; j < kKeys; ++j)
          result.push_back(evaluator.evaluate(root, {0, h, p - kFirstPosition, p, j}));
    return result;
  }

  static std::string print(ModuleOp module) {
    std::string text;
    llvm::raw_string_ostream(text) << module;
    return text;
  }

  void check(const std::string &text) {
    OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &context);
    ASSERT_TRUE(module) << text;
    std::vector<double> before = evaluate(*module);
    ASSERT_TRUE(succeeded(applyPatternsGreedily(*module, patterns)))
        << "does not converge:\n"
        << text;
    std::string canonical = print(*module);
    ASSERT_TRUE(succeeded(verify(*module))) << text << "\nbecomes\n" << canonical;
    std::vector<double> after = evaluate(*module);
    for (size_t i = 0; i < before.size(); ++i)
      ASSERT_NEAR(before[i], after[i], 1e-15) << text << "\nbecomes\n" << canonical;
    // A reader of printed IR gets the same masks, in normal form already.
    OwningOpRef<ModuleOp> again = parseSourceString<ModuleOp>(canonical, &context);
    ASSERT_TRUE(again) << canonical;
    ASSERT_TRUE(succeeded(applyPatternsGreedily(*again, patterns)));
    ASSERT_EQ(print(*again), canonical) << text;
    rewritten += canonical.size() < text.size();
  }

  MLIRContext context;
  FrozenRewritePatternSet patterns;
  int rewritten = 0;
};

TEST_F(FoldTest, KeepsDeterministicMasks) {
  constexpr int kExpressions = 3000;
  for (int seed = 0; seed < kExpressions && !HasFatalFailure(); ++seed)
    check(MaskGenerator(seed, /*withSampled=*/false).generate());
  // The identities were there to be found.
  EXPECT_GT(rewritten, kExpressions / 2);
}

TEST_F(FoldTest, KeepsSampledMasks) {
  constexpr int kExpressions = 1500;
  for (int seed = 0; seed < kExpressions && !HasFatalFailure(); ++seed)
    check(MaskGenerator(100000 + seed, /*withSampled=*/true).generate());
  EXPECT_GT(rewritten, kExpressions / 4);
}

} // namespace
