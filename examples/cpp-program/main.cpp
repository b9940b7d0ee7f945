//===- main.cpp - two kernels and one's own threads from C++ --------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Runs a window with sinks and plain causal attention over the same values, on
// threads of the program instead of OpenMP's. Where the window has not begun to
// forget, the two agree.
//
//===----------------------------------------------------------------------===//

#include "causal.h"
#include "longctx.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

namespace {
constexpr int64_t kHeads = 2, kTokens = 3000, kDim = 64, kWindow = 1024;

/// Ends the program where a call failed; the runtime says why it did.
void check(sparse_attn_status status) {
  if (status == SPARSE_ATTN_OK)
    return;
  std::fprintf(stderr, "%s: %s\n", sparse_attn_status_string(status),
               sparse_attn_last_error());
  std::exit(1);
}

/// A dense f32 tensor on the CPU that owns its values.
struct Tensor {
  explicit Tensor(std::vector<int64_t> sizes) : sizes(std::move(sizes)) {
    size_t count = 1;
    for (int64_t size : this->sizes)
      count *= static_cast<size_t>(size);
    values.resize(count);
    view.data = values.data();
    view.device.device_type = kDLCPU;
    view.ndim = static_cast<int>(this->sizes.size());
    view.dtype = {kDLFloat, 32, 1};
    view.shape = this->sizes.data();
  }
  Tensor(const Tensor &) = delete;

  std::vector<int64_t> sizes;
  std::vector<float> values;
  DLTensor view = {};
};

/// Values in [-1, 1), the same on every machine.
void fill(Tensor &tensor, uint32_t seed) {
  for (float &value : tensor.values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 8) / static_cast<float>(1 << 23) - 1.0f;
  }
}

/// The threads of the program: the runtime asks for `workers` calls of `work`.
void runOnThreads(void *, int workers, void (*work)(void *, int), void *argument) {
  std::vector<std::thread> threads;
  for (int worker = 1; worker < workers; ++worker)
    threads.emplace_back(work, argument, worker);
  work(argument, 0);
  for (std::thread &thread : threads)
    thread.join();
}

using Plan = std::unique_ptr<sparse_attn_plan, decltype(&sparse_attn_plan_destroy)>;

/// What the generated NAME_plan and NAME_run of a kernel without layout operands
/// look like.
using MakePlan = sparse_attn_status(const sparse_attn_shape *,
                                    const sparse_attn_options *, sparse_attn_plan **);
using Run = sparse_attn_status(const sparse_attn_plan *, const DLTensor *,
                               const DLTensor *, const DLTensor *, DLTensor *, DLTensor *,
                               void *, size_t, const sparse_attn_options *);

Plan attend(const char *name, MakePlan *makePlan, Run *run, const Tensor &q,
            const Tensor &k, const Tensor &v, Tensor &o) {
  sparse_attn_executor executor = {runOnThreads, nullptr};
  sparse_attn_options options = {2, &executor, nullptr};
  sparse_attn_shape shape = {1, kHeads, kHeads, kTokens, kTokens};
  sparse_attn_plan *raw = nullptr;
  check(makePlan(&shape, &options, &raw));
  Plan plan(raw, sparse_attn_plan_destroy);

  size_t bytes = 0;
  check(sparse_attn_workspace_size(raw, &options, &bytes));
  std::unique_ptr<char[]> workspace(new char[bytes]);
  Tensor lse({1, kHeads, kTokens});
  check(run(raw, &q.view, &k.view, &v.view, &o.view, &lse.view, workspace.get(), bytes,
            &options));
  std::printf("%s: done on 2 threads of the program\n", name);
  return plan;
}
} // namespace

int main() {
  Tensor q({1, kHeads, kTokens, kDim}), k({1, kHeads, kTokens, kDim}),
      v({1, kHeads, kTokens, kDim}), near({1, kHeads, kTokens, kDim}),
      all({1, kHeads, kTokens, kDim});
  fill(q, 1);
  fill(k, 2);
  fill(v, 3);
  Plan plan = attend("longctx", longctx_plan, longctx_run, q, k, v, near);
  attend("causal", causal_plan, causal_run, q, k, v, all);

  // Rows 0 .. 1023 see everything before them in both.
  float early = 0, late = 0;
  for (int64_t row = 0; row < kHeads * kTokens; ++row)
    for (int64_t d = 0; d < kDim; ++d) {
      float difference =
          std::fabs(near.values[row * kDim + d] - all.values[row * kDim + d]);
      float &largest = row % kTokens < kWindow ? early : late;
      largest = std::max(largest, difference);
    }
  bool agrees = early < 1e-5f && late > 1e-4f;
  std::printf("the first %d rows of a head %s, the others %s\n",
              static_cast<int>(kWindow), early < 1e-5f ? "agree" : "DIFFER",
              late > 1e-4f ? "differ" : "AGREE");
  return agrees ? 0 : 1;
}
