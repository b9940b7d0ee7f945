/*===- choose_keys.c - which units a selection takes ----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * top_k: a sample of the candidates tells between which two scores the k-th one most
 * likely is. One pass counts the candidates above that range and lists those in it, a
 * radix selection finds the k-th score among these, and a second pass marks what scores
 * as much. Where the sample has misled, the scores on the other side are listed.
 *
 *===----------------------------------------------------------------------===*/

#include "choose_keys.h"
#include "choose_rank.h"
#include "internal.h"

#include <math.h>

/* Below so many candidates, or this share of the units, all are listed. */
enum { kFewCandidates = 4096, kFewOfUnits = 8 };

/* Candidates to draw, and room for more: the number varies by its square root, 32. Two
 * of these fit where a list of kFewCandidates does. */
enum { kSample = 1024, kSampleRoom = kFewCandidates / 2 };

/* How far the rank in the sample may be from that of the k-th, in standard deviations:
 * each one widens the list by 2 %, and 3 fail in 1 of 370 cases. */
static const double kDeviations = 3;

size_t sa_choose_room_bytes(int64_t units) {
  return sizeof(sa_choose_room) + (size_t)units * sizeof(uint32_t);
}

/*===--- top_k ------------------------------------------------------------===*/

/* The ranks of about kSample candidates, `count` of which there are; the same in every
 * call. Returns how many. */
static int64_t draw_sample(const float *scores, const uint64_t *candidates, int64_t units,
                           int64_t count, uint32_t *ranks) {
  int64_t drawn = 0, tries = kSample * units / count;
  for (int64_t i = 0; i < tries && drawn < kSampleRoom; ++i) {
    int64_t unit = sa_sample_unit((uint32_t)i, units);
    ranks[drawn] = sa_rank_of(scores[unit]);
    drawn += candidates[unit / SA_WORD_BITS] >> unit % SA_WORD_BITS & 1;
  }
  return drawn;
}

/* The rank of sample number `number` from the best; one below all numbers past the last
 * one, and for a NaN. Loses the sample. */
static uint32_t find_in_sample(uint32_t *ranks, int64_t count, double number,
                               uint32_t *counts) {
  if (number < 0)
    return SA_RANK_LARGEST + 1;
  if (number >= (double)count)
    return SA_RANK_LEAST - 1;
  uint32_t rank = sa_find_rank(ranks, count, (int64_t)number, counts);
  return rank < SA_RANK_LEAST ? SA_RANK_LEAST - 1 : rank;
}

/* Where the k-th best of `count` candidates is likely to be. */
static sa_rank_range guess_range(const float *scores, const uint64_t *candidates,
                                 int64_t units, int64_t count, int64_t k, uint32_t *ranks,
                                 uint32_t *counts) {
  sa_rank_range range = {SA_RANK_LEAST - 1, SA_RANK_LARGEST + 1};
  if (count < kFewCandidates || count < units / kFewOfUnits)
    return range;
  int64_t drawn = draw_sample(scores, candidates, units, count, ranks);
  double share = (double)k / (double)count, middle = share * (double)drawn;
  double margin = kDeviations * sqrt(middle * (1 - share)) + 1;
  uint32_t *copy = memcpy(ranks + kSampleRoom, ranks, (size_t)drawn * sizeof(*ranks));
  range.before = find_in_sample(copy, drawn, middle - margin, counts);
  range.after = find_in_sample(ranks, drawn, middle + margin, counts);
  return range;
}

/* Chooses all candidates that are numbers, and the first of the others up to k. */
static void choose_nans(const float *scores, const uint64_t *candidates, int64_t units,
                        int64_t k, uint64_t *chosen) {
  k -= sa_mark_scores(scores, candidates, units, -INFINITY, chosen);
  for (int64_t w = 0; k > 0; ++w) {
    uint64_t nans = sa_lowest_bits(candidates[w] & ~chosen[w], k);
    chosen[w] |= nans;
    k -= sa_count_bits(nans);
  }
}

/* Chooses the first k of the candidates that score as `rank` or better; false where
 * the k-th best has another score. */
static bool choose_down_to(const float *scores, const uint64_t *candidates, int64_t units,
                           uint32_t rank, int64_t k, uint64_t *chosen) {
  int64_t marked = sa_mark_scores(scores, candidates, units, sa_score_of(rank), chosen);
  int64_t spare = marked - k;
  for (int64_t w = sa_word_count(units) - 1; spare > 0 && w >= 0; --w) {
    if (!chosen[w])
      continue;
    uint64_t ties = chosen[w] & ~sa_mark_word(scores, units, w, sa_score_of(rank + 1));
    int64_t count = sa_count_bits(ties), kept = sa_max(count - spare, 0);
    chosen[w] ^= ties ^ sa_lowest_bits(ties, kept);
    spare -= count - kept;
  }
  return spare == 0;
}

void sa_choose_top_k(const float *scores, const uint64_t *candidates, int64_t units,
                     int64_t k, void *room, uint64_t *chosen) {
  int64_t words = sa_word_count(units), count = sa_count_elements(candidates, words);
  if (k <= 0 || k >= count) {
    for (int64_t w = 0; w < words; ++w)
      chosen[w] = k > 0 ? candidates[w] : 0;
    return;
  }
  uint32_t *counts = ((sa_choose_room *)room)->counts, *ranks = sa_rank_list(room);
  sa_rank_range range = guess_range(scores, candidates, units, count, k, ranks, counts);
  sa_band band = sa_list_band(scores, candidates, units, range, ranks);
  /* Many ties are many in the sample, too, and end the range: they are not listed. */
  bool is_higher = band.above >= k;
  bool is_lower = band.above + band.count < k && range.after >= SA_RANK_LEAST;
  if (is_higher || is_lower) {
    uint32_t end = is_higher ? range.before : range.after;
    if (choose_down_to(scores, candidates, units, end, k, chosen))
      return;
    range.after = is_higher ? end : SA_RANK_LEAST - 1;
    range.before = is_higher ? SA_RANK_LARGEST + 1 : end;
    band = sa_list_band(scores, candidates, units, range, ranks);
  }
  if (band.above + band.count < k) {
    choose_nans(scores, candidates, units, k, chosen);
    return;
  }
  uint32_t last = sa_find_rank(ranks, band.count, k - band.above - 1, counts);
  choose_down_to(scores, candidates, units, last, k, chosen);
}

/*===--- threshold --------------------------------------------------------===*/

/* The least f32 that is at least `value`. */
static float round_up(double value) {
  float rounded = (float)value;
  return rounded < value ? nextafterf(rounded, INFINITY) : rounded;
}

void sa_choose_threshold(const float *scores, const uint64_t *candidates, int64_t units,
                         double least, uint64_t *chosen) {
  sa_mark_scores(scores, candidates, units, round_up(least), chosen);
}
