//===- AtomicFile.cpp - a file that is complete or absent -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AtomicFile.h"
#include "sparse_attn/Package/Package.h"
#include "llvm/Support/Path.h"

using namespace sparse_attn;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;

Error sparse_attn::makeWriteError(StringRef path, std::error_code code) {
  return llvm::createStringError(code, "cannot write '" + path + "': " + code.message());
}

Expected<AtomicFile> AtomicFile::create(StringRef path) {
  if (llvm::sys::fs::is_directory(path))
    return makeWriteError(path, std::make_error_code(std::errc::is_a_directory));
  llvm::SmallString<128> model(llvm::sys::path::parent_path(path));
  llvm::sys::path::append(model, "." + llvm::sys::path::filename(path) + ".%%%%%%%%");
  Expected<llvm::sys::fs::TempFile> file = llvm::sys::fs::TempFile::create(model);
  if (!file)
    return makeWriteError(path, llvm::errorToErrorCode(file.takeError()));
  return AtomicFile(path, std::move(*file));
}

Error AtomicFile::write(llvm::function_ref<Error(llvm::raw_ostream &)> writer) {
  llvm::raw_fd_ostream stream(file->FD, /*shouldClose=*/false);
  Error error = writer(stream);
  stream.flush();
  std::error_code code = stream.error();
  stream.clear_error();
  if (!error && code)
    return makeWriteError(path, code);
  return error;
}

Error AtomicFile::commit() {
  Error error = file->keep(path);
  file.reset();
  if (error)
    return makeWriteError(path, llvm::errorToErrorCode(std::move(error)));
  return Error::success();
}

Error sparse_attn::writeFileAtomically(StringRef path, StringRef contents) {
  Expected<AtomicFile> file = AtomicFile::create(path);
  if (!file)
    return file.takeError();
  if (Error error = file->write([&](llvm::raw_ostream &stream) {
        stream << contents;
        return Error::success();
      }))
    return error;
  return file->commit();
}
