/*===- columns.c - the query tiles of a key tile --------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * The transposed walk of a plan: what a gradient of keys and values goes through. A
 * table is searched list by list; a closed form is bisected by rows, as tiles.c does
 * by keys.
 *
 *===----------------------------------------------------------------------===*/

#include "gpu.h"

#include <stdlib.h>

/* The walk of one key tile. */
typedef struct column {
  const sparse_attn_plan *plan;
  const sa_plan_attention *attention;
  int64_t b, h;
  int32_t key_tile;
  sa_tile_span keys;
  sa_run_joiner runs;
} column;

/*===--- A table ----------------------------------------------------------===*/

/* The run of `list` that holds `tile`, or NULL. */
static const sa_run *find_run(const sa_run_list *list, int32_t tile) {
  int64_t begin = 0, end = list->count; /* the last run that begins up to `tile` */
  while (end - begin > 1) {
    int64_t middle = begin + (end - begin) / 2;
    if (list->runs[middle].first_tile <= tile)
      begin = middle;
    else
      end = middle;
  }
  const sa_run *run = list->count ? &list->runs[begin] : NULL;
  return run && run->first_tile <= tile && tile < run->first_tile + run->tiles ? run
                                                                               : NULL;
}

/* `fetched` has all runs of the plane, where the plan's GPU has listed them. */
static bool walk_table(column *walk, const sa_buffer *fetched) {
  for (int32_t row_tile = 0; row_tile < walk->attention->row_tiles; ++row_tile) {
    sa_run_list list = fetched
                           ? sa_gpu_fetched_list(walk->plan, walk->attention, walk->b,
                                                 walk->h, 0, row_tile, fetched)
                           : sa_table_list(walk->attention, walk->b, walk->h, row_tile);
    const sa_run *run = find_run(&list, walk->key_tile);
    if (run && !sa_join_run(&walk->runs, row_tile, 1,
                            run->mask == SA_RUN_FULL ? SPARSE_ATTN_TILE_FULL
                                                     : SPARSE_ATTN_TILE_PARTIAL))
      return false;
  }
  return true;
}

static sparse_attn_status walk_fetched(column *walk) {
  sa_buffer runs = {NULL, 0, 0};
  sparse_attn_status status =
      sa_gpu_fetch_runs(walk->plan, walk->attention, walk->b, walk->h, 0,
                        walk->attention->row_tiles, &runs);
  if (!status && walk_table(walk, &runs))
    sa_flush_run(&walk->runs);
  free(runs.data);
  return status;
}

/*===--- A closed form ----------------------------------------------------===*/

/* Bisects query tiles [first, first + tiles) of one residue class, which has `rows` rows
 * from the first one of them on. */
static bool walk_rows(column *walk, int32_t first, int32_t tiles, int64_t rows) {
  const sa_plan_attention *attention = walk->attention;
  int32_t tile_rows = attention->code->tile_rows;
  rows = sa_min(rows, (int64_t)tiles * tile_rows);
  sa_tile_query query = sa_plan_query(walk->plan, attention, walk->b, walk->h, first);
  int32_t kind = sa_classify_box(&query, query.p0, (int32_t)rows,
                                 (int32_t)walk->keys.first, (int32_t)walk->keys.count);
  if (kind == SPARSE_ATTN_TILE_EMPTY)
    return true;
  /* A tile that crosses the last key has pairs that do not exist. */
  if (kind == SPARSE_ATTN_TILE_FULL && walk->keys.count == attention->code->tile_keys)
    return sa_join_run(&walk->runs, first, tiles, SPARSE_ATTN_TILE_FULL);
  if (tiles == 1 || kind == SPARSE_ATTN_TILE_FULL)
    return sa_join_run(&walk->runs, first, tiles, SPARSE_ATTN_TILE_PARTIAL);
  int32_t half = tiles / 2;
  return walk_rows(walk, first, half, rows) &&
         walk_rows(walk, first + half, tiles - half, rows - (int64_t)half * tile_rows);
}

static bool walk_classes(column *walk) {
  const sa_plan_attention *attention = walk->attention;
  int64_t rows = sa_plan_entry(attention, walk->b).rows, step = attention->step;
  for (int64_t residue = 0; residue < sa_min(step, rows); ++residue) {
    int64_t members = sa_ceil_div(rows - residue, step);
    int64_t tiles = sa_ceil_div(members, attention->code->tile_rows);
    if (!walk_rows(walk, (int32_t)(residue * attention->class_row_tiles), (int32_t)tiles,
                   members))
      return false;
  }
  return true;
}

sparse_attn_status sa_enumerate_rows(const sparse_attn_plan *plan,
                                     const sa_plan_attention *attention, int64_t b,
                                     int64_t h, int64_t key_tile, sa_tile_sink sink,
                                     void *context) {
  column walk = {.plan = plan,
                 .attention = attention,
                 .b = b,
                 .h = h,
                 .key_tile = (int32_t)key_tile,
                 .runs = {.sink = sink, .context = context}};
  walk.keys = sa_key_span(attention, key_tile, sa_plan_entry(attention, b).keys);
  if (walk.keys.count == 0)
    return SPARSE_ATTN_OK;
  if (sa_gpu_lists(plan, attention))
    return walk_fetched(&walk);
  bool planned = sa_has_table(attention);
  if (planned ? walk_table(&walk, NULL) : walk_classes(&walk))
    sa_flush_run(&walk.runs);
  return SPARSE_ATTN_OK;
}
