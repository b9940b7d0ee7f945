/*===- FakeCuda.h - a CUDA driver that counts its calls -------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Built as a library that the runtime loads in the place of libcuda.so.1. Device memory
 * is memory; kernels do nothing.
 *
 *===----------------------------------------------------------------------===*/
#ifndef SPARSE_ATTN_TEST_UNIT_RUNTIME_FAKECUDA_H
#define SPARSE_ATTN_TEST_UNIT_RUNTIME_FAKECUDA_H

#include <stddef.h>
#include <stdint.h>

typedef struct fake_launch {
  const char *name; /* of the kernel */
  unsigned blocks, threads, shared_bytes;
  void *stream;
  char arguments[640]; /* aligned as sa_gpu_args is */
  int context;         /* device of the current one */
} fake_launch;

typedef struct fake_cuda {
  /* What tests set. */
  int devices, capability, multiprocessors;
  size_t memory; /* that an allocation can have at most */
  int fail_launch;
  /* What they look at. */
  int retained, loaded, allocations, depth; /* now */
  int waits;                                /* and copies, so far */
  size_t downloaded, copied;                /* bytes so far */
  int copies;                               /* in the device's memory, so far */
  int shared_bytes;                         /* asked for the kernel */
  char image[32];                           /* that was loaded last */
  int maps;                                 /* made so far, and the last one */
  uint64_t map_sizes[4], map_strides[3];
  uint32_t map_box[4];
  int launch_count;
  fake_launch launches[64];
} fake_cuda;

#endif /* SPARSE_ATTN_TEST_UNIT_RUNTIME_FAKECUDA_H */
