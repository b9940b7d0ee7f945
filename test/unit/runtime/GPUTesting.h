//===- GPUTesting.h - plans for a GPU whose driver counts ------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_RUNTIME_GPUTESTING_H
#define SPARSE_ATTN_TEST_UNIT_RUNTIME_GPUTESTING_H

#include "FakeCuda.h"
#include "MockKernel.h"
#include "sparse_attn/gpu.h"

#include "gtest/gtest.h"

#include <cstdlib>
#include <dlfcn.h>

extern "C" {
#include "gpu.h"
}

namespace mock {

inline constexpr int kGPURows = 16, kGPUKeys = 8; ///< of a tile

inline fake_cuda &fake() {
  static fake_cuda *found = [] {
    void *handle = dlopen(RUNTIME_TEST_FAKE_CUDA, RTLD_NOW);
    EXPECT_NE(handle, nullptr) << dlerror();
    auto get = reinterpret_cast<fake_cuda *(*)()>(dlsym(handle, "get_fake_cuda"));
    return get();
  }();
  return *found;
}

/// A causal attention over D = 2 with a GPU kernel. Modules are known by their address:
/// at the end it is as if its library were closed.
struct GPUKernel {
  Kernel kernel;
  sa_gpu_module module = {"sm_80", 80, 0, "ptx", nullptr, 0, nullptr, 0};
  sa_gpu_kernel code = {&module,  "attend", "combine", 128, 40000,
                        kGPURows, kGPUKeys, 1,         0,   nullptr,
                        nullptr,  nullptr,  0,         0};

  struct Layout {
    const char *name;
    std::vector<int32_t> axes;
  };
  using Operands = std::vector<Layout>;

  /// With layout operands from value 3 on, or an operand of the run.
  explicit GPUKernel(const Operands &operands = {}, bool list = false) {
    kernel.addQKV(2, 2);
    for (const Layout &operand : operands)
      kernel.layout(operand.name, operand.axes);
    if (list)
      kernel.input("indices", {0, 0, 0, 0}, false, {}, kDLInt, 32);
    auto classify = [](const sa_mask_context *, int, int, int p0, int p1, int j0, int j1,
                       int) { return classifyCausal(p0, p1, j0, j1); };
    kernel.attention(2, 2, classify, causal());
    kernel.outputState(2);
  }
  ~GPUKernel() {
    sparse_attn_library library = {SA_LIBRARY_MAGIC, SPARSE_ATTN_ABI_VERSION, 1, get(),
                                   ""};
    sa_gpu_forget(&library);
  }
  /// Gives it a mask of a plan, with these checks, whose tiles the device can list.
  void planThere(std::vector<sa_check> checks) {
    Attention &attention = kernel.attentions.front();
    attention.code.binding = SA_BINDING_PLAN;
    attention.checks = std::move(checks);
    code.finds_tiles = 0;
    code.check = "check";
    code.count = "count";
    code.list = "list";
    code.list_threads = 64;
    code.list_shared_bytes = 256;
  }

  const sparse_attn_kernel *get() {
    kernel.setGPUs(0, {code});
    return kernel.get();
  }
};

class GPU : public testing::Test {
protected:
  void SetUp() override {
    setenv("SPARSE_ATTN_CUDA", RUNTIME_TEST_FAKE_CUDA, 1);
    fake_cuda &cuda = fake();
    cuda.devices = 2;
    cuda.capability = 80;
    cuda.multiprocessors = 4;
    cuda.memory = 1 << 20;
    cuda.fail_launch = 0;
    cuda.launch_count = 0;
    options.device = {kDLCUDA, 1};
  }
  void TearDown() override { EXPECT_EQ(fake().depth, 0) << "a context stays current"; }

  sparse_attn_status tryPlan(GPUKernel &kernel) {
    sparse_attn_plan *plan = nullptr;
    sparse_attn_shape shape = {1, 2, 1, 32, 32};
    sparse_attn_status status =
        sparse_attn_plan_create(kernel.get(), &shape, nullptr, 0, &options, &plan);
    sparse_attn_plan_destroy(plan);
    return status;
  }
  void expectFailure(GPUKernel &kernel, sparse_attn_status status, const char *message) {
    EXPECT_EQ(tryPlan(kernel), status);
    EXPECT_STREQ(sparse_attn_last_error(), message);
  }

  sparse_attn_options options{};
};

/// Q, K, V, O and LSE that say they are on device 1.
struct Tensors {
  std::vector<std::unique_ptr<Tensor>> all;
  std::vector<const DLTensor *> inputs;
  std::vector<DLTensor *> outputs;

  explicit Tensors(const sparse_attn_shape &s) {
    auto add = [&](std::vector<int64_t> shape) {
      all.push_back(Tensor::filled(std::move(shape), 1));
      all.back()->dl.device = {kDLCUDA, 1};
      return &all.back()->dl;
    };
    inputs = {add({s.batch, s.heads, s.queries, 2}),
              add({s.batch, s.kv_heads, s.keys, 2}),
              add({s.batch, s.kv_heads, s.keys, 2})};
    outputs = {add({s.batch, s.heads, s.queries, 2}), add({s.batch, s.heads, s.queries})};
  }
};

/// Runs `plan`; launches are in fake() then.
inline sparse_attn_status runPlan(const sparse_attn_plan *plan, Tensors &tensors,
                                  const sparse_attn_options &options) {
  size_t bytes = 0;
  EXPECT_EQ(sparse_attn_workspace_size(plan, &options, &bytes), SPARSE_ATTN_OK);
  std::vector<char> workspace(bytes);
  return sparse_attn_run(plan, tensors.inputs.data(), 3, tensors.outputs.data(), 2,
                         bytes ? workspace.data() : nullptr, bytes, &options);
}

inline const sa_gpu_args &argumentsOf(const fake_launch &launch) {
  return *reinterpret_cast<const sa_gpu_args *>(launch.arguments);
}
} // namespace mock

#endif // SPARSE_ATTN_TEST_UNIT_RUNTIME_GPUTESTING_H
