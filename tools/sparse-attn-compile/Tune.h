//===- Tune.h - measuring tiles on this machine ----------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TOOLS_COMPILE_TUNE_H
#define SPARSE_ATTN_TOOLS_COMPILE_TUNE_H

#include "Options.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/JSON.h"

namespace sparse_attn {

/// What the manifest tells about how a kernel was tuned, by the kernel's name.
using TuningFacts = llvm::StringMap<llvm::json::Object>;

/// Measures the cheapest tiles of every kernel, tells on stderr how that goes, and
/// writes the fastest to the kernel's block_plan.tile.
llvm::Expected<TuningFacts> tuneKernels(mlir::ModuleOp module, const Options &options,
                                        llvm::StringRef runtimeArchive);

} // namespace sparse_attn

#endif // SPARSE_ATTN_TOOLS_COMPILE_TUNE_H
