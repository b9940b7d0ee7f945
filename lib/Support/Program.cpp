//===- Program.cpp - other programs and the files that they read ----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Support/Program.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

using namespace sparse_attn;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;

TemporaryFiles::~TemporaryFiles() {
  for (const std::string &path : paths)
    llvm::sys::fs::remove(path);
}

Expected<std::string> TemporaryFiles::add(StringRef suffix, StringRef contents) {
  llvm::SmallString<128> path;
  int file;
  if (std::error_code code =
          llvm::sys::fs::createTemporaryFile("sparse-attn", suffix, file, path))
    return llvm::createStringError(code,
                                   "cannot make a temporary file: " + code.message());
  paths.push_back(std::string(path));
  llvm::raw_fd_ostream stream(file, /*shouldClose=*/true);
  stream << contents;
  stream.flush();
  std::error_code code = stream.error();
  stream.clear_error();
  if (code)
    return llvm::createStringError(code,
                                   "cannot write '" + path + "': " + code.message());
  return paths.back();
}

Error sparse_attn::runProgram(StringRef path, llvm::ArrayRef<std::string> arguments) {
  TemporaryFiles files;
  Expected<std::string> log = files.add("log", "");
  if (!log)
    return log.takeError();
  std::vector<StringRef> command{path};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::optional<StringRef> redirects[] = {std::nullopt, StringRef(*log), StringRef(*log)};
  std::string reason;
  int status = llvm::sys::ExecuteAndWait(path, command, std::nullopt, redirects,
                                         /*SecondsToWait=*/0, /*MemoryLimit=*/0, &reason);
  if (status == 0)
    return Error::success();
  if (auto text = llvm::MemoryBuffer::getFile(*log))
    reason += (*text)->getBuffer().trim().str();
  return llvm::createStringError(reason);
}
