/*===- encoded.h - states that a run makes, or a caller keeps -------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/
#ifndef SPARSE_ATTN_RUNTIME_ENCODED_H
#define SPARSE_ATTN_RUNTIME_ENCODED_H

#include "encode.h"
#include "means.h"

/*===--- encoded.c: the states of a run -----------------------------------===*/

enum { SA_MOST_STATES = 3 };

/* An encoding, and where a run keeps its states when it makes them itself. */
struct sa_plan_encoding {
  const sa_plan_attention *attention; /* the first that reads it; NULL: none that runs */
  const float *directions;
  size_t centers;                     /* into sa_workspace::centers */
  size_t sums;                        /* into sa_workspace::encoded, and ... */
  size_t planes[SA_MOST_STATES];      /* ... those of state i, one (b, head) every ... */
  size_t plane_bytes[SA_MOST_STATES]; /* ... so many bytes */
};

/* Checks the encodings of the kernel, and lays out what a run keeps of them. The ways of
 * choices are taken. */
sparse_attn_status sa_plan_encodings(sparse_attn_plan *plan);
void sa_release_encodings(sparse_attn_plan *plan);

/* Checks that the states of `options`, if any, are those of the run's keys. */
sparse_attn_status sa_check_run_states(const sparse_attn_plan *plan,
                                       const sparse_attn_options *options);
static inline const sparse_attn_states *
sa_given_states(const sparse_attn_options *options) {
  return options ? options->states : NULL;
}
/* Encodes the keys that `attention` is the first to need encoded. */
sparse_attn_status sa_encode_run_keys(const sa_run_state *state,
                                      const sa_plan_attention *attention);

/* Keys to encode: for every batch entry those of `range`. The states of (b, head) are
 * at planes[i] + (b * heads + head) * plane_bytes[i], where heads are those that have
 * states of their own. */
typedef struct sa_encode_job {
  const sa_encoder *encoder;
  int64_t batch;
  sa_key_range (*range)(const void *context, int64_t b);
  const void *context;
  char *planes[SA_MOST_STATES];
  size_t plane_bytes[SA_MOST_STATES];
  char *scratch; /* of each worker */
  size_t scratch_stride;
} sa_encode_job;
void sa_encode_planes(const sa_encode_job *job, const sparse_attn_options *options,
                      int workers);

/* The encoder number `encoding` of the kernel for the queries of `attention`. */
sa_encoder sa_run_encoder(const sa_run_state *state, const sa_plan_attention *attention,
                          int32_t encoding);

/* The words of state `number` of an encoding that query head `h` reads. */
const void *sa_run_plane(const sa_run_state *state, int32_t encoding, int32_t number,
                         int64_t b, int64_t h);

/*===--- kept.c: what of a kernel can be kept beside K ---------------------===*/

/* Whether step number `step` makes pooled keys or values that states hold: those that are
 * an output have to be written anyway. */
bool sa_is_kept_pool(const sparse_attn_kernel *kernel, int32_t step);

/* Checks the encodings and the kept pools of the kernel. */
sparse_attn_status sa_check_kept(const sparse_attn_kernel *kernel);

/* A number of all that the meaning of states depends on: kinds, sizes and parameters of
 * the encodings, blocks and types of the pools. sa_check_kept was asked before. */
uint64_t sa_fingerprint(const sparse_attn_kernel *kernel);

/*===--- states.c, states_extend.c, states_file.c: those of a caller --------===*/

/* The states of one encoding, as in sa_encode_job. */
typedef struct sa_kept_encoding {
  char *planes[SA_MOST_STATES];
  size_t plane_bytes[SA_MOST_STATES];
  const float *directions;
  double *centers;
  sa_project_fn project;
  char *index; /* of hashes; NULL where there is none */
  size_t index_bytes;
} sa_kept_encoding;

/* The block means that one pool makes. */
typedef struct sa_kept_pool {
  const sa_step *step;
  int64_t dim;
  sa_real type;
  char *means;  /* [B][Hkv][blocks of the capacity][dim] */
  double *sums; /* [B][Hkv][dim] of the last block, where it is not full */
} sa_kept_pool;

