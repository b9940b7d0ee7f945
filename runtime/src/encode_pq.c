/*===- encode_pq.c - codes of subvectors -----------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encode.h"

enum { kSubvectors, kCodes, kParameters };
enum { kMostByteCodes = 256, kMostCodes = 65536, kMostSubvectors = 256 };

static int64_t piece_length(const sa_encoding *code) {
  return code->head_dim / code->parameters[kSubvectors];
}

static bool is_well_formed(const sa_encoding *code) {
  int64_t subvectors = code->parameters[kSubvectors], codes = code->parameters[kCodes];
  return subvectors >= 1 && subvectors <= kMostSubvectors &&
         code->head_dim % subvectors == 0 && codes >= 1 && codes <= kMostCodes &&
         code->inputs[0] >= 0 && code->states[0].block == 1 &&
         !code->states[0].per_query_head &&
         sa_is_state(code, 0, codes <= kMostByteCodes ? SA_WORD_U8 : SA_WORD_U16,
                     subvectors) &&
         code->query_words == subvectors * codes;
}

static sparse_attn_status check_weights(const sparse_attn_kernel *kernel,
                                        const sa_encoder *encoder) {
  const sa_encoding *code = encoder->code;
  sparse_attn_status status = sa_check_weight(
      kernel, encoder, 0, 1, code->parameters[kSubvectors], "its subvectors");
  if (!status)
    status =
        sa_check_weight(kernel, encoder, 0, 2, code->parameters[kCodes], "its codes");
  return status ? status
                : sa_check_weight(kernel, encoder, 0, 3, piece_length(code),
                                  "the length of a subvector");
}

static size_t scratch_floats(const sa_encoding *code) { return (size_t)code->head_dim; }

/* As sa_dot, of the difference with itself. */
static float distance(const float *x, const float *y, int64_t count) {
  float sums[8] = {0}, rest = 0;
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int lane = 0; lane < 8; ++lane) {
      float difference = x[i + lane] - y[i + lane];
      sums[lane] += difference * difference;
    }
  for (; i < count; ++i)
    rest += (x[i] - y[i]) * (x[i] - y[i]);
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) +
         ((sums[1] + sums[5]) + (sums[3] + sums[7])) + rest;
}

/* The nearest of the centroids of a subvector, the lowest of equally near ones. */
static int64_t find_nearest(const sa_encoder *encoder, int64_t kv_head, int64_t s,
                            const float *piece, int64_t length) {
  int64_t nearest = 0, codes = encoder->code->parameters[kCodes];
  float shortest = distance(piece, sa_weights(encoder, 0, kv_head, s, 0), length);
  for (int64_t c = 1; c < codes; ++c) {
    float d = distance(piece, sa_weights(encoder, 0, kv_head, s, c), length);
    if (d < shortest) {
      nearest = c;
      shortest = d;
    }
  }
  return nearest;
}

static void encode_keys(const sa_encoder *encoder, int64_t b, int64_t head, int64_t first,
                        int64_t end, void *const *planes, float *key) {
  const sa_encoding *code = encoder->code;
  const sa_key_state *state = &code->states[0];
  int64_t length = piece_length(code);
  for (int64_t j = first; j < end; ++j) {
    sa_read_row(encoder, code->k, b, head, j, code->head_dim, key);
    for (int64_t s = 0; s < state->width; ++s) {
      int64_t at = sa_state_index(state, j, s);
      int64_t nearest = find_nearest(encoder, head, s, key + s * length, length);
      if (state->word == SA_WORD_U8)
        ((uint8_t *)planes[0])[at] = (uint8_t)nearest;
      else
        ((uint16_t *)planes[0])[at] = (uint16_t)nearest;
    }
  }
}

static void encode_query(const sa_encoder *encoder, int64_t b, int64_t h, int64_t i0,
                         int64_t i1, void *query, float *q) {
  const sa_encoding *code = encoder->code;
  int64_t length = piece_length(code), kv_head = sa_query_kv_head(encoder, h);
  float *table = query;
  (void)i1;
  sa_read_row(encoder, encoder->q, b, h, i0, code->head_dim, q);
  for (int64_t s = 0; s < code->parameters[kSubvectors]; ++s)
    for (int64_t c = 0; c < code->parameters[kCodes]; ++c)
      *table++ = sa_dot(q + s * length, sa_weights(encoder, 0, kv_head, s, c), length);
}

const sa_encoding_kind sa_encode_pq = {.inputs = 1,
                                       .states = 1,
                                       .parameters = kParameters,
                                       .is_well_formed = is_well_formed,
                                       .check_weights = check_weights,
                                       .scratch_floats = scratch_floats,
                                       .encode_keys = encode_keys,
                                       .encode_query = encode_query};
