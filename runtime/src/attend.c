/*===- attend.c - one attention: pack, attend, combine ---------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Each phase takes tasks from a counter. A task is one call of generated code, so
 * that the result does not depend on which worker takes it or when. A call whose keys are
 * split is combined by the worker that does the last part of it.
 *
 *===----------------------------------------------------------------------===*/

#include "sets.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

typedef struct attending {
  const sa_run_state *state;
  const sa_plan_attention *attention;
  _Atomic int64_t next;
  _Atomic int64_t bad_list; /* a set and a call of which it is wrong, or -1 */
} attending;

static int64_t take_task(attending *attend) {
  return atomic_fetch_add_explicit(&attend->next, 1, memory_order_relaxed);
}

/* O = 0 and LSE = -inf for the rows of a tile that are padding, from `begin` on. */
static void write_padding(const attending *attend, const sa_call *call, sa_tile_span rows,
                          int64_t begin) {
  const sa_run_state *state = attend->state;
  const sa_attention *code = attend->attention->code;
  const sa_view *out = &state->values[code->out];
  size_t element_bytes = (size_t)state->plan->values[code->out].element_bytes;
  for (int64_t h = call->h; h < call->h + call->heads; ++h)
    for (int64_t r = begin; r < rows.count; ++r) {
      int64_t i = rows.first + attend->attention->step * r;
      memset(sa_at(out, element_bytes, call->b, h, i, 0), 0,
             (size_t)code->value_dim * element_bytes);
      if (code->lse >= 0)
        *(float *)sa_at(&state->values[code->lse], sizeof(float), 0, call->b, h, i) =
            -INFINITY;
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
  list->runs[list->count++] = sa_run_of(first, tiles, kind);
  return true;
}

/* The runs of `part` of a call; `room` takes those that no plan holds. */
static sa_run_list list_runs(const attending *attend, const sa_call *call, int64_t part,
                             sa_run *room) {
  const sa_plan_attention *attention = attend->attention;
  int64_t parts = attention->schedule.parts;
  sa_run_list list = {room, 0, NULL, NULL};
  if (sa_has_table(attention)) {
    list = sa_table_list(attention, call->b, call->h, call->row_tile);
  } else {
    room_list runs = {room, 0};
    sa_tile_query query =
        sa_plan_query(attend->state->plan, attention, call->b, call->h, call->row_tile);
    sa_enumerate_tiles(&query, append_run, &runs);
    list.count = runs.count;
  }
  if (parts > 1) {
    list.count = sa_cut_runs(list.runs, list.count, part, parts, room);
    list.runs = room;
  }
  return list;
}

sa_attend_args sa_describe_call(const sa_run_state *state,
                                const sa_plan_attention *attention, const sa_call *call,
                                char *room) {
  sa_entry entry = sa_plan_entry(attention, call->b);
  sa_tile_span rows = sa_row_span(attention, call->row_tile, entry.rows);
  sa_attend_args args = {.values = state->values,
                         .scratch = room,
                         .b = call->b,
                         .h = call->h,
                         .kv_head = call->kv_head,
                         .stack = call->heads,
                         .first_row = rows.first,
                         .rows = rows.count,
                         .first_position = entry.first_position + rows.first,
                         .step = attention->step,
                         .class_tiles = attention->class_key_tiles,
                         .keys = entry.keys,
                         .tokens = entry.tokens,
                         .heads = state->plan->shape.heads};
  if (attention->schedule.packed)
    args.packed = sa_packed_plane(state, attention, call->b, call->kv_head);
  if (attention->schedule.parts > 1)
    args.states = state->base + state->workspace.states +
                  (size_t)call->index * sa_call_state_bytes(attention);
  return args;
}

static void set_runs(sa_attend_args *args, const sa_run_list *list) {
  args->runs = list->runs;
  args->run_count = list->count;
  args->bits = list->bits;
  args->hops = list->hops;
}

/* The last phase of a call writes the rows that no kernel does. */
static void write_call_padding(const attending *attend, const sa_call *call,
                               const sa_attend_args *args) {
  sa_tile_span all =
      sa_row_span(attend->attention, call->row_tile, attend->state->plan->shape.queries);
  write_padding(attend, call, all, args->rows);
}

/* A worker's room. */
typedef struct room {
  char *scratch;
  sa_run *runs;          /* of a plan's list; else: */
  sa_choice_room choice; /* of what a run decides, and ... */
  sa_list_room list;     /* ... its list, where a call has one part */
  size_t list_bytes;     /* of each call, where it has several */
} room;

static room open_room(const attending *attend, int worker) {
  const sa_run_state *state = attend->state;
  const sa_workspace *workspace = &state->workspace;
  room room = {.scratch = state->base + workspace->workers +
                          (size_t)worker * workspace->worker_bytes};
  room.runs = (sa_run *)(room.scratch + workspace->scratch_bytes);
  if (attend->attention->code->set_count == 0)
    return room;
  sa_open_choice(state, attend->attention, worker, &room.choice);
  if (attend->attention->schedule.parts > 1)
    room.list_bytes = sa_list_bytes(state->plan, attend->attention);
  else
    sa_lay_out_list(state->plan, attend->attention, room.choice.end, &room.list,
                    &room.list_bytes);
  return room;
}

/* What the kernel reads where a run decides the mask. False where a list is wrong. */
static bool describe_list(attending *attend, const sa_call *call, int64_t part,
                          const room *room, sa_attend_args *args) {
  const sa_plan_attention *attention = attend->attention;
  int64_t parts = attention->schedule.parts;
  const sa_key_list *list = room->list.list;
  if (parts > 1) {
    list =
        (const sa_key_list *)sa_call_room(attend->state, room->list_bytes, call->index);
  } else if (!sa_list_keys(attend->state, attention, call, args, &room->choice,
                           &room->list)) {
    int64_t bad = call->index * attention->code->set_count + list->sets;
    atomic_store_explicit(&attend->bad_list, bad, memory_order_relaxed);
    return false;
  }
  args->list = list->keys;
  args->list_weights = list->weights;
  if (list->keys)
    args->keys = list->count;
  sa_run_list runs = list->runs;
  if (parts > 1) {
    runs.count = sa_cut_runs(runs.runs, runs.count, part, parts, room->choice.runs);
    runs.runs = room->choice.runs;
  }
  set_runs(args, &runs);
  return true;
}

static void attend_part(attending *attend, const sa_call *call, int64_t part,
                        const room *room) {
  const sa_plan_attention *attention = attend->attention;
  sa_attend_args args = sa_describe_call(attend->state, attention, call, room->scratch);
  if (attention->schedule.parts == 1)
    write_call_padding(attend, call, &args);
  else
    args.states = (char *)args.states +
                  part * args.rows * args.stack * attention->level->state_bytes;
  if (args.rows == 0)
    return;
  if (attention->code->set_count) {
    if (!describe_list(attend, call, part, room, &args))
      return;
  } else {
    sa_run_list list = list_runs(attend, call, part, room->runs);
    set_runs(&args, &list);
  }
  /* A row that keeps no key is as a row of padding. */
  if (args.run_count == 0 && !args.states && attention->code->sinks < 0) {
    sa_tile_span rows = {args.first_row, args.rows};
    write_padding(attend, call, rows, 0);
    return;
  }
  attention->level->attend(&args);
}

static void combine_call(const attending *attend, const sa_call *call, char *room) {
  sa_attend_args args = sa_describe_call(attend->state, attend->attention, call, room);
  args.state_count = attend->attention->schedule.parts;
  write_call_padding(attend, call, &args);
  if (args.rows)
    attend->attention->level->combine(&args);
}

/* How many parts of a call are not done yet, behind the states that they leave. */
static _Atomic int64_t *parts_left(const attending *attend, int64_t index) {
  const sa_run_state *state = attend->state;
  size_t bytes = sa_call_state_bytes(attend->attention);
  char *end = state->base + state->workspace.states + (size_t)(index + 1) * bytes;
  return (_Atomic int64_t *)(end - SA_ALIGNMENT);
}

/* Whoever does the last part of a call merges them, always in the same order: a second
 * start of threads would cost as much as decoding a short window. */
static void finish_part(const attending *attend, const sa_call *call, char *room) {
  if (attend->attention->schedule.parts > 1 &&
      atomic_fetch_sub_explicit(parts_left(attend, call->index), 1,
                                memory_order_acq_rel) == 1)
    combine_call(attend, call, room);
}

static void attend_calls(void *argument, int worker) {
  attending *attend = argument;
  const sa_schedule *schedule = &attend->attention->schedule;
  room room = open_room(attend, worker);
  int64_t tasks = schedule->calls * schedule->parts;
  for (int64_t task; (task = take_task(attend)) < tasks;) {
    sa_call call =
        sa_schedule_call(attend->state->plan, attend->attention, task / schedule->parts);
    attend_part(attend, &call, task % schedule->parts, &room);
    finish_part(attend, &call, room.scratch);
  }
}

/* Says where a list of a call is wrong. */
static sparse_attn_status refuse_list(const attending *attend, int64_t bad_list) {
  const sa_attention *code = attend->attention->code;
  const sparse_attn_kernel *kernel = attend->state->plan->kernel;
  sa_call call = sa_schedule_call(attend->state->plan, attend->attention,
                                  bad_list / code->set_count);
  const sa_set *set = &code->sets[bad_list % code->set_count];
  return sa_fail(
      SPARSE_ATTN_INVALID_ARGUMENT,
      "kernel '%s': '%s' lists for batch entry %lld, head %lld, query tile %lld "
      "what is neither a key (0 to %lld) nor -1%s",
      kernel->name, kernel->inputs[set->inputs[0]].name, (long long)call.b,
      (long long)call.h, (long long)call.row_tile,
      (long long)attend->attention->key_capacity - 1,
      set->inputs[1] < 0 ? "" : ", or a key whose probability is not in [0, 1]");
}

sparse_attn_status sa_run_attention(const sa_run_state *state,
                                    const sa_plan_attention *attention) {
  const sa_schedule *schedule = &attention->schedule;
  if (schedule->calls == 0)
    return SPARSE_ATTN_OK;
  if (attention->code->set_count) {
    sparse_attn_status status = sa_check_lists(state, attention);
    if (status)
      return status;
  }
  if (schedule->packed)
    sa_pack(state, attention);
  attending attend = {.state = state, .attention = attention, .bad_list = -1};
  if (attention->code->set_count && schedule->parts > 1) {
    int64_t bad_list = sa_decide_calls(state, attention);
    if (bad_list >= 0)
      return refuse_list(&attend, bad_list);
  }
  for (int64_t call = 0; schedule->parts > 1 && call < schedule->calls; ++call)
    atomic_init(parts_left(&attend, call), schedule->parts);
  sa_parallel(state->options, state->workers, schedule->calls * schedule->parts,
              attend_calls, &attend);
  int64_t bad_list = atomic_load_explicit(&attend.bad_list, memory_order_relaxed);
  return bad_list >= 0 ? refuse_list(&attend, bad_list) : SPARSE_ATTN_OK;
}
