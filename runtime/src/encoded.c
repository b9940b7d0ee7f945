/*===- encoded.c - the states of keys that a run makes --------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encoded.h"

#include <stdatomic.h>
#include <stdlib.h>

/*===--- Planning ---------------------------------------------------------===*/

/* Two attentions that read an encoding must mean the same keys. */
static bool have_same_keys(const sa_attention *a, const sa_attention *b) {
  return a->k == b->k && a->v == b->v && a->kv_len == b->kv_len &&
         a->key_block == b->key_block;
}

static sparse_attn_status add_user(sparse_attn_plan *plan,
                                   const sa_plan_attention *attention, int32_t index) {
  const sparse_attn_kernel *kernel = plan->kernel;
  const sa_attention *code = attention->code;
  if (index == -1)
    return SPARSE_ATTN_OK;
  if (index >= 0 && index < kernel->encoding_count &&
      kernel->encodings[index].k == code->k && kernel->encodings[index].v == code->v &&
      kernel->encodings[index].head_dim == code->head_dim) {
    sa_plan_encoding *encoding = &plan->encodings[index];
    if (!encoding->attention)
      encoding->attention = attention;
    if (have_same_keys(encoding->attention->code, code))
      return SPARSE_ATTN_OK;
  }
  return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                 "kernel '%s' is malformed: an attention reads encoding %d, which is not "
                 "of its keys; compile it again",
                 kernel->name, (int)index);
}

static sparse_attn_status find_users(sparse_attn_plan *plan) {
  for (int32_t i = 0; i < plan->attention_count; ++i) {
    const sa_plan_attention *attention = &plan->attentions[i];
    const sa_attention *code = attention->code;
    if (!sa_is_attention_needed(plan, attention))
      continue;
    sparse_attn_status status = SPARSE_ATTN_OK;
    for (int32_t s = 0; !status && s < code->score_count; ++s)
      status = add_user(plan, attention, code->scores[s].encoding);
    for (int32_t s = 0; !status && s < code->set_count; ++s)
      status = add_user(plan, attention, code->sets[s].encoding);
    if (status)
      return status;
  }
  return SPARSE_ATTN_OK;
}

/* Takes `count` times `bytes` at `*end`. */
static bool place(size_t count, size_t bytes, size_t *end, size_t *offset) {
  *offset = *end;
  return sa_multiply(count, bytes, &bytes) && sa_add(*end, bytes, end) &&
         sa_align(*end, end);
}

static bool lay_out(sparse_attn_plan *plan, sa_plan_encoding *encoding,
                    const sa_encoding *code) {
  const sparse_attn_shape *shape = &plan->shape;
  int64_t keys = encoding->attention->key_capacity;
  size_t kv_planes = (size_t)(shape->batch * shape->kv_heads);
  size_t planes =
      (size_t)(shape->batch * sa_encoding_heads(code, shape->heads, shape->kv_heads));
  for (int32_t i = 0; i < code->state_count; ++i)
    if (!sa_state_plane_bytes(&code->states[i], keys, &encoding->plane_bytes[i]) ||
        !place(planes, encoding->plane_bytes[i], &plan->encoded_bytes,
               &encoding->planes[i]))
      return false;
  size_t scratch, sums = 0;
  if (!sa_align(sa_encoding_scratch_bytes(code), &scratch))
    return false;
  if (plan->encoder_bytes < scratch)
    plan->encoder_bytes = scratch;
  if (code->kind != SA_ENCODE_LSH)
    return true;
  return sa_lsh_sum_bytes(code, (int64_t)kv_planes, keys, &sums) &&
         place(1, sums, &plan->encoded_bytes, &encoding->sums) &&
         place(kv_planes, (size_t)sa_lsh_center_size(code) * sizeof(double),
               &plan->centers_bytes, &encoding->centers);
}

