/*===- choose_mass.c - the units that have a share of the softmax ---------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * top_p. The distance of a score to the best one, in steps of 1/32, is both the bucket in
 * which its mass is added up and what the exponential is reduced by:
 *
 *   exp(-t) = exp(-j / 32) exp(j / 32 - t),   j = round(32 t),   |j / 32 - t| <= 1/64
 *
 * so that one pass makes a polynomial of each score and the mass of each bucket. The last
 * unit's score is in the bucket where the masses from the best on exceed p; its scores
 * alone are listed and looked at one by one.
 *
 *===----------------------------------------------------------------------===*/

#include "choose_keys.h"
#include "choose_rank.h"
#include "internal.h"
#include "lanes.h"

/* Buckets of 1/32 from the best score on. The last one is for all that is so far away
 * that its mass, 1e-28 of the best one's, is nothing beside it, and for NaNs. */
enum { kBuckets = SA_RANK_BUCKETS, kLastBucket = kBuckets - 1, kBucketsPerUnit = 32 };

/* Fewer candidates are listed at once. */
enum { kFewCandidates = 512 };

typedef double pair __attribute__((vector_size(16)));
typedef int64_t pair_bits __attribute__((vector_size(16)));

/*===--- Passes over the scores -------------------------------------------===*/

/* Four scores, NaN where the bit of the lane in `word` is not set. */
static inline sa_lanes load_candidates(const float *scores, uint32_t word,
                                       sa_lane_bits bit) {
  sa_lane_bits words = {word, word, word, word};
  sa_lane_bits other = (sa_lane_bits)((words & bit) == 0);
  return (sa_lanes)((sa_lane_bits)sa_load_lanes(scores) | other);
}

static const sa_lane_bits kFirstBits = {1, 2, 4, 8};

/* The largest number among the candidates, NaN where there is none. */
static float find_best(const float *scores, const uint64_t *candidates, int64_t units) {
  float tail[SA_WORD_BITS];
  bool any = false;
  sa_lanes best = sa_fill_lanes(-INFINITY);
  for (int64_t w = 0; w < sa_word_count(units); ++w) {
    if (!candidates[w])
      continue;
    const float *of_word = sa_word_scores(scores, units, w, tail);
    sa_lane_bits numbers = {0};
    for (int half = 0; half < 2; ++half) {
      sa_lane_bits bit = kFirstBits;
      for (int i = 0; i < 8; ++i, bit <<= 4) {
        sa_lanes four = load_candidates(of_word + 32 * half + 4 * i,
                                        (uint32_t)(candidates[w] >> 32 * half), bit);
        sa_lane_bits larger = (sa_lane_bits)(four >= best);
        best = (sa_lanes)((larger & (sa_lane_bits)four) | (~larger & (sa_lane_bits)best));
        numbers |= larger;
      }
    }
    any = any || (numbers[0] | numbers[1] | numbers[2] | numbers[3]);
  }
  float largest = any ? best[0] : NAN;
  for (int lane = 1; lane < 4; ++lane)
    largest = best[lane] > largest ? best[lane] : largest;
  return largest;
}

static inline pair fill_pair(double value) { return (pair){value, value}; }

/* Adding it rounds a small number to an integer, which the lowest bits then are. */
static const double kRound = 0x1.8p52;

/* exp(x) for |x| <= 1/64: Taylor's series leaves less than 3e-14. */
static inline pair exponential(pair x) {
  pair sum = x * (1.0 / 120) + 1.0 / 24;
  sum = sum * x + 1.0 / 6;
  sum = sum * x + 0.5;
  sum = sum * x + 1.0;
  return sum * x + 1.0;
}

/* Adds the masses of two scores, over those of their buckets, to one half of each
 * bucket. */
static inline void add_masses(pair score, double best, double (*masses)[4], int half) {
  pair distance = fill_pair(best) - score;
  pair most = fill_pair((double)kLastBucket / kBucketsPerUnit);
  pair_bits near = distance < most; /* no NaN is */
  distance = (pair)((near & (pair_bits)distance) | (~near & (pair_bits)most));
  pair shifted = distance * (double)kBucketsPerUnit + kRound;
  pair mass = exponential((shifted - kRound) * (1.0 / kBucketsPerUnit) - distance);
  pair_bits bits = (pair_bits)shifted;
  masses[(uint32_t)bits[0] % kBuckets][half] += mass[0];
  masses[(uint32_t)bits[1] % kBuckets][half + 1] += mass[1];
}

