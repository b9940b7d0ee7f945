/*===- encode.c - the encodings by kind -----------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encode.h"

static const sa_encoding_kind *const kinds[] = {
    [SA_ENCODE_NONE] = &sa_encode_none,
    [SA_ENCODE_PAGES] = &sa_encode_pages,
    [SA_ENCODE_HASH] = &sa_encode_hash,
    [SA_ENCODE_CHANNELS] = &sa_encode_channels,
    [SA_ENCODE_PQ] = &sa_encode_pq,
    [SA_ENCODE_SOFT_HASH] = &sa_encode_soft_hash,
    [SA_ENCODE_POOLED] = &sa_encode_pooled,
    [SA_ENCODE_ANTIDIAGONAL] = &sa_encode_antidiagonal,
    [SA_ENCODE_CLUSTER] = &sa_encode_cluster,
    [SA_ENCODE_LSH] = &sa_encode_lsh,
};

static const sa_encoding_kind *find_kind(const sa_encoding *code) {
  bool known = code->kind >= 0 && code->kind < (int32_t)(sizeof(kinds) / sizeof(*kinds));
  if (!known)
    return NULL;
  bool quantized = code->kind == SA_ENCODE_CHANNELS && code->parameter_count == 2 &&
                   code->parameters[1];
  return quantized ? &sa_encode_labels : kinds[code->kind];
}

/*===--- Checks -----------------------------------------------------------===*/

static bool is_float(const sa_tensor *spec) {
  return spec->type_code == kDLFloat && spec->type_bits == 32;
}

static bool are_inputs_known(const sparse_attn_kernel *kernel, const sa_encoding *code) {
  for (int32_t i = 0; i < code->input_count; ++i) {
    int32_t id = code->inputs[i];
    if (id < -1 || id >= kernel->input_count)
      return false;
    bool is_index = code->kind == SA_ENCODE_CHANNELS;
    if (id >= 0 && (is_index ? kernel->inputs[id].type_code != kDLInt ||
                                   kernel->inputs[id].type_bits != 32
                             : !is_float(&kernel->inputs[id])))
      return false;
  }
  return true;
}

static bool are_states_known(const sa_encoding *code) {
  for (int32_t i = 0; i < code->state_count; ++i) {
    const sa_key_state *state = &code->states[i];
    if (state->word < SA_WORD_F32 || state->word > SA_WORD_BF16 || state->width <= 0 ||
        state->block <= 0 || state->block != code->states[0].block ||
        !state->per_query_head != !code->states[0].per_query_head)
      return false;
  }
  return true;
}

sparse_attn_status sa_check_encoding(const sparse_attn_kernel *kernel,
                                     const sa_encoding *code) {
  const sa_encoding_kind *kind = find_kind(code);
  if (kind && code->k >= 0 && code->k < kernel->value_count && code->v >= 0 &&
      code->v < kernel->value_count && code->head_dim > 0 && code->value_dim > 0 &&
      code->input_count == kind->inputs && code->state_count == kind->states &&
      code->parameter_count >= kind->parameters && code->real_count == kind->reals &&
      are_inputs_known(kernel, code) && are_states_known(code) &&
      kind->is_well_formed(code))
    return SPARSE_ATTN_OK;
  return sa_fail(
      SPARSE_ATTN_INVALID_ARGUMENT,
      "kernel '%s' is malformed: this runtime does not know encoding %d of its "
      "keys; compile it again",
      kernel->name, (int)(code - kernel->encodings));
}

sparse_attn_status sa_check_weights(const sparse_attn_kernel *kernel,
                                    const sa_encoder *encoder) {
  const sa_encoding_kind *kind = find_kind(encoder->code);
  return kind->check_weights ? kind->check_weights(kernel, encoder) : SPARSE_ATTN_OK;
}

sparse_attn_status sa_check_weight(const sparse_attn_kernel *kernel,
                                   const sa_encoder *encoder, int32_t input, int axis,
                                   int64_t size, const char *what) {
  int32_t id = encoder->code->inputs[input];
  const sa_view *view = &encoder->values[id];
  const sa_tensor *spec = &kernel->inputs[id];
  if (view->size[axis] == size)
    return SPARSE_ATTN_OK;
  return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                 "kernel '%s': '%s' has size %lld on axis %d, expected %lld, %s",
                 kernel->name, spec->name, (long long)view->size[axis],
                 axis - (4 - spec->rank), (long long)size, what);
}

