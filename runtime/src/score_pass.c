/*===- score_pass.c - passes over the scores of units ---------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "score_pass.h"

#include <math.h>

typedef float lanes __attribute__((vector_size(16)));
typedef uint32_t lane_bits __attribute__((vector_size(16)));
typedef uint64_t lane_words __attribute__((vector_size(16)));

static inline lane_bits load_at_least(const float *scores, lanes least) {
  lanes four;
  memcpy(&four, scores, sizeof(four));
  return (lane_bits)(four >= least);
}

/* 32 scores: bit 4 i + l is in lane l. */
static inline lane_bits mark_half(const float *scores, lanes least) {
  lane_bits marked = {0}, bit = {1, 2, 4, 8};
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    marked |= load_at_least(scores + 4 * i, least) & bit;
    bit <<= 4;
  }
  return marked;
}

/* Which of 64 scores are at least `least`. */
static inline uint64_t mark_scores(const float *scores, lanes least) {
  lane_bits low = mark_half(scores, least), high = mark_half(scores + 32, least);
  lane_bits even = __builtin_shufflevector(low, high, 0, 4, 1, 5);
  lane_bits odd = __builtin_shufflevector(low, high, 2, 6, 3, 7);
  lane_words halves = (lane_words)(even | odd);
  return halves[0] | halves[1];
}

static inline lanes fill(float value) { return (lanes){value, value, value, value}; }

/* The scores of word w: in place, or in `tail` where some of the 64 do not exist. */
static inline const float *scores_of_word(const float *scores, int64_t units, int64_t w,
                                          float tail[SA_WORD_BITS]) {
  int64_t first = w * SA_WORD_BITS, count = units - first;
  if (count >= SA_WORD_BITS)
    return scores + first;
  for (int64_t i = 0; i < SA_WORD_BITS; ++i)
    tail[i] = i < count ? scores[first + i] : NAN;
  return tail;
}

int64_t sa_mark_scores(const float *scores, const uint64_t *candidates, int64_t units,
                       float least, uint64_t *marked) {
  float tail[SA_WORD_BITS];
  int64_t count = 0;
  for (int64_t w = 0; w < sa_word_count(units); ++w) {
    marked[w] = 0;
    if (!candidates[w])
      continue;
    const float *of_word = scores_of_word(scores, units, w, tail);
    marked[w] = candidates[w] & mark_scores(of_word, fill(least));
    count += sa_count_bits(marked[w]);
  }
  return count;
}

uint64_t sa_mark_word(const float *scores, int64_t units, int64_t w, float least) {
  float tail[SA_WORD_BITS];
  return mark_scores(scores_of_word(scores, units, w, tail), fill(least));
}

/* Makes ranks of the bits of scores, none of which is a NaN. */
static void rank_scores(uint32_t *bits, int64_t count) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    lane_bits four;
    memcpy(&four, bits + i, sizeof(four));
    four ^= -(four >> 31) | 0x80000000u;
    four -= (lane_bits)(four == 0x7fffffffu); /* -0: the mask is -1 */
    memcpy(bits + i, &four, sizeof(four));
  }
  for (; i < count; ++i)
    bits[i] = sa_rank_of(sa_float_of(bits[i]));
}

sa_band sa_list_band(const float *scores, const uint64_t *candidates, int64_t units,
                     sa_rank_range range, uint32_t *ranks) {
  lanes least = fill(sa_score_of(range.after + 1)),
        past = fill(sa_score_of(range.before));
  float tail[SA_WORD_BITS];
  sa_band band = {0, 0};
  for (int64_t w = 0; w < sa_word_count(units); ++w) {
    if (!candidates[w])
      continue;
    const float *of_word = scores_of_word(scores, units, w, tail);
    uint64_t above = candidates[w] & mark_scores(of_word, past);
    uint64_t within = candidates[w] & mark_scores(of_word, least) & ~above;
    band.above += sa_count_bits(above);
    for (; within; within &= within - 1)
      ranks[band.count++] = sa_bits_of(of_word[sa_lowest_bit(within)]);
  }
  rank_scores(ranks, band.count);
  return band;
}
