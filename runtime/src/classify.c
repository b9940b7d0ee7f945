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

/*===--- segments ---------------------------------------------------------===*/

int32_t sa_classify_segments(const sa_view *offsets, int32_t b, int32_t p0, int32_t p1,
                             int32_t j0, int32_t j1) {
  const int32_t *starts = sa_operand_row(offsets, 0, b);
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

void sa_fill_segments(const sa_view *offsets, int32_t b, const sa_fill_args *pairs,
                      uint8_t *bits) {
  const int32_t *starts = sa_operand_row(offsets, 0, b);
  int64_t count = offsets->size[3];
  sa_clear_pairs(pairs, bits);
  int64_t end = sa_position_end(pairs);
  int64_t at = sa_max(sa_count_up_to(starts, count, (int32_t)pairs->first_position), 1);
  for (; at < count && starts[at - 1] < end; ++at)
    sa_set_pairs(pairs, bits, starts[at - 1], starts[at], starts[at - 1], starts[at]);
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
  const int32_t *set = sa_operand_row(index, 0, b);
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

void sa_fill_global(const sa_view *index, int32_t b, const sa_fill_args *pairs,
                    uint8_t *bits) {
  const int32_t *set = sa_operand_row(index, 0, b);
  int64_t count = index->size[3];
  int64_t padding = sa_count_up_to(set, count, -1);
  set += padding;
  count -= padding;
  sa_clear_pairs(pairs, bits);
  int64_t key_end = sa_key_end(pairs), row_end = sa_position_end(pairs);
  for (int64_t i = sa_count_below(set, count, (int32_t)pairs->first_key);
       i < count && set[i] < key_end; ++i)
    sa_set_pairs(pairs, bits, pairs->first_position, pairs->first_position + 1, set[i],
                 (int64_t)set[i] + 1);
  for (int64_t r = 1; r < pairs->rows; ++r)
    memcpy(bits + r * pairs->row_bytes, bits, (size_t)pairs->row_bytes);
  for (int64_t i = sa_count_below(set, count, (int32_t)pairs->first_position);
       i < count && set[i] < row_end; ++i)
    sa_set_pairs(pairs, bits, set[i], (int64_t)set[i] + 1, pairs->first_key, key_end);
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
  const int32_t *begin = sa_operand_row(indptr, b, h),
                *listed = sa_operand_row(indices, b, h);
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

/* to[first, first + count) |= from[start, start + count), a few bits at a time. */
static void copy_bits(uint8_t *to, int64_t first, const uint8_t *from, int64_t start,
                      int64_t count) {
  while (count > 0) {
    int64_t step = sa_min(sa_min(8 - first % 8, 8 - start % 8), count);
    int32_t some = from[start / 8] >> start % 8 & (0xff >> (8 - step));
    to[first / 8] |= (uint8_t)(some << first % 8);
    first += step;
    start += step;
    count -= step;
  }
}

/* The rows [row, row_end) of a block whose first row and key are these. */
typedef struct block {
  int64_t first_row, row, row_end;
  int64_t first_key, keys;
} block;

/* Copies bits of a block, whose rows are `stride` bytes apart. */
static void copy_block(const sa_fill_args *pairs, uint8_t *bits, const uint8_t *source,
                       int64_t stride, block part) {
  int64_t row = (part.row - pairs->first_position + pairs->step - 1) / pairs->step;
  int64_t first = sa_max(part.first_key, pairs->first_key);
  int64_t end = sa_min(part.first_key + part.keys, sa_key_end(pairs));
  for (;; ++row) {
    int64_t p = pairs->first_position + row * pairs->step;
    if (p >= part.row_end)
      return;
    uint8_t *to = bits + row * pairs->row_bytes;
    const uint8_t *from = source + (p - part.first_row) * stride;
    if (pairs->step == 1) {
      copy_bits(to, first - pairs->first_key, from, first - part.first_key, end - first);
      continue;
    }
    int64_t key = (first - pairs->first_key + pairs->step - 1) / pairs->step;
    for (int64_t j = pairs->first_key + key * pairs->step; j < end;
         j += pairs->step, ++key)
      copy_bits(to, key, from, j - part.first_key, 1);
  }
}

void sa_fill_block_mask(const sa_view *indptr, const sa_view *indices,
                        const sa_view *blocks, int32_t block_rows, int32_t block_keys,
                        int32_t b, int32_t h, const sa_fill_args *pairs, uint8_t *bits) {
  const int32_t *begin = sa_operand_row(indptr, b, h),
                *listed = sa_operand_row(indices, b, h);
  sa_clear_pairs(pairs, bits);
  int64_t row_end =
      sa_min(sa_position_end(pairs), (indptr->size[3] - 1) * (int64_t)block_rows);
  int64_t key_end = sa_key_end(pairs);
  for (int64_t p = sa_max(pairs->first_position, 0), next; p < row_end; p = next) {
    int64_t r = p / block_rows;
    next = sa_min((r + 1) * block_rows, row_end);
    int64_t at = begin[r] + sa_count_below(listed + begin[r], begin[r + 1] - begin[r],
                                           (int32_t)(pairs->first_key / block_keys));
    for (; at < begin[r + 1] && (int64_t)listed[at] * block_keys < key_end; ++at) {
      int64_t first = (int64_t)listed[at] * block_keys;
      if (!blocks)
        sa_set_pairs(pairs, bits, p, next, first, first + block_keys);
      else
        copy_block(pairs, bits,
                   (const uint8_t *)blocks->data +
                       (blocks->size[0] > 1 ? b : 0) * blocks->stride[0] +
                       at * blocks->stride[1],
                   blocks->stride[2],
                   (block){r * block_rows, p, next, first, block_keys});
    }
  }
}
