/*===- listed.c - the keys that a run lists -------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * A list is a set: in any order, a key that is named twice counts once, with the
 * probability of its first mention, and -1 is padding. One bit for each key puts the
 * set into ascending order, in which memory is read best. A part of a call takes the
 * keys of a range of its own.
 *
 * The attention's mask chooses among the listed keys. Keys that no row of the query
 * tile keeps are dropped; where rows differ, the tile has bits.
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

sparse_attn_status sa_check_list(const sa_run_state *state,
                                 const sa_plan_attention *attention) {
  const sa_attention *code = attention->code;
  const sparse_attn_kernel *kernel = state->plan->kernel;
  const sparse_attn_shape *shape = &state->plan->shape;
  int64_t heads = code->per_head ? shape->heads : shape->kv_heads;
  for (int32_t operand = 0; operand < 2; ++operand) {
    int32_t id = operand ? code->probability : code->list;
    if (id < 0)
      continue;
    const int64_t *size = state->values[id].size;
    if (size[1] != 1 && size[1] != heads)
      return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                     "kernel '%s': '%s' has size %lld on axis 1, expected %s = %lld or 1",
                     kernel->name, kernel->inputs[id].name, (long long)size[1],
                     code->per_head ? "H" : "Hkv", (long long)heads);
    if (size[2] != attention->row_tiles)
      return sa_fail(
          SPARSE_ATTN_INVALID_ARGUMENT,
          "kernel '%s': '%s' has size %lld on axis 2, expected %lld: one list for "
          "every %d of M = %lld rows",
          kernel->name, kernel->inputs[id].name, (long long)size[2],
          (long long)attention->row_tiles, (int)code->tile_rows,
          (long long)shape->queries);
    if (size[3] != state->values[code->list].size[3])
      return sa_fail(
          SPARSE_ATTN_INVALID_ARGUMENT,
          "kernel '%s': '%s' has size %lld on axis 3, expected that of '%s', %lld",
          kernel->name, kernel->inputs[id].name, (long long)size[3],
          kernel->inputs[code->list].name, (long long)state->values[code->list].size[3]);
  }
  return SPARSE_ATTN_OK;
}

/* The arrays in a worker's room. */
typedef struct list_room {
  uint64_t *listed;   /* a bit for each key */
  float *probability; /* by key */
  int32_t *keys;
  float *weights;
  uint8_t *bits;
  sa_run *runs;
  size_t bit_bytes; /* of a tile */
} list_room;

/* Lays out a room at `base` (may be NULL) for all keys; false where it is too large. */
static bool lay_out(const sa_plan_attention *attention, char *base, list_room *room,
                    size_t *bytes) {
  const sa_attention *code = attention->code;
  size_t keys = (size_t)attention->key_capacity, tiles = (size_t)attention->key_tiles;
  bool weighted = code->probability >= 0;
  room->bit_bytes = (size_t)(code->tile_rows * code->tile_keys / 8);
  const struct {
    void **array;
    size_t count, size;
  } arrays[] = {
      {(void **)&room->listed, keys / 64 + 1, sizeof(uint64_t)},
      {(void **)&room->probability, weighted ? keys : 0, sizeof(float)},
      {(void **)&room->keys, keys + SA_LIST_MARGIN, sizeof(int32_t)},
      {(void **)&room->weights, weighted ? keys + (size_t)code->tile_keys : 0,
       sizeof(float)},
      {(void **)&room->bits, tiles, room->bit_bytes},
      {(void **)&room->runs, tiles, sizeof(sa_run)},
  };
  *bytes = 0;
  for (size_t i = 0; i < sizeof(arrays) / sizeof(*arrays); ++i) {
    size_t own;
    *arrays[i].array = base ? base + *bytes : NULL;
    if (!sa_multiply(arrays[i].count, arrays[i].size, &own) || !sa_align(own, &own) ||
        !sa_add(*bytes, own, bytes))
      return false;
  }
  return true;
}

bool sa_list_room_bytes(const sa_plan_attention *attention, size_t *bytes) {
  list_room room;
  return lay_out(attention, NULL, &room, bytes);
}

/* Element `i` of the list of a call. Axes of size 1 broadcast. */
static const void *list_element(const sa_run_state *state, const sa_attention *code,
                                const sa_call *call, int32_t id, int64_t i) {
  int64_t head = code->per_head ? call->h : call->kv_head;
  return sa_at(&state->values[id], 4, call->b, head, call->row_tile, i);
}

/* Marks the listed keys of [begin, end), but those of probability 0. False where one is
 * not a key, or has no probability. */
