/*===- drawn.c - what a row draws, and how likely that was ----------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Rows draw for themselves (docs/semantics.md, section 6). A probability is asked for
 * keys that are kept alone, through the algebra of section 2.
 *
 *===----------------------------------------------------------------------===*/

#include "draw.h"
#include "encoded.h"
#include "sample.h"
#include "sets.h"
#include "words.h"

/* One row of a draw. */
typedef struct draw_row {
  const sa_choice *choice;
  const sa_set *set;
  int64_t row; /* of the query tile */
  sa_numbering candidates;
} draw_row;

static uint32_t plane_of(const sa_choice *choice) {
  const sa_call *call = choice->call;
  return (uint32_t)(call->b * choice->state->plan->shape.heads + call->h);
}

/* Draw `draws` of the row's candidates into `drawn`. */
static void draw_keys(const draw_row *row, int64_t seed, uint32_t stream, int64_t draws,
                      uint64_t *drawn) {
  const sa_choice *choice = row->choice;
  sa_permutation permutation =
      sa_make_permutation(seed, plane_of(choice), (uint32_t)(choice->query.p0 + row->row),
                          stream, row->candidates.count);
  sa_draw(&permutation, &row->candidates, draws, drawn);
}

static int64_t list_bits(const uint64_t *set, int64_t words, int32_t *keys) {
  int64_t count = 0;
  for (int64_t word = 0; word < words; ++word)
    if (set[word])
      count += sa_list_word(set[word], word * SA_WORD_BITS, keys + count);
  return count;
}

/*===--- random_keys, sample.uniform --------------------------------------===*/

static double make_random(const draw_row *row, uint64_t *drawn) {
  const int64_t *parameters = row->set->parameters;
  int64_t draws =
      sa_count_draws(parameters[2], row->set->reals[0], row->candidates.count);
  draw_keys(row, parameters[0], (uint32_t)parameters[1], draws, drawn);
  return parameters[3] ? (double)draws / (double)row->candidates.count : 1;
}

/*===--- sample.adaptive --------------------------------------------------===*/

/* Lists the keys of `words` in list.keys, and their scores at `scores`. */
static int64_t score_keys(const draw_row *row, const uint64_t *words, float *scores) {
  const sa_choice *choice = row->choice;
  int32_t *keys = choice->list->keys;
  int64_t count = list_bits(words, sa_word_count(choice->query.keys), keys);
  if (count == 0)
    return 0;
  for (int64_t i = 0; i < SA_LIST_MARGIN; ++i)
    keys[count + i] = keys[count - 1];
  sa_attend_args args = *choice->args;
  args.first_row += row->row;
  args.first_position += row->row;
  args.rows = args.stack = 1;
  args.list = keys;
  args.keys = count;
  choice->attention->level->key_scores(&args, scores);
  return count;
}

static double make_adaptive(const draw_row *row, uint64_t *drawn) {
  const sa_choice *choice = row->choice;
  const sa_set *set = row->set;
  int64_t n = row->candidates.count;
  if (n < 2) {
    draw_keys(row, set->parameters[0], SA_STREAM_ADAPTIVE, n, drawn);
    return 1;
  }
  int64_t base = sa_count_draws(set->parameters[1], set->reals[0], n);
  int64_t m = sa_min(sa_max(2, base), n);
  draw_keys(row, set->parameters[0], SA_STREAM_ADAPTIVE_BASE, m, drawn);
  score_keys(row, drawn, choice->room->scores);
  uint64_t *beside = choice->room->row_candidates;
  sa_collect_keys(choice, &choice->room->sets[set->operands[1]], row->row, row->row + 1,
                  beside);
  for (int64_t word = 0; word < sa_word_count(choice->query.keys); ++word)
    beside[word] &= ~choice->room->candidates[word];
  int64_t others = score_keys(row, beside, choice->room->row_scores);
  sa_adaptive_rule rule = {.z = set->reals[2],
                           .epsilon = set->reals[1],
                           .finite_population = set->parameters[2]};
  int64_t draws = sa_choose_budget(&rule, n, choice->room->scores, m,
                                   choice->room->row_scores, others);
  draw_keys(row, set->parameters[0], SA_STREAM_ADAPTIVE, draws, drawn);
  return (double)draws / (double)n;
}

