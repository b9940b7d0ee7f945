/*===- extent.c - keys that are alike, of masks that read operands --------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Every function here follows the law of sa_extent_fn: keys are said to be alike only
 * where each of the positions keeps all of them or none. Those that are kept by rows
 * of different segments, blocks or nodes are alike up to the nearest end of one.
 *
 *===----------------------------------------------------------------------===*/

#include "extent.h"

uint32_t sa_extent_segments(const sa_view *offsets, int32_t b, int32_t p0, int32_t p1,
                            int32_t j0, int32_t j1) {
  const int32_t *starts = sa_operand_row(offsets, 0, b);
  int64_t count = offsets->size[3];
  sa_alike keys = sa_begin_alike(j1);
  if (count < 2 || p1 < starts[0] || p0 >= starts[count - 1]) {
    sa_add_alike(&keys, false, j1 + 1);
    return sa_end_alike(&keys);
  }
  if (p0 < starts[0] || p1 >= starts[count - 1])
    sa_add_alike(&keys, false, j1 + 1); /* a row in no segment */
  p0 = (int32_t)sa_max(p0, starts[0]);
  p1 = (int32_t)sa_min(p1, starts[count - 1] - 1);
  int64_t first = sa_count_up_to(starts, count, p0) - 1, last = first;
  if (p1 >= starts[first + 1])
    last = sa_count_up_to(starts, count, p1) - 1;
  if (j0 < starts[first]) {
    sa_add_alike(&keys, false, starts[first]);
  } else if (j0 >= starts[last + 1]) {
    sa_add_alike(&keys, false, j1 + 1);
  } else {
    int64_t own = first == last
                      ? first
                      : first + sa_count_up_to(starts + first, last + 1 - first, j0) - 1;
    sa_add_alike(&keys, true, starts[own + 1]);
    if (first != last)
      sa_add_alike(&keys, false, j1 + 1); /* for rows of the other segments */
  }
  return sa_end_alike(&keys);
}

uint32_t sa_extent_global(const sa_view *index, int32_t b, int32_t p0, int32_t p1,
                          int32_t j0, int32_t j1) {
  const int32_t *set = sa_operand_row(index, 0, b);
  int64_t padding = sa_count_up_to(set, index->size[3], -1);
  int64_t count = index->size[3] - padding;
  set += padding;
  /* Which positions are global is a question about rectangles of no key. */
  int64_t begin = p1 < 0 ? 0 : sa_count_below(set, count, p0), distinct = 0;
  for (int64_t i = begin; p1 >= 0 && i < count && set[i] <= p1; ++i)
    distinct += i == begin || set[i] != set[i - 1];
  sa_alike keys = sa_begin_alike(j1);
  if (distinct)
    sa_add_alike(&keys, true, j1 + 1);
  if (distinct == (int64_t)p1 - p0 + 1)
    return sa_end_alike(&keys);

  int64_t at = sa_count_below(set, count, j0);
  if (at == count || set[at] > j0) {
    sa_add_alike(&keys, false, at == count ? j1 + 1 : set[at]);
    return sa_end_alike(&keys);
  }
  int32_t stop = j0 + 1;
  for (; at < count && set[at] <= stop; ++at)
    stop = set[at] + 1;
  keys = sa_begin_alike(j1); /* a global key is kept by every row */
  sa_add_alike(&keys, true, stop);
  return sa_end_alike(&keys);
}

uint32_t sa_extent_block_mask(const sa_view *indptr, const sa_view *indices,
                              const sa_view *bits, int32_t block_rows, int32_t block_keys,
                              int32_t b, int32_t h, int32_t p0, int32_t p1, int32_t j0,
                              int32_t j1) {
  const int32_t *begin = sa_operand_row(indptr, b, h),
                *listed = sa_operand_row(indices, b, h);
  int64_t row_blocks = indptr->size[3] - 1;
  sa_alike keys = sa_begin_alike(j1);
  int64_t first = sa_max(p0, 0) / block_rows, last = p1 < 0 ? -1 : p1 / block_rows;
  if (p0 < 0 || last >= row_blocks)
    sa_add_alike(&keys, false, j1 + 1); /* rows outside the lists see nothing */
  last = sa_min(last, row_blocks - 1);
  for (int64_t r = first; r <= last; ++r)
    sa_add_listed_blocks(&keys, listed + begin[r], begin[r + 1] - begin[r], block_keys,
                         j0, j1);
  if (!bits || !keys.any)
    return sa_end_alike(&keys);
  /* Bits tell keys of a block apart, unless all of them are equal. */
  int64_t end = sa_min(((int64_t)j0 / block_keys + 1) * block_keys, keys.stop);
  int32_t kind = sa_classify_block_mask(indptr, indices, bits, block_rows, block_keys, b,
                                        h, p0, p1, j0, (int32_t)end - 1);
  return sa_pack_extent(kind == SPARSE_ATTN_TILE_PARTIAL ? j0 : (int32_t)end, kind);
}
