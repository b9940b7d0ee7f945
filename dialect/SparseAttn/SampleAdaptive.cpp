//===- SampleAdaptive.cpp - draws that keep an error bound ----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/Sampling.h"
#include "dialect/SparseAttn/Selecting.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace sparse_attn;

/// 0 < value < 1.
static LogicalResult verifyInside(Operation *op, StringRef name, const APFloat &value,
                                  StringRef what) {
  double number = value.convertToDouble();
  if (number > 0 && number < 1)
    return success();
  return op->emitOpError() << name << " must be in (0, 1), got " << formatReal(number)
                           << "; " << what;
}

LogicalResult SampleAdaptiveOp::verify() {
  // (sample_adaptive_c1), (sample_adaptive_c2), (sample_adaptive_c3)
  if (failed(verifyDraws(*this, getBaseCount(), getBaseRate(), "base_")))
    return failure();
  // (sample_adaptive_c4)
  if (failed(verifyInside(*this, "epsilon", getEpsilon(),
                          "it is the error allowed, as a share of the denominator")))
    return failure();
  // (sample_adaptive_c5)
  if (failed(verifyInside(*this, "delta", getDelta(),
                          "it is how often the error may be larger")))
    return failure();
  // (sample_adaptive_c6)
  return verifyMaskOperands(*this);
}

//===----------------------------------------------------------------------===//
// Budgets
//===----------------------------------------------------------------------===//

/// Bisection of P(Z <= z) = erfc(-z / sqrt(2)) / 2, down to the last bit.
double sparse_attn::computeNormalQuantile(double probability) {
  double low = -40, high = 40;
  while (true) {
    double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high)
      return high;
    (std::erfc(-middle / std::sqrt(2.0)) / 2 < probability ? low : high) = middle;
  }
}

AdaptiveRule sparse_attn::makeAdaptiveRule(double epsilon, double delta, bool oneSided,
                                           bool finitePopulation) {
  return {computeNormalQuantile(1 - (oneSided ? delta : delta / 2)), epsilon,
          finitePopulation};
}

int64_t sparse_attn::computeBudget(const AdaptiveRule &rule, int64_t n, int64_t m,
                                   double deviation, double denominator) {
  auto count = static_cast<double>(n);
  double error = rule.z * deviation * count / (rule.epsilon * denominator);
  double draws = error * error;
  if (rule.finitePopulation)
    draws = draws * count / (count + draws);
  if (!(draws < count)) // a NaN, too
    return n;
  return std::clamp<int64_t>(static_cast<int64_t>(std::ceil(draws)), m, n);
}

//===----------------------------------------------------------------------===//
// Meaning
//===----------------------------------------------------------------------===//

namespace {
/// The draws of one row.
struct Drawn {
  double probability = 0; ///< of each candidate
  llvm::BitVector keys;
};
} // namespace

/// exp(score - top), 0 for a score of -infinity.
static std::vector<double> exponentials(ArrayRef<double> scores, double top) {
  std::vector<double> weights;
  for (double score : scores)
    weights.push_back(
        score == -std::numeric_limits<double>::infinity() ? 0 : std::exp(score - top));
  return weights;
}

static double sum(ArrayRef<double> values) {
  double total = 0;
  for (double value : values)
    total += value;
  return total;
}

int64_t sparse_attn::chooseBudget(const AdaptiveRule &rule,
                                  const KeyedPermutation &permute, int64_t m,
                                  ArrayRef<double> scores, ArrayRef<double> beside) {
  auto n = static_cast<int64_t>(scores.size());
  std::vector<double> sample;
  for (int64_t draw = 0; draw < m; ++draw)
    sample.push_back(scores[permute(draw)]);
  double top = -std::numeric_limits<double>::infinity();
  for (double score : llvm::concat<const double>(sample, beside))
    top = std::max(top, score);
  std::vector<double> weights = exponentials(sample, top);
  double mean = sum(weights) / static_cast<double>(m), squares = 0;
  for (double weight : weights)
    squares += (weight - mean) * (weight - mean);
  double denominator = sum(exponentials(beside, top)) + static_cast<double>(n) * mean;
  return computeBudget(rule, n, m, std::sqrt(squares / static_cast<double>(m - 1)),
                       denominator);
}

/// How many of `candidates` the pair's row takes.
static int64_t chooseBudget(SampleAdaptiveOp op, const Pair &pair,
                            ArrayRef<int64_t> candidates, Evaluator &evaluator) {
  auto n = static_cast<int64_t>(candidates.size());
  int64_t base = countDraws(op.getBaseCount(), op.getBaseRate(), n);
  int64_t m = std::min(std::max<int64_t>(2, base), n);
  int64_t plane = pair.b * evaluator.heads() + pair.h;
  auto scoreOf = [&](int64_t j) {
    Pair other = pair;
    other.j = j;
    return evaluator.attention().score(other);
  };
  std::vector<double> scores, beside;
  for (int64_t j : candidates)
    scores.push_back(scoreOf(j));
  for (int64_t j : listCandidates(op.getBeside(), pair, evaluator))
    if (!llvm::binary_search(candidates, j))
      beside.push_back(scoreOf(j));
  AdaptiveRule rule =
      makeAdaptiveRule(op.getEpsilon().convertToDouble(), op.getDelta().convertToDouble(),
                       op.getTail() == Tail::OneSided, op.getFinitePopulation());
  KeyedPermutation permute(op.getSeed(), plane, pair.p, Stream::AdaptiveBase, n);
  return chooseBudget(rule, permute, m, scores, beside);
}

static const Drawn &draw(SampleAdaptiveOp op, const Pair &pair, Evaluator &evaluator) {
  int64_t plane = pair.b * evaluator.heads() + pair.h;
  return evaluator.latest<Drawn>(op, getRowKey(plane, pair.i), [&] {
    std::vector<int64_t> candidates = listCandidates(op.getCandidates(), pair, evaluator);
    auto n = static_cast<int64_t>(candidates.size());
    int64_t b = n < 2 ? n : chooseBudget(op, pair, candidates, evaluator);
    Drawn drawn{n ? static_cast<double>(b) / static_cast<double>(n) : 0,
                llvm::BitVector(evaluator.keys(pair.b))};
    KeyedPermutation permute(op.getSeed(), plane, pair.p, Stream::Adaptive, n);
    for (int64_t draw = 0; draw < b; ++draw)
      drawn.keys.set(candidates[permute(draw)]);
    return drawn;
  });
}

double SampleAdaptiveOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  if (evaluator.evaluate(getCandidates(), pair) != 1)
    return 0;
  return draw(*this, pair, evaluator).probability;
}

bool SampleAdaptiveOp::isDrawn(const Pair &pair, Evaluator &evaluator) {
  return draw(*this, pair, evaluator).keys[pair.j];
}

TileClass SampleAdaptiveOp::buildTileClass(TileBuilder &builder) {
  return buildCandidateClass(getCandidates(), builder);
}
Binding SampleAdaptiveOp::getOwnBinding() { return Binding::Run; }
bool SampleAdaptiveOp::isPerHead() { return true; }
bool SampleAdaptiveOp::isPerBatch() { return true; }
