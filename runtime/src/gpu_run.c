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

#include "encoded.h"
#include "gpu.h"

#include <string.h>

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
  if (!sa_place_temporaries(plan, NULL, base, values, &end) ||
      !sa_add(end, SA_GPU_ALIGNMENT - 1, &end))
    return false;
  *states = end = end / SA_GPU_ALIGNMENT * SA_GPU_ALIGNMENT;
  for (int32_t i = 0; i < plan->attention_count; ++i) {
    size_t own;
    if (!state_bytes(&plan->gpu->attentions[i], &own))
      return false;
    most = own > most ? own : most;
  }
  return sa_add(end, most, bytes) &&
         (!*bytes || sa_add(*bytes, SA_GPU_ALIGNMENT - 1, bytes));
}

sparse_attn_status sa_gpu_workspace_size(const sparse_attn_plan *plan, size_t *bytes) {
  size_t states;
  if (lay_out(plan, NULL, NULL, &states, bytes))
    return SPARSE_ATTN_OK;
  return sa_fail(SPARSE_ATTN_OVERFLOW,
                 "kernel '%s': the workspace does not fit the address space",
                 plan->kernel->name);
}

/*===--- Launches ---------------------------------------------------------===*/

/* A run in progress. */
typedef struct running {
  const sparse_attn_plan *plan;
  const sa_view *values;
  char *states; /* of the device */
  void *stream;
} running;

/* Whether rows can be copied 16 bytes at a time. */
static bool is_aligned(const sa_view *view, size_t element_bytes) {
  uintptr_t all = (uintptr_t)view->data;
  for (int axis = 0; axis < 3; ++axis)
    all |= (uintptr_t)view->stride[axis] * element_bytes;
  return all % 16 == 0;
}

static int32_t find_aligned(const running *run, const sa_attention *code) {
  const struct {
    int32_t value, bit;
  } tensors[] = {{code->q, SA_GPU_ALIGNED_Q},
                 {code->k, SA_GPU_ALIGNED_K},
                 {code->v, SA_GPU_ALIGNED_V}};
  int32_t aligned = 0;
  for (int i = 0; i < 3; ++i) {
    int32_t value = tensors[i].value;
    if (is_aligned(&run->values[value], (size_t)run->plan->values[value].element_bytes))
      aligned |= tensors[i].bit;
  }
  return aligned;
}

/* The parameters of a kernel: sa_gpu_args, and maps where it has them. */
typedef struct parameters {
  bool has_maps;
  sparse_attn_gpu_map maps[2]; /* of K and V */
  sa_gpu_arguments arguments;
} parameters;

sparse_attn_status sa_gpu_launch(const sparse_attn_plan *plan, const sa_view *values,
                                 sa_gpu_arguments *arguments, sparse_attn_gpu_map *maps,
                                 sparse_attn_gpu_launch request) {
  const sa_gpu_device *device = &plan->gpu->device;
  if (request.blocks == 0)
    return SPARSE_ATTN_OK;
  memcpy(arguments->bytes + offsetof(sa_gpu_args, values), values,
         (size_t)plan->kernel->value_count * sizeof(*values));
  void *pointers[] = {arguments, maps, maps ? maps + 1 : NULL};
  request.parameters = pointers;
  request.parameter_count = maps ? 3 : 1;
  return sa_gpu_check(
      plan->kernel, device,
      device->driver->launch(device->driver->context, device->number, &request));
}

/* Starts `blocks` blocks of a kernel; the values are not among its parameters yet. */
static sparse_attn_status launch(const running *run, void *function, int64_t blocks,
                                 int32_t threads, int32_t shared_bytes, parameters *own) {
  sparse_attn_gpu_launch request = {.function = function,
                                    .blocks = blocks,
                                    .threads = threads,
                                    .shared_bytes = shared_bytes,
                                    .stream = run->stream};
  return sa_gpu_launch(run->plan, run->values, &own->arguments,
                       own->has_maps ? own->maps : NULL, request);
}

/* Whether a map can describe the tensor: it has elements, and its strides are positive.
 */
static bool can_be_mapped(const sa_view *view) {
  for (int axis = 0; axis < 4; ++axis)
    if (view->size[axis] == 0 || (view->size[axis] > 1 && view->stride[axis] <= 0))
      return false;
  return true;
}

/* Makes the maps of K and V where that is possible; else the kernel copies rows. */
static sparse_attn_status make_maps(const running *run, const sa_attention *code,
                                    const sa_gpu_kernel *kernel, parameters *own) {
  const sa_gpu_device *device = &run->plan->gpu->device;
  const sa_view *views[] = {&run->values[code->k], &run->values[code->v]};
  const int32_t both = SA_GPU_ALIGNED_K | SA_GPU_ALIGNED_V;
  int32_t *aligned = &own->arguments.args.aligned;
  own->has_maps = kernel->has_maps;
  if (!kernel->has_maps || (*aligned & both) != both || !can_be_mapped(views[0]) ||
      !can_be_mapped(views[1]))
    return SPARSE_ATTN_OK;
  bool is_bf16 = run->plan->kernel->inputs[code->k].type_code == kDLBfloat;
  for (int i = 0; i < 2; ++i) {
    sparse_attn_gpu_tensor tensor =
        sparse_attn_gpu_describe(views[i], is_bf16, kernel->tile_keys);
    const char *error = device->driver->map(device->driver->context, device->number,
                                            &tensor, &own->maps[i]);
    if (error)
      return sa_gpu_check(run->plan->kernel, device, error);
  }
  *aligned |= SA_GPU_MAPPED;
  return SPARSE_ATTN_OK;
}

