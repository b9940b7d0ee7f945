//===- CPUArchitecture.h - facts about a processor architecture -*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An architecture is one file, lib/Target/CPU/<Name>.cpp, which defines
// cpu::<Name>. The build finds the files: nothing lists them.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TARGET_CPUARCHITECTURE_H
#define SPARSE_ATTN_TARGET_CPUARCHITECTURE_H

#include "sparse_attn/Target/CPULevel.h"

namespace sparse_attn {

/// What compiling and linking need to know of one architecture.
struct CPUArchitecture {
  llvm::StringLiteral name; ///< for --target, and as LLVM's triples begin
  /// What LLVM selects for in code that is compiled once for all levels.
  llvm::StringLiteral baselineCpu;
  llvm::StringLiteral debianName;  ///< "arm64", in the names of packages
  llvm::StringLiteral loader;      ///< the file name of glibc's dynamic linker
  void (*registerBackend)();       ///< of LLVM
  llvm::ArrayRef<CPULevel> levels; ///< ascending; never empty

  /// "aarch64-linux-gnu", as Debian names folders.
  std::string getMultiarchName() const { return name.str() + "-linux-gnu"; }
  /// "aarch64-unknown-linux-gnu"
  std::string getTriple() const { return name.str() + "-unknown-linux-gnu"; }
  /// Whether the compiler itself runs on it.
  bool isHost() const;
};

/// All, in the order of their names.
llvm::ArrayRef<const CPUArchitecture *> getArchitectures();

/// Null where there is none.
const CPUArchitecture *findArchitecture(llvm::StringRef name);
const CPUArchitecture *findHostArchitecture();

/// The one that a level belongs to.
const CPUArchitecture &getArchitecture(const CPULevel &level);

} // namespace sparse_attn

#endif // SPARSE_ATTN_TARGET_CPUARCHITECTURE_H
