/*===- tensor.c - DLTensor to view, with every check ----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

#include <stdio.h>
#include <string.h>

/*===--- Names for messages -----------------------------------------------===*/

static const char *type_name(int code, int bits, char *text, size_t size) {
  const char *base = code == kDLFloat    ? "float"
                     : code == kDLBfloat ? "bfloat"
                     : code == kDLInt    ? "int"
                     : code == kDLUInt   ? "uint"
                                         : NULL;
  if (base)
    snprintf(text, size, "%s%d", base, bits);
  else
    snprintf(text, size, "type code %d with %d bits", code, bits);
  return text;
}

static const char *axis_name(int32_t code) {
  static const char *const names[] = {"?", "B", "H", "Hkv", "M", "N"};
  return code >= 1 && code <= 5 ? names[code] : names[0];
}

int64_t sa_axis_size(const sparse_attn_shape *shape, int32_t code) {
  switch (code) {
  case 1:
    return shape->batch;
  case 2:
    return shape->heads;
  case 3:
    return shape->kv_heads;
  case 4:
    return shape->queries;
  case 5:
    return shape->keys;
  }
  return -1;
}

/*===--- Checks -----------------------------------------------------------===*/

/* Codes of sa_tensor::axis beside those of sa_axis_size. */
enum { kOdd = 6, kBroadcast = 16 };

/* What the checks of one tensor share. */
typedef struct binding {
  const sparse_attn_kernel *kernel;
  const sa_tensor *spec;
  const DLTensor *tensor;
  DLDevice device;
  const sparse_attn_shape *shape;
} binding;

#define FAIL(binding, format, ...)                                                       \
  sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "kernel '%s': '%s' " format,                     \
          (binding)->kernel->name, (binding)->spec->name, __VA_ARGS__)

bool sa_is_on(DLDevice is, DLDevice wanted) {
  if (wanted.device_type == kDLCPU) /* so is pinned memory */
    return is.device_type == kDLCPU || is.device_type == kDLCUDAHost ||
           is.device_type == kDLROCMHost;
  return is.device_type == kDLCUDAManaged ||
         (is.device_type == wanted.device_type && is.device_id == wanted.device_id);
}

static sparse_attn_status wrong_device(const binding *binding) {
  DLDevice is = binding->tensor->device, wanted = binding->device;
  if (wanted.device_type == kDLCPU)
    return FAIL(binding,
                "is on DLPack device type %d, expected the CPU (%d); "
                "copy it there first",
                (int)is.device_type, (int)kDLCPU);
  return FAIL(binding,
              "is on device %d of DLPack type %d, but the plan is for device %d of type "
              "%d; copy it there first",
              is.device_id, (int)is.device_type, wanted.device_id,
              (int)wanted.device_type);
}

static sparse_attn_status check_kind(const binding *binding) {
  const DLTensor *tensor = binding->tensor;
  const sa_tensor *spec = binding->spec;
  char given[48], expected[48];
  if (tensor->ndim != spec->rank)
    return FAIL(binding, "has rank %d, expected %d", tensor->ndim, spec->rank);
  if (tensor->dtype.lanes != 1)
    return FAIL(binding, "has a dtype of %d lanes, expected 1", tensor->dtype.lanes);
  if (tensor->dtype.code != spec->type_code || tensor->dtype.bits != spec->type_bits)
    return FAIL(binding, "has dtype %s, expected %s",
                type_name(tensor->dtype.code, tensor->dtype.bits, given, sizeof(given)),
                type_name(spec->type_code, spec->type_bits, expected, sizeof(expected)));
  if (!sa_is_on(tensor->device, binding->device))
    return wrong_device(binding);
  if (spec->rank > 0 && !tensor->shape)
    return FAIL(binding, "has no shape%s", "");
  return SPARSE_ATTN_OK;
}

static sparse_attn_status check_axis(const binding *binding, int axis) {
  int64_t size = binding->tensor->shape[axis];
  int64_t compiled = binding->spec->dims[axis];
  int32_t code = binding->spec->axis[axis];
  if (size < 0)
    return FAIL(binding, "has size %lld on axis %d", (long long)size, axis);
  if (compiled >= 0 && size != compiled)
    return FAIL(binding, "has size %lld on axis %d, but the kernel was compiled for %lld",
                (long long)size, axis, (long long)compiled);
  if (code == 0)
    return SPARSE_ATTN_OK;
  if (code == kOdd)
    return size % 2 ? SPARSE_ATTN_OK
                    : FAIL(binding, "has size %lld on axis %d, expected an odd size",
                           (long long)size, axis);
  bool broadcast = code >= kBroadcast;
  int64_t expected = sa_axis_size(binding->shape, code % kBroadcast);
  if (size == expected || (broadcast && size == 1))
    return SPARSE_ATTN_OK;
  return FAIL(binding, "has size %lld on axis %d, expected %s%s = %lld", (long long)size,
              axis, broadcast ? "1 or " : "", axis_name(code % kBroadcast),
              (long long)expected);
}

