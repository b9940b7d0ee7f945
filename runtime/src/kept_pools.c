/*===- kept_pools.c - pooled keys and values as states --------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Means lie as an attention reads them, [B][Hkv][blocks][D] in the type of the tokens, so
 * that a run takes them as they are. Beside them the sums of the last block of each
 * plane, to which further tokens add.
 *
 *===----------------------------------------------------------------------===*/

#include "encoded.h"

/*===--- Memory -----------------------------------------------------------===*/

int32_t sa_count_kept_pools(const sparse_attn_kernel *kernel) {
  int32_t count = 0;
  for (int32_t i = 0; i < kernel->step_count; ++i)
    count += sa_is_kept_pool(kernel, i);
  return count;
}

void sa_describe_kept_pools(sparse_attn_states *states) {
  const sparse_attn_kernel *kernel = states->kernel;
  sa_kept_pool *pool = states->pools;
  for (int32_t i = 0; i < kernel->step_count; ++i) {
    if (!sa_is_kept_pool(kernel, i))
      continue;
    pool->step = &kernel->steps[i];
    pool->dim = kernel->inputs[pool->step->inputs[0]].dims[3];
    pool->type = sa_input_type(kernel, pool->step->inputs[0]);
    ++pool;
  }
}

bool sa_place_kept_pool(const sparse_attn_states *states, sa_kept_pool *pool, char *base,
                        size_t *end) {
  const sparse_attn_shape *shape = &states->shape;
  size_t planes = (size_t)(shape->batch * shape->kv_heads);
  size_t blocks = (size_t)sa_ceil_div(shape->keys, pool->step->block);
  size_t columns, sums, means;
  if (!sa_multiply(planes, (size_t)pool->dim, &columns) ||
      !sa_multiply(columns, sizeof(double), &sums) ||
      !sa_multiply(columns, blocks, &means) ||
      !sa_multiply(means, (size_t)sa_real_bytes(pool->type), &means) ||
      !sa_align(sums, &sums) || !sa_align(means, &means))
    return false;
  if (base) {
    pool->sums = (double *)(base + *end);
    pool->means = base + *end + sums;
  }
  return sa_add(*end, sums, end) && sa_add(*end, means, end);
}

double sa_kept_pool_bytes_per_key(const sparse_attn_states *states,
                                  const sa_kept_pool *pool) {
  return (double)(states->shape.kv_heads * pool->dim * sa_real_bytes(pool->type)) /
         pool->step->block;
}

/*===--- Views ------------------------------------------------------------===*/

static sa_view view_means(const sparse_attn_states *states, const sa_kept_pool *pool) {
  const sparse_attn_shape *shape = &states->shape;
  const int64_t size[4] = {shape->batch, shape->kv_heads,
                           sa_ceil_div(shape->keys, pool->step->block), pool->dim};
  return sa_contiguous_view(pool->means, size);
}

bool sa_is_given(const sparse_attn_plan *plan, const sparse_attn_options *options,
                 int32_t value) {
  int32_t step = plan->values[value].pool;
  return sa_given_states(options) && step >= 0 && sa_is_kept_pool(plan->kernel, step);
}

void sa_view_kept_pools(const sa_run_state *state) {
  const sparse_attn_states *states = sa_given_states(state->options);
  const sparse_attn_kernel *kernel = state->plan->kernel;
  const sa_kept_pool *pool = states ? states->pools : NULL;
  for (int32_t i = 0; states && i < kernel->step_count; ++i)
    if (sa_is_kept_pool(kernel, i))
      state->values[kernel->steps[i].first_result] = view_means(states, pool++);
}

/*===--- Extending --------------------------------------------------------===*/

void sa_extend_pool(const sparse_attn_states *states, const sa_kept_pool *pool,
                    sa_key_range (*range)(const void *context, int64_t b),
                    const void *context, const sparse_attn_options *options,
                    int workers) {
  sa_view means = view_means(states, pool);
  sa_means_job job = {.tokens = &states->views[pool->step->inputs[0]],
                      .means = &means,
                      .type = pool->type,
                      .block = pool->step->block,
                      .range = range,
                      .context = context,
                      .sums = pool->sums};
  sa_find_means(&job, options, workers);
}

/*===--- Files ------------------------------------------------------------===*/

void sa_visit_kept_pool(const sparse_attn_states *states, const sa_kept_pool *pool,
                        void (*visit)(void *context, void *part, size_t bytes),
                        void *context) {
  size_t row = (size_t)(pool->dim * sa_real_bytes(pool->type));
  int64_t heads = states->shape.kv_heads, block = pool->step->block;
  int64_t capacity = sa_ceil_div(states->shape.keys, block);
  for (int64_t plane = 0; plane < states->shape.batch * heads; ++plane) {
    int64_t length = states->lengths[plane / heads];
    visit(context, pool->means + (size_t)(plane * capacity) * row,
          (size_t)sa_ceil_div(length, block) * row);
    if (length % block)
      visit(context, pool->sums + plane * pool->dim,
            (size_t)pool->dim * sizeof(*pool->sums));
  }
}
