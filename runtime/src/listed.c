/*===- listed.c - what a run keeps, as a list of keys or runs of tiles ----===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Gathered keys are listed in ascending order, in which memory is read best, and tiles
 * are of neighbours in the list; where rows keep different keys, a tile has bits. Else
 * the runs are of key tiles, with the bits that the sets have.
 *
 *===----------------------------------------------------------------------===*/

#include "sets.h"
#include "words.h"

/*===--- Gathered keys ----------------------------------------------------===*/

/* 64 keys from `first` on, which begin at element `at` of the list: those that some row
 * keeps, and whether every row keeps all of these. */
typedef struct key_word {
  int64_t first, at;
  uint64_t any;
  bool alike;
  const uint64_t *rows; /* of each row, row_bytes apart; NULL: all bits */
} key_word;

/* Calls `take` for each word that has keys, in order; returns the number of keys. Inline:
 * a word is a few keys, and the call would cost as much as they do. */
__attribute__((always_inline)) static inline int64_t
walk_words(const sa_choice *choice, const sa_kept_keys *kept,
           void (*take)(const sa_choice *choice, const key_word *word)) {
  int64_t words = choice->row_bytes / 8, rows = choice->query.rows, at = 0;
  for (int64_t tile = 0; tile < choice->key_tiles; ++tile)
    for (int64_t i = 0; kept->kinds[tile] != SPARSE_ATTN_TILE_EMPTY && i < words; ++i) {
      key_word word = {tile * choice->query.tile_keys + i * 64, at, UINT64_MAX, true,
                       NULL};
      if (kept->kinds[tile] == SPARSE_ATTN_TILE_PARTIAL) {
        word.rows = (const uint64_t *)(kept->bits + tile * choice->tile_bytes) + i;
        word.any = word.rows[0];
        uint64_t all = word.any;
        for (int64_t row = 1; row < rows; ++row) {
          word.any |= word.rows[row * words];
          all &= word.rows[row * words];
        }
        word.alike = word.any == all;
      }
      if (word.any == 0)
        continue;
      take(choice, &word);
      at += sa_count_bits(word.any);
    }
  return at;
}

/* Lists the keys of a word, and notes the tiles in which rows differ. */
static inline void list_word(const sa_choice *choice, const key_word *word) {
  _Static_assert(SA_LIST_MARGIN >= SA_LIST_MORE, "room behind the last key");
  int64_t count = sa_list_word(word->any, word->first, choice->list->keys + word->at);
  if (word->alike)
    return;
  int64_t size = choice->query.tile_keys, last = word->at + count - 1;
  for (int64_t tile = word->at / size; tile <= last / size; ++tile)
    choice->list->runs[tile].mask = (int32_t)tile;
}

/* Writes the bits of a word's keys in tiles that have bits. */
static inline void give_bits(const sa_choice *choice, const key_word *word) {
  int64_t size = choice->query.tile_keys, at = word->at;
  const sa_run *runs = choice->list->runs;
  int64_t end = at + sa_count_bits(word->any) - 1;
  if (runs[at / size].mask == SA_RUN_FULL && runs[end / size].mask == SA_RUN_FULL)
    return;
  for (uint64_t set = word->any; set; set &= set - 1, ++at) {
    int64_t tile = at / size, column = at % size, bit = __builtin_ctzll(set);
    if (runs[tile].mask == SA_RUN_FULL)
      continue;
    char *bits = (char *)choice->list->bits + tile * choice->tile_bytes;
    for (int64_t row = 0; row < choice->query.rows; ++row) {
      uint64_t own = word->rows ? word->rows[row * (choice->row_bytes / 8)] : UINT64_MAX;
      ((uint64_t *)(bits + row * choice->row_bytes))[column / 64] |= (own >> bit & 1)
                                                                     << column % 64;
    }
  }
}

static void list_keys(const sa_choice *choice, const sa_kept_keys *kept,
                      sa_key_list *result) {
  const sa_list_room *room = choice->list;
  int64_t size = choice->query.tile_keys;
  for (int64_t tile = 0; tile < choice->key_tiles; ++tile)
    room->runs[tile] = (sa_run){(int32_t)tile, 1, SA_RUN_FULL, -1};
  int64_t count = walk_words(choice, kept, list_word);
  int64_t tiles = sa_ceil_div(count, size);
  if (count % size) /* a full tile is a whole one */
    room->runs[tiles - 1].mask = (int32_t)(tiles - 1);
  bool differ = false;
  for (int64_t tile = 0; tile < tiles; ++tile)
    if (room->runs[tile].mask != SA_RUN_FULL) {
      memset(room->bits + tile * choice->tile_bytes, 0, (size_t)choice->tile_bytes);
      differ = true;
    }
  if (differ)
    walk_words(choice, kept, give_bits);
  for (int64_t i = 0; i < SA_LIST_MARGIN; ++i)
    room->keys[count + i] = count ? room->keys[count - 1] : 0;
  *result = (sa_key_list){.sets = result->sets,
                          .keys = room->keys,
                          .count = count,
                          .runs = {room->runs, tiles, room->bits, NULL}};
}

