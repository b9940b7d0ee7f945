/*===- encode_tiles.c - means and sums of tiles and blocks -----------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encode.h"

/*===--- pooled -----------------------------------------------------------===*/

enum { kQueryGate, kKeyGate };

static bool is_pooled_well_formed(const sa_encoding *code) {
  int64_t width = code->states[0].width;
  bool gated = code->inputs[kQueryGate] >= 0;
  return gated == (code->inputs[kKeyGate] >= 0) && (gated || width == code->head_dim) &&
         !code->states[0].per_query_head && sa_is_state(code, 0, SA_WORD_F32, width) &&
         code->query_words == width;
}

static sparse_attn_status check_gates(const sparse_attn_kernel *kernel,
                                      const sa_encoder *encoder) {
  const sa_encoding *code = encoder->code;
  sparse_attn_status status = SPARSE_ATTN_OK;
  for (int32_t gate = kQueryGate; !status && gate <= kKeyGate; ++gate) {
    if (code->inputs[gate] < 0)
      continue;
    status =
        sa_check_weight(kernel, encoder, gate, 2, code->head_dim, "the numbers of a row");
    if (!status)
      status = sa_check_weight(kernel, encoder, gate, 3, code->query_words, "its width");
    if (!status)
      status = sa_check_matrices(kernel, encoder, gate);
  }
  return status;
}

/* A row, a mean, its projection; sums in double before them. */
static size_t pooled_floats(const sa_encoding *code) {
  return 4 * (size_t)code->head_dim + (size_t)code->query_words;
}

/* The mean of rows [first, end) of (b, h), through the gate where there is one. */
static void pool(const sa_encoder *encoder, int32_t id, int64_t b, int64_t h,
                 int64_t first, int64_t end, int32_t gate, float *pooled,
                 float *scratch) {
  const sa_encoding *code = encoder->code;
  int64_t dim = code->head_dim;
  double *sums = (double *)scratch;
  float *row = scratch + 2 * dim, *mean = row + dim;
  for (int64_t d = 0; d < dim; ++d)
    sums[d] = 0;
  for (int64_t i = first; i < end; ++i) {
    sa_read_row(encoder, id, b, h, i, dim, row);
    for (int64_t d = 0; d < dim; ++d)
      sums[d] += (double)row[d];
  }
  float *to = code->inputs[gate] < 0 ? pooled : mean;
  for (int64_t d = 0; d < dim; ++d)
    to[d] = (float)(sums[d] / (double)(end - first));
  if (code->inputs[gate] >= 0)
    encoder->project(mean, sa_weights(encoder, gate, 0, h, 0), pooled, dim,
                     code->query_words);
}

/* A mean does not tell the sum that it was made of, so that a block is made anew of all
 * its keys. */
static void encode_pooled_keys(const sa_encoder *encoder, int64_t b, int64_t head,
                               int64_t first, int64_t end, void *const *planes,
                               float *scratch) {
  const sa_encoding *code = encoder->code;
  const sa_key_state *state = &code->states[0];
  float *pooled = scratch + 4 * (size_t)code->head_dim;
  for (int64_t unit = first / state->block; unit * state->block < end; ++unit) {
    int64_t start = unit * state->block;
    pool(encoder, code->k, b, head, start, sa_min(start + state->block, end), kKeyGate,
         pooled, scratch);
    sa_put_floats(state, planes[0], unit, pooled);
  }
}

static void encode_pooled_query(const sa_encoder *encoder, int64_t b, int64_t h,
                                int64_t i0, int64_t i1, void *query, float *scratch) {
  pool(encoder, encoder->q, b, h, i0, i1, kQueryGate, query, scratch);
}

const sa_encoding_kind sa_encode_pooled = {.inputs = 2,
                                           .states = 1,
                                           .is_well_formed = is_pooled_well_formed,
                                           .check_weights = check_gates,
                                           .scratch_floats = pooled_floats,
                                           .encode_keys = encode_pooled_keys,
                                           .encode_query = encode_pooled_query};

/*===--- antidiagonal -----------------------------------------------------===*/

enum { kStride };

static int64_t residue_count(const sa_encoding *code) {
  return sa_min(code->parameters[kStride], code->states[0].block);
}

static bool is_antidiagonal_well_formed(const sa_encoding *code) {
  int64_t words = residue_count(code) * code->head_dim;
  return code->parameters[kStride] >= 1 && !code->states[0].per_query_head &&
         sa_is_state(code, 0, SA_WORD_F32, words) && code->query_words == words + 1;
}

static size_t antidiagonal_floats(const sa_encoding *code) {
  return (size_t)(code->head_dim + code->query_words);
}

static void add_row(float *sum, const float *row, int64_t count) {
  for (int64_t d = 0; d < count; ++d)
    sum[d] += row[d];
}

/* The sum of no row. Those of rows are never this one: a sum that begins with -0 would
 * not meet a NaN. */
static const float kNoRow = -0.0F;

static void begin_sum(float *sum, const float *row, int64_t count) {
  for (int64_t d = 0; d < count; ++d)
    sum[d] = row[d] + 0.0F;
}

/* Key j of a block goes into sum (j - j0) mod stride. */
static void encode_antidiagonal_keys(const sa_encoder *encoder, int64_t b, int64_t head,
                                     int64_t first, int64_t end, void *const *planes,
                                     float *scratch) {
  const sa_encoding *code = encoder->code;
  const sa_key_state *state = &code->states[0];
  int64_t dim = code->head_dim, stride = code->parameters[kStride];
  float *row = scratch, *sums = scratch + dim;
  for (int64_t j = first; j < end;) {
    int64_t unit = j / state->block, start = unit * state->block;
    int64_t stop = sa_min(start + state->block, end);
    if (j == start)
      for (int32_t w = 0; w < state->width; ++w)
        sums[w] = kNoRow;
    else
      sa_get_floats(state, planes[0], unit, sums);
    for (; j < stop; ++j) {
      float *sum = sums + (j - start) % stride * dim;
      sa_read_row(encoder, code->k, b, head, j, dim, row);
      if (j - start < stride)
        begin_sum(sum, row, dim);
      else
        add_row(sum, row, dim);
    }
    sa_put_floats(state, planes[0], unit, sums);
  }
}

/* Row i of a tile meets the keys of sum stride - 1 - (i - i0) mod stride. A block that is
 * shorter than the stride has no key for the others, and a tile that is shorter no row
 * for the first ones. */
static void encode_antidiagonal_query(const sa_encoder *encoder, int64_t b, int64_t h,
                                      int64_t i0, int64_t i1, void *query, float *row) {
  const sa_encoding *code = encoder->code;
  int64_t dim = code->head_dim, stride = code->parameters[kStride];
  int64_t words = residue_count(code) * dim;
  memset(query, 0, (size_t)words * sizeof(float));
  int64_t first = sa_min(sa_max(0, stride - (i1 - i0)) * dim, words);
  ((uint32_t *)query)[words] = (uint32_t)first;
  for (int64_t i = i0; i < i1; ++i) {
    int64_t residue = stride - 1 - (i - i0) % stride;
    if (residue >= residue_count(code))
      continue;
    sa_read_row(encoder, encoder->q, b, h, i, dim, row);
    add_row((float *)query + residue * dim, row, dim);
  }
}

const sa_encoding_kind sa_encode_antidiagonal = {
    .states = 1,
    .parameters = 1,
    .is_well_formed = is_antidiagonal_well_formed,
    .scratch_floats = antidiagonal_floats,
    .encode_keys = encode_antidiagonal_keys,
    .encode_query = encode_antidiagonal_query};
