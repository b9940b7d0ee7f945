//===- SelectionTesting.h - selections and draws in tests ------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_DIALECT_SELECTIONTESTING_H
#define SPARSE_ATTN_TEST_UNIT_DIALECT_SELECTIONTESTING_H

#include "dialect/SparseAttn/Selecting.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace sparse_attn {

/// One head of an attention with scale 1; row i is at position i + n - m.
class RowEvaluator : public Evaluator, public AttentionValues {
public:
  std::vector<std::vector<double>> q, k, v;

  double at(mlir::Value, llvm::ArrayRef<int64_t>) override {
    ADD_FAILURE() << "reads a weight";
    return 0;
  }
  llvm::ArrayRef<int64_t> shape(mlir::Value) override { return {}; }
  int64_t keys(int64_t) override { return k.size(); }
  int64_t heads() override { return 1; }
  AttentionValues &attention() override { return *this; }

  int64_t queries(int64_t) override { return q.size(); }
  int64_t shift(int64_t) override { return k.size() - q.size(); }
  int64_t keyHeads() override { return 1; }
  double scale() override { return 1; }
  llvm::ArrayRef<double> query(int64_t, int64_t, int64_t i) override { return q[i]; }
  llvm::ArrayRef<double> key(int64_t, int64_t, int64_t j) override { return k[j]; }
  llvm::ArrayRef<double> value(int64_t, int64_t, int64_t j) override { return v[j]; }
  double score(const Pair &pair) override {
    double sum = 0;
    for (auto [x, y] : llvm::zip_equal(q[pair.i], k[pair.j]))
      sum += x * y;
    return sum;
  }

  /// The same values with nothing remembered, for another mask.
  RowEvaluator forget() {
    RowEvaluator fresh;
    fresh.q = std::move(q), fresh.k = std::move(k), fresh.v = std::move(v);
    return fresh;
  }

  Pair pairOf(int64_t i, int64_t j) { return {0, 0, i, i + shift(0), j}; }
};

class SelectionTest : public testing::Test {
protected:
  SelectionTest() { context.loadDialect<SparseAttnDialect, mlir::func::FuncDialect>(); }

  /// The mask that the last of `ops` makes, each without the dialect's name.
  mlir::Value parse(const std::vector<std::string> &ops) {
    std::string text = "func.func @f() {\n";
    for (const std::string &op : ops) {
      size_t at = op.find("= ");
      text += op.substr(0, at + 2) + "sparse_attn." + op.substr(at + 2) + "\n";
    }
    module = mlir::parseSourceString<mlir::ModuleOp>(text + "return\n}\n", &context);
    auto function = llvm::cast<mlir::func::FuncOp>(module->getBody()->front());
    return std::prev(function.getBody().front().end(), 2)->getResult(0);
  }

  /// What is drawn, one line for each row: x or a dot for every key.
  std::string draw(const std::vector<std::string> &ops, RowEvaluator &evaluator) {
    mlir::Value mask = parse(ops);
    std::string picture;
    for (int64_t i = 0; i < evaluator.queries(0); ++i) {
      for (int64_t j = 0; j < evaluator.keys(0); ++j)
        picture += evaluator.isDrawn(mask, evaluator.pairOf(i, j)) ? 'x' : '.';
      picture += '\n';
    }
    return picture;
  }

  /// The same for scores that `score.dot` gives, the same for all of `rows` rows.
  std::string draw(const std::vector<std::string> &ops, const std::vector<double> &scores,
                   int64_t rows = 1) {
    RowEvaluator evaluator;
    evaluator.q.assign(rows, {1});
    for (double score : scores)
      evaluator.k.push_back({score});
    return draw(ops, evaluator);
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_TEST_UNIT_DIALECT_SELECTIONTESTING_H
