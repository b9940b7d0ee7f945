//===- GPUTarget.cpp - finds GPU architectures ----------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Target/GPUTarget.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Triple.h"
#include <mutex>

using namespace sparse_attn;
using llvm::StringRef;

// GPUTargets.inc, written by CMake, has GPU_TARGET(SM80) and so on for the files of
// lib/Target/NVPTX, in the order of their names.
namespace sparse_attn::gpu {
#define GPU_TARGET(name) extern const GPUTarget name;
#include "GPUTargets.inc"
#undef GPU_TARGET
} // namespace sparse_attn::gpu

llvm::ArrayRef<const GPUTarget *> sparse_attn::getGPUTargets() {
  static const GPUTarget *const kAll[] = {
#define GPU_TARGET(name) &gpu::name,
#include "GPUTargets.inc"
#undef GPU_TARGET
  };
  return kAll;
}

const GPUTarget *sparse_attn::findGPUTarget(StringRef name) {
  for (const GPUTarget *target : getGPUTargets())
    if (target->name == name)
      return target;
  return nullptr;
}

std::string sparse_attn::listGPUTargets() {
  return llvm::join(llvm::map_range(getGPUTargets(),
                                    [](const GPUTarget *target) { return target->name; }),
                    ", ");
}

llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
sparse_attn::createMachine(const GPUTarget &target) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
  });
  llvm::Triple triple("nvptx64-nvidia-cuda");
  std::string error;
  const llvm::Target *backend = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!backend)
    return llvm::createStringError("this LLVM cannot compile for NVIDIA GPUs: " + error);
  return std::unique_ptr<llvm::TargetMachine>(backend->createTargetMachine(
      triple, target.name, target.features, llvm::TargetOptions(), std::nullopt,
      std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}
