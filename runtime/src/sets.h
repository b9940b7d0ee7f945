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
 *   choice_room  where a worker decides, and where it leaves the list
 *   sets         structures, lists and the algebra
 *   scored       the scores of units of keys
 *   selections   candidates -> scores of units -> the units that are chosen
 *   drawn        candidates -> draws, and the probabilities of what is kept
 *   listed       the last set as a list of keys, or as runs of tiles
 *   decide       all of it before several workers attend to the keys of a call
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
  /* Where a call has parts: the values as a part sees them, and its runs. */
  sa_view *values;
  sa_run *runs;
  char *scratch, *end; /* of the worker; what comes after the room */
} sa_choice_room;

/* What a call keeps, and what is known of it before: in the worker's room, or where
 * several parts read it, in one of the call's. */
typedef struct sa_list_room {
  sa_key_list *list;
  sa_kept_keys mask; /* the last set */
  int32_t *keys;     /* the list, SA_LIST_MARGIN more */
  float *weights;    /* of each listed key, for whole tiles */
  uint8_t *bits;     /* of tiles of listed keys */
  sa_run *runs;
  /* By number of the score, NULL for those that the call makes itself; all NULL where
   * calls have one part. */
  float **scores, **queries;
} sa_list_room;

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
  const sa_choice_room *room;
  const sa_list_room *list;
} sa_choice;

/*===--- choice_room.c ----------------------------------------------------===*/

/* Lay out a room at `base` (NULL: only the size); false where it is too large. */
bool sa_lay_out_choice(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                       char *base, sa_choice_room *room, size_t *bytes);
bool sa_lay_out_list(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                     char *base, sa_list_room *room, size_t *bytes);

/* The room of a worker. */
void sa_open_choice(const sa_run_state *state, const sa_plan_attention *attention,
                    int worker, sa_choice_room *room);

/* The room for the list of call number `call`, of sa_list_bytes each, where calls have
 * parts; the sa_key_list comes first. */
size_t sa_list_bytes(const sparse_attn_plan *plan, const sa_plan_attention *attention);
static inline char *sa_call_room(const sa_run_state *state, size_t list_bytes,
                                 int64_t call) {
  return state->base + state->workspace.lists + (size_t)call * list_bytes;
}

/*===--- decide.c ---------------------------------------------------------===*/

/* Lists what every call keeps, where calls have parts. Returns a call times sets plus a
 * set where an operand lists what it must not, else -1. */
int64_t sa_decide_calls(const sa_run_state *state, const sa_plan_attention *attention);

/* Whether a score is made before its call decides. */
bool sa_is_scored_before(const sa_plan_attention *attention, int32_t number);

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

/*===--- scored.c ---------------------------------------------------------===*/

enum { SA_OF_KEY = 0, SA_OF_BLOCK = 1, SA_OF_TILE = 2 }; /* sa_score::granularity */

/* One score of a call. */
typedef struct sa_score_job {
  const sa_run_state *state;
  const sa_plan_attention *attention;
  const sa_call *call;
  int32_t number;
} sa_score_job;

/* Query heads whose scores are summed. */
int64_t sa_score_heads(const sa_plan_attention *attention, int32_t number);

/* Words of an encoded query, so that the next one is aligned. */
size_t sa_query_words(const sparse_attn_plan *plan, const sa_score *score);

/* Encodes rows [i0, i1) of head number `head` of the score's. */
void sa_encode_rows(const sa_score_job *job, int64_t head, int64_t i0, int64_t i1,
                    float *query, void *work);

/* Scores units [first, end), `first` a multiple of SA_STATE_LANES, for an encoded query:
 * writes numbers first on of `scores`, f32 or levels, for head 0, adds to them for
 * others. There is room for whole groups, and for `values` if first is not 0. */
void sa_score_units(const sa_score_job *job, int64_t head, const float *query,
                    int64_t first, int64_t end, sa_view *values, float *head_scores,
                    void *scores);

/* Scores as f32: what was written, or in `room` where that are levels. */
const float *sa_read_scores(const sa_score *score, const void *scores, int64_t units,
                            float *room);

/*===--- selections.c -----------------------------------------------------===*/

/* Makes a set of the kinds that select. */
void sa_make_selection(sa_choice *choice, const sa_set *set, sa_kept_keys *kept);

/*===--- listed.c ---------------------------------------------------------===*/

/* Lists what a call keeps. False where an operand lists what is neither a key nor -1, or
 * no probability. */
bool sa_list_keys(const sa_run_state *state, const sa_plan_attention *attention,
                  const sa_call *call, const sa_attend_args *args,
                  const sa_choice_room *room, const sa_list_room *list);

/*===--- drawn.c ----------------------------------------------------------===*/

/* Whether a set is of the kinds that draw. */
static inline bool sa_is_draw(const sa_set *set) {
  return set->kind == SA_SET_RANDOM || set->kind == SA_SET_LSH ||
         set->kind == SA_SET_ADAPTIVE;
}

/* Makes a set of the kinds that draw. */
void sa_make_sample(sa_choice *choice, const sa_set *set, sa_kept_keys *kept);

/* The probabilities that set number `number` gives to some keys in the tile's only row.
 */
enum { SA_PROBABILITIES = 64 }; /* at most */
void sa_find_probabilities(const sa_choice *choice, int32_t number, const int32_t *keys,
                           int64_t count, double *result);

#endif /* SPARSE_ATTN_RUNTIME_SETS_H */
