//===- EmulatorTesting.h - kernels as text, launched on the emulator --*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_EMULATOR_EMULATORTESTING_H
#define SPARSE_ATTN_TEST_UNIT_EMULATOR_EMULATORTESTING_H

#include "sparse_attn/Emulator/Device.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/IR/LLVMContext.h"
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace sparse_attn::emulator {

/// Replaces every `$name` of a kernel's text.
std::string substitute(std::string text,
                       llvm::ArrayRef<std::pair<std::string, std::string>> values);

/// `text` once for each i in [0, count), with $i and $j = i + 1 replaced.
std::string repeat(unsigned count, const std::string &text);

/// A test with one module and one device. Kernels are text of LLVM IR without target
/// lines; intrinsics need no declarations.
class EmulatorTest : public ::testing::Test {
protected:
  explicit EmulatorTest(Options options = {}) : device(options) {}

  /// Parses and verifies; a failure of the test where the text is wrong.
  void parse(const std::string &text);

  /// Device memory with the values of `host`.
  template <typename T> T *upload(const std::vector<T> &host) {
    auto *memory = static_cast<T *>(device.allocate(host.size() * sizeof(T)));
    llvm::copy(host, memory);
    return memory;
  }
  template <typename T> T *allocate(size_t count) {
    return static_cast<T *>(device.allocate(count * sizeof(T)));
  }

  /// Launches kernel @k; parameters are passed by value.
  template <typename... Params>
  llvm::Expected<Statistics> tryLaunch(Dim3 grid, Dim3 block, unsigned dynamicShared,
                                       const Params &...params) {
    llvm::Expected<Kernel> kernel = device.load(*module, "k");
    if (!kernel)
      return kernel.takeError();
    std::vector<const void *> pointers = {static_cast<const void *>(&params)...};
    return device.launch(*kernel, grid, block, dynamicShared, pointers);
  }

  /// A launch that has to succeed.
  template <typename... Params>
  Statistics launch(Dim3 grid, Dim3 block, unsigned dynamicShared,
                    const Params &...params) {
    llvm::Expected<Statistics> done = tryLaunch(grid, block, dynamicShared, params...);
    if (!done) {
      ADD_FAILURE() << llvm::toString(done.takeError());
      return {};
    }
    return *done;
  }

  /// A launch that has to fail with a fault of `kind` whose text holds `message`.
  template <typename... Params>
  void expectFault(FaultKind kind, const std::string &message, Dim3 grid, Dim3 block,
                   unsigned dynamicShared, const Params &...params) {
    checkFault(tryLaunch(grid, block, dynamicShared, params...), {kind}, message);
  }
  /// The same where it depends on the seed which kind is found first.
  template <typename... Params>
  void expectFaultIn(llvm::ArrayRef<FaultKind> kinds, const std::string &message,
                     Dim3 grid, Dim3 block, unsigned dynamicShared,
                     const Params &...params) {
    checkFault(tryLaunch(grid, block, dynamicShared, params...), kinds, message);
  }

  /// The text of the error of a kernel that cannot be loaded.
  std::string loadError();

  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> module;
  Device device;
  /// The text of the last fault that was expected.
  std::string faultText;

private:
  void checkFault(llvm::Expected<Statistics> done, llvm::ArrayRef<FaultKind> kinds,
                  const std::string &message);
};

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_TEST_UNIT_EMULATOR_EMULATORTESTING_H
