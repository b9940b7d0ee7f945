/*===- random_blocks.c - the key blocks drawn for a query block -----------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * With total = ceil(keys / block) key blocks, all are drawn where total <= count.
 * Else Floyd's algorithm draws `count` distinct ones: for i = 0 .. count - 1 and
 * t = total - count + i,
 *
 *   r = mulhi32(philox(key = seed, counter = (plane, query_block, i, 0))[0], t + 1)
 *
 * is drawn, or t where r was drawn before. query_block is floor(p / block) as u32.
 *
 *===----------------------------------------------------------------------===*/

#include "extent.h"

enum {
  kEmpty = SPARSE_ATTN_TILE_EMPTY,
  kFull = SPARSE_ATTN_TILE_FULL,
  kPartial = SPARSE_ATTN_TILE_PARTIAL
};

/* Which draws: everything but the query block. */
typedef struct draw_key {
  int64_t seed;
  int32_t plane, total, count;
  uint32_t query_block;
} draw_key;

static int32_t draw(const draw_key *key, int32_t i) {
  uint32_t words[4] = {(uint32_t)key->plane, key->query_block, (uint32_t)i, 0};
  sa_philox(words, (uint64_t)key->seed);
  uint64_t bound = (uint64_t)(key->total - key->count + i) + 1;
  return (int32_t)(words[0] * bound >> 32);
}

/*===--- Few draws: kept sorted -------------------------------------------===*/

/* A query tile asks for the same query blocks many times, so that each thread keeps the
 * last draws. */
enum { kMostKept = 128, kKeptSets = 32 };

typedef struct draw_set {
  draw_key key;
  bool valid;
  int32_t blocks[kMostKept]; /* ascending */
} draw_set;

static _Thread_local draw_set kept_sets[kKeptSets];

static void insert(int32_t *blocks, int32_t size, int64_t at, int32_t block) {
  memmove(blocks + at + 1, blocks + at, (size_t)(size - at) * sizeof(*blocks));
  blocks[at] = block;
}

static void draw_all(draw_set *set) {
  const draw_key *key = &set->key;
  for (int32_t i = 0; i < key->count; ++i) {
    int32_t block = draw(key, i);
    int64_t at = sa_count_below(set->blocks, i, block);
    if (at < i && set->blocks[at] == block)
      insert(set->blocks, i, i, key->total - key->count + i); /* the largest */
    else
      insert(set->blocks, i, at, block);
  }
}

static bool is_same(const draw_key *a, const draw_key *b) {
  return a->query_block == b->query_block && a->plane == b->plane &&
         a->total == b->total && a->count == b->count && a->seed == b->seed;
}

/* The blocks drawn for `key`, key->count of them, ascending. */
static const int32_t *find_drawn(const draw_key *key) {
  draw_set *set = &kept_sets[key->query_block % kKeptSets];
  if (!set->valid || !is_same(&set->key, key)) {
    set->key = *key;
    draw_all(set);
    set->valid = true;
  }
  return set->blocks;
}

/* Class of key blocks [first, last]. */
static int32_t classify_kept(const draw_key *key, int32_t first, int32_t last) {
  const int32_t *blocks = find_drawn(key);
  int64_t begin = sa_count_below(blocks, key->count, first);
  int64_t hits = sa_count_up_to(blocks + begin, key->count - begin, last);
  if (!hits)
    return kEmpty;
  return hits == (int64_t)last - first + 1 ? kFull : kPartial;
}

/*===--- Many draws: nothing kept -----------------------------------------===*/

/* Whether `block` is drawn. It is if some r equals it; else only if it is the t
 * of a draw whose r was drawn before, which is the same question again. */
static bool is_drawn(const draw_key *key, int32_t block) {
  int32_t draws = key->count;
  for (;;) {
    for (int32_t i = 0; i < draws; ++i)
      if (draw(key, i) == block)
        return true;
    int32_t i = block - (key->total - key->count);
    if (i < 0 || i >= draws)
      return false;
    block = draw(key, i);
    draws = i;
  }
}

/* Class of key blocks [first, last]. A block below total - count is drawn if some draw is
 * it; others are also if they come in the place of one. */
static int32_t classify_drawn(const draw_key *key, int32_t first, int32_t last) {
  int32_t blocks = last - first + 1, hits = 0;
  for (int32_t i = 0; i < key->count && hits < blocks; ++i) {
    int32_t block = draw(key, i);
    hits += first <= block && block <= last;
  }
  if (hits && blocks == 1)
    return kFull;
  int32_t other = (int32_t)sa_max(first, key->total - key->count);
  bool any = hits > 0, all = hits + sa_max(0, (int64_t)last + 1 - other) >= blocks;
  for (int32_t block = all ? first : other; block <= last && !(any && !all); ++block) {
    bool drawn = is_drawn(key, block);
    any = any || drawn;
    all = all && drawn;
  }
  return !any ? kEmpty : all ? kFull : kPartial;
}

