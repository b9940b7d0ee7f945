//===- StateTest.cpp - merge and pool -----------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MockKernel.h"
#include "real.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstring>
#include <limits>

using namespace mock;

namespace {

constexpr int kD = 4, kDv = 3;
const float kInf = std::numeric_limits<float>::infinity();

Classifier range(std::function<std::pair<int, int>(int p)> keys) {
  return exhaustive([keys](int, int, int p, int j, int) {
    auto [first, end] = keys(p);
    return j >= first && j < end;
  });
}

Predicate rangePredicate(std::function<std::pair<int, int>(int p)> keys) {
  return [keys](int, int, int p, int j, int) {
    auto [first, end] = keys(p);
    return j >= first && j < end;
  };
}

/// Runs a kernel with inputs q, k, v of `shape` and returns O and LSE.
struct Outcome {
  std::unique_ptr<Tensor> q, k, v, o, lse;
  Outcome(const sparse_attn_kernel *kernel, sparse_attn_shape shape,
          const std::vector<Tensor *> &layout = {})
      : q(Tensor::random({shape.batch, shape.heads, shape.queries, kD}, 1)),
        k(Tensor::random({shape.batch, shape.kv_heads, shape.keys, kD}, 2)),
        v(Tensor::random({shape.batch, shape.kv_heads, shape.keys, kDv}, 3)),
        o(Tensor::filled({shape.batch, shape.heads, shape.queries, kDv}, NAN)),
        lse(Tensor::filled({shape.batch, shape.heads, shape.queries}, NAN)) {
    Plan plan = makePlan(kernel, shape, layout);
    EXPECT_EQ(mock::run(plan.get(), {q.get(), k.get(), v.get()}, {o.get(), lse.get()}),
              SPARSE_ATTN_OK)
        << sparse_attn_last_error();
  }
};

TEST(Merge, partsOfTheKeysGiveTheWhole) {
  const sparse_attn_shape shape = {2, 4, 2, 70, 33};
  Kernel whole;
  whole.addQKV(kD, kDv);
  whole.attention(kD, kDv, nullptr, all());
  whole.outputState(kDv);
  Outcome expected(whole.get(), shape);

  Kernel parts;
  parts.addQKV(kD, kDv);
  std::vector<int32_t> states;
  const std::pair<int, int> ranges[] = {{0, 9}, {9, 9}, {9, 33}};
  for (std::pair<int, int> part : ranges) {
    auto keys = [part](int) { return part; };
    Attention &attention = parts.attention(kD, kDv, range(keys), rangePredicate(keys));
    states.insert(states.end(), {attention.code.out, attention.code.lse});
  }
  parts.merge(states);
  parts.outputState(kDv);
  Outcome merged(parts.get(), shape);
  for (size_t i = 0; i < merged.o->floats.size(); ++i)
    ASSERT_NEAR(merged.o->floats[i], expected.o->floats[i], 2e-6);
  for (size_t i = 0; i < merged.lse->floats.size(); ++i)
    ASSERT_NEAR(merged.lse->floats[i], expected.lse->floats[i], 2e-6);
}

TEST(Merge, emptyStatesAreNeutralBitForBit) {
  const sparse_attn_shape shape = {1, 2, 1, 5, 20};
  // Row 0 is empty in both, rows 1 and 2 in one of them.
  auto first = [](int p) {
    return p == 15 || p == 16 ? std::pair(0, 0) : std::pair(2, 9);
  };
  auto second = [](int p) {
    return p == 15 || p == 17 ? std::pair(0, 0) : std::pair(9, 20);
  };
  Kernel merged;
  merged.addQKV(kD, kDv);
  std::vector<int32_t> states;
  std::vector<std::unique_ptr<Outcome>> alone;
  for (auto keys : {std::function<std::pair<int, int>(int)>(first),
                    std::function<std::pair<int, int>(int)>(second)}) {
    Attention &attention = merged.attention(kD, kDv, range(keys), rangePredicate(keys));
    states.insert(states.end(), {attention.code.out, attention.code.lse});
    Kernel single;
    single.addQKV(kD, kDv);
    single.attention(kD, kDv, range(keys), rangePredicate(keys));
    single.outputState(kDv);
    alone.push_back(std::make_unique<Outcome>(single.get(), shape));
  }
  merged.merge(states);
  merged.outputState(kDv);
  Outcome both(merged.get(), shape);
  for (int h = 0; h < 2; ++h) {
    EXPECT_EQ(both.lse->floats[h * 5], -kInf);
    for (int d = 0; d < kDv; ++d)
      EXPECT_EQ(both.o->floats[h * 5 * kDv + d], 0);
    for (int row : {1, 2}) {
      const Outcome &from = *alone[row == 1 ? 1 : 0];
      EXPECT_EQ(std::memcmp(&both.o->floats[(h * 5 + row) * kDv],
                            &from.o->floats[(h * 5 + row) * kDv], kDv * sizeof(float)),
                0);
      EXPECT_EQ(both.lse->floats[h * 5 + row], from.lse->floats[h * 5 + row]);
    }
  }
}

TEST(Merge, nanReachesItsRowOnly) {
  const sparse_attn_shape shape = {1, 1, 1, 4, 8};
  Kernel kernel;
  kernel.addQKV(kD, kDv);
  auto keys = [](int) { return std::pair(0, 4); };
  auto others = [](int) { return std::pair(4, 8); };
  kernel.attention(kD, kDv, range(keys), rangePredicate(keys));
  kernel.attention(kD, kDv, range(others), rangePredicate(others));
  kernel.merge({3, 4, 5, 6});
  kernel.outputState(kDv);
  Plan plan = makePlan(kernel.get(), shape);
  auto q = Tensor::random({1, 1, 4, kD}, 1), k = Tensor::random({1, 1, 8, kD}, 2),
       v = Tensor::random({1, 1, 8, kDv}, 3), o = Tensor::filled({1, 1, 4, kDv}, 0),
       lse = Tensor::filled({1, 1, 4}, 0);
  q->floats[kD] = NAN;
  ASSERT_EQ(run(plan.get(), {q.get(), k.get(), v.get()}, {o.get(), lse.get()}),
            SPARSE_ATTN_OK);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(std::isnan(lse->floats[i]), i == 1);
    EXPECT_EQ(std::isnan(o->floats[i * kDv]), i == 1);
  }
}

