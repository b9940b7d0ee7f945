/*===- reach.c - questions to a reach table -------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "extent.h"

enum {
  kEmpty = SPARSE_ATTN_TILE_EMPTY,
  kFull = SPARSE_ATTN_TILE_FULL,
  kPartial = SPARSE_ATTN_TILE_PARTIAL
};

static const sa_reach_batch *batch_of(const sa_reach *reach, int32_t b) {
  return &reach->batches[reach->batch_count > 1 ? b : 0];
}

/* Tokens [j0, j1] against the intervals of `slot`. */
static int32_t classify_slot(const sa_reach *reach, int32_t slot, int32_t j0,
                             int32_t j1) {
  int64_t begin = reach->slot_begin[slot];
  int64_t count = reach->slot_begin[slot + 1] - begin;
  const int32_t *first = reach->interval_first + begin;
  const int32_t *end = reach->interval_end + begin;
  int64_t at = sa_count_up_to(first, count, j0) - 1;
  if (at >= 0 && end[at] > j0)
    return end[at] > j1 ? kFull : kPartial;
  return at + 1 < count && first[at + 1] <= j1 ? kPartial : kEmpty;
}

/* Positions [p0, p1] that are in no chunk see themselves only. */
static int32_t classify_outside(int32_t p0, int32_t p1, int32_t j0, int32_t j1) {
  if (p0 > j1 || j0 > p1)
    return kEmpty;
  return p0 == p1 && j0 == j1 ? kFull : kPartial;
}

int32_t sa_classify_reach(const void *table, int32_t b, int32_t p0, int32_t p1,
                          int32_t j0, int32_t j1) {
  const sa_reach *reach = table;
  const sa_reach_batch *batch = batch_of(reach, b);
  int32_t begin = batch->start[0], end = batch->start[batch->chunk_count];
  bool any = false, all = true;
  if (p0 < begin) {
    int32_t kind = classify_outside(p0, (int32_t)sa_min(p1, begin - 1), j0, j1);
    any = kind != kEmpty;
    all = kind == kFull;
  }
  if (p1 >= end) {
    int32_t kind = classify_outside((int32_t)sa_max(p0, end), p1, j0, j1);
    any = any || kind != kEmpty;
    all = all && kind == kFull;
  }
  p0 = (int32_t)sa_max(p0, begin);
  p1 = (int32_t)sa_min(p1, end - 1);
  if (p0 <= p1 && !(any && !all)) {
    int64_t chunk = sa_count_up_to(batch->start, batch->chunk_count, p0) - 1;
    int32_t previous = -1;
    do {
      int32_t slot = batch->slot[chunk];
      if (slot != previous) {
        int32_t kind = classify_slot(reach, slot, j0, j1);
        any = any || kind != kEmpty;
        all = all && kind == kFull;
      }
      previous = slot;
    } while (batch->start[++chunk] <= p1 && !(any && !all));
  }
  return !any ? kEmpty : all ? kFull : kPartial;
}

/* Tokens from j0 on, in or between the intervals of `slot`. */
static void add_slot(sa_alike *keys, const sa_reach *reach, int32_t slot, int32_t j0,
                     int32_t j1) {
  int64_t begin = reach->slot_begin[slot];
  int64_t count = reach->slot_begin[slot + 1] - begin;
  const int32_t *first = reach->interval_first + begin;
  int64_t at = sa_count_up_to(first, count, j0) - 1;
  int32_t end = at >= 0 ? reach->interval_end[begin + at] : 0;
  if (end > j0)
    sa_add_alike(keys, true, end);
  else
    sa_add_alike(keys, false, at + 1 < count ? first[at + 1] : j1 + 1);
}

/* Positions [p0, p1] that are in no chunk see themselves only. */
static void add_outside(sa_alike *keys, int32_t p0, int32_t p1, int32_t j0, int32_t j1) {
  bool among = p0 <= j0 && j0 <= p1;
  if (among)
    sa_add_alike(keys, true, j0 + 1);
  if (!among || p0 != p1)
    sa_add_alike(keys, false, j0 < p0 ? p0 : among ? j0 + 1 : j1 + 1);
}

uint32_t sa_extent_reach(const void *table, int32_t b, int32_t p0, int32_t p1, int32_t j0,
                         int32_t j1) {
  const sa_reach *reach = table;
  const sa_reach_batch *batch = batch_of(reach, b);
  int32_t begin = batch->start[0], end = batch->start[batch->chunk_count];
  sa_alike keys = sa_begin_alike(j1);
  if (p0 < begin)
    add_outside(&keys, p0, (int32_t)sa_min(p1, begin - 1), j0, j1);
  if (p1 >= end)
    add_outside(&keys, (int32_t)sa_max(p0, end), p1, j0, j1);
  p0 = (int32_t)sa_max(p0, begin);
  p1 = (int32_t)sa_min(p1, end - 1);
  if (p0 > p1)
    return sa_end_alike(&keys);
  int64_t chunk = sa_count_up_to(batch->start, batch->chunk_count, p0) - 1;
  int32_t previous = -1;
  do {
    int32_t slot = batch->slot[chunk];
    if (slot != previous)
      add_slot(&keys, reach, slot, j0, j1);
    previous = slot;
  } while (batch->start[++chunk] <= p1);
  return sa_end_alike(&keys);
}

