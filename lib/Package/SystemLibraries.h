//===- SystemLibraries.h - the linker and what it links --------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_PACKAGE_SYSTEMLIBRARIES_H
#define SPARSE_ATTN_LIB_PACKAGE_SYSTEMLIBRARIES_H

#include "sparse_attn/Target/CPUArchitecture.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace sparse_attn {

/// A linker, or a compiler that calls one.
struct Linker {
  std::string path;
  bool isCompiler; ///< takes linker options as -Wl,...
};

/// ld.lld, which links for every architecture, beside LLVM or in PATH; on the host
/// also the C compiler.
llvm::Expected<Linker> findLinker(llvm::StringRef wanted,
                                  const CPUArchitecture &architecture);

/// The C, mathematics and OpenMP libraries of an architecture, as files. They are
/// linked by the names that programs load them by, so no development package is
/// needed.
llvm::Expected<std::vector<std::string>>
findSystemLibraries(const CPUArchitecture &architecture);

/// "libgomp1-arm64-cross libc6-dev-arm64-cross": Debian's packages that compiling
/// for another architecture needs.
std::string listCrossPackages(const CPUArchitecture &architecture);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_PACKAGE_SYSTEMLIBRARIES_H
