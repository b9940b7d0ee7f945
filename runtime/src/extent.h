/*===- extent.h - adding up which keys are alike for several rows ----------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#ifndef SPARSE_ATTN_RUNTIME_EXTENT_H
#define SPARSE_ATTN_RUNTIME_EXTENT_H

#include "internal.h"
#include "search.h"

/* Keys [j0, stop) are alike for each of the rows so far; any and all of which keep
 * them. */
typedef struct sa_alike {
  bool any, all;
  int32_t stop;
} sa_alike;

/* No rows yet. */
static inline sa_alike sa_begin_alike(int32_t j1) {
  sa_alike keys = {false, true, j1 + 1};
  return keys;
}

/* Some rows that keep, or do not keep, all keys below `stop`. */
static inline void sa_add_alike(sa_alike *keys, bool kept, int32_t stop) {
  keys->any |= kept;
  keys->all &= kept;
  keys->stop = stop < keys->stop ? stop : keys->stop;
}

/* What the rows make of an sa_extent_fn; no rows at all keep nothing. */
static inline uint32_t sa_end_alike(const sa_alike *keys) {
  return sa_pack_extent(keys->stop, !keys->any  ? SPARSE_ATTN_TILE_EMPTY
                                    : keys->all ? SPARSE_ATTN_TILE_FULL
                                                : SPARSE_ATTN_TILE_PARTIAL);
}

/* Adds rows that keep the blocks of `size` keys in an ascending list. */
static inline void sa_add_listed_blocks(sa_alike *keys, const int32_t *list,
                                        int64_t count, int32_t size, int32_t j0,
                                        int32_t j1) {
  int32_t block = j0 / size;
  int64_t at = sa_count_below(list, count, block), stop;
  bool listed = at < count && list[at] == block;
  if (listed) {
    while (at < count && list[at] == block)
      ++at, ++block;
    stop = (int64_t)block * size;
  } else {
    stop = at < count ? (int64_t)list[at] * size : (int64_t)j1 + 1;
  }
  sa_add_alike(keys, listed, (int32_t)sa_min(stop, (int64_t)j1 + 1));
}

#endif /* SPARSE_ATTN_RUNTIME_EXTENT_H */
