/*===- states.c - states beside the keys of a caller ----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#ifdef __linux__
#define _DEFAULT_SOURCE /* madvise */
#include <sys/mman.h>
#endif

#include "encoded.h"

#include <stdlib.h>

/*===--- Creation ---------------------------------------------------------===*/

/* Whether states can be kept at all: what a key becomes must not change when others
 * follow, but for those of its block. */
static sparse_attn_status check_encoding(const sparse_attn_kernel *kernel,
                                         const sa_encoding *code) {
  if (code->k >= kernel->input_count || code->v >= kernel->input_count)
    return sa_fail(
        SPARSE_ATTN_INVALID_ARGUMENT,
        "kernel '%s': scores of pooled keys cannot be kept, since the last one "
        "changes with every token; run without states",
        kernel->name);
  if (code->kind != SA_ENCODE_LSH || !sa_lsh_reads_all_keys(code))
    return SPARSE_ATTN_OK;
  return sa_fail(
      SPARSE_ATTN_INVALID_ARGUMENT,
      "kernel '%s': its hashes depend on the mean or the largest norm of all "
      "keys, which change with every key; compile sample.lsh with a `mean` "
      "operand (or center = none) and normalize = cosine, or run without states",
      kernel->name);
}

static sparse_attn_status check_kernel(const sparse_attn_kernel *kernel) {
  sparse_attn_status status = sa_check_kept(kernel);
  int32_t states = status ? 0 : sa_count_kept_pools(kernel);
  for (int32_t i = 0; !status && i < kernel->encoding_count; ++i) {
    if (kernel->encodings[i].state_count)
      status = check_encoding(kernel, &kernel->encodings[i]);
    states += kernel->encodings[i].state_count;
  }
  if (!status && !states)
    status = sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                     "kernel '%s' keeps nothing beside K; run it without states",
                     kernel->name);
  return status;
}

/* The level that a run takes for the keys of an encoding. */
static sparse_attn_status find_project(const sparse_attn_kernel *kernel, int32_t index,
                                       sa_project_fn *project) {
  *project = sa_project;
  for (int32_t i = 0; i < kernel->step_count; ++i) {
    const sa_attention *code = kernel->steps[i].attention;
    bool reads = false;
    if (kernel->steps[i].kind != SA_STEP_ATTENTION)
      continue;
    for (int32_t s = 0; s < code->score_count; ++s)
      reads = reads || code->scores[s].encoding == index;
    for (int32_t s = 0; s < code->set_count; ++s)
      reads = reads || code->sets[s].encoding == index;
    if (!reads)
      continue;
    const sa_level *level;
    sparse_attn_status status = sa_select_level(kernel, code, &level);
    if (!status && level->project)
      *project = level->project;
    return status;
  }
  return SPARSE_ATTN_OK;
}

/* Bytes of an encoding's planes, which begin `*end` bytes into the memory. */
static bool place_planes(const sparse_attn_states *states, int32_t index, size_t *end,
                         size_t *offsets) {
  enum { kIndex = SA_MOST_STATES };
  const sa_encoding *code = &states->kernel->encodings[index];
  sa_kept_encoding *kept = &states->encodings[index];
  const sparse_attn_shape *shape = &states->shape;
  size_t planes =
      (size_t)(shape->batch * sa_encoding_heads(code, shape->heads, shape->kv_heads));
  for (int32_t i = 0; i < code->state_count; ++i) {
    size_t bytes;
    offsets[i] = *end;
    if (!sa_state_plane_bytes(&code->states[i], shape->keys, &kept->plane_bytes[i]) ||
        !sa_multiply(planes, kept->plane_bytes[i], &bytes) || !sa_add(*end, bytes, end))
      return false;
  }
  size_t bytes;
  offsets[kIndex] = *end;
  return sa_index_bytes(code, shape->keys, &kept->index_bytes) &&
         sa_multiply(planes, kept->index_bytes, &bytes) && sa_add(*end, bytes, end);
}

/* Zeros, in large pages where the system has them: where a run reads a few lines of each
 * small one, it looks up as many addresses as lines. */
static void *allocate_large(size_t bytes) {
  char *memory = sa_allocate_zeroed(bytes, 1);
#ifdef MADV_HUGEPAGE
  const uintptr_t page = UINT64_C(1) << 21;
  uintptr_t begin = ((uintptr_t)memory + page - 1) / page * page;
  uintptr_t end = ((uintptr_t)memory + bytes) / page * page;
  if (memory && begin < end)
    (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE); /* a hint */
#endif
  return memory;
}

