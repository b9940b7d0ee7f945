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

Expected<Linker> sparse_attn::findLinker(StringRef wanted,
                                         const CPUArchitecture &architecture) {
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
      if (compiler && !architecture.isHost())
        continue;
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

std::string sparse_attn::listCrossPackages(const CPUArchitecture &architecture) {
  return ("libc6-dev-" + architecture.debianName + "-cross libgomp1-" +
          architecture.debianName + "-cross")
      .str();
}

/// Where Debian and others keep the libraries of an architecture.
static std::vector<std::string> listFolders(const CPUArchitecture &architecture) {
  std::string multiarch = architecture.getMultiarchName();
  std::vector<std::string> folders = {"/lib/" + multiarch, "/usr/lib/" + multiarch};
  if (!architecture.isHost()) {
    folders.push_back("/usr/" + multiarch + "/lib");
    return folders;
  }
  folders.insert(folders.begin(), SPARSE_ATTN_GOMP_DIR);
  folders.insert(folders.end(), {"/lib64", "/usr/lib64", "/lib", "/usr/lib"});
  return folders;
}

/// The file of a shared library, or "".
static std::string findLibrary(StringRef name, const CPUArchitecture &architecture) {
  for (const std::string &folder : listFolders(architecture)) {
    llvm::SmallString<128> path(folder);
    llvm::sys::path::append(path, name);
    if (!folder.empty() && llvm::sys::fs::exists(path))
      return std::string(path);
  }
  return "";
}

static llvm::Error makeMissingError(StringRef name, const CPUArchitecture &architecture) {
  std::string message = ("the shared library needs " + name).str();
  if (!architecture.isHost())
    return llvm::createStringError(message + " of " + architecture.name +
                                   ", which is not installed; install " +
                                   listCrossPackages(architecture));
  return llvm::createStringError(
      message + ", which is not installed" +
      (name == "libgomp.so.1" ? "; install libgomp1 (GCC's OpenMP runtime)" : ""));
}

Expected<std::vector<std::string>>
sparse_attn::findSystemLibraries(const CPUArchitecture &architecture) {
  std::vector<std::string> paths;
  for (StringRef name : {"libgomp.so.1", "libm.so.6", "libc.so.6"}) {
    std::string path = findLibrary(name, architecture);
    if (path.empty())
      return makeMissingError(name, architecture);
    paths.push_back(path);
  }
  // Part of libc, or of no use, on some systems.
  for (StringRef name : {StringRef(architecture.loader), StringRef("libpthread.so.0"),
                         StringRef("libdl.so.2")})
    if (std::string path = findLibrary(name, architecture); !path.empty())
      paths.push_back(path);
  // Compiler helpers such as population counts, where gcc is there.
  if (StringRef helpers = SPARSE_ATTN_LIBGCC;
      architecture.isHost() && llvm::sys::fs::exists(helpers))
    paths.push_back(helpers.str());
  return paths;
}
