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
