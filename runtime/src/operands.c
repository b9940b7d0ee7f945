/*===- operands.c - copies of the layout operands, lengths ----------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * A plan keeps copies: the caller may free or change its tensors, and what was
 * checked is what is used.
 *
 *===----------------------------------------------------------------------===*/

#include "gpu.h"

#include <stdlib.h>
#include <string.h>

static void copy_elements(const sa_view *from, size_t element_bytes, char *to) {
  size_t row_bytes = (size_t)from->size[3] * element_bytes;
  for (int64_t i0 = 0; i0 < from->size[0]; ++i0)
    for (int64_t i1 = 0; i1 < from->size[1]; ++i1)
      for (int64_t i2 = 0; i2 < from->size[2]; ++i2, to += row_bytes)
        memcpy(to, sa_at(from, element_bytes, i0, i1, i2, 0), row_bytes);
}

static sparse_attn_status copy_operand(const sparse_attn_plan *plan,
                                       const sa_tensor *spec, const sa_view *given,
                                       sa_view *copy) {
  size_t element_bytes = (size_t)spec->type_bits / 8, bytes = element_bytes;
  bool fits = true, empty = false;
  for (int axis = 0; axis < 4; ++axis)
    empty = empty || given->size[axis] == 0;
  for (int axis = 0; !empty && axis < 4; ++axis)
    fits = fits && sa_multiply(bytes, (size_t)given->size[axis], &bytes);
  void *data = fits ? sa_allocate(1, bytes) : NULL;
  if (!data)
    return sa_fail(fits ? SPARSE_ATTN_OUT_OF_MEMORY : SPARSE_ATTN_OVERFLOW,
                   "kernel '%s': no memory for a copy of '%s'", plan->kernel->name,
                   spec->name);
  if (!empty)
    copy_elements(given, element_bytes, data);
  *copy = sa_contiguous_view(data, given->size);
  return SPARSE_ATTN_OK;
}

sparse_attn_status sa_download_operand(const sparse_attn_plan *plan,
                                       const sa_tensor *spec, const sa_view *given,
                                       sa_view *copy) {
  const sa_gpu_device *device = &plan->gpu->device;
  int64_t low = 0, high = 0, element_bytes = spec->type_bits / 8;
  for (int axis = 0; axis < 4; ++axis) {
    int64_t reach = given->stride[axis] * (given->size[axis] - 1);
    if (given->size[axis] == 0) /* nothing to bring */
      return copy_operand(plan, spec, given, copy);
    *(reach < 0 ? &low : &high) += reach;
  }
  size_t bytes = (size_t)(high - low + 1) * (size_t)element_bytes;
  char *room = sa_allocate(1, bytes);
  if (!room)
    return sa_fail(SPARSE_ATTN_OUT_OF_MEMORY, "kernel '%s': no memory for a copy of '%s'",
                   plan->kernel->name, spec->name);
  sparse_attn_status status = sa_gpu_check(
      plan->kernel, device,
      device->driver->download(device->driver->context, device->number, room,
                               (const char *)given->data + low * element_bytes, bytes));
  sa_view here = *given;
  here.data = room - low * element_bytes;
  if (!status)
    status = copy_operand(plan, spec, &here, copy);
  free(room);
  return status;
}

static sparse_attn_status take_operand(const sparse_attn_plan *plan, int32_t id,
                                       const DLTensor *tensor, sa_view *copy) {
  const sa_tensor *spec = &plan->kernel->inputs[id];
  bool here = !plan->gpu || !tensor || sa_is_on(tensor->device, kCPU);
  sa_view given;
  sparse_attn_status status =
      sa_bind_tensor(plan->kernel, spec, false, tensor,
                     here ? kCPU : sa_plan_device(plan), &plan->shape, &given);
  if (status)
    return status;
  if (sa_gpu_keeps_operand(plan, id))
    return sa_gpu_copy_operand(plan, id, &given, copy);
  return here ? copy_operand(plan, spec, &given, copy)
              : sa_download_operand(plan, spec, &given, copy);
}

