//===- AtomicFile.h - a file that is complete or absent --------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_PACKAGE_ATOMICFILE_H
#define SPARSE_ATTN_LIB_PACKAGE_ATOMICFILE_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <optional>

namespace sparse_attn {

/// "cannot write 'path': reason"
llvm::Error makeWriteError(llvm::StringRef path, std::error_code code);

/// A temporary file beside its destination, which gets its name when all is
/// written. Without commit() nothing is left, also when a signal ends the
/// program.
class AtomicFile {
public:
  static llvm::Expected<AtomicFile> create(llvm::StringRef path);

  AtomicFile(AtomicFile &&other)
      : path(std::move(other.path)), file(std::move(other.file)) {
    other.file.reset();
  }
  ~AtomicFile() {
    if (file)
      llvm::consumeError(file->discard());
  }

  /// The temporary file's path, for another program to write to.
  llvm::StringRef getTemporaryPath() const { return file->TmpName; }
  llvm::Error write(llvm::function_ref<llvm::Error(llvm::raw_ostream &)> writer);
  llvm::Error commit();

private:
  AtomicFile(llvm::StringRef path, llvm::sys::fs::TempFile file)
      : path(path), file(std::move(file)) {}

  std::string path;
  std::optional<llvm::sys::fs::TempFile> file;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_PACKAGE_ATOMICFILE_H
