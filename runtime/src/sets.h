/*===- sets.h - the keys that a run decides for a query tile --------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * A mask that a run decides is a list of sets of keys (sa_set in abi.h), operands first.
 * For one query tile each becomes a class for every key tile, and bits where that is
 * partial; all of it in a worker's room, so that nothing of size M x N exists.
 *
 *   sets         structures, lists and the algebra
 *   selections   candidates -> scores of units -> the units that are chosen
 *   drawn        candidates -> draws, and the probabilities of what is kept
 *   listed       the last set as a list of keys, or as runs of tiles
 *
 *===----------------------------------------------------------------------===*/
#ifndef SPARSE_ATTN_RUNTIME_SETS_H
#define SPARSE_ATTN_RUNTIME_SETS_H

#include "internal.h"

/* One set of the query tile. */
typedef struct sa_kept_keys {
  uint8_t *kinds;     /* of each key tile; full: every row keeps all of a whole tile */
  uint8_t *bits;      /* a bit tile for each key tile, which a partial one fills */
  float *probability; /* of each key that is kept; lists with probabilities and
                       * sample.lsh alone */
  double share;       /* the probability of every candidate of a draw */
} sa_kept_keys;

/* The arrays of a worker's room. */
typedef struct sa_choice_room {
  sa_kept_keys *sets;
  /* A bit for each key, or unit of keys: for whole key tiles. */
  uint64_t *candidates, *row_candidates, *chosen, *unit_candidates, *unit_chosen;
  float *scores, *row_scores, *head_scores; /* whole groups of SA_STATE_LANES */
  float *query;                             /* an encoded query */
  char *work;                               /* of choosing and encoding */
  char *numbers;                            /* of candidates, while they are drawn */
  int32_t *keys;                            /* the list, SA_LIST_MARGIN more */
  float *weights;                           /* of each listed key, for whole tiles */
  uint8_t *bits;                            /* of tiles of listed keys */
  sa_run *runs;
} sa_choice_room;

/* The sets of one call while they are made. */
typedef struct sa_choice {
  const sa_run_state *state;
  const sa_plan_attention *attention;
  const sa_call *call;
  const sa_attend_args *args; /* of the call */
  sa_tile_query query;
  int64_t first_row; /* row of Q of the tile's first row */
  int64_t key_tiles; /* that hold keys */
  int64_t row_bytes, tile_bytes;
  sa_choice_room room;
} sa_choice;

/* Lays out a room at `base` (NULL: only the size); false where it is too large. */
bool sa_lay_out_choice(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                       char *base, sa_choice_room *room, size_t *bytes);

/*===--- sets.c -----------------------------------------------------------===*/

/* Makes the sets, up to one of which an operand holds what it must not; returns how many.
 */
int32_t sa_make_sets(sa_choice *choice);

/* Whether row `row` of the tile keeps `key`. */
bool sa_keeps_key(const sa_choice *choice, const sa_kept_keys *set, int64_t row,
                  int64_t key);

/* Marks the keys that some row of [row, end) keeps, for all key tiles. */
void sa_collect_keys(const sa_choice *choice, const sa_kept_keys *set, int64_t row,
                     int64_t end, uint64_t *keys);

/* Adds those of `keys` that are in `among` (NULL: all) to rows [row, end) of `set`. */
void sa_give_keys(const sa_choice *choice, sa_kept_keys *set, int64_t row, int64_t end,
                  const uint64_t *keys, const sa_kept_keys *among);

/*===--- selections.c -----------------------------------------------------===*/

/* Makes a set of the kinds that select. */
void sa_make_selection(sa_choice *choice, const sa_set *set, sa_kept_keys *kept);

/*===--- drawn.c ----------------------------------------------------------===*/

/* Whether a set is of the kinds that draw. */
static inline bool sa_is_draw(const sa_set *set) {
  return set->kind == SA_SET_RANDOM || set->kind == SA_SET_LSH ||
         set->kind == SA_SET_ADAPTIVE;
}

/* Makes a set of the kinds that draw. */
void sa_make_sample(sa_choice *choice, const sa_set *set, sa_kept_keys *kept);

/* The probability that set number `number` gives to `key` in the tile's only row. */
double sa_find_probability(const sa_choice *choice, int32_t number, int64_t key);

#endif /* SPARSE_ATTN_RUNTIME_SETS_H */
