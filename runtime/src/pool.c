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

/* Columns whose sums are added at once, rows that are read together, columns of a panel,
 * whose sums stay in the nearest cache, and how many rows ahead memory is asked: the
 * additions of a row are longer than what processors look ahead. */
enum { kGroup = 16, kRows = 4, kPanel = 256, kRowsAhead = 16 };

/* sums[d] += element d of each of `count` rows, in their order. With `type` and
 * `columns` known, compilers make vectors of it. */
static inline void add_columns(sa_real type, const char *rows, int64_t stride,
                               int64_t count, int64_t columns, double *sums) {
  for (; count > 0; --count, rows += stride) {
    float row[kGroup];
    __builtin_prefetch(
        (const char *)((uintptr_t)rows + (uintptr_t)(kRowsAhead * stride)));
    sa_read_reals(type, rows, columns, row);
    for (int64_t d = 0; d < columns; ++d)
      sums[d] += (double)row[d];
  }
}

static inline void add_rows(sa_real type, const char *rows, int64_t stride, int64_t count,
                            int64_t columns, double *sums) {
  int64_t d = 0, bytes = sa_real_bytes(type);
  for (; d + kGroup <= columns; d += kGroup)
    add_columns(type, rows + d * bytes, stride, count, kGroup, sums + d);
  if (d < columns)
    add_columns(type, rows + d * bytes, stride, count, columns - d, sums + d);
}

/* Mean `index` over the tokens [first, end); sums in double. A few rows at a time, so
 * that memory is read in its order. */
static void average(const pooling *pool, int64_t b, int64_t h, int64_t index,
                    int64_t first, int64_t end) {
  size_t element_bytes = (size_t)sa_real_bytes(pool->type);
  int64_t dim = pool->tokens->size[3];
  int64_t stride = pool->tokens->stride[2] * (int64_t)element_bytes;
  for (int64_t d0 = 0; d0 < dim; d0 += kPanel) {
    int64_t columns = sa_min(kPanel, dim - d0);
    double sums[kPanel] = {0};
    for (int64_t j = first; j < end; j += kRows) {
      const char *rows = sa_at(pool->tokens, element_bytes, b, h, j, d0);
      int64_t count = sa_min(kRows, end - j);
      if (pool->type == SA_F32)
        add_rows(SA_F32, rows, stride, count, columns, sums);
      else if (pool->type == SA_BF16)
        add_rows(SA_BF16, rows, stride, count, columns, sums);
      else
        add_rows(SA_F16, rows, stride, count, columns, sums);
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
