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
  sa_real type; /* of both */
  int32_t block;
  int64_t blocks; /* for each plane */
  _Atomic int64_t next;
} pooling;

/* Mean `index` over the tokens [first, end); sums in double, a few columns at a
 * time so that they stay in registers or at least in the nearest cache. */
static void average(const pooling *pool, int64_t b, int64_t h, int64_t index,
                    int64_t first, int64_t end) {
  enum { kColumns = 32 };
  size_t element_bytes = (size_t)sa_real_bytes(pool->type);
  int64_t dim = pool->tokens->size[3];
  for (int64_t d0 = 0; d0 < dim; d0 += kColumns) {
    int64_t columns = sa_min(kColumns, dim - d0);
    double sums[kColumns] = {0};
    float token[kColumns];
    for (int64_t j = first; j < end; ++j) {
      sa_read_reals(pool->type, sa_at(pool->tokens, element_bytes, b, h, j, d0), columns,
                    token);
      for (int64_t d = 0; d < columns; ++d)
        sums[d] += (double)token[d];
    }
    for (int64_t d = 0; d < columns; ++d)
      sums[d] /= (double)(end - first);
    sa_write_reals(pool->type, sums, columns,
                   sa_at(pool->means, element_bytes, b, h, index, d0));
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
      average(pool, b, h, index, first, end);
  }
}

void sa_run_pool(const sa_run_state *state, const sa_step *step) {
  pooling pool = {.state = state,
                  .tokens = &state->values[step->inputs[0]],
                  .means = &state->values[step->first_result],
                  .type = state->plan->values[step->first_result].type,
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
