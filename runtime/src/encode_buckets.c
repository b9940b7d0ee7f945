/*===- encode_buckets.c - clusters of directions or centroids --------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encode.h"

enum { kRounds, kBuckets, kParameters = 3 };
enum { kNoBucket = 0xffff, kMostRounds = 64 };

static int64_t half_buckets(const sa_encoding *code) {
  return code->parameters[kBuckets] / 2;
}
static int64_t direction_count(const sa_encoding *code) {
  return code->inputs[0] < 0 ? code->parameters[kRounds] * half_buckets(code) : 0;
}

static bool is_well_formed(const sa_encoding *code) {
  int64_t rounds = code->parameters[kRounds], buckets = code->parameters[kBuckets];
  bool drawn = code->inputs[0] < 0;
  return rounds >= 1 && rounds <= kMostRounds && (drawn || rounds == 1) &&
         (!drawn || (buckets >= 2 && buckets % 2 == 0 && buckets < kNoBucket + 1)) &&
         code->states[0].block == 1 && !code->states[0].per_query_head &&
         sa_is_state(code, 0, SA_WORD_U16, rounds) && code->query_words == rounds;
}

static sparse_attn_status check_centroids(const sparse_attn_kernel *kernel,
                                          const sa_encoder *encoder) {
  const sa_encoding *code = encoder->code;
  if (code->inputs[0] < 0)
    return SPARSE_ATTN_OK;
  int64_t count = encoder->values[code->inputs[0]].size[2];
  if (count >= kNoBucket)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                   "kernel '%s': '%s' has %lld centroids for a head, expected fewer than "
                   "65535",
                   kernel->name, kernel->inputs[code->inputs[0]].name, (long long)count);
  return sa_check_weight(kernel, encoder, 0, 3, code->head_dim, "the numbers of a row");
}

static size_t scratch_floats(const sa_encoding *code) {
  int64_t directions = direction_count(code);
  return (size_t)(sa_batch_rows(sa_max(directions, 1)) * (code->head_dim + directions));
}

/*===--- Buckets of rows --------------------------------------------------===*/

/* The largest number that was taken, the first of equal ones; a NaN never is. */
typedef struct best {
  int64_t index; /* -1: none */
  float value;
} best;

static void take(best *best, int64_t index, float value) {
  if (best->index < 0 ? value == value : value > best->value) {
    best->index = index;
    best->value = value;
  }
}

static uint32_t bucket_of(const best *best) {
  return best->index < 0 ? kNoBucket : (uint32_t)best->index;
}

/* The argmax of [xR, -xR]. */
static uint32_t find_direction(const float *products, int64_t half) {
  best best = {-1, 0};
  for (int64_t c = 0; c < half; ++c)
    take(&best, c, products[c]);
  for (int64_t c = 0; c < half; ++c)
    take(&best, half + c, -products[c]);
  return bucket_of(&best);
}

static uint32_t find_centroid(const sa_encoder *encoder, int64_t kv_head,
                              const float *row) {
  best best = {-1, 0};
  int64_t count = encoder->values[encoder->code->inputs[0]].size[2];
  for (int64_t c = 0; c < count; ++c)
    take(&best, c,
         sa_dot(row, sa_weights(encoder, 0, 0, kv_head, c), encoder->code->head_dim));
  return bucket_of(&best);
}

/* Buckets [row][round] of `count` rows. `products` is room for those of all rows. */
static void find_buckets(const sa_encoder *encoder, int64_t kv_head, const float *rows,
                         int64_t count, float *products, uint32_t *buckets) {
  const sa_encoding *code = encoder->code;
  int64_t rounds = code->parameters[kRounds], half = half_buckets(code);
  if (code->inputs[0] >= 0) {
    for (int64_t i = 0; i < count; ++i)
      buckets[i] = find_centroid(encoder, kv_head, rows + i * code->head_dim);
    return;
  }
  sa_project_rows(encoder, rows, count, code->head_dim, rounds * half, products);
  for (int64_t i = 0; i < count * rounds; ++i)
    buckets[i] = find_direction(products + i * half, half);
}

static void encode_keys(const sa_encoder *encoder, int64_t b, int64_t head, int64_t first,
                        int64_t end, void *const *planes, float *scratch) {
  const sa_encoding *code = encoder->code;
  const sa_key_state *state = &code->states[0];
  int64_t dim = code->head_dim, batch = sa_batch_rows(sa_max(direction_count(code), 1));
  float *rows = scratch, *products = rows + batch * dim;
  uint32_t buckets[16 * kMostRounds];
  for (int64_t j = first; j < end; j += batch) {
    int64_t count = sa_min(batch, end - j);
    for (int64_t i = 0; i < count; ++i)
      sa_read_row(encoder, code->k, b, head, j + i, dim, rows + i * dim);
    find_buckets(encoder, head, rows, count, products, buckets);
    for (int64_t i = 0; i < count; ++i)
      for (int64_t round = 0; round < state->width; ++round)
        ((uint16_t *)planes[0])[sa_state_index(state, j + i, round)] =
            (uint16_t)buckets[i * state->width + round];
  }
}

static void encode_query(const sa_encoder *encoder, int64_t b, int64_t h, int64_t i0,
                         int64_t i1, void *query, float *scratch) {
  int64_t dim = encoder->code->head_dim;
  (void)i1;
  sa_read_row(encoder, encoder->q, b, h, i0, dim, scratch);
  find_buckets(encoder, sa_query_kv_head(encoder, h), scratch, 1, scratch + dim, query);
}

const sa_encoding_kind sa_encode_cluster = {.inputs = 1,
                                            .states = 1,
                                            .parameters = kParameters,
                                            .is_well_formed = is_well_formed,
                                            .check_weights = check_centroids,
                                            .scratch_floats = scratch_floats,
                                            .encode_keys = encode_keys,
                                            .encode_query = encode_query};

/*===--- Matching ---------------------------------------------------------===*/

void sa_match_buckets(const sa_encoding *code, const void *query, const void *buckets,
                      int64_t units, uint64_t *bits) {
  const sa_key_state *state = &code->states[0];
  const uint32_t *wanted = query;
  memset(bits, 0, (size_t)sa_ceil_div(units, 64) * sizeof(*bits));
  for (int64_t unit = 0; unit < units; unit += SA_STATE_LANES) {
    const uint16_t *group = (const uint16_t *)buckets + sa_state_index(state, unit, 0);
    uint16_t shared[SA_STATE_LANES] = {0};
    for (int64_t round = 0; round < state->width; ++round, group += SA_STATE_LANES) {
      uint16_t bucket = (uint16_t)wanted[round];
      for (int lane = 0; bucket != kNoBucket && lane < SA_STATE_LANES; ++lane)
        shared[lane] = (uint16_t)(shared[lane] | (group[lane] == bucket));
    }
    uint64_t found = 0;
    for (int lane = 0; lane < SA_STATE_LANES && unit + lane < units; ++lane)
      found |= (uint64_t)shared[lane] << lane;
    bits[unit / 64] |= found << unit % 64;
  }
}
