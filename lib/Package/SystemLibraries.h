//===- SystemLibraries.h - the linker and what it links --------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_PACKAGE_SYSTEMLIBRARIES_H
#define SPARSE_ATTN_LIB_PACKAGE_SYSTEMLIBRARIES_H

#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace sparse_attn {

/// A linker, or a compiler that calls one.
struct Linker {
  std::string path;
  bool isCompiler; ///< takes linker options as -Wl,...
};

/// ld.lld beside LLVM or in PATH, else the C compiler.
llvm::Expected<Linker> findLinker(llvm::StringRef wanted);

/// The C, mathematics and OpenMP libraries, as files. They are linked by the
/// names that programs load them by, so no development package is needed.
llvm::Expected<std::vector<std::string>> findSystemLibraries();

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_PACKAGE_SYSTEMLIBRARIES_H
