/*===- selections.c - what scores and buckets choose ----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * For each unit of rows: the key units of which some pair is a candidate, their scores,
 * and the units that are chosen (docs/semantics.md, sections 4 and 5).
 *
 *===----------------------------------------------------------------------===*/

#include "choose_keys.h"
#include "draw.h"
#include "encode.h"
#include "encoded.h"
#include "sets.h"

#include <math.h>

/* Rows [begin, end) of the query tile, which choose together among `units` units of
 * `block` keys. */
typedef struct row_unit {
  int64_t begin, end;
  int64_t units, block;
} row_unit;

/*===--- Units of keys as bits --------------------------------------------===*/

static bool has_bit(const uint64_t *bits, int64_t i) {
  return bits[i / 64] >> i % 64 & 1;
}

/* Whether a bit of [begin, end) is set. */
static bool has_any(const uint64_t *bits, int64_t begin, int64_t end) {
  for (int64_t word = begin / 64; word * 64 < end; ++word) {
    uint64_t low = word * 64 < begin ? UINT64_MAX << begin % 64 : UINT64_MAX;
    uint64_t high =
        end - word * 64 < 64 ? (UINT64_C(1) << (end - word * 64)) - 1 : UINT64_MAX;
    if (bits[word] & low & high)
      return true;
  }
  return false;
}

/* Units of which a key is set; the keys themselves where a unit is one. */
static const uint64_t *find_units(const sa_choice *choice, const row_unit *rows,
                                  const uint64_t *keys) {
  if (rows->block == 1)
    return keys;
  uint64_t *units = choice->room->unit_candidates;
  memset(units, 0, (size_t)sa_ceil_div(rows->units, 64) * sizeof(*units));
  int64_t per_word = 64 % rows->block ? 1 : 64 / rows->block; /* units of 64 keys */
  for (int64_t u = 0; u < rows->units; u += per_word) {
    uint64_t word = keys[u * rows->block / 64];
    /* Most words have all candidates, or none. */
    if (per_word > 1 &&
        (word == 0 || (word == UINT64_MAX && u + per_word <= rows->units))) {
      units[u / 64] |= (word & ((UINT64_C(1) << per_word) - 1)) << u % 64;
      continue;
    }
    int64_t end = sa_min(u + per_word, rows->units);
    for (int64_t one = u; one < end; ++one)
      if (has_any(keys, one * rows->block,
                  sa_min((one + 1) * rows->block, choice->query.keys)))
        units[one / 64] |= UINT64_C(1) << one % 64;
  }
  return units;
}

/* The keys of chosen units: whole words, and none past the last key. */
static void expand_units(const sa_choice *choice, const row_unit *rows,
                         const uint64_t *units, uint64_t *keys) {
  int64_t words = choice->key_tiles * choice->row_bytes / 8;
  memset(keys, 0, (size_t)words * sizeof(*keys));
  if (rows->block == 1) {
    memcpy(keys, units, (size_t)sa_ceil_div(rows->units, 64) * sizeof(*keys));
    return;
  }
  for (int64_t word = 0; word * 64 < rows->units; ++word)
    for (uint64_t set = units[word]; set; set &= set - 1) {
      int64_t begin = (word * 64 + __builtin_ctzll(set)) * rows->block;
      int64_t end = sa_min(begin + rows->block, choice->query.keys);
      for (int64_t key = begin; key < end;) {
        int64_t count = sa_min(64 - key % 64, end - key);
        keys[key / 64] |= UINT64_MAX >> (64 - count) << key % 64;
        key += count;
      }
    }
}

/*===--- Scores -----------------------------------------------------------===*/

static const sa_score *score_of(const sa_choice *choice, int32_t number) {
  return &choice->attention->code->scores[number];
}

/* The scores of rows [i0, i1) of Q, with those of the whole group where it shares. */
static void score_rows(const sa_choice *choice, int32_t number, int64_t i0, int64_t i1,
                       int64_t units, void *scores) {
  sa_score_job job = {choice->state, choice->attention, choice->call, number};
  int64_t heads = sa_score_heads(choice->attention, number);
  for (int64_t head = 0; head < heads; ++head) {
    sa_encode_rows(&job, head, i0, i1, choice->room->query, choice->room->work);
    sa_score_units(&job, head, choice->room->query, 0, units, NULL,
                   choice->room->head_scores, scores);
  }
}

/* The larger of two numbers; the number where one of them is none. */
static float larger(float a, float b) { return a > b || b != b ? a : b; }

/* Takes the scores of one row's keys, or blocks of keys, into those of its unit: the
 * largest among pairs that are candidates. */
static void merge_row(const sa_choice *choice, const row_unit *rows,
                      const sa_kept_keys *candidates, int64_t row, bool of_keys,
                      const float *from, float *scores) {
  uint64_t *keys = choice->room->row_candidates;
  sa_collect_keys(choice, candidates, row, row + 1, keys);
  for (int64_t u = 0; u < rows->units; ++u) {
    int64_t begin = u * rows->block;
    int64_t end = sa_min(begin + rows->block, choice->query.keys);
    if (of_keys) {
      for (int64_t key = begin; key < end; ++key)
        if (has_bit(keys, key))
          scores[u] = larger(scores[u], from[key]);
    } else if (has_any(keys, begin, end)) {
      scores[u] = larger(scores[u], from[u]);
    }
  }
}

