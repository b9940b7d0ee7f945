/*===- choose_rank.h - one rank of a list ---------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#ifndef SPARSE_ATTN_RUNTIME_CHOOSE_RANK_H
#define SPARSE_ATTN_RUNTIME_CHOOSE_RANK_H

#include "score_pass.h"

enum { SA_RANK_BUCKETS = 1 << 11 };

/* The head of the room of a choice; as many ranks as there are units follow. */
typedef union sa_choose_room {
  uint32_t counts[SA_RANK_BUCKETS];
  double masses[SA_RANK_BUCKETS][4]; /* of every fourth unit each, to be added up */
} sa_choose_room;

static inline uint32_t *sa_rank_list(sa_choose_room *room) {
  return (uint32_t *)(room + 1);
}

/* How the ranks of a list fall into buckets: those from `low` on, 2^shift of them, are
 * in bucket 0, and so on up to bucket `last`, below SA_RANK_BUCKETS. */
typedef struct sa_rank_buckets {
  uint32_t low, last;
  int shift;
} sa_rank_buckets;

sa_rank_buckets sa_make_buckets(const uint32_t *ranks, int64_t count);

static inline uint32_t sa_bucket_of(sa_rank_buckets buckets, uint32_t rank) {
  return (rank - buckets.low) >> buckets.shift;
}

/* Moves the ranks of a bucket to the front and returns their number. */
int64_t sa_keep_bucket(uint32_t *ranks, int64_t count, sa_rank_buckets buckets,
                       uint32_t bucket);

/* So many are sorted. */
enum { SA_FEW_RANKS = 24 };
void sa_sort_ranks(uint32_t *ranks, int64_t count); /* descending */

/* Element `number`, from 0, of the list in descending order. Loses the list. */
uint32_t sa_find_rank(uint32_t *ranks, int64_t count, int64_t number,
                      uint32_t counts[SA_RANK_BUCKETS]);

#endif /* SPARSE_ATTN_RUNTIME_CHOOSE_RANK_H */