/* One over the probabilities of the listed keys. */
static void weigh_keys(const sa_choice *choice, sa_key_list *list) {
  int32_t mask = choice->attention->code->set_count - 1;
  float *weights = choice->list->weights;
  for (int64_t first = 0; first < list->count; first += SA_PROBABILITIES) {
    double probabilities[SA_PROBABILITIES];
    int64_t count = sa_min(SA_PROBABILITIES, list->count - first);
    sa_find_probabilities(choice, mask, list->keys + first, count, probabilities);
    for (int64_t i = 0; i < count; ++i)
      weights[first + i] = (float)(1 / probabilities[i]);
  }
  int64_t size = choice->query.tile_keys;
  int64_t end = sa_ceil_div(list->count, size) * size;
  for (int64_t i = list->count; i < end; ++i)
    weights[i] = 0;
  list->weights = weights;
}

/*===--- Key tiles --------------------------------------------------------===*/

static void list_tiles(const sa_choice *choice, const sa_kept_keys *kept,
                       sa_key_list *result) {
  sa_run *runs = choice->list->runs;
  int64_t count = 0;
  for (int64_t tile = 0; tile < choice->key_tiles; ++tile) {
    if (kept->kinds[tile] == SPARSE_ATTN_TILE_EMPTY)
      continue;
    bool full = kept->kinds[tile] == SPARSE_ATTN_TILE_FULL;
    sa_run *last = count ? &runs[count - 1] : NULL;
    if (last && full && last->mask == SA_RUN_FULL &&
        last->first_tile + last->tiles == tile)
      ++last->tiles;
    else
      runs[count++] = (sa_run){(int32_t)tile, 1, full ? SA_RUN_FULL : (int32_t)tile, -1};
  }
  *result = (sa_key_list){.sets = result->sets,
                          .count = choice->query.keys,
                          .runs = {runs, count, kept->bits, NULL}};
}

bool sa_list_keys(const sa_run_state *state, const sa_plan_attention *attention,
                  const sa_call *call, const sa_attend_args *args,
                  const sa_choice_room *room, const sa_list_room *list) {
  const sa_attention *code = attention->code;
  sa_choice choice = {.state = state,
                      .attention = attention,
                      .call = call,
                      .args = args,
                      .first_row = args->first_row,
                      .row_bytes = code->tile_keys / 8,
                      .tile_bytes = code->tile_rows * code->tile_keys / 8,
                      .room = room,
                      .list = list};
  sa_kept_keys *kept = &room->sets[code->set_count - 1];
  kept->kinds = list->mask.kinds;
  kept->bits = list->mask.bits;
  choice.query = sa_plan_query(state->plan, attention, call->b, call->h, call->row_tile);
  choice.key_tiles = sa_ceil_div(choice.query.keys, code->tile_keys);
  list->list->sets = sa_make_sets(&choice);
  if (list->list->sets < code->set_count)
    return false;
  if (code->gathered)
    list_keys(&choice, kept, list->list);
  else
    list_tiles(&choice, kept, list->list);
  if (code->sets[code->set_count - 1].sampled)
    weigh_keys(&choice, list->list);
  return true;
}

/*===--- Lists of a run ---------------------------------------------------===*/

/* Checks one operand of a list, whose rows are blocks of `block`. */
static sparse_attn_status check_operand(const sa_run_state *state, const sa_set *set,
                                        int32_t id) {
  const sparse_attn_kernel *kernel = state->plan->kernel;
  const sparse_attn_shape *shape = &state->plan->shape;
  const int64_t *size = state->values[id].size;
  bool grouped = set->parameters[0];
  int64_t heads = grouped ? shape->kv_heads : shape->heads, block = set->block_q;
  int64_t width = state->values[set->inputs[0]].size[3];
  if (size[1] != 1 && size[1] != heads)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                   "kernel '%s': '%s' has size %lld on axis 1, expected %s = %lld or 1",
                   kernel->name, kernel->inputs[id].name, (long long)size[1],
                   grouped ? "Hkv" : "H", (long long)heads);
  if (size[2] != sa_ceil_div(shape->queries, block))
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                   "kernel '%s': '%s' has size %lld on axis 2, expected %lld: one list "
                   "for every %d of M = %lld rows",
                   kernel->name, kernel->inputs[id].name, (long long)size[2],
                   (long long)sa_ceil_div(shape->queries, block), (int)block,
                   (long long)shape->queries);
  if (size[3] != width)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                   "kernel '%s': '%s' has size %lld on axis 3, expected that of '%s', "
                   "%lld",
                   kernel->name, kernel->inputs[id].name, (long long)size[3],
                   kernel->inputs[set->inputs[0]].name, (long long)width);
  return SPARSE_ATTN_OK;
}

sparse_attn_status sa_check_lists(const sa_run_state *state,
                                  const sa_plan_attention *attention) {
  const sa_attention *code = attention->code;
  sparse_attn_status status = SPARSE_ATTN_OK;
  for (int32_t i = 0; i < code->set_count && !status; ++i) {
    const sa_set *set = &code->sets[i];
    for (int32_t o = 0; set->kind == SA_SET_LIST && o < set->input_count && !status; ++o)
      if (set->inputs[o] >= 0)
        status = check_operand(state, set, set->inputs[o]);
  }
  return status;
}