/* The masses of all buckets, in masses[j][0]; returns their sum. */
static double sum_masses(const float *scores, const uint64_t *candidates, int64_t units,
                         float best, double (*masses)[4]) {
  memset(masses, 0, kBuckets * sizeof(*masses));
  float tail[SA_WORD_BITS];
  for (int64_t w = 0; w < sa_word_count(units); ++w) {
    if (!candidates[w])
      continue;
    const float *of_word = sa_word_scores(scores, units, w, tail);
    for (int half = 0; half < 2; ++half) {
      sa_lane_bits bit = kFirstBits;
      for (int i = 0; i < 8; ++i, bit <<= 4) {
        sa_lanes four = load_candidates(of_word + 32 * half + 4 * i,
                                        (uint32_t)(candidates[w] >> 32 * half), bit);
        add_masses((pair){four[0], four[1]}, best, masses, 0);
        add_masses((pair){four[2], four[3]}, best, masses, 2);
      }
    }
  }
  double total = 0;
  for (int j = 0; j < kBuckets; ++j) {
    double sum = masses[j][0] + masses[j][1] + (masses[j][2] + masses[j][3]);
    masses[j][0] = sum > 0 ? sum * exp(-(double)j / kBucketsPerUnit) : 0;
    total += masses[j][0];
  }
  return total;
}

/*===--- The bucket of a share --------------------------------------------===*/

/* The bucket of one score, which is no NaN: as add_masses has it. */
static int bucket_of_score(float score, float best) {
  double distance = (double)best - score;
  double most = (double)kLastBucket / kBucketsPerUnit;
  return (int)((distance < most ? distance : most) * kBucketsPerUnit + kRound - kRound);
}

/* The least rank whose bucket is `bucket` or a better one. */
static uint32_t first_rank_of_bucket(int bucket, float best) {
  uint32_t low = SA_RANK_LEAST, high = sa_rank_of(best);
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (bucket_of_score(sa_score_of(middle), best) <= bucket)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

/*===--- top_p ------------------------------------------------------------===*/

static double mass_of(uint32_t rank, float best) {
  return exp((double)sa_score_of(rank) - best);
}

/* The last rank of the list, in descending order, before which there is at most `most`,
 * where `mass` comes before the list. Loses the list. */
static uint32_t find_mass(uint32_t *ranks, int64_t count, float best, double mass,
                          double most, double (*masses)[4]) {
  while (count > SA_FEW_RANKS) {
    sa_rank_buckets buckets = sa_make_buckets(ranks, count);
    if (buckets.last == 0)
      return buckets.low;
    memset(masses, 0, (buckets.last + 1) * sizeof(*masses));
    for (int64_t i = 0; i < count; ++i)
      masses[sa_bucket_of(buckets, ranks[i])][0] += mass_of(ranks[i], best);
    uint32_t bucket = buckets.last;
    for (; bucket > 0 && mass + masses[bucket][0] <= most; --bucket)
      mass += masses[bucket][0];
    count = sa_keep_bucket(ranks, count, buckets, bucket);
  }
  sa_sort_ranks(ranks, count);
  uint32_t last = ranks[0];
  for (int64_t i = 0; i < count && mass <= most; ++i) {
    last = ranks[i];
    mass += mass_of(last, best);
  }
  return last;
}

/* The score of the last unit chosen among `count` candidates, of which `best`, finite,
 * is the best. */
static float find_last_score(const float *scores, const uint64_t *candidates,
                             int64_t units, int64_t count, float best, double p,
                             sa_choose_room *room) {
  uint32_t *ranks = sa_rank_list(room);
  sa_rank_range range = {SA_RANK_LEAST - 1, SA_RANK_LARGEST + 1};
  double before = 0, total = 0;
  if (count >= kFewCandidates) {
    total = sum_masses(scores, candidates, units, best, room->masses);
    int bucket = 0;
    for (; bucket < kLastBucket && before + room->masses[bucket][0] <= p * total;
         ++bucket)
      before += room->masses[bucket][0];
    range.after = first_rank_of_bucket(bucket, best) - 1;
    if (bucket > 0)
      range.before = first_rank_of_bucket(bucket - 1, best);
  }
  sa_band band = sa_list_band(scores, candidates, units, range, ranks);
  for (int64_t i = 0; count < kFewCandidates && i < band.count; ++i)
    total += mass_of(ranks[i], best);
  return sa_score_of(find_mass(ranks, band.count, best, before, p * total, room->masses));
}

void sa_choose_top_p(const float *scores, const uint64_t *candidates, int64_t units,
                     double p, void *room, uint64_t *chosen) {
  int64_t words = sa_word_count(units), count = sa_count_elements(candidates, words);
  float best = find_best(scores, candidates, units);
  if (p >= 1 || isnan(best)) {
    for (int64_t w = 0; w < words; ++w)
      chosen[w] = candidates[w];
    return;
  }
  /* Beside an infinite score no other one has a mass. */
  float last = isinf(best)
                   ? best
                   : find_last_score(scores, candidates, units, count, best, p, room);
  sa_mark_scores(scores, candidates, units, last, chosen);
}
