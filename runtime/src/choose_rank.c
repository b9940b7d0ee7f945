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

void sa_sort_ranks(uint32_t *ranks, int64_t count) {
  for (int64_t i = 1; i < count; ++i) {
    uint32_t rank = ranks[i];
    int64_t at = i;
    for (; at > 0 && ranks[at - 1] < rank; --at)
      ranks[at] = ranks[at - 1];
    ranks[at] = rank;
  }
}

sa_rank_buckets sa_make_buckets(const uint32_t *ranks, int64_t count) {
  uint32_t low = ranks[0], high = ranks[0];
  for (int64_t i = 1; i < count; ++i) {
    low = ranks[i] < low ? ranks[i] : low;
    high = ranks[i] > high ? ranks[i] : high;
  }
  sa_rank_buckets buckets = {low, high - low, 0};
  for (; buckets.last >= SA_RANK_BUCKETS; buckets.last >>= 1)
    ++buckets.shift;
  return buckets;
}

int64_t sa_keep_bucket(uint32_t *ranks, int64_t count, sa_rank_buckets buckets,
                       uint32_t bucket) {
  int64_t kept = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t rank = ranks[i];
    ranks[kept] = rank;
    kept += sa_bucket_of(buckets, rank) == bucket;
  }
  return kept;
}

uint32_t sa_find_rank(uint32_t *ranks, int64_t count, int64_t number,
                      uint32_t counts[SA_RANK_BUCKETS]) {
  while (count > SA_FEW_RANKS) {
    sa_rank_buckets buckets = sa_make_buckets(ranks, count);
    if (buckets.last == 0)
      return buckets.low;
    memset(counts, 0, (buckets.last + 1) * sizeof(*counts));
    for (int64_t i = 0; i < count; ++i)
      ++counts[sa_bucket_of(buckets, ranks[i])];
    uint32_t bucket = buckets.last;
    for (; number >= counts[bucket]; --bucket)
      number -= counts[bucket];
    count = sa_keep_bucket(ranks, count, buckets, bucket);
  }
  sa_sort_ranks(ranks, count);
  return ranks[number];
}
