//===- GlobalMemory.h - the allocations that kernels may access --*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_GLOBALMEMORY_H
#define SPARSE_ATTN_LIB_EMULATOR_GLOBALMEMORY_H

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

namespace sparse_attn::emulator {

class GlobalMemory {
public:
  void *allocate(size_t bytes);
  void free(void *pointer);
  void add(const void *pointer, size_t bytes, bool writable);
  void remove(const void *pointer);

  /// Whether one allocation holds all the bytes.
  bool contains(uint64_t address, size_t bytes, bool write) {
    if (address >= begin && address + bytes <= end && (writable || !write))
      return true;
    return find(address, bytes, write);
  }

private:
  bool find(uint64_t address, size_t bytes, bool write);

  struct Range {
    uint64_t end;
    bool writable;
    std::unique_ptr<unsigned char[]> owned;
  };
  std::map<uint64_t, Range> ranges;
  /// The range found last.
  uint64_t begin = 1, end = 0;
  bool writable = false;
};

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_GLOBALMEMORY_H
