//===- ScratchFolder.h - a folder that goes away ---------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_SUPPORT_SCRATCHFOLDER_H
#define SPARSE_ATTN_SUPPORT_SCRATCHFOLDER_H

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include <string>

namespace sparse_attn {

/// A temporary folder that goes away with its contents.
class ScratchFolder {
public:
  static llvm::Expected<ScratchFolder> create(llvm::StringRef prefix) {
    llvm::SmallString<128> path;
    if (std::error_code code = llvm::sys::fs::createUniqueDirectory(prefix, path))
      return llvm::createStringError(code,
                                     "cannot make a temporary folder: " + code.message());
    return ScratchFolder(std::string(path));
  }
  ScratchFolder(ScratchFolder &&other) : path(std::move(other.path)) {
    other.path.clear();
  }
  ~ScratchFolder() {
    if (!path.empty())
      llvm::sys::fs::remove_directories(path);
  }
  const std::string &getPath() const { return path; }

private:
  explicit ScratchFolder(std::string path) : path(std::move(path)) {}
  std::string path;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_SUPPORT_SCRATCHFOLDER_H
