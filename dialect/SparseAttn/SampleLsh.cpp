//===- SampleLsh.cpp - keys whose hash tables agree with the query's ------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/Sampling.h"
#include "dialect/SparseAttn/Selecting.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>

using namespace mlir;
using namespace sparse_attn;

LogicalResult SampleLshOp::verify() {
  constexpr int64_t kMostTables = 4096, kMostBits = 32;
  auto tables = static_cast<int64_t>(getTables()), bits = static_cast<int64_t>(getBits());
  auto matches = static_cast<int64_t>(getMinMatches());
  // (sample_lsh_c1)
  if (tables < 1 || tables > kMostTables)
    return emitOpError("tables must be in [1, 4096], got ")
           << tables << "; it is the number of hash tables";
  // (sample_lsh_c2)
  if (bits < 1 || bits > kMostBits)
    return emitOpError("bits must be in [1, 32], got ")
           << bits << "; it is the number of sign bits of a table";
  // (sample_lsh_c3)
  if (matches < 1 || matches > 2 || matches > tables)
    return emitOpError("min_matches must be 1 or 2, and not above the number of tables (")
           << tables << "), got " << matches;
  // (sample_lsh_c4)
  if (getMean() && getCenter() == Center::None)
    return emitOpError(
        "has a mean that center = none does not subtract; leave it out, or "
        "center keys or both");
  // (sample_lsh_c6); (sample_lsh_c5) is for the attention to ask
  return verifyMaskOperands(*this);
}

SmallVector<WeightSize> SampleLshOp::getWeightSizes(int64_t headDim) {
  if (!getMean())
    return {};
  return {{*this, getMean(), "mean", 2, headDim, "the numbers of a row"}};
}

ArrayRef<TensorSpec> SampleLshOp::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {
      {"mean", 32, true, true, 3, {Axis::BatchOrOne, Axis::KvHeads, Axis::Free}}};
  return specs;
}

//===----------------------------------------------------------------------===//
// Probabilities
//===----------------------------------------------------------------------===//

/// 1 - (1-a)^L and 1 - (1-a)^L - L a (1-a)^(L-1), without the cancellation of a small
/// `a`: the probability that no table agrees is exp(L log(1-a)).
double sparse_attn::computeMatchProbability(double cosine, int64_t bits, int64_t tables,
                                            int64_t minMatches) {
  double similarity = 1 - std::acos(std::clamp(cosine, -1.0, 1.0)) / M_PI;
  double a = std::pow(similarity, bits);
  if (a == 1)
    return 1;
  double some = -std::expm1(static_cast<double>(tables) * std::log1p(-a));
  if (minMatches == 1)
    return some;
  double one = static_cast<double>(tables) * a *
               std::exp(static_cast<double>(tables - 1) * std::log1p(-a));
  return some - one;
}

//===----------------------------------------------------------------------===//
// Meaning
//===----------------------------------------------------------------------===//

namespace {
/// The keys of a key/value head as they are hashed.
struct HashedKeys {
  std::vector<double> mean; ///< subtracted from keys
  std::vector<std::vector<double>> vectors;
  std::vector<double> norms;
  std::vector<std::vector<bool>> bits;
};

/// The draws of one row.
struct LshRow {
  std::vector<double> probability;
  std::vector<bool> drawn;
};
} // namespace

using Directions = std::vector<std::vector<double>>;

static std::vector<bool> computeBits(const Directions &directions, ArrayRef<double> x) {
  std::vector<bool> bits;
  for (const std::vector<double> &direction : directions)
    bits.push_back(dot(x, direction) >= 0);
  return bits;
}

/// The mean of the keys below n, or the one that is given.
static std::vector<double> computeMean(SampleLshOp op, int64_t b, int64_t keyHead,
                                       size_t width, Evaluator &evaluator) {
  std::vector<double> mean(width, 0.0);
  if (op.getCenter() == Center::None)
    return mean;
  if (Value given = op.getMean()) {
    for (auto [d, x] : llvm::enumerate(mean))
      x = evaluator.at(given, {b, keyHead, static_cast<int64_t>(d)});
    return mean;
  }
  int64_t keys = evaluator.keys(b);
  for (int64_t j = 0; j < keys; ++j)
    for (auto [sum, x] : llvm::zip_equal(mean, evaluator.attention().key(b, keyHead, j)))
      sum += x;
  for (double &x : mean)
    x /= static_cast<double>(keys);
  return mean;
}