/*===--- sample.lsh -------------------------------------------------------===*/

/* A row as it is hashed, in the room for work. */
typedef struct hashed_row {
  sa_encoder encoder;
  const sa_choice *choice;
  const sa_set *set;
  double *numbers, norm;
  float *scratch;
} hashed_row;

static hashed_row hash_row(const sa_choice *choice, const sa_set *set, int64_t row) {
  const sa_call *call = choice->call;
  hashed_row hashed = {
      .encoder = sa_run_encoder(choice->state, choice->attention, set->encoding),
      .choice = choice,
      .set = set,
      .numbers = (double *)choice->room->work};
  hashed.scratch = (float *)(hashed.numbers + hashed.encoder.code->head_dim);
  hashed.norm = sa_lsh_row(&hashed.encoder, call->b, call->h, choice->first_row + row,
                           hashed.numbers, hashed.scratch);
  return hashed;
}

static double match_probability(const hashed_row *row, int64_t key) {
  const sa_call *call = row->choice->call;
  const int64_t *parameters = row->set->parameters;
  double cosine = sa_lsh_cosine(&row->encoder, call->b, call->kv_head, row->numbers,
                                row->norm, key, row->scratch);
  return sa_match_probability(cosine, parameters[1], parameters[0], parameters[2]);
}

/* Every candidate has a probability of its own, which is kept for those drawn. */
static void make_lsh(const draw_row *row, sa_kept_keys *kept, uint64_t *drawn) {
  const sa_choice *choice = row->choice;
  const sa_set *set = row->set;
  const sa_call *call = choice->call;
  sa_encoder encoder = sa_run_encoder(choice->state, choice->attention, set->encoding);
  int64_t i = choice->first_row + row->row;
  sa_encode_query(&encoder, call->b, call->h, i, i + 1, choice->room->query,
                  choice->room->work);
  sa_run_match_hashes(choice->state, set->encoding, call->b, call->h, choice->room->query,
                      set->parameters[2], choice->query.keys, drawn);
  hashed_row hashed = hash_row(choice, set, row->row);
  /* Listed first: their rows of K lie anywhere, and are asked for some keys ahead. */
  enum { kAhead = 16 };
  int64_t words = sa_word_count(choice->query.keys);
  for (int64_t word = 0; word < words; ++word)
    drawn[word] &= choice->room->candidates[word];
  int32_t *keys = choice->list->keys;
  int64_t count = list_bits(drawn, words, keys);
  for (int64_t i = 0; i < count; ++i) {
    int32_t key = keys[i];
    if (i + kAhead < count)
      sa_lsh_prefetch(&hashed.encoder, call->b, call->kv_head, keys[i + kAhead]);
    kept->probability[key] = (float)match_probability(&hashed, key);
    /* What has no probability is not drawn. */
    if (!(kept->probability[key] > 0))
      drawn[key / 64] &= ~(UINT64_C(1) << key % 64);
  }
}

/*===--- All of them ------------------------------------------------------===*/

void sa_make_sample(sa_choice *choice, const sa_set *set, sa_kept_keys *kept) {
  const sa_kept_keys *candidates = &choice->room->sets[set->operands[0]];
  uint64_t *drawn = choice->room->chosen;
  for (int64_t r = 0; r < choice->query.rows; ++r) {
    sa_collect_keys(choice, candidates, r, r + 1, choice->room->candidates);
    draw_row row = {choice, set, r,
                    sa_number_elements(choice->room->candidates, choice->query.keys,
                                       choice->room->numbers)};
    if (row.candidates.count == 0)
      continue;
    memset(drawn, 0,
           (size_t)(choice->key_tiles * choice->row_bytes / 8) * sizeof(*drawn));
    if (set->kind == SA_SET_LSH)
      make_lsh(&row, kept, drawn);
    else
      kept->share = set->kind == SA_SET_RANDOM ? make_random(&row, drawn)
                                               : make_adaptive(&row, drawn);
    sa_give_keys(choice, kept, r, r + 1, drawn, NULL);
  }
}