static bool allocate_planes(sparse_attn_states *states, bool *overflow) {
  const sparse_attn_kernel *kernel = states->kernel;
  size_t offsets[SA_MOST_STATES + 1], bytes = 0;
  *overflow = true;
  for (int32_t i = 0; i < kernel->encoding_count; ++i)
    if (!place_planes(states, i, &bytes, offsets))
      return false;
  for (int32_t i = 0; i < states->pool_count; ++i)
    if (!sa_place_kept_pool(states, &states->pools[i], NULL, &bytes))
      return false;
  *overflow = false;
  states->bytes = bytes;
  states->memory = allocate_large(bytes + SA_ALIGNMENT);
  if (!states->memory)
    return false;
  char *base = states->memory +
               (SA_ALIGNMENT - (uintptr_t)states->memory % SA_ALIGNMENT) % SA_ALIGNMENT;
  bytes = 0;
  for (int32_t i = 0; i < kernel->encoding_count; ++i) {
    place_planes(states, i, &bytes, offsets);
    for (int32_t s = 0; s < kernel->encodings[i].state_count; ++s)
      states->encodings[i].planes[s] = base + offsets[s];
    if (states->encodings[i].index_bytes)
      states->encodings[i].index = base + offsets[SA_MOST_STATES];
  }
  for (int32_t i = 0; i < states->pool_count; ++i)
    sa_place_kept_pool(states, &states->pools[i], base, &bytes);
  return true;
}

static bool allocate_centers(const sparse_attn_states *states, int32_t index) {
  const sa_encoding *code = &states->kernel->encodings[index];
  sa_kept_encoding *kept = &states->encodings[index];
  size_t planes = (size_t)(states->shape.batch * states->shape.kv_heads);
  if (!sa_encoding_directions(code, &kept->directions))
    return false;
  if (code->kind == SA_ENCODE_LSH)
    kept->centers =
        sa_allocate(planes, (size_t)sa_lsh_center_size(code) * sizeof(double));
  return code->kind != SA_ENCODE_LSH || kept->centers;
}

static sparse_attn_status allocate(sparse_attn_states *states) {
  const sparse_attn_kernel *kernel = states->kernel;
  size_t batch = (size_t)states->shape.batch;
  states->encodings =
      sa_allocate_zeroed((size_t)kernel->encoding_count, sizeof(*states->encodings));
  states->pool_count = sa_count_kept_pools(kernel);
  states->pools = sa_allocate_zeroed((size_t)states->pool_count, sizeof(*states->pools));
  states->lengths = sa_allocate_zeroed(batch, sizeof(*states->lengths));
  states->begun = sa_allocate_zeroed(batch, sizeof(*states->begun));
  states->views = sa_allocate_zeroed((size_t)kernel->value_count, sizeof(sa_view));
  bool overflow = false;
  bool done = states->encodings && states->pools && states->lengths && states->begun &&
              states->views;
  if (done)
    sa_describe_kept_pools(states);
  done = done && allocate_planes(states, &overflow);
  for (int32_t i = 0; done && i < kernel->encoding_count; ++i)
    done = allocate_centers(states, i);
  if (done)
    return SPARSE_ATTN_OK;
  return sa_fail(overflow ? SPARSE_ATTN_OVERFLOW : SPARSE_ATTN_OUT_OF_MEMORY,
                 "kernel '%s': no memory for the states of B = %lld, N = %lld keys",
                 kernel->name, (long long)states->shape.batch,
                 (long long)states->shape.keys);
}

sparse_attn_status sparse_attn_states_create(const sparse_attn_kernel *kernel,
                                             const sparse_attn_shape *shape,
                                             sparse_attn_states **result) {
  if (!result)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "states is null");
  *result = NULL;
  if (!kernel || !shape)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "%s is null",
                   kernel ? "shape" : "kernel");
  sparse_attn_shape own = *shape;
  own.queries = 0;
  sparse_attn_status status = sa_check_shape(kernel, &own);
  if (!status)
    status = check_kernel(kernel);
  if (status)
    return status;
  sparse_attn_states *states = sa_allocate_zeroed(1, sizeof(*states));
  if (!states)
    return sa_fail(SPARSE_ATTN_OUT_OF_MEMORY, "kernel '%s': no memory for states",
                   kernel->name);
  states->kernel = kernel;
  states->shape = own;
  states->print = sa_fingerprint(kernel);
  status = allocate(states);
  for (int32_t i = 0; !status && i < kernel->encoding_count; ++i)
    status = find_project(kernel, i, &states->encodings[i].project);
  if (status) {
    sparse_attn_states_destroy(states);
    return status;
  }
  *result = states;
  return SPARSE_ATTN_OK;
}

void sparse_attn_states_destroy(sparse_attn_states *states) {
  if (!states)
    return;
  for (int32_t i = 0; states->encodings && i < states->kernel->encoding_count; ++i) {
    sa_release_directions(states->encodings[i].directions);
    free(states->encodings[i].centers);
  }
  free(states->encodings);
  free(states->pools);
  free(states->memory);
  free(states->lengths);
  free(states->begun);
  free(states->views);
  free(states->scratch);
  free(states);
}