sparse_attn_status sa_copy_operands(sparse_attn_plan *plan, const DLTensor *const *layout,
                                    size_t layout_count) {
  const sparse_attn_kernel *kernel = plan->kernel;
  sparse_attn_status status = sa_check_input_count(kernel, 1, layout, layout_count);
  size_t next = 0;
  if (!status && plan->gpu)
    sa_gpu_choose_place(plan, layout);
  for (int32_t i = 0; !status && i < kernel->input_count; ++i) {
    if (!kernel->inputs[i].layout)
      continue;
    status = take_operand(plan, i, layout[next++], &plan->views[i]);
  }
  return status;
}

/*===--- Lengths ----------------------------------------------------------===*/

/* Entry `b` of a [B] operand, `otherwise` where it is absent. */
static int64_t read_length(const sparse_attn_plan *plan, int32_t id, int64_t b,
                           int64_t otherwise) {
  if (id < 0)
    return otherwise;
  const sa_view *view = &plan->views[id];
  return ((const int32_t *)view->data)[view->size[3] > 1 ? b : 0];
}

static sparse_attn_status bad_length(const sparse_attn_plan *plan, int32_t id, int64_t b,
                                     int64_t length, const char *axis, int64_t limit) {
  return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                 "kernel '%s': '%s' is %lld at batch entry %lld, expected 0 to "
                 "%s = %lld",
                 plan->kernel->name, plan->kernel->inputs[id].name, (long long)length,
                 (long long)b, axis, (long long)limit);
}

static sparse_attn_status read_entry(const sparse_attn_plan *plan,
                                     const sa_attention *code, int64_t b,
                                     sa_entry *entry) {
  int64_t tokens = read_length(plan, code->kv_len, b, plan->shape.keys);
  if (tokens < 0 || tokens > plan->shape.keys)
    return bad_length(plan, code->kv_len, b, tokens, "N", plan->shape.keys);
  int64_t rows = read_length(plan, code->q_len, b, plan->shape.queries);
  if (rows < 0 || rows > plan->shape.queries)
    return bad_length(plan, code->q_len, b, rows, "M", plan->shape.queries);
  int64_t offset = read_length(plan, code->q_offset, b, tokens - rows);
  if (offset <= -SA_POSITION_LIMIT || offset + rows > SA_POSITION_LIMIT)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                   "kernel '%s': '%s' is %lld at batch entry %lld, which puts "
                   "rows outside of -2^30 to 2^30",
                   plan->kernel->name, plan->kernel->inputs[code->q_offset].name,
                   (long long)offset, (long long)b);
  entry->tokens = (int32_t)tokens;
  entry->keys =
      (int32_t)(code->key_block > 0 ? sa_ceil_div(tokens, code->key_block) : tokens);
  entry->rows = (int32_t)rows;
  entry->first_position = (int32_t)offset;
  return SPARSE_ATTN_OK;
}

sparse_attn_status sa_read_lengths(sparse_attn_plan *plan, sa_plan_attention *attention) {
  const sa_attention *code = attention->code;
  const int32_t ids[] = {code->kv_len, code->q_len, code->q_offset};
  bool differ = false;
  for (int i = 0; i < 3; ++i) {
    if (ids[i] < 0)
      continue;
    const sa_tensor *spec = &plan->kernel->inputs[ids[i]];
    if (spec->type_code != kDLInt || spec->type_bits != 32)
      return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                     "kernel '%s' is malformed: length '%s' is not int32; "
                     "compile it again",
                     plan->kernel->name, spec->name);
    differ = differ || plan->views[ids[i]].size[3] > 1;
  }
  if (plan->shape.batch == 0)
    return SPARSE_ATTN_OK;
  if (!differ)
    return read_entry(plan, code, 0, &attention->entry);

  attention->entries =
      sa_allocate((size_t)plan->shape.batch, sizeof(*attention->entries));
  if (!attention->entries)
    return sa_fail(SPARSE_ATTN_OUT_OF_MEMORY,
                   "kernel '%s': no memory for the lengths of %lld batch entries",
                   plan->kernel->name, (long long)plan->shape.batch);
  for (int64_t b = 0; b < plan->shape.batch; ++b) {
    sparse_attn_status status = read_entry(plan, code, b, &attention->entries[b]);
    if (status)
      return status;
  }
  return SPARSE_ATTN_OK;
}
