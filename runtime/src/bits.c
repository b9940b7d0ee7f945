/*===- bits.c - the pairs of a partial tile as bits -----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

void sa_set_bits(uint8_t *row, int32_t first, int32_t count) {
  int32_t last = first + count - 1;
  uint8_t head = (uint8_t)(0xff << first % 8), tail = (uint8_t)(0xff >> (7 - last % 8));
  if (first / 8 == last / 8) {
    row[first / 8] |= head & tail;
    return;
  }
  row[first / 8] |= head;
  for (int32_t i = first / 8 + 1; i < last / 8; ++i)
    row[i] = 0xff;
  row[last / 8] |= tail;
}

/* How many of origin, origin + step, ... are below `x`. */
static int64_t index_from(int64_t x, int64_t origin, int64_t step) {
  if (x <= origin)
    return 0;
  return step == 1 ? x - origin : sa_ceil_div(x - origin, step);
}

void sa_set_pairs(const sa_fill_args *pairs, uint8_t *bits, int64_t row, int64_t row_end,
                  int64_t first, int64_t end) {
  row = index_from(row, pairs->first_position, pairs->step);
  row_end = sa_min(index_from(row_end, pairs->first_position, pairs->step), pairs->rows);
  first = index_from(first, pairs->first_key, pairs->step);
  end = sa_min(index_from(end, pairs->first_key, pairs->step), pairs->keys);
  if (first >= end)
    return;
  if (pairs->row_bytes % (int64_t)sizeof(uint64_t)) {
    for (int64_t r = row; r < row_end; ++r)
      sa_set_bits(bits + r * pairs->row_bytes, (int32_t)first, (int32_t)(end - first));
    return;
  }
  /* Word by word, all rows of one column of words with the same mask. */
  for (int64_t word = first / 64; word <= (end - 1) / 64; ++word) {
    int64_t low = sa_max(first - word * 64, 0), high = sa_min(end - word * 64, 64);
    uint64_t mask = UINT64_MAX >> (64 - (high - low)) << low;
    uint8_t *at = bits + word * (int64_t)sizeof(mask);
    for (int64_t r = row; r < row_end; ++r) {
      uint64_t set;
      memcpy(&set, at + r * pairs->row_bytes, sizeof(set));
      set |= mask;
      memcpy(at + r * pairs->row_bytes, &set, sizeof(set));
    }
  }
}

/* A tile being filled. Rows and keys below are numbers in the tile. */
typedef struct filling {
  const sa_tile_query *query;
  int32_t j0;
  uint8_t *bits;
} filling;

static void set_rectangle(filling *fill, int32_t row, int32_t rows, int32_t key,
                          int32_t keys) {
  for (int32_t r = row; r < row + rows; ++r)
    sa_set_bits(fill->bits + (int64_t)r * (fill->query->tile_keys / 8), key, keys);
}

static int32_t classify(const filling *fill, int32_t row, int32_t rows, int32_t key,
                        int32_t keys) {
  const sa_tile_query *query = fill->query;
  return sa_classify_box(query, query->p0 + query->step * row, rows,
                         fill->j0 + query->step * key, keys);
}

static void split(filling *fill, int32_t row, int32_t rows, int32_t key, int32_t keys);

static void settle(filling *fill, int32_t kind, int32_t row, int32_t rows, int32_t key,
                   int32_t keys) {
  if (kind == SPARSE_ATTN_TILE_FULL)
    set_rectangle(fill, row, rows, key, keys);
  else if (kind == SPARSE_ATTN_TILE_PARTIAL && (rows > 1 || keys > 1))
    split(fill, row, rows, key, keys);
}

static void split_rows(filling *fill, int32_t row, int32_t rows, int32_t key,
                       int32_t keys) {
  int32_t half = rows / 2;
  settle(fill, classify(fill, row, half, key, keys), row, half, key, keys);
  settle(fill, classify(fill, row + half, rows - half, key, keys), row + half,
         rows - half, key, keys);
}

/* Halves the keys of an undecided rectangle. An edge that runs along the rows,
 * as at the end of a document, leaves one half decided: then the rows stay
 * whole. An edge that crosses both halves is split by rows too. */
static void split(filling *fill, int32_t row, int32_t rows, int32_t key, int32_t keys) {
  if (keys == 1) {
    split_rows(fill, row, rows, key, keys);
    return;
  }
  int32_t half = keys / 2;
  int32_t left = classify(fill, row, rows, key, half);
  int32_t right = classify(fill, row, rows, key + half, keys - half);
  if (rows > 1 && left == SPARSE_ATTN_TILE_PARTIAL && right == SPARSE_ATTN_TILE_PARTIAL) {
    split_rows(fill, row, rows, key, half);
    split_rows(fill, row, rows, key + half, keys - half);
    return;
  }
  settle(fill, left, row, rows, key, half);
  settle(fill, right, row, rows, key + half, keys - half);
}

sparse_attn_tile_class sa_inspect_bits(const uint8_t *bits, size_t bytes) {
  uint64_t any = 0, all = UINT64_MAX;
  size_t i = 0;
  for (uint64_t word; i + sizeof(word) <= bytes; i += sizeof(word)) {
    memcpy(&word, bits + i, sizeof(word));
    any |= word;
    all &= word;
  }
  for (; i < bytes; ++i) {
    any |= bits[i];
    all &= UINT64_MAX << 8 | bits[i];
  }
  return !any                ? SPARSE_ATTN_TILE_EMPTY
         : all == UINT64_MAX ? SPARSE_ATTN_TILE_FULL
                             : SPARSE_ATTN_TILE_PARTIAL;
}

void sa_fill_bits(const sa_tile_query *query, int32_t j0, int32_t keys, uint8_t *bits) {
  int32_t rows = query->rows, row_bytes = query->tile_keys / 8;
  if (query->fill) {
    sa_fill_args args = {.context = &query->context,
                         .bits = bits,
                         .row_bytes = row_bytes,
                         .b = query->b,
                         .h = query->h,
                         .first_position = query->p0,
                         .rows = rows,
                         .first_key = j0,
                         .keys = keys,
                         .step = query->step};
    query->fill(&args);
    return;
  }
  for (int32_t r = 0; r < rows; ++r)
    memset(bits + (int64_t)r * row_bytes, 0, (size_t)sa_ceil_div(keys, 8));
  filling fill = {query, j0, bits};
  settle(&fill, classify(&fill, 0, rows, 0, keys), 0, rows, 0, keys);
}
