//===- EmulatedDriver.h - the emulator in the place of CUDA ----*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_SESSION_EMULATEDDRIVER_H
#define SPARSE_ATTN_SESSION_EMULATEDDRIVER_H

#include "sparse_attn/Emulator/Device.h"
#include "sparse_attn/gpu.h"
#include <functional>

namespace sparse_attn::run {

/// What sparse_attn_options::driver takes to run kernels on the emulator
/// (docs/emulator.md): one device, whose kernels are done when a launch returns. It loads
/// the LLVM IR that `sparse-attn-compile --emulation` leaves in a library.
class EmulatedDriver {
public:
  /// `capability` is that of the device: 80 for 8.0. Another seed is another order of
  /// warps. Few multiprocessors, so that small cases split their keys too.
  explicit EmulatedDriver(int32_t capability, uint64_t seed = 0);
  ~EmulatedDriver();

  const sparse_attn_gpu_driver *table() const { return &functions; }

  /// Gets what each launch has executed.
  std::function<void(llvm::StringRef kernel, const emulator::Statistics &)> onLaunch;

private:
  struct State;
  std::unique_ptr<State> state;
  sparse_attn_gpu_driver functions;
};

} // namespace sparse_attn::run

#endif // SPARSE_ATTN_SESSION_EMULATEDDRIVER_H
