//===- MemoryTest.cpp - every allocation may fail -----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The linker sends the program's malloc, calloc and realloc here (--wrap), so
// that a test can make the n-th one fail. Leaks on the way back show in the
// build with the address sanitizer.
//
//===----------------------------------------------------------------------===//

#include "EncodingKernel.h"
#include "MockKernel.h"

#include "gtest/gtest.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

using namespace mock;

/// Allocations until one fails; negative: none does.
static std::atomic<long> untilFailure{-1};

static bool fails() { return untilFailure >= 0 && untilFailure-- == 0; }

extern "C" {
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *data, size_t size);
void *__wrap_malloc(size_t size) { return fails() ? nullptr : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) {
  return fails() ? nullptr : __real_calloc(count, size);
}
void *__wrap_realloc(void *data, size_t size) {
  return fails() ? nullptr : __real_realloc(data, size);
}
}

namespace {

/// Creates plans with every allocation failing in turn; returns how many there
/// are.
long failInTurn(const sparse_attn_kernel *kernel, sparse_attn_shape shape,
                const std::vector<const DLTensor *> &layout, int threads) {
  sparse_attn_options options = {};
  options.threads = threads;
  for (long n = 0; n < 10000; ++n) {
    sparse_attn_plan *plan = nullptr;
    untilFailure = n;
    sparse_attn_status status = sparse_attn_plan_create(kernel, &shape, layout.data(),
                                                        layout.size(), &options, &plan);
    bool failed = untilFailure < 0;
    untilFailure = -1;
    if (status == SPARSE_ATTN_OK) {
      EXPECT_NE(plan, nullptr);
      sparse_attn_plan_destroy(plan);
      if (!failed)
        return n;
      continue; // giving memory back early is allowed to fail
    }
    EXPECT_EQ(status, SPARSE_ATTN_OUT_OF_MEMORY) << sparse_attn_last_error();
    EXPECT_EQ(plan, nullptr);
    EXPECT_NE(std::string(sparse_attn_last_error()).find("no memory"), std::string::npos)
        << sparse_attn_last_error();
  }
  ADD_FAILURE() << "no end of allocations";
  return 0;
}

TEST(Memory, planOfAGraphWithLengths) {
  for (int threads : {1, 3}) {
    Kernel kernel;
    kernel.addQKV(8, 8);
    std::vector<int32_t> ids = {
        kernel.layout("offsets", {17, 0}), kernel.layout("chunk_node", {17, 0}),
        kernel.layout("indptr", {0}), kernel.layout("indices", {0})};
    int length = kernel.layout("kv_len", {17}), index = kernel.layout("index", {17, 0});
    Attention &attention = kernel.attention(
        8, 8,
        [](const sa_mask_context *context, int b, int, int p0, int p1, int j0, int j1,
           int) { return sa_classify_reach(context->tables[0], b, p0, p1, j0, j1); },
        nullptr);
    attention.code.binding = SA_BINDING_PLAN;
    attention.code.kv_len = length;
    attention.code.hop_table = 0;
    attention.code.per_head = 1;
    attention.tables.push_back(kernel.makeReach(ids, 2, false, true));
    attention.checks.push_back(kernel.makeCheck(SA_CHECK_GRAPH, ids, {}, "graph_hop"));
    attention.checks.push_back(kernel.makeCheck(SA_CHECK_INDEX, {index}, {0}, "global"));
    kernel.outputState(8);
    std::vector<std::unique_ptr<Tensor>> tensors;
    auto add = [&](std::vector<int64_t> shape, std::vector<int32_t> values) {
      tensors.push_back(Tensor::of(std::move(shape), std::move(values)));
    };
    add({1, 5}, {0, 5, 20, 21, 60});
    add({1, 4}, {0, 1, 0, 2});
    add({4}, {0, 2, 2, 3});
    add({3}, {1, 2, 0});
    add({2}, {60, 33});
    add({1, 3}, {4, 2, 1});
    std::vector<const DLTensor *> layout;
    for (auto &tensor : tensors)
      layout.push_back(&tensor->dl);
    EXPECT_GT(failInTurn(kernel.get(), {2, 2, 2, 60, 60}, layout, threads), 30);
  }
}

TEST(Memory, runsAllocateNothing) {
  // Hand-written code here: the naive loops of the mock do allocate.
  Kernel kernel;
  kernel.addQKV(8, 8);
  int k = kernel.pool(1, 4), v = kernel.pool(2, 4);
  Attention &pooled = kernel.attention(8, 8, nullptr, all(), k, v);
  pooled.code.key_block = 4;
  Attention &tokens = kernel.attention(8, 8, exhaustive(causal()), causal());
  for (Attention *attention : {&pooled, &tokens})
    for (sa_level &level : attention->levels) {
      level.pack = [](const sa_pack_args *) {};
      level.attend = [](const sa_attend_args *args) {
        static_cast<char *>(args->scratch)[63] = 1;
      };
    }
  kernel.merge({pooled.code.out, pooled.code.lse, tokens.code.out, tokens.code.lse});
  kernel.outputState(8);
  Plan plan = makePlan(kernel.get(), {1, 2, 1, 9, 30});
  auto q = Tensor::random({1, 2, 9, 8}, 1), kv = Tensor::random({1, 1, 30, 8}, 2),
       o = Tensor::filled({1, 2, 9, 8}, 0), lse = Tensor::filled({1, 2, 9}, 0);
  sparse_attn_options options = {};
  options.threads = 1;
  size_t bytes;
  ASSERT_EQ(sparse_attn_workspace_size(plan.get(), &options, &bytes), SPARSE_ATTN_OK);
  std::vector<char> memory(bytes);
  const DLTensor *inputs[] = {&q->dl, &kv->dl, &kv->dl};
  DLTensor *outputs[] = {&o->dl, &lse->dl};
  untilFailure = 0;
  sparse_attn_status status =
      sparse_attn_run(plan.get(), inputs, 3, outputs, 2, memory.data(), bytes, &options);
  long left = untilFailure;
  untilFailure = -1;
  EXPECT_EQ(status, SPARSE_ATTN_OK) << sparse_attn_last_error();
  EXPECT_EQ(left, 0) << "the run has allocated";
}

TEST(Memory, statesBesideTheKeys) {
  sparse_attn_shape shape = {2, 4, 2, 1, 40};
  EncodingKernel kernel(shape, false, /*withMean=*/true);
  const sparse_attn_kernel *code = kernel.get();
  EXPECT_GT(failInTurn(code, shape, {}, 1), 4);
  std::vector<const DLTensor *> inputs;
  for (Tensor *tensor : kernel.inputs())
    inputs.push_back(&tensor->dl);
  sparse_attn_options options = {};
  options.threads = 2;
  int64_t lengths[] = {40, 3};
  std::string path = testing::TempDir() + "/sparse-attn-memory";
  sparse_attn_states *states = nullptr;
  long allocations = 0;
  for (; allocations < 100; ++allocations) {
    untilFailure = allocations;
    sparse_attn_status status = sparse_attn_states_create(code, &shape, &states);
    bool failed = untilFailure < 0;
    untilFailure = -1;
    EXPECT_EQ(status, failed ? SPARSE_ATTN_OUT_OF_MEMORY : SPARSE_ATTN_OK);
    if (!failed)
      break;
    EXPECT_EQ(states, nullptr);
  }
  EXPECT_GT(allocations, 6);
  ASSERT_LT(allocations, 100);

  untilFailure = 0;
  EXPECT_EQ(
      sparse_attn_states_extend(states, inputs.data(), inputs.size(), lengths, &options),
      SPARSE_ATTN_OUT_OF_MEMORY);
  EXPECT_EQ(sparse_attn_states_length(states, 0), 0);
  EXPECT_EQ(
      sparse_attn_states_extend(states, inputs.data(), inputs.size(), lengths, &options),
      SPARSE_ATTN_OK);
  EXPECT_EQ(sparse_attn_states_save(states, path.c_str()), SPARSE_ATTN_OK);
  sparse_attn_states_destroy(states);
  for (long n = 0;; ++n) {
    untilFailure = n;
    sparse_attn_status status = sparse_attn_states_load(code, path.c_str(), &states);
    bool failed = untilFailure < 0;
    untilFailure = -1;
    sparse_attn_states_destroy(states);
    if (!failed) {
      EXPECT_EQ(status, SPARSE_ATTN_OK) << sparse_attn_last_error();
      break;
    }
    // The first ones are the C library's, which does without or does not open the file.
    EXPECT_TRUE(status == SPARSE_ATTN_OUT_OF_MEMORY || n < 2) << n;
  }
  std::remove(path.c_str());
}

} // namespace
