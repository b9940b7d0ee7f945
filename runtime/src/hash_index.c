/*===- hash_index.c - the keys of every bucket of hash tables -------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * A row agrees with a few keys of each table, so that comparing it with all hashes reads
 * a hundred times more than it finds. States that a caller keeps have an index: blocks of
 * keys, and in each block and table the keys sorted by their hash,
 *
 *   lists[block][table][SA_INDEX_KEYS]   numbers of keys within the block
 *   starts[table][hash][block]           where those of a hash begin
 *
 * so that the starts of one hash in all blocks lie together. A block is sorted once it is
 * full: a key costs a constant amount of work on average. Keys after the last full block
 * are compared.
 *
 *===----------------------------------------------------------------------===*/

#include "encoded.h"

#include <stdatomic.h>

enum { kTables, kBits };
enum { kMostBits = 12, kWordBits = 64, kAhead = 8 };

static int64_t hash_count(const sa_encoding *code) {
  return INT64_C(1) << code->parameters[kBits];
}
static int64_t list_size(const sa_encoding *code, int64_t blocks) {
  return blocks * code->parameters[kTables] * SA_INDEX_KEYS;
}
static int64_t start_size(const sa_encoding *code, int64_t blocks) {
  return code->parameters[kTables] * (hash_count(code) + 1) * blocks;
}

bool sa_has_index(const sa_encoding *code, int64_t capacity) {
  return code->kind == SA_ENCODE_LSH && code->parameters[kBits] <= kMostBits &&
         capacity >= SA_INDEX_KEYS;
}

bool sa_index_bytes(const sa_encoding *code, int64_t capacity, size_t *bytes) {
  int64_t blocks = capacity / SA_INDEX_KEYS;
  *bytes = 0;
  if (!sa_has_index(code, capacity))
    return true;
  size_t words;
  return sa_multiply((size_t)blocks, (size_t)list_size(code, 1), bytes) &&
         sa_multiply((size_t)blocks, (size_t)start_size(code, 1), &words) &&
         sa_add(*bytes, words, bytes) && sa_multiply(*bytes, sizeof(uint16_t), bytes) &&
         sa_align(*bytes, bytes);
}

/*===--- Building ---------------------------------------------------------===*/

/* Sorts the hashes of one table of one block: counts, sums, places. */
static void sort_table(const sa_encoding *code, const uint16_t *hashes, int64_t blocks,
                       int64_t block, int64_t table, uint16_t *index) {
  int64_t tables = code->parameters[kTables], count = hash_count(code);
  uint16_t next[(1 << kMostBits) + 1] = {0};
  uint16_t *list = index + (block * tables + table) * SA_INDEX_KEYS;
  uint16_t *starts =
      index + list_size(code, blocks) + table * (count + 1) * blocks + block;
  const uint16_t *first =
      hashes + block * SA_INDEX_KEYS * tables + table * SA_STATE_LANES;
  int64_t group_words = tables * SA_STATE_LANES;
  for (int64_t group = 0; group < SA_INDEX_KEYS / SA_STATE_LANES; ++group)
    for (int lane = 0; lane < SA_STATE_LANES; ++lane)
      ++next[first[group * group_words + lane] + 1];
  for (int64_t hash = 0; hash < count; ++hash) {
    next[hash + 1] = (uint16_t)(next[hash + 1] + next[hash]);
    starts[hash * blocks] = next[hash];
  }
  starts[count * blocks] = SA_INDEX_KEYS;
  for (int64_t key = 0; key < SA_INDEX_KEYS; ++key) {
    uint16_t hash = first[key / SA_STATE_LANES * group_words + key % SA_STATE_LANES];
    list[next[hash]++] = (uint16_t)key;
  }
}

/* A task is a full block of one (b, kv_head) that is not indexed yet. */
typedef struct indexing {
  const sa_index_job *job;
  int64_t blocks;
  _Atomic int64_t next;
} indexing;

static int64_t first_block(const sa_index_job *job, int64_t b) {
  return job->first ? job->first[b] / SA_INDEX_KEYS : 0;
}

static void work(void *argument, int worker) {
  indexing *indexing = argument;
  const sa_index_job *job = indexing->job;
  int64_t capacity_blocks = job->capacity / SA_INDEX_KEYS;
  (void)worker;
  for (;;) {
    int64_t task = atomic_fetch_add_explicit(&indexing->next, 1, memory_order_relaxed);
    if (task >= job->batch * job->heads * indexing->blocks)
      return;
    int64_t plane = task / indexing->blocks, b = plane / job->heads;
    int64_t block = first_block(job, b) + task % indexing->blocks;
    if ((block + 1) * SA_INDEX_KEYS > job->end[b])
      continue;
    const char *hashes = job->hashes + (size_t)plane * job->hash_bytes;
    char *index = job->index + (size_t)plane * job->index_bytes;
    for (int64_t table = 0; table < job->code->parameters[kTables]; ++table)
      sort_table(job->code, (const uint16_t *)hashes, capacity_blocks, block, table,
                 (uint16_t *)index);
  }
}

void sa_index_hashes(const sa_index_job *job, const sparse_attn_options *options,
                     int workers) {
  indexing indexing = {.job = job};
  for (int64_t b = 0; b < job->batch; ++b)
    indexing.blocks =
        sa_max(indexing.blocks, job->end[b] / SA_INDEX_KEYS - first_block(job, b));
  sa_parallel(options, workers, job->batch * job->heads * indexing.blocks, work,
              &indexing);
}

/*===--- Matching ---------------------------------------------------------===*/

/* The keys of one block: `once` those of one table at least, `twice` of two. */
static void match_block(const sa_encoding *code, const uint32_t *query,
                        const uint16_t *index, int64_t blocks, int64_t block,
                        uint64_t *once, uint64_t *twice) {
  int64_t tables = code->parameters[kTables], stride = (hash_count(code) + 1) * blocks;
  const uint16_t *lists = index + block * tables * SA_INDEX_KEYS;
  const uint16_t *starts = index + list_size(code, blocks) + block;
  for (int64_t t = 0; t < tables; ++t) {
    if (t + kAhead < tables)
      __builtin_prefetch(
          lists + (t + kAhead) * SA_INDEX_KEYS +
          starts[(t + kAhead) * stride + (int64_t)query[t + kAhead] * blocks]);
    const uint16_t *start = starts + t * stride + (int64_t)query[t] * blocks;
    const uint16_t *list = lists + t * SA_INDEX_KEYS;
    for (int64_t i = *start; i < start[blocks]; ++i) {
      uint64_t bit = UINT64_C(1) << list[i] % kWordBits;
      twice[list[i] / kWordBits] |= once[list[i] / kWordBits] & bit;
      once[list[i] / kWordBits] |= bit;
    }
  }
}

int64_t sa_match_index(const sa_encoding *code, const void *query, const void *index,
                       int64_t capacity, int64_t min_matches, int64_t units,
                       uint64_t *bits) {
  enum { kWords = SA_INDEX_KEYS / kWordBits };
  int64_t blocks = units / SA_INDEX_KEYS;
  for (int64_t block = 0; block < blocks; ++block) {
    uint64_t once[kWords] = {0}, twice[kWords] = {0};
    match_block(code, query, index, capacity / SA_INDEX_KEYS, block, once, twice);
    memcpy(bits + block * kWords, min_matches > 1 ? twice : once, sizeof(once));
  }
  return blocks * SA_INDEX_KEYS;
}
