//===- Device.h - a GPU that is emulated on the CPU -------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Executes kernels from LLVM IR for nvptx64-nvidia-cuda, the last form before LLVM's
// backend, and reports what is wrong with them: see docs/emulator.md.
//
//   Device device({.sm = 90});
//   auto *x = static_cast<float *>(device.allocate(n * sizeof(float)));
//   Expected<Kernel> kernel = device.load(module, "scale");
//   const void *params[] = {&x, &n};
//   Expected<Statistics> done = device.launch(*kernel, {blocks}, {128}, 0, params);
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_EMULATOR_DEVICE_H
#define SPARSE_ATTN_EMULATOR_DEVICE_H

#include "sparse_attn/Emulator/Fault.h"
#include "sparse_attn/Emulator/Statistics.h"
#include "sparse_attn/Emulator/TensorMap.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/IR/Module.h"
#include <memory>

namespace sparse_attn::emulator {

struct Program;
class GlobalMemory;

struct Options {
  /// Decides when warps are interleaved and when asynchronous copies arrive. The same
  /// seed gives the same execution.
  uint64_t seed = 0;
  /// The architecture: 80 or 90. Instructions of later ones are refused.
  unsigned sm = 90;
  /// Look for races, uninitialised reads and missing proxy fences on shared memory.
  /// Bounds, barriers and operands are always checked.
  bool checkShared = true;
  /// With checkShared: lanes of one warp that read what another lane has written need
  /// a bar.warp.sync between, as PTX asks.
  bool checkWithinWarp = true;
  /// Warp instructions that a launch may execute; 0 for any number.
  uint64_t instructionLimit = 10'000'000'000;
};

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

/// A kernel that is ready to be launched. Its module must outlive it.
class Kernel {
public:
  /// Bytes of shared memory that the kernel declares, without the dynamic part.
  unsigned getStaticSharedBytes() const;
  /// Sizes in bytes of the parameters.
  llvm::ArrayRef<unsigned> getParameterSizes() const;

private:
  friend class Device;
  std::shared_ptr<const Program> program;
};

class Device {
public:
  explicit Device(Options options = {});
  ~Device();

  /// Global memory, aligned to 256 bytes and filled with a pattern. Device pointers are
  /// host pointers.
  void *allocate(size_t bytes);
  void free(void *pointer);

  /// Lets kernels access memory of the caller.
  void registerMemory(const void *pointer, size_t bytes);
  void unregisterMemory(const void *pointer);

  /// Reads a kernel of `module`. What the emulator does not know is an error that names
  /// it; nothing is ignored.
  llvm::Expected<Kernel> load(const llvm::Module &module, llvm::StringRef name);

  /// Executes all blocks. `params` are pointers to the values, as cuLaunchKernel takes
  /// them. A fault of the kernel is an error of type Fault.
  llvm::Expected<Statistics> launch(const Kernel &kernel, Dim3 grid, Dim3 block,
                                    unsigned dynamicSharedBytes,
                                    llvm::ArrayRef<const void *> params);

  const Options &getOptions() const { return options; }
  void setSeed(uint64_t seed) { options.seed = seed; }

private:
  Options options;
  std::unique_ptr<GlobalMemory> memory;
};

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_EMULATOR_DEVICE_H
