//===- MadeLibrary.h - a compiled library made by hand ---------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_PACKAGE_MADELIBRARY_H
#define SPARSE_ATTN_TEST_UNIT_PACKAGE_MADELIBRARY_H

#include "sparse_attn/Package/Package.h"
#include "gtest/gtest.h"

namespace sparse_attn {

/// Library `name` with the kernels `name` (every field of every structure has a
/// value of its own) and "plain". Its functions are those of Inputs/kernel.c.
CompiledLibrary makeLibrary(llvm::StringRef name = "made");

/// A folder that is removed with its contents.
class TemporaryFolder {
public:
  TemporaryFolder();
  ~TemporaryFolder();
  std::string file(llvm::StringRef name) const;
  llvm::StringRef path() const { return folder; }
  /// The names of the files in it, in ascending order.
  std::vector<std::string> list() const;

private:
  std::string folder;
};

/// Options that put a library into `folder`.
PackageOptions makeOptions(const TemporaryFolder &folder);

/// Runs a program and returns its exit status; -1 if it cannot be run. What it
/// prints is in `output`.
int runProgram(std::vector<std::string> command, std::string &output);

std::string readFile(llvm::StringRef path);
void writeFile(llvm::StringRef path, llvm::StringRef contents);

} // namespace sparse_attn

#endif // SPARSE_ATTN_TEST_UNIT_PACKAGE_MADELIBRARY_H
