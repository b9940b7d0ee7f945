/*===- list.c - the tile list of a query tile -----------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * The keys of a query tile are swept from left to right, one question for each
 * sequence of keys that are alike: that every row keeps, or does not keep, together.
 *
 *   tiles     |       |       |       |       |       |       |
 *   extents    . . . . . # # # # # # # # # # . . . ~ ~ ~ ~ ~ ~
 *   list              |  +    |   #   |   +   |   ~   |   ~   |
 *
 *   # kept by all rows    . by none    ~ by some, the same ones for all these keys
 *
 * A tile of # and . has the same bits in each row (+): they need no further question.
 * Alike tiles of ~ share bits. Whatever is left is decided pair by pair. Equal bit
 * tiles of neighbouring lists are kept once: those of a document, of the nodes that
 * another is linked to, of a diagonal.
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

/* Keys [key, stop) of a residue class are alike and of this kind; none are where
 * key == stop: then nothing is known. */
typedef struct extent {
  int32_t key, stop;
  int32_t kind;
} extent;

/* A residue class of keys (step.c) being listed. Keys and key tiles are numbered from
 * the first one of the class. */
typedef struct listing {
  const sa_tile_query *query;
  sa_lists *lists;
  size_t tile_bytes, row_bytes; /* of a bit tile */
  size_t begin;                 /* of the list, in lists->runs */
  int32_t first_key, class_keys, class_first;
  extent now; /* the last answer */
} listing;

static bool fail(listing *list, sparse_attn_status status) {
  list->lists->status = status;
  return false;
}

static int32_t tile_end(const listing *list, int32_t tile) {
  return (int32_t)sa_min(((int64_t)tile + 1) * list->query->tile_keys, list->class_keys);
}

/*===--- Questions --------------------------------------------------------===*/

/* What `query` keeps of positions p0 to p1 x keys from j0 on, in steps; see
 * sa_extent_fn. Without a function of its own, a mask tells whether all are decided. */
static uint32_t ask(const sa_tile_query *query, int32_t p1, int32_t j0, int32_t j1) {
  if (query->extent)
    return query->extent(&query->context, query->b, query->h, query->p0, p1, j0, j1,
                         query->step);
  int32_t kind = sa_classify(query, query->p0, p1, j0, j1);
  return sa_pack_extent(kind == SPARSE_ATTN_TILE_PARTIAL ? j0 : j1 + 1, kind);
}

/* The extent that `key` is in, as far as it is below `end`. */
static extent find_extent(listing *list, int32_t key, int32_t end) {
  if (key >= list->now.stop || key < list->now.key) {
    const sa_tile_query *query = list->query;
    int32_t step = query->step, j0 = list->first_key + step * key;
    uint32_t answer = ask(query, query->p0 + step * (query->rows - 1), j0,
                          list->first_key + step * (end - 1));
    int32_t stop = (int32_t)(answer >> 2);
    /* A stop between two keys of the class is after the first of them. */
    int32_t alike = step == 1 ? stop - j0 : (int32_t)sa_ceil_div(stop - j0, step);
    list->now = (extent){key, key + alike, (int32_t)(answer & 3)};
  }
  extent found = {key, (int32_t)sa_min(list->now.stop, end), list->now.kind};
  return found;
}

/*===--- Bit tiles --------------------------------------------------------===*/

/* Room for a bit tile at the end, zeroed; `*mask` is its number. */
static uint8_t *add_bits(listing *list, int32_t *mask) {
  sa_buffer *bits = list->lists->bits;
  if (bits->size / list->tile_bytes >= INT32_MAX) {
    fail(list, SPARSE_ATTN_OVERFLOW);
    return NULL;
  }
  *mask = (int32_t)(bits->size / list->tile_bytes);
  uint8_t *room = sa_buffer_extend(bits, list->tile_bytes);
  if (room)
    memset(room, 0, list->tile_bytes);
  else
    fail(list, SPARSE_ATTN_OUT_OF_MEMORY);
  return room;
}

