//===- GPU.cpp - a device that a session computes on ----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Session/GPU.h"

using namespace llvm;
using namespace sparse_attn;
using namespace sparse_attn::run;

/// "sm_80" as 80, "sm_90a" as 90.
static bool parseCapability(StringRef text, int32_t &capability) {
  return text.consume_front("sm_") && !text.consumeInteger(10, capability) &&
         (text.empty() || text == "a");
}

Expected<std::unique_ptr<GPU>> GPU::open(StringRef name) {
  std::unique_ptr<GPU> gpu(new GPU());
  auto [kind, rest] = name.split(':');
  int32_t capability = 80;
  if (kind == "emulated" && (rest.empty() || parseCapability(rest, capability))) {
    gpu->emulated = std::make_unique<EmulatedDriver>(capability);
    gpu->driver = gpu->emulated->table();
  } else if (kind == "cuda" && (rest.empty() || !rest.getAsInteger(10, gpu->number))) {
    gpu->driver = sparse_attn_cuda_driver();
  } else {
    return createStringError(
        "unknown device '" + name +
        "'; there are cpu, cuda, cuda:NUMBER, emulated:sm_80 and emulated:sm_90a");
  }
  if (Error error =
          gpu->check(gpu->driver->open(gpu->driver->context, gpu->number, &gpu->facts)))
    return error;
  gpu->isOpen = true;
  return gpu;
}

GPU::~GPU() {
  if (isOpen)
    driver->close(driver->context, number);
}

Error GPU::check(const char *error) const {
  return error ? createStringError(StringRef(error)) : Error::success();
}

Error GPU::upload(void *to, const void *from, size_t bytes) {
  return check(driver->upload(driver->context, number, to, from, bytes));
}
Error GPU::download(void *to, const void *from, size_t bytes) {
  return check(driver->download(driver->context, number, to, from, bytes));
}
Error GPU::wait() { return check(driver->wait(driver->context, number)); }

Expected<GPUMemory> GPUMemory::allocate(GPU &gpu, size_t bytes) {
  void *memory = nullptr;
  if (Error error = gpu.check(gpu.driver->allocate(gpu.driver->context, gpu.number,
                                                   std::max<size_t>(bytes, 1), &memory)))
    return error;
  return GPUMemory(gpu, memory);
}

GPUMemory::~GPUMemory() {
  if (memory)
    gpu->driver->release(gpu->driver->context, gpu->number, memory);
}
