//===- ReferenceTest.cpp - worked cases and errors of the reference -------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the semantics page says in numbers; everything else is compared with the NumPy
// reference by test/reference/cross_check.py.
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Reference/Reference.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"
#include <cmath>
#include <gtest/gtest.h>
#include <limits>

using namespace mlir;
using namespace sparse_attn;
using llvm::Expected;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Array makeArray(ElementKind kind, ArrayRef<int64_t> shape, ArrayRef<double> values = {}) {
  Array array = llvm::cantFail(Array::create(kind, shape));
  for (auto [i, value] : llvm::enumerate(values)) {
    if (kind == ElementKind::F32)
      array.as<float>()[i] = static_cast<float>(value);
    else
      array.as<int32_t>()[i] = static_cast<int32_t>(value);
  }
  return array;
}

class ReferenceTest : public ::testing::Test {
protected:
  ReferenceTest() {
    context.loadDialect<SparseAttnDialect, func::FuncDialect, arith::ArithDialect,
                        tensor::TensorDialect>();
  }

  /// A kernel with one head and D = Dv = 8. `masks` defines %m, `arguments` and
  /// `clauses` start with a comma or a space where they are not empty.
  func::FuncOp makeKernel(StringRef masks, StringRef arguments = "",
                          StringRef clauses = "") {
    std::string text =
        ("func.func @f(%q: tensor<?x?x?x8xf32> {sparse_attn.name = \"q\"},"
         " %k: tensor<?x?x?x8xf32> {sparse_attn.name = \"k\"},"
         " %v: tensor<?x?x?x8xf32> {sparse_attn.name = \"v\"}" +
         arguments + ") -> (tensor<?x?x?x8xf32>, tensor<?x?x?xf32>) {\n" + masks +
         "\n  %o, %lse = sparse_attn.attention %q, %k, %v mask(%m)" + clauses +
         " : tensor<?x?x?x8xf32>, tensor<?x?x?x8xf32>, tensor<?x?x?x8xf32> ->"
         " tensor<?x?x?x8xf32>, tensor<?x?x?xf32>\n"
         "  return %o, %lse : tensor<?x?x?x8xf32>, tensor<?x?x?xf32>\n}\n")
            .str();
    module = parseSourceString<ModuleOp>(text, &context);
    EXPECT_TRUE(module) << text;
    return *module->getOps<func::FuncOp>().begin();
  }

  /// Q, K and V of zeros, V with value j in row j.
  llvm::StringMap<Array> makeInputs(int64_t queries, int64_t keys) {
    llvm::StringMap<Array> inputs;
    inputs["q"] = makeArray(ElementKind::F32, {1, 1, queries, 8});
    inputs["k"] = makeArray(ElementKind::F32, {1, 1, keys, 8});
    std::vector<double> values;
    for (int64_t i = 0; i < keys * 8; ++i)
      values.push_back(i / 8);
    inputs["v"] = makeArray(ElementKind::F32, {1, 1, keys, 8}, values);
    return inputs;
  }

