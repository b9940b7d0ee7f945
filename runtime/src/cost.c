/*===- cost.c - what an attention of a plan costs ---------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * In pairs of a query and a key to compute: those of the tiles that a sample of the
 * query tiles visits, and what comes on top of them for each tile, call and residue
 * class. It follows from the shape and the layout operands alone, wherever these lie:
 * where they are in a GPU's memory, that has counted the tiles (gpu_sample.c).
 *
 *===----------------------------------------------------------------------===*/

#include "gpu.h"

#include <math.h>

/*===--- Pairs ------------------------------------------------------------===*/

/* What it costs to look at rows that a register tile has too many, and at a tile at all
 * (in rows). Keys come in groups of SA_KEY_GROUP, the keys of a panel. */
enum { kRowGroup = 8, kTileRows = 8 };

static int64_t round_up(int64_t x, int64_t to) { return sa_ceil_div(x, to) * to; }

/* Of the tiles that a query tile visits; those of a partial tile cost a quarter more. */
static int64_t count_pairs(const sa_tile_query *query, const sa_visited_tiles *visited) {
  int64_t rows = round_up(query->rows, kRowGroup) + kTileRows;
  int64_t full = visited->tiles - visited->partial;
  return rows * (full * round_up(query->tile_keys, SA_KEY_GROUP) + visited->partial_keys +
                 visited->partial_keys / 4);
}

typedef struct walk {
  const sa_tile_query *query;
  sa_visited_tiles visited;
  int64_t most; /* pairs */
} walk;

static bool add_tiles(void *context, int32_t first, int32_t tiles,
                      sparse_attn_tile_class kind) {
  walk *own = context;
  const sa_tile_query *query = own->query;
  own->visited.tiles += tiles;
  if (kind != SPARSE_ATTN_TILE_FULL) {
    own->visited.partial += tiles;
    for (int32_t tile = first; tile < first + tiles; ++tile) {
      sa_tile_span keys =
          sa_span(tile, query->class_tiles, query->step, query->tile_keys, query->keys);
      own->visited.partial_keys += round_up(keys.count, SA_KEY_GROUP);
    }
  }
  return count_pairs(query, &own->visited) <= own->most;
}

/*===--- A sample ---------------------------------------------------------===*/

int64_t sa_sample_tiles(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                        sa_sampled_tile sampled[SA_SAMPLES]) {
  int64_t planes = plan->shape.batch * plan->shape.heads;
  int64_t tiles = attention->row_tiles, count = sa_min(tiles, SA_SAMPLES);
  for (int64_t i = 0; i < count; ++i) {
    uint32_t random[4] = {(uint32_t)i};
    sa_philox(random, 0);
    int64_t first = tiles * i / count, end = tiles * (i + 1) / count;
    int64_t plane = random[0] % planes;
    sampled[i] = (sa_sampled_tile){plane / plan->shape.heads, plane % plan->shape.heads,
                                   first + random[1] % (end - first)};
  }
  return count;
}

/* What the sampled query tiles of an attention visit. */
typedef struct work_sample {
  int64_t query_tiles, rows, key_tiles, pairs;
} work_sample;

/* Stops where there are more than `most` pairs for each row (< 0: never). */
static work_sample sample_work(const sparse_attn_plan *plan,
                               const sa_plan_attention *attention, double most) {
  sa_sampled_tile sampled[SA_SAMPLES];
  sa_tile_query queries[SA_SAMPLES];
  work_sample sample = {.query_tiles = sa_sample_tiles(plan, attention, sampled)};
  for (int64_t i = 0; i < sample.query_tiles; ++i) {
    queries[i] =
        sa_plan_query(plan, attention, sampled[i].b, sampled[i].h, sampled[i].row_tile);
    sample.rows += queries[i].rows;
  }
  int64_t most_pairs = most < 0 ? INT64_MAX : (int64_t)(most * (double)sample.rows);
  for (int64_t i = 0; i < sample.query_tiles && sample.pairs <= most_pairs; ++i) {
    walk own = {.query = &queries[i], .most = most_pairs - sample.pairs};
    if (sa_gpu_lists(plan, attention))
      own.visited = sa_gpu_sampled(plan, attention, i);
    else
      sa_enumerate_tiles(&queries[i], add_tiles, &own);
    sample.pairs += count_pairs(&queries[i], &own.visited);
    sample.key_tiles += own.visited.tiles;
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
