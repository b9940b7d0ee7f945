//===- Package.h - from a compiled library to files ------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   CompiledLibrary + the runtime's archive
//     -> lib<name>.so, lib<name>.a, <name>.h, <name>.json
//
// packageLibrary does it all; the functions before it make the single parts.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_PACKAGE_PACKAGE_H
#define SPARSE_ATTN_PACKAGE_PACKAGE_H

#include "sparse_attn/Package/Artifact.h"
#include "llvm/Support/Error.h"

namespace sparse_attn {

/// Whether `name` can name a library, a kernel or a tensor: a C identifier that
/// does not begin with an underscore.
bool isValidName(llvm::StringRef name);

/// Checks what the C interface demands of names, tensors and value ids.
llvm::Error checkLibrary(const CompiledLibrary &library);

/// What the C interface puts before a kernel's functions: the kernel's name where
/// it is the library's, else both.
std::string getPrefix(const CompiledLibrary &library, const CompiledKernel &kernel);

/// "B", "Hkv", "N or 1", "64" or "any": the size of an axis.
std::string describeAxis(const TensorDesc &tensor, unsigned axis);

/// "f32", "i8": the element type.
std::string describeType(const TensorDesc &tensor);

/// The manifest as docs/manifest.md describes it.
std::string buildManifest(const CompiledLibrary &library);

/// The C99 header.
std::string buildHeader(const CompiledLibrary &library);

/// An object file that defines
///
///   const sparse_attn_library <name>_library_descriptor
///   const sparse_attn_library *<name>_library(void)
///
/// and, for a shared library, SA_LIBRARY_SYMBOL as another name of the former
/// (in an archive it would clash with another library's).
llvm::Expected<ObjectFile> buildDescriptor(const CompiledLibrary &library,
                                           llvm::StringRef manifest, bool shared);

struct PackageOptions {
  std::string directory;      ///< made where it does not exist
  std::string runtimeArchive; ///< libsparse_attn_runtime.a
  std::string linker;         ///< empty: searched for
};

/// The paths that were written.
struct PackagedFiles {
  std::string header, manifest, archive, sharedLibrary;
};

/// Writes the four files. Each is complete or absent: it gets its name once it
/// is whole.
llvm::Expected<PackagedFiles> packageLibrary(const CompiledLibrary &library,
                                             const PackageOptions &options);

/// The runtime's archive near the running program, which lies at `executable`:
/// that of the build tree, or the one installed beside it. Those of other
/// architectures lie in folders that are named after them.
llvm::Expected<std::string> findRuntimeArchive(llvm::StringRef executable,
                                               const CPUArchitecture &architecture);

/// Writes `contents` to `path` so that the file is complete or absent.
llvm::Error writeFileAtomically(llvm::StringRef path, llvm::StringRef contents);

} // namespace sparse_attn

#endif // SPARSE_ATTN_PACKAGE_PACKAGE_H