/*===--- Bits -------------------------------------------------------------===*/

/* Sets the keys that positions [p, end), of `slot`, reach. */
static void set_slot(const sa_reach *reach, int32_t slot, const sa_fill_args *pairs,
                     uint8_t *bits, int64_t p, int64_t end) {
  int64_t begin = reach->slot_begin[slot];
  int64_t last = reach->slot_begin[slot + 1];
  int64_t at = begin + sa_max(0, sa_count_up_to(reach->interval_first + begin,
                                                last - begin, (int32_t)pairs->first_key) -
                                     1);
  int64_t key_end = sa_key_end(pairs);
  for (; at < last && reach->interval_first[at] < key_end; ++at)
    sa_set_pairs(pairs, bits, p, end, reach->interval_first[at], reach->interval_end[at]);
}

/* Positions [p, end) that are in no chunk see themselves only. */
static void set_outside(const sa_fill_args *pairs, uint8_t *bits, int64_t p,
                        int64_t end) {
  for (; p < end; ++p)
    sa_set_pairs(pairs, bits, p, p + 1, p, p + 1);
}

void sa_fill_reach(const void *table, int32_t b, const sa_fill_args *pairs,
                   uint8_t *bits) {
  const sa_reach *reach = table;
  const sa_reach_batch *batch = batch_of(reach, b);
  int64_t begin = batch->start[0], end = batch->start[batch->chunk_count];
  int64_t first = pairs->first_position, last = sa_position_end(pairs);
  sa_clear_pairs(pairs, bits);
  set_outside(pairs, bits, first, sa_min(last, begin));
  set_outside(pairs, bits, sa_max(first, end), last);
  int64_t p = sa_max(first, begin);
  last = sa_min(last, end);
  if (p >= last)
    return;
  int64_t chunk = sa_count_up_to(batch->start, batch->chunk_count, (int32_t)p) - 1;
  while (p < last) {
    int32_t slot = batch->slot[chunk];
    int64_t next;
    do
      next = batch->start[++chunk];
    while (next < last && batch->slot[chunk] == slot);
    set_slot(reach, slot, pairs, bits, p, next);
    p = next;
  }
}

int32_t sa_reach_slot(const sa_reach *reach, int32_t b, int32_t p) {
  const sa_reach_batch *batch = batch_of(reach, b);
  if (p < batch->start[0] || p >= batch->start[batch->chunk_count])
    return -1;
  return batch->slot[sa_count_up_to(batch->start, batch->chunk_count, p) - 1];
}

/*===--- Distances --------------------------------------------------------===*/

static const uint16_t kUnreachable = 0xffff;

static void fill(uint16_t *row, int32_t count, uint16_t distance) {
  for (int32_t i = 0; i < count; ++i)
    row[i] = distance;
}

/* Distances of a token of `slot` to tokens [j0, j0 + keys). */
static void fill_slot(const sa_reach *reach, int32_t slot, int32_t j0, int32_t keys,
                      uint16_t *row) {
  int64_t begin = reach->hop_begin[slot];
  int64_t last = reach->hop_begin[slot + 1];
  int64_t at =
      begin + sa_max(0, sa_count_up_to(reach->hop_first + begin, last - begin, j0) - 1);
  int32_t done = 0;
  for (; at < last && reach->hop_first[at] < j0 + keys; ++at) {
    int32_t first = (int32_t)sa_max(reach->hop_first[at] - j0, 0);
    int32_t end = (int32_t)sa_min(reach->hop_end[at] - j0, keys);
    if (end <= first)
      continue;
    fill(row + done, first - done, kUnreachable);
    fill(row + first, end - first, reach->hop_distance[at]);
    done = end;
  }
  fill(row + done, keys - done, kUnreachable);
}

void sa_reach_hops(const sa_reach *reach, int32_t b, int32_t p0, int32_t rows, int32_t j0,
                   int32_t keys, int32_t tile_keys, uint16_t *tile) {
  const sa_reach_batch *batch = batch_of(reach, b);
  int32_t begin = batch->start[0], end = batch->start[batch->chunk_count];
  int32_t previous = -1;
  for (int32_t r = 0; r < rows; ++r) {
    uint16_t *row = tile + (int64_t)r * tile_keys;
    int32_t p = p0 + r;
    if (p < begin || p >= end) {
      fill(row, tile_keys, kUnreachable);
      if (p >= j0 && p < j0 + keys)
        row[p - j0] = 0;
      continue; /* such rows come before or after all others */
    }
    int64_t chunk = sa_count_up_to(batch->start, batch->chunk_count, p) - 1;
    int32_t slot = batch->slot[chunk];
    if (slot == previous) {
      for (int32_t j = 0; j < tile_keys; ++j)
        row[j] = row[j - tile_keys];
      continue;
    }
    previous = slot;
    fill_slot(reach, slot, j0, keys, row);
    fill(row + keys, tile_keys - keys, kUnreachable);
  }
}
