/*===- states_extend.c - states grow and shrink with the keys --------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encoded.h"

#include <stdlib.h>

/*===--- Inputs -----------------------------------------------------------===*/

/* Whether states are made of the keys, or values, that input `id` holds. */
static bool holds_keys(const sparse_attn_states *states, int32_t id) {
  const sparse_attn_kernel *kernel = states->kernel;
  for (int32_t i = 0; i < kernel->encoding_count; ++i) {
    const sa_encoding *code = &kernel->encodings[i];
    if (code->state_count &&
        (id == code->k || (id == code->v && code->kind == SA_ENCODE_SOFT_HASH)))
      return true;
  }
  for (int32_t i = 0; i < states->pool_count; ++i)
    if (states->pools[i].step->inputs[0] == id)
      return true;
  return false;
}

/* Whether some encoding that makes states has input `id` among its weights. */
static bool is_weight(const sparse_attn_kernel *kernel, int32_t id) {
  for (int32_t i = 0; i < kernel->encoding_count; ++i) {
    const sa_encoding *code = &kernel->encodings[i];
    for (int32_t w = 0; code->state_count && w < code->input_count; ++w)
      if (code->inputs[w] == id)
        return true;
  }
  return false;
}

/* K and V hold as many keys as they do. */
static sparse_attn_status bind_input(sparse_attn_states *states, int32_t id,
                                     const DLTensor *tensor) {
  enum { kBatch = 1, kHeads = 2, kKeys = 5, kKeyAxis = 2 };
  const sa_tensor *spec = &states->kernel->inputs[id];
  sparse_attn_shape shape = states->shape;
  if (tensor && tensor->shape && tensor->ndim == spec->rank && spec->rank == 4 &&
      spec->axis[kKeyAxis] == kKeys)
    shape.keys = tensor->shape[kKeyAxis];
  return sa_bind_tensor(states->kernel, spec, false, tensor, kCPU, &shape,
                        &states->views[id]);
}

static sparse_attn_status bind_inputs(sparse_attn_states *states,
                                      const DLTensor *const *inputs, size_t count) {
  const sparse_attn_kernel *kernel = states->kernel;
  sparse_attn_status status = sa_check_input_count(kernel, 0, inputs, count);
  size_t next = 0;
  for (int32_t i = 0; !status && i < kernel->input_count; ++i) {
    if (kernel->inputs[i].layout)
      continue;
    if (holds_keys(states, i) || is_weight(kernel, i))
      status = bind_input(states, i, inputs[next]);
    ++next;
  }
  return status;
}

/*===--- Lengths ----------------------------------------------------------===*/

static sparse_attn_status check_length(const sparse_attn_states *states, int64_t b,
                                       int64_t length) {
  const sparse_attn_kernel *kernel = states->kernel;
  if (length < states->lengths[b])
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                   "kernel '%s': batch entry %lld has the states of %lld keys, and is to "
                   "have %lld; go back with sparse_attn_states_rollback",
                   kernel->name, (long long)b, (long long)states->lengths[b],
                   (long long)length);
  if (length > states->shape.keys)
    return sa_fail(
        SPARSE_ATTN_INVALID_ARGUMENT,
        "kernel '%s': batch entry %lld is to have the states of %lld keys, but "
        "was created for at most %lld",
        kernel->name, (long long)b, (long long)length, (long long)states->shape.keys);
  for (int32_t id = 0; id < kernel->input_count; ++id)
    if (holds_keys(states, id) && states->views[id].size[2] < length)
      return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                     "kernel '%s': '%s' has %lld keys, but states are to be made of %lld",
                     kernel->name, kernel->inputs[id].name,
                     (long long)states->views[id].size[2], (long long)length);
  return SPARSE_ATTN_OK;
}

sparse_attn_status sparse_attn_states_rollback(sparse_attn_states *states, int64_t b,
                                               int64_t length) {
  if (!states)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "states is null");
  const sparse_attn_kernel *kernel = states->kernel;
  if (b < 0 || b >= states->shape.batch)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                   "kernel '%s': b is %lld, expected 0 to %lld", kernel->name,
                   (long long)b, (long long)states->shape.batch - 1);
  if (length < 0 || length > states->lengths[b])
    return sa_fail(
        SPARSE_ATTN_INVALID_ARGUMENT,
        "kernel '%s': batch entry %lld has the states of %lld keys, and cannot "
        "go back to %lld",
        kernel->name, (long long)b, (long long)states->lengths[b], (long long)length);
  bool cuts = false;
  for (int32_t i = 0; i < kernel->encoding_count; ++i)
    cuts = cuts || length % sa_encoding_block(&kernel->encodings[i]) != 0;
  for (int32_t i = 0; i < states->pool_count; ++i)
    cuts = cuts || length % states->pools[i].step->block != 0;
  states->begun[b] = cuts && (states->begun[b] || length < states->lengths[b]);
  states->lengths[b] = length;
  return SPARSE_ATTN_OK;
}

/*===--- Extending --------------------------------------------------------===*/

/* What is made of one encoding or pool. */
typedef struct extension {
  const sparse_attn_states *states;
  const int64_t *lengths;
  int64_t block;
} extension;

static sa_key_range range_of(const void *context, int64_t b) {
  const extension *extension = context;
  const sparse_attn_states *states = extension->states;
  int64_t first = states->lengths[b];
  if (states->begun[b])
    first -= first % extension->block;
  return (sa_key_range){first, extension->lengths[b]};
}

static int64_t length_of(const void *context, int64_t b) {
  return ((const extension *)context)->lengths[b];
}

