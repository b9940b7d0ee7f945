/*===- workspace.c - where things lie in a workspace ----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 *   views of all values | temporaries | centers and states of keys |
 *   packed tiles | states of split calls | their lists |
 *   worker 0: scratch, run list | worker 1 ...
 *
 * Everything is aligned to SA_ALIGNMENT. Steps run one after another, so that they
 * share the tiles, the states and the workers' rooms: the largest need counts.
 *
 *===----------------------------------------------------------------------===*/

#include "encoded.h"
#include "gpu.h"
#include "sets.h"

/* Takes `bytes` at the end of the workspace. */
static bool place(size_t bytes, size_t *end, size_t *offset) {
  *offset = *end;
  return sa_add(*end, bytes, end) && sa_align(*end, end);
}

bool sa_place_temporaries(const sparse_attn_plan *plan,
                          const sparse_attn_options *options, char *base, sa_view *views,
                          size_t *end) {
  for (int32_t i = plan->kernel->input_count; i < plan->kernel->value_count; ++i) {
    const sa_value *value = &plan->values[i];
    if (!value->needed || value->output >= 0 || value->place >= 0 ||
        sa_is_given(plan, options, i))
      continue;
    size_t bytes = (size_t)value->element_bytes, offset;
    for (int axis = 0; axis < 4; ++axis)
      if (!sa_multiply(bytes, (size_t)value->size[axis], &bytes))
        return false;
    if (!place(bytes, end, &offset))
      return false;
    if (views)
      views[i] = sa_contiguous_view(base + offset, value->size);
  }
  return true;
}

/* Bytes of the packed tiles of one (b, kv_head). */
static bool packed_plane_bytes(const sa_plan_attention *attention, size_t *bytes) {
  return sa_multiply((size_t)attention->key_tiles, (size_t)attention->level->packed_bytes,
                     bytes);
}

size_t sa_packed_plane_bytes(const sa_plan_attention *attention) {
  size_t bytes = 0;
  packed_plane_bytes(attention, &bytes); /* checked by sa_plan_workspace */
  return bytes;
}

static bool packed_bytes(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                         size_t *bytes) {
  *bytes = 0;
  if (!attention->schedule.packed)
    return true;
  return packed_plane_bytes(attention, bytes) &&
         sa_multiply(*bytes, (size_t)plan->shape.batch, bytes) &&
         sa_multiply(*bytes, (size_t)plan->shape.kv_heads, bytes);
}

static bool call_state_bytes(const sa_plan_attention *attention, size_t *bytes) {
  const sa_schedule *schedule = &attention->schedule;
  return sa_multiply((size_t)(schedule->parts * schedule->stack), (size_t)schedule->rows,
                     bytes) &&
         sa_multiply(*bytes, (size_t)attention->level->state_bytes, bytes) &&
         sa_align(*bytes, bytes) && sa_add(*bytes, SA_ALIGNMENT, bytes);
}

size_t sa_call_state_bytes(const sa_plan_attention *attention) {
  size_t bytes = 0;
  call_state_bytes(attention, &bytes); /* checked by sa_plan_workspace */
  return bytes;
}

static bool state_bytes(const sa_plan_attention *attention, size_t *bytes) {
  *bytes = 0;
  return attention->schedule.parts == 1 ||
         (call_state_bytes(attention, bytes) &&
          sa_multiply(*bytes, (size_t)attention->schedule.calls, bytes));
}

/* A list that no plan holds as it is has at most one run for every key tile. */
static bool run_list_bytes(const sparse_attn_plan *plan,
                           const sa_plan_attention *attention, size_t *bytes) {
  *bytes = 0;
  if (attention->code->set_count) {
    sa_choice_room room;
    sa_list_room list;
    size_t own;
    return sa_lay_out_choice(plan, attention, NULL, &room, bytes) &&
           sa_lay_out_list(plan, attention, NULL, &list, &own) &&
           (attention->schedule.parts > 1 || sa_add(*bytes, own, bytes));
  }
  bool held = sa_has_table(attention) && attention->schedule.parts == 1;
  return held || (sa_multiply((size_t)attention->key_tiles, sizeof(sa_run), bytes) &&
                  sa_align(*bytes, bytes));
}

