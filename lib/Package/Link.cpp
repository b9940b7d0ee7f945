//===- Link.cpp - the archive and the shared library ----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Link.h"
#include "SystemLibraries.h"
#include "sparse_attn/Package/Package.h"
#include "sparse_attn/Support/Program.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Object/Archive.h"
#include "llvm/Object/ArchiveWriter.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"

using namespace sparse_attn;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;
using llvm::Twine;

//===----------------------------------------------------------------------===//
// The runtime's archive
//===----------------------------------------------------------------------===//

Expected<std::string>
sparse_attn::findRuntimeArchive(StringRef executable,
                                const CPUArchitecture &architecture) {
  std::vector<std::string> tried;
  // In the build tree, and in an installed one.
  for (StringRef folder : {StringRef("../runtime"), StringRef("../lib"),
                           StringRef("../" SPARSE_ATTN_LIBDIR)}) {
    llvm::SmallString<128> path(llvm::sys::path::parent_path(executable));
    llvm::sys::path::append(path, folder);
    if (!architecture.isHost())
      llvm::sys::path::append(path, architecture.getMultiarchName());
    llvm::sys::path::append(path, "libsparse_attn_runtime.a");
    llvm::sys::path::remove_dots(path, /*remove_dot_dot=*/true);
    if (llvm::sys::fs::exists(path))
      return std::string(path);
    tried.push_back(std::string(path));
  }
  std::string hint = "; name it with --runtime-archive";
  if (!architecture.isHost())
    hint = "; install " + listCrossPackages(architecture) +
           " and build sparse-attn again, or name one with --runtime-archive";
  return llvm::createStringError(
      "the runtime's archive" +
      (architecture.isHost() ? std::string() : " for " + architecture.name.str()) +
      " is not found" + hint + " (looked for " + llvm::join(tried, ", ") + ")");
}

static Error makeArchiveError(StringRef path, Error error) {
  return llvm::createStringError("cannot use the runtime's archive '" + path +
                                 "': " + llvm::toString(std::move(error)));
}

//===----------------------------------------------------------------------===//
// Static
//===----------------------------------------------------------------------===//

static llvm::NewArchiveMember makeMember(const ObjectFile &object) {
  return llvm::NewArchiveMember(llvm::MemoryBufferRef(
      StringRef(object.bytes.data(), object.bytes.size()), object.name));
}

Error sparse_attn::writeArchive(llvm::ArrayRef<const ObjectFile *> objects,
                                StringRef runtimeArchive, llvm::raw_ostream &stream) {
  auto buffer = llvm::MemoryBuffer::getFile(runtimeArchive);
  if (!buffer)
    return makeArchiveError(runtimeArchive, llvm::errorCodeToError(buffer.getError()));
  auto runtime = llvm::object::Archive::create(**buffer);
  if (!runtime)
    return makeArchiveError(runtimeArchive, runtime.takeError());

  std::vector<llvm::NewArchiveMember> members;
  for (const ObjectFile *object : objects)
    members.push_back(makeMember(*object));
  Error error = Error::success();
  for (const llvm::object::Archive::Child &child : (*runtime)->children(error)) {
    auto member = llvm::NewArchiveMember::getOldMember(child, /*Deterministic=*/true);
    if (!member)
      return llvm::joinErrors(std::move(error),
                              makeArchiveError(runtimeArchive, member.takeError()));
    members.push_back(std::move(*member));
  }
  if (error)
    return makeArchiveError(runtimeArchive, std::move(error));
  return llvm::writeArchiveToStream(stream, members,
                                    llvm::SymtabWritingMode::NormalSymtab,
                                    llvm::object::Archive::K_GNU, /*Deterministic=*/true,
                                    /*Thin=*/false);
}

//===----------------------------------------------------------------------===//
// Shared
//===----------------------------------------------------------------------===//

/// Everything but the C interface stays inside.
static std::string makeVersionScript(const CompiledLibrary &library) {
  return "{\n  global: sparse_attn_*; " + library.name + "_library; " + library.name +
         "_library_descriptor;\n  local: *;\n};\n";
}

Error sparse_attn::linkShared(const CompiledLibrary &library,
                              llvm::ArrayRef<const ObjectFile *> objects,
                              const PackageOptions &options, StringRef output) {
  Expected<Linker> linker = findLinker(options.linker, *library.architecture);
  if (!linker)
    return linker.takeError();
  Expected<std::vector<std::string>> libraries =
      findSystemLibraries(*library.architecture);
  if (!libraries)
    return libraries.takeError();

  TemporaryFiles files;
  std::vector<std::string> command;
  // -Bsymbolic: a library uses its own runtime, whatever else a process loads.
  std::vector<std::string> flags = {"-Bsymbolic",
                                    "--no-undefined",
                                    "--build-id=sha1",
                                    "-znow",
                                    "-zrelro",
                                    "-znoexecstack",
                                    "-soname=lib" + library.name + ".so"};
  Expected<std::string> script = files.add("map", makeVersionScript(library));
  if (!script)
    return script.takeError();
  flags.push_back("--version-script=" + *script);
  auto addFlag = [&](const std::string &flag) {
    command.push_back(linker->isCompiler ? "-Wl," + flag : flag);
  };
  command.push_back("-shared");
  if (linker->isCompiler)
    command.push_back("-nostdlib");
  llvm::for_each(flags, addFlag);
  command.insert(command.end(), {"-o", output.str()});
  for (const ObjectFile *object : objects) {
    Expected<std::string> path =
        files.add("o", StringRef(object->bytes.data(), object->bytes.size()));
    if (!path)
      return path.takeError();
    command.push_back(*path);
  }
  // All of the public interface, also what the kernels do not call.
  addFlag("--whole-archive");
  command.push_back(options.runtimeArchive);
  addFlag("--no-whole-archive");
  addFlag("--as-needed");
  command.insert(command.end(), libraries->begin(), libraries->end());
  if (Error error = runProgram(linker->path, command))
    return llvm::createStringError("the linker '" + linker->path +
                                   "' failed: " + llvm::toString(std::move(error)));
  return Error::success();
}
