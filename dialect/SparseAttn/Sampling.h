//===- Sampling.h - probabilities and budgets of draws ---------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_DIALECT_SAMPLING_H
#define SPARSE_ATTN_DIALECT_SAMPLING_H

#include "dialect/SparseAttn/Selecting.h"

namespace sparse_attn {

/// The probability that at least `minMatches` (1 or 2) of `tables` tables agree on all
/// of `bits` sign bits, for vectors of this cosine.
double computeMatchProbability(double cosine, int64_t bits, int64_t tables,
                               int64_t minMatches);

/// The z with P(Z <= z) = probability for a standard normal Z.
double computeNormalQuantile(double probability);

/// What sample.adaptive knows when it compiles.
struct AdaptiveRule {
  double z;       ///< quantile that delta and the tail ask for
  double epsilon; ///< error allowed, as a share of the denominator
  bool finitePopulation;
};

AdaptiveRule makeAdaptiveRule(double epsilon, double delta, bool oneSided,
                              bool finitePopulation);

/// Draws from n >= 2 candidates, of which m were a first sample with this standard
/// deviation: in [m, n], and n where an infinity or NaN hides how many it takes.
int64_t computeBudget(const AdaptiveRule &rule, int64_t n, int64_t m, double deviation,
                      double denominator);

/// The same from the scores of the n candidates, of which `permute` draws the first m,
/// and of the keys beside them.
int64_t chooseBudget(const AdaptiveRule &rule, const KeyedPermutation &permute, int64_t m,
                     llvm::ArrayRef<double> scores, llvm::ArrayRef<double> beside);

} // namespace sparse_attn

#endif // SPARSE_ATTN_DIALECT_SAMPLING_H
