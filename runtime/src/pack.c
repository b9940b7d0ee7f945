/*===- pack.c - keys and values into the order of kernels ------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Every tile that some query tile reads is packed once for all of them.
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

#include <stdatomic.h>

typedef struct packing {
  const sa_run_state *state;
  const sa_plan_attention *attention;
  int64_t group;
  _Atomic int64_t next;
} packing;

/* Whether some of all rows may read `keys`: what the classifier says of the rows of
 * a residue class at once. */
static bool may_read(const sa_plan_attention *attention, sa_tile_query query,
                     sa_entry entry, sa_tile_span keys) {
  int32_t step = attention->step;
  /* Rows of the class of the keys first: where one may read them it is these. */
  int64_t nearest = (keys.first - entry.first_position) % step + step;
  for (int64_t i = 0; i < step; ++i) {
    int64_t row = (nearest + i) % step;
    if (row < entry.rows &&
        sa_classify_box(&query, (int32_t)(entry.first_position + row),
                        (int32_t)sa_ceil_div(entry.rows - row, step), (int32_t)keys.first,
                        (int32_t)keys.count) != SPARSE_ATTN_TILE_EMPTY)
      return true;
  }
  return false;
}

/* Whether some row of the group's heads may read the tile. Exact for plan-time
 * masks. */
static bool is_read(const packing *pack, int64_t b, int64_t kv_head, int64_t tile) {
  const sparse_attn_plan *plan = pack->state->plan;
  const sa_plan_attention *attention = pack->attention;
  const sa_attention *code = attention->code;
  if (sa_has_table(attention)) {
    const sa_tile_table *table = &attention->table;
    int64_t section = (table->batches > 1 ? b : 0) * table->kv_heads +
                      (table->kv_heads > 1 ? kv_head : 0);
    return table->visited[section * attention->key_tiles + tile];
  }
  sa_entry entry = sa_plan_entry(attention, b);
  sa_tile_span keys = sa_key_span(attention, tile, entry.keys);
  int64_t heads = code->per_head ? pack->group : 1;
  for (int64_t i = 0; i < heads; ++i) {
    sa_tile_query query = sa_plan_query(plan, attention, b, kv_head * pack->group + i, 0);
    if (may_read(attention, query, entry, keys))
      return true;
  }
  return false;
}

static void pack_tiles(void *argument, int worker) {
  packing *pack = argument;
  const sa_run_state *state = pack->state;
  const sa_plan_attention *attention = pack->attention;
  const sparse_attn_shape *shape = &state->plan->shape;
  int64_t tiles = attention->key_tiles;
  int64_t tasks = shape->batch * shape->kv_heads * tiles;
  (void)worker;
  for (int64_t task; (task = atomic_fetch_add_explicit(&pack->next, 1,
                                                       memory_order_relaxed)) < tasks;) {
    int64_t tile = task % tiles, plane = task / tiles;
    int64_t b = plane / shape->kv_heads, kv_head = plane % shape->kv_heads;
    sa_entry entry = sa_plan_entry(attention, b);
    sa_tile_span keys = sa_key_span(attention, tile, entry.keys);
    if (keys.count == 0 || entry.rows == 0 || !is_read(pack, b, kv_head, tile))
      continue;
    sa_pack_args args = {.values = state->values,
                         .packed = sa_packed_plane(state, attention, b, kv_head) +
                                   (size_t)tile * (size_t)attention->level->packed_bytes,
                         .b = b,
                         .kv_head = kv_head,
                         .first_key = keys.first,
                         .keys = keys.count,
                         .step = attention->step};
    attention->level->pack(&args);
  }
}

char *sa_packed_plane(const sa_run_state *state, const sa_plan_attention *attention,
                      int64_t b, int64_t kv_head) {
  return state->base + state->workspace.packed +
         (size_t)(b * state->plan->shape.kv_heads + kv_head) *
             sa_packed_plane_bytes(attention);
}

void sa_pack(const sa_run_state *state, const sa_plan_attention *attention) {
  const sparse_attn_shape *shape = &state->plan->shape;
  packing pack = {
      .state = state, .attention = attention, .group = shape->heads / shape->kv_heads};
  sa_parallel(state->options, state->workers,
              shape->batch * shape->kv_heads * attention->key_tiles, pack_tiles, &pack);
}
