/*===- gpu_plan.c - a plan whose kernels run on a GPU ---------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*===--- Choosing kernels -------------------------------------------------===*/

static sparse_attn_status open_device(const sparse_attn_plan *plan,
                                      const sparse_attn_options *options) {
  sa_gpu_device *device = &plan->gpu->device;
  const char *name = plan->kernel->name;
  if (options->device.device_type != kDLCUDA)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                   "kernel '%s': a plan for DLPack device type %d was asked for; there "
                   "are the CPU (%d) and CUDA (%d)",
                   name, (int)options->device.device_type, (int)kDLCPU, (int)kDLCUDA);
  device->driver = options->driver ? options->driver : sparse_attn_cuda_driver();
  device->number = options->device.device_id;
  const char *error =
      device->driver->open(device->driver->context, device->number, &device->facts);
  if (error)
    return sa_fail(SPARSE_ATTN_NO_GPU, "kernel '%s': %s", name, error);
  plan->gpu->open = true;
  return SPARSE_ATTN_OK;
}

static bool runs_on(const sa_gpu_module *module, const sparse_attn_gpu_facts *facts) {
  return module->exact ? facts->capability == module->capability
                       : facts->capability >= module->capability;
}

/* The newest kernel that the device can run. */
static sparse_attn_status choose_kernel(const sparse_attn_plan *plan, const sa_step *step,
                                        const sa_gpu_kernel **chosen) {
  const sa_gpu_device *device = &plan->gpu->device;
  char names[128] = "";
  size_t used = 0;
  *chosen = NULL;
  for (int32_t i = 0; i < step->gpu_count; ++i) {
    const sa_gpu_kernel *kernel = &step->gpus[i];
    if (used < sizeof(names))
      used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", i ? ", " : "",
                               kernel->module->target);
    if (runs_on(kernel->module, &device->facts) &&
        kernel->shared_bytes <= device->facts.shared_bytes)
      *chosen = kernel;
  }
  if (*chosen)
    return SPARSE_ATTN_OK;
  if (step->gpu_count == 0)
    return sa_fail(SPARSE_ATTN_NO_GPU,
                   "kernel '%s': the library has no GPU kernels; compile it with "
                   "--target=cpu,sm_80",
                   plan->kernel->name);
  return sa_fail(SPARSE_ATTN_NO_GPU,
                 "kernel '%s': the library has kernels for %s; none runs on %s device "
                 "%d, which is of capability %d.%d (%s)",
                 plan->kernel->name, names, device->driver->name, device->number,
                 device->facts.capability / 10, device->facts.capability % 10,
                 device->facts.name);
}

int64_t sa_gpu_resident_blocks(const sparse_attn_plan *plan,
                               const sa_gpu_kernel *kernel) {
  /* More are there for small tiles, but registers are scarce, too. */
  enum { kMost = 2 };
  const sparse_attn_gpu_facts *facts = &plan->gpu->device.facts;
  int64_t fit = facts->shared_bytes / sa_max(1, kernel->shared_bytes);
  return facts->multiprocessors * sa_max(1, sa_min(kMost, fit));
}

static int64_t common_divisor(int64_t a, int64_t b) {
  return b ? common_divisor(b, a % b) : a;
}

/* Rows that share their lists, all of them: a tile has no others. */
static int64_t count_listed_together(const sparse_attn_shape *shape,
                                     const sa_attention *code) {
  int64_t rows = 0;
  for (int32_t i = 0; i < code->set_count; ++i)
    if (code->sets[i].kind == SA_SET_LIST && code->sets[i].block_q < shape->queries)
      rows = common_divisor(code->sets[i].block_q, rows);
  return rows == 0 ? shape->queries : rows;
}

/* The largest divisor of `count` up to `most`: parts that do not cross its end. */
static int64_t largest_divisor(int64_t count, int64_t most) {
  int64_t divisor = sa_max(1, sa_min(count, most));
  while (count % divisor)
    --divisor;
  return divisor;
}

/* Heads of a group that share a tile: all rows of as many as fit, in equal stacks. */
static int64_t choose_stack(const sparse_attn_shape *shape, const sa_attention *code,
                            int64_t tile_rows) {
  int64_t rows = count_listed_together(shape, code);
  if (code->per_head || shape->kv_heads == 0 || rows == 0)
    return 1;
  return largest_divisor(shape->heads / shape->kv_heads, tile_rows / rows);
}

/* Rows of a head in a tile. */
static int64_t choose_rows(const sparse_attn_shape *shape, const sa_attention *code,
                           int64_t most) {
  int64_t rows = count_listed_together(shape, code);
  return rows < shape->queries ? largest_divisor(rows, most) : most;
}

