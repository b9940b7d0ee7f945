/*===- choose.c - the cheapest of several ways to a state ------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * The compiler may know more than one way to a result, and only the shape and the
 * layout tell which is faster: a union of a window and of every 128th key takes one
 * attention over all tiles that either touches, or one for each half and a merge. The
 * first is faster for short sequences, the second by far for long ones.
 *
 * A way costs what its steps cost, in pairs of a query and a key to compute: attentions
 * (cost.c), and the merge of their states. Choices follow from the shape and the layout
 * operands alone, as everything in a plan.
 *
 *===----------------------------------------------------------------------===*/

#include "cost.h"

/* To merge a row of one state, over the time of a pair of the same D and Dv. */
enum { kMergeRow = 60 };
/* A way is taken where it costs less than this share of what is written before it. */
static const double kShare = 0.9;

static double merge_cost(const sparse_attn_plan *plan, const sa_step *step) {
  const sparse_attn_shape *shape = &plan->shape;
  return (double)(shape->batch * shape->heads) * (double)shape->queries * kMergeRow *
         (double)(step->input_count / 2);
}

/* The cost of the attention, merge or choice that made O `id`, with what it reads. */
static double state_cost(const sparse_attn_plan *plan, int32_t id) {
  const sa_plan_attention *attention = plan->attentions;
  const sparse_attn_kernel *kernel = plan->kernel;
  for (int32_t i = 0; i < kernel->step_count; ++i) {
    const sa_step *step = &kernel->steps[i];
    bool made = step->first_result == id;
    if (step->kind == SA_STEP_ATTENTION) {
      if (made)
        return sa_attention_cost(plan, attention, -1);
      ++attention;
    } else if (made && step->kind != SA_STEP_POOL) {
      double cost = step->kind == SA_STEP_MERGE ? merge_cost(plan, step) : 0;
      for (int32_t k = 0; k < step->input_count; k += 2)
        if (step->kind == SA_STEP_MERGE || plan->values[step->inputs[k]].place == id)
          cost += state_cost(plan, step->inputs[k]);
      return cost;
    }
  }
  return 0;
}

/* Gives the cheapest way of a choice the place of its result. */
static void choose_way(sparse_attn_plan *plan, const sa_step *step) {
  int32_t best = 0;
  double least = state_cost(plan, step->inputs[0]);
  for (int32_t way = 2; way < step->input_count; way += 2) {
    double cost = state_cost(plan, step->inputs[way]);
    if (cost < kShare * least) {
      best = way;
      least = cost;
    }
  }
  for (int32_t i = 0; i < 2; ++i)
    plan->values[step->inputs[best + i]].place = step->first_result + i;
}

/* Marks what `step` reads, where something reads what it makes. */
static void need_inputs(sparse_attn_plan *plan, const sa_step *step) {
  sa_value *result = &plan->values[step->first_result];
  if (step->kind == SA_STEP_POOL ? !result->needed
                                 : !result[0].needed && !result[1].needed)
    return;
  result[0].needed = true;
  if (step->kind != SA_STEP_POOL)
    result[1].needed = true;
  if (step->kind == SA_STEP_ATTENTION)
    plan->values[step->attention->k].needed = plan->values[step->attention->v].needed =
        true;
  for (int32_t i = 0; i < step->input_count; ++i) {
    sa_value *input = &plan->values[step->inputs[i]];
    if (step->kind != SA_STEP_CHOOSE || input->place == step->first_result + i % 2)
      input->needed = true;
  }
}

void sa_choose_ways(sparse_attn_plan *plan) {
  const sparse_attn_kernel *kernel = plan->kernel;
  for (int32_t i = 0; i < kernel->step_count; ++i)
    if (kernel->steps[i].kind == SA_STEP_CHOOSE)
      choose_way(plan, &kernel->steps[i]);
  for (int32_t i = 0; i < kernel->output_count; ++i)
    plan->values[kernel->outputs[i].value].needed = true;
  for (int32_t i = kernel->step_count; i-- > 0;)
    need_inputs(plan, &kernel->steps[i]);
}
