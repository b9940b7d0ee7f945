/*===- FakeCuda.c - a CUDA driver that counts its calls -------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "FakeCuda.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { kInvalidValue = 1, kOutOfMemory = 2, kInvalidImage = 200, kNoBinary = 209 };

static fake_cuda cuda;
static int contexts[2]; /* their addresses are the contexts */
static void *stack[8];  /* of current contexts */
static const char *const names[] = {"attend", "combine", "check", "count", "list"};
enum { kFunctions = sizeof(names) / sizeof(*names) };
static int functions[kFunctions];

EXPORT fake_cuda *get_fake_cuda(void) { return &cuda; }

/* Everything that works on a context needs a current one. */
static int need_context(void) { return cuda.depth > 0 ? 0 : 201; }

EXPORT int cuInit(unsigned flags) { return (int)flags; }
EXPORT int cuDeviceGetCount(int *count) {
  *count = cuda.devices;
  return 0;
}
EXPORT int cuDeviceGet(int *device, int number) {
  *device = number;
  return 0;
}
EXPORT int cuDeviceGetName(char *name, int size, int device) {
  strncpy(name, device ? "Fake 1" : "Fake 0", (size_t)size);
  return 0;
}
EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device) {
  (void)device;
  switch (attribute) {
  case 75:
    *value = cuda.capability / 10;
    return 0;
  case 76:
    *value = cuda.capability % 10;
    return 0;
  case 16:
    *value = cuda.multiprocessors;
    return 0;
  case 97:
    *value = 99 * 1024;
    return 0;
  }
  return kInvalidValue;
}
EXPORT int cuDevicePrimaryCtxRetain(void **context, int device) {
  ++cuda.retained;
  *context = &contexts[device];
  return 0;
}
EXPORT int cuDevicePrimaryCtxRelease_v2(int device) {
  (void)device;
  --cuda.retained;
  return 0;
}
EXPORT int cuCtxPushCurrent_v2(void *context) {
  stack[cuda.depth++] = context;
  return 0;
}
EXPORT int cuCtxPopCurrent_v2(void **context) {
  *context = stack[--cuda.depth];
  return 0;
}

EXPORT int cuModuleLoadDataEx(void **module, const void *image, unsigned count,
                              int *options, void **values) {
  (void)count, (void)options, (void)values;
  strncpy(cuda.image, image, sizeof(cuda.image) - 1);
  if (!strcmp(image, "refused cubin"))
    return kNoBinary;
  if (!strcmp(image, "broken"))
    return kInvalidImage;
  ++cuda.loaded;
  *module = &cuda;
  return need_context();
}
EXPORT int cuModuleUnload(void *module) {
  (void)module;
  --cuda.loaded;
  return need_context();
}
EXPORT int cuModuleGetFunction(void **function, void *module, const char *name) {
  (void)module;
  for (int i = 0; i < kFunctions; ++i)
    if (!strcmp(name, names[i])) {
      *function = &functions[i];
      return need_context();
    }
  return 500;
}
EXPORT int cuFuncSetAttribute(void *function, int attribute, int value) {
  if (attribute != 8)
    return kInvalidValue;
  if (function == &functions[0])
    cuda.shared_bytes = value;
  return need_context();
}

EXPORT int cuMemAlloc_v2(uint64_t *memory, size_t bytes) {
  if (bytes > cuda.memory)
    return kOutOfMemory;
  ++cuda.allocations;
  *memory = (uintptr_t)calloc(1, bytes); /* kernels write nothing */
  return need_context();
}
EXPORT int cuMemFree_v2(uint64_t memory) {
  --cuda.allocations;
  free((void *)(uintptr_t)memory);
  return need_context();
}
EXPORT int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) {
  ++cuda.waits;
  memcpy((void *)(uintptr_t)to, from, bytes);
  return need_context();
}
EXPORT int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) {
  ++cuda.waits;
  cuda.downloaded += bytes;
  memcpy(to, (const void *)(uintptr_t)from, bytes);
  return need_context();
}
EXPORT int cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t bytes) {
  ++cuda.waits;
  ++cuda.copies;
  cuda.copied += bytes;
  memcpy((void *)(uintptr_t)to, (const void *)(uintptr_t)from, bytes);
  return need_context();
}
/* CUDA_MEMCPY2D, as the CUDA Driver API's manual has it. */
typedef struct copied_memory {
  size_t x, y;
  int type;
  void *host;
  uint64_t device;
  void *array;
  size_t pitch;
} copied_memory;
typedef struct fake_copy {
  copied_memory from, to;
  size_t width, height;
} fake_copy;
EXPORT int cuMemcpy2DUnaligned_v2(const fake_copy *copy) {
  if (copy->from.type != 2 || copy->to.type != 2 || copy->from.x || copy->from.y ||
      copy->to.x || copy->to.y || copy->from.pitch < copy->width ||
      copy->to.pitch < copy->width || copy->from.pitch > INT32_MAX)
    return kInvalidValue;
  ++cuda.waits;
  ++cuda.copies;
  cuda.copied += copy->width * copy->height;
  for (size_t row = 0; row < copy->height; ++row)
    memcpy((void *)(uintptr_t)(copy->to.device + row * copy->to.pitch),
           (const void *)(uintptr_t)(copy->from.device + row * copy->from.pitch),
           copy->width);
  return need_context();
}
EXPORT int cuStreamSynchronize(void *stream) {
  (void)stream;
  ++cuda.waits;
  return need_context();
}
EXPORT int cuCtxSynchronize(void) {
  ++cuda.waits;
  return need_context();
}

EXPORT int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y,
                          unsigned grid_z, unsigned block_x, unsigned block_y,
                          unsigned block_z, unsigned shared_bytes, void *stream,
                          void **parameters, void **extra) {
  if (cuda.fail_launch)
    return 700;
  if (grid_y != 1 || grid_z != 1 || block_y != 1 || block_z != 1 || extra)
    return kInvalidValue;
  fake_launch *launch = &cuda.launches[cuda.launch_count++];
  launch->name = names[(int *)function - functions];
  launch->blocks = grid_x;
  launch->threads = block_x;
  launch->shared_bytes = shared_bytes;
  launch->stream = stream;
  launch->context = cuda.depth ? stack[cuda.depth - 1] == &contexts[1] : -1;
  memcpy(launch->arguments, parameters[0], sizeof(launch->arguments));
  return need_context();
}
EXPORT int cuTensorMapEncodeTiled(void *map, int type, unsigned rank, void *address,
                                  const uint64_t *sizes, const uint64_t *strides,
                                  const uint32_t *box, const uint32_t *element_strides,
                                  int interleave, int swizzle, int promotion, int fill) {
  bool right = (uintptr_t)map % 64 == 0 && type == 6 && rank == 4 && !interleave &&
               swizzle == 3 && promotion == 3 && !fill;
  for (int axis = 0; axis < 4; ++axis)
    right = right && element_strides[axis] == 1;
  for (int axis = 0; axis < 3; ++axis)
    right = right && strides[axis] % 16 == 0;
  if (!right || (uintptr_t)address % 16)
    return kInvalidValue;
  memcpy(cuda.map_sizes, sizes, sizeof(cuda.map_sizes));
  memcpy(cuda.map_strides, strides, sizeof(cuda.map_strides));
  memcpy(cuda.map_box, box, sizeof(cuda.map_box));
  ++cuda.maps;
  return need_context();
}
EXPORT int cuGetErrorString(int result, const char **text) {
  *text = result == 700            ? "an illegal memory access was encountered"
          : result == kOutOfMemory ? "out of memory"
                                   : "some error";
  return 0;
}
