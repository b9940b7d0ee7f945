//===- Assembler.cpp - PTX to machine code --------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Target/GPUTarget.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

using namespace sparse_attn;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;

using Path = llvm::SmallString<128>;

static Error makeFile(StringRef suffix, Path &path) {
  int descriptor;
  if (std::error_code error =
          llvm::sys::fs::createTemporaryFile("sparse-attn", suffix, descriptor, path))
    return llvm::createStringError("cannot make a temporary file: " + error.message());
  llvm::raw_fd_ostream(descriptor, /*shouldClose=*/true);
  return Error::success();
}

static Error writeFile(StringRef path, StringRef text) {
  std::error_code error;
  llvm::raw_fd_ostream out(path, error);
  out << text;
  out.close();
  if (error || out.has_error())
    return llvm::createStringError("cannot write '" + path + "'");
  return Error::success();
}

static std::string readFile(StringRef path) {
  auto file = llvm::MemoryBuffer::getFile(path);
  return file ? (*file)->getBuffer().str() : "";
}

Expected<std::string> sparse_attn::assemble(StringRef ptx, const GPUTarget &target,
                                            StringRef ptxas) {
  Path input, output, messages;
  auto remove = llvm::scope_exit([&] {
    for (const Path &path : {input, output, messages})
      if (!path.empty())
        llvm::sys::fs::remove(path);
  });
  if (Error error = makeFile("ptx", input))
    return error;
  if (Error error = makeFile("cubin", output))
    return error;
  if (Error error = makeFile("txt", messages))
    return error;
  if (Error error = writeFile(input, ptx))
    return error;
  std::string architecture = ("--gpu-name=" + target.name).str();
  StringRef arguments[] = {ptxas, architecture, "--output-file", output, input};
  std::optional<StringRef> redirects[] = {StringRef(), messages.str(), messages.str()};
  std::string failure;
  int status =
      llvm::sys::ExecuteAndWait(ptxas, arguments, std::nullopt, redirects,
                                /*SecondsToWait=*/0, /*MemoryLimit=*/0, &failure);
  if (status != 0)
    return llvm::createStringError("'" + ptxas + "' does not assemble the code for " +
                                   target.name + ": " + failure + readFile(messages));
  return readFile(output);
}