sparse_attn_status sa_plan_encodings(sparse_attn_plan *plan) {
  const sparse_attn_kernel *kernel = plan->kernel;
  sparse_attn_status status = sa_check_kept(kernel);
  if (!status)
    status = find_users(plan);
  if (!status)
    plan->encodings_print = sa_fingerprint(kernel);
  for (int32_t i = 0; !status && i < kernel->encoding_count; ++i) {
    sa_plan_encoding *encoding = &plan->encodings[i];
    const sa_encoding *code = &kernel->encodings[i];
    if (!encoding->attention)
      continue;
    if (!lay_out(plan, encoding, code))
      status = sa_fail(SPARSE_ATTN_OVERFLOW,
                       "kernel '%s': what it keeps of B = %lld, N = %lld keys beside K "
                       "does not fit the address space",
                       kernel->name, (long long)plan->shape.batch,
                       (long long)plan->shape.keys);
    else if (!sa_encoding_directions(code, &encoding->directions))
      status = sa_fail(SPARSE_ATTN_OUT_OF_MEMORY, "kernel '%s': no memory for a plan",
                       kernel->name);
  }
  return status;
}

void sa_release_encodings(sparse_attn_plan *plan) {
  for (int32_t i = 0; plan->encodings && i < plan->kernel->encoding_count; ++i)
    sa_release_directions(plan->encodings[i].directions);
  free(plan->encodings);
}

/*===--- Encoding in parallel ---------------------------------------------===*/

/* A task is a range of keys of one (b, head), of whole groups of units so that no two
 * tasks write to one group. */
typedef struct encoding {
  const sa_encode_job *job;
  int64_t heads, keys, ranges;
  _Atomic int64_t next;
} encoding;

static void work(void *argument, int worker) {
  encoding *encoding = argument;
  const sa_encode_job *job = encoding->job;
  char *scratch = job->scratch + (size_t)worker * job->scratch_stride;
  int64_t tasks = job->batch * encoding->heads * encoding->ranges;
  for (;;) {
    int64_t task = atomic_fetch_add_explicit(&encoding->next, 1, memory_order_relaxed);
    if (task >= tasks)
      return;
    int64_t index = task % encoding->ranges, plane = task / encoding->ranges;
    int64_t b = plane / encoding->heads, head = plane % encoding->heads;
    sa_key_range range = job->range(job->context, b);
    int64_t start = (range.first / encoding->keys + index) * encoding->keys;
    void *planes[SA_MOST_STATES];
    for (int i = 0; i < SA_MOST_STATES; ++i)
      planes[i] = job->planes[i] + (size_t)plane * job->plane_bytes[i];
    sa_encode_keys(job->encoder, b, head, sa_max(start, range.first),
                   sa_min(start + encoding->keys, range.end), planes, scratch);
  }
}

void sa_encode_planes(const sa_encode_job *job, const sparse_attn_options *options,
                      int workers) {
  enum { kKeys = 256 }; /* of a task, at least */
  const sa_encoder *encoder = job->encoder;
  int64_t group = sa_encoding_block(encoder->code) * SA_STATE_LANES;
  encoding encoding = {
      .job = job,
      .heads = sa_encoding_heads(encoder->code, encoder->heads, encoder->kv_heads),
      .keys = group * sa_ceil_div(kKeys, group)};
  for (int64_t b = 0; b < job->batch; ++b) {
    sa_key_range range = job->range(job->context, b);
    if (range.first < range.end)
      encoding.ranges = sa_max(encoding.ranges, sa_ceil_div(range.end, encoding.keys) -
                                                    range.first / encoding.keys);
  }
  sa_parallel(options, workers, job->batch * encoding.heads * encoding.ranges, work,
              &encoding);
}

/*===--- A run ------------------------------------------------------------===*/

static sa_real value_type(const sparse_attn_plan *plan, int32_t id) {
  return id < plan->kernel->input_count ? sa_input_type(plan->kernel, id)
                                        : plan->values[id].type;
}

sa_encoder sa_run_encoder(const sa_run_state *state, const sa_plan_attention *attention,
                          int32_t index) {
  const sparse_attn_plan *plan = state->plan;
  const sa_plan_encoding *encoding = &plan->encodings[index];
  sa_encoder encoder = {.code = &plan->kernel->encodings[index],
                        .values = state->values,
                        .q = attention->code->q,
                        .type = value_type(plan, attention->code->k),
                        .heads = plan->shape.heads,
                        .kv_heads = plan->shape.kv_heads,
                        .directions = encoding->directions,
                        .project = attention->level->project};
  encoder.centers =
      (const double *)(state->base + state->workspace.centers + encoding->centers);
  if (!encoder.project)
    encoder.project = sa_project;
  return encoder;
}

