/*===- lsh_center.c - the mean and the largest norm of keys ---------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Sums over chunks of keys, then over the chunks in their order: the same for any
 * number of threads.
 *
 *===----------------------------------------------------------------------===*/

#include "encode.h"

#include <stdatomic.h>

enum { kChunkKeys = 2048 };
enum { kTables, kBits, kCenter, kNormalize };
enum { kCenterNone = 2, kSimpleLsh = 1 };

bool sa_lsh_sum_bytes(const sa_encoding *code, int64_t planes, int64_t keys,
                      size_t *bytes) {
  *bytes = 0;
  return !sa_lsh_reads_all_keys(code) ||
         (sa_multiply((size_t)planes, (size_t)sa_ceil_div(keys, kChunkKeys), bytes) &&
          sa_multiply(*bytes, (size_t)code->head_dim * sizeof(double), bytes));
}

typedef struct pass {
  const sa_lsh_job *job;
  int64_t chunks; /* of a plane */
  void (*chunk)(const struct pass *pass, int64_t plane, int64_t first, int64_t end,
                double *sums, float *key);
  _Atomic int64_t next;
} pass;

static double *center_of(const sa_lsh_job *job, int64_t plane) {
  return job->centers + plane * sa_lsh_center_size(job->encoder->code);
}
static double *sums_of(const pass *pass, int64_t plane, int64_t chunk) {
  return pass->job->sums +
         (plane * pass->chunks + chunk) * pass->job->encoder->code->head_dim;
}
static int64_t plane_keys(const sa_lsh_job *job, int64_t plane) {
  return job->length(job->context, plane / job->encoder->kv_heads);
}

static void read_key(const sa_lsh_job *job, int64_t plane, int64_t j, float *key) {
  const sa_encoder *encoder = job->encoder;
  sa_read_row(encoder, encoder->code->k, plane / encoder->kv_heads,
              plane % encoder->kv_heads, j, encoder->code->head_dim, key);
}

static void add_keys(const pass *pass, int64_t plane, int64_t first, int64_t end,
                     double *sums, float *key) {
  int64_t dim = pass->job->encoder->code->head_dim;
  for (int64_t d = 0; d < dim; ++d)
    sums[d] = 0;
  for (int64_t j = first; j < end; ++j) {
    read_key(pass->job, plane, j, key);
    for (int64_t d = 0; d < dim; ++d)
      sums[d] += (double)key[d];
  }
}

/* The largest norm into sums[0]; a NaN is none. */
static void find_longest(const pass *pass, int64_t plane, int64_t first, int64_t end,
                         double *sums, float *key) {
  const double *mean = center_of(pass->job, plane);
  double longest = 0;
  for (int64_t j = first; j < end; ++j) {
    double sum = 0;
    read_key(pass->job, plane, j, key);
    for (int64_t d = 0; d < pass->job->encoder->code->head_dim; ++d) {
      double x = (double)key[d] - mean[d];
      sum += x * x;
    }
    longest = sqrt(sum) > longest ? sqrt(sum) : longest;
  }
  sums[0] = longest;
}

static void work(void *argument, int worker) {
  pass *pass = argument;
  const sa_lsh_job *job = pass->job;
  float *key = (float *)(job->scratch + (size_t)worker * job->scratch_stride);
  int64_t tasks = job->batch * job->encoder->kv_heads * pass->chunks;
  for (;;) {
    int64_t task = atomic_fetch_add_explicit(&pass->next, 1, memory_order_relaxed);
    if (task >= tasks)
      return;
    int64_t plane = task / pass->chunks, chunk = task % pass->chunks;
    int64_t first = chunk * kChunkKeys;
    int64_t end = sa_min(first + kChunkKeys, plane_keys(job, plane));
    if (first < end)
      pass->chunk(pass, plane, first, end, sums_of(pass, plane, chunk), key);
  }
}

static void run_pass(pass *pass, const sparse_attn_options *options, int workers) {
  const sa_lsh_job *job = pass->job;
  pass->chunks = 0;
  for (int64_t b = 0; b < job->batch; ++b)
    pass->chunks =
        sa_max(pass->chunks, sa_ceil_div(job->length(job->context, b), kChunkKeys));
  atomic_store(&pass->next, 0);
  sa_parallel(options, workers, job->batch * job->encoder->kv_heads * pass->chunks, work,
              pass);
}

static void find_means(const sa_lsh_job *job, const sparse_attn_options *options,
                       int workers) {
  int64_t dim = job->encoder->code->head_dim;
  pass pass = {.job = job, .chunk = add_keys};
  run_pass(&pass, options, workers);
  for (int64_t plane = 0; plane < job->batch * job->encoder->kv_heads; ++plane) {
    double *mean = center_of(job, plane);
    int64_t keys = plane_keys(job, plane);
    for (int64_t chunk = 0; chunk * kChunkKeys < keys; ++chunk)
      for (int64_t d = 0; d < dim; ++d)
        mean[d] += sums_of(&pass, plane, chunk)[d];
    for (int64_t d = 0; keys && d < dim; ++d)
      mean[d] /= (double)keys;
  }
}

static void find_norms(const sa_lsh_job *job, const sparse_attn_options *options,
                       int workers) {
  pass pass = {.job = job, .chunk = find_longest};
  run_pass(&pass, options, workers);
  for (int64_t plane = 0; plane < job->batch * job->encoder->kv_heads; ++plane) {
    double *longest = center_of(job, plane) + job->encoder->code->head_dim;
    for (int64_t chunk = 0; chunk * kChunkKeys < plane_keys(job, plane); ++chunk)
      *longest = fmax(*longest, sums_of(&pass, plane, chunk)[0]);
  }
}

void sa_lsh_find_centers(const sa_lsh_job *job, const sparse_attn_options *options,
                         int workers) {
  const sa_encoder *encoder = job->encoder;
  const sa_encoding *code = encoder->code;
  int64_t planes = job->batch * encoder->kv_heads;
  memset(job->centers, 0,
         (size_t)(planes * sa_lsh_center_size(code)) * sizeof(*job->centers));
  if (code->inputs[0] >= 0) {
    for (int64_t plane = 0; plane < planes; ++plane) {
      const float *mean =
          sa_weights(encoder, 0, 0, plane / encoder->kv_heads, plane % encoder->kv_heads);
      for (int64_t d = 0; d < code->head_dim; ++d)
        center_of(job, plane)[d] = (double)mean[d];
    }
  } else if (code->parameters[kCenter] != kCenterNone) {
    find_means(job, options, workers);
  }
  if (code->parameters[kNormalize] == kSimpleLsh)
    find_norms(job, options, workers);
}
