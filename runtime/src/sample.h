/*===- sample.h - budgets and probabilities of draws ----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * docs/semantics.md, section 6, in double. Nothing here fails or allocates.
 *
 *===----------------------------------------------------------------------===*/

#ifndef SPARSE_ATTN_RUNTIME_SAMPLE_H
#define SPARSE_ATTN_RUNTIME_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

/*===--- sample.adaptive --------------------------------------------------===*/

/* What does not depend on the row. */
typedef struct sa_adaptive_rule {
  double z;       /* normal quantile that delta and the tail ask for */
  double epsilon; /* error allowed, as a share of the denominator */
  bool finite_population;
} sa_adaptive_rule;

/* How many of n candidates to draw, from the scores of the first sample of m and of the
 * keys beside them: in [m, n], and n where infinite or NaN scores hide how many it takes.
 * All of fewer than two. m = min(max(2, sa_count_draws(base)), n). */
int64_t sa_choose_budget(const sa_adaptive_rule *rule, int64_t n, const float *sample,
                         int64_t m, const float *beside, int64_t beside_count);

/* The same from what the sample has shown: its standard deviation, and the denominator
 * that it makes expect. n >= 2. */
int64_t sa_compute_budget(const sa_adaptive_rule *rule, int64_t n, int64_t m,
                          double deviation, double denominator);

/*===--- sample.lsh -------------------------------------------------------===*/

/* The probability that at least `min_matches`, 1 or 2, of `tables` tables agree on all of
 * `bits` sign bits, for vectors of this cosine. */
double sa_match_probability(double cosine, int64_t bits, int64_t tables,
                            int64_t min_matches);

#endif /* SPARSE_ATTN_RUNTIME_SAMPLE_H */