static sparse_attn_status load_step(const sparse_attn_plan *plan, const sa_step *step,
                                    sa_gpu_step *gpu) {
  const sa_gpu_device *device = &plan->gpu->device;
  sparse_attn_status status = choose_kernel(plan, step, &gpu->kernel);
  if (!status)
    status = sa_gpu_load(plan->kernel, device, gpu->kernel->module, &gpu->loaded);
  if (!status)
    status = sa_gpu_find(plan->kernel, device, gpu->loaded, gpu->kernel->run,
                         gpu->kernel->shared_bytes, &gpu->run);
  if (!status && gpu->kernel->combine)
    status = sa_gpu_find(plan->kernel, device, gpu->loaded, gpu->kernel->combine, 0,
                         &gpu->combine);
  return status;
}

/* Gives an attention the tiles of its GPU kernel. */
static void adopt(const sparse_attn_plan *plan, sa_plan_attention *attention,
                  const sa_gpu_kernel *kernel, sa_gpu_attention *gpu) {
  gpu->kernel = kernel;
  gpu->stack = choose_stack(&plan->shape, attention->code, kernel->tile_rows);
  gpu->code = *attention->code;
  gpu->code.tile_rows =
      (int32_t)choose_rows(&plan->shape, attention->code, kernel->tile_rows / gpu->stack);
  gpu->code.tile_keys = kernel->tile_keys;
  /* Distances have a form of their own: gpu_hops.c. */
  gpu->hop_table = attention->code->hop_table;
  gpu->code.hop_table = -1;
  if (!kernel->finds_tiles)
    gpu->code.binding = SA_BINDING_PLAN;
  /* The host's fill is for tiles of its own size: pairs are bisected. */
  gpu->level = (sa_level){.stack_rows = gpu->code.tile_rows};
  attention->code = &gpu->code;
  attention->level = &gpu->level;
  sa_set_step(attention, &plan->shape, 1);
}

static sparse_attn_status load_steps(sparse_attn_plan *plan) {
  const sparse_attn_kernel *kernel = plan->kernel;
  int32_t attention = 0;
  if (kernel->value_count > SA_GPU_MOST_VALUES)
    return sa_fail(SPARSE_ATTN_NO_GPU,
                   "kernel '%s' has %d tensors; on a GPU it can have %d at most",
                   kernel->name, (int)kernel->value_count, (int)SA_GPU_MOST_VALUES);
  for (int32_t i = 0; i < kernel->step_count; ++i) {
    const sa_step *step = &kernel->steps[i];
    if (step->kind == SA_STEP_CHOOSE)
      continue;
    sa_gpu_step *gpu = &plan->gpu->steps[i];
    sparse_attn_status status = load_step(plan, step, gpu);
    if (status)
      return status;
    if (step->kind == SA_STEP_ATTENTION) {
      adopt(plan, &plan->attentions[attention], gpu->kernel,
            &plan->gpu->attentions[attention]);
      ++attention;
    }
  }
  return SPARSE_ATTN_OK;
}

sparse_attn_status sa_gpu_open(sparse_attn_plan *plan,
                               const sparse_attn_options *options) {
  size_t values = (size_t)sa_max(plan->kernel->value_count, 0);
  sa_gpu_plan *gpu = plan->gpu = sa_allocate_zeroed(1, sizeof(*plan->gpu));
  if (gpu) {
    gpu->attentions =
        sa_allocate_zeroed((size_t)plan->attention_count, sizeof(*gpu->attentions));
    gpu->steps =
        sa_allocate_zeroed((size_t)plan->kernel->step_count, sizeof(*gpu->steps));
    gpu->views = sa_allocate_zeroed(values, sizeof(*gpu->views));
    gpu->operands = sa_allocate_zeroed(values, sizeof(*gpu->operands));
  }
  if (!gpu || !gpu->attentions || !gpu->steps || !gpu->views || !gpu->operands)
    return sa_fail(SPARSE_ATTN_OUT_OF_MEMORY, "kernel '%s': no memory for a plan",
                   plan->kernel->name);
  sparse_attn_status status = open_device(plan, options);
  return status ? status : load_steps(plan);
}

/*===--- The device's memory ----------------------------------------------===*/

void *sa_gpu_place(sa_gpu_image *image, size_t bytes, size_t *at) {
  size_t gap =
      (SA_GPU_ALIGNMENT - image->bytes.size % SA_GPU_ALIGNMENT) % SA_GPU_ALIGNMENT;
  char *room =
      bytes <= PTRDIFF_MAX - gap ? sa_buffer_extend(&image->bytes, gap + bytes) : NULL;
  if (!room)
    return NULL;
  memset(room, 0, gap);
  *at = image->bytes.size - bytes;
  return room + gap;
}

