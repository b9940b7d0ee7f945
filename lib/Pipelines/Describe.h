//===- Describe.h - facts about a kernel for packaging ---------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_PIPELINES_DESCRIBE_H
#define SPARSE_ATTN_LIB_PIPELINES_DESCRIBE_H

#include "dialect/BlockPlan/BlockPlan.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "sparse_attn/Conversion/KernelValues.h"
#include "sparse_attn/Pipelines/Pipelines.h"

namespace sparse_attn {

/// Inputs and outputs of a kernel as written: names, axes, and whether an input
/// belongs to the layout. Reports what cannot be a kernel.
mlir::FailureOr<CompiledKernel> describeInterface(mlir::func::FuncOp kernel);

/// Adds the steps of the same kernel after lowerToPlan.
void describeSteps(mlir::func::FuncOp planned, llvm::ArrayRef<const CPULevel *> levels,
                   CompiledKernel &kernel);

/// Adds the sets, scores and encodings of a mask that a run decides; `getSymbol` names
/// the class of each part that is known before.
void describeChoice(block_plan::AttentionOp plan, const KernelValues &ids,
                    llvm::function_ref<std::string(unsigned)> getSymbol,
                    AttentionDesc &desc, std::vector<EncodingDesc> &encodings);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_PIPELINES_DESCRIBE_H
