//===- Machine.h - LLVM's code generator for a processor -------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TARGET_MACHINE_H
#define SPARSE_ATTN_TARGET_MACHINE_H

#include "sparse_attn/Target/CPUArchitecture.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"
#include "llvm/Target/TargetMachine.h"

namespace sparse_attn {

/// Position-independent code for `cpu` with `features`.
llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createMachine(const CPUArchitecture &architecture, llvm::StringRef cpu,
              llvm::StringRef features);

/// `module`, whose triple and data layout are those of `machine`, as an object or
/// as assembly.
llvm::Expected<llvm::SmallVector<char, 0>>
emitCode(llvm::Module &module, llvm::TargetMachine &machine, llvm::CodeGenFileType type);

} // namespace sparse_attn

#endif // SPARSE_ATTN_TARGET_MACHINE_H
