/*===- classify.c - tile classes of masks that read operands --------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Every function here follows the law of sa_classify_fn: EMPTY and FULL are said
 * only where every pair agrees, and a single pair is always decided.
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"
#include "search.h"

enum {
  kEmpty = SPARSE_ATTN_TILE_EMPTY,
  kFull = SPARSE_ATTN_TILE_FULL,
  kPartial = SPARSE_ATTN_TILE_PARTIAL
};

/* The innermost row (i1, i2) of an operand whose axes of size 1 broadcast. */
static const int32_t *row(const sa_view *view, int64_t i1, int64_t i2) {
  return (const int32_t *)view->data + (view->size[1] > 1 ? i1 : 0) * view->stride[1] +
         (view->size[2] > 1 ? i2 : 0) * view->stride[2];
}

/*===--- segments ---------------------------------------------------------===*/

int32_t sa_classify_segments(const sa_view *offsets, int32_t b, int32_t p0, int32_t p1,
                             int32_t j0, int32_t j1) {
  const int32_t *starts = row(offsets, 0, b);
  int64_t count = offsets->size[3];
  if (count < 2)
    return kEmpty;
  /* Tokens before the first and from the last offset on are in no segment. */
  int32_t begin = starts[0], end = starts[count - 1];
  bool inside = p0 >= begin && p1 < end;
  p0 = (int32_t)sa_max(p0, begin);
  p1 = (int32_t)sa_min(p1, end - 1);
  if (p0 > p1)
    return kEmpty;

  /* The rows are in the segments first to last, all of which hold one of them
   * (or no token); so a key that is in one of these segments is kept by a row,
   * and kept by all rows only if there is one segment. */
  int64_t first = sa_count_up_to(starts, count, p0) - 1, last = first;
  if (p1 >= starts[first + 1])
    last = sa_count_up_to(starts, count, p1) - 1;
  int32_t keys_begin = starts[first], keys_end = starts[last + 1];
  if (j1 < keys_begin || j0 >= keys_end)
    return kEmpty;
  bool all = inside && first == last && j0 >= keys_begin && j1 < keys_end;
  return all ? kFull : kPartial;
}

/*===--- global -----------------------------------------------------------===*/

/* Which of the positions [first, last] are in the ascending set: none, all, or
 * some. */
static int32_t classify_membership(const int32_t *set, int64_t count, int32_t first,
                                   int32_t last) {
  int64_t begin = sa_count_below(set, count, first);
  int64_t end = begin + sa_count_up_to(set + begin, count - begin, last);
  if (begin == end)
    return kEmpty;
  if (end - begin < (int64_t)last - first + 1)
    return kPartial;
  int64_t distinct = 1; /* an index may be listed twice */
  for (int64_t i = begin + 1; i < end; ++i)
    distinct += set[i] != set[i - 1];
  return distinct == (int64_t)last - first + 1 ? kFull : kPartial;
}

int32_t sa_classify_global(const sa_view *index, int32_t b, int32_t p0, int32_t p1,
                           int32_t j0, int32_t j1) {
  const int32_t *set = row(index, 0, b);
  int64_t padding = sa_count_up_to(set, index->size[3], -1);
  int64_t count = index->size[3] - padding;
  set += padding;
  int32_t rows = p1 < 0 ? kEmpty : classify_membership(set, count, p0, p1);
  if (rows == kFull)
    return kFull;
  int32_t keys = classify_membership(set, count, j0, j1);
  if (keys == kFull)
    return kFull;
  return rows == kEmpty && keys == kEmpty ? kEmpty : kPartial;
}

/*===--- block_mask -------------------------------------------------------===*/

/* Bits of one block: rows [r0, r1] x keys [c0, c1] inside it. */
static int32_t classify_bits(const sa_view *bits, int32_t b, int64_t block, int32_t r0,
                             int32_t r1, int32_t c0, int32_t c1) {
  const uint8_t *base = (const uint8_t *)bits->data +
                        (bits->size[0] > 1 ? b : 0) * bits->stride[0] +
                        block * bits->stride[1];
  bool any = false, all = true;
  for (int32_t r = r0; r <= r1; ++r) {
    const uint8_t *bytes = base + r * bits->stride[2];
    for (int32_t byte = c0 / 8; byte <= c1 / 8; ++byte) {
      int32_t wanted = 0xff;
      if (byte == c0 / 8)
        wanted &= 0xff << (c0 % 8);
      if (byte == c1 / 8)
        wanted &= 0xff >> (7 - c1 % 8);
      int32_t set = bytes[byte] & wanted;
      any = any || set;
      all = all && set == wanted;
    }
    if (any && !all)
      return kPartial;
  }
  return all ? kFull : kEmpty;
}

int32_t sa_classify_block_mask(const sa_view *indptr, const sa_view *indices,
                               const sa_view *bits, int32_t block_rows,
                               int32_t block_keys, int32_t b, int32_t h, int32_t p0,
                               int32_t p1, int32_t j0, int32_t j1) {
  const int32_t *begin = row(indptr, b, h), *listed = row(indices, b, h);
  int64_t row_blocks = indptr->size[3] - 1;
  if (p1 < 0)
    return kEmpty;
  bool any = false, all = p0 >= 0; /* rows outside the lists see nothing */
  int64_t first_row = sa_max(p0, 0) / block_rows, last_row = p1 / block_rows;
  if (last_row >= row_blocks) {
    all = false;
    last_row = row_blocks - 1;
  }
  int32_t first_key = j0 / block_keys, last_key = j1 / block_keys;
  for (int64_t r = first_row; r <= last_row && !(any && !all); ++r) {
    const int32_t *list = listed + begin[r];
    int64_t count = begin[r + 1] - begin[r];
    int64_t at = sa_count_below(list, count, first_key);
    int64_t hits = sa_count_up_to(list + at, count - at, last_key);
    if (!hits) {
      all = false;
    } else if (!bits) {
      any = true;
      all = all && hits == (int64_t)last_key - first_key + 1;
    } else {
      /* Bits are read inside one block only; several are a tile to split. */
      if (first_row != last_row || first_key != last_key || p0 < 0)
        return kPartial;
      int32_t kind =
          classify_bits(bits, b, begin[r] + at, (int32_t)(p0 - r * block_rows),
                        (int32_t)(sa_min(p1, (r + 1) * block_rows - 1) - r * block_rows),
                        j0 - first_key * block_keys, j1 - first_key * block_keys);
      any = any || kind != kEmpty;
      all = all && kind == kFull;
    }
  }
  return !any ? kEmpty : all ? kFull : kPartial;
}
