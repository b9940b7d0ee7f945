/*===- tiles.c - the kept key tiles of a query tile -----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

bool sa_flush_run(sa_run_joiner *joiner) {
  int32_t tiles = joiner->tiles;
  joiner->tiles = 0;
  return tiles == 0 || joiner->sink(joiner->context, joiner->first, tiles, joiner->kind);
}

bool sa_join_run(sa_run_joiner *joiner, int32_t first, int32_t tiles,
                 sparse_attn_tile_class kind) {
  if (joiner->tiles && joiner->kind == kind && joiner->first + joiner->tiles == first) {
    joiner->tiles += tiles;
    return true;
  }
  if (!sa_flush_run(joiner))
    return false;
  joiner->first = first;
  joiner->tiles = tiles;
  joiner->kind = kind;
  return true;
}

typedef struct enumeration {
  const sa_tile_query *query;
  sa_run_joiner runs;
  int32_t first_key, class_keys; /* of the residue class that is walked */
  int32_t class_first;           /* its first tile */
} enumeration;

/* Tiles [first, first + tiles) of the class are full, but the last one may cross
 * the last key: then some of its pairs do not exist. */
static bool append_full(enumeration *walk, int32_t first, int32_t tiles) {
  int32_t whole = walk->class_keys / walk->query->tile_keys;
  int32_t tile = walk->class_first + first;
  if (first + tiles <= whole)
    return sa_join_run(&walk->runs, tile, tiles, SPARSE_ATTN_TILE_FULL);
  return (tiles == 1 ||
          sa_join_run(&walk->runs, tile, tiles - 1, SPARSE_ATTN_TILE_FULL)) &&
         sa_join_run(&walk->runs, tile + tiles - 1, 1, SPARSE_ATTN_TILE_PARTIAL);
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
    return sa_join_run(&walk->runs, walk->class_first + first, 1,
                       SPARSE_ATTN_TILE_PARTIAL);
  int32_t half = tiles / 2;
  return walk_tiles(walk, first, half) && walk_tiles(walk, first + half, tiles - half);
}

bool sa_enumerate_tiles(const sa_tile_query *query, sa_tile_sink sink, void *context) {
  enumeration walk = {.query = query, .runs = {.sink = sink, .context = context}};
  int32_t classes = query->rows == 0 ? 0 : (int32_t)sa_min(query->step, query->keys);
  for (int32_t key = 0; key < classes; ++key) {
    walk.first_key = key;
    walk.class_keys = (int32_t)sa_ceil_div(query->keys - key, query->step);
    walk.class_first = key * query->class_tiles;
    if (!walk_tiles(&walk, 0, (int32_t)sa_ceil_div(walk.class_keys, query->tile_keys)))
      return false;
  }
  return sa_flush_run(&walk.runs);
}