/// The types of O.
struct Type {
  int code, bits, mantissaBits; ///< rounding errs by at most 2^-(mantissaBits + 1)
  sa_real real;
};
const Type kTypes[] = {
    {kDLFloat, 32, 23, SA_F32}, {kDLFloat, 16, 10, SA_F16}, {kDLBfloat, 16, 7, SA_BF16}};

/// Merges two states to one type each, and those to a third.
std::vector<float> mergeMixed(const sparse_attn_shape &shape, const Type &first,
                              const Type &second, const Type &result) {
  auto low = [](int) { return std::pair(0, 9); };
  auto high = [](int p) { return p == 2 ? std::pair(0, 0) : std::pair(9, 20); };
  Kernel kernel;
  kernel.addQKV(kD, kDv);
  kernel.attention(kD, kDv, range(low), rangePredicate(low));
  kernel.attention(kD, kDv, range(high), rangePredicate(high));
  kernel.merge({3, 4}, first.code, first.bits);
  kernel.merge({5, 6}, second.code, second.bits);
  kernel.merge({7, 8, 9, 10}, result.code, result.bits);
  kernel.outputState(kDv, result.code, result.bits);
  auto q = Tensor::random({1, shape.heads, shape.queries, kD}, 1),
       k = Tensor::random({1, shape.kv_heads, shape.keys, kD}, 2),
       v = Tensor::random({1, shape.kv_heads, shape.keys, kDv}, 3),
       o = Tensor::filled({1, shape.heads, shape.queries, kDv}, NAN),
       lse = Tensor::filled({1, shape.heads, shape.queries}, NAN);
  o->dl.dtype = {static_cast<uint8_t>(result.code), static_cast<uint8_t>(result.bits), 1};
  Plan plan = makePlan(kernel.get(), shape);
  EXPECT_EQ(run(plan.get(), {q.get(), k.get(), v.get()}, {o.get(), lse.get()}),
            SPARSE_ATTN_OK)
      << sparse_attn_last_error();
  std::vector<float> out(o->floats.size());
  sa_read_reals(result.real, o->floats.data(), static_cast<int64_t>(out.size()),
                out.data());
  return out;
}

