//===- MockKernel.h - kernels written by hand to the ABI ------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The runtime's tests need no compiler: a MockKernel is a descriptor as
// lib/Package writes it, whose functions are naive loops. Its attend reads keys
// and values from packed tiles alone, so that a tile which the runtime forgot
// to pack shows in the result.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_RUNTIME_MOCKKERNEL_H
#define SPARSE_ATTN_TEST_UNIT_RUNTIME_MOCKKERNEL_H

#include "sparse_attn/gpu_abi.h"

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mock {

/// Whether key j is kept for position p of plane (b, h), n tokens.
using Predicate = std::function<bool(int b, int h, int p, int j, int n)>;
using Classifier = std::function<int(const sa_mask_context *, int b, int h, int p0,
                                     int p1, int j0, int j1, int step)>;

inline constexpr int kTileRows = 4;
inline constexpr int kTileKeys = 8;
inline constexpr int kStackRows = 6; ///< more than a tile, fewer than two

/// A tensor that owns its memory; strides may be changed before use.
struct Tensor {
  std::vector<int64_t> shape, strides;
  std::vector<float> floats;
  std::vector<int32_t> ints;
  std::vector<uint8_t> bytes;
  DLTensor dl{};

  static std::unique_ptr<Tensor> random(std::vector<int64_t> shape, unsigned seed);
  static std::unique_ptr<Tensor> filled(std::vector<int64_t> shape, float value);
  static std::unique_ptr<Tensor> of(std::vector<int64_t> shape,
                                    std::vector<int32_t> values);
  static std::unique_ptr<Tensor> of(std::vector<int64_t> shape,
                                    std::vector<uint8_t> values);

private:
  void finish(uint8_t code, uint8_t bits, void *data);
};

/// Everything that one attention of a mock needs.
struct Attention {
  sa_attention code{};
  std::vector<sa_level> levels;
  std::vector<sa_check> checks;
  std::vector<sa_table> tables;
  Classifier classify;
  Predicate predicate; ///< for SA_RUN_PREDICATE
  int slot = -1;

  ~Attention();
};

class Kernel {
public:
  explicit Kernel(std::string name = "mock");

  /// Adds an input and returns its value id.
  int input(const char *name, std::vector<int32_t> axis, bool layout = false,
            std::vector<int64_t> dims = {}, int code = kDLFloat, int bits = 32);
  int floats(const char *name, std::vector<int32_t> axis,
             std::vector<int64_t> dims = {}) {
    return input(name, std::move(axis), false, std::move(dims));
  }
  int layout(const char *name, std::vector<int32_t> axis) {
    return input(name, std::move(axis), true, {}, kDLInt, 32);
  }

  /// Inputs q, k, v of this D and Dv, in this order.
  void addQKV(int d, int dv);

  /// An attention over q, k, v (value ids 0, 1, 2 unless given).
  Attention &attention(int d, int dv, Classifier classify, Predicate predicate, int k = 1,
                       int v = 2);
  int pool(int value, int block);
  void merge(std::vector<int32_t> states, int code = kDLFloat, int bits = 32,
             int kind = SA_STEP_MERGE);
  void choose(std::vector<int32_t> ways) {
    merge(std::move(ways), kDLFloat, 32, SA_STEP_CHOOSE);
  }
  void output(const char *name, int value, std::vector<int32_t> axis, int lastDim = -1,
              int code = kDLFloat, int bits = 32);

  /// Outputs O and LSE of the last step.
  void outputState(int dv, int code = kDLFloat, int bits = 32);

  /// What step number `step` has for GPUs.
  void setGPUs(size_t step, std::vector<sa_gpu_kernel> kernels);

  /// Finishes the descriptor.
  const sparse_attn_kernel *get();

  int nextValue = 0;
  sparse_attn_kernel kernel{};
  std::deque<Attention> attentions;

private:
  const int32_t *keep(std::vector<int32_t> values);

  std::string name;
  std::vector<sa_tensor> inputs, outputs;
  std::vector<sa_step> steps;
  std::deque<std::vector<sa_gpu_kernel>> gpus;
  std::deque<std::vector<int32_t>> lists;

public:
  std::deque<std::vector<int64_t>> parameters;
  sa_check makeCheck(int kind, std::vector<int32_t> ids, std::vector<int64_t> values,
                     const char *op);
  sa_table makeReach(std::vector<int32_t> ids, int64_t maxHops, bool directed,
                     bool distances);
};

/// The classifier of `predicate`: exact, by trying every pair.
Classifier exhaustive(Predicate predicate);

Predicate all();
Predicate causal();
int classifyCausal(int p0, int p1, int j0, int j1);

/// A plan that destroys itself.
struct PlanDeleter {
  void operator()(sparse_attn_plan *plan) const { sparse_attn_plan_destroy(plan); }
};
using Plan = std::unique_ptr<sparse_attn_plan, PlanDeleter>;

/// Creates a plan; fails the test with the message where that does not work.
Plan makePlan(const sparse_attn_kernel *kernel, sparse_attn_shape shape,
              const std::vector<Tensor *> &layout = {},
              const sparse_attn_options *options = nullptr);

/// Runs with a workspace of exactly the size asked for, filled with NaN.
sparse_attn_status run(const sparse_attn_plan *plan, const std::vector<Tensor *> &inputs,
                       const std::vector<Tensor *> &outputs,
                       const sparse_attn_options *options = nullptr);

} // namespace mock

#endif // SPARSE_ATTN_TEST_UNIT_RUNTIME_MOCKKERNEL_H
