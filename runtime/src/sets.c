/*===- sets.c - structures, lists and the algebra for a query tile --------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Kleene's logic, a key tile at a time: most tiles are empty or full for all rows, and
 * cost nothing.
 *
 *===----------------------------------------------------------------------===*/

#include "sets.h"

enum {
  kEmpty = SPARSE_ATTN_TILE_EMPTY,
  kFull = SPARSE_ATTN_TILE_FULL,
  kPartial = SPARSE_ATTN_TILE_PARTIAL
};

/*===--- Bits of a tile ---------------------------------------------------===*/

static uint64_t *tile_words(const sa_choice *choice, const sa_kept_keys *set,
                            int64_t tile) {
  return (uint64_t *)(set->bits + tile * choice->tile_bytes);
}

static int64_t row_words(const sa_choice *choice) { return choice->row_bytes / 8; }

/* Words of the rows that the tile has. */
static int64_t used_words(const sa_choice *choice) {
  return choice->query.rows * row_words(choice);
}

/* The keys of `tile` that there are, as bits of word `word` of its rows. */
static uint64_t present(const sa_choice *choice, int64_t tile, int64_t word) {
  int64_t first = tile * choice->query.tile_keys + word * 64;
  int64_t left = choice->query.keys - first;
  return left >= 64 ? UINT64_MAX : left <= 0 ? 0 : (UINT64_C(1) << left) - 1;
}

static bool is_whole(const sa_choice *choice, int64_t tile) {
  return (tile + 1) * choice->query.tile_keys <= choice->query.keys;
}

bool sa_keeps_key(const sa_choice *choice, const sa_kept_keys *set, int64_t row,
                  int64_t key) {
  int64_t tile = key / choice->query.tile_keys, bit = key % choice->query.tile_keys;
  if (set->kinds[tile] != kPartial)
    return set->kinds[tile] == kFull;
  return tile_words(choice, set, tile)[row * row_words(choice) + bit / 64] >> bit % 64 &
         1;
}

void sa_collect_keys(const sa_choice *choice, const sa_kept_keys *set, int64_t row,
                     int64_t end, uint64_t *keys) {
  int64_t words = row_words(choice);
  for (int64_t tile = 0; tile < choice->key_tiles; ++tile)
    for (int64_t word = 0; word < words; ++word) {
      uint64_t any = set->kinds[tile] == kFull ? UINT64_MAX : 0;
      if (set->kinds[tile] == kPartial)
        for (int64_t r = row; r < end; ++r)
          any |= tile_words(choice, set, tile)[r * words + word];
      keys[tile * words + word] = any;
    }
}

void sa_give_keys(const sa_choice *choice, sa_kept_keys *set, int64_t row, int64_t end,
                  const uint64_t *keys, const sa_kept_keys *among) {
  int64_t words = row_words(choice);
  for (int64_t tile = 0; tile < choice->key_tiles; ++tile) {
    const uint64_t *given = keys + tile * words;
    uint64_t any = 0, all = UINT64_MAX;
    for (int64_t word = 0; word < words; ++word)
      any |= given[word], all &= given[word];
    int kind = among ? among->kinds[tile] : kFull;
    if (any == 0 || kind == kEmpty)
      continue;
    if (all == UINT64_MAX && kind == kFull && is_whole(choice, tile) && row == 0 &&
        end == choice->query.rows) {
      set->kinds[tile] = kFull;
      continue;
    }
    uint64_t *to = tile_words(choice, set, tile);
    if (set->kinds[tile] == kEmpty)
      memset(to, 0, (size_t)used_words(choice) * sizeof(*to));
    set->kinds[tile] = kPartial;
    const uint64_t *from = among ? tile_words(choice, among, tile) : NULL;
    for (int64_t r = row; r < end; ++r)
      for (int64_t word = 0; word < words; ++word)
        to[r * words + word] |= given[word] & (kind == kFull ? present(choice, tile, word)
                                                             : from[r * words + word]);
  }
}

