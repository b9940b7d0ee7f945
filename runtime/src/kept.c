/*===- kept.c - what of a kernel can be kept beside K ---------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encoded.h"

bool sa_is_kept_pool(const sparse_attn_kernel *kernel, int32_t step) {
  if (kernel->steps[step].kind != SA_STEP_POOL)
    return false;
  for (int32_t i = 0; i < kernel->output_count; ++i)
    if (kernel->outputs[i].value == kernel->steps[step].first_result)
      return false;
  return true;
}

sparse_attn_status sa_check_kept(const sparse_attn_kernel *kernel) {
  sparse_attn_status status = SPARSE_ATTN_OK;
  for (int32_t i = 0; !status && i < kernel->encoding_count; ++i)
    status = sa_check_encoding(kernel, &kernel->encodings[i]);
  for (int32_t i = 0; !status && i < kernel->step_count; ++i)
    if (sa_is_kept_pool(kernel, i))
      status = sa_check_pool(kernel, &kernel->steps[i]);
  return status;
}

/*===--- Fingerprint ------------------------------------------------------===*/

static uint64_t add_encoding(uint64_t sum, const sa_encoding *code) {
  const int32_t facts[] = {code->kind, code->head_dim, code->value_dim, code->state_count,
                           code->parameter_count};
  for (size_t i = 0; i < sizeof(facts) / sizeof(*facts); ++i)
    sum = sa_add_word(sum, (uint64_t)facts[i]);
  for (int32_t i = 0; i < code->parameter_count; ++i)
    sum = sa_add_word(sum, (uint64_t)code->parameters[i]);
  for (int32_t i = 0; i < code->input_count; ++i)
    sum = sa_add_word(sum, code->inputs[i] >= 0);
  for (int32_t i = 0; i < code->state_count; ++i) {
    const sa_key_state *state = &code->states[i];
    const int32_t sizes[] = {state->word, state->width, state->block,
                             state->per_query_head};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); ++s)
      sum = sa_add_word(sum, (uint64_t)sizes[s]);
  }
  return sum;
}

/* Means of K are not those of V: they are told apart by name. */
static uint64_t add_pool(uint64_t sum, const sparse_attn_kernel *kernel,
                         const sa_step *step) {
  const sa_tensor *tokens = &kernel->inputs[step->inputs[0]];
  const int64_t facts[] = {step->block, step->type_code, step->type_bits,
                           tokens->dims[3]};
  for (size_t i = 0; i < sizeof(facts) / sizeof(*facts); ++i)
    sum = sa_add_word(sum, (uint64_t)facts[i]);
  for (const char *c = tokens->name; *c; ++c)
    sum = sa_add_word(sum, (unsigned char)*c);
  return sum;
}

/* In words, so that it is the same on every machine. */
uint64_t sa_fingerprint(const sparse_attn_kernel *kernel) {
  uint64_t sum = (uint64_t)kernel->encoding_count;
  for (int32_t e = 0; e < kernel->encoding_count; ++e)
    sum = add_encoding(sum, &kernel->encodings[e]);
  for (int32_t i = 0; i < kernel->step_count; ++i)
    if (sa_is_kept_pool(kernel, i))
      sum = add_pool(sum, kernel, &kernel->steps[i]);
  return sum;
}
