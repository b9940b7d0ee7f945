/*===- encode.h - keys as states, queries as words of scores --------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * One function for each kind of encoding makes the states of keys from K (and V), and
 * one the words of a query; abi.h says what they hold, docs/semantics.md what they
 * mean. A kind's arithmetic is the same for every key wherever it starts, so that states
 * extended key by key are those made at once, bit for bit.
 *
 *===----------------------------------------------------------------------===*/
#ifndef SPARSE_ATTN_RUNTIME_ENCODE_H
#define SPARSE_ATTN_RUNTIME_ENCODE_H

#include "internal.h"

/* The type of value `id` of the kernel, an input of it. */
static inline sa_real sa_input_type(const sparse_attn_kernel *kernel, int32_t id) {
  sa_real type = SA_F32;
  sa_find_real(kernel->inputs[id].type_code, kernel->inputs[id].type_bits, &type);
  return type;
}

/* Where the words of an encoding come from. */
typedef struct sa_encoder {
  const sa_encoding *code;
  const sa_view *values; /* by value id */
  int32_t q;             /* value id of the queries; read by sa_encode_query alone */
  sa_real type;          /* of queries, keys and values */
  int64_t heads, kv_heads;
  const float *directions; /* sa_encoding_directions; NULL where it has none */
  const double *centers;   /* lsh: sa_lsh_center of every (b, kv_head) */
  sa_project_fn project;   /* sa_project where a level has none */
} sa_encoder;

/* Heads that have states of their own. */
static inline int64_t sa_encoding_heads(const sa_encoding *code, int64_t heads,
                                        int64_t kv_heads) {
  return code->state_count && code->states[0].per_query_head ? heads : kv_heads;
}

/* Keys of a block: the states of one encoding have the same. */
static inline int64_t sa_encoding_block(const sa_encoding *code) {
  return code->state_count ? code->states[0].block : 1;
}

static inline size_t sa_word_bytes(int32_t word) {
  return word == SA_WORD_U8 ? 1 : word == SA_WORD_F32 || word == SA_WORD_I32 ? 4 : 2;
}

/* Bytes of the words of one (b, head) for `keys` keys; false on overflow. */
bool sa_state_plane_bytes(const sa_key_state *state, int64_t keys, size_t *bytes);

/* Element number of word `word` of unit `unit`. */
static inline int64_t sa_state_index(const sa_key_state *state, int64_t unit,
                                     int64_t word) {
  return (unit / SA_STATE_LANES * state->width + word) * SA_STATE_LANES +
         unit % SA_STATE_LANES;
}

/* Whether this runtime knows the encoding, and it is one for `kernel`'s inputs. */
sparse_attn_status sa_check_encoding(const sparse_attn_kernel *kernel,
                                     const sa_encoding *code);

/* Checks the sizes of the weights that a run gives, and the values that are indices. */
sparse_attn_status sa_check_weights(const sparse_attn_kernel *kernel,
                                    const sa_encoder *encoder);

/* Bytes that the functions below need at `scratch`, aligned to SA_ALIGNMENT. */
size_t sa_encoding_scratch_bytes(const sa_encoding *code);

/* Writes the states of keys [first, end) of (b, head) to `planes`, by number of the
 * state; `head` is a query head where the states are per query head, else a key/value
 * head. The first key of a group of SA_STATE_LANES units clears the group. Where `first`
 * is within a block, the states are those of its keys before. */
void sa_encode_keys(const sa_encoder *encoder, int64_t b, int64_t head, int64_t first,
                    int64_t end, void *const *planes, void *scratch);

/* Writes code->query_words words of the rows [i0, i1) of query head `h` to `query`,
 * aligned to SA_ALIGNMENT. More rows than one are for encodings of tiles alone. */
void sa_encode_query(const sa_encoder *encoder, int64_t b, int64_t h, int64_t i0,
                     int64_t i1, void *query, void *scratch);

/* sa_project_fn in plain C. */
void sa_project(const float *x, const float *w, float *out, int64_t ins, int64_t outs);

/* Mixes a word into a checksum; the next step of `sum`. */
static inline uint64_t sa_add_word(uint64_t sum, uint64_t word) {
  sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
  return sum ^ sum >> 29;
}

/*===--- directions.c: what follows of seed and shape ---------------------===*/

/* Random directions, shared by all that ask for the same; *directions is NULL where the
 * encoding has none. They are matrices [ins][SA_PANEL] one after the other, the last one
 * with fewer columns, so that one is used for many keys while it is in the nearest cache.
 * False without memory. */
