//===- KeptPoolsTest.cpp - pooled keys and values as states ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MockKernel.h"
#include "encoded.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <unistd.h>

using namespace mock;

namespace {

constexpr int kD = 5, kDv = 3, kBlock = 4, kWide = 6;
constexpr sparse_attn_shape kShape = {2, 4, 2, 3, 29};

struct StatesDeleter {
  void operator()(sparse_attn_states *states) const {
    sparse_attn_states_destroy(states);
  }
};
using States = std::unique_ptr<sparse_attn_states, StatesDeleter>;

/// Attention to means of 4 tokens and to means of 6 of them, merged.
struct PoolKernel {
  explicit PoolKernel(const sparse_attn_shape &shape = kShape, int block = kBlock,
                      const char *valueName = "v")
      : shape(shape) {
    kernel.floats("q", {1, 2, 4, 0}, {-1, -1, -1, kD});
    kernel.floats("k", {1, 3, 5, 0}, {-1, -1, -1, kD});
    kernel.floats(valueName, {1, 3, 5, 0}, {-1, -1, -1, kDv});
    int lengths = kernel.layout("kv_len", {1});
    std::vector<int32_t> parts;
    for (int size : {block, kWide}) {
      int keys = size ? kernel.pool(1, size) : 1,
          values = size ? kernel.pool(2, size) : 2;
      Attention &attention = kernel.attention(kD, kDv, nullptr, all(), keys, values);
      attention.code.key_block = size;
      attention.code.kv_len = lengths;
      parts.insert(parts.end(), {attention.code.out, attention.code.lse});
    }
    kernel.merge(parts);
    kernel.outputState(kDv);
    q = Tensor::random({shape.batch, shape.heads, shape.queries, kD}, 1);
    k = Tensor::random({shape.batch, shape.kv_heads, shape.keys, kD}, 2);
    v = Tensor::random({shape.batch, shape.kv_heads, shape.keys, kDv}, 3);
  }

  States makeStates(int64_t capacity = kShape.keys) {
    sparse_attn_shape own = shape;
    own.keys = capacity;
    sparse_attn_states *states = nullptr;
    EXPECT_EQ(sparse_attn_states_create(kernel.get(), &own, &states), SPARSE_ATTN_OK)
        << sparse_attn_last_error();
    return States(states);
  }

  sparse_attn_status extend(const States &states, std::vector<int64_t> lengths,
                            int threads = 1) const {
    const DLTensor *inputs[] = {nullptr, k ? &k->dl : nullptr, v ? &v->dl : nullptr};
    sparse_attn_options options{};
    options.threads = threads;
    return sparse_attn_states_extend(states.get(), inputs, 3, lengths.data(), &options);
  }

  /// O and LSE of a run over the first keys, with `states` or without.
  sparse_attn_status run(std::vector<int32_t> lengths, const sparse_attn_states *states,
                         std::vector<float> &result, int threads = 1) {
    auto keys = Tensor::of({shape.batch}, std::move(lengths));
    Plan plan = makePlan(kernel.get(), shape, {keys.get()});
    auto o = Tensor::filled({shape.batch, shape.heads, shape.queries, kDv}, NAN),
         lse = Tensor::filled({shape.batch, shape.heads, shape.queries}, NAN);
    sparse_attn_options options{};
    options.threads = threads;
    options.states = states;
    sparse_attn_status status = mock::run(plan.get(), {q.get(), k.get(), v.get()},
                                          {o.get(), lse.get()}, &options);
    result = o->floats;
    result.insert(result.end(), lse->floats.begin(), lse->floats.end());
    return status;
  }