sparse_attn_status sa_check_matrices(const sparse_attn_kernel *kernel,
                                     const sa_encoder *encoder, int32_t input) {
  int32_t id = encoder->code->inputs[input];
  const sa_view *view = &encoder->values[id];
  if (view->size[2] <= 1 || view->stride[2] == view->size[3])
    return SPARSE_ATTN_OK;
  return sa_fail(
      SPARSE_ATTN_INVALID_ARGUMENT,
      "kernel '%s': '%s' has stride %lld between its rows, expected %lld; pass "
      "a contiguous copy",
      kernel->name, kernel->inputs[id].name, (long long)view->stride[2],
      (long long)view->size[3]);
}

/*===--- Encoding ---------------------------------------------------------===*/

bool sa_state_plane_bytes(const sa_key_state *state, int64_t keys, size_t *bytes) {
  int64_t units = sa_ceil_div(keys, state->block);
  *bytes = (size_t)sa_ceil_div(units, SA_STATE_LANES) * SA_STATE_LANES;
  return sa_multiply(*bytes, (size_t)state->width, bytes) &&
         sa_multiply(*bytes, sa_word_bytes(state->word), bytes) &&
         sa_align(*bytes, bytes);
}

size_t sa_encoding_scratch_bytes(const sa_encoding *code) {
  return find_kind(code)->scratch_floats(code) * sizeof(float);
}

/* A score reads whole groups, and looks codes up in tables: the units that a group does
 * not have yet must hold codes, too. */
static void clear_groups(const sa_encoding *code, int64_t first, int64_t end,
                         void *const *planes) {
  for (int32_t i = 0; i < code->state_count; ++i) {
    const sa_key_state *state = &code->states[i];
    size_t group_bytes =
        sa_word_bytes(state->word) * (size_t)state->width * SA_STATE_LANES;
    int64_t group_keys = (int64_t)state->block * SA_STATE_LANES;
    int64_t group = sa_ceil_div(first, group_keys);
    int64_t groups = sa_ceil_div(end, group_keys) - group;
    if (groups > 0)
      memset((char *)planes[i] + (size_t)group * group_bytes, 0,
             (size_t)groups * group_bytes);
  }
}

void sa_encode_keys(const sa_encoder *encoder, int64_t b, int64_t head, int64_t first,
                    int64_t end, void *const *planes, void *scratch) {
  if (first >= end || encoder->code->state_count == 0)
    return;
  clear_groups(encoder->code, first, end, planes);
  find_kind(encoder->code)
      ->encode_keys(encoder, b, head, first, end, planes, (float *)scratch);
}

void sa_encode_query(const sa_encoder *encoder, int64_t b, int64_t h, int64_t i0,
                     int64_t i1, void *query, void *scratch) {
  find_kind(encoder->code)->encode_query(encoder, b, h, i0, i1, query, (float *)scratch);
}

/*===--- x W --------------------------------------------------------------===*/

/* Columns in groups that fit the registers; every sum is in ascending order. */
void sa_project(const float *x, const float *w, float *out, int64_t ins, int64_t outs) {
  enum { kColumns = 32 };
  int64_t first = 0;
  for (; first + kColumns <= outs; first += kColumns) {
    float sums[kColumns] = {0};
    const float *row = w + first;
    for (int64_t i = 0; i < ins; ++i, row += outs)
      for (int o = 0; o < kColumns; ++o)
        sums[o] += x[i] * row[o];
    memcpy(out + first, sums, sizeof(sums));
  }
  int64_t rest = outs - first;
  if (rest == 0)
    return;
  memset(out + first, 0, (size_t)rest * sizeof(float));
  for (int64_t i = 0; i < ins; ++i)
    for (int64_t o = 0; o < rest; ++o)
      out[first + o] += x[i] * w[i * outs + first + o];
}
