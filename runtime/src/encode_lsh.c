/*===- encode_lsh.c - hash tables of random directions --------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * What is hashed is made in double and rounded once; products with directions are f32.
 *
 *===----------------------------------------------------------------------===*/

#include "encode.h"

enum { kTables, kBits, kCenter, kNormalize, kSeed, kParameters };
enum { kCenterKeys, kCenterBoth, kCenterNone };
enum { kCosine, kSimpleLsh };
enum { kHashes, kNorms, kStates };
enum { kMostBits = 32, kShortBits = 16 };

static int64_t direction_count(const sa_encoding *code) {
  return code->parameters[kTables] * code->parameters[kBits];
}
/* Numbers of what is hashed: simple_lsh adds a coordinate. */
static int64_t hashed_dim(const sa_encoding *code) {
  return code->head_dim + (code->parameters[kNormalize] == kSimpleLsh);
}

bool sa_lsh_reads_all_keys(const sa_encoding *code) {
  return code->parameters[kNormalize] == kSimpleLsh ||
         (code->parameters[kCenter] != kCenterNone && code->inputs[0] < 0);
}

static bool is_well_formed(const sa_encoding *code) {
  const int64_t *parameters = code->parameters;
  int64_t tables = parameters[kTables], bits = parameters[kBits];
  return tables >= 1 && tables < 1 << 16 && bits >= 1 && bits <= kMostBits &&
         parameters[kCenter] >= kCenterKeys && parameters[kCenter] <= kCenterNone &&
         (parameters[kNormalize] == kCosine || parameters[kNormalize] == kSimpleLsh) &&
         code->states[0].block == 1 && !code->states[0].per_query_head &&
         sa_is_state(code, kHashes, bits <= kShortBits ? SA_WORD_U16 : SA_WORD_I32,
                     tables) &&
         sa_is_state(code, kNorms, SA_WORD_F32, 1) && code->query_words == tables;
}

static sparse_attn_status check_weights(const sparse_attn_kernel *kernel,
                                        const sa_encoder *encoder) {
  return encoder->code->inputs[0] < 0
             ? SPARSE_ATTN_OK
             : sa_check_weight(kernel, encoder, 0, 3, encoder->code->head_dim,
                               "the numbers of a row");
}

/* Rows to hash, their products, a row as it is. */
static size_t scratch_floats(const sa_encoding *code) {
  int64_t directions = direction_count(code);
  return (size_t)(sa_batch_rows(directions) * (hashed_dim(code) + directions) +
                  code->head_dim);
}

static const double *center_of(const sa_encoder *encoder, int64_t b, int64_t kv_head) {
  return encoder->centers +
         (b * encoder->kv_heads + kv_head) * sa_lsh_center_size(encoder->code);
}

/*===--- Keys -------------------------------------------------------------===*/

/* Key j as it is hashed, and the norm of that. */
static float prepare_key(const sa_encoder *encoder, int64_t b, int64_t kv_head, int64_t j,
                         float *vector, float *key) {
  const sa_encoding *code = encoder->code;
  const double *mean = center_of(encoder, b, kv_head), longest = mean[code->head_dim];
  bool simple = code->parameters[kNormalize] == kSimpleLsh;
  sa_read_row(encoder, code->k, b, kv_head, j, code->head_dim, key);
  double sum = 0;
  for (int64_t d = 0; d < code->head_dim; ++d) {
    double x = (double)key[d] - mean[d];
    sum += x * x;
    vector[d] = (float)(!simple ? x : longest > 0 ? x / longest : 0);
  }
  double norm = sqrt(sum);
  if (!simple)
    return (float)norm;
  double share = longest > 0 ? norm / longest : 0, rest = 1 - share * share;
  vector[code->head_dim] = (float)(rest > 0 ? sqrt(rest) : 0);
  return 1;
}

static uint32_t make_hash(const float *products, int64_t bits) {
  uint32_t hash = 0;
  for (int64_t bit = 0; bit < bits; ++bit)
    hash |= (uint32_t)(products[bit] >= 0) << bit;
  return hash;
}

