/*===- encode_soft_hash.c - buckets that a query meets in part -------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encode.h"

enum { kTables, kBits, kParameters };
enum { kBuckets, kNorms, kStates };
enum { kMostTables = 4096, kMostBits = 16 };

static bool is_well_formed(const sa_encoding *code) {
  int64_t tables = code->parameters[kTables], bits = code->parameters[kBits];
  return tables >= 1 && tables <= kMostTables && bits >= 1 && bits <= kMostBits &&
         code->inputs[0] >= 0 && code->states[0].block == 1 &&
         !code->states[0].per_query_head &&
         sa_is_state(code, kBuckets, SA_WORD_U16, tables) &&
         sa_is_state(code, kNorms, SA_WORD_F32, 1) && code->query_words == tables << bits;
}

static sparse_attn_status check_weights(const sparse_attn_kernel *kernel,
                                        const sa_encoder *encoder) {
  const sa_encoding *code = encoder->code;
  sparse_attn_status status =
      sa_check_weight(kernel, encoder, 0, 1, code->parameters[kTables], "its tables");
  if (!status)
    status =
        sa_check_weight(kernel, encoder, 0, 2, code->head_dim, "the numbers of a row");
  if (!status)
    status = sa_check_weight(kernel, encoder, 0, 3, code->parameters[kBits], "its bits");
  return status ? status : sa_check_matrices(kernel, encoder, 0);
}

static size_t scratch_floats(const sa_encoding *code) {
  return (size_t)sa_max(code->head_dim, code->value_dim) + kMostBits;
}

static void encode_keys(const sa_encoder *encoder, int64_t b, int64_t head, int64_t first,
                        int64_t end, void *const *planes, float *scratch) {
  const sa_encoding *code = encoder->code;
  int64_t bits = code->parameters[kBits];
  float *row = scratch, *products = row + sa_max(code->head_dim, code->value_dim);
  uint16_t *buckets = planes[kBuckets];
  float *norms = planes[kNorms];
  for (int64_t j = first; j < end; ++j) {
    sa_read_row(encoder, code->k, b, head, j, code->head_dim, row);
    for (int64_t t = 0; t < code->parameters[kTables]; ++t) {
      encoder->project(row, sa_weights(encoder, 0, 0, t, 0), products, code->head_dim,
                       bits);
      uint32_t bucket = 0;
      for (int64_t bit = 0; bit < bits; ++bit)
        bucket |= sa_sign_bit(products[bit]) << bit;
      buckets[sa_state_index(&code->states[kBuckets], j, t)] = (uint16_t)bucket;
    }
    double sum = 0;
    sa_read_row(encoder, code->v, b, head, j, code->value_dim, row);
    for (int64_t d = 0; d < code->value_dim; ++d)
      sum += (double)row[d] * (double)row[d];
    norms[j] = (float)sqrt(sum);
  }
}

/* A softmax over corners is a product of one factor for each bit: the probability
 * 1 / (1 + exp(-2 u c)) of its sign c, where u = tanh(q W) / (sqrt(D) temperature). */
static void fill_table(const float *products, int64_t bits, double heat, float *table) {
  table[0] = 1;
  for (int64_t bit = 0; bit < bits; ++bit) {
    double u = tanh((double)products[bit]) / heat;
    float above = (float)(1 / (1 + exp(-2 * u))), below = (float)(1 / (1 + exp(2 * u)));
    int64_t half = INT64_C(1) << bit;
    for (int64_t bucket = 0; bucket < half; ++bucket) {
      table[half + bucket] = table[bucket] * above;
      table[bucket] *= below;
    }
  }
}

static void encode_query(const sa_encoder *encoder, int64_t b, int64_t h, int64_t i0,
                         int64_t i1, void *query, float *scratch) {
  const sa_encoding *code = encoder->code;
  int64_t bits = code->parameters[kBits];
  double heat = sqrt((double)code->head_dim) * code->reals[0];
  float *row = scratch, *products = row + sa_max(code->head_dim, code->value_dim);
  (void)i1;
  sa_read_row(encoder, encoder->q, b, h, i0, code->head_dim, row);
  for (int64_t t = 0; t < code->parameters[kTables]; ++t) {
    encoder->project(row, sa_weights(encoder, 0, 0, t, 0), products, code->head_dim,
                     bits);
    fill_table(products, bits, heat, (float *)query + (t << bits));
  }
}

const sa_encoding_kind sa_encode_soft_hash = {.inputs = 1,
                                              .states = kStates,
                                              .parameters = kParameters,
                                              .reals = 1,
                                              .is_well_formed = is_well_formed,
                                              .check_weights = check_weights,
                                              .scratch_floats = scratch_floats,
                                              .encode_keys = encode_keys,
                                              .encode_query = encode_query};