static bool mark_keys(const sa_run_state *state, const sa_plan_attention *attention,
                      const sa_call *call, int64_t begin, int64_t end, list_room *room) {
  const sa_attention *code = attention->code;
  int64_t capacity = attention->key_capacity, count = state->values[code->list].size[3];
  memset(room->listed + begin / 64, 0,
         (size_t)(sa_ceil_div(end, 64) - begin / 64) * sizeof(uint64_t));
  for (int64_t i = 0; i < count; ++i) {
    int32_t key = *(const int32_t *)list_element(state, code, call, code->list, i);
    if (key < -1 || key >= capacity)
      return false;
    if (key < begin || key >= end)
      continue;
    uint64_t bit = UINT64_C(1) << (key % 64);
    if (room->listed[key / 64] & bit)
      continue;
    if (code->probability >= 0) {
      float probability =
          *(const float *)list_element(state, code, call, code->probability, i);
      if (!(probability >= 0 && probability <= 1))
        return false;
      if (probability == 0)
        continue;
      room->probability[key] = probability;
    }
    room->listed[key / 64] |= bit;
  }
  return true;
}

/* Gives tile `tile` of the list bits: so far every row keeps its first `columns` keys. */
static void give_bits(const sa_tile_query *query, const list_room *room, int64_t tile,
                      int64_t columns) {
  size_t row_bytes = (size_t)query->tile_keys / 8;
  uint8_t *bits = room->bits + (size_t)tile * room->bit_bytes;
  room->runs[tile].mask = (int32_t)tile;
  memset(bits, 0, room->bit_bytes);
  for (int32_t r = 0; r < query->rows; ++r)
    sa_set_bits(bits + (size_t)r * row_bytes, 0, (int32_t)columns);
}

/* Appends `key`, of which the rows keep some (kind), as element `at` of the list. */
static void append_key(const sa_tile_query *query, const list_room *room, int64_t at,
                       int32_t key, int32_t kind) {
  int64_t tile = at / query->tile_keys, column = at % query->tile_keys;
  sa_run *run = &room->runs[tile];
  if (column == 0)
    *run = (sa_run){(int32_t)tile, 1, SA_RUN_FULL, -1};
  room->keys[at] = key;
  bool full = kind == SPARSE_ATTN_TILE_FULL;
  if (full && run->mask == SA_RUN_FULL)
    return;
  if (run->mask == SA_RUN_FULL)
    give_bits(query, room, tile, column);
  uint8_t *byte = room->bits + (size_t)tile * room->bit_bytes + column / 8;
  for (int32_t r = 0; r < query->rows; ++r, byte += query->tile_keys / 8)
    if (full || sa_classify_box(query, query->p0 + r, 1, key, 1) == SPARSE_ATTN_TILE_FULL)
      *byte |= (uint8_t)(1 << (column % 8));
}

bool sa_list_keys(const sa_run_state *state, const sa_plan_attention *attention,
                  const sa_call *call, int64_t part, char *base, sa_key_list *list) {
  const sa_attention *code = attention->code;
  list_room room;
  size_t bytes;
  lay_out(attention, base, &room, &bytes);
  sa_tile_query query =
      sa_plan_query(state->plan, attention, call->b, call->h, call->row_tile);
  int64_t parts = attention->schedule.parts, capacity = attention->key_capacity;
  int64_t begin = capacity * part / parts, end = capacity * (part + 1) / parts;
  if (!mark_keys(state, attention, call, begin, end, &room))
    return false;
  int64_t count = 0, last = sa_min(end, query.keys);
  for (int64_t word = begin / 64; word * 64 < last; ++word)
    for (uint64_t set = room.listed[word]; set; set &= set - 1) {
      int32_t key = (int32_t)(word * 64 + __builtin_ctzll(set));
      if (key >= last)
        break;
      int32_t kind = sa_classify_box(&query, query.p0, query.rows, key, 1);
      if (kind == SPARSE_ATTN_TILE_EMPTY)
        continue;
      if (code->probability >= 0)
        room.weights[count] = 1 / room.probability[key];
      append_key(&query, &room, count++, key, kind);
    }
  /* A full tile is a whole one. */
  int64_t whole = count / code->tile_keys, rest = count % code->tile_keys;
  if (rest && room.runs[whole].mask == SA_RUN_FULL)
    give_bits(&query, &room, whole, rest);
  for (int64_t i = 0; i < SA_LIST_MARGIN; ++i)
    room.keys[count + i] = count ? room.keys[count - 1] : 0;
  if (code->probability >= 0)
    memset(room.weights + count, 0, (size_t)code->tile_keys * sizeof(float));
  *list = (sa_key_list){
      .keys = room.keys,
      .weights = room.weights,
      .count = count,
      .runs = {room.runs, sa_ceil_div(count, code->tile_keys), room.bits, NULL}};
  return true;
}
