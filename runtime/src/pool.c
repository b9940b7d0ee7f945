/*===- pool.c - the step that makes means of blocks of keys or values ------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "means.h"

/* What tells the lengths of a pool. */
typedef struct pooling {
  const sa_plan_attention *attention; /* NULL: none reads it, and all tokens count */
  int64_t tokens;
} pooling;

static sa_key_range range_of(const void *context, int64_t b) {
  const pooling *pool = context;
  int64_t tokens =
      pool->attention ? sa_plan_entry(pool->attention, b).tokens : pool->tokens;
  return (sa_key_range){0, tokens};
}

void sa_run_pool(const sa_run_state *state, const sa_step *step) {
  const sa_view *tokens = &state->values[step->inputs[0]];
  pooling pool = {.tokens = tokens->size[2]};
  /* All attentions that read a pool have one kv_len (sa_check_program). */
  for (int32_t i = 0; i < state->plan->attention_count; ++i) {
    const sa_attention *code = state->plan->attentions[i].code;
    if (code->k == step->first_result || code->v == step->first_result)
      pool.attention = &state->plan->attentions[i];
  }
  sa_means_job job = {.tokens = tokens,
                      .means = &state->values[step->first_result],
                      .type = state->plan->values[step->first_result].type,
                      .block = step->block,
                      .range = range_of,
                      .context = &pool};
  sa_find_means(&job, state->options, state->workers);
}