struct sparse_attn_states {
  const sparse_attn_kernel *kernel;
  sparse_attn_shape shape; /* keys: the capacity */
  uint64_t print;
  sa_kept_encoding *encodings;
  sa_kept_pool *pools; /* in the order of the steps */
  int32_t pool_count;
  char *memory;     /* of all planes and means */
  size_t bytes;     /* of it */
  int64_t *lengths; /* [B] */
  bool *begun;      /* [B]: blocks that the length cuts hold keys past it */
  sa_view *views;   /* of the inputs of an extension */
  char *scratch;
  size_t scratch_bytes;
};

/* Indexes the hashes of keys [first[b], lengths[b]); first NULL: of all. */
void sa_index_states(sparse_attn_states *states, const int64_t *first,
                     const int64_t *lengths, const sparse_attn_options *options,
                     int workers);

/*===--- kept_pools.c: pooled keys and values as states --------------------===*/

int32_t sa_count_kept_pools(const sparse_attn_kernel *kernel);

/* Fills states->pools but for the places. */
void sa_describe_kept_pools(sparse_attn_states *states);

/* Takes room `*end` bytes into the memory; places it there if `base` is not NULL. False
 * on overflow. */
bool sa_place_kept_pool(const sparse_attn_states *states, sa_kept_pool *pool, char *base,
                        size_t *end);
double sa_kept_pool_bytes_per_key(const sparse_attn_states *states,
                                  const sa_kept_pool *pool);

/* Whether the states of a run hold value `value`, so that no step makes it. */
bool sa_is_given(const sparse_attn_plan *plan, const sparse_attn_options *options,
                 int32_t value);

/* workspace.c: takes room for temporaries from `*end` on, but for those that the states
 * of `options` hold; fills their views if `views` is not NULL. False on overflow. */
bool sa_place_temporaries(const sparse_attn_plan *plan,
                          const sparse_attn_options *options, char *base, sa_view *views,
                          size_t *end);

/* Fills the views of the values that are given. */
void sa_view_kept_pools(const sa_run_state *state);

/* Adds the tokens of states->views that `range` names. A range that begins within a block
 * goes on with the sums. */
void sa_extend_pool(const sparse_attn_states *states, const sa_kept_pool *pool,
                    sa_key_range (*range)(const void *context, int64_t b),
                    const void *context, const sparse_attn_options *options, int workers);

/* Calls visit(context, part, bytes) for all that is in use. */
void sa_visit_kept_pool(const sparse_attn_states *states, const sa_kept_pool *pool,
                        void (*visit)(void *context, void *part, size_t bytes),
                        void *context);

/*===--- hash_index.c: buckets of hash tables -----------------------------===*/

enum { SA_INDEX_KEYS = 4096 }; /* of a block, which has its own buckets */

/* Whether states for `capacity` keys have an index, and its size for one (b, kv_head). */
bool sa_has_index(const sa_encoding *code, int64_t capacity);
bool sa_index_bytes(const sa_encoding *code, int64_t capacity, size_t *bytes);

/* Indexes the full blocks that keys [first[b], end[b]) are in; first NULL: from 0. */
typedef struct sa_index_job {
  const sa_encoding *code;
  int64_t batch, heads, capacity;
  const int64_t *first, *end;
  const char *hashes; /* one (b, kv_head) every hash_bytes */
  char *index;
  size_t hash_bytes, index_bytes;
} sa_index_job;
void sa_index_hashes(const sa_index_job *job, const sparse_attn_options *options,
                     int workers);

/* sa_match_hashes for the full blocks among `units` keys, by the index; returns their
 * keys. */
int64_t sa_match_index(const sa_encoding *code, const void *query, const void *index,
                       int64_t capacity, int64_t min_matches, int64_t units,
                       uint64_t *bits);

/* sa_match_hashes for the keys of query head `h`, by the index where there is one. */
void sa_run_match_hashes(const sa_run_state *state, int32_t encoding, int64_t b,
                         int64_t h, const void *query, int64_t min_matches, int64_t units,
                         uint64_t *bits);

#endif /* SPARSE_ATTN_RUNTIME_ENCODED_H */
