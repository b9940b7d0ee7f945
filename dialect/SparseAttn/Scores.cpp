//===- Scores.cpp - scores of keys and pages ------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// dot, pages and hash, in float64.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/Selecting.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// score.dot
//===----------------------------------------------------------------------===//

std::vector<double> ScoreDotOp::evaluate(const QueryUnit &row, int64_t,
                                         Evaluator &evaluator) {
  AttentionValues &values = evaluator.attention();
  ArrayRef<double> q = values.query(row.b, row.h, row.i0);
  int64_t keyHead = evaluator.keyHead(row.h);
  std::vector<double> scores;
  for (int64_t j = 0; j < evaluator.keys(row.b); ++j)
    scores.push_back(values.scale() * dot(q, values.key(row.b, keyHead, j)));
  return scores;
}

//===----------------------------------------------------------------------===//
// score.pages
//===----------------------------------------------------------------------===//

Granularity ScorePagesOp::getGranularity() { return Granularity::Block; }

namespace {
/// The bounds of pages, D numbers each.
struct Pages {
  std::vector<std::vector<double>> low, high;
};
} // namespace

static Pages computePages(int64_t b, int64_t keyHead, int64_t block,
                          Evaluator &evaluator) {
  Pages pages;
  for (int64_t j = 0; j < evaluator.keys(b); ++j) {
    ArrayRef<double> key = evaluator.attention().key(b, keyHead, j);
    if (j % block == 0) {
      pages.low.emplace_back(key.begin(), key.end());
      pages.high.emplace_back(key.begin(), key.end());
    }
    for (auto [low, high, x] : llvm::zip_equal(pages.low.back(), pages.high.back(), key))
      low = least(low, x), high = largest(high, x);
  }
  return pages;
}

std::vector<double> ScorePagesOp::evaluate(const QueryUnit &row, int64_t block,
                                           Evaluator &evaluator) {
  int64_t keyHead = evaluator.keyHead(row.h);
  int64_t plane = row.b * evaluator.attention().keyHeads() + keyHead;
  // Two selections may read the same score in pages of different sizes.
  const Pages &pages = evaluator.derived<Pages>(*this, getRowKey(plane, block), [&] {
    return computePages(row.b, keyHead, block, evaluator);
  });
  ArrayRef<double> q = evaluator.attention().query(row.b, row.h, row.i0);
  std::vector<double> scores;
  for (auto [low, high] : llvm::zip_equal(pages.low, pages.high)) {
    double bound = 0;
    for (auto [x, a, z] : llvm::zip_equal(q, low, high))
      bound += largest(x * a, x * z);
    scores.push_back(bound);
  }
  return scores;
}

//===----------------------------------------------------------------------===//
// score.hash
//===----------------------------------------------------------------------===//

static constexpr int64_t kWordBits = 32;

LogicalResult ScoreHashOp::verify() {
  constexpr size_t kMostLayers = 16;
  constexpr int64_t kWidthEnd = 1 << 16, kMostBits = 1024;
  // (score_hash_c1)
  if (getLayers().empty() || getLayers().size() > kMostLayers)
    return emitOpError("layers must list the widths of 1 to 16 layers, got ")
           << getLayers().size() << "; the last one is the number of bits";
  for (int64_t width : getLayers())
    if (width < 1 || width >= kWidthEnd)
      return emitOpError("the width of a layer must be in [1, 2^16), got ")
             << width << "; layers lists the outputs of each dense layer";
  // (score_hash_c2)
  int64_t bits = getLayers().back();
  if (bits % kWordBits != 0 || bits > kMostBits)
    return emitOpError("the last layer has one output for each bit of a signature, a "
                       "multiple of 32 up to 1024, got ")
           << bits;
  return success(); // (score_hash_c3) is for the attention to ask: it knows D
}

/// The numbers of weights and offsets of all layers over inputs of `width`.
static int64_t countParameters(ArrayRef<int64_t> layers, int64_t width) {
  int64_t count = 0;
  for (int64_t out : layers) {
    count += width * out + out;
    width = out;
  }
  return count;
}

SmallVector<WeightSize> ScoreHashOp::getWeightSizes(int64_t headDim) {
  int64_t count = countParameters(getLayers(), headDim);
  constexpr StringLiteral kReason = "the weights and offsets of all layers";
  return {{*this, getQueryWeights(), "query_weights", 1, count, kReason},
          {*this, getKeyWeights(), "key_weights", 1, count, kReason}};
}

ArrayRef<TensorSpec> ScoreHashOp::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {
      {"query_weights", 32, true, false, 2, {Axis::HeadsOrOne, Axis::Free}},
      {"key_weights", 32, true, false, 2, {Axis::HeadsOrOne, Axis::Free}}};
  return specs;
}

static double activate(Activation activation, double x) {
  switch (activation) {
  case Activation::Relu:
    return x > 0 ? x : x * 0; // NaN stays
  case Activation::Silu:
    return x / (1 + std::exp(-x));
  case Activation::Gelu:
    return x * (1 + std::erf(x / std::sqrt(2.0))) / 2;
  case Activation::Tanh:
    return std::tanh(x);
  }
  llvm_unreachable("every activation is handled");
}

/// The signs of the last layer's outputs: +1, or -1 where below 0.
static std::vector<int> computeSignature(ScoreHashOp op, Value weights, int64_t h,
                                         ArrayRef<double> input, Evaluator &evaluator) {
  std::vector<double> x(input.begin(), input.end());
  int64_t next = 0;
  auto load = [&] { return evaluator.at(weights, {h, next++}); };
  for (auto [index, width] : llvm::enumerate(op.getLayers())) {
    std::vector<double> y(width, 0.0);
    for (double value : x)
      for (double &sum : y)
        sum += value * load();
    for (double &sum : y) {
      sum += load();
      if (index + 1 < op.getLayers().size())
        sum = activate(op.getActivation(), sum);
    }
    x = std::move(y);
  }
  std::vector<int> signs;
  for (double value : x)
    signs.push_back(value < 0 ? -1 : 1);
  return signs;
}

std::vector<double> ScoreHashOp::evaluate(const QueryUnit &row, int64_t,
                                          Evaluator &evaluator) {
  using Signatures = std::vector<std::vector<int>>;
  AttentionValues &values = evaluator.attention();
  int64_t plane = row.b * evaluator.heads() + row.h;
  const auto &keys = evaluator.derived<Signatures>(*this, plane, [&] {
    Signatures signatures;
    for (int64_t j = 0; j < evaluator.keys(row.b); ++j)
      signatures.push_back(
          computeSignature(*this, getKeyWeights(), row.h,
                           values.key(row.b, evaluator.keyHead(row.h), j), evaluator));
    return signatures;
  });
  std::vector<int> query = computeSignature(
      *this, getQueryWeights(), row.h, values.query(row.b, row.h, row.i0), evaluator);
  std::vector<double> scores;
  for (const std::vector<int> &key : keys) {
    int agreement = 0;
    for (auto [x, y] : llvm::zip_equal(query, key))
      agreement += x * y;
    scores.push_back(agreement);
  }
  return scores;
}
