/*===- gpu_run.c - starts the kernels of a plan on a GPU -------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 *   workspace   temporaries | states of the shares that are combined
 *
 * Attentions run one after another in a stream, so that they share the states.
 *
 *===----------------------------------------------------------------------===*/

#include "gpu.h"

#include <string.h>

static const size_t kAlignment = 256;

/*===--- Workspace --------------------------------------------------------===*/

/* Bytes of the states of an attention's shares. */
static bool state_bytes(const sa_gpu_attention *gpu, size_t *bytes) {
  size_t row = ((size_t)gpu->code.value_dim + 2) * sizeof(float);
  return sa_multiply((size_t)gpu->slots, (size_t)gpu->kernel->tile_rows, bytes) &&
         sa_multiply(*bytes, row, bytes);
}

/* Lays out the workspace at `base`; fills the views of temporaries if `values` is not
 * NULL. `*states` is an offset. */
static bool lay_out(const sparse_attn_plan *plan, char *base, sa_view *values,
                    size_t *states, size_t *bytes) {
  size_t end = 0, most = 0;
  if (!sa_place_temporaries(plan, base, values, &end) ||
      !sa_add(end, kAlignment - 1, &end))
    return false;
  *states = end = end / kAlignment * kAlignment;
  for (int32_t i = 0; i < plan->attention_count; ++i) {
    size_t own;
    if (!state_bytes(&plan->gpu->attentions[i], &own))
      return false;
    most = own > most ? own : most;
  }
  return sa_add(end, most, bytes) && (!*bytes || sa_add(*bytes, kAlignment - 1, bytes));
}

sparse_attn_status sa_gpu_workspace_size(const sparse_attn_plan *plan, size_t *bytes) {
  size_t states;
  if (lay_out(plan, NULL, NULL, &states, bytes))
    return SPARSE_ATTN_OK;
  return sa_fail(SPARSE_ATTN_OVERFLOW,
                 "kernel '%s': the workspace does not fit the address space",
                 plan->kernel->name);
}

/*===--- Arguments --------------------------------------------------------===*/

typedef union arguments {
  sa_gpu_args args;
  char bytes[SA_GPU_ARGUMENT_BYTES];
} arguments;

/* Whether rows can be copied 16 bytes at a time. */
static bool is_aligned(const sa_view *view, size_t element_bytes) {
  uintptr_t all = (uintptr_t)view->data;
  for (int axis = 0; axis < 3; ++axis)
    all |= (uintptr_t)view->stride[axis] * element_bytes;
  return all % 16 == 0;
}

static int32_t find_aligned(const sparse_attn_plan *plan, const sa_attention *code,
                            const sa_view *values) {
  const struct {
    int32_t value, bit;
  } tensors[] = {{code->q, SA_GPU_ALIGNED_Q},
                 {code->k, SA_GPU_ALIGNED_K},
                 {code->v, SA_GPU_ALIGNED_V}};
  int32_t aligned = 0;
  for (int i = 0; i < 3; ++i) {
    int32_t value = tensors[i].value;
    if (is_aligned(&values[value], (size_t)plan->values[value].element_bytes))
      aligned |= tensors[i].bit;
  }
  return aligned;
}

static size_t fill_arguments(const sparse_attn_plan *plan,
                             const sa_plan_attention *attention,
                             const sa_gpu_attention *gpu, const sa_view *values,
                             char *states, arguments *room) {
  const sparse_attn_shape *shape = &plan->shape;
  char *memory = plan->gpu->memory;
  size_t views = (size_t)plan->kernel->value_count * sizeof(*values);
  room->args = (sa_gpu_args){.entries = (const sa_gpu_entry *)(memory + gpu->entries),
                             .runs = (const sa_run *)(memory + gpu->runs),
                             .bits = (const uint8_t *)memory + gpu->bits,
                             .states = (float *)states,
                             .heads = (int32_t)shape->heads,
                             .group = (int32_t)(shape->heads / shape->kv_heads),
                             .stack = (int32_t)gpu->stack,
                             .step = attention->step,
                             .class_tiles = (int32_t)attention->class_key_tiles,
                             .aligned = find_aligned(plan, &gpu->code, values),
                             .bit_rows = gpu->code.tile_rows};
  memcpy(room->bytes + offsetof(sa_gpu_args, values), values, views);
  return offsetof(sa_gpu_args, values) + views;
}

/*===--- Launches ---------------------------------------------------------===*/

static sparse_attn_status launch(const sparse_attn_plan *plan, void *function,
                                 sa_gpu_items items, int32_t threads,
                                 int32_t shared_bytes, void *stream, arguments *room,
                                 size_t argument_bytes) {
  const sa_gpu_device *device = &plan->gpu->device;
  if (items.count == 0)
    return SPARSE_ATTN_OK;
  room->args.items = (const sa_gpu_item *)(plan->gpu->memory + items.at);
  sparse_attn_gpu_launch request = {.function = function,
                                    .blocks = items.count,
                                    .threads = threads,
                                    .shared_bytes = shared_bytes,
                                    .stream = stream,
                                    .arguments = room,
                                    .argument_bytes = argument_bytes};
  return sa_gpu_check(
      plan->kernel, device,
      device->driver->launch(device->driver->context, device->number, &request));
}

static sparse_attn_status run_attention(const sparse_attn_plan *plan,
                                        const sa_plan_attention *attention,
                                        const sa_gpu_attention *gpu,
                                        const sa_view *values, char *states,
                                        void *stream) {
  arguments room;
  size_t bytes = fill_arguments(plan, attention, gpu, values, states, &room);
  const sa_gpu_kernel *kernel = gpu->kernel;
  sparse_attn_status status = launch(plan, gpu->attend, gpu->items, kernel->threads,
                                     kernel->shared_bytes, stream, &room, bytes);
  if (!status)
    status = launch(plan, gpu->combine, gpu->combined, kernel->threads, 0, stream, &room,
                    bytes);
  return status;
}

void sa_gpu_place_values(const sparse_attn_plan *plan, char *workspace, sa_view *values) {
  size_t states, bytes;
  lay_out(plan, workspace, values, &states, &bytes); /* was checked for the size */
}

char *sa_gpu_align(char *workspace) {
  size_t gap = (kAlignment - (uintptr_t)workspace % kAlignment) % kAlignment;
  return workspace ? workspace + gap : NULL;
}

sparse_attn_status sa_gpu_run(const sparse_attn_plan *plan, const sa_view *values,
                              char *workspace, void *stream) {
  size_t states, bytes;
  lay_out(plan, workspace, NULL, &states, &bytes);
  for (int32_t i = 0; i < plan->attention_count; ++i) {
    const sa_plan_attention *attention = &plan->attentions[i];
    if (!sa_is_attention_needed(plan, attention))
      continue;
    sparse_attn_status status = run_attention(plan, attention, &plan->gpu->attentions[i],
                                              values, workspace + states, stream);
    if (status)
      return status;
  }
  return SPARSE_ATTN_OK;
}
