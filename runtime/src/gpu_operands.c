/*===- gpu_operands.c - layout operands that stay in a GPU's memory --------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Operands that grow with the sequence (offsets, block lists and their bits) stay where
 * they are, if all of them lie there and the GPU can list the tiles of all masks that
 * have some; kernels of lists that a run brings ask them about pairs. What is
 * a number for each batch entry comes here, and so does what only the host can work with:
 * indices that the plan sorts, and graphs, which are searched.
 *
 *===----------------------------------------------------------------------===*/

#include "gpu.h"

#include <stdlib.h>
#include <string.h>

/*===--- Where they are wanted --------------------------------------------===*/

/* How an attention uses an operand. */
typedef struct uses {
  bool there; /* kernels ask it about tiles or pairs */
  bool here;  /* as values that the host reads */
  bool graph; /* to search in, and to list tiles of what was found */
} uses;

/* Whether a kernel can check what `check` says. */
static bool is_checked_there(const sa_check *check) {
  return check->kind == SA_CHECK_OFFSETS || check->kind == SA_CHECK_BSR;
}

static bool names(const int32_t *ids, int32_t count, int32_t id) {
  for (int32_t i = 0; i < count; ++i)
    if (ids[i] == id)
      return true;
  return false;
}

static uses find_uses(const sa_attention *code, int32_t id) {
  uses found = {.here = code->kv_len == id || code->q_len == id || code->q_offset == id};
  for (int32_t i = 0; i < code->check_count; ++i) {
    const sa_check *check = &code->checks[i];
    if (!names(check->inputs, check->input_count, id))
      continue;
    *(is_checked_there(check) ? &found.there : &found.here) = true;
    found.graph = found.graph || check->kind == SA_CHECK_GRAPH;
  }
  for (int32_t i = 0; i < code->table_count; ++i)
    if (names(code->tables[i].inputs, code->tables[i].input_count, id))
      found.here = true;
  return found;
}

/* How all attentions use it. */
static uses find_all_uses(const sparse_attn_plan *plan, int32_t id) {
  uses all = {false, false, false};
  for (int32_t i = 0; i < plan->attention_count; ++i) {
    uses found = find_uses(plan->attentions[i].code, id);
    all.there = all.there || found.there;
    all.here = all.here || found.here;
    all.graph = all.graph || found.graph;
  }
  return all;
}

/* Whether kernels alone want to read an operand. */
static bool may_stay(uses uses) { return uses.there && !uses.here; }

/* Whether kernels read operands of an attention, but none can check them. */
static bool lacks_check(const sparse_attn_plan *plan, int32_t attention) {
  const sa_attention *code = plan->attentions[attention].code;
  bool wanted = false;
  for (int32_t i = 0; i < code->check_count; ++i)
    wanted = wanted || is_checked_there(&code->checks[i]);
  return wanted && !plan->gpu->attentions[attention].kernel->check;
}

/* Whether nothing on the host has to look into the masks of a plan. */
static bool can_list_there(const sparse_attn_plan *plan) {
  for (int32_t i = 0; i < plan->attention_count; ++i) {
    const sa_plan_attention *attention = &plan->attentions[i];
    if (lacks_check(plan, i))
      return false;
    if (sa_has_table(attention) && !plan->gpu->attentions[i].kernel->list)
      return false;
  }
  return true;
}

void sa_gpu_choose_place(const sparse_attn_plan *plan, const DLTensor *const *layout) {
  bool any = false, all = true;
  size_t next = 0;
  for (int32_t i = 0; i < plan->kernel->input_count; ++i) {
    if (!plan->kernel->inputs[i].layout)
      continue;
    const DLTensor *tensor = layout[next++];
    uses uses = find_all_uses(plan, i);
    if (!may_stay(uses) && !uses.graph)
      continue;
    bool there = tensor && sa_is_on(tensor->device, sa_plan_device(plan));
    any = any || there;
    all = all && (there || !may_stay(uses));
  }
  plan->gpu->lists_tiles = any && all && !plan->empty && can_list_there(plan);
}

bool sa_gpu_keeps_operand(const sparse_attn_plan *plan, int32_t id) {
  return plan->gpu && plan->gpu->lists_tiles && plan->kernel->inputs[id].layout &&
         may_stay(find_all_uses(plan, id));
}