/*===--- The classifier ---------------------------------------------------===*/

/* More query blocks than a tile has rows: only asked about whole key columns,
 * where "not known" is good enough. */
enum { kMostQueryBlocks = 64 };

/* In 32 bits: dividing 64 costs several times more, and tiles ask often. */
static int32_t floor_div(int32_t a, int32_t b) { return a / b - (a % b < 0); }

int32_t sa_classify_random_blocks(int32_t block, int32_t count, int64_t seed,
                                  int32_t plane, int32_t keys, int32_t p0, int32_t p1,
                                  int32_t j0, int32_t j1) {
  int32_t total = keys / block + (keys % block != 0);
  if (count <= 0 || total <= 0)
    return kEmpty;
  if (total <= count)
    return kFull;
  int32_t first_query = floor_div(p0, block), last_query = floor_div(p1, block);
  if (last_query - first_query > kMostQueryBlocks)
    return kPartial;
  int32_t first = j0 / block, last = j1 / block;
  bool any = false, all = true;
  for (int32_t q = first_query; q <= last_query && !(any && !all); ++q) {
    draw_key key = {seed, plane, total, count, (uint32_t)q};
    int32_t kind = count <= kMostKept ? classify_kept(&key, first, last)
                                      : classify_drawn(&key, first, last);
    any = any || kind != kEmpty;
    all = all && kind == kFull;
  }
  return !any ? kEmpty : all ? kFull : kPartial;
}

uint32_t sa_extent_random_blocks(int32_t block, int32_t count, int64_t seed,
                                 int32_t plane, int32_t keys, int32_t p0, int32_t p1,
                                 int32_t j0, int32_t j1) {
  int32_t total = keys / block + (keys % block != 0);
  if (count <= 0 || total <= count)
    return sa_pack_extent(j1 + 1, count > 0 && total > 0 ? kFull : kEmpty);
  int32_t first_query = floor_div(p0, block), last_query = floor_div(p1, block);
  if (last_query - first_query > kMostQueryBlocks)
    return sa_pack_extent(j0, kPartial);
  sa_alike alike = sa_begin_alike(j1);
  for (int32_t q = first_query; q <= last_query; ++q) {
    draw_key key = {seed, plane, total, count, (uint32_t)q};
    if (count <= kMostKept)
      sa_add_listed_blocks(&alike, find_drawn(&key), count, block, j0, j1);
    else
      sa_add_alike(&alike, is_drawn(&key, j0 / block),
                   (int32_t)sa_min((int64_t)j1 + 1, ((int64_t)j0 / block + 1) * block));
  }
  return sa_end_alike(&alike);
}

/*===--- Bits -------------------------------------------------------------===*/

/* Sets key block `drawn` for the rows of a query block. */
static void set_block(const sa_fill_args *pairs, uint8_t *bits, int64_t query,
                      int64_t drawn, int64_t block) {
  sa_set_pairs(pairs, bits, query * block, (query + 1) * block, drawn * block,
               (drawn + 1) * block);
}

void sa_fill_random_blocks(int32_t block, int32_t count, int64_t seed, int32_t plane,
                           int32_t keys, const sa_fill_args *pairs, uint8_t *bits) {
  int32_t total = keys / block + (keys % block != 0);
  sa_clear_pairs(pairs, bits);
  int32_t p0 = (int32_t)pairs->first_position, p1 = (int32_t)sa_position_end(pairs) - 1;
  int32_t j0 = (int32_t)pairs->first_key, j1 = (int32_t)sa_key_end(pairs) - 1;
  if (total <= count)
    sa_set_pairs(pairs, bits, p0, (int64_t)p1 + 1, j0, (int64_t)j1 + 1);
  if (total <= count || count <= 0)
    return;
  for (int32_t q = floor_div(p0, block); q <= floor_div(p1, block); ++q) {
    draw_key key = {seed, plane, total, count, (uint32_t)q};
    if (count <= kMostKept) {
      const int32_t *drawn = find_drawn(&key);
      for (int64_t i = sa_count_below(drawn, count, j0 / block);
           i < count && drawn[i] <= j1 / block; ++i)
        set_block(pairs, bits, q, drawn[i], block);
      continue;
    }
    for (int32_t i = j0 / block; i <= j1 / block; ++i)
      if (is_drawn(&key, i))
        set_block(pairs, bits, q, i, block);
  }
}