static sparse_attn_status launch_items(const running *run, void *function,
                                       sa_gpu_items items, int64_t blocks,
                                       int32_t threads, int32_t shared_bytes,
                                       parameters *own) {
  own->arguments.args.items = (const sa_gpu_item *)(run->plan->gpu->memory + items.at);
  own->arguments.args.item_count = (int32_t)items.count;
  return launch(run, function, sa_min(blocks, items.count), threads, shared_bytes, own);
}

static sparse_attn_status run_attention(const running *run,
                                        const sa_plan_attention *attention,
                                        const sa_gpu_attention *gpu,
                                        const sa_gpu_step *step) {
  const sparse_attn_shape *shape = &run->plan->shape;
  const sa_gpu_kernel *kernel = step->kernel;
  char *memory = run->plan->gpu->memory, *lists = gpu->listed ? gpu->listed : memory;
  parameters own = {.has_maps = false};
  own.arguments.args = (sa_gpu_args){
      .entries = (const sa_gpu_entry *)(memory + gpu->entries),
      .runs = (const sa_run *)(lists + gpu->runs),
      .bits = (const uint8_t *)lists + gpu->bits,
      .hop_index = (const int32_t *)(memory + gpu->hop_index),
      .hops = (const uint16_t *)(memory + gpu->hops),
      .states = (float *)run->states,
      .heads = (int32_t)shape->heads,
      .group = (int32_t)(shape->heads / shape->kv_heads),
      .stack = (int32_t)gpu->stack,
      .step = attention->step,
      .class_tiles = (int32_t)attention->class_key_tiles,
      .aligned = find_aligned(run, &gpu->code),
      .bit_rows = gpu->code.tile_rows,
      .tables = (const sa_gpu_reach *const *)(memory + gpu->table_pointers)};
  sparse_attn_status status = make_maps(run, &gpu->code, kernel, &own);
  /* A kernel with maps goes on with further items by itself. */
  int64_t blocks =
      kernel->has_maps ? sa_gpu_resident_blocks(run->plan, kernel) : gpu->items.count;
  if (!status)
    status = launch_items(run, step->run, gpu->items, blocks, kernel->threads,
                          kernel->shared_bytes, &own);
  own.has_maps = false;
  if (!status)
    status = launch_items(run, step->combine, gpu->combined, gpu->combined.count,
                          kernel->threads, 0, &own);
  return status;
}

static sparse_attn_status run_merge(const running *run, const sa_gpu_step *step) {
  const sparse_attn_shape *shape = &run->plan->shape;
  int64_t rows = shape->batch * shape->heads * shape->queries;
  parameters own = {.has_maps = false};
  return launch(run, step->run, sa_ceil_div(rows, step->kernel->tile_rows),
                step->kernel->threads, 0, &own);
}

/* Nothing is made where no attention reads it, that is, none of those that are needed. */
static sparse_attn_status run_pool(const running *run, const sa_step *step,
                                   const sa_gpu_step *gpu) {
  const sparse_attn_plan *plan = run->plan;
  const sa_view *means = &run->values[step->first_result];
  const sa_gpu_attention *reader = NULL;
  for (int32_t i = 0; i < plan->attention_count; ++i) {
    const sa_attention *code = plan->attentions[i].code;
    if ((code->k == step->first_result || code->v == step->first_result) &&
        sa_is_attention_needed(plan, &plan->attentions[i]))
      reader = &plan->gpu->attentions[i];
  }
  if (!reader)
    return SPARSE_ATTN_OK;
  parameters own = {.has_maps = false};
  own.arguments.args.entries =
      (const sa_gpu_entry *)(plan->gpu->memory + reader->entries);
  return launch(run, gpu->run,
                sa_ceil_div((int64_t)sa_view_elements(means), gpu->kernel->threads),
                gpu->kernel->threads, 0, &own);
}

/*===--- Runs -------------------------------------------------------------===*/

char *sa_gpu_open_workspace(const sparse_attn_plan *plan, char *workspace,
                            sa_view *values) {
  size_t gap = (0 - (size_t)workspace) % SA_GPU_ALIGNMENT, states, bytes;
  char *base = workspace ? workspace + gap : NULL;
  lay_out(plan, base, values, &states, &bytes); /* was checked for the size */
  return base ? base + states : NULL;
}

sparse_attn_status sa_gpu_run(const sparse_attn_plan *plan, const sa_view *values,
                              char *states, void *stream) {
  running run = {plan, values, states, stream};
  int32_t attention = 0;
  sparse_attn_status status = SPARSE_ATTN_OK;
  for (int32_t i = 0; !status && i < plan->kernel->step_count; ++i) {
    const sa_step *step = &plan->kernel->steps[i];
    bool needed = sa_is_needed(plan, step);
    int32_t number = attention;
    attention += step->kind == SA_STEP_ATTENTION;
    if (!needed)
      continue;
    const sa_gpu_step *gpu = &plan->gpu->steps[i];
    if (step->kind == SA_STEP_MERGE)
      status = run_merge(&run, gpu);
    else if (step->kind == SA_STEP_POOL)
      status = run_pool(&run, step, gpu);
    else
      status = run_attention(&run, &plan->attentions[number],
                             &plan->gpu->attentions[number], gpu);
  }
  return status;
}