/*===--- Probabilities ----------------------------------------------------===*/

typedef struct listed_keys {
  const sa_choice *choice;
  const int32_t *keys;
  int64_t count; /* <= SA_PROBABILITIES */
  /* Of each key: its tile, and its number there. Many sets ask for them. */
  uint32_t tiles[SA_PROBABILITIES], bits[SA_PROBABILITIES];
} listed_keys;

static bool keeps_listed(const listed_keys *list, const sa_kept_keys *set, int64_t i) {
  uint32_t tile = list->tiles[i], bit = list->bits[i];
  if (set->kinds[tile] != SPARSE_ATTN_TILE_PARTIAL)
    return set->kinds[tile] == SPARSE_ATTN_TILE_FULL;
  const uint64_t *words = (const uint64_t *)(set->bits + tile * list->choice->tile_bytes);
  return words[bit / 64] >> bit % 64 & 1;
}

static void find_drawn(const listed_keys *list, int32_t number, double *result) {
  const sa_choice *choice = list->choice;
  const sa_set *set = &choice->attention->code->sets[number];
  const sa_kept_keys *kept = &choice->room->sets[number];
  const sa_kept_keys *candidates =
      set->kind == SA_SET_LIST ? NULL : &choice->room->sets[set->operands[0]];
  hashed_row hashed = {.choice = NULL};
  for (int64_t i = 0; i < list->count; ++i) {
    int32_t key = list->keys[i];
    bool has_own = set->kind == SA_SET_LIST || set->kind == SA_SET_LSH;
    result[i] = 0;
    if (has_own && keeps_listed(list, kept, i)) {
      result[i] = (double)kept->probability[key];
    } else if (candidates && keeps_listed(list, candidates, i)) {
      if (set->kind == SA_SET_LSH && !hashed.choice)
        hashed = hash_row(choice, set, 0);
      result[i] = set->kind == SA_SET_LSH ? match_probability(&hashed, key) : kept->share;
    }
  }
}

static void find_probabilities(const listed_keys *list, int32_t number, double *result) {
  const sa_set *set = &list->choice->attention->code->sets[number];
  const int32_t *operands = set->operands;
  double other[SA_PROBABILITIES];
  int64_t count = list->count;
  if (!set->sampled) {
    const sa_kept_keys *kept = &list->choice->room->sets[number];
    for (int64_t i = 0; i < count; ++i)
      result[i] = keeps_listed(list, kept, i);
    return;
  }
  switch (set->kind) {
  case SA_SET_UNION:
  case SA_SET_INTERSECT:
    for (int64_t i = 0; i < count; ++i)
      result[i] = 1;
    for (int32_t o = 0; o < set->operand_count; ++o) {
      find_probabilities(list, operands[o], other);
      for (int64_t i = 0; i < count; ++i)
        result[i] *= set->kind == SA_SET_UNION ? 1 - other[i] : other[i];
    }
    for (int64_t i = 0; set->kind == SA_SET_UNION && i < count; ++i)
      result[i] = 1 - result[i];
    return;
  case SA_SET_DIFFERENCE:
    find_probabilities(list, operands[0], result);
    find_probabilities(list, operands[1], other);
    for (int64_t i = 0; i < count; ++i)
      result[i] *= 1 - other[i];
    return;
  case SA_SET_HEADS:
    find_probabilities(list, operands[set->parameters[list->choice->call->h]], result);
    return;
  default:
    find_drawn(list, number, result);
    return;
  }
}

void sa_find_probabilities(const sa_choice *choice, int32_t number, const int32_t *keys,
                           int64_t count, double *result) {
  listed_keys list = {.choice = choice, .keys = keys, .count = count};
  uint32_t size = (uint32_t)choice->query.tile_keys;
  for (int64_t i = 0; i < count; ++i) {
    list.tiles[i] = (uint32_t)keys[i] / size;
    list.bits[i] = (uint32_t)keys[i] - list.tiles[i] * size;
  }
  find_probabilities(&list, number, result);
}
