//===- Describe.h - facts about a kernel for packaging ---------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_PIPELINES_DESCRIBE_H
#define SPARSE_ATTN_LIB_PIPELINES_DESCRIBE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "sparse_attn/Pipelines/Pipelines.h"

namespace sparse_attn {

/// Inputs and outputs of a kernel as written: names, axes, and whether an input
/// belongs to the layout. Reports what cannot be a kernel.
mlir::FailureOr<CompiledKernel> describeInterface(mlir::func::FuncOp kernel);

/// Adds the steps of the same kernel after lowerToPlan.
void describeSteps(mlir::func::FuncOp planned, llvm::ArrayRef<const CPULevel *> levels,
                   CompiledKernel &kernel);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_PIPELINES_DESCRIBE_H