enum { SA_PANEL = 64 };
bool sa_encoding_directions(const sa_encoding *code, const float **directions);
void sa_release_directions(const float *directions);
size_t sa_directions_bytes(const sa_encoding *code);

/* products[row][direction] of `count` rows of `ins` numbers. */
void sa_project_rows(const sa_encoder *encoder, const float *rows, int64_t count,
                     int64_t ins, int64_t directions, float *products);

/* Rows that are projected together: their products fit a near cache. */
static inline int64_t sa_batch_rows(int64_t directions) {
  return sa_max(1, sa_min(16, (1 << 16) / directions));
}

/*===--- encode_buckets.c, encode_lsh.c: what tables say ------------------===*/

/* Sets bit u of `bits` ([ceil(units / 64)]) where unit u shares a bucket with the query,
 * and clears the others. */
void sa_match_buckets(const sa_encoding *code, const void *query, const void *buckets,
                      int64_t units, uint64_t *bits);

/* The same where at least `min_matches` (1 or 2) hashes agree. */
void sa_match_hashes(const sa_encoding *code, const void *query, const void *hashes,
                     int64_t min_matches, int64_t units, uint64_t *bits);

/* What is subtracted from the keys of a (b, kv_head), then the largest norm. */
static inline int64_t sa_lsh_center_size(const sa_encoding *code) {
  return code->head_dim + 1;
}
/* Whether that depends on all keys. */
bool sa_lsh_reads_all_keys(const sa_encoding *code);

/* Row `i` of head `h` as it is hashed, D numbers, and its norm. `scratch` has D floats.
 */
double sa_lsh_row(const sa_encoder *encoder, int64_t b, int64_t h, int64_t i, double *row,
                  float *scratch);

/* The cosine of that row and key j, as they are hashed. `scratch` has D floats. */
double sa_lsh_cosine(const sa_encoder *encoder, int64_t b, int64_t kv_head,
                     const double *row, double norm, int64_t j, float *scratch);

/* Asks for the key that it reads, before it is needed. */
void sa_lsh_prefetch(const sa_encoder *encoder, int64_t b, int64_t kv_head, int64_t j);

/* Fills the centers of all (b, kv_head), keys being those below lengths(context, b).
 * `sums` has sa_lsh_sum_bytes. */
typedef int64_t (*sa_length_fn)(const void *context, int64_t b);
typedef struct sa_lsh_job {
  const sa_encoder *encoder;
  int64_t batch;
  sa_length_fn length;
  const void *context;
  double *centers, *sums; /* sums: sa_lsh_sum_bytes; NULL where no key is read */
  char *scratch;          /* of each worker */
  size_t scratch_stride;
} sa_lsh_job;
void sa_lsh_find_centers(const sa_lsh_job *job, const sparse_attn_options *options,
                         int workers);
bool sa_lsh_sum_bytes(const sa_encoding *code, int64_t planes, int64_t keys,
                      size_t *bytes);

/*===--- Kinds: what encode.c finds by sa_encoding::kind -------------------===*/

typedef struct sa_encoding_kind {
  int32_t inputs, states, parameters, reals; /* how many; parameters: at least */
  /* Whether parameters and states are ones that this kind has. */
  bool (*is_well_formed)(const sa_encoding *code);
  sparse_attn_status (*check_weights)(const sparse_attn_kernel *kernel,
                                      const sa_encoder *encoder); /* NULL: has none */
  size_t (*scratch_floats)(const sa_encoding *code);
  void (*encode_keys)(const sa_encoder *encoder, int64_t b, int64_t head, int64_t first,
                      int64_t end, void *const *planes, float *scratch);
  void (*encode_query)(const sa_encoder *encoder, int64_t b, int64_t h, int64_t i0,
                       int64_t i1, void *query, float *scratch);
} sa_encoding_kind;

extern const sa_encoding_kind sa_encode_none, sa_encode_pages, sa_encode_hash,
    sa_encode_channels, sa_encode_labels, sa_encode_pq, sa_encode_soft_hash,
    sa_encode_pooled, sa_encode_antidiagonal, sa_encode_cluster, sa_encode_lsh;

/*===--- For the kinds ----------------------------------------------------===*/

/* The key/value head that the states of `head` are of. */
static inline int64_t sa_encoder_kv_head(const sa_encoder *encoder, int64_t head) {
  bool apart = encoder->code->state_count && encoder->code->states[0].per_query_head;
  return apart ? head * encoder->kv_heads / encoder->heads : head;
}
static inline int64_t sa_query_kv_head(const sa_encoder *encoder, int64_t h) {
  return h * encoder->kv_heads / encoder->heads;
}