/*===--- Structures -------------------------------------------------------===*/

typedef struct structure {
  const sa_choice *choice;
  const sa_tile_query *query;
  sa_kept_keys *kept;
} structure;

static bool give_tiles(void *context, int32_t first, int32_t tiles,
                       sparse_attn_tile_class kind) {
  const structure *s = context;
  int32_t size = s->query->tile_keys;
  memset(s->kept->kinds + first, kind, (size_t)tiles);
  for (int32_t tile = first; kind == SPARSE_ATTN_TILE_PARTIAL && tile < first + tiles;
       ++tile) {
    uint64_t *bits = tile_words(s->choice, s->kept, tile);
    memset(bits, 0, (size_t)used_words(s->choice) * sizeof(*bits));
    sa_fill_bits(s->query, tile * size,
                 (int32_t)sa_min(size, s->query->keys - (int64_t)tile * size),
                 (uint8_t *)bits);
  }
  return true;
}

static void make_structure(const sa_choice *choice, const sa_set *set,
                           sa_kept_keys *kept) {
  sa_tile_query query = choice->query;
  query.classify = set->classify;
  query.extent = NULL;
  query.fill = NULL;
  structure s = {choice, &query, kept};
  sa_enumerate_tiles(&query, give_tiles, &s);
}

/*===--- Lists ------------------------------------------------------------===*/

/* Marks the listed keys of a unit of rows, but those of probability 0. */
static bool mark_listed(const sa_choice *choice, const sa_set *set, int64_t unit,
                        sa_kept_keys *kept, uint64_t *keys) {
  const sa_view *list = &choice->state->values[set->inputs[0]];
  const sa_view *pi = set->inputs[1] < 0 ? NULL : &choice->state->values[set->inputs[1]];
  bool grouped = set->parameters[0];
  int64_t b = choice->call->b, head = grouped ? choice->call->kv_head : choice->call->h;
  for (int64_t i = 0; i < list->size[3]; ++i) {
    int32_t key = *(const int32_t *)sa_at(list, sizeof(key), b, head, unit, i);
    if (key < -1 || key >= choice->attention->key_capacity)
      return false;
    if (key < 0 || key >= choice->query.keys || keys[key / 64] >> key % 64 & 1)
      continue;
    if (pi) {
      float probability =
          *(const float *)sa_at(pi, sizeof(probability), b, head, unit, i);
      if (!(probability >= 0 && probability <= 1))
        return false;
      if (probability == 0)
        continue;
      kept->probability[key] = probability;
    }
    keys[key / 64] |= UINT64_C(1) << key % 64;
  }
  return true;
}

static bool make_list(const sa_choice *choice, const sa_set *set, sa_kept_keys *kept) {
  int64_t rows = choice->query.rows, block = set->block_q;
  uint64_t *keys = choice->room->chosen;
  for (int64_t row = 0, end; row < rows; row = end) {
    int64_t unit = (choice->first_row + row) / block;
    end = sa_min(rows, (unit + 1) * block - choice->first_row);
    memset(keys, 0, (size_t)(choice->key_tiles * row_words(choice)) * sizeof(*keys));
    if (!mark_listed(choice, set, unit, kept, keys))
      return false;
    sa_give_keys(choice, kept, row, end, keys, NULL);
  }
  return true;
}

/*===--- The algebra ------------------------------------------------------===*/

/* A word of a set's tile. */
static uint64_t word_of(const sa_choice *choice, const sa_kept_keys *set, int64_t tile,
                        int64_t word) {
  int kind = set->kinds[tile];
  return kind == kPartial ? tile_words(choice, set, tile)[word]
                          : (kind == kFull ? UINT64_MAX : 0);
}

/* One operand of a union or intersection decides alone where it is `decisive`; where it
 * is the other kind it does not count. */
