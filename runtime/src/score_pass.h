/*===- score_pass.h - passes over the scores of units ---------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * What the choices of choose_keys.h are made of: 64 scores become the bits of a word
 * without a branch, and only the few scores that matter are looked at one by one.
 *
 *===----------------------------------------------------------------------===*/

#ifndef SPARSE_ATTN_RUNTIME_SCORE_PASS_H
#define SPARSE_ATTN_RUNTIME_SCORE_PASS_H

#include "real.h"
#include "words.h"

/* Scores as unsigned numbers in the same order: NaN is 0, -0 is 0's. */
enum { SA_RANK_NAN = 0, SA_RANK_LEAST = 0x007fffff /* of -infinity */ };
#define SA_RANK_LARGEST 0xff800000u /* of infinity */

static inline uint32_t sa_rank_of(float score) {
  uint32_t bits = sa_bits_of(score), negative = bits >> 31;
  uint32_t rank = bits ^ (-negative | 0x80000000u);
  rank += rank == 0x7fffffffu; /* -0 */
  return (bits & 0x7fffffffu) > 0x7f800000u ? SA_RANK_NAN : rank;
}

/* The score of a rank in [SA_RANK_LEAST - 1, SA_RANK_LARGEST + 1]: a NaN at both ends. */
static inline float sa_score_of(uint32_t rank) {
  return sa_float_of(rank ^ (-(rank < 0x80000000u) | 0x80000000u));
}

/* Unit number `i` of a sample of [0, units): scattered, and the same in every call. */
static inline int64_t sa_sample_unit(uint32_t i, int64_t units) {
  i *= 0x9e3779b1u;
  i ^= i >> 15;
  i *= 0x85ebca77u;
  i ^= i >> 13;
  return (int64_t)(i * (uint64_t)units >> 32);
}

/* Sets in `marked` the candidates that score at least `least`, and returns how many
 * there are; a NaN never does. */
int64_t sa_mark_scores(const float *scores, const uint64_t *candidates, int64_t units,
                       float least, uint64_t *marked);

/* The bits of word w of what sa_mark_scores marks, were all units candidates. */
uint64_t sa_mark_word(const float *scores, int64_t units, int64_t w, float least);

/* Ranks between two others, which it does not hold: from SA_RANK_LEAST - 1 to
 * SA_RANK_LARGEST + 1. */
typedef struct sa_rank_range {
  uint32_t after, before;
} sa_rank_range;

/* How many candidates are in a range and above it. */
typedef struct sa_band {
  int64_t count, above;
} sa_band;

/* Lists the ranks of the candidates in `range`, in ascending order of the unit. */
sa_band sa_list_band(const float *scores, const uint64_t *candidates, int64_t units,
                     sa_rank_range range, uint32_t *ranks);

#endif /* SPARSE_ATTN_RUNTIME_SCORE_PASS_H */
