//===- Machine.cpp - LLVM's code generator for a processor ----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Target/Machine.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Triple.h"
#include <mutex>

using namespace llvm;

Expected<std::unique_ptr<TargetMachine>>
sparse_attn::createMachine(const CPUArchitecture &architecture, StringRef cpu,
                           StringRef features) {
  static std::once_flag once;
  std::call_once(once, [] {
    for (const CPUArchitecture *each : getArchitectures())
      each->registerBackend();
  });
  Triple triple(architecture.getTriple());
  std::string error;
  const Target *target = TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return createStringError("this LLVM cannot compile for " + architecture.name + ": " +
                             error);
  return std::unique_ptr<TargetMachine>(
      target->createTargetMachine(triple, cpu, features, TargetOptions(), Reloc::PIC_,
                                  std::nullopt, CodeGenOptLevel::Aggressive));
}

Expected<SmallVector<char, 0>>
sparse_attn::emitCode(Module &module, TargetMachine &machine, CodeGenFileType type) {
  SmallVector<char, 0> bytes;
  raw_svector_ostream stream(bytes);
  legacy::PassManager passes;
  if (machine.addPassesToEmitFile(passes, stream, nullptr, type))
    return createStringError("LLVM cannot write this kind of file for " +
                             module.getTargetTriple().str());
  passes.run(module);
  return bytes;
}
