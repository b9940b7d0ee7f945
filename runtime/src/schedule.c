/*===- schedule.c - an attention cut into calls ----------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * A call of generated code takes one query tile of a stack of heads, which share
 * its keys. Where that makes few calls, as in decoding, the keys of each are split
 * into parts. All of this follows from the shape alone: results do not depend on
 * the number of workers.
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

/* Calls to aim at, so that many workers end together, and the fewest key tiles that
 * are worth a part: its rows are scaled, and its state is written and read again, which
 * takes as long as a tile. Rows that read their keys in place wait for these instead. */
enum { kCallsWanted = 64, kPartTiles = 16, kPartTilesInPlace = 4 };

/* Up to so many rows of a call read keys in place. */
enum { kRowsInPlace = 8 };

/* Fewer calls than this decide before others attend: a call that does both finds its
 * list, and what it has read for it, in its caches. */
enum { kFewDeciding = 8 };

sa_schedule sa_make_schedule(const sparse_attn_plan *plan,
                             const sa_plan_attention *attention) {
  const sparse_attn_shape *shape = &plan->shape;
  const sa_attention *code = attention->code;
  sa_schedule schedule = {.stack = 1, .stacks = 1, .parts = 1};
  if (shape->kv_heads == 0 || shape->queries == 0)
    return schedule;
  schedule.group = shape->heads / shape->kv_heads;
  schedule.rows = sa_min(code->tile_rows, sa_ceil_div(shape->queries, attention->step));
  /* Heads that see different keys have different runs. */
  int64_t room = code->per_head ? 1 : attention->level->stack_rows / schedule.rows;
  schedule.stacks = sa_ceil_div(schedule.group, sa_max(room, 1));
  schedule.stack = sa_ceil_div(schedule.group, sa_max(schedule.stacks, 1));
  int64_t tile_calls = attention->row_tiles * schedule.stacks;
  /* Rows of different residue classes rarely read the same keys; nor do lists. */
  schedule.packed = !code->gathered && attention->class_row_tiles * schedule.stacks > 1;
  schedule.calls = shape->batch * shape->kv_heads * tile_calls;
  int64_t few = code->set_count ? kFewDeciding : kCallsWanted;
  schedule.in_place = !schedule.packed && schedule.rows * schedule.stack <= kRowsInPlace;
  int64_t part_tiles = schedule.in_place ? kPartTilesInPlace : kPartTiles;
  if (schedule.calls > 0 && schedule.calls < few)
    schedule.parts = sa_max(1, sa_min(sa_ceil_div(kCallsWanted, schedule.calls),
                                      attention->key_tiles / part_tiles));
  return schedule;
}

/* Calls of one (b, kv_head) are neighbours, so that they share its keys in the
 * cache; among them the longest comes first, so that the workers end together.
 * A closed-form mask knows no lengths: its later rows see more (causal). */
static sa_call compile_time_call(const sparse_attn_plan *plan,
                                 const sa_plan_attention *attention, int64_t index) {
  const sa_schedule *schedule = &attention->schedule;
  int64_t per_plane = attention->row_tiles * schedule->stacks;
  int64_t plane = index / per_plane, rest = index % per_plane;
  sa_call call;
  call.b = plane / plan->shape.kv_heads;
  call.kv_head = plane % plan->shape.kv_heads;
  call.stack = rest % schedule->stacks;
  call.row_tile = attention->row_tiles - 1 - rest / schedule->stacks;
  return call;
}

/* The same in the order that the plan has found. A section of the plan stands
 * for several (b, kv_head) where entries or heads are alike. */
static sa_call plan_time_call(const sparse_attn_plan *plan,
                              const sa_plan_attention *attention, int64_t index) {
  const sa_tile_table *table = &attention->table;
  const sa_schedule *schedule = &attention->schedule;
  const sparse_attn_shape *shape = &plan->shape;
  int64_t row_tiles = attention->row_tiles, stacks = schedule->stacks;
  int64_t per_plane = row_tiles * stacks;
  int64_t copies = shape->batch / table->batches * (shape->kv_heads / table->kv_heads);
  int64_t section = table->section_order[index / (per_plane * copies)];
  int64_t copy = index / per_plane % copies, rest = index % per_plane;
  int64_t section_b = section / table->kv_heads;

  sa_call call;
  if (table->kv_heads > 1) {
    call.kv_head = section % table->kv_heads;
    call.b = table->batches > 1 ? section_b : copy;
  } else {
    call.kv_head = copy % shape->kv_heads;
    call.b = table->batches > 1 ? section_b : copy / shape->kv_heads;
  }
  /* Lists of heads that differ are ordered with the heads: then stacks is group. */
  bool by_head = table->heads > 1;
  const uint32_t *order = table->list_order + section * (by_head ? per_plane : row_tiles);
  int64_t list = by_head ? order[rest] : order[rest / stacks] * stacks + rest % stacks;
  call.row_tile = list / stacks;
  call.stack = list % stacks;
  return call;
}

sa_call sa_schedule_call(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                         int64_t index) {
  const sa_schedule *schedule = &attention->schedule;
  sa_call call = sa_has_table(attention) ? plan_time_call(plan, attention, index)
                                         : compile_time_call(plan, attention, index);
  call.index = index;
  call.h = call.kv_head * schedule->group + call.stack * schedule->stack;
  call.heads = sa_min(schedule->stack, (call.kv_head + 1) * schedule->group - call.h);
  return call;
}

int64_t sa_cut_runs(const sa_run *runs, int64_t count, int64_t part, int64_t parts,
                    sa_run *to) {
  int64_t tiles = 0, at = 0, kept = 0;
  for (int64_t i = 0; i < count; ++i)
    tiles += runs[i].tiles;
  int64_t begin = tiles * part / parts, end = tiles * (part + 1) / parts;
  for (int64_t i = 0; i < count && at < end; ++i) {
    sa_run run = runs[i];
    int64_t skip = sa_max(begin - at, 0);
    int64_t take = sa_min(end - at, run.tiles) - skip;
    at += run.tiles;
    if (take <= 0)
      continue;
    run.first_tile += (int32_t)skip;
    run.tiles = (int32_t)take;
    if (run.mask >= 0)
      run.mask += (int32_t)skip;
    if (run.hops >= 0)
      run.hops += (int32_t)skip;
    to[kept++] = run;
  }
  return kept;
}
