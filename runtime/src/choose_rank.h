/*===- choose_rank.h - one rank of a list ---------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#ifndef SPARSE_ATTN_RUNTIME_CHOOSE_RANK_H
#define SPARSE_ATTN_RUNTIME_CHOOSE_RANK_H

#include "score_pass.h"

/* Ranks are counted by so many of their highest bits. */
enum { SA_RANK_BUCKETS = 1 << 11 };

typedef struct sa_rank_room {
  uint32_t counts[SA_RANK_BUCKETS];
} sa_rank_room;

/* Element `number`, from 0, of the list in descending order. Loses the list. */
uint32_t sa_find_rank(uint32_t *ranks, int64_t count, int64_t number, sa_rank_room *room);

#endif /* SPARSE_ATTN_RUNTIME_CHOOSE_RANK_H */
