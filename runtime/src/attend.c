/*===- attend.c - one attention: pack, then attend ------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Both phases take tasks from a counter. A query tile is one call of generated
 * code, so that the result does not depend on which worker takes it or when.
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

typedef struct attending {
  const sa_run_state *state;
  const sparse_attn_plan *plan;
  const sa_plan_attention *attention;
  size_t plane_bytes; /* packed tiles of one (b, kv_head) */
  int64_t kv_heads, group;
  _Atomic int64_t next;
} attending;

static int64_t take_task(attending *attend) {
  return atomic_fetch_add_explicit(&attend->next, 1, memory_order_relaxed);
}

static char *packed_plane(const attending *attend, int64_t b, int64_t kv_head) {
  return attend->state->base + attend->state->workspace.packed +
         (size_t)(b * attend->kv_heads + kv_head) * attend->plane_bytes;
}

/*===--- Packing ----------------------------------------------------------===*/

/* Whether some row of the group's heads may read the tile. Exact for plan-time
 * masks, else "may": what the classifier says of all rows at once. */
static bool is_read(const attending *attend, int64_t b, int64_t kv_head, int64_t tile) {
  const sparse_attn_plan *plan = attend->plan;
  const sa_plan_attention *attention = attend->attention;
  const sa_attention *code = attention->code;
  if (code->binding == SA_BINDING_PLAN) {
    const sa_tile_table *table = &attention->table;
    int64_t section = (table->batches > 1 ? b : 0) * table->kv_heads +
                      (table->kv_heads > 1 ? kv_head : 0);
    return table->visited[section * attention->key_tiles + tile];
  }
  sa_entry entry = sa_plan_entry(attention, b);
  sa_tile_span keys = sa_key_span(attention, tile, entry.keys);
  int64_t j0 = keys.first;
  int64_t j1 = keys.first + attention->step * (keys.count - 1);
  int64_t heads = code->per_head ? attend->group : 1;
  for (int64_t i = 0; i < heads; ++i) {
    sa_tile_query query =
        sa_plan_query(plan, attention, b, kv_head * attend->group + i, 0);
    query.step = 1;
    if (sa_classify(&query, entry.first_position, entry.first_position + entry.rows - 1,
                    (int32_t)j0, (int32_t)j1) != SPARSE_ATTN_TILE_EMPTY)
      return true;
  }
  return false;
}

static void pack_tiles(void *argument, int worker) {
  attending *attend = argument;
  const sa_plan_attention *attention = attend->attention;
  int64_t tiles = attention->key_tiles;
  int64_t tasks = attend->plan->shape.batch * attend->kv_heads * tiles;
  (void)worker;
  for (int64_t task; (task = take_task(attend)) < tasks;) {
    int64_t tile = task % tiles, plane = task / tiles;
    int64_t b = plane / attend->kv_heads, kv_head = plane % attend->kv_heads;
    sa_entry entry = sa_plan_entry(attention, b);
    sa_tile_span keys = sa_key_span(attention, tile, entry.keys);
    if (keys.count == 0 || entry.rows == 0 || !is_read(attend, b, kv_head, tile))
      continue;
    sa_pack_args args = {.values = attend->state->values,
                         .packed = packed_plane(attend, b, kv_head) +
                                   (size_t)tile * (size_t)attention->level->packed_bytes,
                         .b = b,
                         .kv_head = kv_head,
                         .first_key = keys.first,
                         .keys = keys.count};
    attention->level->pack(&args);
  }
}

/*===--- Attending --------------------------------------------------------===*/

/* One query tile of one plane. */
typedef struct tile_task {
  int64_t b, h, row_tile;
} tile_task;

/* Tasks of one (b, kv_head) are neighbours, so that they share its keys in the
 * cache; among them the longest comes first, so that the workers end together.
 * A closed-form mask knows no lengths: its later rows see more (causal). */
static tile_task compile_time_task(const attending *attend, int64_t task) {
  int64_t row_tiles = attend->attention->row_tiles;
  int64_t per_group = row_tiles * attend->group;
  int64_t plane = task / per_group, rest = task % per_group;
  tile_task result;
  result.b = plane / attend->kv_heads;
  result.h = plane % attend->kv_heads * attend->group + rest % attend->group;
  result.row_tile = row_tiles - 1 - rest / attend->group;
  return result;
}

/* The same in the order that the plan has found. A section of the plan stands
 * for several (b, kv_head) where entries or heads are alike. */
static tile_task plan_time_task(const attending *attend, int64_t task) {
  const sa_plan_attention *attention = attend->attention;
  const sa_tile_table *table = &attention->table;
  const sparse_attn_shape *shape = &attend->plan->shape;
  int64_t row_tiles = attention->row_tiles, group = attend->group;
  int64_t per_group = row_tiles * group;
  int64_t copies = shape->batch / table->batches * (attend->kv_heads / table->kv_heads);
  int64_t section = table->section_order[task / (per_group * copies)];
  int64_t copy = task / per_group % copies, rest = task % per_group;
  int64_t section_b = section / table->kv_heads;
  int64_t section_kv_head = section % table->kv_heads;

  tile_task result;
  int64_t kv_head;
  if (table->kv_heads > 1) {
    kv_head = section_kv_head;
    result.b = table->batches > 1 ? section_b : copy;
  } else {
    kv_head = copy % attend->kv_heads;
    result.b = table->batches > 1 ? section_b : copy / attend->kv_heads;
  }
  bool by_head = table->heads > 1;
  const uint32_t *order = table->list_order + section * (by_head ? per_group : row_tiles);
  int64_t list = by_head ? order[rest] : order[rest / group] * group + rest % group;
  result.row_tile = list / group;
  result.h = kv_head * group + list % group;
  return result;
}

