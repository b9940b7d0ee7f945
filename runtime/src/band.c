/*===- band.c - the tile lists of neighbouring query tiles ----------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Neighbouring query tiles mostly keep the same keys: those of their document, of
 * the nodes that theirs is linked to. So the classifier is asked about a band of
 * query tiles at once, and about fewer only where it cannot decide:
 *
 *        keys ->
 *   band . . # # # # . . . .   decided for all its query tiles at once
 *        . . # # # # . + . .   + keys of one tile, the same for all rows: one bit
 *        . . # # # # . + . .     tile, which these lists share
 *        . . # # # # . + \ .   \ halved by rows, down to one query tile, whose
 *                                pairs are then decided one by one
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

/* A residue class of keys (step.c) being listed for a band. Query tiles are numbered
 * from the band's first one, key tiles from the first one of the class. */
typedef struct listing {
  const sa_band *band;
  sa_band_lists *lists;
  int32_t first_key, class_keys, class_first;
} listing;

/* Some tiles. */
typedef struct rectangle {
  int32_t row, rows;   /* query tiles */
  int32_t tile, tiles; /* key tiles */
} rectangle;

static int32_t row_count(const sa_band *band, rectangle at) {
  return (int32_t)sa_min(at.rows * band->tile_rows,
                         band->query.rows - at.row * band->tile_rows);
}

static int32_t first_position(const sa_band *band, rectangle at) {
  return band->query.p0 + band->query.step * at.row * band->tile_rows;
}

/* Keys of the tiles of `at` that exist. */
static int32_t key_count(const listing *list, rectangle at) {
  int64_t first = (int64_t)at.tile * list->band->query.tile_keys;
  return (int32_t)sa_min((int64_t)at.tiles * list->band->query.tile_keys,
                         list->class_keys - first);
}

/* The class of keys [key, key + keys) of the tiles of `at`. */
static int32_t classify(const listing *list, rectangle at, int32_t key, int32_t keys) {
  const sa_band *band = list->band;
  int64_t j = (int64_t)at.tile * band->query.tile_keys + key;
  return sa_classify_box(&band->query, first_position(band, at), row_count(band, at),
                         (int32_t)(list->first_key + band->query.step * j), keys);
}

/*===--- Results ----------------------------------------------------------===*/

static bool fail(listing *list, sparse_attn_status status) {
  list->lists->status = status;
  return false;
}

/* Appends `at` to the lists of its rows; `mask` as in sa_run. */
static bool append(listing *list, rectangle at, int32_t mask) {
  int32_t tile = list->class_first + at.tile;
  for (int32_t row = at.row; row < at.row + at.rows; ++row) {
    sa_buffer *runs = &list->lists->runs[row];
    sa_run *last = runs->size ? (sa_run *)(runs->data + runs->size) - 1 : NULL;
    if (last && last->first_tile + last->tiles == tile &&
        (mask < 0 ? last->mask == mask
                  : last->mask >= 0 && last->mask + last->tiles == mask)) {
      last->tiles += at.tiles;
      continue;
    }
    sa_run *run = sa_buffer_extend(runs, sizeof(*run));
    if (!run)
      return fail(list, SPARSE_ATTN_OUT_OF_MEMORY);
    *run = (sa_run){tile, at.tiles, mask, -1};
  }
  return true;
}

/* Room for a bit tile, zeroed; `*mask` is its number. */
static uint8_t *add_bits(listing *list, int32_t *mask) {
  sa_buffer *bits = list->lists->bits;
  size_t bytes = sa_bits_bytes(&list->band->query, list->band->tile_rows);
  if (bits->size / bytes >= INT32_MAX) {
    fail(list, SPARSE_ATTN_OVERFLOW);
    return NULL;
  }
  *mask = (int32_t)(bits->size / bytes);
  uint8_t *room = sa_buffer_extend(bits, bytes);
  if (room)
    memset(room, 0, bytes);
  else
    fail(list, SPARSE_ATTN_OUT_OF_MEMORY);
  return room;
}

