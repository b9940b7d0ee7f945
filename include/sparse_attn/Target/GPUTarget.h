//===- GPUTarget.h - facts about a GPU architecture ------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An architecture is one file, lib/Target/NVPTX/<Name>.cpp, which defines
// gpu::<Name>. The build finds the files: nothing lists them.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TARGET_GPUTARGET_H
#define SPARSE_ATTN_TARGET_GPUTARGET_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Target/TargetMachine.h"
#include <memory>

namespace sparse_attn {

/// What the lowering needs to know of one GPU architecture.
struct GPUTarget {
  llvm::StringLiteral name;     ///< for --target, LLVM and ptxas: "sm_80"
  llvm::StringLiteral features; ///< the version of PTX: "+ptx80"
  int32_t capability;           ///< of the devices that run it at least: 80 for 8.0
  bool exact = false;           ///< devices of later ones do not run it
  int64_t sharedBytes;          ///< that one block can have
  bool warpgroups = false;      ///< wgmma, TMA, and registers that warpgroups hand over
};

/// All, ascending.
llvm::ArrayRef<const GPUTarget *> getGPUTargets();

/// Null where there is none.
const GPUTarget *findGPUTarget(llvm::StringRef name);

/// "sm_80, sm_90a", for messages.
std::string listGPUTargets();

/// LLVM's NVPTX backend for `target`.
llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createMachine(const GPUTarget &target);

/// The machine code of `ptx` by the program `ptxas`, a cubin; what that says on failure.
llvm::Expected<std::string> assemble(llvm::StringRef ptx, const GPUTarget &target,
                                     llvm::StringRef ptxas);

} // namespace sparse_attn

#endif // SPARSE_ATTN_TARGET_GPUTARGET_H
