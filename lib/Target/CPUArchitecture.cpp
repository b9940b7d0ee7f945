//===- CPUArchitecture.cpp - finds architectures and levels ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Target/CPUArchitecture.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

using namespace sparse_attn;
using llvm::StringRef;

// CPUArchitectures.inc, written by CMake, has ARCHITECTURE(X86) and so on for the
// files of lib/Target/CPU.
namespace sparse_attn::cpu {
#define ARCHITECTURE(name) extern const CPUArchitecture name;
#include "CPUArchitectures.inc"
#undef ARCHITECTURE
} // namespace sparse_attn::cpu

llvm::ArrayRef<const CPUArchitecture *> sparse_attn::getArchitectures() {
  static const CPUArchitecture *const kAll[] = {
#define ARCHITECTURE(name) &cpu::name,
#include "CPUArchitectures.inc"
#undef ARCHITECTURE
  };
  return kAll;
}

bool CPUArchitecture::isHost() const {
  return llvm::Triple(llvm::sys::getProcessTriple()).getArch() ==
         llvm::Triple(getTriple()).getArch();
}

const CPUArchitecture *sparse_attn::findArchitecture(StringRef name) {
  for (const CPUArchitecture *architecture : getArchitectures())
    if (architecture->name == name)
      return architecture;
  return nullptr;
}

const CPUArchitecture *sparse_attn::findHostArchitecture() {
  for (const CPUArchitecture *architecture : getArchitectures())
    if (architecture->isHost())
      return architecture;
  return nullptr;
}

const CPUArchitecture &sparse_attn::getArchitecture(const CPULevel &level) {
  for (const CPUArchitecture *architecture : getArchitectures())
    for (const CPULevel &each : architecture->levels)
      if (&each == &level)
        return *architecture;
  llvm_unreachable("every level is a row of an architecture's table");
}

const CPULevel *sparse_attn::findLevel(StringRef name) {
  for (const CPUArchitecture *architecture : getArchitectures())
    for (const CPULevel &level : architecture->levels)
      if (level.name == name)
        return &level;
  return nullptr;
}

std::string sparse_attn::listLevels() {
  std::string names;
  for (const CPUArchitecture *architecture : getArchitectures())
    for (const CPULevel &level : architecture->levels)
      names += (names.empty() ? "" : ", ") + level.name.str();
  return names;
}