/* Appends the tile whose bits are the last that were added, and holds `kind`. */
static bool append_bits(listing *list, rectangle at, int32_t mask, int32_t kind) {
  if (kind == SPARSE_ATTN_TILE_PARTIAL)
    return append(list, at, mask);
  list->lists->bits->size -= sa_bits_bytes(&list->band->query, list->band->tile_rows);
  return kind == SPARSE_ATTN_TILE_EMPTY || append(list, at, SA_RUN_FULL);
}

/*===--- One key tile -----------------------------------------------------===*/

/* Decides keys [key, key + keys) for all rows of `at` alike; false if a key is kept
 * by some of them only, or after *questions. */
static bool settle_keys(const listing *list, rectangle at, int32_t key, int32_t keys,
                        uint8_t *row, int32_t *questions) {
  if (--*questions < 0)
    return false;
  int32_t kind = classify(list, at, key, keys);
  if (kind == SPARSE_ATTN_TILE_FULL)
    sa_set_bits(row, key, keys);
  if (kind != SPARSE_ATTN_TILE_PARTIAL)
    return true;
  int32_t half = keys / 2;
  return keys > 1 && settle_keys(list, at, key, half, row, questions) &&
         settle_keys(list, at, key + half, keys - half, row, questions);
}

/* More questions than this cost more than deciding the tiles of `at` one by one. */
static int32_t most_questions(rectangle at) { return 8 * at.rows; }

/* The first of keys [key, keys) that is not kept as `key` is, or `keys`. */
static int32_t find_change(const uint8_t *row, int32_t key, int32_t keys) {
  int32_t kept = row[key / 8] >> key % 8 & 1;
  while (key < keys && (row[key / 8] >> key % 8 & 1) == kept) {
    bool whole = key % 8 == 0 && row[key / 8] == (kept ? 0xff : 0);
    key += whole ? 8 : 1;
  }
  return (int32_t)sa_min(key, keys);
}

/* Decides the first row of `at`, and asks whether the others agree: one question for
 * each sequence of equal bits. */
static bool repeat_first_row(const listing *list, rectangle at, uint8_t *row) {
  const sa_tile_query *query = &list->band->query;
  int32_t keys = key_count(list, at);
  sa_fill_args args = {.context = &query->context,
                       .bits = row,
                       .row_bytes = query->tile_keys / 8,
                       .b = query->b,
                       .h = query->h,
                       .first_position = first_position(list->band, at),
                       .rows = 1,
                       .first_key = list->first_key +
                                    (int64_t)query->step * at.tile * query->tile_keys,
                       .keys = keys,
                       .step = query->step};
  query->fill(&args);
  int32_t questions = most_questions(at);
  for (int32_t key = 0, end; key < keys; key = end) {
    end = find_change(row, key, keys);
    int32_t kind =
        row[key / 8] >> key % 8 & 1 ? SPARSE_ATTN_TILE_FULL : SPARSE_ATTN_TILE_EMPTY;
    if (--questions < 0 || classify(list, at, key, end - key) != kind)
      return false;
  }
  return true;
}

/* Whether all rows of `at` keep the same keys of its tile: sets bits of one row. */
static bool find_equal_rows(const listing *list, rectangle at, uint8_t *row) {
  /* The first key alone tells most rows apart that differ. */
  if (classify(list, at, 0, 1) == SPARSE_ATTN_TILE_PARTIAL)
    return false;
  if (list->band->query.fill)
    return repeat_first_row(list, at, row);
  int32_t questions = most_questions(at);
  return settle_keys(list, at, 0, key_count(list, at), row, &questions);
}