static void put_hashes(const sa_encoding *code, const float *products, void *plane,
                       int64_t j) {
  const sa_key_state *state = &code->states[kHashes];
  int64_t at = sa_state_index(state, j, 0), bits = code->parameters[kBits];
  for (int32_t t = 0; t < state->width; ++t, at += SA_STATE_LANES, products += bits)
    if (state->word == SA_WORD_U16)
      ((uint16_t *)plane)[at] = (uint16_t)make_hash(products, bits);
    else
      ((uint32_t *)plane)[at] = make_hash(products, bits);
}

static void encode_keys(const sa_encoder *encoder, int64_t b, int64_t head, int64_t first,
                        int64_t end, void *const *planes, float *scratch) {
  const sa_encoding *code = encoder->code;
  int64_t dim = hashed_dim(code), directions = direction_count(code);
  int64_t batch = sa_batch_rows(directions);
  float *rows = scratch, *products = rows + batch * dim;
  float *key = products + batch * directions, *norms = planes[kNorms];
  for (int64_t j = first; j < end; j += batch) {
    int64_t count = sa_min(batch, end - j);
    for (int64_t i = 0; i < count; ++i)
      norms[j + i] = prepare_key(encoder, b, head, j + i, rows + i * dim, key);
    sa_project_rows(encoder, rows, count, dim, directions, products);
    for (int64_t i = 0; i < count; ++i)
      put_hashes(code, products + i * directions, planes[kHashes], j + i);
  }
}

/*===--- Queries ----------------------------------------------------------===*/

double sa_lsh_row(const sa_encoder *encoder, int64_t b, int64_t h, int64_t i, double *row,
                  float *scratch) {
  const sa_encoding *code = encoder->code;
  const double *mean = center_of(encoder, b, sa_query_kv_head(encoder, h));
  bool centered = code->parameters[kCenter] == kCenterBoth;
  double sum = 0;
  sa_read_row(encoder, encoder->q, b, h, i, code->head_dim, scratch);
  for (int64_t d = 0; d < code->head_dim; ++d) {
    row[d] = (double)scratch[d] - (centered ? mean[d] : 0);
    sum += row[d] * row[d];
  }
  return sqrt(sum);
}

static void encode_query(const sa_encoder *encoder, int64_t b, int64_t h, int64_t i0,
                         int64_t i1, void *query, float *scratch) {
  const sa_encoding *code = encoder->code;
  const double *mean = center_of(encoder, b, sa_query_kv_head(encoder, h));
  int64_t dim = hashed_dim(code), bits = code->parameters[kBits];
  float *row = scratch, *products = row + dim;
  uint32_t *hashes = query;
  (void)i1;
  sa_read_row(encoder, encoder->q, b, h, i0, code->head_dim, row);
  if (code->parameters[kCenter] == kCenterBoth)
    for (int64_t d = 0; d < code->head_dim; ++d)
      row[d] = (float)((double)row[d] - mean[d]);
  if (dim > code->head_dim)
    row[code->head_dim] = 0;
  sa_project_rows(encoder, row, 1, dim, direction_count(code), products);
  for (int64_t t = 0; t < code->parameters[kTables]; ++t)
    hashes[t] = make_hash(products + t * bits, bits);
}

double sa_lsh_cosine(const sa_encoder *encoder, int64_t b, int64_t kv_head,
                     const double *row, double norm, int64_t j, float *scratch) {
  const sa_encoding *code = encoder->code;
  const double *mean = center_of(encoder, b, kv_head), longest = mean[code->head_dim];
  double dots[4] = {0}, squares[4] = {0};
  sa_read_row(encoder, code->k, b, kv_head, j, code->head_dim, scratch);
  int64_t d = 0;
  for (; d + 4 <= code->head_dim; d += 4)
    for (int lane = 0; lane < 4; ++lane) {
      double x = (double)scratch[d + lane] - mean[d + lane];
      dots[lane] += x * row[d + lane];
      squares[lane] += x * x;
    }
  for (; d < code->head_dim; ++d) {
    double x = (double)scratch[d] - mean[d];
    dots[0] += x * row[d];
    squares[0] += x * x;
  }
  double dot = (dots[0] + dots[1]) + (dots[2] + dots[3]);
  double key_norm = sqrt((squares[0] + squares[1]) + (squares[2] + squares[3]));
  /* With its coordinate a key of simple_lsh has the norm 1. */
  if (code->parameters[kNormalize] == kSimpleLsh) {
    dot = longest > 0 ? dot / longest : 0;
    key_norm = 1;
  }
  if (norm == 0 || key_norm == 0)
    return norm == key_norm ? 1 : 0;
  return dot / (norm * key_norm);
}

