//===- GeneratedCode.h - generated functions in tests ----------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_CONVERSION_GENERATEDCODE_H
#define SPARSE_ATTN_TEST_UNIT_CONVERSION_GENERATEDCODE_H

#include "sparse_attn/Target/CPULevel.h"
#include "sparse_attn/abi.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace sparse_attn {

/// The levels whose code runs on this machine.
std::vector<const CPULevel *> getLevelsHere();

/// The functions of the kernel @kernel of a module of block plans.
class GeneratedCode {
public:
  GeneratedCode(const std::string &plans, const CPULevel &level);

  /// Of attention 0: "score3" is kernel_0_score3_avx2.
  template <typename Function> Function get(const std::string &role) {
    return reinterpret_cast<Function>(find("kernel_0_" + role + "_" + level));
  }
  int64_t scratchBytes = 0;

private:
  void *find(const std::string &symbol);

  std::string level;
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

/// Zeroed memory whose last byte is followed by pages that nothing may touch: only
/// what aligns the first one comes between.
class GuardedMemory {
public:
  explicit GuardedMemory(size_t bytes, size_t alignment = 64);
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory &) = delete;
  GuardedMemory &operator=(const GuardedMemory &) = delete;

  template <typename T> T *as() { return static_cast<T *>(data); }

private:
  void *mapping, *data;
  size_t mapped;
};

/// Numbers that are the same on every run.
class Numbers {
public:
  explicit Numbers(uint32_t seed) : generator(seed) {}
  float real() { return std::uniform_real_distribution<float>(-1, 1)(generator); }
  uint32_t bits() { return generator(); }

private:
  std::mt19937 generator;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_TEST_UNIT_CONVERSION_GENERATEDCODE_H