/* A hash: a sum of products, none of which waits for another. */
static uint64_t hash_bytes(const uint8_t *bytes, size_t count) {
  uint64_t sum = 0, factor = UINT64_C(0x9e3779b97f4a7c15), word;
  for (; count >= sizeof(word); bytes += sizeof(word), count -= sizeof(word)) {
    memcpy(&word, bytes, sizeof(word));
    factor += UINT64_C(0xd1342543de82ef96); /* stays odd */
    sum += (word ^ word >> 32) * factor;
  }
  for (; count; ++bytes, --count) {
    factor += UINT64_C(0xd1342543de82ef96);
    sum += *bytes * factor;
  }
  return sum ^ sum >> 32;
}

static sa_kept_bits *find_kept(const listing *list, uint64_t hash) {
  return &list->lists->kept[hash % SA_KEPT_BITS];
}

static const uint8_t *bits_of(const listing *list, int32_t mask) {
  return (const uint8_t *)list->lists->bits->data + (size_t)mask * list->tile_bytes;
}

/* Replaces the last bit tile, `mask`, by an equal one before it, if one is known. */
static void share_bits(listing *list, int32_t *mask) {
  const uint8_t *bits = bits_of(list, *mask);
  uint64_t hash = hash_bytes(bits, list->tile_bytes);
  sa_kept_bits *kept = find_kept(list, hash);
  if (kept->end && kept->hash == hash && kept->rows == 0 &&
      memcmp(bits_of(list, kept->end - 1), bits, list->tile_bytes) == 0) {
    *mask = kept->end - 1;
    list->lists->bits->size -= list->tile_bytes;
    return;
  }
  *kept = (sa_kept_bits){hash, *mask + 1, 0};
}

static void repeat_row(const listing *list, uint8_t *row) {
  for (int32_t r = 1; r < list->query->rows; ++r)
    memcpy(row + (size_t)r * list->row_bytes, row, list->row_bytes);
}

/* Repeats the first row of the last bit tile, `mask`, or replaces the tile as
 * share_bits does. */
static void share_equal_rows(listing *list, int32_t *mask) {
  int32_t rows = list->query->rows;
  uint8_t *row = (uint8_t *)list->lists->bits->data + (size_t)*mask * list->tile_bytes;
  uint64_t hash = hash_bytes(row, list->row_bytes) + (uint64_t)rows;
  sa_kept_bits *kept = find_kept(list, hash);
  if (kept->end && kept->hash == hash && kept->rows == rows &&
      memcmp(bits_of(list, kept->end - 1), row, list->row_bytes) == 0) {
    *mask = kept->end - 1;
    list->lists->bits->size -= list->tile_bytes;
    return;
  }
  repeat_row(list, row);
  *kept = (sa_kept_bits){hash, *mask + 1, rows};
}

/*===--- Results ----------------------------------------------------------===*/

/* Appends tiles of the class; `mask` as in sa_run. */
static bool append(listing *list, int32_t tile, int32_t tiles, int32_t mask) {
  sa_buffer *runs = list->lists->runs;
  sa_run *last =
      runs->size > list->begin ? (sa_run *)(runs->data + runs->size) - 1 : NULL;
  tile += list->class_first;
  if (last && last->first_tile + last->tiles == tile &&
      (mask < 0 ? last->mask == mask
                : last->mask >= 0 && last->mask + last->tiles == mask)) {
    last->tiles += tiles;
    return true;
  }
  sa_run *run = sa_buffer_extend(runs, sizeof(*run));
  if (!run)
    return fail(list, SPARSE_ATTN_OUT_OF_MEMORY);
  *run = (sa_run){tile, tiles, mask, -1};
  return true;
}

