/*===- tiles.c - the kept key tiles of a query tile -----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

/* An enumeration: the run that may still grow, and where runs go. */
typedef struct enumeration {
  const sa_tile_query *query;
  sa_tile_sink sink;
  void *context;
  int32_t first_key, class_keys; /* of the residue class that is walked */
  int32_t class_first;           /* its first tile */
  int32_t first, tiles;          /* of the pending run; tiles is 0 where there is none */
  sparse_attn_tile_class kind;
} enumeration;

static bool flush(enumeration *walk) {
  int32_t tiles = walk->tiles;
  walk->tiles = 0;
  return tiles == 0 || walk->sink(walk->context, walk->first, tiles, walk->kind);
}

static bool append(enumeration *walk, int32_t first, int32_t tiles,
                   sparse_attn_tile_class kind) {
  if (walk->tiles && walk->kind == kind && walk->first + walk->tiles == first) {
    walk->tiles += tiles;
    return true;
  }
  if (!flush(walk))
    return false;
  walk->first = first;
  walk->tiles = tiles;
  walk->kind = kind;
  return true;
}

/* Tiles [first, first + tiles) of the class are full, but the last one may cross
 * the last key: then some of its pairs do not exist. */
static bool append_full(enumeration *walk, int32_t first, int32_t tiles) {
  int32_t whole = walk->class_keys / walk->query->tile_keys;
  int32_t tile = walk->class_first + first;
  if (first + tiles <= whole)
    return append(walk, tile, tiles, SPARSE_ATTN_TILE_FULL);
  return (tiles == 1 || append(walk, tile, tiles - 1, SPARSE_ATTN_TILE_FULL)) &&
         append(walk, tile + tiles - 1, 1, SPARSE_ATTN_TILE_PARTIAL);
}

/* Bisects tiles [first, first + tiles) of the class, tiles > 0. */
static bool walk_tiles(enumeration *walk, int32_t first, int32_t tiles) {
  const sa_tile_query *query = walk->query;
  int64_t begin = (int64_t)first * query->tile_keys;
  int64_t keys = sa_min((int64_t)tiles * query->tile_keys, walk->class_keys - begin);
  int32_t kind =
      sa_classify_box(query, query->p0, query->rows,
                      (int32_t)(walk->first_key + query->step * begin), (int32_t)keys);
  if (kind == SPARSE_ATTN_TILE_EMPTY)
    return true;
  if (kind == SPARSE_ATTN_TILE_FULL)
    return append_full(walk, first, tiles);
  if (tiles == 1)
    return append(walk, walk->class_first + first, 1, SPARSE_ATTN_TILE_PARTIAL);
  int32_t half = tiles / 2;
  return walk_tiles(walk, first, half) && walk_tiles(walk, first + half, tiles - half);
}

bool sa_enumerate_tiles(const sa_tile_query *query, sa_tile_sink sink, void *context) {
  enumeration walk = {.query = query, .sink = sink, .context = context};
  int32_t classes = query->rows == 0 ? 0 : (int32_t)sa_min(query->step, query->keys);
  for (int32_t key = 0; key < classes; ++key) {
    walk.first_key = key;
    walk.class_keys = (int32_t)sa_ceil_div(query->keys - key, query->step);
    walk.class_first = key * query->class_tiles;
    if (!walk_tiles(&walk, 0, (int32_t)sa_ceil_div(walk.class_keys, query->tile_keys)))
      return false;
  }
  return flush(&walk);
}