bool sa_gpu_place_operands(const sparse_attn_plan *plan, sa_gpu_image *image,
                           sa_view *views) {
  for (int32_t i = 0; i < plan->kernel->input_count; ++i) {
    const sa_tensor *spec = &plan->kernel->inputs[i];
    if (!spec->layout || sa_gpu_keeps_operand(plan, i))
      continue;
    const sa_view *view = &plan->views[i];
    size_t bytes = sa_view_elements(view) * ((size_t)spec->type_bits / 8), at;
    void *room = sa_gpu_place(image, bytes, &at);
    if (!room)
      return false;
    memcpy(room, view->data, bytes);
    views[i] = *view;
    views[i].data = (void *)(uintptr_t)at;
  }
  return true;
}

void sa_gpu_move_operands(const sparse_attn_plan *plan, char *memory, sa_view *views) {
  for (int32_t i = 0; i < plan->kernel->input_count; ++i)
    if (!sa_gpu_keeps_operand(plan, i))
      views[i].allocated = views[i].data = memory + (uintptr_t)views[i].data;
}

sparse_attn_status sa_gpu_send(const sparse_attn_plan *plan, const sa_gpu_image *image,
                               char **memory) {
  const sa_gpu_device *device = &plan->gpu->device;
  const sparse_attn_gpu_driver *driver = device->driver;
  size_t bytes = image->bytes.size;
  if (bytes == 0)
    return SPARSE_ATTN_OK;
  sparse_attn_status status = sa_gpu_check(
      plan->kernel, device,
      driver->allocate(driver->context, device->number, bytes, (void **)memory));
  return status ? status
                : sa_gpu_check(plan->kernel, device,
                               driver->upload(driver->context, device->number, *memory,
                                              image->bytes.data, bytes));
}

static sparse_attn_status fill_image(const sparse_attn_plan *plan, sa_gpu_image *image) {
  sparse_attn_status status = sa_gpu_place_operands(plan, image, plan->gpu->views)
                                  ? SPARSE_ATTN_OK
                                  : SPARSE_ATTN_OUT_OF_MEMORY;
  for (int32_t i = 0; !status && i < plan->attention_count; ++i)
    if (sa_is_attention_needed(plan, &plan->attentions[i]))
      status =
          sa_gpu_list_items(plan, &plan->attentions[i], &plan->gpu->attentions[i], image);
  if (status == SPARSE_ATTN_OVERFLOW || status == SPARSE_ATTN_OUT_OF_MEMORY)
    sa_fail(status, "kernel '%s': %s", plan->kernel->name,
            status == SPARSE_ATTN_OVERFLOW
                ? "the plan would have more tiles than a launch can have; plan fewer "
                  "batch entries or heads at a time"
                : "no memory for the tiles of a plan");
  return status;
}

sparse_attn_status sa_gpu_upload(sparse_attn_plan *plan) {
  sa_gpu_plan *gpu = plan->gpu;
  if (plan->empty)
    return SPARSE_ATTN_OK;
  sa_gpu_image image = {{NULL, 0, 0}};
  sparse_attn_status status = fill_image(plan, &image);
  if (!status)
    status = sa_gpu_send(plan, &image, &gpu->memory);
  gpu->bytes = image.bytes.size;
  free(image.bytes.data);
  sa_gpu_move_operands(plan, gpu->memory, gpu->views);
  return status;
}

void sa_gpu_release(const sa_gpu_device *device, void *memory) {
  if (memory)
    device->driver->release(device->driver->context, device->number, memory);
}

void sa_gpu_destroy(sparse_attn_plan *plan) {
  sa_gpu_plan *gpu = plan->gpu;
  if (!gpu)
    return;
  sa_gpu_release(&gpu->device, gpu->memory);
  for (int32_t i = 0; gpu->operands && i < plan->kernel->input_count; ++i)
    sa_gpu_release(&gpu->device, gpu->operands[i]);
  for (int32_t i = 0; gpu->attentions && i < plan->attention_count; ++i) {
    sa_gpu_drop_tables(plan, &plan->attentions[i]);
    sa_gpu_release(&gpu->device, gpu->attentions[i].listed);
    free(gpu->attentions[i].lists);
  }
  for (int32_t i = 0; gpu->steps && i < plan->kernel->step_count; ++i)
    sa_gpu_unload(gpu->steps[i].loaded);
  if (gpu->open)
    gpu->device.driver->close(gpu->device.driver->context, gpu->device.number);
  free(gpu->operands);
  free(gpu->sampled);
  free(gpu->attentions);
  free(gpu->steps);
  free(gpu->views);
  free(gpu);
}