/* Appends tiles that all hold what the last bit tile, `mask`, does. */
static bool append_bits(listing *list, int32_t tile, int32_t tiles, int32_t mask) {
  int32_t kind = (int32_t)sa_inspect_bits(bits_of(list, mask),
                                          (size_t)list->query->rows * list->row_bytes);
  if (kind != SPARSE_ATTN_TILE_PARTIAL) {
    list->lists->bits->size -= list->tile_bytes;
    return kind == SPARSE_ATTN_TILE_EMPTY || append(list, tile, tiles, SA_RUN_FULL);
  }
  share_bits(list, &mask);
  for (int32_t end = tile + tiles; tile < end; ++tile)
    if (!append(list, tile, 1, mask))
      return false;
  return true;
}

/* Decides keys [key, key + keys) of the class, for all rows, pair by pair. */
static void fill_keys(const listing *list, int32_t key, int32_t keys, uint8_t *bits) {
  const sa_tile_query *query = list->query;
  sa_fill_bits(query, list->first_key + query->step * key, keys, bits);
}

/*===--- The sweep --------------------------------------------------------===*/

/* The extent at `key`, whose tile ends at `end`. It may reach into the next tiles, where
 * the answer then serves again. */
static extent find_next(listing *list, int32_t key, int32_t end) {
  extent at = find_extent(list, key, list->query->extent ? list->class_keys : end);
  if (at.key == at.stop && end < list->class_keys)
    at = find_extent(list, key, end);
  at.stop = (int32_t)sa_min(at.stop, end);
  return at;
}

static bool is_uniform(extent at) {
  return at.key < at.stop && at.kind != SPARSE_ATTN_TILE_PARTIAL;
}

/* Keys of a tile are decided in at most 32 units of whole words. */
static int32_t unit_keys(const listing *list) {
  enum { kWord = 64, kMostUnits = 32 };
  return (int32_t)sa_ceil_div(list->query->tile_keys, kWord * kMostUnits) * kWord;
}

/* Sets the keys that all rows of a tile keep in `row`, from extent `at` on. The result
 * has a bit for every unit in which some row keeps others. */
static uint64_t set_equal_rows(listing *list, int32_t tile, extent at, uint8_t *row) {
  int32_t begin = at.key, end = tile_end(list, tile), unit = unit_keys(list);
  uint64_t undecided = 0;
  for (;; at = find_next(list, at.stop, end)) {
    if (!is_uniform(at)) {
      int32_t number = (at.key - begin) / unit;
      undecided |= UINT64_C(1) << number;
      at.stop = (int32_t)sa_min((int64_t)begin + (number + 1) * unit, end);
    } else if (at.kind == SPARSE_ATTN_TILE_FULL) {
      sa_set_bits(row, at.key - begin, at.stop - at.key);
    }
    if (at.stop == end)
      return undecided;
  }
}

/* Fills the units that are undecided, neighbours at once. */
static void fill_units(const listing *list, int32_t tile, uint64_t undecided,
                       uint8_t *bits) {
  int32_t begin = tile * list->query->tile_keys, end = tile_end(list, tile);
  int32_t unit = unit_keys(list);
  for (int32_t number = 0; undecided >> number; ++number) {
    int32_t first = number;
    while (undecided >> number & 1)
      ++number;
    if (first == number)
      continue;
    int32_t key = begin + first * unit;
    fill_keys(list, key, (int32_t)sa_min((int64_t)(number - first) * unit, end - key),
              bits + first * unit / 8);
  }
}

