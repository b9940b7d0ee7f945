/*===- gpu.h - plans and runs on a GPU ------------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * A plan for a GPU is made here like any other, only that its tiles have the size that
 * the GPU's kernels want. It then becomes items (gpu_abi.h) in the GPU's memory:
 *
 *   gpu_device.c   devices, and the modules that they have loaded
 *   gpu_plan.c     chooses kernels and the shape of their tiles
 *   gpu_items.c    tiles, lists and parts of an attention as items
 *   gpu_run.c      workspace and launches
 *
 *===----------------------------------------------------------------------===*/
#ifndef SPARSE_ATTN_RUNTIME_GPU_H
#define SPARSE_ATTN_RUNTIME_GPU_H

#include "internal.h"
#include "sparse_attn/gpu.h"

/* Of what lies in the device's memory, in bytes. */
enum { SA_GPU_ALIGNMENT = 256 };

/*===--- gpu_device.c -----------------------------------------------------===*/

typedef struct sa_gpu_device {
  const sparse_attn_gpu_driver *driver;
  int number;
  sparse_attn_gpu_facts facts;
} sa_gpu_device;

/* Fails with `error`, if there is one, in the words of the kernel and the device. */
sparse_attn_status sa_gpu_check(const sparse_attn_kernel *kernel,
                                const sa_gpu_device *device, const char *error);

/* A module that a device has loaded: once, whatever the number of plans. */
typedef struct sa_gpu_loaded sa_gpu_loaded;
sparse_attn_status sa_gpu_load(const sparse_attn_kernel *kernel,
                               const sa_gpu_device *device, const sa_gpu_module *module,
                               sa_gpu_loaded **loaded);
/* NULL is allowed. CUDA keeps the module, for other plans, until the library is
 * closed. */
void sa_gpu_unload(sa_gpu_loaded *loaded);
sparse_attn_status sa_gpu_find(const sparse_attn_kernel *kernel,
                               const sa_gpu_device *device, const sa_gpu_loaded *loaded,
                               const char *name, int32_t shared_bytes, void **function);
/* Unloads what no plan uses of `library`, which is about to be closed. */
void sa_gpu_forget(const sparse_attn_library *library);

/*===--- gpu_plan.c -------------------------------------------------------===*/

/* Items of a launch, in the plan's memory. */
typedef struct sa_gpu_items {
  size_t at; /* offset */
  int64_t count;
} sa_gpu_items;

/* The kernels of a step, ready to be launched. */
typedef struct sa_gpu_step {
  const sa_gpu_kernel *kernel;
  sa_gpu_loaded *loaded;
  void *run, *combine; /* functions */
} sa_gpu_step;

typedef struct sa_gpu_attention {
  const sa_gpu_kernel *kernel;
  int64_t stack; /* heads of a tile */
  /* The attention with the GPU's tiles, for the code that makes plans. */
  sa_attention code;
  sa_level level;
  sa_gpu_items items, combined;
  int64_t slots;
  size_t entries, runs, bits; /* offsets */
} sa_gpu_attention;

typedef struct sa_gpu_plan {
  sa_gpu_device device;
  bool open;
  sa_gpu_step *steps;           /* as in the kernel */
  sa_gpu_attention *attentions; /* as in the plan */
  char *memory;                 /* of the device */
  size_t bytes;
  sa_view *views; /* by value id: layout operands in `memory` */
} sa_gpu_plan;

/* Whether `options` ask for a GPU. */
static inline bool sa_wants_gpu(const sparse_attn_options *options) {
  return options && options->device.device_type != 0 &&
         options->device.device_type != kDLCPU;
}

/* Blocks that the device runs at the same time, as far as their shared memory tells. */
int64_t sa_gpu_resident_blocks(const sparse_attn_plan *plan, const sa_gpu_kernel *kernel);

/* Opens the device, chooses kernels for it, and gives plan->attentions its tiles. */
sparse_attn_status sa_gpu_open(sparse_attn_plan *plan,
                               const sparse_attn_options *options);

/* Brings what the finished plan knows into the device's memory. */
sparse_attn_status sa_gpu_upload(sparse_attn_plan *plan);

void sa_gpu_destroy(sparse_attn_plan *plan);

/*===--- gpu_items.c ------------------------------------------------------===*/

/* What the device's memory will hold, from its beginning on. */
typedef struct sa_gpu_image {
  sa_buffer bytes;
} sa_gpu_image;

/* Room for `bytes` at an aligned place at the end, and that place; NULL without
 * memory. */
void *sa_gpu_place(sa_gpu_image *image, size_t bytes, size_t *at);

/* Appends the items, lists and lengths of an attention. OUT_OF_MEMORY or OVERFLOW. */
sparse_attn_status sa_gpu_list_items(const sparse_attn_plan *plan,
                                     const sa_plan_attention *attention,
                                     sa_gpu_attention *gpu, sa_gpu_image *image);

/*===--- gpu_run.c --------------------------------------------------------===*/

/* Of a kernel's parameters CUDA takes 4 KB, maps among them: so many values have views in
 * them. */
enum {
  SA_GPU_ARGUMENT_BYTES = 4096 - 2 * sizeof(sparse_attn_gpu_map) - 64,
  SA_GPU_MOST_VALUES =
      (SA_GPU_ARGUMENT_BYTES - sizeof(struct sa_gpu_args)) / sizeof(sa_view)
};

sparse_attn_status sa_gpu_workspace_size(const sparse_attn_plan *plan, size_t *bytes);

/* Makes the views of temporaries in a workspace, and returns where the states of shares
 * are. */
char *sa_gpu_open_workspace(const sparse_attn_plan *plan, char *workspace,
                            sa_view *values);

/* Starts the kernels of a plan. */
sparse_attn_status sa_gpu_run(const sparse_attn_plan *plan, const sa_view *values,
                              char *states, void *stream);

#endif /* SPARSE_ATTN_RUNTIME_GPU_H */
