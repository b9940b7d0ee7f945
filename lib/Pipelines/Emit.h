//===- Emit.h - LLVM IR, assembly and objects ------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_PIPELINES_EMIT_H
#define SPARSE_ATTN_LIB_PIPELINES_EMIT_H

#include "sparse_attn/Pipelines/Pipelines.h"
#include "sparse_attn/Target/Machine.h"

namespace sparse_attn {

/// createMachine of lib/Target; null after a diagnostic.
std::unique_ptr<llvm::TargetMachine>
createMachineOrReport(mlir::ModuleOp module, const CPUArchitecture &architecture,
                      llvm::StringRef cpu, llvm::StringRef features);

/// A module of the llvm dialect as LLVM IR, optimised by `passes` as `opt --passes`
/// takes them; null after a diagnostic.
std::unique_ptr<llvm::Module>
translateAndOptimise(mlir::ModuleOp module, llvm::LLVMContext &context,
                     llvm::TargetMachine &machine,
                     llvm::StringRef passes = "default<O2>");

/// Compiles a module of plans for GPUs.
mlir::LogicalResult compileGPUs(mlir::ModuleOp plans, const GPUOptions &options,
                                CompiledLibrary &library);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_PIPELINES_EMIT_H
