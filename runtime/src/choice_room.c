/*===- choice_room.c - where a call decides, and where it leaves its list -===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "choose_keys.h"
#include "encode.h"
#include "numbering.h"
#include "sets.h"

/* Takes `count` times `size` bytes at the end of a room. */
typedef struct layout {
  char *base;
  size_t bytes;
  bool fits;
} layout;

static void *take(layout *room, size_t count, size_t size) {
  size_t own;
  void *place = room->base ? room->base + room->bytes : NULL;
  room->fits = room->fits && sa_multiply(count, size, &own) && sa_align(own, &own) &&
               sa_add(room->bytes, own, &room->bytes);
  return place;
}

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

/* The largest encoded query, and what choosing, drawing and encoding work in. */
static void find_needs(const sparse_attn_plan *plan, size_t keys, size_t *query,
                       size_t *work) {
  *query = 0;
  *work = sa_choose_room_bytes((int64_t)keys);
  for (int32_t e = 0; e < plan->kernel->encoding_count; ++e) {
    const sa_encoding *encoding = &plan->kernel->encodings[e];
    *query = most(*query, (size_t)encoding->query_words);
    *work = most(*work, sa_encoding_scratch_bytes(encoding));
    /* A row as it is hashed, and a key. */
    *work = most(*work, (size_t)encoding->head_dim * (sizeof(double) + sizeof(float)));
  }
}

static bool has_probability(const sa_set *set) {
  return (set->kind == SA_SET_LIST && set->inputs[1] >= 0) || set->kind == SA_SET_LSH;
}

/* Whole key tiles, and bytes of the bits of one. */
typedef struct tile_sizes {
  size_t tiles, keys, bit_bytes;
} tile_sizes;

static tile_sizes sizes_of(const sa_plan_attention *attention) {
  const sa_attention *code = attention->code;
  size_t tiles = (size_t)attention->key_tiles;
  return (tile_sizes){tiles, tiles * (size_t)code->tile_keys,
                      (size_t)(code->tile_rows * code->tile_keys / 8)};
}

bool sa_lay_out_choice(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                       char *base, sa_choice_room *result, size_t *bytes) {
  const sa_attention *code = attention->code;
  tile_sizes sizes = sizes_of(attention);
  size_t query, work;
  find_needs(plan, sizes.keys, &query, &work);
  bool draws = false;
  for (int32_t i = 0; i < code->set_count; ++i)
    draws |= sa_is_draw(&code->sets[i]);
  layout room = {base, 0, true};
  result->sets = take(&room, (size_t)code->set_count, sizeof(sa_kept_keys));
  for (int32_t i = 0; i < code->set_count; ++i) {
    sa_kept_keys set = {0};
    if (i + 1 < code->set_count) { /* the last one is in the list's room */
      set.kinds = take(&room, sizes.tiles, 1);
      set.bits = take(&room, sizes.tiles, sizes.bit_bytes);
    }
    if (has_probability(&code->sets[i]))
      set.probability = take(&room, sizes.keys, sizeof(float));
    if (base)
      result->sets[i] = set;
  }
  uint64_t **words[] = {&result->candidates, &result->row_candidates, &result->chosen,
                        &result->unit_candidates, &result->unit_chosen};
  for (size_t i = 0; i < sizeof(words) / sizeof(*words); ++i)
    *words[i] = take(&room, sizes.keys / 64, sizeof(uint64_t));
  float **scores[] = {&result->scores, &result->row_scores, &result->head_scores};
  for (size_t i = 0; i < sizeof(scores) / sizeof(*scores); ++i)
    *scores[i] =
        take(&room, code->score_count || attention->level->key_scores ? sizes.keys : 0,
             sizeof(float));
  result->query = take(&room, query, sizeof(float));
  result->work = take(&room, work, 1);
  result->numbers =
      take(&room, draws ? sa_numbering_room_bytes((int64_t)sizes.keys) : 0, 1);
  bool split = attention->schedule.parts > 1;
  result->values =
      take(&room, split ? (size_t)plan->kernel->value_count : 0, sizeof(sa_view));
  result->runs = take(&room, split ? sizes.tiles : 0, sizeof(sa_run));
  *bytes = room.bytes;
  return room.fits;
}

void sa_open_choice(const sa_run_state *state, const sa_plan_attention *attention,
                    int worker, sa_choice_room *room) {
  const sa_workspace *workspace = &state->workspace;
  char *own = state->base + workspace->workers + (size_t)worker * workspace->worker_bytes;
  size_t bytes;
  sa_lay_out_choice(state->plan, attention, own + workspace->scratch_bytes, room, &bytes);
  room->scratch = own;
  room->end = own + workspace->scratch_bytes + bytes;
}

size_t sa_list_bytes(const sparse_attn_plan *plan, const sa_plan_attention *attention) {
  sa_list_room room;
  size_t bytes;
  sa_lay_out_list(plan, attention, NULL, &room, &bytes); /* that it fits is checked */
  return bytes;
}

bool sa_lay_out_list(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                     char *base, sa_list_room *result, size_t *bytes) {
  const sa_attention *code = attention->code;
  tile_sizes sizes = sizes_of(attention);
  layout room = {base, 0, true};
  result->list = take(&room, 1, sizeof(sa_key_list));
  result->mask = (sa_kept_keys){.kinds = take(&room, sizes.tiles, 1),
                                .bits = take(&room, sizes.tiles, sizes.bit_bytes)};
  result->keys = take(&room, sizes.keys + SA_LIST_MARGIN, sizeof(int32_t));
  result->weights = take(&room, sizes.keys, sizeof(float));
  result->bits = take(&room, code->gathered ? sizes.tiles : 0, sizes.bit_bytes);
  result->runs = take(&room, sizes.tiles, sizeof(sa_run));
  result->scores = result->queries = NULL;
  bool split = attention->schedule.parts > 1;
  if (split) {
    result->scores = take(&room, (size_t)code->score_count, sizeof(float *));
    result->queries = take(&room, (size_t)code->score_count, sizeof(float *));
  }
  for (int32_t s = 0; split && s < code->score_count; ++s) {
    bool before = sa_is_scored_before(attention, s);
    size_t heads = (size_t)sa_score_heads(attention, s);
    size_t words = heads * sa_query_words(plan, &code->scores[s]);
    float *scores = take(&room, before ? sizes.keys : 0, sizeof(float));
    float *queries = take(&room, before ? words : 0, sizeof(float));
    if (base) {
      result->scores[s] = before ? scores : NULL;
      result->queries[s] = before ? queries : NULL;
    }
  }
  *bytes = room.bytes;
  return room.fits;
}
