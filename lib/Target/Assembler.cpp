//===- Assembler.cpp - PTX to machine code --------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Support/Program.h"
#include "sparse_attn/Target/GPUTarget.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace sparse_attn;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;

Expected<std::string> sparse_attn::assemble(StringRef ptx, const GPUTarget &target,
                                            StringRef ptxas) {
  TemporaryFiles files;
  Expected<std::string> input = files.add("ptx", ptx);
  if (!input)
    return input.takeError();
  Expected<std::string> output = files.add("cubin", "");
  if (!output)
    return output.takeError();
  if (Error error = runProgram(
          ptxas, {("--gpu-name=" + target.name).str(), "--output-file", *output, *input}))
    return llvm::createStringError("'" + ptxas + "' does not assemble the code for " +
                                   target.name + ": " + llvm::toString(std::move(error)));
  auto cubin = llvm::MemoryBuffer::getFile(*output);
  if (!cubin)
    return llvm::createStringError("cannot read '" + *output +
                                   "': " + cubin.getError().message());
  return (*cubin)->getBuffer().str();
}