/* What is of one row and unit, or of all rows, needs no largest. */
static bool is_of_units(const sa_choice *choice, const sa_set *set,
                        const row_unit *rows) {
  int32_t granularity = score_of(choice, set->score)->granularity;
  return granularity == SA_OF_TILE ||
         (rows->end == rows->begin + 1 && (rows->block == 1 || granularity != SA_OF_KEY));
}

/* Scores of units from those of rows, or keys, as f32. */
static void merge_rows(const sa_choice *choice, const sa_set *set, const row_unit *rows,
                       const sa_kept_keys *candidates) {
  const sa_score *score = score_of(choice, set->score);
  float *scores = choice->room->scores;
  bool of_keys = score->granularity == SA_OF_KEY;
  int64_t units = of_keys ? choice->query.keys : rows->units;
  for (int64_t u = 0; u < rows->units; ++u)
    scores[u] = NAN;
  for (int64_t row = rows->begin; row < rows->end; ++row) {
    int64_t i = choice->first_row + row;
    score_rows(choice, set->score, i, i + 1, units, choice->room->row_scores);
    merge_row(
        choice, rows, candidates, row, of_keys,
        sa_read_scores(score, choice->room->row_scores, units, choice->room->head_scores),
        scores);
  }
}

/*===--- Choices ----------------------------------------------------------===*/

/* Candidate units that share a bucket with a row in some candidate pair. */
static const uint64_t *choose_buckets(const sa_choice *choice, const sa_set *set,
                                      const row_unit *rows,
                                      const sa_kept_keys *candidates) {
  const sa_run_state *state = choice->state;
  const sa_call *call = choice->call;
  sa_encoder encoder = sa_run_encoder(state, choice->attention, set->encoding);
  const void *buckets = sa_run_plane(state, set->encoding, 0, call->b, call->h);
  uint64_t *met = choice->room->unit_chosen, *keys = choice->room->row_candidates;
  int64_t words = sa_ceil_div(choice->query.keys, 64);
  uint64_t *all = choice->room->candidates;
  memset(all, 0, (size_t)words * sizeof(*all));
  for (int64_t row = rows->begin; row < rows->end; ++row) {
    int64_t i = choice->first_row + row;
    sa_encode_query(&encoder, call->b, call->h, i, i + 1, choice->room->query,
                    choice->room->work);
    sa_match_buckets(encoder.code, choice->room->query, buckets, choice->query.keys, met);
    sa_collect_keys(choice, candidates, row, row + 1, keys);
    for (int64_t word = 0; word < words; ++word)
      all[word] |= met[word] & keys[word];
  }
  return find_units(choice, rows, all);
}

/* The k best of `units`, whose scores are levels where `levels` tells so. */
static void choose_best(const sa_choice *choice, const sa_set *set, const row_unit *rows,
                        const uint64_t *units, const void *scores, bool levels) {
  int64_t k = sa_count_draws(set->parameters[0], set->reals[0], rows->units);
  uint64_t *chosen = choice->room->unit_chosen;
  if (levels)
    sa_choose_top_k_levels(scores, units, rows->units, k, chosen);
  else
    sa_choose_top_k(scores, units, rows->units, k, choice->room->work, chosen);
}

static const uint64_t *choose_scores(const sa_choice *choice, const sa_set *set,
                                     const row_unit *rows,
                                     const sa_kept_keys *candidates) {
  const sa_score *score = score_of(choice, set->score);
  uint64_t *keys = choice->room->candidates, *chosen = choice->room->unit_chosen;
  sa_collect_keys(choice, candidates, rows->begin, rows->end, keys);
  const uint64_t *units = find_units(choice, rows, keys);
  const void *scores = choice->list->scores ? choice->list->scores[set->score] : NULL;
  bool levels = score->levels && (scores || is_of_units(choice, set, rows));
  if (!scores) {
    scores = choice->room->scores;
    if (is_of_units(choice, set, rows))
      score_rows(choice, set->score, choice->first_row + rows->begin,
                 choice->first_row + rows->end, rows->units, choice->room->scores);
    else
      merge_rows(choice, set, rows, candidates);
  }
  if (set->kind == SA_SET_TOP_K) {
    choose_best(choice, set, rows, units, scores, levels);
    return chosen;
  }
  if (levels)
    scores = sa_read_scores(score, scores, rows->units, choice->room->head_scores);
  if (set->kind == SA_SET_THRESHOLD)
    sa_choose_threshold(scores, units, rows->units, set->reals[0], chosen);
  else
    sa_choose_top_p(scores, units, rows->units, set->reals[0], choice->room->work,
                    chosen);
  return chosen;
}

void sa_make_selection(sa_choice *choice, const sa_set *set, sa_kept_keys *kept) {
  const sa_kept_keys *candidates = &choice->room->sets[set->operands[0]];
  int64_t rows = choice->query.rows;
  row_unit unit = {.block = set->block_k,
                   .units = sa_ceil_div(choice->query.keys, set->block_k)};
  for (unit.begin = 0; unit.begin < rows; unit.begin = unit.end) {
    int64_t number = (choice->first_row + unit.begin) / set->block_q;
    unit.end = sa_min(rows, (number + 1) * set->block_q - choice->first_row);
    const uint64_t *chosen = set->kind == SA_SET_CLUSTER
                                 ? choose_buckets(choice, set, &unit, candidates)
                                 : choose_scores(choice, set, &unit, candidates);
    expand_units(choice, &unit, chosen, choice->room->chosen);
    sa_give_keys(choice, kept, unit.begin, unit.end, choice->room->chosen, candidates);
  }
}