static void combine(const sa_choice *choice, const sa_set *set, sa_kept_keys *kept,
                    int decisive) {
  const sa_kept_keys *sets = choice->room->sets;
  int neutral = decisive == kFull ? kEmpty : kFull;
  for (int64_t tile = 0; tile < choice->key_tiles; ++tile) {
    int kind = neutral;
    uint64_t *to = tile_words(choice, kept, tile);
    for (int32_t i = 0; i < set->operand_count && kind != decisive; ++i) {
      const sa_kept_keys *operand = &sets[set->operands[i]];
      int own = operand->kinds[tile];
      if (own == neutral)
        continue;
      const uint64_t *from = tile_words(choice, operand, tile);
      for (int64_t word = 0; own == kPartial && word < used_words(choice); ++word)
        to[word] = kind == neutral     ? from[word]
                   : decisive == kFull ? to[word] | from[word]
                                       : to[word] & from[word];
      kind = own;
    }
    kept->kinds[tile] = (uint8_t)kind;
  }
}

/* Keys of `a` (NULL: every key) that are not in `b`. */
static void subtract(const sa_choice *choice, const sa_kept_keys *a,
                     const sa_kept_keys *b, sa_kept_keys *kept) {
  for (int64_t tile = 0; tile < choice->key_tiles; ++tile) {
    int from = a ? a->kinds[tile] : is_whole(choice, tile) ? kFull : kPartial;
    int less = b->kinds[tile];
    kept->kinds[tile] = (uint8_t)(from == kEmpty || less == kFull   ? kEmpty
                                  : from == kFull && less == kEmpty ? kFull
                                                                    : kPartial);
    if (kept->kinds[tile] != kPartial)
      continue;
    uint64_t *to = tile_words(choice, kept, tile);
    for (int64_t word = 0; word < used_words(choice); ++word) {
      uint64_t have = a ? word_of(choice, a, tile, word)
                        : present(choice, tile, word % row_words(choice));
      to[word] = have & ~word_of(choice, b, tile, word);
    }
  }
}

static void copy(const sa_choice *choice, const sa_kept_keys *from, sa_kept_keys *kept) {
  memcpy(kept->kinds, from->kinds, (size_t)choice->key_tiles);
  for (int64_t tile = 0; tile < choice->key_tiles; ++tile)
    if (from->kinds[tile] == kPartial)
      memcpy(tile_words(choice, kept, tile), tile_words(choice, from, tile),
             (size_t)used_words(choice) * sizeof(uint64_t));
}

/*===--- All of them ------------------------------------------------------===*/

static bool make_set(sa_choice *choice, const sa_set *set, sa_kept_keys *kept) {
  const sa_kept_keys *sets = choice->room->sets;
  memset(kept->kinds, kEmpty, (size_t)choice->key_tiles);
  switch (set->kind) {
  case SA_SET_STRUCTURE:
    make_structure(choice, set, kept);
    return true;
  case SA_SET_LIST:
    return make_list(choice, set, kept);
  case SA_SET_UNION:
    combine(choice, set, kept, kFull);
    return true;
  case SA_SET_INTERSECT:
    combine(choice, set, kept, kEmpty);
    return true;
  case SA_SET_DIFFERENCE:
    subtract(choice, &sets[set->operands[0]], &sets[set->operands[1]], kept);
    return true;
  case SA_SET_COMPLEMENT:
    subtract(choice, NULL, &sets[set->operands[0]], kept);
    return true;
  case SA_SET_HEADS:
    copy(choice, &sets[set->operands[set->parameters[choice->call->h]]], kept);
    return true;
  case SA_SET_TOP_K:
  case SA_SET_TOP_P:
  case SA_SET_THRESHOLD:
  case SA_SET_CLUSTER:
    sa_make_selection(choice, set, kept);
    return true;
  default:
    sa_make_sample(choice, set, kept);
    return true;
  }
}

int32_t sa_make_sets(sa_choice *choice) {
  const sa_attention *code = choice->attention->code;
  int32_t i = 0;
  while (i < code->set_count && make_set(choice, &code->sets[i], &choice->room->sets[i]))
    ++i;
  return i;
}
