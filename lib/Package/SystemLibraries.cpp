//===- SystemLibraries.cpp - the linker and what it links -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SystemLibraries.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"

using namespace sparse_attn;
using llvm::Expected;
using llvm::StringRef;

Expected<Linker> sparse_attn::findLinker(StringRef wanted) {
  auto isLinker = [](StringRef path) {
    return llvm::sys::path::filename(path).contains("ld");
  };
  if (!wanted.empty()) {
    llvm::ErrorOr<std::string> path = llvm::sys::findProgramByName(wanted);
    if (!path)
      return llvm::createStringError("cannot run the linker '" + wanted + "'");
    return Linker{*path, !isLinker(*path)};
  }
  // The configured folder holds the linker of the LLVM that we were built with.
  for (StringRef folder : {StringRef(SPARSE_ATTN_LLVM_BIN), StringRef()})
    for (StringRef name : {"ld.lld", "ld.lld-22", "cc", "gcc", "clang"}) {
      bool compiler = !isLinker(name);
      llvm::ErrorOr<std::string> path =
          folder.empty() ? llvm::sys::findProgramByName(name)
                         : llvm::sys::findProgramByName(name, {folder});
      if (path && (!compiler || folder.empty()))
        return Linker{*path, compiler};
    }
  return llvm::createStringError(
      "no linker was found to make the shared library; install lld-22, or name one "
      "with --linker");
}

/// The file of a shared library, or "".
static std::string findLibrary(StringRef name) {
  for (StringRef folder :
       {StringRef(SPARSE_ATTN_GOMP_DIR), StringRef("/lib/x86_64-linux-gnu"),
        StringRef("/usr/lib/x86_64-linux-gnu"), StringRef("/lib64"),
        StringRef("/usr/lib64"), StringRef("/lib"), StringRef("/usr/lib")}) {
    llvm::SmallString<128> path(folder);
    llvm::sys::path::append(path, name);
    if (!folder.empty() && llvm::sys::fs::exists(path))
      return std::string(path);
  }
  return "";
}

Expected<std::vector<std::string>> sparse_attn::findSystemLibraries() {
  std::vector<std::string> paths;
  for (StringRef name : {"libgomp.so.1", "libm.so.6", "libc.so.6"}) {
    std::string path = findLibrary(name);
    if (path.empty())
      return llvm::createStringError(
          "the shared library needs " + name + ", which is not installed" +
          (name == "libgomp.so.1" ? "; install libgomp1 (GCC's OpenMP runtime)" : ""));
    paths.push_back(path);
  }
  // Part of libc, or of no use, on some systems.
  for (StringRef name : {"ld-linux-x86-64.so.2", "libpthread.so.0", "libdl.so.2"})
    if (std::string path = findLibrary(name); !path.empty())
      paths.push_back(path);
  return paths;
}