TEST(Merge, everyMixOfTypes) {
  const sparse_attn_shape shape = {1, 2, 1, 5, 20};
  std::vector<float> exact = mergeMixed(shape, kTypes[0], kTypes[0], kTypes[0]);
  for (const Type &first : kTypes)
    for (const Type &second : kTypes)
      for (const Type &result : kTypes) {
        std::vector<float> out = mergeMixed(shape, first, second, result);
        ASSERT_EQ(out.size(), exact.size());
        // Values are in [-1, 1]: so are what the states have lost before.
        double bound = 1e-7;
        for (const Type *type : {&first, &second, &result})
          bound += type == &kTypes[0] ? 0 : std::ldexp(1, -type->mantissaBits - 1);
        for (size_t i = 0; i < out.size(); ++i)
          ASSERT_NEAR(out[i], exact[i], bound) << i;
        // A single rounding where the states are f32.
        if (&first == &kTypes[0] && &second == &kTypes[0])
          for (size_t i = 0; i < out.size(); ++i)
            ASSERT_NEAR(out[i], exact[i],
                        std::ldexp(std::abs(exact[i]), -result.mantissaBits - 1) * 1.001);
      }
}

/// Block means in double.
std::vector<float> means(const Tensor &tensor, int64_t tokens, int block) {
  int64_t planes = tensor.shape[0] * tensor.shape[1], n = tensor.shape[2],
          dim = tensor.shape[3];
  std::vector<float> result;
  for (int64_t plane = 0; plane < planes; ++plane)
    for (int64_t first = 0; first < tokens; first += block)
      for (int64_t d = 0; d < dim; ++d) {
        double sum = 0;
        int64_t end = std::min<int64_t>(first + block, tokens);
        for (int64_t j = first; j < end; ++j)
          sum += tensor.floats[(plane * n + j) * dim + d];
        result.push_back(static_cast<float>(sum / (end - first)));
      }
  return result;
}

TEST(Pool, attendsToBlockMeans) {
  const int n = 29, block = 4;
  for (int tokens : {29, 28, 27, 1, 0}) {
    const sparse_attn_shape shape = {1, 2, 1, 6, n};
    Kernel kernel;
    kernel.addQKV(kD, kDv);
    int length = kernel.layout("kv_len", {17});
    int k = kernel.pool(1, block), v = kernel.pool(2, block);
    Attention &attention = kernel.attention(kD, kDv, nullptr, all(), k, v);
    attention.code.key_block = block;
    attention.code.kv_len = length;
    kernel.outputState(kDv);
    auto lengthTensor = Tensor::of({1}, std::vector<int32_t>{tokens});
    Outcome outcome(kernel.get(), shape, {lengthTensor.get()});
    std::vector<float> pooledK = means(*outcome.k, tokens, block),
                       pooledV = means(*outcome.v, tokens, block);
    int pooled = (tokens + block - 1) / block;
    for (int row = 0; row < 12; ++row) {
      double sum = 0, out[kDv] = {};
      for (int j = 0; j < pooled; ++j) {
        double s = 0;
        for (int d = 0; d < kD; ++d)
          s += double(outcome.q->floats[row * kD + d]) * pooledK[j * kD + d];
        sum += std::exp(s / 2);
        for (int d = 0; d < kDv; ++d)
          out[d] += std::exp(s / 2) * pooledV[j * kDv + d];
      }
      for (int d = 0; d < kDv; ++d)
        ASSERT_NEAR(outcome.o->floats[row * kDv + d], pooled ? out[d] / sum : 0, 1e-5);
    }
  }
}

