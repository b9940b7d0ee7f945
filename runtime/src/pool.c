/*===- pool.c - block means of keys or values -----------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

#include <stdatomic.h>

/* One pool step in progress: a task is one pooled key of one plane. */
typedef struct pooling {
  const sa_run_state *state;
  const sa_plan_attention *attention; /* knows the lengths */
  const sa_view *tokens;
  const sa_view *means;
  int32_t block;
  int64_t blocks; /* for each plane */
  _Atomic int64_t next;
} pooling;

/* mean[d] over the tokens [first, end); sums in double, a few columns at a
 * time so that they stay in registers or at least in the nearest cache. */
static void average(const pooling *pool, int64_t b, int64_t h, int64_t first, int64_t end,
                    float *mean) {
  enum { kColumns = 32 };
  int64_t dim = pool->tokens->size[3];
  for (int64_t d0 = 0; d0 < dim; d0 += kColumns) {
    int64_t columns = sa_min(kColumns, dim - d0);
    double sums[kColumns] = {0};
    for (int64_t j = first; j < end; ++j) {
      const float *token = sa_at(pool->tokens, sizeof(float), b, h, j, d0);
      for (int64_t d = 0; d < columns; ++d)
        sums[d] += (double)token[d];
    }
    for (int64_t d = 0; d < columns; ++d)
      mean[d0 + d] = (float)(sums[d] / (double)(end - first));
  }
}

static void work(void *argument, int worker) {
  pooling *pool = argument;
  int64_t heads = pool->means->size[1];
  int64_t tasks = pool->means->size[0] * heads * pool->blocks;
  (void)worker;
  for (;;) {
    int64_t task = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
    if (task >= tasks)
      return;
    int64_t index = task % pool->blocks, plane = task / pool->blocks;
    int64_t b = plane / heads, h = plane % heads;
    int64_t first = index * pool->block;
    int64_t tokens = pool->attention ? sa_plan_entry(pool->attention, b).tokens
                                     : pool->tokens->size[2];
    int64_t end = sa_min(first + pool->block, tokens);
    if (first < end)
      average(pool, b, h, first, end, sa_at(pool->means, sizeof(float), b, h, index, 0));
  }
}

void sa_run_pool(const sa_run_state *state, const sa_step *step) {
  pooling pool = {.state = state,
                  .tokens = &state->values[step->inputs[0]],
                  .means = &state->values[step->first_result],
                  .block = step->block};
  pool.blocks = pool.means->size[2];
  /* All attentions that read a pool have one kv_len (sa_check_program). */
  for (int32_t i = 0; i < state->plan->attention_count; ++i) {
    const sa_attention *code = state->plan->attentions[i].code;
    if (code->k == step->first_result || code->v == step->first_result)
      pool.attention = &state->plan->attentions[i];
  }
  sa_parallel(state->options, state->workers,
              pool.means->size[0] * pool.means->size[1] * pool.blocks, work, &pool);
}
