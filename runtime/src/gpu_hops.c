/*===- gpu_hops.c - distances in a graph, for the pairs of tiles ----------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Tokens of a node are equally far from everything, so that a tile has one row of
 * distances for each node that its queries come from, and each query says which:
 *
 *   queries   a a a a b b     index   0 0 0 0 1 1
 *   tile      2 2 2 3 3 3     of queries a
 *             1 1 1 2 2 2     of queries b
 *
 *===----------------------------------------------------------------------===*/

#include "gpu.h"

/* Numbers the queries' rows of distances; returns how many there are. */
static int32_t number_rows(const sa_reach *distances, const sa_tile_query *query,
                           int32_t *numbers) {
  int32_t count = 0, previous = -1;
  for (int32_t row = 0; row < query->rows; ++row) {
    int32_t slot = sa_reach_slot(distances, query->b, query->p0 + row);
    /* Positions outside of all chunks reach themselves, each another. */
    if (slot < 0 || slot != previous)
      ++count;
    previous = slot;
    numbers[row] = count - 1;
  }
  return count;
}

/* Of key tile `tile`, into `count` rows. */
static void fill_tile(const sa_reach *distances, const sa_tile_query *query,
                      const int32_t *numbers, int32_t tile, uint16_t *rows) {
  int64_t j0 = (int64_t)tile * query->tile_keys;
  int32_t keys = (int32_t)sa_min(query->keys - j0, query->tile_keys);
  for (int32_t row = 0; row < query->rows; ++row)
    if (row == 0 || numbers[row] != numbers[row - 1])
      sa_reach_hops(distances, query->b, query->p0 + row, 1, (int32_t)j0, keys,
                    query->tile_keys, rows + (int64_t)numbers[row] * query->tile_keys);
}

sparse_attn_status sa_gpu_append_hops(sa_gpu_hops *hops, const sa_tile_query *query,
                                      int32_t tile_rows, sa_run *runs, int64_t count) {
  size_t row_bytes = (size_t)query->tile_keys * sizeof(uint16_t);
  size_t first = hops->rows.size / row_bytes;
  int32_t *index = sa_buffer_extend(&hops->index, (size_t)sa_gpu_hop_elements(tile_rows) *
                                                      sizeof(*index));
  if (!index)
    return SPARSE_ATTN_OUT_OF_MEMORY;
  int32_t *numbers = index + 2, tiles = 0;
  for (int32_t row = 0; row < tile_rows; ++row)
    numbers[row] = 0;
  int32_t tile_count = number_rows(hops->distances, query, numbers);
  index[0] = (int32_t)first;
  index[1] = tile_count;
  for (int64_t i = 0; i < count; ++i) {
    runs[i].hops = tiles;
    tiles += runs[i].tiles;
    for (int32_t tile = 0; tile < runs[i].tiles; ++tile) {
      uint16_t *rows = sa_buffer_extend(&hops->rows, (size_t)tile_count * row_bytes);
      if (!rows)
        return SPARSE_ATTN_OUT_OF_MEMORY;
      fill_tile(hops->distances, query, numbers, runs[i].first_tile + tile, rows);
    }
  }
  return hops->rows.size / row_bytes <= INT32_MAX &&
                 hops->index.size / sizeof(*index) <= INT32_MAX
             ? SPARSE_ATTN_OK
             : SPARSE_ATTN_OVERFLOW;
}
