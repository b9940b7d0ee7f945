/*===- run.c - runs the steps of a plan -----------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encoded.h"
#include "gpu.h"

#include <string.h>

/* Makes the views of the run's inputs and outputs in state->values. With
 * state->values NULL the tensors are only checked. */
static sparse_attn_status bind_inputs(const sa_run_state *state,
                                      const DLTensor *const *inputs) {
  const sparse_attn_plan *plan = state->plan;
  const sparse_attn_kernel *kernel = plan->kernel;
  size_t next = 0;
  for (int32_t i = 0; i < kernel->input_count; ++i) {
    sa_view view = plan->gpu ? plan->gpu->views[i] : plan->views[i];
    if (!kernel->inputs[i].layout) {
      sparse_attn_status status =
          sa_bind_tensor(kernel, &kernel->inputs[i], false, inputs[next++],
                         sa_plan_device(plan), &plan->shape, &view);
      if (status)
        return status;
    }
    if (state->values)
      state->values[i] = view;
  }
  return SPARSE_ATTN_OK;
}

static sparse_attn_status bind_outputs(const sa_run_state *state,
                                       DLTensor *const *outputs) {
  const sparse_attn_plan *plan = state->plan;
  const sparse_attn_kernel *kernel = plan->kernel;
  for (int32_t i = 0; i < kernel->output_count; ++i) {
    const sa_tensor *spec = &kernel->outputs[i];
    const sa_value *value = &plan->values[spec->value];
    sa_view view;
    sparse_attn_status status = sa_bind_tensor(kernel, spec, true, outputs[i],
                                               sa_plan_device(plan), &plan->shape, &view);
    if (status)
      return status;
    /* The axes of a pooled result have no name that sa_bind_tensor knows. */
    for (int axis = 0; axis < 4; ++axis)
      if (view.size[axis] != value->size[axis])
        return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                       "kernel '%s': '%s' has size %lld on axis %d, expected "
                       "%lld",
                       kernel->name, spec->name, (long long)view.size[axis],
                       axis - (4 - spec->rank), (long long)value->size[axis]);
    if (state->values)
      state->values[spec->value] = view;
  }
  return SPARSE_ATTN_OK;
}

static sparse_attn_status check_workspace(const sa_run_state *state,
                                          const void *workspace, size_t workspace_bytes) {
  const sparse_attn_plan *plan = state->plan;
  size_t needed;
  sparse_attn_status status = sparse_attn_workspace_size(plan, state->options, &needed);
  if (status || needed == 0 || (workspace && workspace_bytes >= needed))
    return status;
  size_t given = workspace ? workspace_bytes : 0;
  if (plan->gpu)
    return sa_fail(SPARSE_ATTN_WORKSPACE_TOO_SMALL,
                   "kernel '%s': the workspace has %zu bytes, expected at least "
                   "%zu (sparse_attn_workspace_size)",
                   plan->kernel->name, given, needed);
  return sa_fail(SPARSE_ATTN_WORKSPACE_TOO_SMALL,
                 "kernel '%s': the workspace has %zu bytes, expected at least "
                 "%zu for %d threads (sparse_attn_workspace_size)",
                 plan->kernel->name, given, needed, state->workers);
}

/* Finds the aligned start of the workspace and lays it out. */
static sparse_attn_status open_workspace(sa_run_state *state, void *workspace) {
  const sparse_attn_plan *plan = state->plan;
  uintptr_t address = (uintptr_t)workspace;
  size_t skip = (SA_ALIGNMENT - address % SA_ALIGNMENT) % SA_ALIGNMENT;
  state->base = (char *)workspace + skip;
  state->values = (sa_view *)state->base;
  memset(state->values, 0, (size_t)plan->kernel->value_count * sizeof(*state->values));
  return sa_plan_workspace(plan, state->options, state->workers, state->base,
                           state->values, &state->workspace);
}

/* What was chosen is written where the choice's result goes. A choice of choices has
 * the larger ids. */
