//===- Host.cpp - the machine that this program runs on -------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Target/Host.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/TargetParser/Host.h"

using namespace llvm;
using namespace sparse_attn;

/// The text of a file of the kernel's, whose size is not known before it is read.
static std::string readText(const Twine &path) {
  ErrorOr<std::unique_ptr<MemoryBuffer>> file = MemoryBuffer::getFileAsStream(path);
  return file ? (*file)->getBuffer().trim().str() : "";
}

/// "48K" in bytes, 0 for what is no size.
static int64_t parseKilobytes(StringRef text) {
  int64_t size = 0;
  return text.consume_back("K") && !text.getAsInteger(10, size) && size > 0 ? size << 10
                                                                            : 0;
}

Expected<CacheSizes> sparse_attn::readCacheSizes(StringRef folder) {
  int64_t sizes[3] = {0, 0, 0};
  for (int index = 0; index < 8; ++index) {
    std::string cache = (folder + "/index" + Twine(index) + "/").str();
    int level = 0;
    if (StringRef(readText(cache + "level")).getAsInteger(10, level) || level < 1 ||
        level > 3 || readText(cache + "type") == "Instruction")
      continue;
    sizes[level - 1] = parseKilobytes(readText(cache + "size"));
  }
  if (sizes[0] == 0)
    return createStringError("this machine does not tell its caches in " + folder +
                             "; give them as --cache=L1,L2,L3");
  for (int level : {1, 2})
    sizes[level] = std::max(sizes[level], sizes[level - 1]);
  return CacheSizes{sizes[0], sizes[1], sizes[2]};
}

std::string sparse_attn::getHostName() {
  std::string facts = readText("/proc/cpuinfo");
  SmallVector<StringRef> lines;
  StringRef(facts).split(lines, '\n');
  for (StringRef line : lines) {
    auto [key, value] = line.split(':');
    if (key.trim() == "model name" && !value.trim().empty())
      return value.trim().str();
  }
  return sys::getHostCPUName().str();
}