// Of one pooled key the output is its mean, to the last bit: groups of columns and what
// is left of them, more than a panel, rows that lie backwards.
TEST(Pool, sumsAnyNumberOfColumns) {
  const int n = 7;
  for (int dim : {1, 15, 16, 33, 256, 300}) {
    Kernel kernel;
    kernel.addQKV(kD, dim);
    int k = kernel.pool(1, 8), v = kernel.pool(2, 8);
    kernel.attention(kD, dim, nullptr, all(), k, v).code.key_block = 8;
    kernel.outputState(dim);
    Plan plan = makePlan(kernel.get(), {1, 1, 1, 1, n});
    auto query = Tensor::filled({1, 1, 1, kD}, 0),
         keys = Tensor::random({1, 1, n, kD}, 1),
         values = Tensor::random({1, 1, n, dim}, 2),
         out = Tensor::filled({1, 1, 1, dim}, NAN), lse = Tensor::filled({1, 1, 1}, NAN);
    values->strides[2] = -dim;
    values->dl.byte_offset = (n - 1) * dim * sizeof(float);
    ASSERT_EQ(mock::run(plan.get(), {query.get(), keys.get(), values.get()},
                        {out.get(), lse.get()}),
              SPARSE_ATTN_OK)
        << sparse_attn_last_error();
    for (int d = 0; d < dim; ++d) {
      double sum = 0;
      for (int j = n; j-- > 0;)
        sum += values->floats[j * dim + d];
      ASSERT_EQ(out->floats[d], static_cast<float>(sum / n)) << dim << " " << d;
    }
  }
}

TEST(Pool, classifierSeesTokensAndPooledKeys) {
  const int n = 29, block = 4;
  Kernel kernel;
  kernel.addQKV(kD, kDv);
  int k = kernel.pool(1, block), v = kernel.pool(2, block);
  Attention &attention = kernel.attention(
      kD, kDv,
      [](const sa_mask_context *context, int, int, int, int, int, int j1, int) {
        EXPECT_EQ(context->keys, 29);
        EXPECT_LT(j1, 8);
        return 1;
      },
      all(), k, v);
  attention.code.key_block = block;
  attention.code.binding = SA_BINDING_PLAN;
  kernel.outputState(kDv);
  Outcome outcome(kernel.get(), {1, 1, 1, 6, n});
  Plan plan = makePlan(kernel.get(), {1, 1, 1, 6, n});
  sparse_attn_grid grid;
  ASSERT_EQ(sparse_attn_plan_grid(plan.get(), 0, &grid), SPARSE_ATTN_OK);
  EXPECT_EQ(grid.keys, 8);
  sparse_attn_extent extent;
  ASSERT_EQ(sparse_attn_plan_extent(plan.get(), 0, 0, &extent), SPARSE_ATTN_OK);
  EXPECT_EQ(extent.queries, 6);
  EXPECT_EQ(extent.keys, 8);
  EXPECT_EQ(extent.first_position, n - 6); // of tokens
}

TEST(Pool, hierarchicalAttention) {
  // The tokens of the own block and the means of those before it.
  const int n = 24, block = 8;
  Kernel kernel;
  kernel.addQKV(kD, kDv);
  int k = kernel.pool(1, block), v = kernel.pool(2, block);
  auto local = [](int p) { return std::pair(p / 8 * 8, p + 1); };
  auto blocks = [](int p) { return std::pair(0, p / 8); };
  Attention &near = kernel.attention(kD, kDv, range(local), rangePredicate(local));
  Attention &far = kernel.attention(kD, kDv, range(blocks), rangePredicate(blocks), k, v);
  far.code.key_block = block;
  kernel.merge({near.code.out, near.code.lse, far.code.out, far.code.lse});
  kernel.outputState(kDv);
  Outcome outcome(kernel.get(), {1, 1, 1, n, n});
  std::vector<float> pooledK = means(*outcome.k, n, block),
                     pooledV = means(*outcome.v, n, block);
  for (int i = 0; i < n; ++i) {
    double sum = 0, out[kDv] = {};
    auto add = [&](const float *key, const float *value) {
      double s = 0;
      for (int d = 0; d < kD; ++d)
        s += double(outcome.q->floats[i * kD + d]) * key[d];
      sum += std::exp(s / 2);
      for (int d = 0; d < kDv; ++d)
        out[d] += std::exp(s / 2) * value[d];
    };
    for (int j = i / 8 * 8; j <= i; ++j)
      add(&outcome.k->floats[j * kD], &outcome.v->floats[j * kDv]);
    for (int j = 0; j < i / 8; ++j)
      add(&pooledK[j * kD], &pooledV[j * kDv]);
    for (int d = 0; d < kDv; ++d)
      ASSERT_NEAR(outcome.o->floats[i * kDv + d], out[d] / sum, 1e-5);
    ASSERT_NEAR(outcome.lse->floats[i], std::log(sum), 1e-5);
  }
}

} // namespace
