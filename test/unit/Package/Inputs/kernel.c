/*===- kernel.c - what compilation would have generated -------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * A mask that keeps every pair. Each function leaves a mark, so that a test sees
 * which one the descriptor points at.
 *
 *===----------------------------------------------------------------------===*/
#include "sparse_attn/abi.h"

#define HIDDEN __attribute__((visibility("hidden")))

HIDDEN int32_t made_classify(const sa_mask_context *context, int32_t b, int32_t h,
                             int32_t p0, int32_t p1, int32_t j0, int32_t j1,
                             int32_t step) {
  (void)context, (void)b, (void)h, (void)p0, (void)p1, (void)j0, (void)j1, (void)step;
  return 1;
}

HIDDEN void made_pack_avx2(const sa_pack_args *args) { *(int *)args->packed = 12; }
HIDDEN void made_attend_avx2(const sa_attend_args *args) { *(int *)args->scratch = 22; }
HIDDEN void made_combine_avx2(const sa_attend_args *args) { *(int *)args->scratch = 32; }
HIDDEN void made_pack_avx512(const sa_pack_args *args) { *(int *)args->packed = 15; }
HIDDEN void made_attend_avx512(const sa_attend_args *args) { *(int *)args->scratch = 25; }
HIDDEN void made_combine_avx512(const sa_attend_args *args) {
  *(int *)args->scratch = 35;
}
HIDDEN void made_fill_avx512(const sa_fill_args *args) { args->bits[0] = 35; }