const void *sa_run_plane(const sa_run_state *state, int32_t index, int32_t number,
                         int64_t b, int64_t h) {
  const sparse_attn_plan *plan = state->plan;
  const sparse_attn_shape *shape = &plan->shape;
  const sa_plan_encoding *encoding = &plan->encodings[index];
  int64_t heads =
      sa_encoding_heads(&plan->kernel->encodings[index], shape->heads, shape->kv_heads);
  size_t plane = (size_t)(b * heads + h * heads / shape->heads);
  const sparse_attn_states *states = sa_given_states(state->options);
  if (states)
    return states->encodings[index].planes[number] +
           plane * states->encodings[index].plane_bytes[number];
  return state->base + state->workspace.encoded + encoding->planes[number] +
         plane * encoding->plane_bytes[number];
}

void sa_run_match_hashes(const sa_run_state *state, int32_t index, int64_t b, int64_t h,
                         const void *query, int64_t min_matches, int64_t units,
                         uint64_t *bits) {
  const sparse_attn_shape *shape = &state->plan->shape;
  const sa_encoding *code = &state->plan->kernel->encodings[index];
  const sparse_attn_states *states = sa_given_states(state->options);
  const char *hashes = sa_run_plane(state, index, 0, b, h);
  int64_t done = 0;
  if (states && states->encodings[index].index) {
    const sa_kept_encoding *kept = &states->encodings[index];
    size_t plane = (size_t)(b * shape->kv_heads + h * shape->kv_heads / shape->heads);
    done = sa_match_index(code, query, kept->index + plane * kept->index_bytes,
                          states->shape.keys, min_matches, units, bits);
  }
  hashes += (size_t)sa_state_index(&code->states[0], done, 0) *
            sa_word_bytes(code->states[0].word);
  sa_match_hashes(code, query, hashes, min_matches, units - done, bits + done / 64);
}

static int64_t run_length(const void *context, int64_t b) {
  return sa_plan_entry(context, b).keys;
}
static sa_key_range run_range(const void *context, int64_t b) {
  return (sa_key_range){0, run_length(context, b)};
}

static void find_centers(const sa_run_state *state, const sa_encoder *encoder,
                         const sa_plan_encoding *encoding) {
  sa_lsh_job job = {
      .encoder = encoder,
      .batch = state->plan->shape.batch,
      .length = run_length,
      .context = encoding->attention,
      .centers = (double *)(state->base + state->workspace.centers + encoding->centers),
      .sums = (double *)(state->base + state->workspace.encoded + encoding->sums),
      .scratch = state->base + state->workspace.workers,
      .scratch_stride = state->workspace.worker_bytes};
  sa_lsh_find_centers(&job, state->options, state->workers);
}

static void encode_all(const sa_run_state *state, const sa_encoder *encoder,
                       const sa_plan_encoding *encoding) {
  sa_encode_job job = {.encoder = encoder,
                       .batch = state->plan->shape.batch,
                       .range = run_range,
                       .context = encoding->attention,
                       .scratch = state->base + state->workspace.workers,
                       .scratch_stride = state->workspace.worker_bytes};
  for (int i = 0; i < SA_MOST_STATES; ++i) {
    job.planes[i] = state->base + state->workspace.encoded + encoding->planes[i];
    job.plane_bytes[i] = encoding->plane_bytes[i];
  }
  sa_encode_planes(&job, state->options, state->workers);
}

sparse_attn_status sa_encode_run_keys(const sa_run_state *state,
                                      const sa_plan_attention *attention) {
  const sparse_attn_plan *plan = state->plan;
  for (int32_t i = 0; i < plan->kernel->encoding_count; ++i) {
    const sa_plan_encoding *encoding = &plan->encodings[i];
    if (encoding->attention != attention)
      continue;
    sa_encoder encoder = sa_run_encoder(state, attention, i);
    sparse_attn_status status = sa_check_weights(plan->kernel, &encoder);
    if (status)
      return status;
    if (encoder.code->kind == SA_ENCODE_LSH)
      find_centers(state, &encoder, encoding);
    if (!sa_given_states(state->options))
      encode_all(state, &encoder, encoding);
  }
  return SPARSE_ATTN_OK;
}
