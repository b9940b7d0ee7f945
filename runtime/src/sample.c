/*===- sample.c - budgets and probabilities of draws ----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "sample.h"
#include "internal.h"

#include <math.h>

static const double kPi = 3.14159265358979323846;

/*===--- sample.adaptive --------------------------------------------------===*/

int64_t sa_compute_budget(const sa_adaptive_rule *rule, int64_t n, int64_t m,
                          double deviation, double denominator) {
  double count = (double)n;
  double error = rule->z * deviation * count / (rule->epsilon * denominator);
  double draws = error * error;
  if (rule->finite_population)
    draws = draws * count / (count + draws);
  if (!(draws < count)) /* a NaN, too */
    return n;
  return sa_max((int64_t)ceil(draws), m);
}

static float largest_of(float top, const float *scores, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    top = scores[i] > top ? scores[i] : top;
  return top;
}

/* Where all scores are -infinity: NaN, which takes all candidates. */
static double weigh(float score, float top) { return exp((double)score - top); }

static double sum_weights(const float *scores, int64_t count, float top) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += weigh(scores[i], top);
  return sum;
}

int64_t sa_choose_budget(const sa_adaptive_rule *rule, int64_t n, const float *sample,
                         int64_t m, const float *beside, int64_t beside_count) {
  if (n < 2)
    return n;
  float top = largest_of(largest_of(-INFINITY, sample, m), beside, beside_count);
  double mean = sum_weights(sample, m, top) / (double)m, squares = 0;
  for (int64_t i = 0; i < m; ++i) {
    double difference = weigh(sample[i], top) - mean;
    squares += difference * difference;
  }
  double denominator = sum_weights(beside, beside_count, top) + (double)n * mean;
  return sa_compute_budget(rule, n, m, sqrt(squares / (double)(m - 1)), denominator);
}

/*===--- sample.lsh -------------------------------------------------------===*/

/* 1 - (1-a)^L and 1 - (1-a)^L - L a (1-a)^(L-1), without the cancellation of a small
 * `a`: the probability that no table agrees is exp(L log(1-a)). */
double sa_match_probability(double cosine, int64_t bits, int64_t tables,
                            int64_t min_matches) {
  double clamped = cosine < -1 ? -1 : cosine > 1 ? 1 : cosine; /* a NaN stays */
  double a = pow(1 - acos(clamped) / kPi, (double)bits), log_of_rest = log1p(-a);
  double none = (double)tables * log_of_rest;
  if (min_matches == 1)
    return -expm1(none);
  double one = (double)tables * a * exp((double)(tables - 1) * log_of_rest);
  return -expm1(none) - one;
}