/* What calls keep, where several parts read it. */
static bool call_list_bytes(const sparse_attn_plan *plan,
                            const sa_plan_attention *attention, size_t *bytes) {
  *bytes = 0;
  sa_list_room room;
  return attention->code->set_count == 0 || attention->schedule.parts == 1 ||
         (sa_lay_out_list(plan, attention, NULL, &room, bytes) &&
          sa_multiply(*bytes, (size_t)attention->schedule.calls, bytes));
}

static bool lay_out(const sparse_attn_plan *plan, const sparse_attn_options *options,
                    int workers, char *base, sa_view *views, sa_workspace *workspace) {
  size_t end = 0, packed = 0, states = 0, scratch = 0, lists = 0, kept = 0;
  if (!sa_multiply((size_t)plan->kernel->value_count, sizeof(sa_view), &end) ||
      !sa_align(end, &end) || !sa_place_temporaries(plan, options, base, views, &end))
    return false;
  for (int32_t i = 0; i < plan->attention_count; ++i) {
    const sa_plan_attention *attention = &plan->attentions[i];
    if (!sa_is_attention_needed(plan, attention))
      continue;
    size_t own_packed, own_states, own_scratch, own_list, own_kept;
    if (!packed_bytes(plan, attention, &own_packed) ||
        !state_bytes(attention, &own_states) ||
        !sa_align((size_t)attention->level->scratch_bytes, &own_scratch) ||
        !run_list_bytes(plan, attention, &own_list) ||
        !call_list_bytes(plan, attention, &own_kept))
      return false;
    packed = packed > own_packed ? packed : own_packed;
    states = states > own_states ? states : own_states;
    scratch = scratch > own_scratch ? scratch : own_scratch;
    lists = lists > own_list ? lists : own_list;
    kept = kept > own_kept ? kept : own_kept;
  }
  workspace->values = 0;
  workspace->scratch_bytes = scratch;
  if (!sa_add(scratch, lists, &workspace->worker_bytes))
    return false;
  if (workspace->worker_bytes < plan->encoder_bytes)
    workspace->worker_bytes = plan->encoder_bytes;
  return place(plan->centers_bytes, &end, &workspace->centers) &&
         place(sa_given_states(options) ? 0 : plan->encoded_bytes, &end,
               &workspace->encoded) &&
         place(packed, &end, &workspace->packed) &&
         place(states, &end, &workspace->states) &&
         place(kept, &end, &workspace->lists) &&
         sa_multiply(workspace->worker_bytes, (size_t)workers, &lists) &&
         place(lists, &end, &workspace->workers) &&
         sa_add(end, SA_ALIGNMENT - 1, &workspace->bytes);
}

sparse_attn_status sa_plan_workspace(const sparse_attn_plan *plan,
                                     const sparse_attn_options *options, int workers,
                                     char *base, sa_view *views,
                                     sa_workspace *workspace) {
  if (lay_out(plan, options, workers, base, views, workspace))
    return SPARSE_ATTN_OK;
  return sa_fail(SPARSE_ATTN_OVERFLOW,
                 "kernel '%s': the workspace of B = %lld, Hkv = %lld, N = %lld "
                 "and %d threads does not fit the address space",
                 plan->kernel->name, (long long)plan->shape.batch,
                 (long long)plan->shape.kv_heads, (long long)plan->shape.keys, workers);
}

sparse_attn_status sparse_attn_workspace_size(const sparse_attn_plan *plan,
                                              const sparse_attn_options *options,
                                              size_t *bytes) {
  if (!plan || !bytes)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "%s is null", plan ? "bytes" : "plan");
  *bytes = 0;
  int workers;
  sparse_attn_status status = sa_worker_count(options, &workers);
  if (status || plan->empty)
    return status;
  if (plan->gpu)
    return sa_gpu_workspace_size(plan, bytes);
  sa_workspace workspace;
  status = sa_plan_workspace(plan, options, workers, NULL, NULL, &workspace);
  if (!status)
    *bytes = workspace.bytes;
  return status;
}
