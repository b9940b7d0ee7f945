//===- ScoresOfTiles.cpp - scores of tiles of rows and blocks of keys -----===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// pooled and antidiagonal, in float64.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/Selecting.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace sparse_attn;

/// `of(block begin, block end)` for every block of keys below n.
template <typename Of>
static std::vector<double> forEachBlock(int64_t keys, int64_t block, Of of) {
  std::vector<double> scores;
  for (int64_t j = 0; j < keys; j += block)
    scores.push_back(of(j, std::min(j + block, keys)));
  return scores;
}

//===----------------------------------------------------------------------===//
// score.pooled
//===----------------------------------------------------------------------===//

LogicalResult ScorePooledOp::verify() {
  // (score_pooled_c1)
  if (!getQueryGate() != !getKeyGate())
    return emitOpError("needs a gate for queries and one for keys, or none; the two "
                       "project to one space");
  // (score_pooled_c2)
  if (getQueryGate() && !getWidth())
    return emitOpError("gates need their width, the numbers that a mean is projected to; "
                       "write width = 32");
  if (!getQueryGate() && getWidth())
    return emitOpError("has a width but no gates; leave the width out");
  constexpr uint64_t kMostWidth = 1024;
  if (getWidth() && (*getWidth() < 1 || *getWidth() > kMostWidth))
    return emitOpError("width must be in [1, 1024], got ")
           << static_cast<int64_t>(*getWidth())
           << "; it is the numbers that a mean is projected to";
  return success(); // (score_pooled_c3) is for the attention to ask
}

Granularity ScorePooledOp::getGranularity() { return Granularity::Tile; }

SmallVector<WeightSize> ScorePooledOp::getWeightSizes(int64_t headDim) {
  if (!getQueryGate() || !getWidth())
    return {};
  auto width = static_cast<int64_t>(*getWidth());
  constexpr StringLiteral kWidth = "their width";
  return {{*this, getQueryGate(), "query_gate", 1, headDim, "the numbers of a row"},
          {*this, getQueryGate(), "query_gate", 2, width, kWidth},
          {*this, getKeyGate(), "key_gate", 1, headDim, "the numbers of a row"},
          {*this, getKeyGate(), "key_gate", 2, width, kWidth}};
}

ArrayRef<TensorSpec> ScorePooledOp::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {
      {"query_gate", 32, true, true, 3, {Axis::HeadsOrOne, Axis::Free, Axis::Free}},
      {"key_gate", 32, true, true, 3, {Axis::KvHeads, Axis::Free, Axis::Free}}};
  return specs;
}

/// The mean of rows [begin, end), through the matrix gate[h] where there is one.
template <typename RowOf>
static std::vector<double> pool(int64_t begin, int64_t end, RowOf rowOf, Value gate,
                                int64_t h, Evaluator &evaluator) {
  std::vector<double> mean(rowOf(begin).size(), 0.0);
  for (int64_t row = begin; row < end; ++row)
    for (auto [sum, x] : llvm::zip_equal(mean, rowOf(row)))
      sum += x;
  for (double &x : mean)
    x /= static_cast<double>(end - begin);
  if (!gate)
    return mean;
  std::vector<double> projected(evaluator.shape(gate)[2], 0.0);
  for (auto [d, x] : llvm::enumerate(mean))
    for (auto [e, sum] : llvm::enumerate(projected))
      sum +=
          x * evaluator.at(gate, {h, static_cast<int64_t>(d), static_cast<int64_t>(e)});
  return projected;
}

std::vector<double> ScorePooledOp::evaluate(const QueryUnit &tile, int64_t block,
                                            Evaluator &evaluator) {
  AttentionValues &values = evaluator.attention();
  int64_t keyHead = evaluator.keyHead(tile.h);
  auto queryOf = [&](int64_t i) { return values.query(tile.b, tile.h, i); };
  auto keyOf = [&](int64_t j) { return values.key(tile.b, keyHead, j); };
  std::vector<double> query =
      pool(tile.i0, tile.i1, queryOf, getQueryGate(), tile.h, evaluator);
  return forEachBlock(evaluator.keys(tile.b), block, [&](int64_t begin, int64_t end) {
    return dot(query, pool(begin, end, keyOf, getKeyGate(), keyHead, evaluator));
  });
}

//===----------------------------------------------------------------------===//
// score.antidiagonal
//===----------------------------------------------------------------------===//

LogicalResult ScoreAntidiagonalOp::verify() {
  // (score_antidiagonal_c1)
  return verifyParameter(*this, "stride", static_cast<int64_t>(getStride()), 1,
                         "stride = 1 sums every product of a tile");
}

Granularity ScoreAntidiagonalOp::getGranularity() { return Granularity::Tile; }

std::vector<double> ScoreAntidiagonalOp::evaluate(const QueryUnit &tile, int64_t block,
                                                  Evaluator &evaluator) {
  AttentionValues &values = evaluator.attention();
  int64_t keyHead = evaluator.keyHead(tile.h), stride = getStride();
  return forEachBlock(evaluator.keys(tile.b), block, [&](int64_t begin, int64_t end) {
    double sum = 0;
    for (int64_t i = tile.i0; i < tile.i1; ++i)
      for (int64_t j = begin; j < end; ++j)
        if ((i - tile.i0 + j - begin) % stride == stride - 1)
          sum += dot(values.query(tile.b, tile.h, i), values.key(tile.b, keyHead, j));
    return sum;
  });
}
