//===- Selections.cpp - what the selections keep --------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// top_k, top_p and threshold: what is chosen from the scores of candidate units.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/Selecting.h"
#include <cmath>

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// What all of them share
//===----------------------------------------------------------------------===//

static Sharing getShareOf(Value score) {
  return cast<ScoreOpInterface>(score.getDefiningOp()).getShare();
}

/// `choose(units)` picks from the scores of one query unit's candidates.
template <typename Op, typename Choose>
static double evaluateChoice(Op op, const Pair &pair, Evaluator &evaluator,
                             Choose choose) {
  return isChosen(op, pair, evaluator, [&](const QueryUnit &unit) {
    return choose(computeUnitScores(op, unit, evaluator));
  });
}

//===----------------------------------------------------------------------===//
// top_k
//===----------------------------------------------------------------------===//

LogicalResult TopKOp::verify() {
  // (top_k_c1)
  int given = getK().has_value() + getFraction().has_value();
  if (given != 1)
    return emitOpError("needs exactly one of k and fraction, got ")
           << given
           << "; write k = 64 for a number of units, fraction = 0.1 for a tenth of them";
  // (top_k_c2)
  if (getK() && failed(verifyParameter(*this, "k", static_cast<int64_t>(*getK()), 1,
                                       "use sparse_attn.none to keep nothing")))
    return failure();
  // (top_k_c3)
  if (getFraction() &&
      failed(verifyShare(*this, "fraction", *getFraction(), /*withZero=*/false,
                         "it is a share of the key units, not a percentage")))
    return failure();
  // (top_k_c4), (top_k_c5), (top_k_c6)
  return failure(failed(verifyBlockQ(*this)) || failed(verifyBlockK(*this)) ||
                 failed(verifyMaskOperands(*this)));
}

double TopKOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  return evaluateChoice(*this, pair, evaluator, [&](const UnitScores &units) {
    std::vector<int64_t> order = rankUnits(units);
    double all = units.candidate.size();
    size_t k =
        getK() ? *getK() : static_cast<size_t>(getFraction()->convertToDouble() * all);
    llvm::BitVector chosen(units.candidate.size());
    for (size_t rank = 0; rank < std::min(k, order.size()); ++rank)
      chosen.set(order[rank]);
    return chosen;
  });
}

TileClass TopKOp::buildTileClass(TileBuilder &builder) {
  return buildCandidateClass(getCandidates(), builder);
}
Binding TopKOp::getOwnBinding() { return Binding::Run; }
bool TopKOp::isPerHead() { return true; }
bool TopKOp::isPerBatch() { return true; }
Sharing TopKOp::getSharing() { return getShareOf(getScore()); }

//===----------------------------------------------------------------------===//
// top_p
//===----------------------------------------------------------------------===//

LogicalResult TopPOp::verify() {
  // (top_p_c1)
  if (failed(verifyShare(*this, "p", getP(), /*withZero=*/true,
                         "it is a share of the softmax, not a percentage")))
    return failure();
  // (top_p_c2), (top_p_c3), (top_p_c4)
  return failure(failed(verifyBlockQ(*this)) || failed(verifyBlockK(*this)) ||
                 failed(verifyMaskOperands(*this)));
}

/// The units of the shortest prefix of `order` whose mass is above `p`, and the ties of
/// its last score. The share is compared as mass > p * total, so that p = 1 takes all
/// whatever the rounding.
static llvm::BitVector chooseMass(const UnitScores &units, double p) {
  std::vector<int64_t> order = rankUnits(units);
  auto massOf = [&](int64_t u) {
    double best = units.score[order.front()], score = units.score[u];
    if (std::isnan(score))
      return 0.0;
    return score == best ? 1 : std::exp(score - best); // equal infinities, too
  };
  double total = 0;
  for (int64_t u : order)
    total += massOf(u);
  llvm::BitVector chosen(units.candidate.size());
  double mass = 0;
  for (auto [rank, u] : llvm::enumerate(order)) {
    bool isTie = rank > 0 && units.score[u] == units.score[order[rank - 1]];
    if (mass > p * total && !isTie)
      break;
    chosen.set(u);
    mass += massOf(u);
  }
  return chosen;
}

double TopPOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  return evaluateChoice(*this, pair, evaluator, [&](const UnitScores &units) {
    return chooseMass(units, getP().convertToDouble());
  });
}

TileClass TopPOp::buildTileClass(TileBuilder &builder) {
  return buildCandidateClass(getCandidates(), builder);
}
Binding TopPOp::getOwnBinding() { return Binding::Run; }
bool TopPOp::isPerHead() { return true; }
bool TopPOp::isPerBatch() { return true; }
Sharing TopPOp::getSharing() { return getShareOf(getScore()); }

//===----------------------------------------------------------------------===//
// threshold
//===----------------------------------------------------------------------===//

LogicalResult ThresholdOp::verify() {
  // (threshold_c1)
  if (getT().isNaN())
    return emitOpError("t must be a number; nothing is at least NaN");
  // (threshold_c2), (threshold_c3), (threshold_c4)
  return failure(failed(verifyBlockQ(*this)) || failed(verifyBlockK(*this)) ||
                 failed(verifyMaskOperands(*this)));
}

double ThresholdOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  return evaluateChoice(*this, pair, evaluator, [&](const UnitScores &units) {
    double least = getT().convertToDouble();
    llvm::BitVector chosen(units.candidate.size());
    for (unsigned u : units.candidate.set_bits())
      if (units.score[u] >= least)
        chosen.set(u);
    return chosen;
  });
}

TileClass ThresholdOp::buildTileClass(TileBuilder &builder) {
  return buildCandidateClass(getCandidates(), builder);
}
Binding ThresholdOp::getOwnBinding() { return Binding::Run; }
bool ThresholdOp::isPerHead() { return true; }
bool ThresholdOp::isPerBatch() { return true; }
Sharing ThresholdOp::getSharing() { return getShareOf(getScore()); }