/* O = 0 and LSE = -inf for the rows of a tile that are padding, from `begin` on. */
static void write_padding(const attending *attend, tile_task task, sa_tile_span rows,
                          int64_t begin) {
  const sa_attention *code = attend->attention->code;
  const sa_view *out = &attend->state->values[code->out];
  size_t element_bytes = (size_t)attend->plan->values[code->out].element_bytes;
  for (int64_t r = begin; r < rows.count; ++r) {
    int64_t i = rows.first + attend->attention->step * r;
    memset(sa_at(out, element_bytes, task.b, task.h, i, 0), 0,
           (size_t)code->value_dim * element_bytes);
    if (code->lse >= 0)
      *(float *)sa_at(&attend->state->values[code->lse], sizeof(float), 0, task.b, task.h,
                      i) = -INFINITY;
  }
}

/* The runs of a compile-time mask, in a worker's room. */
typedef struct room_list {
  sa_run *runs;
  int64_t count;
} room_list;

static bool append_run(void *context, int32_t first, int32_t tiles,
                       sparse_attn_tile_class kind) {
  room_list *list = context;
  sa_run *run = &list->runs[list->count++];
  run->first_tile = first;
  run->tiles = tiles;
  run->mask = kind == SPARSE_ATTN_TILE_FULL ? SA_RUN_FULL : SA_RUN_PREDICATE;
  run->hops = -1;
  return true;
}

static void attend_tile(const attending *attend, tile_task task, char *room) {
  const sa_plan_attention *attention = attend->attention;
  const sa_attention *code = attention->code;
  sa_entry entry = sa_plan_entry(attention, task.b);
  sa_tile_span rows = sa_row_span(attention, task.row_tile, entry.rows);
  sa_tile_span all = sa_row_span(attention, task.row_tile, attend->plan->shape.queries);
  write_padding(attend, task, all, rows.count);
  if (rows.count == 0)
    return;

  sa_run_list list = {NULL, 0, NULL, NULL};
  if (code->binding == SA_BINDING_PLAN) {
    list = sa_table_list(attention, task.b, task.h, task.row_tile);
  } else {
    room_list runs = {(sa_run *)(room + attend->state->workspace.scratch_bytes), 0};
    sa_tile_query query =
        sa_plan_query(attend->plan, attention, task.b, task.h, task.row_tile);
    sa_enumerate_tiles(&query, append_run, &runs);
    list.runs = runs.runs;
    list.count = runs.count;
  }
  int64_t kv_head = task.h / attend->group;
  sa_attend_args args = {.values = attend->state->values,
                         .packed = packed_plane(attend, task.b, kv_head),
                         .runs = list.runs,
                         .run_count = list.count,
                         .bits = list.bits,
                         .hops = list.hops,
                         .scratch = room,
                         .b = task.b,
                         .h = task.h,
                         .kv_head = kv_head,
                         .first_row = rows.first,
                         .rows = rows.count,
                         .first_position = entry.first_position + rows.first,
                         .keys = entry.keys,
                         .tokens = entry.tokens,
                         .heads = attend->plan->shape.heads};
  attention->level->attend(&args);
}

static int64_t attend_task_count(const attending *attend) {
  return attend->plan->shape.batch * attend->plan->shape.heads *
         attend->attention->row_tiles;
}

static void attend_tiles(void *argument, int worker) {
  attending *attend = argument;
  const sa_run_state *state = attend->state;
  bool planned = attend->attention->code->binding == SA_BINDING_PLAN;
  char *room = state->base + state->workspace.workers +
               (size_t)worker * state->workspace.worker_bytes;
  int64_t tasks = attend_task_count(attend);
  for (int64_t task; (task = take_task(attend)) < tasks;)
    attend_tile(attend,
                planned ? plan_time_task(attend, task) : compile_time_task(attend, task),
                room);
}

void sa_run_attention(const sa_run_state *state, const sa_plan_attention *attention) {
  const sparse_attn_plan *plan = state->plan;
  attending attend = {.state = state,
                      .plan = plan,
                      .attention = attention,
                      .plane_bytes = sa_packed_plane_bytes(attention),
                      .kv_heads = plan->shape.kv_heads};
  if (attend_task_count(&attend) == 0)
    return;
  attend.group = plan->shape.heads / plan->shape.kv_heads;
  sa_parallel(state->options, state->workers,
              plan->shape.batch * attend.kv_heads * attention->key_tiles, pack_tiles,
              &attend);
  atomic_store_explicit(&attend.next, 0, memory_order_relaxed);
  sa_parallel(state->options, state->workers, attend_task_count(&attend), attend_tiles,
              &attend);
}