static HashedKeys computeKeys(SampleLshOp op, int64_t b, int64_t keyHead, size_t width,
                              const Directions &directions, Evaluator &evaluator) {
  HashedKeys keys;
  keys.mean = computeMean(op, b, keyHead, width, evaluator);
  double longest = 0;
  for (int64_t j = 0; j < evaluator.keys(b); ++j) {
    ArrayRef<double> key = evaluator.attention().key(b, keyHead, j);
    std::vector<double> &vector = keys.vectors.emplace_back(key.begin(), key.end());
    for (auto [x, mean] : llvm::zip_equal(vector, keys.mean))
      x -= mean;
    keys.norms.push_back(std::sqrt(dot(vector, vector)));
    longest = std::max(longest, keys.norms.back());
  }
  if (op.getNormalize() == Normalize::SimpleLsh)
    for (auto [vector, norm] : llvm::zip_equal(keys.vectors, keys.norms)) {
      for (double &x : vector)
        x = longest > 0 ? x / longest : 0;
      double share = longest > 0 ? norm / longest : 0;
      vector.push_back(std::sqrt(std::max(0.0, 1 - share * share)));
      norm = 1; // of the vector with its new coordinate
    }
  for (const std::vector<double> &vector : keys.vectors)
    keys.bits.push_back(computeBits(directions, vector));
  return keys;
}

/// cos of two vectors; one without a direction is at a right angle to all others.
static double computeCosine(ArrayRef<double> x, double xNorm, ArrayRef<double> y,
                            double yNorm) {
  if (xNorm == 0 || yNorm == 0)
    return xNorm == yNorm ? 1 : 0;
  return dot(x, y) / (xNorm * yNorm);
}

static int64_t countMatches(const std::vector<bool> &a, const std::vector<bool> &b,
                            int64_t bits) {
  int64_t matches = 0;
  for (auto first = a.begin(), other = b.begin(); first != a.end();
       first += bits, other += bits)
    matches += std::equal(first, first + bits, other);
  return matches;
}

static const LshRow &draw(SampleLshOp op, const Pair &pair, Evaluator &evaluator) {
  int64_t plane = pair.b * evaluator.heads() + pair.h;
  return evaluator.latest<LshRow>(op, getRowKey(plane, pair.i), [&] {
    AttentionValues &values = evaluator.attention();
    int64_t keyHead = evaluator.keyHead(pair.h);
    ArrayRef<double> row = values.query(pair.b, pair.h, pair.i);
    std::vector<double> q(row.begin(), row.end());
    size_t width = q.size(), extra = op.getNormalize() == Normalize::SimpleLsh;
    const auto &directions = evaluator.derived<Directions>(op, -1, [&] {
      return drawDirections(op.getSeed(), op.getTables() * op.getBits(), width + extra,
                            Stream::Lsh);
    });
    const auto &keys =
        evaluator.derived<HashedKeys>(op, pair.b * values.keyHeads() + keyHead, [&] {
          return computeKeys(op, pair.b, keyHead, width, directions, evaluator);
        });
    if (op.getCenter() == Center::Both)
      for (auto [x, mean] : llvm::zip_equal(q, keys.mean))
        x -= mean;
    q.resize(width + extra); // the new coordinate of a query is 0
    double norm = std::sqrt(dot(q, q));
    std::vector<bool> bits = computeBits(directions, q);
    auto minMatches = static_cast<int64_t>(op.getMinMatches());
    LshRow drawn;
    for (auto [vector, keyNorm, keyBits] :
         llvm::zip_equal(keys.vectors, keys.norms, keys.bits)) {
      double probability =
          computeMatchProbability(computeCosine(q, norm, vector, keyNorm), op.getBits(),
                                  op.getTables(), minMatches);
      // A NaN says nothing about how often a key is drawn: it is not.
      bool isKnown = probability > 0;
      drawn.probability.push_back(isKnown ? probability : 0);
      drawn.drawn.push_back(isKnown &&
                            countMatches(bits, keyBits, op.getBits()) >= minMatches);
    }
    return drawn;
  });
}

double SampleLshOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  if (evaluator.evaluate(getCandidates(), pair) != 1)
    return 0;
  return draw(*this, pair, evaluator).probability[pair.j];
}

bool SampleLshOp::isDrawn(const Pair &pair, Evaluator &evaluator) {
  return evaluator.evaluate(getCandidates(), pair) == 1 &&
         draw(*this, pair, evaluator).drawn[pair.j];
}

TileClass SampleLshOp::buildTileClass(TileBuilder &builder) {
  return buildCandidateClass(getCandidates(), builder);
}
Binding SampleLshOp::getOwnBinding() { return Binding::Run; }
bool SampleLshOp::isPerHead() { return true; }
bool SampleLshOp::isPerBatch() { return true; }
