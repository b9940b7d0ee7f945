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
 * A plan steps by the mask's period where that is less work (cost.c) than tiles of
 * neighbours: a dilated mask keeps some pairs of all of those, and all pairs of some of
 * the others.
 *
 *===----------------------------------------------------------------------===*/

#include "cost.h"

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

void sa_choose_step(const sparse_attn_plan *plan, sa_plan_attention *attention) {
  /* Classes that end inside a tile may double the keys that are packed. */
  enum { kFewTiles = 64 };
  /* A tenth less, for the rows and keys that are then further apart. */
  static const double kShare = 0.9;
  int32_t period = attention->code->period;
  int64_t key_tiles = attention->key_tiles;
  if (period == 1 || attention->row_tiles == 0 || key_tiles == 0 || plan->empty)
    return;
  sa_set_step(attention, &plan->shape, period);
  bool fits = !sa_make_schedule(plan, attention).packed ||
              attention->key_tiles <= 2 * key_tiles + kFewTiles;
  double most = sa_attention_cost(plan, attention, -1) / kShare;
  sa_set_step(attention, &plan->shape, 1);
  if (fits && sa_attention_cost(plan, attention, most) > most)
    sa_set_step(attention, &plan->shape, period);
}
