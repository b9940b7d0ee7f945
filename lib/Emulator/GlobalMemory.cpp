//===- GlobalMemory.cpp - the allocations that kernels may access ---------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GlobalMemory.h"
#include <cstring>

using namespace sparse_attn::emulator;

namespace {
constexpr size_t kAlign = 256;
/// What new memory holds: a quiet NaN in f32, a NaN in f16 and bf16.
constexpr unsigned char kFill = 0xff;
} // namespace

void *GlobalMemory::allocate(size_t bytes) {
  // Red zones are not needed: what no range holds cannot be accessed. A page between
  // allocations keeps small overruns from reaching a neighbour.
  auto owned = std::make_unique<unsigned char[]>(bytes + kAlign + 4096);
  auto address = reinterpret_cast<uint64_t>(owned.get());
  address = (address + kAlign - 1) / kAlign * kAlign;
  void *pointer = reinterpret_cast<void *>(address);
  std::memset(pointer, kFill, bytes);
  ranges[address] = {address + bytes, true, std::move(owned)};
  return pointer;
}

void GlobalMemory::free(void *pointer) { remove(pointer); }

void GlobalMemory::add(const void *pointer, size_t bytes, bool isWritable) {
  auto address = reinterpret_cast<uint64_t>(pointer);
  ranges[address] = {address + bytes, isWritable, nullptr};
  begin = 1, end = 0;
}

void GlobalMemory::remove(const void *pointer) {
  ranges.erase(reinterpret_cast<uint64_t>(pointer));
  begin = 1, end = 0;
}

bool GlobalMemory::find(uint64_t address, size_t bytes, bool write) {
  // Registered memory may overlap: look at all ranges that begin before.
  for (auto it = ranges.upper_bound(address); it != ranges.begin();) {
    --it;
    if (address + bytes <= it->second.end && (it->second.writable || !write)) {
      begin = it->first;
      end = it->second.end;
      writable = it->second.writable;
      return true;
    }
  }
  return false;
}
