//===- GPU.h - a device that a session computes on -------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_SESSION_GPU_H
#define SPARSE_ATTN_SESSION_GPU_H

#include "sparse_attn/Session/EmulatedDriver.h"
#include "llvm/Support/Error.h"

namespace sparse_attn::run {

/// An open device.
class GPU {
public:
  /// "cuda", "cuda:1", or "emulated:sm_80".
  static llvm::Expected<std::unique_ptr<GPU>> open(llvm::StringRef name);
  ~GPU();

  const sparse_attn_gpu_driver *getDriver() const { return driver; }
  DLDevice getDevice() const { return {kDLCUDA, number}; }
  const sparse_attn_gpu_facts &getFacts() const { return facts; }
  EmulatedDriver *getEmulator() { return emulated.get(); } ///< null: the device is real

  llvm::Error upload(void *to, const void *from, size_t bytes);
  llvm::Error download(void *to, const void *from, size_t bytes);
  llvm::Error wait();

private:
  friend class GPUMemory;
  GPU() = default;
  llvm::Error check(const char *error) const;

  std::unique_ptr<EmulatedDriver> emulated;
  const sparse_attn_gpu_driver *driver = nullptr;
  int number = 0;
  bool isOpen = false;
  sparse_attn_gpu_facts facts{};
};

/// Memory of a device.
class GPUMemory {
public:
  static llvm::Expected<GPUMemory> allocate(GPU &gpu, size_t bytes);
  GPUMemory(GPUMemory &&other) : gpu(other.gpu), memory(other.memory) {
    other.memory = nullptr;
  }
  ~GPUMemory();

  void *get() const { return memory; }

private:
  GPUMemory(GPU &gpu, void *memory) : gpu(&gpu), memory(memory) {}

  GPU *gpu;
  void *memory;
};

} // namespace sparse_attn::run

#endif // SPARSE_ATTN_SESSION_GPU_H
