//===- ErrorTest.cpp - what the runtime says of bad input ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MockKernel.h"

#include "gtest/gtest.h"

#include <cmath>
#include <functional>
#include <limits>

using namespace mock;

namespace {

constexpr int kD = 8, kDv = 8;
const sparse_attn_shape kShape = {2, 4, 2, 6, 10};

#define EXPECT_ERROR(call, code, message)                                                \
  do {                                                                                   \
    EXPECT_EQ(call, code);                                                               \
    EXPECT_STREQ(sparse_attn_last_error(), message);                                     \
  } while (false)

sparse_attn_status createPlan(const sparse_attn_kernel *kernel, sparse_attn_shape shape,
                              const std::vector<Tensor *> &layout = {},
                              const sparse_attn_options *options = nullptr) {
  std::vector<const DLTensor *> list;
  for (Tensor *tensor : layout)
    list.push_back(tensor ? &tensor->dl : nullptr);
  sparse_attn_plan *plan = nullptr;
  sparse_attn_status status =
      sparse_attn_plan_create(kernel, &shape, list.data(), list.size(), options, &plan);
  EXPECT_EQ(plan == nullptr, status != SPARSE_ATTN_OK);
  sparse_attn_plan_destroy(plan);
  return status;
}

/// A dense kernel with an optional [H or 1] bias, and its tensors.
class BadTensor : public testing::Test {
protected:
  Kernel kernel{"attn"};
  Plan plan;
  std::unique_ptr<Tensor> q = Tensor::random({2, 4, 6, kD}, 1),
                          k = Tensor::random({2, 2, 10, kD}, 2),
                          v = Tensor::random({2, 2, 10, kDv}, 3),
                          bias = Tensor::random({1}, 4), odd = Tensor::random({3}, 4),
                          o = Tensor::filled({2, 4, 6, kDv}, 0),
                          lse = Tensor::filled({2, 4, 6}, 0);

  void SetUp() override {
    kernel.addQKV(kD, kDv);
    kernel.floats("bias", {18});
    kernel.floats("odd", {6});
    kernel.attention(kD, kDv, nullptr, all());
    kernel.outputState(kDv);
    plan = makePlan(kernel.get(), kShape);
    ASSERT_EQ(run(), SPARSE_ATTN_OK) << sparse_attn_last_error();
  }

  sparse_attn_status run() {
    return mock::run(plan.get(), {q.get(), k.get(), v.get(), bias.get(), odd.get()},
                     {o.get(), lse.get()});
  }
};

TEST_F(BadTensor, null) {
  q.reset();
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT, "kernel 'attn': 'q' is null");
}

TEST_F(BadTensor, rank) {
  k = Tensor::random({2, 10, kD}, 1);
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn': 'k' has rank 3, expected 4");
}

TEST_F(BadTensor, dtype) {
  q->dl.dtype.bits = 16;
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn': 'q' has dtype float16, expected float32");
  q->dl.dtype = {kDLComplex, 64, 1};
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn': 'q' has dtype type code 5 with 64 bits, expected float32");
  q->dl.dtype = {kDLFloat, 32, 4};
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn': 'q' has a dtype of 4 lanes, expected 1");
}

TEST_F(BadTensor, device) {
  v->dl.device.device_type = kDLCUDA;
  EXPECT_ERROR(
      run(), SPARSE_ATTN_INVALID_ARGUMENT,
      "kernel 'attn': 'v' is on DLPack device type 2, expected the CPU (1); copy it "
      "there first");
  v->dl.device.device_type = kDLCUDAHost;
  EXPECT_EQ(run(), SPARSE_ATTN_OK) << "pinned memory is CPU memory";
}

TEST_F(BadTensor, noShape) {
  v->dl.shape = nullptr;
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT, "kernel 'attn': 'v' has no shape");
}

TEST_F(BadTensor, sizes) {
  q->shape[3] = 7;
  EXPECT_ERROR(
      run(), SPARSE_ATTN_INVALID_ARGUMENT,
      "kernel 'attn': 'q' has size 7 on axis 3, but the kernel was compiled for 8");
  q->shape = {2, -4, 6, kD};
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn': 'q' has size -4 on axis 1");
  q->shape = {2, 4, 5, kD};
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn': 'q' has size 5 on axis 2, expected M = 6");
  q->shape = {2, 4, 6, kD};
  k->shape[1] = 4;
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn': 'k' has size 4 on axis 1, expected Hkv = 2");
  k->shape[1] = 2;
  bias->shape[0] = 3;
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn': 'bias' has size 3 on axis 0, expected 1 or H = 4");
  bias->shape[0] = 1;
  odd->shape[0] = 2;
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn': 'odd' has size 2 on axis 0, expected an odd size");
}

