//===- Means.h - means of blocks of keys or values on a GPU ----*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_CONVERSION_MEANS_H
#define SPARSE_ATTN_LIB_CONVERSION_MEANS_H

#include "GPUBuilder.h"
#include "sparse_attn/Conversion/GPUShape.h"

namespace sparse_attn {

/// The body of a kernel, of kMeansThreads threads, that computes `op`: a thread for each
/// element. `args` points to an sa_gpu_args, of which values and entries are read.
void buildMeans(GPUBuilder &b, PoolOp op, const KernelValues &ids, mlir::Value args);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_CONVERSION_MEANS_H