  std::string getError(func::FuncOp kernel, llvm::StringMap<Array> inputs) {
    auto reference = Reference::create(kernel, std::move(inputs));
    return reference ? "(no error)" : toString(reference.takeError());
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

TEST_F(ReferenceTest, WindowOfTheWorkedCase) {
  auto kernel = makeKernel("  %m = sparse_attn.window left = 1 right = 0");
  auto reference = llvm::cantFail(Reference::create(kernel, makeInputs(3, 8)));
  for (int64_t i = 0; i < 3; ++i) {
    std::vector<double> wanted(8, 0);
    wanted[4 + i] = wanted[5 + i] = 1;
    EXPECT_EQ(llvm::cantFail(reference->membership({0, 0, i})), wanted);
  }
}

TEST_F(ReferenceTest, MeansOfEqualScores) {
  auto kernel = makeKernel("  %m = sparse_attn.causal");
  auto reference = llvm::cantFail(Reference::create(kernel, makeInputs(4, 4)));
  std::vector<Array> results = llvm::cantFail(reference->evaluate(reference->allRows()));
  ASSERT_EQ(results.size(), 2u);
  for (int i = 0; i < 4; ++i) {
    EXPECT_DOUBLE_EQ(results[0].as<double>()[i * 8], i / 2.0);
    EXPECT_DOUBLE_EQ(results[1].as<double>()[i], std::log(i + 1));
  }
}

TEST_F(ReferenceTest, ARowWithoutKeys) {
  // M > N: the first row lies before every key.
  auto kernel = makeKernel("  %m = sparse_attn.causal");
  auto reference = llvm::cantFail(Reference::create(kernel, makeInputs(2, 1)));
  std::vector<Array> results = llvm::cantFail(reference->evaluate({{0, 0, 0}}));
  EXPECT_EQ(results[0].as<double>()[0], 0);
  EXPECT_EQ(results[1].as<double>()[0], -kInfinity);
}

TEST_F(ReferenceTest, ARowWithoutKeysHasTheSink) {
  auto kernel = makeKernel("  %m = sparse_attn.none",
                           ", %s: tensor<?xf32> {sparse_attn.name = \"sinks\"}",
                           " sinks(%s : tensor<?xf32>)");
  auto inputs = makeInputs(1, 4);
  inputs["sinks"] = makeArray(ElementKind::F32, {1}, {0.75});
  auto reference = llvm::cantFail(Reference::create(kernel, std::move(inputs)));
  std::vector<Array> results = llvm::cantFail(reference->evaluate({{0, 0, 0}}));
  EXPECT_EQ(results[0].as<double>()[0], 0);
  EXPECT_EQ(results[1].as<double>()[0], 0.75);
}

TEST_F(ReferenceTest, MergeWithAnEmptyStateKeepsEveryBit) {
  std::string text = R"(
    func.func @f(%q: tensor<?x?x?x8xf32> {sparse_attn.name = "q"},
                 %k: tensor<?x?x?x8xf32> {sparse_attn.name = "k"},
                 %v: tensor<?x?x?x8xf32> {sparse_attn.name = "v"})
        -> (tensor<?x?x?x8xf32>, tensor<?x?x?xf32>, tensor<?x?x?x8xf32>, tensor<?x?x?xf32>) {
      %m = sparse_attn.causal
      %n = sparse_attn.none
      %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : tensor<?x?x?x8xf32>,
          tensor<?x?x?x8xf32>, tensor<?x?x?x8xf32> -> tensor<?x?x?x8xf32>, tensor<?x?x?xf32>
      %e, %f = sparse_attn.attention %q, %k, %v mask(%n) : tensor<?x?x?x8xf32>,
          tensor<?x?x?x8xf32>, tensor<?x?x?x8xf32> -> tensor<?x?x?x8xf32>, tensor<?x?x?xf32>
      %a, %b = sparse_attn.merge %e, %o lse %f, %l : tensor<?x?x?x8xf32>, tensor<?x?x?xf32>
      return %o, %l, %a, %b : tensor<?x?x?x8xf32>, tensor<?x?x?xf32>, tensor<?x?x?x8xf32>,
                              tensor<?x?x?xf32>
    })";
  module = parseSourceString<ModuleOp>(text, &context);
  ASSERT_TRUE(module);
  auto kernel = *module->getOps<func::FuncOp>().begin();
  auto reference = llvm::cantFail(Reference::create(kernel, makeInputs(5, 7)));
  std::vector<Array> results = llvm::cantFail(reference->evaluate(reference->allRows()));
  for (int r : {0, 1})
    for (int64_t i = 0; i < results[r].elements(); ++i)
      EXPECT_EQ(results[r].as<double>()[i], results[r + 2].as<double>()[i]);
}

TEST_F(ReferenceTest, ThreadsDoNotMatter) {
  auto kernel = makeKernel("  %m = sparse_attn.causal");
  auto reference = llvm::cantFail(Reference::create(kernel, makeInputs(300, 300)));
  std::vector<Row> rows = reference->allRows();
  std::vector<Array> one = llvm::cantFail(reference->evaluate(rows, 1));
  int64_t last = 0;
  std::vector<Array> four = llvm::cantFail(reference->evaluate(
      rows, 4, [&](int64_t done, int64_t total) { last = std::max(last, done); }));
  EXPECT_EQ(last, 300);
  for (int r : {0, 1})
    for (int64_t i = 0; i < one[r].elements(); ++i)
      EXPECT_EQ(one[r].as<double>()[i], four[r].as<double>()[i]);
}

TEST_F(ReferenceTest, SaysWhichArgumentIsWrong) {
  auto kernel = makeKernel("  %m = sparse_attn.segments %s : tensor<?x?xi32>",
                           ", %s: tensor<?x?xi32> {sparse_attn.name = \"offsets\"}");
  EXPECT_EQ(getError(kernel, makeInputs(2, 4)),
            "the kernel reads 'offsets', which is not given");

  auto withOffsets = [&](Array offsets) {
    auto inputs = makeInputs(2, 4);
    inputs["offsets"] = std::move(offsets);
    return inputs;
  };
  EXPECT_EQ(getError(kernel, withOffsets(makeArray(ElementKind::F32, {1, 2}))),
            "'offsets' holds f32, wants i32");
  EXPECT_EQ(getError(kernel, withOffsets(makeArray(ElementKind::I32, {2}))),
            "'offsets' has rank 1, the kernel takes rank 2");
  EXPECT_EQ(getError(kernel, withOffsets(makeArray(ElementKind::I32, {3, 2}))),
            "'offsets' has shape [3, 2], axis 0 has to be 1 or B = 1");

  auto extra = withOffsets(makeArray(ElementKind::I32, {1, 2}));
  extra["more"] = makeArray(ElementKind::I32, {1});
  EXPECT_EQ(getError(kernel, std::move(extra)), "the kernel has no argument 'more'");

  auto narrow = withOffsets(makeArray(ElementKind::I32, {1, 2}));
  narrow["k"] = makeArray(ElementKind::F32, {1, 1, 4, 9});
  EXPECT_EQ(getError(kernel, std::move(narrow)),
            "'k' has shape [1, 1, 4, 9], the kernel takes 8 on axis 3");

  auto grouped = withOffsets(makeArray(ElementKind::I32, {1, 2}));
  grouped["q"] = makeArray(ElementKind::F32, {1, 3, 2, 8});
  grouped["k"] = makeArray(ElementKind::F32, {1, 2, 4, 8});
  EXPECT_EQ(getError(kernel, std::move(grouped)), "H = 3 is not a multiple of Hkv = 2");

  auto shorter = withOffsets(makeArray(ElementKind::I32, {1, 2}));
  shorter["v"] = makeArray(ElementKind::F32, {1, 1, 3, 8});
  EXPECT_EQ(getError(kernel, std::move(shorter)),
            "'v' has shape [1, 1, 3, 8], axis 2 has to be N = 4");
}

TEST_F(ReferenceTest, SaysWhichLengthIsWrong) {
  auto kernel = makeKernel("  %m = sparse_attn.all",
                           ", %n: tensor<?xi32> {sparse_attn.name = \"kv_len\"}",
                           " kv_len(%n : tensor<?xi32>)");
  auto inputs = makeInputs(2, 4);
  inputs["kv_len"] = makeArray(ElementKind::I32, {1}, {5});
  EXPECT_EQ(getError(kernel, std::move(inputs)),
            "'kv_len' is 5 at batch entry 0, expected 0 to 4");
}

TEST_F(ReferenceTest, ReadingOutsideAnOperandIsAnError) {
  auto kernel = makeKernel(
      "  %m = sparse_attn.block_mask %a, %b block = 2 x 2 : tensor<?x?x?xi32>, "
      "tensor<?x?x?xi32>",
      ", %a: tensor<?x?x?xi32> {sparse_attn.name = \"indptr\"}"
      ", %b: tensor<?x?x?xi32> {sparse_attn.name = \"indices\"}");
  auto inputs = makeInputs(2, 4);
  inputs["indptr"] = makeArray(ElementKind::I32, {1, 1, 3}, {0, 1, 9});
  inputs["indices"] = makeArray(ElementKind::I32, {1, 1, 2}, {0, 0});
  auto reference = llvm::cantFail(Reference::create(kernel, std::move(inputs)));
  Expected<std::vector<Array>> results = reference->evaluate(reference->allRows());
  ASSERT_FALSE(bool(results));
  EXPECT_EQ(toString(results.takeError()),
            "'indices' of shape [1, 1, 2] is read at [0, 0, 2]");
}

// Sizes of weights that types leave open, and values that no type can check.
TEST_F(ReferenceTest, SaysWhichWeightIsWrong) {
  auto kernel =
      makeKernel("  %c = sparse_attn.causal\n"
                 "  %s = sparse_attn.score.hash %w, %w layers = [32] : tensor<?x?xf32>, "
                 "tensor<?x?xf32>\n"
                 "  %m = sparse_attn.top_k %s, %c k = 1",
                 ", %w: tensor<?x?xf32> {sparse_attn.name = \"weights\"}");
  auto inputs = makeInputs(2, 4);
  inputs["weights"] = makeArray(ElementKind::F32, {1, 256});
  EXPECT_EQ(getError(kernel, std::move(inputs)),
            "'weights' has shape [1, 256], axis 1 has to be 288, the weights and offsets "
            "of all layers, for D = 8");
  auto heads = makeInputs(2, 4);
  heads["weights"] = makeArray(ElementKind::F32, {3, 288});
  EXPECT_EQ(getError(kernel, std::move(heads)),
            "'weights' has shape [3, 288], axis 0 has to be 1 or H = 1");
}

TEST_F(ReferenceTest, ChannelsLieInARow) {
  auto kernel =
      makeKernel("  %c = sparse_attn.causal\n"
                 "  %s = sparse_attn.score.channels %t count = 2 : tensor<?x?xi32>\n"
                 "  %m = sparse_attn.top_k %s, %c k = 1",
                 ", %t: tensor<?x?xi32> {sparse_attn.name = \"channels\"}");
  auto inputs = makeInputs(2, 4);
  inputs["channels"] = makeArray(ElementKind::I32, {1, 2}, {7, 8});
  auto reference = llvm::cantFail(Reference::create(kernel, std::move(inputs)));
  Expected<std::vector<Array>> results = reference->evaluate(reference->allRows());
  ASSERT_FALSE(bool(results));
  EXPECT_EQ(toString(results.takeError()), "channel 8 of head 0 is not in [0, D)");
}

} // namespace