void sa_lsh_prefetch(const sa_encoder *encoder, int64_t b, int64_t kv_head, int64_t j) {
  enum { kLine = 64 };
  const sa_encoding *code = encoder->code;
  size_t bytes = (size_t)sa_real_bytes(encoder->type);
  const char *row = sa_at(&encoder->values[code->k], bytes, b, kv_head, j, 0);
  int64_t size = code->head_dim * (int64_t)bytes;
  for (int64_t at = 0; at < size; at += kLine)
    __builtin_prefetch(row + at);
  __builtin_prefetch(row + size - 1);
}

const sa_encoding_kind sa_encode_lsh = {.inputs = 1,
                                        .states = kStates,
                                        .parameters = kParameters,
                                        .is_well_formed = is_well_formed,
                                        .check_weights = check_weights,
                                        .scratch_floats = scratch_floats,
                                        .encode_keys = encode_keys,
                                        .encode_query = encode_query};

/*===--- Matching ---------------------------------------------------------===*/

/* `agreeing` [SA_STATE_LANES] tables of each unit of a group, as bits. */
static uint64_t find_matches(const uint16_t *agreeing, int64_t min_matches) {
  uint64_t bits = 0;
  for (int lane = 0; lane < SA_STATE_LANES; ++lane)
    bits |= (uint64_t)(agreeing[lane] >= min_matches) << lane;
  return bits;
}

static void count_short(const uint32_t *query, const uint16_t *hashes, int64_t tables,
                        uint16_t *agreeing) {
  for (int64_t t = 0; t < tables; ++t, hashes += SA_STATE_LANES) {
    uint16_t wanted = (uint16_t)query[t];
    for (int lane = 0; lane < SA_STATE_LANES; ++lane)
      agreeing[lane] = (uint16_t)(agreeing[lane] + (hashes[lane] == wanted));
  }
}

static void count_long(const uint32_t *query, const uint32_t *hashes, int64_t tables,
                       uint16_t *agreeing) {
  uint32_t sums[SA_STATE_LANES] = {0};
  for (int64_t t = 0; t < tables; ++t, hashes += SA_STATE_LANES)
    for (int lane = 0; lane < SA_STATE_LANES; ++lane)
      sums[lane] += hashes[lane] == query[t];
  for (int lane = 0; lane < SA_STATE_LANES; ++lane)
    agreeing[lane] = (uint16_t)sums[lane];
}

void sa_match_hashes(const sa_encoding *code, const void *query, const void *hashes,
                     int64_t min_matches, int64_t units, uint64_t *bits) {
  const sa_key_state *state = &code->states[kHashes];
  memset(bits, 0, (size_t)sa_ceil_div(units, 64) * sizeof(*bits));
  for (int64_t unit = 0; unit < units; unit += SA_STATE_LANES) {
    uint16_t agreeing[SA_STATE_LANES] = {0};
    int64_t at = sa_state_index(state, unit, 0);
    if (state->word == SA_WORD_U16)
      count_short(query, (const uint16_t *)hashes + at, state->width, agreeing);
    else
      count_long(query, (const uint32_t *)hashes + at, state->width, agreeing);
    uint64_t found = find_matches(agreeing, min_matches);
    if (units - unit < SA_STATE_LANES)
      found &= (UINT64_C(1) << (units - unit)) - 1;
    bits[unit / 64] |= found << unit % 64;
  }
}