/* One bit tile for all rows of `at`, which keep the keys that row 0 of it has. */
static bool append_equal_rows(listing *list, rectangle at, uint8_t *bits, int32_t mask) {
  const sa_band *band = list->band;
  size_t row_bytes = (size_t)band->query.tile_keys / 8;
  int32_t rows = (int32_t)sa_min(row_count(band, at), band->tile_rows);
  bool any = false, all = true;
  for (size_t i = 0; i < row_bytes; ++i) {
    any = any || bits[i];
    all = all && bits[i] == 0xff;
  }
  for (int32_t r = 1; r < rows; ++r)
    memcpy(bits + (size_t)r * row_bytes, bits, row_bytes);
  return append_bits(list, at, mask,
                     !any  ? SPARSE_ATTN_TILE_EMPTY
                     : all ? SPARSE_ATTN_TILE_FULL
                           : SPARSE_ATTN_TILE_PARTIAL);
}

static bool walk_rows(listing *list, rectangle at);

/* A tile of keys that is undecided for the rows of `at`. */
static bool walk_tile(listing *list, rectangle at) {
  const sa_band *band = list->band;
  int32_t mask;
  uint8_t *bits = add_bits(list, &mask);
  if (!bits)
    return false;
  if (at.rows == 1) {
    sa_tile_query query = band->query;
    query.p0 = first_position(band, at);
    query.rows = row_count(band, at);
    return append_bits(list, at, mask,
                       (int32_t)sa_fill_bits(&query, list->class_first + at.tile, bits));
  }
  if (find_equal_rows(list, at, bits))
    return append_equal_rows(list, at, bits, mask);
  append_bits(list, at, mask, SPARSE_ATTN_TILE_EMPTY); /* gives the bits back */
  return walk_rows(list, at);
}

/* Tiles that are full, but the last one may cross the last key: then some of its
 * pairs do not exist. */
static bool append_full(listing *list, rectangle at) {
  const sa_band *band = list->band;
  rectangle whole = at;
  whole.tiles =
      (int32_t)sa_min(at.tiles, list->class_keys / band->query.tile_keys - at.tile);
  if (whole.tiles > 0 && !append(list, whole, SA_RUN_FULL))
    return false;
  if (whole.tiles == at.tiles)
    return true;
  at.tile += at.tiles - 1;
  at.tiles = 1;
  int32_t mask;
  uint8_t *bits = add_bits(list, &mask);
  if (!bits)
    return false;
  sa_set_bits(bits, 0, key_count(list, at));
  return append_equal_rows(list, at, bits, mask);
}

/*===--- Bisection --------------------------------------------------------===*/

static bool walk(listing *list, rectangle at);

static bool walk_rows(listing *list, rectangle at) {
  rectangle above = at, below = at;
  above.rows = at.rows / 2;
  below.row += above.rows;
  below.rows -= above.rows;
  return walk(list, above) && walk(list, below);
}

/* Keys ascend in every list, since a half on the left is walked before its right
 * neighbour by all rows. Rows are halved where a rectangle is as high as wide. */
static bool walk(listing *list, rectangle at) {
  int32_t kind = classify(list, at, 0, key_count(list, at));
  if (kind == SPARSE_ATTN_TILE_EMPTY)
    return true;
  if (kind == SPARSE_ATTN_TILE_FULL)
    return append_full(list, at);
  if (at.tiles == 1)
    return walk_tile(list, at);
  rectangle left = at, right = at;
  left.tiles = at.tiles / 2;
  right.tile += left.tiles;
  right.tiles -= left.tiles;
  return walk(list, left) && walk(list, right);
}

sparse_attn_status sa_list_band(const sa_band *band, sa_band_lists *lists) {
  for (int32_t i = 0; i < band->row_tiles; ++i)
    lists->runs[i].size = 0;
  lists->status = SPARSE_ATTN_OK;
  const sa_tile_query *query = &band->query;
  int32_t classes = query->rows == 0 ? 0 : (int32_t)sa_min(query->step, query->keys);
  for (int32_t key = 0; key < classes && !lists->status; ++key) {
    listing list = {band, lists, .first_key = key};
    list.class_keys = (int32_t)sa_ceil_div(query->keys - key, query->step);
    list.class_first = key * query->class_tiles;
    int32_t tiles = (int32_t)sa_ceil_div(list.class_keys, query->tile_keys);
    walk(&list, (rectangle){0, band->row_tiles, 0, tiles});
  }
  return lists->status;
}
