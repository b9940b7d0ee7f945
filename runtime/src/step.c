/*===- step.c - which rows and keys share a tile --------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Rows, and keys, of a tile are `step` apart. Tiles are numbered residue class by
 * residue class, each of which has as many of them as class 0 needs; with a step of
 * 1 there is one class of neighbours. A class that has no row or key has no tile.
 *
 * A plan steps by the mask's period where the tiles that it then visits are less work
 * than tiles of neighbours: a dilated mask keeps some pairs of all of those, and all
 * pairs of some of the others.
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

sa_tile_span sa_span(int64_t tile, int64_t class_tiles, int64_t step, int64_t size,
                     int64_t total) {
  int64_t residue = tile / class_tiles, begin = tile % class_tiles * size;
  int64_t members = residue < total ? sa_ceil_div(total - residue, step) : 0;
  sa_tile_span span = {residue + step * begin, sa_max(0, sa_min(size, members - begin))};
  return span;
}

void sa_set_step(sa_plan_attention *attention, const sparse_attn_shape *shape,
                 int32_t step) {
  const sa_attention *code = attention->code;
  int64_t rows = shape->queries, keys = attention->key_capacity;
  attention->step = step;
  attention->class_row_tiles =
      sa_max(1, sa_ceil_div(sa_ceil_div(rows, step), code->tile_rows));
  attention->class_key_tiles =
      sa_max(1, sa_ceil_div(sa_ceil_div(keys, step), code->tile_keys));
  attention->row_tiles = sa_min(rows, step) * attention->class_row_tiles;
  attention->key_tiles = sa_min(keys, step) * attention->class_key_tiles;
}

/*===--- Choosing ---------------------------------------------------------===*/

/* Query tiles that stand for all, and what it costs to look at rows that a register
 * tile has too many, at keys that a panel has, and at a tile at all (in rows). */
enum { kSamples = 32, kRowGroup = 8, kKeyGroup = 16, kTileRows = 8 };

typedef struct work_count {
  const sa_tile_query *query;
  sa_work_sample *sample;
  int64_t most;
} work_count;

static int64_t round_up(int64_t x, int64_t to) { return sa_ceil_div(x, to) * to; }

static bool add_work(void *context, int32_t first, int32_t tiles,
                     sparse_attn_tile_class kind) {
  work_count *count = context;
  const sa_tile_query *query = count->query;
  int64_t rows = round_up(query->rows, kRowGroup) + kTileRows;
  for (int32_t tile = first; tile < first + tiles; ++tile) {
    sa_tile_span keys =
        sa_span(tile, query->class_tiles, query->step, query->tile_keys, query->keys);
    int64_t pairs = rows * round_up(keys.count, kKeyGroup);
    count->sample->pairs += kind == SPARSE_ATTN_TILE_FULL ? pairs : pairs + pairs / 4;
  }
  count->sample->key_tiles += tiles;
  return count->sample->pairs <= count->most;
}

sa_work_sample sa_sample_work(const sparse_attn_plan *plan,
                              const sa_plan_attention *attention, double most) {
  int64_t planes = plan->shape.batch * plan->shape.heads;
  int64_t tiles = attention->row_tiles, samples = sa_min(tiles, kSamples);
  sa_tile_query queries[kSamples];
  sa_work_sample sample = {.query_tiles = samples};
  for (int64_t i = 0; i < samples; ++i) {
    uint32_t random[4] = {(uint32_t)i};
    sa_philox(random, 0);
    int64_t first = tiles * i / samples, end = tiles * (i + 1) / samples;
    int64_t plane = random[0] % planes;
    queries[i] =
        sa_plan_query(plan, attention, plane / plan->shape.heads,
                      plane % plan->shape.heads, first + random[1] % (end - first));
    sample.rows += queries[i].rows;
  }
  work_count count = {.sample = &sample, .most = INT64_MAX};
  if (most >= 0)
    count.most = (int64_t)(most * (double)sample.rows);
  for (int64_t i = 0; i < samples && sample.pairs <= count.most; ++i) {
    count.query = &queries[i];
    sa_enumerate_tiles(&queries[i], add_work, &count);
  }
  return sample;
}

void sa_choose_step(const sparse_attn_plan *plan, sa_plan_attention *attention) {
  /* Classes that end inside a tile may double the keys that are packed. */
  enum { kFewTiles = 64 };
  int32_t period = attention->code->period;
  int64_t key_tiles = attention->key_tiles;
  if (period == 1 || attention->row_tiles == 0 || key_tiles == 0 || plan->empty)
    return;
  sa_set_step(attention, &plan->shape, period);
  sa_work_sample steps = sa_sample_work(plan, attention, -1);
  bool fits = !sa_make_schedule(plan, attention).packed ||
              attention->key_tiles <= 2 * key_tiles + kFewTiles;
  sa_set_step(attention, &plan->shape, 1);
  if (!fits || steps.rows == 0)
    return;
  /* A tenth less, for the rows and keys that are then further apart. */
  double most = (double)steps.pairs / (double)steps.rows / 0.9;
  sa_work_sample neighbours = sa_sample_work(plan, attention, most);
  if ((double)neighbours.pairs > most * (double)neighbours.rows)
    sa_set_step(attention, &plan->shape, period);
}