TEST_F(BadTensor, strides) {
  q->strides[3] = 2;
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn': 'q' has stride 2 on its last axis, expected 1; pass a "
               "contiguous copy");
  q->strides[3] = -1;
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn': 'q' has stride -1 on its last axis, expected 1; pass a "
               "contiguous copy");
  q->strides[3] = 1;
  bias->strides[0] = 77; // one element has no neighbour
  EXPECT_EQ(run(), SPARSE_ATTN_OK);
  o->strides[1] = 0;
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn': 'o' is an output with stride 0 on axis 1: its elements "
               "overlap");
  o->strides[1] = std::numeric_limits<int64_t>::max() / 2;
  EXPECT_ERROR(run(), SPARSE_ATTN_OVERFLOW,
               "kernel 'attn': 'o' spans more bytes than the address space holds");
  o->strides[1] = std::numeric_limits<int64_t>::min();
  EXPECT_ERROR(run(), SPARSE_ATTN_OVERFLOW,
               "kernel 'attn': 'o' spans more bytes than the address space holds");
  o->dl.strides = nullptr; // contiguous
  EXPECT_EQ(run(), SPARSE_ATTN_OK);
}

TEST_F(BadTensor, data) {
  q->dl.data = nullptr;
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT, "kernel 'attn': 'q' has no data");
  q->dl.data = q->floats.data();
  q->dl.byte_offset = 2;
  EXPECT_ERROR(run(), SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn': 'q' starts at an address that is not a multiple of 4");
}

