/*===- score_pass.c - passes over the scores of units ---------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "score_pass.h"
#include "lanes.h"

static inline sa_lane_bits load_at_least(const float *scores, sa_lanes least) {
  return (sa_lane_bits)(sa_load_lanes(scores) >= least);
}

/* 32 scores: bit 4 i + l is in lane l. */
static inline sa_lane_bits mark_half(const float *scores, sa_lanes least) {
  sa_lane_bits marked = {0}, bit = {1, 2, 4, 8};
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    marked |= load_at_least(scores + 4 * i, least) & bit;
    bit <<= 4;
  }
  return marked;
}

/* Which of 64 scores are at least `least`. */
static inline uint64_t mark_scores(const float *scores, sa_lanes least) {
  sa_lane_bits low = mark_half(scores, least), high = mark_half(scores + 32, least);
  sa_lane_bits even = __builtin_shufflevector(low, high, 0, 4, 1, 5);
  sa_lane_bits odd = __builtin_shufflevector(low, high, 2, 6, 3, 7);
  sa_lane_words halves = (sa_lane_words)(even | odd);
  return halves[0] | halves[1];
}

int64_t sa_mark_scores(const float *scores, const uint64_t *candidates, int64_t units,
                       float least, uint64_t *marked) {
  float tail[SA_WORD_BITS];
  int64_t count = 0;
  for (int64_t w = 0; w < sa_word_count(units); ++w) {
    marked[w] = 0;
    if (!candidates[w])
      continue;
    const float *of_word = sa_word_scores(scores, units, w, tail);
    marked[w] = candidates[w] & mark_scores(of_word, sa_fill_lanes(least));
    count += sa_count_bits(marked[w]);
  }
  return count;
}

uint64_t sa_mark_word(const float *scores, int64_t units, int64_t w, float least) {
  float tail[SA_WORD_BITS];
  return mark_scores(sa_word_scores(scores, units, w, tail), sa_fill_lanes(least));
}

/* Makes ranks of the bits of scores, none of which is a NaN. */
static void rank_scores(uint32_t *bits, int64_t count) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    sa_lane_bits four;
    memcpy(&four, bits + i, sizeof(four));
    four ^= -(four >> 31) | 0x80000000u;
    four -= (sa_lane_bits)(four == 0x7fffffffu); /* -0: the mask is -1 */
    memcpy(bits + i, &four, sizeof(four));
  }
  for (; i < count; ++i)
    bits[i] = sa_rank_of(sa_float_of(bits[i]));
}

sa_band sa_list_band(const float *scores, const uint64_t *candidates, int64_t units,
                     sa_rank_range range, uint32_t *ranks) {
  sa_lanes least = sa_fill_lanes(sa_score_of(range.after + 1)),
           past = sa_fill_lanes(sa_score_of(range.before));
  float tail[SA_WORD_BITS];
  sa_band band = {0, 0};
  for (int64_t w = 0; w < sa_word_count(units); ++w) {
    if (!candidates[w])
      continue;
    const float *of_word = sa_word_scores(scores, units, w, tail);
    uint64_t above = candidates[w] & mark_scores(of_word, past);
    uint64_t within = candidates[w] & mark_scores(of_word, least) & ~above;
    band.above += sa_count_bits(above);
    for (; within; within &= within - 1)
      ranks[band.count++] = sa_bits_of(of_word[sa_lowest_bit(within)]);
  }
  rank_scores(ranks, band.count);
  return band;
}
