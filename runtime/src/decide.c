/*===- decide.c - what few calls keep, decided by many workers -------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Where the keys of a call are split into parts, its mask is decided before: the row is
 * encoded, parts of the units are scored, and one worker makes the sets of the call and
 * leaves its list in the workspace. Only then several workers attend to parts of it.
 * Scores of a row that choose alone do not depend on where the units are cut.
 *
 *===----------------------------------------------------------------------===*/

#include "sets.h"

#include <stdatomic.h>

typedef struct deciding deciding;
typedef struct task_room {
  sa_choice_room choice;
  sa_list_room list; /* of the task's call */
} task_room;

struct deciding {
  const sa_run_state *state;
  const sa_plan_attention *attention;
  size_t list_bytes;
  int64_t tasks_per_call;
  void (*decide)(deciding *decide, const sa_call *call, int64_t task, task_room *room);
  _Atomic int64_t next;
  _Atomic int64_t bad_list;
};

bool sa_is_scored_before(const sa_plan_attention *attention, int32_t number) {
  const sa_score *score = &attention->code->scores[number];
  return attention->schedule.parts > 1 && attention->schedule.rows == 1 &&
         (score->granularity != SA_OF_KEY || score->block == 1);
}

static sa_score_job score_job(const deciding *decide, const sa_call *call,
                              int32_t number) {
  return (sa_score_job){decide->state, decide->attention, call, number};
}

/*===--- The phases -------------------------------------------------------===*/

/* Encodes a row for score `number`. */
static void encode_row(deciding *decide, const sa_call *call, int64_t number,
                       task_room *room) {
  float *query = room->list.queries[number];
  if (!query)
    return;
  sa_score_job job = score_job(decide, call, (int32_t)number);
  size_t words =
      sa_query_words(decide->state->plan, &decide->attention->code->scores[number]);
  int64_t heads = sa_score_heads(decide->attention, (int32_t)number);
  for (int64_t head = 0; head < heads; ++head)
    sa_encode_rows(&job, head, 0, 1, query + (size_t)head * words, room->choice.work);
}

/* Scores part `task` % parts of the units of score `task` / parts. */
static void score_part(deciding *decide, const sa_call *call, int64_t task,
                       task_room *room) {
  const sa_plan_attention *attention = decide->attention;
  int64_t parts = attention->schedule.parts, part = task % parts;
  int32_t number = (int32_t)(task / parts);
  float *scores = room->list.scores[number];
  if (!scores)
    return;
  const sa_score *score = &attention->code->scores[number];
  int64_t units = sa_ceil_div(sa_plan_entry(attention, call->b).keys, score->block);
  int64_t groups = sa_ceil_div(units, SA_STATE_LANES);
  int64_t first = groups * part / parts * SA_STATE_LANES;
  int64_t end = sa_min(groups * (part + 1) / parts * SA_STATE_LANES, units);
  if (first >= end)
    return;
  sa_score_job job = score_job(decide, call, number);
  size_t words = sa_query_words(decide->state->plan, score);
  int64_t heads = sa_score_heads(attention, number);
  for (int64_t head = 0; head < heads; ++head)
    sa_score_units(&job, head, room->list.queries[number] + (size_t)head * words, first,
                   end, room->choice.values, room->choice.head_scores, scores);
}

static void decide_call(deciding *decide, const sa_call *call, int64_t task,
                        task_room *room) {
  (void)task;
  sa_attend_args args =
      sa_describe_call(decide->state, decide->attention, call, room->choice.scratch);
  if (!sa_list_keys(decide->state, decide->attention, call, &args, &room->choice,
                    &room->list))
    atomic_store_explicit(&decide->bad_list,
                          call->index * decide->attention->code->set_count +
                              room->list.list->sets,
                          memory_order_relaxed);
}

/*===--- All of them ------------------------------------------------------===*/

static void work(void *argument, int worker) {
  deciding *decide = argument;
  const sa_run_state *state = decide->state;
  const sa_plan_attention *attention = decide->attention;
  task_room room;
  sa_open_choice(state, attention, worker, &room.choice);
  int64_t tasks = attention->schedule.calls * decide->tasks_per_call;
  for (;;) {
    int64_t task = atomic_fetch_add_explicit(&decide->next, 1, memory_order_relaxed);
    if (task >= tasks)
      return;
    sa_call call =
        sa_schedule_call(state->plan, attention, task / decide->tasks_per_call);
    sa_tile_span rows =
        sa_row_span(attention, call.row_tile, sa_plan_entry(attention, call.b).rows);
    if (rows.count == 0)
      continue;
    size_t bytes;
    sa_lay_out_list(state->plan, attention,
                    sa_call_room(state, decide->list_bytes, call.index), &room.list,
                    &bytes);
    decide->decide(decide, &call, task % decide->tasks_per_call, &room);
  }
}

static void run_phase(deciding *decide, int64_t tasks_per_call,
                      void (*phase)(deciding *, const sa_call *, int64_t, task_room *)) {
  decide->tasks_per_call = tasks_per_call;
  decide->decide = phase;
  atomic_store_explicit(&decide->next, 0, memory_order_relaxed);
  sa_parallel(decide->state->options, decide->state->workers,
              decide->attention->schedule.calls * tasks_per_call, work, decide);
}

int64_t sa_decide_calls(const sa_run_state *state, const sa_plan_attention *attention) {
  deciding decide = {.state = state,
                     .attention = attention,
                     .list_bytes = sa_list_bytes(state->plan, attention),
                     .bad_list = -1};
  int64_t scores = attention->code->score_count;
  bool before = false;
  for (int32_t s = 0; s < scores; ++s)
    before |= sa_is_scored_before(attention, s);
  if (before) {
    run_phase(&decide, scores, encode_row);
    run_phase(&decide, scores * attention->schedule.parts, score_part);
  }
  run_phase(&decide, 1, decide_call);
  return atomic_load_explicit(&decide.bad_list, memory_order_relaxed);
}