TEST_F(BadTensor, counts) {
  EXPECT_ERROR(mock::run(plan.get(), {q.get()}, {o.get(), lse.get()}),
               SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn' takes 5 inputs (q, k, v, bias, odd), got 1");
  EXPECT_ERROR(
      mock::run(plan.get(), {q.get(), k.get(), v.get(), bias.get(), odd.get()}, {}),
      SPARSE_ATTN_INVALID_ARGUMENT, "kernel 'attn' has 2 outputs, got 0");
  EXPECT_ERROR(sparse_attn_run(plan.get(), nullptr, 5, nullptr, 2, nullptr, 0, nullptr),
               SPARSE_ATTN_INVALID_ARGUMENT, "kernel 'attn': the list of inputs is null");
}

TEST_F(BadTensor, workspace) {
  sparse_attn_options options = {};
  options.threads = 3;
  size_t bytes;
  ASSERT_EQ(sparse_attn_workspace_size(plan.get(), &options, &bytes), SPARSE_ATTN_OK);
  const DLTensor *inputs[] = {&q->dl, &k->dl, &v->dl, &bias->dl, &odd->dl};
  DLTensor *outputs[] = {&o->dl, &lse->dl};
  std::vector<char> memory(bytes);
  std::string expected =
      std::to_string(bytes) + " for 3 threads (sparse_attn_workspace_size)";
  EXPECT_ERROR(sparse_attn_run(plan.get(), inputs, 5, outputs, 2, memory.data(),
                               bytes - 1, &options),
               SPARSE_ATTN_WORKSPACE_TOO_SMALL,
               ("kernel 'attn': the workspace has " + std::to_string(bytes - 1) +
                " bytes, expected at least " + expected)
                   .c_str());
  EXPECT_ERROR(
      sparse_attn_run(plan.get(), inputs, 5, outputs, 2, nullptr, bytes, &options),
      SPARSE_ATTN_WORKSPACE_TOO_SMALL,
      ("kernel 'attn': the workspace has 0 bytes, expected at least " + expected)
          .c_str());
}

TEST_F(BadTensor, options) {
  sparse_attn_options options = {};
  options.threads = -1;
  EXPECT_ERROR(createPlan(&kernel.kernel, kShape, {}, &options),
               SPARSE_ATTN_INVALID_ARGUMENT,
               "options: threads is -1, expected 1 to 65536, or 0 for OpenMP's default");
  sparse_attn_executor executor = {};
  options.threads = 0;
  options.executor = &executor;
  EXPECT_ERROR(
      createPlan(&kernel.kernel, kShape, {}, &options), SPARSE_ATTN_INVALID_ARGUMENT,
      "options: executor has no `parallel` function; pass a NULL executor to use "
      "OpenMP");
}

TEST_F(BadTensor, shape) {
  auto expect = [&](sparse_attn_shape shape, sparse_attn_status status,
                    const char *message) {
    EXPECT_ERROR(createPlan(&kernel.kernel, shape), status, message);
  };
  expect({2, 4, 3, 6, 10}, SPARSE_ATTN_INVALID_ARGUMENT,
         "kernel 'attn': H = 4 is not a multiple of Hkv = 3");
  expect({2, 4, 0, 6, 10}, SPARSE_ATTN_INVALID_ARGUMENT,
         "kernel 'attn': H = 4 is not a multiple of Hkv = 0");
  expect({-2, 4, 2, 6, 10}, SPARSE_ATTN_INVALID_ARGUMENT,
         "kernel 'attn': B is -2, expected at least 0");
  expect({2, 4, 2, 1 << 30, 10}, SPARSE_ATTN_INVALID_ARGUMENT,
         "kernel 'attn': M is 1073741824, expected less than 2^30");
  expect({2, 4, 2, 6, int64_t(1) << 40}, SPARSE_ATTN_INVALID_ARGUMENT,
         "kernel 'attn': N is 1099511627776, expected less than 2^30");
  expect({int64_t(1) << 40, int64_t(1) << 40, 1, 6, 10}, SPARSE_ATTN_OVERFLOW,
         "kernel 'attn': B = 1099511627776 times H = 1099511627776 does not fit 31 bits");
  expect({1 << 16, 1 << 14, 1, (1 << 30) - 1, 10}, SPARSE_ATTN_OVERFLOW,
         "kernel 'attn': a result of the sizes B = 65536, H = 16384, Hkv = 1, M = "
         "1073741823, N = 10 does not fit the address space");
}

TEST_F(BadTensor, workspaceOverflow) {
  // Nothing of this is allocated before the workspace is.
  // Two query tiles: their keys are packed.
  sparse_attn_shape shape = {1 << 16, 1 << 14, 1 << 14, 5, (1 << 30) - 1};
  Plan huge = makePlan(&kernel.kernel, shape);
  sparse_attn_options options = {};
  options.threads = 2;
  size_t bytes;
  EXPECT_ERROR(
      sparse_attn_workspace_size(huge.get(), &options, &bytes), SPARSE_ATTN_OVERFLOW,
      "kernel 'attn': the workspace of B = 65536, Hkv = 16384, N = 1073741823 and 2 "
      "threads does not fit the address space");
}

TEST_F(BadTensor, nullArguments) {
  sparse_attn_plan *made;
  size_t bytes;
  EXPECT_ERROR(sparse_attn_plan_create(nullptr, &kShape, nullptr, 0, nullptr, &made),
               SPARSE_ATTN_INVALID_ARGUMENT, "kernel is null");
  EXPECT_ERROR(
      sparse_attn_plan_create(&kernel.kernel, nullptr, nullptr, 0, nullptr, &made),
      SPARSE_ATTN_INVALID_ARGUMENT, "shape is null");
  EXPECT_ERROR(
      sparse_attn_plan_create(&kernel.kernel, &kShape, nullptr, 0, nullptr, nullptr),
      SPARSE_ATTN_INVALID_ARGUMENT, "plan is null");
  EXPECT_ERROR(sparse_attn_workspace_size(nullptr, nullptr, &bytes),
               SPARSE_ATTN_INVALID_ARGUMENT, "plan is null");
  EXPECT_ERROR(sparse_attn_workspace_size(plan.get(), nullptr, nullptr),
               SPARSE_ATTN_INVALID_ARGUMENT, "bytes is null");
  EXPECT_ERROR(sparse_attn_run(nullptr, nullptr, 0, nullptr, 0, nullptr, 0, nullptr),
               SPARSE_ATTN_INVALID_ARGUMENT, "plan is null");
  sparse_attn_plan_destroy(nullptr);
}

//===----------------------------------------------------------------------===//
// Layout operands
//===----------------------------------------------------------------------===//

/// A kernel with one check over the operands `axes`.
struct CheckedKernel {
  Kernel kernel{"attn"};
  CheckedKernel(int kind, std::vector<std::vector<int32_t>> axes,
                std::vector<int64_t> parameters, const char *op) {
    static const char *const names[] = {"first", "second", "third", "fourth"};
    kernel.addQKV(kD, kDv);
    std::vector<int32_t> ids;
    for (const std::vector<int32_t> &axis : axes)
      ids.push_back(axis.size() == 4
                        ? kernel.input(names[ids.size()], axis, true, {}, kDLUInt, 8)
                        : kernel.layout(names[ids.size()], axis));
    Attention &attention = kernel.attention(kD, kDv, nullptr, all());
    attention.checks.push_back(kernel.makeCheck(kind, ids, std::move(parameters), op));
    kernel.outputState(kDv);
    kernel.get();
  }

  void expect(const std::vector<Tensor *> &layout, const char *message) {
    if (!*message) {
      EXPECT_EQ(createPlan(&kernel.kernel, kShape, layout), SPARSE_ATTN_OK)
          << sparse_attn_last_error();
      return;
    }
    EXPECT_ERROR(createPlan(&kernel.kernel, kShape, layout), SPARSE_ATTN_INVALID_ARGUMENT,
                 message);
  }
};

std::unique_ptr<Tensor> rows(std::vector<int64_t> shape, std::vector<int32_t> values) {
  return Tensor::of(std::move(shape), std::move(values));
}

TEST(BadOperand, offsets) {
  CheckedKernel mock(SA_CHECK_OFFSETS, {{17, 0}}, {}, "segments");
  auto expect = [&](std::vector<int64_t> shape, std::vector<int32_t> values,
                    const char *message) {
    mock.expect({rows(std::move(shape), std::move(values)).get()}, message);
  };
  expect({1, 3}, {0, 4, 10}, "");
  expect({2, 3}, {0, 4, 10, 2, 2, 2}, "");
  expect({2, 3}, {0, 4, 10, 5, 3, 10},
         "kernel 'attn': segments: 'first' decreases from 5 to 3 at index 1 of its last "
         "axis");
  expect({1, 3}, {0, 4, 11}, "kernel 'attn': segments: 'first' ends at 11, past N = 10");
  expect({1, 3}, {-1, 4, 9},
         "kernel 'attn': segments: 'first' starts at -1, expected at least 0");
  expect(
      {1, 0}, {},
      "kernel 'attn': segments: 'first' is empty on its last axis, expected at least one "
      "value");
  expect({3, 1}, {0, 0, 0},
         "kernel 'attn': 'first' has size 3 on axis 0, expected 1 or B = 2");
}

TEST(BadOperand, lengths) {
  CheckedKernel keys(SA_CHECK_LENGTH, {{1}}, {1}, "prefix");
  keys.expect({rows({2}, {0, 10}).get()}, "");
  keys.expect(
      {rows({2}, {0, 11}).get()},
      "kernel 'attn': prefix: 'first' is 11 at batch entry 1, expected 0 to N = 10");
  CheckedKernel queries(SA_CHECK_LENGTH, {{1}}, {0}, "q_len");
  queries.expect(
      {rows({2}, {-1, 3}).get()},
      "kernel 'attn': q_len: 'first' is -1 at batch entry 0, expected 0 to M = 6");
}

TEST(BadOperand, index) {
  CheckedKernel mock(SA_CHECK_INDEX, {{17, 0}}, {0}, "global");
  mock.expect({rows({1, 4}, {9, -1, 0, 3}).get()}, "");
  mock.expect({rows({1, 0}, {}).get()}, "");
  mock.expect(
      {rows({2, 2}, {0, 1, 2, 10}).get()},
      "kernel 'attn': global: 'first' holds 10 at index 1 of its last axis, expected "
      "-1 to 9");
  mock.expect(
      {rows({1, 2}, {-2, 1}).get()},
      "kernel 'attn': global: 'first' holds -2 at index 0 of its last axis, expected "
      "-1 to 9");
}

TEST(BadOperand, bsr) {
  CheckedKernel mock(SA_CHECK_BSR, {{17, 18, 0}, {17, 18, 0}, {17, 0, 0, 0}}, {4, 3},
                     "block_mask");
  auto bits = [](std::vector<int64_t> shape) {
    int64_t count = shape[0] * shape[1] * shape[2] * shape[3];
    return Tensor::of(std::move(shape), std::vector<uint8_t>(count, 0xff));
  };
  auto good = bits({1, 3, 4, 1});
  auto indptr = rows({1, 1, 4}, {0, 1, 1, 3}), indices = rows({1, 1, 3}, {3, 0, 2});
  mock.expect({indptr.get(), indices.get(), good.get()}, "");
  mock.expect(
      {rows({1, 1, 3}, {0, 3, 1}).get(), indices.get(), good.get()},
      "kernel 'attn': block_mask: 'first' decreases from 3 to 1 at index 2 of its last "
      "axis");
  mock.expect(
      {rows({1, 1, 3}, {0, 3, 4}).get(), indices.get(), good.get()},
      "kernel 'attn': block_mask: 'first' ends at 4, past the number of blocks in "
      "indices = 3");
  mock.expect(
      {indptr.get(), rows({1, 1, 3}, {4, 0, 2}).get(), good.get()},
      "kernel 'attn': block_mask: 'second' lists key block 4 for block row 0, expected "
      "0 to 3");
  mock.expect(
      {indptr.get(), rows({1, 1, 3}, {3, 2, 2}).get(), good.get()},
      "kernel 'attn': block_mask: 'second' lists key block 2 after 2 for block row 2; "
      "blocks of a row must ascend");
  mock.expect(
      {indptr.get(), indices.get(), bits({1, 3, 4, 2}).get()},
      "kernel 'attn': block_mask: 'third' has 3 blocks of 4 rows and 2 bytes, expected "
      "3 blocks of 4 rows and 1 bytes");
}

TEST(BadOperand, graph) {
  CheckedKernel mock(SA_CHECK_GRAPH, {{17, 0}, {17, 0}, {0}, {0}}, {}, "graph_hop");
  auto offsets = rows({1, 4}, {0, 3, 3, 9}), nodes = rows({1, 3}, {1, 0, 1});
  auto indptr = rows({3}, {0, 1, 2}), indices = rows({2}, {1, 1});
  mock.expect({offsets.get(), nodes.get(), indptr.get(), indices.get()}, "");
  mock.expect(
      {rows({1, 4}, {0, 3, 2, 9}).get(), nodes.get(), indptr.get(), indices.get()},
      "kernel 'attn': graph_hop: 'first' decreases from 3 to 2 at index 2 of its last "
      "axis");
  mock.expect({offsets.get(), rows({1, 2}, {1, 0}).get(), indptr.get(), indices.get()},
              "kernel 'attn': graph_hop: 'second' has 2 chunks, but 'first' has 3");
  mock.expect({offsets.get(), rows({1, 3}, {1, 2, 0}).get(), indptr.get(), indices.get()},
              "kernel 'attn': graph_hop: 'second' holds 2 at index 1 of its last axis, "
              "expected 0 to 1");
  mock.expect({offsets.get(), nodes.get(), rows({3}, {0, 1, 5}).get(), indices.get()},
              "kernel 'attn': graph_hop: 'third' ends at 5, past the number of edges in "
              "indices = 2");
  mock.expect({offsets.get(), nodes.get(), indptr.get(), rows({2}, {1, -1}).get()},
              "kernel 'attn': graph_hop: 'fourth' holds -1 at index 1 of its last axis, "
              "expected 0 to 1");
}

TEST(BadOperand, headsOfATable) {
  CheckedKernel eight(SA_CHECK_HEADS, {}, {8}, "per_head");
  eight.expect({},
               "kernel 'attn': per_head: it is written for H = 8, the shape has H = 4");
  CheckedKernel four(SA_CHECK_HEADS, {}, {4}, "per_head");
  four.expect({}, "");
  four.expect({rows({1}, {1}).get()},
              "kernel 'attn' takes 0 layout operands (none), got 1");
}

TEST(BadOperand, lengthsWithoutCheck) {
  // The lengths of an attention are checked whether or not the kernel asks.
  Kernel kernel("attn");
  kernel.addQKV(kD, kDv);
  int length = kernel.layout("kv_len", {17}), offset = kernel.layout("q_offset", {17});
  Attention &attention = kernel.attention(kD, kDv, nullptr, all());
  attention.code.kv_len = length;
  attention.code.q_offset = offset;
  kernel.outputState(kDv);
  kernel.get();
  auto zero = rows({1}, {0});
  EXPECT_ERROR(createPlan(&kernel.kernel, kShape, {rows({2}, {3, 11}).get(), zero.get()}),
               SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn': 'kv_len' is 11 at batch entry 1, expected 0 to N = 10");
  EXPECT_ERROR(
      createPlan(&kernel.kernel, kShape, {zero.get(), rows({1}, {(1 << 30) - 5}).get()}),
      SPARSE_ATTN_INVALID_ARGUMENT,
      "kernel 'attn': 'q_offset' is 1073741819 at batch entry 0, which puts rows outside "
      "of "
      "-2^30 to 2^30");
  EXPECT_ERROR(createPlan(&kernel.kernel, kShape, {zero.get()}),
               SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn' takes 2 layout operands (kv_len, q_offset), got 1");
}

//===----------------------------------------------------------------------===//
// Kernels that the compiler does not write
//===----------------------------------------------------------------------===//

TEST(BadKernel, outputIsAnInputOrListedTwice) {
  Kernel input("attn");
  input.addQKV(kD, kDv);
  input.attention(kD, kDv, nullptr, all());
  input.output("copy", 1, {1, 3, 5, 0}, kD);
  EXPECT_ERROR(createPlan(input.get(), kShape), SPARSE_ATTN_INVALID_ARGUMENT,
               "kernel 'attn': output 'copy' is an input; use that tensor instead");
  Kernel twice("attn");
  twice.addQKV(kD, kDv);
  int out = twice.attention(kD, kDv, nullptr, all()).code.out;
  twice.output("o", out, {1, 2, 4, 0}, kDv);
  twice.output("again", out, {1, 2, 4, 0}, kDv);
  EXPECT_ERROR(
      createPlan(twice.get(), kShape), SPARSE_ATTN_INVALID_ARGUMENT,
      "kernel 'attn': outputs 'o' and 'again' are the same value; return it once");
}

TEST(BadKernel, poolWithTwoLengths) {
  Kernel kernel("attn");
  kernel.addQKV(kD, kDv);
  int length = kernel.layout("kv_len", {17});
  int k = kernel.pool(1, 4), v = kernel.pool(2, 4);
  Attention &first = kernel.attention(kD, kDv, nullptr, all(), k, v);
  Attention &second = kernel.attention(kD, kDv, nullptr, all(), k, v);
  first.code.key_block = second.code.key_block = 4;
  first.code.kv_len = length;
  kernel.outputState(kDv);
  EXPECT_ERROR(
      createPlan(kernel.get(), kShape, {rows({1}, {3}).get()}),
      SPARSE_ATTN_INVALID_ARGUMENT,
      "kernel 'attn': attentions with different kv_len share a pool; give each its "
      "own");
}

TEST(BadKernel, malformedDescriptors) {
  auto expect = [](const std::function<void(Attention &)> &damage, const char *what) {
    Kernel kernel("attn");
    kernel.addQKV(kD, kDv);
    damage(kernel.attention(kD, kDv, nullptr, all()));
    kernel.outputState(kDv);
    EXPECT_ERROR(
        createPlan(kernel.get(), kShape), SPARSE_ATTN_INVALID_ARGUMENT,
        ("kernel 'attn' is malformed: " + std::string(what) + "; compile it again")
            .c_str());
  };
  expect([](Attention &a) { a.code.tile_keys = 12; },
         "an attention has no code or no tile size");
  expect([](Attention &a) { a.code.k = 99; },
         "an attention names a tensor that is not there");
  expect([](Attention &a) { a.code.out = 0; }, "an attention's results are misnumbered");
  expect([](Attention &a) { a.code.key_block = 4; },
         "its keys are neither an input nor pooled");
  expect([](Attention &a) { a.levels[0].packed_bytes = a.levels[1].packed_bytes = 7; },
         "a level has no size for its scratch or packed tiles");
  expect([](Attention &a) { a.tables.push_back({9, 0, nullptr, 0, 0, nullptr}); },
         "this runtime does not know its table 0");
}

TEST(BadKernel, typesOfResults) {
  for (int what : {0, 1}) {
    Kernel kernel("attn");
    kernel.addQKV(kD, kDv);
    kernel.attention(kD, kDv, nullptr, all());
    // A merge of a type that there is not, or an output of another one.
    kernel.merge({3, 4}, what == 0 ? kDLInt : kDLBfloat, 16);
    kernel.outputState(kDv, kDLFloat, 16);
    EXPECT_ERROR(createPlan(kernel.get(), kShape), SPARSE_ATTN_INVALID_ARGUMENT,
                 what == 0 ? "kernel 'attn' is malformed: a step's result is neither f32 "
                             "nor f16 nor bf16; compile it again"
                           : "kernel 'attn' is malformed: an output is not the result of "
                             "a step; compile it again");
  }
}

// The best level that the processor has and the library holds, whatever the library
// holds beside it.
TEST(Level, best) {
  Kernel kernel("attn");
  kernel.addQKV(kD, kDv);
  Attention &attention = kernel.attention(kD, kDv, nullptr, all());
  kernel.outputState(kDv);
  const std::pair<const char *, bool> known[] = {
      {"avx2", __builtin_cpu_supports("x86-64-v3")},
      {"avx512", __builtin_cpu_supports("x86-64-v4")},
      {"avx512_bf16",
       __builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16")}};
  sa_level level = attention.levels[0];
  attention.levels.clear();
  const char *best = nullptr;
  for (auto [name, supported] : known) {
    level.level = attention.levels.size() + 1;
    level.name = name;
    attention.levels.push_back(level);
    best = supported ? name : best;
    EXPECT_STREQ(sparse_attn_kernel_level(kernel.get()), best) << "up to " << name;
  }
}

TEST(Level, environmentAndProcessor) {
  Kernel kernel("attn");
  kernel.addQKV(kD, kDv);
  Attention &attention = kernel.attention(kD, kDv, nullptr, all());
  kernel.outputState(kDv);
  const sparse_attn_kernel *code = kernel.get();
  ASSERT_EQ(setenv("SPARSE_ATTN_LEVEL", "avx2", 1), 0);
  EXPECT_STREQ(sparse_attn_kernel_level(code), "avx2");
  setenv("SPARSE_ATTN_LEVEL", "sse9", 1);
  EXPECT_EQ(sparse_attn_kernel_level(code), nullptr);
  const char *message =
      "kernel 'attn': SPARSE_ATTN_LEVEL asks for 'sse9', but the library "
      "holds avx2, avx512";
  EXPECT_STREQ(sparse_attn_last_error(), message);
  setenv("SPARSE_ATTN_LEVEL", "avx512_bf16", 1); // exists, but not in this library
  EXPECT_EQ(sparse_attn_kernel_level(code), nullptr);
  EXPECT_STREQ(sparse_attn_last_error(),
               "kernel 'attn': SPARSE_ATTN_LEVEL asks for 'avx512_bf16', but the library "
               "holds avx2, avx512");
  setenv("SPARSE_ATTN_LEVEL", "sse9", 1);
  EXPECT_ERROR(createPlan(code, kShape), SPARSE_ATTN_UNSUPPORTED_CPU, message);
  setenv("SPARSE_ATTN_LEVEL", "", 1);
  EXPECT_NE(sparse_attn_kernel_level(code), nullptr);
  unsetenv("SPARSE_ATTN_LEVEL");
  sa_level unknown{};
  unknown.level = 9;
  unknown.name = "avx9";
  attention.levels = {unknown};
  code = kernel.get();
  EXPECT_EQ(sparse_attn_kernel_level(code), nullptr);
  EXPECT_STREQ(
      sparse_attn_last_error(),
      "kernel 'attn': this processor supports no instruction level of the library "
      "(avx9); avx2 needs AVX2, FMA, F16C and BMI2");
  setenv("SPARSE_ATTN_LEVEL", "avx9", 1);
  EXPECT_ERROR(
      createPlan(code, kShape), SPARSE_ATTN_UNSUPPORTED_CPU,
      "kernel 'attn': SPARSE_ATTN_LEVEL asks for 'avx9', which this processor does "
      "not support; unset it");
  unsetenv("SPARSE_ATTN_LEVEL");
}

TEST(Status, names) {
  EXPECT_STREQ(sparse_attn_status_string(SPARSE_ATTN_OK), "ok");
  EXPECT_STREQ(sparse_attn_status_string(SPARSE_ATTN_ABI_MISMATCH), "ABI mismatch");
  EXPECT_STREQ(sparse_attn_status_string(static_cast<sparse_attn_status>(99)),
               "unknown status");
  EXPECT_EQ(sparse_attn_abi_version(), unsigned(SPARSE_ATTN_ABI_VERSION));
}

} // namespace