/* The tile that begins with extent `at`, which ends inside of it. */
static bool walk_tile(listing *list, int32_t tile, extent at) {
  int32_t mask;
  uint8_t *bits = add_bits(list, &mask);
  if (!bits)
    return false;
  uint64_t undecided = set_equal_rows(list, tile, at, bits);
  if (!undecided) {
    int32_t kind = (int32_t)sa_inspect_bits(bits, list->row_bytes);
    if (kind == SPARSE_ATTN_TILE_PARTIAL) {
      share_equal_rows(list, &mask);
      return append(list, tile, 1, mask);
    }
    /* Several extents of one kind. */
    list->lists->bits->size -= list->tile_bytes;
    return kind == SPARSE_ATTN_TILE_EMPTY || append(list, tile, 1, SA_RUN_FULL);
  }
  repeat_row(list, bits);
  fill_units(list, tile, undecided, bits);
  return append_bits(list, tile, 1, mask);
}

/* Whole tiles of keys that are alike but not for all rows: one key tells for all. */
static bool append_partial(listing *list, int32_t tile, int32_t tiles) {
  int32_t mask, size = list->query->tile_keys;
  uint8_t *bits = add_bits(list, &mask);
  if (!bits)
    return false;
  int32_t unit = (int32_t)sa_min(unit_keys(list), size);
  fill_keys(list, tile * size, unit, bits);
  size_t done = (size_t)unit / 8;
  for (int32_t r = 0; r < list->query->rows; ++r, bits += list->row_bytes)
    for (size_t i = done; i < list->row_bytes; ++i)
      bits[i] = bits[i - done];
  return append_bits(list, tile, tiles, mask);
}

/* Whole tiles of keys that are alike, but the last one may cross the last key: then
 * some of its pairs do not exist. */
static bool append_alike(listing *list, int32_t tile, int32_t tiles, extent at) {
  if (at.kind == SPARSE_ATTN_TILE_EMPTY)
    return true;
  bool full = at.kind == SPARSE_ATTN_TILE_FULL;
  int32_t size = list->query->tile_keys;
  int32_t whole = (int32_t)sa_min(tiles, list->class_keys / size - tile);
  if (whole > 0 && !(full ? append(list, tile, whole, SA_RUN_FULL)
                          : append_partial(list, tile, whole)))
    return false;
  at.key = (tile + tiles - 1) * size;
  return whole == tiles || walk_tile(list, tile + tiles - 1, at);
}

/* Asks about as many tiles as were decided last, twice as many after an answer and
 * half of them where there is none. */
static bool walk(listing *list) {
  int32_t size = list->query->tile_keys;
  int32_t count = (int32_t)sa_ceil_div(list->class_keys, size), wanted = count;
  for (int32_t tile = 0; tile < count;) {
    int32_t key = tile * size;
    wanted = (int32_t)sa_min(wanted, count - tile);
    extent at = find_extent(list, key, tile_end(list, tile + wanted - 1));
    if (at.key == at.stop && wanted > 1) {
      wanted /= 2;
      continue;
    }
    int32_t tiles = at.stop == list->class_keys ? count - tile : (at.stop - key) / size;
    if (tiles == 0) {
      if (!walk_tile(list, tile++, at))
        return false;
      continue;
    }
    if (!append_alike(list, tile, tiles, at))
      return false;
    tile += tiles;
    wanted = tiles >= wanted ? (int32_t)sa_min(2 * (int64_t)wanted, count) : wanted;
  }
  return true;
}

sparse_attn_status sa_list_tiles(const sa_tile_query *query, int32_t tile_rows,
                                 sa_lists *lists) {
  lists->status = SPARSE_ATTN_OK;
  size_t begin = lists->runs->size;
  int32_t classes = query->rows == 0 ? 0 : (int32_t)sa_min(query->step, query->keys);
  for (int32_t key = 0; key < classes && !lists->status; ++key) {
    listing list = {.query = query,
                    .lists = lists,
                    .tile_bytes = sa_bits_bytes(query, tile_rows),
                    .row_bytes = (size_t)query->tile_keys / 8,
                    .begin = begin,
                    .first_key = key};
    list.class_keys = (int32_t)sa_ceil_div(query->keys - key, query->step);
    list.class_first = key * query->class_tiles;
    walk(&list);
  }
  return lists->status;
}