/*===--- Sizes ------------------------------------------------------------===*/

size_t sparse_attn_states_bytes(const sparse_attn_states *states) {
  if (!states)
    return 0;
  size_t bytes = sizeof(*states) + states->bytes + states->scratch_bytes +
                 (size_t)states->pool_count * sizeof(*states->pools);
  const sparse_attn_kernel *kernel = states->kernel;
  for (int32_t i = 0; i < kernel->encoding_count; ++i)
    bytes += sizeof(*states->encodings) + sa_directions_bytes(&kernel->encodings[i]);
  return bytes;
}

double sparse_attn_states_bytes_per_key(const sparse_attn_states *states) {
  double bytes = 0;
  for (int32_t i = 0; states && i < states->kernel->encoding_count; ++i) {
    const sa_encoding *code = &states->kernel->encodings[i];
    int64_t heads = sa_encoding_heads(code, states->shape.heads, states->shape.kv_heads);
    for (int32_t s = 0; s < code->state_count; ++s)
      bytes += (double)(heads * code->states[s].width) *
               (double)sa_word_bytes(code->states[s].word) / code->states[s].block;
    bytes += (double)heads * (double)states->encodings[i].index_bytes /
             (double)sa_max(states->shape.keys, 1);
  }
  for (int32_t i = 0; states && i < states->pool_count; ++i)
    bytes += sa_kept_pool_bytes_per_key(states, &states->pools[i]);
  return bytes;
}

int64_t sparse_attn_states_length(const sparse_attn_states *states, int64_t b) {
  return states && b >= 0 && b < states->shape.batch ? states->lengths[b] : 0;
}

/*===--- Runs -------------------------------------------------------------===*/

static sparse_attn_status check_entry(const sparse_attn_states *states,
                                      const sparse_attn_plan *plan,
                                      const sa_plan_attention *attention, int64_t b) {
  int64_t keys = sa_plan_entry(attention, b).tokens, length = states->lengths[b];
  if (keys == length && !states->begun[b])
    return SPARSE_ATTN_OK;
  return sa_fail(
      SPARSE_ATTN_INVALID_ARGUMENT,
      "kernel '%s': batch entry %lld has %lld keys, and its states have %lld%s; "
      "bring them there with sparse_attn_states_extend",
      plan->kernel->name, (long long)b, (long long)keys, (long long)length,
      states->begun[b] ? " of a block that was rolled back" : "");
}

static bool reads_states(const sparse_attn_plan *plan, const sparse_attn_options *options,
                         const sa_plan_attention *attention) {
  if (!sa_is_attention_needed(plan, attention))
    return false;
  bool reads = sa_is_given(plan, options, attention->code->k) ||
               sa_is_given(plan, options, attention->code->v);
  for (int32_t i = 0; i < plan->kernel->encoding_count; ++i)
    reads = reads || (plan->encodings[i].attention == attention &&
                      plan->kernel->encodings[i].state_count);
  return reads;
}

sparse_attn_status sa_check_run_states(const sparse_attn_plan *plan,
                                       const sparse_attn_options *options) {
  const sparse_attn_states *states = sa_given_states(options);
  const sparse_attn_shape *shape = &plan->shape;
  if (!states)
    return SPARSE_ATTN_OK;
  if (plan->gpu)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                   "kernel '%s': states are read by runs on the processor alone",
                   plan->kernel->name);
  if (states->print != plan->encodings_print)
    return sa_fail(
        SPARSE_ATTN_INVALID_ARGUMENT,
        "kernel '%s' has other scores or pools than kernel '%s', of which the states are",
        plan->kernel->name, states->kernel->name);
  if (states->shape.batch != shape->batch || states->shape.heads != shape->heads ||
      states->shape.kv_heads != shape->kv_heads)
    return sa_fail(
        SPARSE_ATTN_INVALID_ARGUMENT,
        "kernel '%s': the states are of B = %lld, H = %lld, Hkv = %lld, and the "
        "plan of %lld, %lld, %lld",
        plan->kernel->name, (long long)states->shape.batch,
        (long long)states->shape.heads, (long long)states->shape.kv_heads,
        (long long)shape->batch, (long long)shape->heads, (long long)shape->kv_heads);
  sparse_attn_status status = SPARSE_ATTN_OK;
  for (int32_t i = 0; !status && i < plan->attention_count; ++i) {
    bool reads = reads_states(plan, options, &plan->attentions[i]);
    for (int64_t b = 0; reads && !status && b < shape->batch; ++b)
      status = check_entry(states, plan, &plan->attentions[i], b);
  }
  return status;
}
