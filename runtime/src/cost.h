/*===- cost.h - what attentions cost, and which ways are taken ------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/
#ifndef SPARSE_ATTN_RUNTIME_COST_H
#define SPARSE_ATTN_RUNTIME_COST_H

#include "internal.h"

/*===--- cost.c -----------------------------------------------------------===*/

/* Query tiles that stand for all of them, at most. */
enum { SA_SAMPLES = 32 };

typedef struct sa_sampled_tile {
  int64_t b, h, row_tile;
} sa_sampled_tile;

/* Fills `sampled` and returns how many there are. They lie anywhere in equal shares of
 * the query tiles, so that no pattern repeats itself with them. */
int64_t sa_sample_tiles(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                        sa_sampled_tile sampled[SA_SAMPLES]);

/* Key tiles that a query tile visits, as far as its mask's classes tell. */
typedef struct sa_visited_tiles {
  int64_t tiles, partial;
  int64_t partial_keys; /* of partial tiles, each rounded up to SA_KEY_GROUP */
} sa_visited_tiles;

/* What `attention` costs with the step that it has, in pairs of a query and a key. Looks
 * no further once that is more than `most` (< 0: never). */
double sa_attention_cost(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                         double most);

/*===--- choose.c ---------------------------------------------------------===*/

/* Takes the cheapest way of every choice: fills sa_value::place and needed. The
 * attentions have their steps and schedules, and no tables yet. */
void sa_choose_ways(sparse_attn_plan *plan);

#endif /* SPARSE_ATTN_RUNTIME_COST_H */
