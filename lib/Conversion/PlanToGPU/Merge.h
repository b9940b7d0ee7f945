//===- Merge.h - states over disjoint keys become one on a GPU -*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_CONVERSION_MERGE_H
#define SPARSE_ATTN_LIB_CONVERSION_MERGE_H

#include "GPUBuilder.h"
#include "sparse_attn/Conversion/GPUShape.h"

namespace sparse_attn {

/// The body of a kernel, of kMergeThreads threads, that computes `op`: a warp for each
/// row of O. `args` points to an sa_gpu_args, of which only the values are read.
void buildMerge(GPUBuilder &b, MergeOp op, const KernelValues &ids, mlir::Value args);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_CONVERSION_MERGE_H
