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
  int32_t first, tiles; /* of the pending run; tiles is 0 where there is none */
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

/* Tiles [first, first + tiles) are full, but the last one may cross the last
 * key: then some of its pairs do not exist. */
static bool append_full(enumeration *walk, int32_t first, int32_t tiles) {
  int64_t whole = walk->query->keys / walk->query->tile_keys;
  if ((int64_t)first + tiles <= whole)
    return append(walk, first, tiles, SPARSE_ATTN_TILE_FULL);
  return (tiles == 1 || append(walk, first, tiles - 1, SPARSE_ATTN_TILE_FULL)) &&
         append(walk, first + tiles - 1, 1, SPARSE_ATTN_TILE_PARTIAL);
}

/* Bisects [first, first + tiles), tiles > 0. */
static bool walk_tiles(enumeration *walk, int32_t first, int32_t tiles) {
  const sa_tile_query *query = walk->query;
  int64_t j0 = (int64_t)first * query->tile_keys;
  int64_t j1 = sa_min(j0 + (int64_t)tiles * query->tile_keys, query->keys) - 1;
  int32_t kind = sa_classify(query, query->p0, query->p1, (int32_t)j0, (int32_t)j1);
  if (kind == SPARSE_ATTN_TILE_EMPTY)
    return true;
  if (kind == SPARSE_ATTN_TILE_FULL)
    return append_full(walk, first, tiles);
  if (tiles == 1)
    return append(walk, first, 1, SPARSE_ATTN_TILE_PARTIAL);
  int32_t half = tiles / 2;
  return walk_tiles(walk, first, half) && walk_tiles(walk, first + half, tiles - half);
}

bool sa_enumerate_tiles(const sa_tile_query *query, sa_tile_sink sink, void *context) {
  enumeration walk = {query, sink, context, 0, 0, SPARSE_ATTN_TILE_EMPTY};
  if (query->keys == 0 || query->p0 > query->p1)
    return true;
  int32_t tiles = (int32_t)sa_ceil_div(query->keys, query->tile_keys);
  return walk_tiles(&walk, 0, tiles) && flush(&walk);
}