static sparse_attn_status overflow(const binding *binding) {
  return sa_fail(SPARSE_ATTN_OVERFLOW,
                 "kernel '%s': '%s' spans more bytes than the address space "
                 "holds",
                 binding->kernel->name, binding->spec->name);
}

/* Fills size and stride of `view`, checked so that the offset of every element
 * is representable. `*elements` is their number. */
static sparse_attn_status read_layout(const binding *binding, bool output, sa_view *view,
                                      size_t *elements) {
  const DLTensor *tensor = binding->tensor;
  int rank = tensor->ndim, pad = 4 - rank;
  size_t element_bytes = (size_t)binding->spec->type_bits / 8;
  *elements = 1;
  bool fits = true, empty = false;
  for (int axis = 0; axis < rank; ++axis)
    empty = empty || tensor->shape[axis] == 0;
  for (int axis = rank - 1; axis >= 0; --axis) {
    int64_t size = tensor->shape[axis];
    bool last = axis == rank - 1;
    int64_t stride = tensor->strides ? tensor->strides[axis] : (int64_t)*elements;
    if (size > 1 && !empty && last && stride != 1)
      return FAIL(binding,
                  "has stride %lld on its last axis, expected 1; pass a "
                  "contiguous copy",
                  (long long)stride);
    if (size > 1 && !empty && output && stride == 0)
      return FAIL(binding, "is an output with stride 0 on axis %d: its elements overlap",
                  axis);
    view->size[pad + axis] = size;
    view->stride[pad + axis] = size > 1 ? stride : 0; /* broadcasts for free */
    fits = fits && sa_multiply(*elements, (size_t)(empty ? 1 : size), elements);
  }
  if (!fits)
    return overflow(binding);
  if (empty) {
    *elements = 0;
    return SPARSE_ATTN_OK;
  }

  size_t span = element_bytes, bytes;
  for (int axis = 0; axis < 4; ++axis) {
    int64_t stride = view->stride[axis];
    size_t step = stride < 0 ? 0 - (size_t)stride : (size_t)stride;
    if (!sa_multiply(step, (size_t)view->size[axis] - 1, &bytes) ||
        !sa_multiply(bytes, element_bytes, &bytes) || !sa_add(span, bytes, &span))
      return overflow(binding);
  }
  return SPARSE_ATTN_OK;
}

sparse_attn_status sa_bind_tensor(const sparse_attn_kernel *kernel, const sa_tensor *spec,
                                  bool output, const DLTensor *tensor, DLDevice device,
                                  const sparse_attn_shape *shape, sa_view *view) {
  binding binding = {kernel, spec, tensor, device, shape};
  memset(view, 0, sizeof(*view));
  if (!tensor)
    return FAIL(&binding, "is null%s", "");
  sparse_attn_status status = check_kind(&binding);
  for (int axis = 0; !status && axis < spec->rank; ++axis)
    status = check_axis(&binding, axis);
  if (status)
    return status;

  for (int axis = 0; axis < 4; ++axis)
    view->size[axis] = 1;
  size_t elements;
  status = read_layout(&binding, output, view, &elements);
  if (status)
    return status;
  if (elements && !tensor->data)
    return FAIL(&binding, "has no data%s", "");
  uintptr_t address = (uintptr_t)tensor->data + (uintptr_t)tensor->byte_offset;
  size_t element_bytes = (size_t)spec->type_bits / 8;
  if (elements && address % element_bytes)
    return FAIL(&binding, "starts at an address that is not a multiple of %zu",
                element_bytes);
  view->allocated = view->data = (void *)address;
  return SPARSE_ATTN_OK;
}

sa_view sa_contiguous_view(void *data, const int64_t size[4]) {
  sa_view view = {data, data, 0, {0}, {0}};
  int64_t stride = 1;
  for (int axis = 3; axis >= 0; --axis) {
    view.size[axis] = size[axis];
    view.stride[axis] = size[axis] > 1 ? stride : 0;
    stride *= size[axis];
  }
  return view;
}

size_t sa_view_elements(const sa_view *view) {
  size_t elements = 1;
  for (int axis = 0; axis < 4; ++axis)
    elements *= (size_t)view->size[axis];
  return elements;
}

sparse_attn_status sa_check_input_count(const sparse_attn_kernel *kernel, int32_t layout,
                                        const void *list, size_t count) {
  char names[256] = "";
  size_t used = 0, expected = 0;
  for (int32_t i = 0; i < kernel->input_count; ++i) {
    if (kernel->inputs[i].layout != layout)
      continue;
    if (used < sizeof(names))
      used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
                               expected ? ", " : "", kernel->inputs[i].name);
    ++expected;
  }
  if (count != expected)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "kernel '%s' takes %zu %s (%s), got %zu",
                   kernel->name, expected, layout ? "layout operands" : "inputs",
                   expected ? names : "none", count);
  if (expected && !list)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "kernel '%s': the list of %s is null",
                   kernel->name, layout ? "layout operands" : "inputs");
  return SPARSE_ATTN_OK;
}
