/*===- cost.c - what an attention of a plan costs ---------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * In pairs of a query and a key to compute: those of the tiles that a sample of the
 * query tiles visits, and what comes on top of them for each tile, call and residue
 * class. It follows from the shape and the layout operands alone.
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

#include <math.h>

/*===--- Pairs ------------------------------------------------------------===*/

/* Sampled query tiles of an attention, and the key tiles that they visit. */
typedef struct work_sample {
  int64_t query_tiles, rows, key_tiles;
  int64_t pairs; /* of these tiles; those of a partial tile cost a quarter more */
} work_sample;

/* Query tiles that stand for all, and what it costs to look at rows that a register
 * tile has too many, at keys that a panel has, and at a tile at all (in rows). */
enum { kSamples = 32, kRowGroup = 8, kKeyGroup = 16, kTileRows = 8 };

typedef struct work_count {
  const sa_tile_query *query;
  work_sample *sample;
  int64_t most;
} work_count;

static int64_t round_up(int64_t x, int64_t to) { return sa_ceil_div(x, to) * to; }

static bool add_work(void *context, int32_t first, int32_t tiles,
                     sparse_attn_tile_class kind) {
  work_count *count = context;
  const sa_tile_query *query = count->query;
  int64_t rows = round_up(query->rows, kRowGroup) + kTileRows;
  for (int32_t tile = first; tile < first + tiles; ++tile) {
    sa_tile_span keys =
        sa_span(tile, query->class_tiles, query->step, query->tile_keys, query->keys);
    int64_t pairs = rows * round_up(keys.count, kKeyGroup);
    count->sample->pairs += kind == SPARSE_ATTN_TILE_FULL ? pairs : pairs + pairs / 4;
  }
  count->sample->key_tiles += tiles;
  return count->sample->pairs <= count->most;
}

/* Stops where there are more than `most` pairs for each row (< 0: never). Samples lie
 * anywhere in equal shares of the tiles, so that no pattern repeats itself with them. */
static work_sample sample_work(const sparse_attn_plan *plan,
                               const sa_plan_attention *attention, double most) {
  int64_t planes = plan->shape.batch * plan->shape.heads;
  int64_t tiles = attention->row_tiles, samples = sa_min(tiles, kSamples);
  sa_tile_query queries[kSamples];
  work_sample sample = {.query_tiles = samples};
  for (int64_t i = 0; i < samples; ++i) {
    uint32_t random[4] = {(uint32_t)i};
    sa_philox(random, 0);
    int64_t first = tiles * i / samples, end = tiles * (i + 1) / samples;
    int64_t plane = random[0] % planes;
    queries[i] =
        sa_plan_query(plan, attention, plane / plan->shape.heads,
                      plane % plan->shape.heads, first + random[1] % (end - first));
    sample.rows += queries[i].rows;
  }
  work_count count = {.sample = &sample, .most = INT64_MAX};
  if (most >= 0)
    count.most = (int64_t)(most * (double)sample.rows);
  for (int64_t i = 0; i < samples && sample.pairs <= count.most; ++i) {
    count.query = &queries[i];
    sa_enumerate_tiles(&queries[i], add_work, &count);
  }
  return sample;
}

/*===--- Costs ------------------------------------------------------------===*/

/* Times of one D and Dv over that of a pair, measured with AVX-512 for D = Dv = 64 and
 * 128: to pack a key, and the room for one; to begin a call; to look for the tiles of
 * one residue class. */
enum { kPackKey = 25, kPackRoom = 15, kCall = 200, kClass = 25 };

double sa_attention_cost(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                         double most) {
  const sparse_attn_shape *shape = &plan->shape;
  if (plan->empty || attention->row_tiles == 0 || attention->key_tiles == 0)
    return 0;
  sa_schedule schedule = sa_make_schedule(plan, attention);
  double tile = (double)attention->code->tile_keys, beside = 0;
  double kv_heads = (double)(shape->batch * shape->kv_heads);
  if (schedule.packed)
    beside = kv_heads * (kPackRoom * tile * (double)attention->key_tiles +
                         kPackKey * (double)attention->key_capacity);
  int64_t classes = sa_min(attention->step, attention->key_capacity);
  beside +=
      (double)(schedule.calls * schedule.parts) * (kCall + kClass * (double)classes);

  double rows = (double)(shape->batch * shape->heads) * (double)shape->queries;
  double most_pairs = most < 0 ? -1 : sa_max(0, (int64_t)ceil((most - beside) / rows));
  work_sample sample = sample_work(plan, attention, most_pairs);
  if (sample.rows == 0)
    return beside;
  if (!schedule.packed && !schedule.in_place)
    beside += (kPackRoom + kPackKey) * tile * (double)schedule.calls *
              (double)sample.key_tiles / (double)sample.query_tiles;
  return (double)sample.pairs / (double)sample.rows * rows + beside;
}
