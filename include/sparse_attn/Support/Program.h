//===- Program.h - other programs and the files that they read -*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_SUPPORT_PROGRAM_H
#define SPARSE_ATTN_SUPPORT_PROGRAM_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace sparse_attn {

/// Files that exist while a program runs.
class TemporaryFiles {
public:
  TemporaryFiles() = default;
  TemporaryFiles(const TemporaryFiles &) = delete;
  TemporaryFiles &operator=(const TemporaryFiles &) = delete;
  ~TemporaryFiles();

  /// The path of a new one.
  llvm::Expected<std::string> add(llvm::StringRef suffix, llvm::StringRef contents);

private:
  std::vector<std::string> paths;
};

/// Runs the program at `path` and waits for its end. On failure the error is what it has
/// printed, or why it did not start.
llvm::Error runProgram(llvm::StringRef path, llvm::ArrayRef<std::string> arguments);

} // namespace sparse_attn

#endif // SPARSE_ATTN_SUPPORT_PROGRAM_H
