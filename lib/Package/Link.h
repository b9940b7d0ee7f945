//===- Link.h - the archive and the shared library -------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_PACKAGE_LINK_H
#define SPARSE_ATTN_LIB_PACKAGE_LINK_H

#include "sparse_attn/Package/Package.h"
#include "llvm/Support/raw_ostream.h"

namespace sparse_attn {

/// Writes an archive of `objects` and of the runtime's members.
llvm::Error writeArchive(llvm::ArrayRef<const ObjectFile *> objects,
                         llvm::StringRef runtimeArchive, llvm::raw_ostream &stream);

/// Links `objects` and the runtime into the shared library `output`.
llvm::Error linkShared(const CompiledLibrary &library,
                       llvm::ArrayRef<const ObjectFile *> objects,
                       const PackageOptions &options, llvm::StringRef output);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_PACKAGE_LINK_H
