/*===- LibraryModule.c - a library of two kernels, whole or damaged -------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "sparse_attn/abi.h"

static const sa_tensor inputs[] = {
    {"q", 0, 4, kDLFloat, 32, {-1, -1, -1, 64}, {1, 2, 4, 0}, 0, 0},
    {"offsets", 1, 2, kDLInt, 32, {-1, -1, 0, 0}, {17, 0, 0, 0}, 1, 0},
};
static const sa_tensor outputs[] = {
    {"lse", 0, 3, kDLFloat, 32, {-1, -1, -1, 0}, {1, 2, 4, 0}, 2, 0},
};
static const sparse_attn_kernel kernels[] = {
    {"longctx", 2, 1, inputs, outputs, 3, 0, 0},
    {"decode", 0, 0, 0, 0, 0, 0, 0},
};

#ifndef MODULE_SYMBOL
#define MODULE_SYMBOL sparse_attn_library_descriptor
#endif
#ifndef MODULE_MAGIC
#define MODULE_MAGIC SA_LIBRARY_MAGIC
#endif
#ifndef MODULE_ABI
#define MODULE_ABI SPARSE_ATTN_ABI_VERSION
#endif

SPARSE_ATTN_API const sparse_attn_library MODULE_SYMBOL = {MODULE_MAGIC, MODULE_ABI, 2,
                                                           kernels, "{\"kernels\": []}"};