static sa_encoder make_encoder(const sparse_attn_states *states, int32_t index) {
  const sa_kept_encoding *kept = &states->encodings[index];
  const sa_encoding *code = &states->kernel->encodings[index];
  return (sa_encoder){.code = code,
                      .values = states->views,
                      .q = -1,
                      .type = sa_input_type(states->kernel, code->k),
                      .heads = states->shape.heads,
                      .kv_heads = states->shape.kv_heads,
                      .directions = kept->directions,
                      .centers = kept->centers,
                      .project = kept->project};
}

/* Room for the scratch of all workers. */
static bool reserve_scratch(sparse_attn_states *states, int workers, size_t *stride) {
  const sparse_attn_kernel *kernel = states->kernel;
  size_t bytes;
  *stride = 0;
  for (int32_t i = 0; i < kernel->encoding_count; ++i) {
    size_t own;
    if (!sa_align(sa_encoding_scratch_bytes(&kernel->encodings[i]), &own))
      return false;
    *stride = *stride > own ? *stride : own;
  }
  if (!sa_multiply(*stride, (size_t)workers, &bytes) ||
      !sa_add(bytes, SA_ALIGNMENT, &bytes))
    return false;
  if (states->scratch_bytes < bytes) {
    char *scratch = sa_allocate(1, bytes);
    if (!scratch)
      return false;
    free(states->scratch);
    states->scratch = scratch;
    states->scratch_bytes = bytes;
  }
  return true;
}

static void extend_encoding(sparse_attn_states *states, int32_t index,
                            const int64_t *lengths, const sparse_attn_options *options,
                            int workers, size_t stride) {
  const sa_kept_encoding *kept = &states->encodings[index];
  sa_encoder encoder = make_encoder(states, index);
  extension extension = {states, lengths, sa_encoding_block(encoder.code)};
  char *scratch =
      states->scratch +
      (SA_ALIGNMENT - (uintptr_t)states->scratch % SA_ALIGNMENT) % SA_ALIGNMENT;
  if (encoder.code->kind == SA_ENCODE_LSH) {
    sa_lsh_job centers = {.encoder = &encoder,
                          .batch = states->shape.batch,
                          .length = length_of,
                          .context = &extension,
                          .centers = kept->centers,
                          .scratch = scratch,
                          .scratch_stride = stride};
    sa_lsh_find_centers(&centers, options, workers);
  }
  sa_encode_job job = {.encoder = &encoder,
                       .batch = states->shape.batch,
                       .range = range_of,
                       .context = &extension,
                       .scratch = scratch,
                       .scratch_stride = stride};
  memcpy(job.planes, kept->planes, sizeof(job.planes));
  memcpy(job.plane_bytes, kept->plane_bytes, sizeof(job.plane_bytes));
  sa_encode_planes(&job, options, workers);
}

void sa_index_states(sparse_attn_states *states, const int64_t *first,
                     const int64_t *lengths, const sparse_attn_options *options,
                     int workers) {
  for (int32_t i = 0; i < states->kernel->encoding_count; ++i) {
    const sa_kept_encoding *kept = &states->encodings[i];
    sa_index_job job = {.code = &states->kernel->encodings[i],
                        .batch = states->shape.batch,
                        .heads = states->shape.kv_heads,
                        .capacity = states->shape.keys,
                        .first = first,
                        .end = lengths,
                        .hashes = kept->planes[0],
                        .hash_bytes = kept->plane_bytes[0],
                        .index = kept->index,
                        .index_bytes = kept->index_bytes};
    if (kept->index)
      sa_index_hashes(&job, options, workers);
  }
}

sparse_attn_status sparse_attn_states_extend(sparse_attn_states *states,
                                             const DLTensor *const *inputs,
                                             size_t input_count, const int64_t *lengths,
                                             const sparse_attn_options *options) {
  if (!states || (!lengths && states->shape.batch))
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "%s is null",
                   states ? "lengths" : "states");
  const sparse_attn_kernel *kernel = states->kernel;
  int workers;
  size_t stride;
  sparse_attn_status status = sa_worker_count(options, &workers);
  if (!status)
    status = bind_inputs(states, inputs, input_count);
  for (int64_t b = 0; !status && b < states->shape.batch; ++b)
    status = check_length(states, b, lengths[b]);
  for (int32_t i = 0; !status && i < kernel->encoding_count; ++i) {
    if (kernel->encodings[i].state_count == 0)
      continue;
    sa_encoder encoder = make_encoder(states, i);
    status = sa_check_weights(kernel, &encoder);
  }
  if (!status && !reserve_scratch(states, workers, &stride))
    status = sa_fail(SPARSE_ATTN_OUT_OF_MEMORY,
                     "kernel '%s': no memory to extend states with %d threads",
                     kernel->name, workers);
  if (status)
    return status;
  for (int32_t i = 0; i < kernel->encoding_count; ++i)
    if (kernel->encodings[i].state_count)
      extend_encoding(states, i, lengths, options, workers, stride);
  for (int32_t i = 0; i < states->pool_count; ++i) {
    const sa_kept_pool *pool = &states->pools[i];
    extension extension = {states, lengths, pool->step->block};
    sa_extend_pool(states, pool, range_of, &extension, options, workers);
  }
  sa_index_states(states, states->lengths, lengths, options, workers);
  for (int64_t b = 0; b < states->shape.batch; ++b) {
    states->lengths[b] = lengths[b];
    states->begun[b] = false;
  }
  return SPARSE_ATTN_OK;
}
