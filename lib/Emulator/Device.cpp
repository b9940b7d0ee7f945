//===- Device.cpp - loading and launching kernels -------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Emulator/Device.h"
#include "Decoder.h"
#include "GlobalMemory.h"
#include "ThreadBlock.h"
#include "llvm/ADT/ScopeExit.h"
#include <cstring>

using namespace llvm;
using namespace sparse_attn::emulator;

unsigned Kernel::getStaticSharedBytes() const { return program->staticSharedBytes; }

ArrayRef<unsigned> Kernel::getParameterSizes() const { return program->parameterSizes; }

Device::Device(Options options)
    : options(options), memory(std::make_unique<GlobalMemory>()) {}

Device::~Device() = default;

void *Device::allocate(size_t bytes) { return memory->allocate(bytes); }

void Device::free(void *pointer) { memory->free(pointer); }

void Device::registerMemory(const void *pointer, size_t bytes) {
  memory->add(pointer, bytes, true);
}

void Device::unregisterMemory(const void *pointer) { memory->remove(pointer); }

Expected<Kernel> Device::load(const Module &module, StringRef name) {
  const Function *function = module.getFunction(name);
  if (!function || function->isDeclaration())
    return createStringError("the module defines no kernel '" + name + "'");
  if (module.getDataLayout().getPointerSizeInBits(3) != 64)
    return createStringError("shared pointers of 32 bits are not known to the emulator");
  auto program = std::make_shared<Program>();
  Decoder decoder(module, *program, options.sm);
  if (Error error = decoder.decodeKernel(*function))
    return std::move(error);
  Kernel kernel;
  kernel.program = std::move(program);
  return kernel;
}

/// What a launch asks for that the device or the kernel does not allow.
static Error checkLaunch(const Program &program, const Options &options, Dim3 grid,
                         Dim3 block, unsigned dynamicSharedBytes, size_t numParams) {
  auto no = [&](const Twine &why) {
    return createStringError("cannot launch '" + program.name + "': " + why);
  };
  uint64_t threads = uint64_t(block.x) * block.y * block.z;
  if (threads == 0 || threads > 1024)
    return no("a block has 1 to 1024 threads, not " + Twine(threads));
  if (!grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535)
    return no("the grid is empty, or too large in y or z");
  if (numParams != program.parameters.size())
    return no("it has " + Twine(program.parameters.size()) + " parameters, not " +
              Twine(numParams));
  const unsigned *required = program.requiredThreads;
  if (required[0] &&
      (required[0] != block.x || required[1] != block.y || required[2] != block.z))
    return no("it is for blocks of " + Twine(required[0]) + " x " + Twine(required[1]) +
              " x " + Twine(required[2]) + " threads");
  if (program.maxThreads && threads > program.maxThreads)
    return no("it is for blocks of at most " + Twine(program.maxThreads) + " threads");
  unsigned most = (options.sm >= 90 ? 227 : 163) * 1024;
  if (program.staticSharedBytes + dynamicSharedBytes > most)
    return no("it needs " + Twine(program.staticSharedBytes + dynamicSharedBytes) +
              " bytes of shared memory; sm_" + Twine(options.sm) + " has " + Twine(most));
  return Error::success();
}

/// The kernel's copy of its parameters.
static std::unique_ptr<unsigned char[]> packParameters(const Program &program,
                                                       ArrayRef<const void *> params,
                                                       SmallVectorImpl<unsigned> &offsets,
                                                       size_t &bytes) {
  bytes = 0;
  for (const Parameter &parameter : program.parameters) {
    bytes = alignTo(bytes, std::max(parameter.align, 8u));
    offsets.push_back(bytes);
    bytes += parameter.bytes;
  }
  auto buffer = std::make_unique<unsigned char[]>(bytes + 256);
  // Tensor maps are aligned to 64 bytes.
  auto base = alignTo(reinterpret_cast<uint64_t>(buffer.get()), 128) -
              reinterpret_cast<uint64_t>(buffer.get());
  for (unsigned i = 0; i < params.size(); ++i) {
    offsets[i] += base;
    std::memcpy(buffer.get() + offsets[i], params[i], program.parameters[i].bytes);
  }
  return buffer;
}

/// Writes parameters to the slots of the kernel's arguments in all warps.
static void setArguments(ThreadBlock &block, const Program &program,
                         const unsigned char *buffer, ArrayRef<unsigned> offsets) {
  for (Warp &warp : block.warps)
    for (auto [parameter, offset] : zip(program.parameters, offsets))
      for (const Parameter::Part &part : parameter.parts) {
        uint64_t value = 0;
        if (parameter.byValue)
          value = reinterpret_cast<uint64_t>(buffer + offset);
        else
          std::memcpy(&value, buffer + offset + part.offset, part.bytes);
        for (unsigned lane = 0; lane < 32; ++lane)
          if (parameter.byValue || part.bytes > 4)
            warp.lanes<uint64_t>(part.slot)[lane] = value;
          else
            warp.lanes<uint32_t>(part.slot)[lane] = uint32_t(value);
      }
}

Expected<Statistics> Device::launch(const Kernel &kernel, Dim3 grid, Dim3 block,
                                    unsigned dynamicSharedBytes,
                                    ArrayRef<const void *> params) {
  const Program &program = *kernel.program;
  if (Error error =
          checkLaunch(program, options, grid, block, dynamicSharedBytes, params.size()))
    return std::move(error);
  SmallVector<unsigned, 16> offsets;
  size_t parameterBytes;
  std::unique_ptr<unsigned char[]> buffer =
      packParameters(program, params, offsets, parameterBytes);
  memory->add(buffer.get(), parameterBytes + 256, false);
  SmallVector<const void *, 4> images;
  for (const GlobalImage &image : program.globals) {
    auto address = alignTo(reinterpret_cast<uint64_t>(image.words.get()), 128);
    images.push_back(reinterpret_cast<const void *>(address));
    memory->add(images.back(), image.bytes, !image.isConstant);
  }
  scope_exit cleanup([&] {
    memory->remove(buffer.get());
    for (const void *image : images)
      memory->remove(image);
  });

  Launch launch{program,
                options,
                *memory,
                grid,
                block,
                program.staticSharedBytes + dynamicSharedBytes,
                dynamicSharedBytes,
                Statistics(),
                nullptr,
                options.seed};
  ThreadBlock blockState(launch);
  setArguments(blockState, program, buffer.get(), offsets);
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        if (!blockState.run({x, y, z}))
          return Error(std::move(launch.fault));
        ++launch.statistics.blocks;
        launch.statistics.warps += blockState.warps.size();
      }
  return launch.statistics;
}
