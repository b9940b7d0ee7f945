/*===- gpu.h - how the runtime reaches a GPU ------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * The runtime needs a dozen things of a GPU's driver. They are a table, so that the
 * runtime neither links CUDA nor asks for it before a plan does, and so that something
 * else, such as an emulator, can stand in its place (sparse_attn_options::driver).
 *
 *===----------------------------------------------------------------------===*/
#ifndef SPARSE_ATTN_GPU_H
#define SPARSE_ATTN_GPU_H

#include "sparse_attn/gpu_abi.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Facts about a device. */
typedef struct sparse_attn_gpu_facts {
  char name[64];
  int32_t capability;      /* 80 for 8.0 */
  int32_t multiprocessors; /* that run thread blocks at the same time */
  int64_t shared_bytes;    /* that one block can have */
} sparse_attn_gpu_facts;

/* One start of a kernel. */
typedef struct sparse_attn_gpu_launch {
  void *function;
  int64_t blocks;
  int32_t threads, shared_bytes; /* of a block */
  void *stream;
  void **parameters; /* pointers to their values */
  int32_t parameter_count;
} sparse_attn_gpu_launch;

/* A CUtensorMap. */
typedef struct sparse_attn_gpu_map {
#ifdef __cplusplus
  alignas(64)
#else
  _Alignas(64)
#endif
      unsigned char bytes[128];
} sparse_attn_gpu_map;

/* A tensor of 16-bit elements as cuTensorMapEncodeTiled takes it, the innermost axis
 * first: see SA_GPU_MAPPED. */
typedef struct sparse_attn_gpu_tensor {
  void *data;
  bool is_bf16;
  uint64_t sizes[4];
  uint64_t strides[3]; /* in bytes, of axes 1, 2 and 3 */
  uint32_t box[4];
} sparse_attn_gpu_tensor;

/* K or V of a kernel with tiles of `tile_keys`. */
static inline sparse_attn_gpu_tensor
sparse_attn_gpu_describe(const sa_view *view, bool is_bf16, int32_t tile_keys) {
  sparse_attn_gpu_tensor tensor = {
      view->data, is_bf16, {0}, {0}, {64, (uint32_t)tile_keys, 1, 1}};
  for (int axis = 0; axis < 4; ++axis)
    tensor.sizes[axis] = (uint64_t)view->size[3 - axis];
  /* Of an axis of size 1 any multiple of 16 will do. */
  for (int axis = 0; axis < 3; ++axis)
    tensor.strides[axis] =
        tensor.sizes[axis + 1] == 1 ? 16 : 2 * (uint64_t)view->stride[2 - axis];
  return tensor;
}

/* Functions may be called from several threads at once. Those that can fail return NULL,
 * or a sentence without a full stop that stays valid until the thread's next call. All
 * get `context`, and the number of a device that is open. */
struct sparse_attn_gpu_driver {
  const char *name; /* for messages: "CUDA" */
  void *context;

  /* Opens device `device`; each call that succeeds is followed by a close. */
  const char *(*open)(void *context, int device, sparse_attn_gpu_facts *facts);
  void (*close)(void *context, int device);

  /* Loads a module; `*loaded` is for find and unload. */
  const char *(*load)(void *context, int device, const sa_gpu_module *module,
                      void **loaded);
  void (*unload)(void *context, int device, void *loaded);
  /* The kernel called `name`, made ready for blocks with so much shared memory. */
  const char *(*find)(void *context, int device, void *loaded, const char *name,
                      int32_t shared_bytes, void **function);

  /* Memory of the device, aligned to 256 bytes. */
  const char *(*allocate)(void *context, int device, size_t bytes, void **memory);
  void (*release)(void *context, int device, void *memory);
  /* Copies to and from the device; done when they return. */
  const char *(*upload)(void *context, int device, void *to, const void *from,
                        size_t bytes);
  const char *(*download)(void *context, int device, void *to, const void *from,
                          size_t bytes);

  /* Copies from the device to itself, after all that it was told; may be under way when
   * this returns, but not past the next download or wait. Rows of so many bytes, which
   * begin `stride` bytes apart (at least as many, and below 2^31; of one row any number),
   * are packed. */
  const char *(*copy)(void *context, int device, void *to, const void *from, int64_t rows,
                      size_t bytes, int64_t stride);

  /* Makes the map of K or V for a kernel that has maps. */
  const char *(*map)(void *context, int device, const sparse_attn_gpu_tensor *tensor,
                     sparse_attn_gpu_map *map);

  /* Waits until the device has done all that it was told. */
  const char *(*wait)(void *context, int device);

  /* Starts a kernel and returns. */
  const char *(*launch)(void *context, int device, const sparse_attn_gpu_launch *launch);
};

/* CUDA's driver (libcuda.so.1, or the library that the environment variable
 * SPARSE_ATTN_CUDA names), which is loaded when the first device is opened. */
SPARSE_ATTN_API const sparse_attn_gpu_driver *sparse_attn_cuda_driver(void);

#ifdef __cplusplus
}
#endif
#endif /* SPARSE_ATTN_GPU_H */