static void place_chosen(const sa_run_state *state) {
  const sparse_attn_plan *plan = state->plan;
  for (int32_t i = plan->kernel->value_count; i-- > 0;)
    if (plan->values[i].place >= 0)
      state->values[i] = state->values[plan->values[i].place];
}

static void bind_all(const sa_run_state *state, const DLTensor *const *inputs,
                     DLTensor *const *outputs) {
  bind_inputs(state, inputs); /* was checked */
  bind_outputs(state, outputs);
  place_chosen(state);
}

static sparse_attn_status run_here(sa_run_state *state, const DLTensor *const *inputs,
                                   DLTensor *const *outputs, void *workspace) {
  const sparse_attn_plan *plan = state->plan;
  sparse_attn_status status = open_workspace(state, workspace);
  if (status)
    return status;
  bind_all(state, inputs, outputs);
  sa_view_kept_pools(state);
  const sa_plan_attention *attention = plan->attentions;
  for (int32_t i = 0; !status && i < plan->kernel->step_count; ++i) {
    const sa_step *step = &plan->kernel->steps[i];
    bool needed = sa_is_needed(plan, step);
    if (step->kind == SA_STEP_ATTENTION) {
      if (needed)
        status = sa_encode_run_keys(state, attention);
      if (needed && !status)
        status = sa_run_attention(state, attention);
      ++attention;
    } else if (!needed) {
      continue;
    } else if (step->kind == SA_STEP_POOL) {
      if (!sa_is_given(plan, state->options, step->first_result))
        sa_run_pool(state, step);
    } else {
      sa_run_merge(state, step);
    }
  }
  return status;
}

/* The shapes of lists: what they hold is known to the device alone. */
static sparse_attn_status check_lists(const sa_run_state *state) {
  const sparse_attn_plan *plan = state->plan;
  sparse_attn_status status = SPARSE_ATTN_OK;
  for (int32_t i = 0; i < plan->attention_count && !status; ++i)
    if (sa_is_attention_needed(plan, &plan->attentions[i]))
      status = sa_check_lists(state, &plan->attentions[i]);
  return status;
}

static sparse_attn_status run_on_gpu(sa_run_state *state, const DLTensor *const *inputs,
                                     DLTensor *const *outputs, void *workspace) {
  sa_view values[SA_GPU_MOST_VALUES] = {{0}};
  state->values = values;
  char *states = sa_gpu_open_workspace(state->plan, workspace, values);
  bind_all(state, inputs, outputs);
  sparse_attn_status status = check_lists(state);
  return status ? status
                : sa_gpu_run(state->plan, values, states,
                             state->options ? state->options->stream : NULL);
}

sparse_attn_status sparse_attn_run(const sparse_attn_plan *plan,
                                   const DLTensor *const *inputs, size_t input_count,
                                   DLTensor *const *outputs, size_t output_count,
                                   void *workspace, size_t workspace_bytes,
                                   const sparse_attn_options *options) {
  if (!plan)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "plan is null");
  const sparse_attn_kernel *kernel = plan->kernel;
  sa_run_state state = {.plan = plan, .options = options};
  sparse_attn_status status = sa_worker_count(options, &state.workers);
  if (!status)
    status = sa_check_input_count(kernel, 0, inputs, input_count);
  if (status)
    return status;
  if (output_count != (size_t)kernel->output_count || (output_count && !outputs))
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "kernel '%s' has %d outputs, got %zu",
                   kernel->name, (int)kernel->output_count, outputs ? output_count : 0);
  /* Tensors first without a place for their views: their mistakes are easier to
   * mend than a workspace of the wrong size, and come first. */
  status = bind_inputs(&state, inputs);
  if (!status)
    status = bind_outputs(&state, outputs);
  if (!status)
    status = sa_check_run_states(plan, options);
  if (!status)
    status = check_workspace(&state, workspace, workspace_bytes);
  if (status || plan->empty)
    return status;
  return plan->gpu ? run_on_gpu(&state, inputs, outputs, workspace)
                   : run_here(&state, inputs, outputs, workspace);
}