/* Row (b, h, i) of value `id`, `count` numbers, as f32. */
static inline void sa_read_row(const sa_encoder *encoder, int32_t id, int64_t b,
                               int64_t h, int64_t i, int64_t count, float *row) {
  size_t bytes = (size_t)sa_real_bytes(encoder->type);
  sa_read_reals(encoder->type, sa_at(&encoder->values[id], bytes, b, h, i, 0), count,
                row);
}

/* The weights of input `input` at this index; axes of size 1 broadcast. */
static inline const float *sa_weights(const sa_encoder *encoder, int32_t input,
                                      int64_t i0, int64_t i1, int64_t i2) {
  return (const float *)sa_at(&encoder->values[encoder->code->inputs[input]],
                              sizeof(float), i0, i1, i2, 0);
}

/* Whether state `number` is `width` words of type `word`. */
static inline bool sa_is_state(const sa_encoding *code, int32_t number, int32_t word,
                               int64_t width) {
  const sa_key_state *state = &code->states[number];
  return state->word == word && state->width == width;
}

/* The words of one unit of a state, and back. */
static inline void sa_get_floats(const sa_key_state *state, const void *plane,
                                 int64_t unit, float *words) {
  const float *from = (const float *)plane + sa_state_index(state, unit, 0);
  for (int32_t w = 0; w < state->width; ++w)
    words[w] = from[(int64_t)w * SA_STATE_LANES];
}
static inline void sa_put_floats(const sa_key_state *state, void *plane, int64_t unit,
                                 const float *words) {
  float *to = (float *)plane + sa_state_index(state, unit, 0);
  for (int32_t w = 0; w < state->width; ++w)
    to[(int64_t)w * SA_STATE_LANES] = words[w];
}
/* The same of numbers of any type, which are exact in it. */
static inline void sa_get_reals(const sa_key_state *state, const void *plane,
                                int64_t unit, float *words) {
  const uint16_t *from = (const uint16_t *)plane + sa_state_index(state, unit, 0);
  if (state->word == SA_WORD_F32)
    sa_get_floats(state, plane, unit, words);
  else
    for (int32_t w = 0; w < state->width; ++w, from += SA_STATE_LANES)
      words[w] = state->word == SA_WORD_F16 ? sa_from_f16(*from) : sa_from_bf16(*from);
}
static inline void sa_put_reals(const sa_key_state *state, void *plane, int64_t unit,
                                const float *words) {
  uint16_t *to = (uint16_t *)plane + sa_state_index(state, unit, 0);
  if (state->word == SA_WORD_F32)
    sa_put_floats(state, plane, unit, words);
  else
    for (int32_t w = 0; w < state->width; ++w, to += SA_STATE_LANES)
      *to = state->word == SA_WORD_F16 ? sa_to_f16(words[w]) : sa_to_bf16(words[w]);
}
static inline void sa_put_ints(const sa_key_state *state, void *plane, int64_t unit,
                               const uint32_t *words) {
  uint32_t *to = (uint32_t *)plane + sa_state_index(state, unit, 0);
  for (int32_t w = 0; w < state->width; ++w)
    to[(int64_t)w * SA_STATE_LANES] = words[w];
}

/* 1 for a sign of +1, which 0 and NaN have. */
static inline uint32_t sa_sign_bit(float x) { return !(x < 0); }

/* The lesser and the larger of two numbers; a NaN stays. */
static inline float sa_least(float a, float b) { return a < b || a != a ? a : b; }
static inline float sa_largest(float a, float b) { return a > b || a != a ? a : b; }

/* Sums in f32 of eight partial sums, in an order that depends on `count` alone. */
static inline float sa_dot(const float *x, const float *y, int64_t count) {
  float sums[8] = {0}, rest = 0;
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int lane = 0; lane < 8; ++lane)
      sums[lane] += x[i + lane] * y[i + lane];
  for (; i < count; ++i)
    rest += x[i] * y[i];
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) +
         ((sums[1] + sums[5]) + (sums[3] + sums[7])) + rest;
}

/* Checks that input `input` of the encoding has `size` elements on `axis` of its view;
 * `what` says what they are. */
sparse_attn_status sa_check_weight(const sparse_attn_kernel *kernel,
                                   const sa_encoder *encoder, int32_t input, int axis,
                                   int64_t size, const char *what);

/* Checks that each matrix of the input, its last two axes, is in one piece. */
sparse_attn_status sa_check_matrices(const sparse_attn_kernel *kernel,
                                     const sa_encoder *encoder, int32_t input);

#endif /* SPARSE_ATTN_RUNTIME_ENCODE_H */
