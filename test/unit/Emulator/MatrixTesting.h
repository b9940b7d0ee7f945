//===- MatrixTesting.h - kernels with matrix products as text ---*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Kernels with wgmma are text that these functions write: an accumulator of 64 x n has
// n / 2 registers.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_EMULATOR_MATRIXTESTING_H
#define SPARSE_ATTN_TEST_UNIT_EMULATOR_MATRIXTESTING_H

#include "EmulatorTesting.h"
#include "llvm/ADT/APFloat.h"
#include <random>

namespace sparse_attn::emulator {

/// The bits of `value` in a format of 16 bits, and back.
uint16_t encode(float value, const llvm::fltSemantics &format);
float decode(uint16_t bits, const llvm::fltSemantics &format);

/// "{ float, float, ... }" of n members.
std::string structOf(unsigned n);

/// `%result = wgmma(...)` on the accumulators of the structure %from. `a` is either the
/// operand of a descriptor or four registers; `tail` follows the descriptor of B:
/// scale-d, where p is whether `scale` is not 0, and the immediates.
std::string wgmma(const std::string &result, const std::string &from, unsigned n,
                  const std::string &shape, const std::string &a, const std::string &b,
                  const std::string &scale, const std::string &tail);

/// Stores the accumulators of 64 x n in %from at %c, by thread %t.
std::string storeAccumulators(const std::string &from, unsigned n);

inline const std::string kSync =
    "call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)\n";
inline const std::string kFence = "call void @llvm.nvvm.wgmma.fence.sync.aligned()\n";
inline const std::string kCommit =
    "call void @llvm.nvvm.wgmma.commit_group.sync.aligned()\n";
inline const std::string kWait =
    "call void @llvm.nvvm.wgmma.wait_group.sync.aligned(i64 0)\n";
inline const std::string kProxyFence =
    "call void @llvm.nvvm.fence.proxy.async.shared_cta()\n";

/// A test that compares with plain products.
class MatrixProductTest : public EmulatorTest {
protected:
  /// Whoever derives may draw more.
  std::mt19937 random{11};

  std::vector<float> randomValues(size_t count, const llvm::fltSemantics &format) {
    std::uniform_real_distribution<float> distribution(-2, 2);
    std::vector<float> values;
    for (size_t i = 0; i < count; ++i)
      values.push_back(decode(encode(distribution(random), format), format));
    return values;
  }

  std::vector<float> product(const std::vector<float> &a, const std::vector<float> &b,
                             unsigned m, unsigned n, unsigned k) {
    std::vector<float> c(m * n);
    for (unsigned i = 0; i < m; ++i)
      for (unsigned j = 0; j < n; ++j)
        for (unsigned l = 0; l < k; ++l)
          c[i * n + j] += a[i * k + l] * b[j * k + l];
    return c;
  }

  void expectNear(const float *actual, const std::vector<float> &expected,
                  float tolerance = 1e-4f) {
    for (size_t i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(actual[i], expected[i], tolerance) << "element " << i;
  }
};

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_TEST_UNIT_EMULATOR_MATRIXTESTING_H