/*===--- Copies -----------------------------------------------------------===*/

/* An operand on its way into a copy without gaps: rows of neighbouring bytes, and the
 * axes along which there are more of them, the innermost one first. */
typedef struct packing {
  const sa_gpu_device *device;
  char *to; /* what comes next */
  size_t row_bytes;
  int axes;
  struct {
    int64_t count, stride; /* in bytes */
  } axis[4];
} packing;

/* Fills in rows and axes, as few as there can be. */
static void find_rows(packing *pack, const sa_view *given, size_t element_bytes) {
  pack->row_bytes = element_bytes;
  pack->axes = 0;
  for (int axis = 3; axis >= 0; --axis) {
    int64_t count = given->size[axis];
    int64_t stride = given->stride[axis] * (int64_t)element_bytes;
    int inner = pack->axes - 1;
    if (count == 1)
      continue;
    if (inner < 0 && stride == (int64_t)pack->row_bytes) {
      pack->row_bytes *= (size_t)count;
    } else if (inner >= 0 &&
               stride == pack->axis[inner].stride * pack->axis[inner].count) {
      pack->axis[inner].count *= count;
    } else {
      pack->axis[pack->axes].count = count;
      pack->axis[pack->axes++].stride = stride;
    }
  }
}

static const char *copy_rows(packing *pack, const char *from, int64_t rows,
                             int64_t stride) {
  const sparse_attn_gpu_driver *driver = pack->device->driver;
  const char *error = driver->copy(driver->context, pack->device->number, pack->to, from,
                                   rows, pack->row_bytes, stride);
  pack->to += (size_t)rows * pack->row_bytes;
  return error;
}

/* Copies the first `axes` axes: rows at once where none reaches into the next. */
static const char *copy_axes(packing *pack, int axes, const char *from) {
  /* Bytes between rows that CUDA copies at once. */
  enum { kMostPitch = INT32_MAX };
  if (axes == 0)
    return copy_rows(pack, from, 1, 0);
  int64_t count = pack->axis[axes - 1].count, stride = pack->axis[axes - 1].stride;
  if (axes == 1 && stride >= (int64_t)pack->row_bytes && stride <= kMostPitch)
    return copy_rows(pack, from, count, stride);
  const char *error = NULL;
  for (int64_t i = 0; !error && i < count; ++i)
    error = copy_axes(pack, axes - 1, from + i * stride);
  return error;
}

sparse_attn_status sa_gpu_copy_operand(const sparse_attn_plan *plan, int32_t id,
                                       const sa_view *given, sa_view *shape) {
  sa_gpu_plan *gpu = plan->gpu;
  const sparse_attn_gpu_driver *driver = gpu->device.driver;
  size_t element_bytes = (size_t)plan->kernel->inputs[id].type_bits / 8;
  size_t bytes = sa_view_elements(given) * element_bytes;
  const char *error = driver->allocate(driver->context, gpu->device.number,
                                       bytes ? bytes : 1, &gpu->operands[id]);
  packing pack = {.device = &gpu->device, .to = gpu->operands[id]};
  find_rows(&pack, given, element_bytes);
  if (!error && bytes)
    error = copy_axes(&pack, pack.axes, given->data);
  gpu->operand_bytes += bytes;
  gpu->views[id] = sa_contiguous_view(gpu->operands[id], given->size);
  *shape = sa_contiguous_view(NULL, given->size);
  return sa_gpu_check(plan->kernel, &gpu->device, error);
}

sparse_attn_status sa_gpu_bring_operands(const sparse_attn_plan *plan, sa_view *views) {
  const sparse_attn_kernel *kernel = plan->kernel;
  sparse_attn_status status = SPARSE_ATTN_OK;
  memcpy(views, plan->views, (size_t)kernel->value_count * sizeof(*views));
  for (int32_t i = 0; !status && i < kernel->input_count; ++i)
    if (sa_gpu_keeps_operand(plan, i))
      status =
          sa_download_operand(plan, &kernel->inputs[i], &plan->gpu->views[i], &views[i]);
  return status;
}

void sa_gpu_drop_operands(const sparse_attn_plan *plan, sa_view *views) {
  for (int32_t i = 0; views && i < plan->kernel->input_count; ++i)
    if (sa_gpu_keeps_operand(plan, i))
      free(views[i].allocated);
  free(views);
}
