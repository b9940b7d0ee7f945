/*===- choose_rank.c - one rank of a list ---------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Radix selection: cuts the range of the ranks into buckets, counts the ranks in each,
 * keeps those of the bucket that has the one looked for, and goes on with these. Three
 * rounds decide 32 bits; a few ranks are sorted instead.
 *
 *===----------------------------------------------------------------------===*/

#include "choose_rank.h"

enum { kFewRanks = 24 };

/* Sorts in descending order. */
static void sort_ranks(uint32_t *ranks, int64_t count) {
  for (int64_t i = 1; i < count; ++i) {
    uint32_t rank = ranks[i];
    int64_t at = i;
    for (; at > 0 && ranks[at - 1] < rank; --at)
      ranks[at] = ranks[at - 1];
    ranks[at] = rank;
  }
}

typedef struct rank_limits {
  uint32_t low, high;
} rank_limits;

static rank_limits find_limits(const uint32_t *ranks, int64_t count) {
  rank_limits limits = {ranks[0], ranks[0]};
  for (int64_t i = 1; i < count; ++i) {
    limits.low = ranks[i] < limits.low ? ranks[i] : limits.low;
    limits.high = ranks[i] > limits.high ? ranks[i] : limits.high;
  }
  return limits;
}

/* Moves the ranks of a bucket to the front and returns their number. */
static int64_t keep_bucket(uint32_t *ranks, int64_t count, uint32_t low, int shift,
                           uint32_t bucket) {
  int64_t kept = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t rank = ranks[i];
    ranks[kept] = rank;
    kept += (rank - low) >> shift == bucket;
  }
  return kept;
}

uint32_t sa_find_rank(uint32_t *ranks, int64_t count, int64_t number,
                      sa_rank_room *room) {
  uint32_t *counts = room->counts;
  while (count > kFewRanks) {
    rank_limits limits = find_limits(ranks, count);
    if (limits.low == limits.high)
      return limits.low;
    uint32_t bucket = limits.high - limits.low;
    int shift = 0;
    for (; bucket >= SA_RANK_BUCKETS; bucket >>= 1)
      ++shift;
    memset(counts, 0, (bucket + 1) * sizeof(*counts));
    for (int64_t i = 0; i < count; ++i)
      ++counts[(ranks[i] - limits.low) >> shift];
    for (; number >= counts[bucket]; --bucket)
      number -= counts[bucket];
    count = keep_bucket(ranks, count, limits.low, shift, bucket);
  }
  sort_ranks(ranks, count);
  return ranks[number];
}