  sparse_attn_shape shape;
  Kernel kernel;
  std::unique_ptr<Tensor> q, k, v;
};

bool areSameBits(const std::vector<float> &a, const std::vector<float> &b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::string pathOf(const char *name) {
  return testing::TempDir() + "/sparse-attn-pools-" + name + std::to_string(getpid());
}

std::string readFile(const std::string &path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Everything that the states hold of their keys, sums of begun blocks too.
std::string content(const States &states) {
  std::string bytes;
  int64_t heads = states->shape.kv_heads;
  for (const sa_kept_pool *pool = states->pools;
       pool != states->pools + states->pool_count; ++pool) {
    int64_t row = pool->dim * sa_real_bytes(pool->type), block = pool->step->block;
    int64_t capacity = (states->shape.keys + block - 1) / block;
    for (int64_t plane = 0; plane < states->shape.batch * heads; ++plane) {
      int64_t length = sparse_attn_states_length(states.get(), plane / heads);
      bytes.append(pool->means + plane * capacity * row,
                   (length + block - 1) / block * row);
      if (length % block)
        bytes.append(reinterpret_cast<const char *>(pool->sums + plane * pool->dim),
                     pool->dim * sizeof(double));
    }
  }
  return bytes;
}

std::string fresh(PoolKernel &kernel, std::vector<int64_t> lengths) {
  States states = kernel.makeStates();
  EXPECT_EQ(kernel.extend(states, std::move(lengths)), SPARSE_ATTN_OK);
  return content(states);
}

void expectRefused(sparse_attn_status status, const std::string &message,
                   sparse_attn_status expected = SPARSE_ATTN_INVALID_ARGUMENT) {
  EXPECT_EQ(status, expected);
  EXPECT_EQ(sparse_attn_last_error(), message);
}

//===----------------------------------------------------------------------===//
// What they hold
//===----------------------------------------------------------------------===//

struct Type {
  int code, bits;
  sa_real real;
};

// Against sums in double, rounded once, whatever the type and the way there.
TEST(KeptPools, meansOfEveryType) {
  constexpr int kDim = 300, kTokens = 11, kOfBlock = 4; // more than a panel of columns
  for (Type type : {Type{kDLFloat, 32, SA_F32}, Type{kDLFloat, 16, SA_F16},
                    Type{kDLBfloat, 16, SA_BF16}}) {
    Kernel kernel;
    kernel.input("q", {1, 2, 4, 0}, false, {-1, -1, -1, kDim}, type.code, type.bits);
    kernel.input("k", {1, 3, 5, 0}, false, {-1, -1, -1, kDim}, type.code, type.bits);
    int pooled = kernel.pool(1, kOfBlock);
    kernel.attention(kDim, kDim, nullptr, all(), pooled, pooled).code.key_block =
        kOfBlock;
    kernel.outputState(kDim);
    auto tokens = Tensor::random({1, 1, kTokens, kDim}, 7);
    std::vector<double> exact(tokens->floats.begin(), tokens->floats.end());
    std::vector<char> memory(exact.size() * 4);
    sa_write_reals(type.real, exact.data(), exact.size(), memory.data());
    std::vector<float> values(exact.size());
    sa_read_reals(type.real, memory.data(), values.size(), values.data());
    tokens->dl.data = memory.data();
    tokens->dl.dtype = {uint8_t(type.code), uint8_t(type.bits), 1};

    for (std::vector<int64_t> steps :
         {std::vector<int64_t>{11}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {3, 10, 11}}) {
      sparse_attn_shape shape = {1, 1, 1, 0, kTokens};
      sparse_attn_states *created = nullptr;
      ASSERT_EQ(sparse_attn_states_create(kernel.get(), &shape, &created), SPARSE_ATTN_OK)
          << sparse_attn_last_error();
      States states(created);
      const DLTensor *inputs[] = {nullptr, &tokens->dl};
      for (int64_t length : steps)
        ASSERT_EQ(sparse_attn_states_extend(created, inputs, 2, &length, nullptr),
                  SPARSE_ATTN_OK)
            << sparse_attn_last_error();
      ASSERT_EQ(states->pool_count, 1);
      for (int64_t unit = 0; unit * kOfBlock < kTokens; ++unit) {
        int64_t first = unit * kOfBlock, end = std::min(first + kOfBlock, int64_t(11));
        std::vector<double> mean(kDim);
        for (int64_t j = first; j < end; ++j)
          for (int d = 0; d < kDim; ++d)
            mean[d] += values[j * kDim + d];
        for (double &x : mean)
          x /= end - first;
        size_t bytes = kDim * size_t(type.bits) / 8;
        std::vector<char> expected(bytes);
        sa_write_reals(type.real, mean.data(), kDim, expected.data());
        EXPECT_EQ(
            std::memcmp(states->pools[0].means + unit * bytes, expected.data(), bytes), 0)
            << type.bits << " " << unit;
      }
    }
  }
}

TEST(KeptPools, keyByKeyIsAllAtOnceForAnyThreads) {
  PoolKernel kernel;
  std::string expected = fresh(kernel, {29, 17});
  for (int threads : {1, 2, 7}) {
    for (std::vector<int64_t> steps :
         {std::vector<int64_t>{3, 4, 5, 13, 16, 29}, {2, 23, 24, 29}}) {
      States states = kernel.makeStates();
      for (int64_t n : steps)
        ASSERT_EQ(kernel.extend(states, {n, std::min<int64_t>(n, 17)}, threads),
                  SPARSE_ATTN_OK);
      EXPECT_EQ(content(states), expected);
    }
    States states = kernel.makeStates();
    for (int64_t n = 1; n <= 29; ++n)
      ASSERT_EQ(kernel.extend(states, {n, std::min<int64_t>(n, 17)}, threads),
                SPARSE_ATTN_OK);
    EXPECT_EQ(content(states), expected);
  }
}

// A token costs a token: what is before it in its block is not read again.
TEST(KeptPools, appendingReadsTheNewTokensAlone) {
  PoolKernel kernel;
  std::string expected = fresh(kernel, {19, 19});
  States states = kernel.makeStates();
  ASSERT_EQ(kernel.extend(states, {15, 15}), SPARSE_ATTN_OK);
  for (auto &[tensor, dim] : {std::pair{&kernel.k, kD}, {&kernel.v, kDv}})
    for (size_t i = 0; i < (*tensor)->floats.size(); ++i)
      if (i / dim % 29 < 15)
        (*tensor)->floats[i] = NAN;
  ASSERT_EQ(kernel.extend(states, {19, 19}), SPARSE_ATTN_OK);
  EXPECT_EQ(content(states), expected);
}

TEST(KeptPools, rollbackAndExtendIsFresh) {
  for (int64_t length : {0, 3, 8, 12, 15, 28})
    for (int64_t next : {15, 16, 28, 29}) {
      if (next < length)
        continue;
      PoolKernel kernel;
      States states = kernel.makeStates();
      ASSERT_EQ(kernel.extend(states, {29, 10}), SPARSE_ATTN_OK);
      ASSERT_EQ(sparse_attn_states_rollback(states.get(), 0, length), SPARSE_ATTN_OK);
      // What was rolled back is overwritten, as speculative decoding does.
      for (size_t i = 0; i < kernel.k->floats.size() / 2; ++i)
        kernel.k->floats[i] += int64_t(i) / kD % 29 < length ? 0.f : 0.5f;
      ASSERT_EQ(kernel.extend(states, {next, 10}), SPARSE_ATTN_OK);
      EXPECT_EQ(content(states), fresh(kernel, {next, 10})) << length << " " << next;
    }
}

TEST(KeptPools, rollbackTwiceWithinABlock) {
  PoolKernel kernel;
  States states = kernel.makeStates();
  ASSERT_EQ(kernel.extend(states, {23, 23}), SPARSE_ATTN_OK);
  for (int64_t length : {22, 21, 21})
    ASSERT_EQ(sparse_attn_states_rollback(states.get(), 0, length), SPARSE_ATTN_OK);
  ASSERT_EQ(kernel.extend(states, {21, 23}), SPARSE_ATTN_OK);
  EXPECT_EQ(content(states), fresh(kernel, {21, 23}));
}

TEST(KeptPools, sizes) {
  PoolKernel kernel;
  States states = kernel.makeStates(24);
  double means = 2. * (kD + kDv) * 4 * (1. / kBlock + 1. / kWide);
  EXPECT_DOUBLE_EQ(sparse_attn_states_bytes_per_key(states.get()), means);
  // Beside the means, sums in double of each plane.
  size_t bytes = size_t(2 * 24 * means) + 2 * 2 * 2 * (kD + kDv) * sizeof(double);
  EXPECT_GE(sparse_attn_states_bytes(states.get()), bytes);
  EXPECT_LE(sparse_attn_states_bytes(states.get()), bytes + 2048);
}

//===----------------------------------------------------------------------===//
// Runs
//===----------------------------------------------------------------------===//

TEST(KeptPools, aRunWithThemHasTheSameBits) {
  PoolKernel kernel;
  // More room than the plan has keys, and less.
  for (int64_t capacity : {64, 29, 21}) {
    States states = kernel.makeStates(capacity);
    for (int length : {0, 1, 12, 13, 20, 21}) {
      int other = std::min(length, 11);
      ASSERT_EQ(kernel.extend(states, {length, other}), SPARSE_ATTN_OK);
      for (int threads : {1, 3}) {
        std::vector<float> with, without;
        ASSERT_EQ(kernel.run({length, other}, states.get(), with, threads),
                  SPARSE_ATTN_OK)
            << sparse_attn_last_error();
        ASSERT_EQ(kernel.run({length, other}, nullptr, without, threads), SPARSE_ATTN_OK);
        EXPECT_TRUE(areSameBits(with, without)) << capacity << " " << length;
      }
    }
  }
}

// What is pooled is not read where the means are given.
TEST(KeptPools, aRunReadsTheMeansAlone) {
  Kernel kernel;
  kernel.addQKV(kD, kDv);
  int keys = kernel.pool(1, kBlock), values = kernel.pool(2, kBlock);
  kernel.attention(kD, kDv, nullptr, all(), keys, values).code.key_block = kBlock;
  kernel.outputState(kDv);
  sparse_attn_shape shape = {1, 2, 1, 3, 26};
  Plan plan = makePlan(kernel.get(), shape);
  auto q = Tensor::random({1, 2, 3, kD}, 1), k = Tensor::random({1, 1, 26, kD}, 2),
       v = Tensor::random({1, 1, 26, kDv}, 3), o = Tensor::filled({1, 2, 3, kDv}, 0),
       lse = Tensor::filled({1, 2, 3}, 0);
  auto runs = [&](const sparse_attn_options *options) {
    return mock::run(plan.get(), {q.get(), k.get(), v.get()}, {o.get(), lse.get()},
                     options);
  };
  ASSERT_EQ(runs(nullptr), SPARSE_ATTN_OK);
  std::vector<float> expected = o->floats;

  sparse_attn_states *created = nullptr;
  ASSERT_EQ(sparse_attn_states_create(kernel.get(), &shape, &created), SPARSE_ATTN_OK);
  States states(created);
  const DLTensor *inputs[] = {&q->dl, &k->dl, &v->dl};
  int64_t length = 26;
  ASSERT_EQ(sparse_attn_states_extend(created, inputs, 3, &length, nullptr),
            SPARSE_ATTN_OK);
  sparse_attn_options options{};
  options.threads = 1;
  size_t without, with;
  ASSERT_EQ(sparse_attn_workspace_size(plan.get(), &options, &without), SPARSE_ATTN_OK);
  options.states = created;
  ASSERT_EQ(sparse_attn_workspace_size(plan.get(), &options, &with), SPARSE_ATTN_OK);
  // Means of 7 blocks, each array aligned to 64 bytes.
  EXPECT_EQ(without - with, size_t(192 + 128));
  for (float &x : k->floats)
    x = NAN;
  for (float &x : v->floats)
    x = NAN;
  ASSERT_EQ(runs(&options), SPARSE_ATTN_OK) << sparse_attn_last_error();
  EXPECT_EQ(o->floats, expected);
}

// The rows of a prefill and those of a decode loop are kernels of their own.
TEST(KeptPools, anotherKernelWithTheSamePoolsReadsThem) {
  PoolKernel kernel, other;
  other.kernel.attentions[0].code.kv_len = -1;
  States states = kernel.makeStates();
  ASSERT_EQ(kernel.extend(states, {29, 29}), SPARSE_ATTN_OK);
  std::vector<float> with, without;
  ASSERT_EQ(other.run({29, 29}, states.get(), with), SPARSE_ATTN_OK)
      << sparse_attn_last_error();
  ASSERT_EQ(other.run({29, 29}, nullptr, without), SPARSE_ATTN_OK);
  EXPECT_TRUE(areSameBits(with, without));
}

TEST(KeptPools, runsAreRefusedWhereKeysDiffer) {
  PoolKernel kernel;
  States states = kernel.makeStates();
  std::vector<float> result;
  ASSERT_EQ(kernel.extend(states, {20, 9}), SPARSE_ATTN_OK);
  expectRefused(kernel.run({20, 10}, states.get(), result),
                "kernel 'mock': batch entry 1 has 10 keys, and its states have 9; bring "
                "them there with sparse_attn_states_extend");
  // As many pooled keys are not as many keys.
  expectRefused(kernel.run({19, 9}, states.get(), result),
                "kernel 'mock': batch entry 0 has 19 keys, and its states have 20; bring "
                "them there with sparse_attn_states_extend");
  ASSERT_EQ(sparse_attn_states_rollback(states.get(), 0, 19), SPARSE_ATTN_OK);
  expectRefused(kernel.run({19, 9}, states.get(), result),
                "kernel 'mock': batch entry 0 has 19 keys, and its states have 19 of a "
                "block that was rolled back; bring them there with "
                "sparse_attn_states_extend");
  // Where no block is cut, nothing has to be made anew.
  ASSERT_EQ(sparse_attn_states_rollback(states.get(), 0, 12), SPARSE_ATTN_OK);
  EXPECT_EQ(kernel.run({12, 9}, states.get(), result), SPARSE_ATTN_OK)
      << sparse_attn_last_error();
}

const char *const kOthers =
    "kernel 'mock' has other scores or pools than kernel 'mock', of which the states are";

TEST(KeptPools, ofAnotherKernel) {
  PoolKernel kernel;
  States states = kernel.makeStates();
  std::vector<float> result;
  for (auto [block, name] : {std::pair{5, "v"}, {kBlock, "w"}})
    expectRefused(PoolKernel(kShape, block, name).run({0, 0}, states.get(), result),
                  kOthers);
}

//===----------------------------------------------------------------------===//
// What is refused
//===----------------------------------------------------------------------===//

TEST(KeptPools, extensionErrorsChangeNothing) {
  PoolKernel kernel;
  States states = kernel.makeStates();
  ASSERT_EQ(kernel.extend(states, {14, 14}), SPARSE_ATTN_OK);
  PoolKernel shorter({2, 4, 2, 3, 17});
  shorter.k = std::move(kernel.k);
  expectRefused(shorter.extend(states, {14, 18}),
                "kernel 'mock': 'v' has 17 keys, but states are to be made of 18");
  kernel.k = std::move(shorter.k);
  expectRefused(kernel.extend(states, {30, 14}),
                "kernel 'mock': batch entry 0 is to have the states of 30 keys, but was "
                "created for at most 29");
  auto values = std::move(kernel.v);
  expectRefused(kernel.extend(states, {15, 15}), "kernel 'mock': 'v' is null");
  kernel.v = std::move(values);
  EXPECT_EQ(content(states), fresh(kernel, {14, 14}));
}

TEST(KeptPools, whatIsReturnedIsMadeByEveryRun) {
  Kernel kernel;
  kernel.addQKV(kD, kD);
  int keys = kernel.pool(1, kBlock);
  kernel.attention(kD, kD, nullptr, all(), keys, keys).code.key_block = kBlock;
  kernel.outputState(kD);
  kernel.output("means", keys, {1, 3, 0, 0}, kD);
  sparse_attn_states *states = nullptr;
  expectRefused(sparse_attn_states_create(kernel.get(), &kShape, &states),
                "kernel 'mock' keeps nothing beside K; run it without states");
}

// Of pooled keys and values one may be an output: the other is kept.
TEST(KeptPools, oneOfTwoIsReturned) {
  for (bool values : {false, true}) {
    Kernel kernel;
    kernel.addQKV(kD, kD);
    int pools[] = {kernel.pool(1, kBlock), kernel.pool(2, kBlock)};
    kernel.attention(kD, kD, nullptr, all(), pools[0], pools[1]).code.key_block = kBlock;
    kernel.outputState(kD);
    kernel.output("means", pools[values], {1, 3, 0, 0}, kD);
    sparse_attn_shape shape = {1, 2, 1, 3, 10};
    Plan plan = makePlan(kernel.get(), shape);
    auto q = Tensor::random({1, 2, 3, kD}, 1), k = Tensor::random({1, 1, 10, kD}, 2),
         v = Tensor::random({1, 1, 10, kD}, 3), o = Tensor::filled({1, 2, 3, kD}, 0),
         lse = Tensor::filled({1, 2, 3}, 0), means = Tensor::filled({1, 1, 3, kD}, 0);
    auto runs = [&](const sparse_attn_options *options) {
      return mock::run(plan.get(), {q.get(), k.get(), v.get()},
                       {o.get(), lse.get(), means.get()}, options);
    };
    ASSERT_EQ(runs(nullptr), SPARSE_ATTN_OK) << sparse_attn_last_error();
    std::vector<float> expected = o->floats, returned = means->floats;
    sparse_attn_states *created = nullptr;
    ASSERT_EQ(sparse_attn_states_create(kernel.get(), &shape, &created), SPARSE_ATTN_OK);
    States states(created);
    EXPECT_EQ(states->pool_count, 1);
    sparse_attn_options options{};
    options.states = created;
    expectRefused(
        runs(&options),
        "kernel 'mock': batch entry 0 has 10 keys, and its states have 0; bring "
        "them there with sparse_attn_states_extend");
    const DLTensor *inputs[] = {nullptr, values ? &k->dl : nullptr,
                                values ? nullptr : &v->dl};
    int64_t length = 10;
    ASSERT_EQ(sparse_attn_states_extend(created, inputs, 3, &length, nullptr),
              SPARSE_ATTN_OK)
        << sparse_attn_last_error();
    o = Tensor::filled({1, 2, 3, kD}, 0);
    means = Tensor::filled({1, 1, 3, kD}, 0);
    ASSERT_EQ(runs(&options), SPARSE_ATTN_OK) << sparse_attn_last_error();
    EXPECT_EQ(o->floats, expected);
    EXPECT_EQ(means->floats, returned);
  }
}

TEST(KeptPools, malformedPools) {
  PoolKernel kernel;
  auto *steps = const_cast<sa_step *>(kernel.kernel.get()->steps);
  sparse_attn_states *states = nullptr;
  auto expectMalformed = [&](const std::string &what) {
    expectRefused(sparse_attn_states_create(&kernel.kernel.kernel, &kShape, &states),
                  "kernel 'mock' is malformed: " + what + "; compile it again");
    expectRefused(sparse_attn_states_load(&kernel.kernel.kernel, "/dev/null", &states),
                  "kernel 'mock' is malformed: " + what + "; compile it again");
  };
  sa_step pool = steps[1];
  ASSERT_EQ(pool.kind, SA_STEP_POOL);
  steps[1].block = 0;
  expectMalformed("a pool must have one input of the kernel");
  steps[1] = pool;
  const int32_t far[] = {77};
  steps[1].inputs = far;
  expectMalformed("a pool must have one input of the kernel");
  steps[1] = pool;
  steps[1].type_bits = 16;
  expectMalformed("a pool's means have another type than its tokens");
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

struct SavedPools {
  SavedPools() : path(pathOf("saved")) {
    States states = kernel.makeStates();
    EXPECT_EQ(kernel.extend(states, {27, 15}), SPARSE_ATTN_OK);
    EXPECT_EQ(sparse_attn_states_rollback(states.get(), 0, 22), SPARSE_ATTN_OK);
    EXPECT_EQ(sparse_attn_states_save(states.get(), path.c_str()), SPARSE_ATTN_OK);
    bytes = readFile(path);
    wanted = content(states);
  }
  ~SavedPools() { std::remove(path.c_str()); }
  States load(const sparse_attn_kernel *reader, sparse_attn_status expected) {
    sparse_attn_states *states = nullptr;
    EXPECT_EQ(sparse_attn_states_load(reader, path.c_str(), &states), expected)
        << sparse_attn_last_error();
    EXPECT_EQ(states != nullptr, expected == SPARSE_ATTN_OK);
    return States(states);
  }
  void expectLoadFails(const std::string &file) {
    std::ofstream(path, std::ios::binary) << file;
    load(kernel.kernel.get(), SPARSE_ATTN_LOAD_FAILED);
  }
  PoolKernel kernel;
  std::string path, bytes, wanted;
};

TEST(KeptPoolsFile, whatWasSavedGoesOn) {
  SavedPools saved;
  States states = saved.load(saved.kernel.kernel.get(), SPARSE_ATTN_OK);
  EXPECT_EQ(sparse_attn_states_length(states.get(), 0), 22);
  EXPECT_EQ(content(states), saved.wanted);
  // A begun block goes on with its sums; that of entry 0 is made anew.
  ASSERT_EQ(saved.kernel.extend(states, {23, 16}), SPARSE_ATTN_OK);
  ASSERT_EQ(saved.kernel.extend(states, {29, 18}), SPARSE_ATTN_OK);
  EXPECT_EQ(content(states), fresh(saved.kernel, {29, 18}));
}

TEST(KeptPoolsFile, truncatedOrSpoilt) {
  SavedPools saved;
  for (size_t size = 0; size < saved.bytes.size(); size += size < 100 ? 7 : 61)
    saved.expectLoadFails(saved.bytes.substr(0, size));
  EXPECT_EQ(sparse_attn_last_error(), "'" + saved.path + "' is truncated");
  saved.expectLoadFails(saved.bytes.substr(0, saved.bytes.size() - 1));
  for (size_t at = 0; at < saved.bytes.size(); at += at < 100 ? 1 : 5) {
    std::string spoilt = saved.bytes;
    spoilt[at] = static_cast<char>(spoilt[at] ^ 0x10);
    saved.expectLoadFails(spoilt);
  }
  saved.expectLoadFails(saved.bytes + "1");
}

// 16-bit rows of an odd width are no whole words.
TEST(KeptPoolsFile, partsOfWordsCount) {
  Kernel kernel;
  for (const char *name : {"q", "k"})
    kernel.input(name, {1, 2, 5, 0}, false, {-1, -1, -1, 3}, kDLFloat, 16);
  int pooled = kernel.pool(1, 2);
  kernel.attention(3, 3, nullptr, all(), pooled, pooled).code.key_block = 2;
  kernel.outputState(3);
  sparse_attn_shape shape = {1, 1, 1, 0, 2};
  sparse_attn_states *states = nullptr;
  ASSERT_EQ(sparse_attn_states_create(kernel.get(), &shape, &states), SPARSE_ATTN_OK)
      << sparse_attn_last_error();
  States made(states);
  auto tokens = Tensor::random({1, 1, 2, 3}, 7);
  tokens->dl.dtype = {kDLFloat, 16, 1};
  uint16_t halves[] = {1, 2, 3, 3, 4, 5};
  tokens->dl.data = halves;
  const DLTensor *inputs[] = {nullptr, &tokens->dl};
  int64_t length = 2;
  ASSERT_EQ(sparse_attn_states_extend(states, inputs, 2, &length, nullptr),
            SPARSE_ATTN_OK);
  std::string path = pathOf("words");
  ASSERT_EQ(sparse_attn_states_save(states, path.c_str()), SPARSE_ATTN_OK);
  std::string file = readFile(path);
  // Header, entry and checksum; six bytes and theirs.
  ASSERT_EQ(file.size(), size_t(56 + 16 + 8 + 6 + 8));
  const uint16_t means[] = {2, 3, 4};
  EXPECT_EQ(std::memcmp(&file[80], means, sizeof(means)), 0);
  file[84] ^= 1;
  std::ofstream(path, std::ios::binary) << file;
  EXPECT_EQ(sparse_attn_states_load(kernel.get(), path.c_str(), &states),
            SPARSE_ATTN_LOAD_FAILED);
  std::remove(path.c_str());
}

TEST(KeptPoolsFile, ofOtherPools) {
  SavedPools saved;
  for (auto [block, name] : {std::pair{5, "v"}, {kBlock, "w"}}) {
    PoolKernel other(kShape, block, name);
    saved.load(other.kernel.get(), SPARSE_ATTN_LOAD_FAILED);
    EXPECT_EQ(sparse_attn_last_error(),
              "'" + saved.path +
                  "' holds states of other scores or pools than those of kernel 'mock'");
  }
}

} // namespace
