/*===- bits.c - the pairs of a partial tile as bits -----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

/* A tile being filled. Rows and keys below are numbers in the tile. */
typedef struct filling {
  const sa_tile_query *query;
  int32_t j0;
  uint8_t *bits;
  int64_t kept; /* pairs */
} filling;

static void set_rectangle(filling *fill, int32_t row, int32_t rows, int32_t key,
                          int32_t keys) {
  int32_t row_bytes = fill->query->tile_keys / 8;
  int32_t first = key / 8, last = (key + keys - 1) / 8;
  uint8_t head = (uint8_t)(0xff << key % 8);
  uint8_t tail = (uint8_t)(0xff >> (7 - (key + keys - 1) % 8));
  for (int32_t r = row; r < row + rows; ++r) {
    uint8_t *bytes = fill->bits + (int64_t)r * row_bytes;
    if (first == last) {
      bytes[first] |= head & tail;
      continue;
    }
    bytes[first] |= head;
    for (int32_t i = first + 1; i < last; ++i)
      bytes[i] = 0xff;
    bytes[last] |= tail;
  }
  fill->kept += (int64_t)rows * keys;
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

sparse_attn_tile_class sa_fill_bits(const sa_tile_query *query, int32_t tile,
                                    uint8_t *bits) {
  sa_tile_span span =
      sa_span(tile, query->class_tiles, query->step, query->tile_keys, query->keys);
  int32_t keys = (int32_t)span.count, rows = query->rows;
  filling fill = {query, (int32_t)span.first, bits, 0};
  settle(&fill, classify(&fill, 0, rows, 0, keys), 0, rows, 0, keys);
  if (fill.kept == 0)
    return SPARSE_ATTN_TILE_EMPTY;
  return fill.kept == (int64_t)rows * query->tile_keys ? SPARSE_ATTN_TILE_FULL
                                                       : SPARSE_ATTN_TILE_PARTIAL;
}
