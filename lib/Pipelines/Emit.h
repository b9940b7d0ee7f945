//===- Emit.h - LLVM IR, assembly and objects ------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_PIPELINES_EMIT_H
#define SPARSE_ATTN_LIB_PIPELINES_EMIT_H

#include "sparse_attn/Pipelines/Pipelines.h"
#include "llvm/IR/Module.h"
#include "llvm/Target/TargetMachine.h"

namespace sparse_attn {

/// Position-independent x86-64 code for `cpu`; null after a diagnostic.
std::unique_ptr<llvm::TargetMachine>
createTargetMachine(mlir::ModuleOp module, llvm::StringRef cpu, llvm::StringRef features);

/// A module of the llvm dialect as optimised LLVM IR; null after a diagnostic.
std::unique_ptr<llvm::Module> translateAndOptimise(mlir::ModuleOp module,
                                                   llvm::LLVMContext &context,
                                                   llvm::TargetMachine &machine);

mlir::LogicalResult emitMachineCode(llvm::Module &module, llvm::TargetMachine &machine,
                                    bool assembly, llvm::raw_pwrite_stream &os);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_PIPELINES_EMIT_H
