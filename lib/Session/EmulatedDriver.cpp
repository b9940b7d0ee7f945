//===- EmulatedDriver.cpp - the emulator in the place of CUDA -------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Session/EmulatedDriver.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/Support/FormatVariadic.h"
#include <cstring>
#include <mutex>

using namespace llvm;
using namespace sparse_attn;
using namespace sparse_attn::run;

namespace {
struct LoadedModule {
  LLVMContext context;
  std::unique_ptr<Module> module;
};
struct LoadedKernel {
  std::string name;
  emulator::Kernel kernel;
};
} // namespace

struct EmulatedDriver::State {
  EmulatedDriver &owner;
  int32_t capability;
  emulator::Device device;
  std::mutex mutex; ///< of the device
  std::vector<std::unique_ptr<LoadedKernel>> kernels;

  State(EmulatedDriver &owner, int32_t capability, uint64_t seed)
      : owner(owner), capability(capability),
        device({.seed = seed, .sm = static_cast<unsigned>(capability)}) {}
};

/// Keeps a message until the thread's next one.
static const char *say(const Twine &message) {
  static thread_local std::string kept;
  kept = message.str();
  return kept.c_str();
}
static const char *say(Error error) { return say(toString(std::move(error))); }

EmulatedDriver::~EmulatedDriver() = default;

EmulatedDriver::EmulatedDriver(int32_t capability, uint64_t seed)
    : state(std::make_unique<State>(*this, capability, seed)) {
  constexpr int32_t kMultiprocessors = 4;
  functions = {};
  functions.name = "emulated";
  functions.context = state.get();
  functions.open = [](void *context, int device,
                      sparse_attn_gpu_facts *facts) -> const char * {
    auto &state = *static_cast<State *>(context);
    if (device != 0)
      return say("there is no device " + Twine(device) + "; the emulator has one");
    *facts = {};
    std::string name = formatv("emulator of sm_{0}", state.capability);
    std::strncpy(facts->name, name.c_str(), sizeof(facts->name) - 1);
    facts->capability = state.capability;
    facts->multiprocessors = kMultiprocessors;
    // As the CUDA manual's table of compute capabilities has it.
    facts->shared_bytes = (state.capability >= 90 ? 227 : 99) * 1024;
    return nullptr;
  };
  functions.close = [](void *, int) {};

  functions.load = [](void *, int, const sa_gpu_module *module,
                      void **loaded) -> const char * {
    if (!module->bitcode)
      return say("the library has no code for the emulator; compile it with --emulation");
    auto result = std::make_unique<LoadedModule>();
    StringRef bytes(static_cast<const char *>(module->bitcode), module->bitcode_bytes);
    auto parsed = parseBitcodeFile({bytes, module->target}, result->context);
    if (!parsed)
      return say(parsed.takeError());
    result->module = std::move(*parsed);
    *loaded = result.release();
    return nullptr;
  };
  functions.unload = [](void *, int, void *loaded) {
    delete static_cast<LoadedModule *>(loaded);
  };
  functions.find = [](void *context, int, void *loaded, const char *name, int32_t,
                      void **function) -> const char * {
    auto &state = *static_cast<State *>(context);
    std::scoped_lock lock(state.mutex);
    auto kernel = state.device.load(*static_cast<LoadedModule *>(loaded)->module, name);
    if (!kernel)
      return say(kernel.takeError());
    state.kernels.push_back(
        std::make_unique<LoadedKernel>(LoadedKernel{name, std::move(*kernel)}));
    *function = state.kernels.back().get();
    return nullptr;
  };

  functions.allocate = [](void *context, int, size_t bytes,
                          void **memory) -> const char * {
    auto &state = *static_cast<State *>(context);
    std::scoped_lock lock(state.mutex);
    *memory = state.device.allocate(bytes);
    return *memory ? nullptr : say("no memory for " + Twine(bytes) + " bytes");
  };
  functions.release = [](void *context, int, void *memory) {
    auto &state = *static_cast<State *>(context);
    std::scoped_lock lock(state.mutex);
    state.device.free(memory);
  };
  // Device pointers are host pointers.
  functions.upload = functions.download = [](void *, int, void *to, const void *from,
                                             size_t bytes) -> const char * {
    std::memcpy(to, from, bytes);
    return nullptr;
  };
  functions.copy = [](void *, int, void *to, const void *from, int64_t rows, size_t bytes,
                      int64_t stride) -> const char * {
    for (int64_t row = 0; row < rows; ++row)
      std::memcpy(static_cast<char *>(to) + row * bytes,
                  static_cast<const char *>(from) + row * stride, bytes);
    return nullptr;
  };
  functions.map = [](void *, int, const sparse_attn_gpu_tensor *tensor,
                     sparse_attn_gpu_map *map) -> const char * {
    emulator::TensorMapInfo info;
    info.element =
        tensor->is_bf16 ? emulator::TensorElement::BF16 : emulator::TensorElement::F16;
    info.rank = std::size(tensor->sizes);
    info.base = tensor->data;
    llvm::copy(tensor->sizes, info.sizes);
    llvm::copy(tensor->strides, info.strides);
    llvm::copy(tensor->box, info.box);
    info.swizzle = emulator::TensorSwizzle::B128;
    auto encoded = emulator::encodeTensorMap(info);
    if (!encoded)
      return say(encoded.takeError());
    std::memcpy(map, &*encoded, sizeof(*map));
    return nullptr;
  };
  functions.wait = [](void *, int) -> const char * { return nullptr; };

  functions.launch = [](void *context, int,
                        const sparse_attn_gpu_launch *launch) -> const char * {
    auto &state = *static_cast<State *>(context);
    std::scoped_lock lock(state.mutex);
    const auto &function = *static_cast<const LoadedKernel *>(launch->function);
    auto done = state.device.launch(
        function.kernel, {static_cast<unsigned>(launch->blocks)},
        {static_cast<unsigned>(launch->threads)}, launch->shared_bytes,
        ArrayRef<const void *>(launch->parameters, launch->parameter_count));
    if (!done)
      return say(done.takeError());
    if (state.owner.onLaunch)
      state.owner.onLaunch(function.name, *done);
    return nullptr;
  };
}
