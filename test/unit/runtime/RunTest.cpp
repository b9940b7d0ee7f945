//===- RunTest.cpp - whole runs against a naive loop ----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MockKernel.h"

#include "gtest/gtest.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

using namespace mock;

namespace {

constexpr int kD = 5, kDv = 3;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
const float kInf = std::numeric_limits<float>::infinity();

/// Inputs and outputs of one run. Outputs start as NaN: everything is written.
struct Problem {
  sparse_attn_shape shape;
  std::unique_ptr<Tensor> q, k, v, o, lse;

  explicit Problem(sparse_attn_shape shape)
      : shape(shape), q(Tensor::random({shape.batch, shape.heads, shape.queries, kD}, 1)),
        k(Tensor::random({shape.batch, shape.kv_heads, shape.keys, kD}, 2)),
        v(Tensor::random({shape.batch, shape.kv_heads, shape.keys, kDv}, 3)),
        o(Tensor::filled({shape.batch, shape.heads, shape.queries, kDv}, kNaN)),
        lse(Tensor::filled({shape.batch, shape.heads, shape.queries}, kNaN)) {}

  std::vector<Tensor *> inputs() const { return {q.get(), k.get(), v.get()}; }
  std::vector<Tensor *> outputs() const { return {o.get(), lse.get()}; }
};

/// Lengths of the batch entries; negative: the whole axis, no offset.
struct Lengths {
  std::vector<int32_t> keys, queries, offsets;
};

const float *element(const Tensor &tensor, std::vector<int64_t> index) {
  int64_t offset = 0;
  for (size_t axis = 0; axis < index.size(); ++axis)
    offset += index[axis] * tensor.dl.strides[axis];
  return static_cast<const float *>(tensor.dl.data) + offset;
}

/// Checks O and LSE against the definition, in double.
void checkAgainstLoop(const Problem &problem, const Predicate &keep,
                      const Lengths &lengths = {}, const std::vector<float> &sinks = {}) {
  const sparse_attn_shape &shape = problem.shape;
  for (int64_t b = 0; b < shape.batch; ++b) {
    auto pick = [&](const std::vector<int32_t> &list, int64_t otherwise) {
      return list.empty() ? otherwise : list[list.size() > 1 ? b : 0];
    };
    int64_t n = pick(lengths.keys, shape.keys), m = pick(lengths.queries, shape.queries);
    int64_t offset = pick(lengths.offsets, n - m);
    for (int64_t h = 0; h < shape.heads; ++h) {
      int64_t group = shape.heads / shape.kv_heads;
      for (int64_t i = 0; i < shape.queries; ++i) {
        double sum = 0, out[kDv] = {};
        if (i < m && !sinks.empty())
          sum += std::exp(double(sinks[h]));
        for (int64_t j = 0; i < m && j < n; ++j) {
          if (!keep(b, h, i + offset, j, n))
            continue;
          double s = 0;
          for (int d = 0; d < kD; ++d)
            s += double(*element(*problem.q, {b, h, i, d})) *
                 *element(*problem.k, {b, h / group, j, d});
          double w = std::exp(s / std::sqrt(double(kD)));
          sum += w;
          for (int d = 0; d < kDv; ++d)
            out[d] += w * *element(*problem.v, {b, h / group, j, d});
        }
        SCOPED_TRACE("b " + std::to_string(b) + " h " + std::to_string(h) + " i " +
                     std::to_string(i));
        float lse = *element(*problem.lse, {b, h, i});
        if (sum == 0)
          ASSERT_EQ(lse, -kInf);
        else
          ASSERT_NEAR(lse, std::log(sum), 1e-5);
        for (int d = 0; d < kDv; ++d)
          ASSERT_NEAR(*element(*problem.o, {b, h, i, d}), sum == 0 ? 0 : out[d] / sum,
                      1e-5);
      }
    }
  }
}

const sparse_attn_shape kShapes[] = {
    {1, 1, 1, 1, 1},
    {1, 1, 1, 4, 8},
    {2, 4, 2, 13, 37},
    {1, 6, 2, 5, 64},
    {1, 2, 1, 21, 9}, // M > N: early rows are empty under a causal
                      // mask
    {3, 2, 2, 1, 50}, // decode
    {1, 1, 1, 64, 64},
    {2, 6, 2, 1, 150}, // one stack of heads, keys split in parts
    {1, 8, 1, 3, 210}, // stacks of two heads
};

TEST(Run, denseWithoutClassifier) {
  for (const sparse_attn_shape &shape : kShapes) {
    Kernel kernel;
    kernel.addQKV(kD, kDv);
    kernel.attention(kD, kDv, nullptr, all());
    kernel.outputState(kDv);
    Problem problem(shape);
    Plan plan = makePlan(kernel.get(), shape);
    ASSERT_EQ(run(plan.get(), problem.inputs(), problem.outputs()), SPARSE_ATTN_OK)
        << sparse_attn_last_error();
    checkAgainstLoop(problem, all());
  }
}

TEST(Run, causalAtCompileTimeAndAtPlanTime) {
  for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN}) {
    for (const sparse_attn_shape &shape : kShapes) {
      Kernel kernel;
      kernel.addQKV(kD, kDv);
      Attention &attention = kernel.attention(
          kD, kDv,
          [](const sa_mask_context *, int, int, int p0, int p1, int j0, int j1, int) {
            return classifyCausal(p0, p1, j0, j1);
          },
          causal());
      attention.code.binding = binding;
      kernel.outputState(kDv);
      Problem problem(shape);
      Plan plan = makePlan(kernel.get(), shape);
      ASSERT_EQ(run(plan.get(), problem.inputs(), problem.outputs()), SPARSE_ATTN_OK);
      checkAgainstLoop(problem, causal());
    }
  }
}

/// A mask without structure that differs by batch entry and head as asked.
Predicate scattered(bool byBatch, bool byHead) {
  return [=](int b, int h, int p, int j, int) {
    unsigned x =
        (byBatch ? b : 0) * 7919u + (byHead ? h : 0) * 104729u + p * 31u + j * 17u;
    x = (x ^ (x >> 7)) * 2654435761u;
    return (x >> 28) < 5 && (j / 16 + p / 8) % 3 != 1;
  };
}

TEST(Run, scatteredMasksInEveryCombination) {
  for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN}) {
    for (int byBatch : {0, 1}) {
      for (int byHead : {0, 1}) {
        Predicate keep = scattered(byBatch, byHead);
        Kernel kernel;
        kernel.addQKV(kD, kDv);
        Attention &attention = kernel.attention(kD, kDv, exhaustive(keep), keep);
        attention.code.binding = binding;
        attention.code.per_batch = byBatch;
        attention.code.per_head = byHead;
        kernel.outputState(kDv);
        for (const sparse_attn_shape &shape : kShapes) {
          Problem problem(shape);
          Plan plan = makePlan(kernel.get(), shape);
          ASSERT_EQ(run(plan.get(), problem.inputs(), problem.outputs()), SPARSE_ATTN_OK);
          checkAgainstLoop(problem, keep);
        }
      }
    }
  }
}

/// Keeps pairs whose distance is a multiple of 3 and at most 30.
bool keepThird(int, int, int p, int j, int) {
  return (p - j) % 3 == 0 && j <= p && p - j <= 30;
}

/// As generated code answers: what is alike modulo 3 is decided at once.
int classifyThird(const sa_mask_context *, int, int, int p0, int p1, int j0, int j1,
                  int step) {
  bool point = p0 == p1 && j0 == j1;
  bool may = j0 <= p1 && p0 - j1 <= 30, must = j1 <= p0 && p1 - j0 <= 30;
  bool multiple = (p0 - j0) % 3 == 0;
  if (!may || ((step == 3 || point) && !multiple))
    return 0;
  return must && (step == 3 || point) ? 1 : 2;
}

// Rows and keys of a tile are 3 apart, in classes of different lengths.
TEST(Run, stepsOfAPeriod) {
  const sparse_attn_shape shapes[] = {{1, 1, 1, 100, 100}, {2, 4, 2, 95, 97},
                                      {1, 2, 1, 2, 50},    {2, 2, 2, 1, 31},
                                      {1, 2, 1, 50, 2},    {1, 1, 1, 24, 24}};
  const Lengths cases[] = {{}, {{60, 7}, {90, 1}, {}}, {{70}, {}, {-8, 11}}};
  bool stepped = false;
  for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN})
    for (const sparse_attn_shape &shape : shapes)
      for (Lengths lengths : cases) {
        Kernel kernel;
        kernel.addQKV(kD, kDv);
        std::vector<std::unique_ptr<Tensor>> operands;
        std::vector<Tensor *> layout;
        int ids[3] = {-1, -1, -1}, next = 0;
        for (auto [list, most] : {std::pair(&lengths.keys, shape.keys),
                                  std::pair(&lengths.queries, shape.queries),
                                  std::pair(&lengths.offsets, int64_t(1000))}) {
          int &id = ids[next++];
          if (list->empty())
            continue;
          list->resize(shape.batch, list->back());
          for (int32_t &length : *list)
            length = std::min<int32_t>(length, static_cast<int32_t>(most));
          id = kernel.layout("lengths", {17});
          operands.push_back(Tensor::of({shape.batch}, *list));
          layout.push_back(operands.back().get());
        }
        Attention &attention = kernel.attention(kD, kDv, classifyThird, keepThird);
        attention.code.binding = binding;
        attention.code.period = 3;
        attention.code.kv_len = ids[0];
        attention.code.q_len = ids[1];
        attention.code.q_offset = ids[2];
        kernel.outputState(kDv);
        Problem problem(shape);
        Plan plan = makePlan(kernel.get(), shape, layout);
        sparse_attn_grid grid;
        ASSERT_EQ(sparse_attn_plan_grid(plan.get(), 0, &grid), SPARSE_ATTN_OK);
        stepped = stepped || grid.step == 3;
        ASSERT_EQ(run(plan.get(), problem.inputs(), problem.outputs()), SPARSE_ATTN_OK);
        checkAgainstLoop(problem, keepThird, lengths);
      }
  EXPECT_TRUE(stepped);
}

TEST(Run, lengthsAndOffsets) {
  const sparse_attn_shape shape = {3, 4, 2, 11, 30};
  const Lengths cases[] = {
      {{30, 17, 0}, {}, {}}, {{}, {11, 4, 0}, {}}, {{30, 5, 21}, {3, 11, 8}, {}},
      {{19}, {7}, {}},       {{}, {}, {0, 7, -5}}, {{30, 8, 9}, {11, 2, 0}, {40, -3, 1}},
  };
  for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN}) {
    for (const Lengths &lengths : cases) {
      Kernel kernel;
      kernel.addQKV(kD, kDv);
      std::vector<std::unique_ptr<Tensor>> operands;
      std::vector<Tensor *> layout;
      std::vector<int> ids;
      for (const std::vector<int32_t> *list :
           {&lengths.keys, &lengths.queries, &lengths.offsets}) {
        ids.push_back(list->empty() ? -1 : kernel.layout("lengths", {17}));
        if (list->empty())
          continue;
        operands.push_back(Tensor::of({static_cast<int64_t>(list->size())}, *list));
        layout.push_back(operands.back().get());
      }
      Attention &attention = kernel.attention(kD, kDv, exhaustive(causal()), causal());
      attention.code.binding = binding;
      attention.code.kv_len = ids[0];
      attention.code.q_len = ids[1];
      attention.code.q_offset = ids[2];
      kernel.outputState(kDv);
      Problem problem(shape);
      Plan plan = makePlan(kernel.get(), shape, layout);
      ASSERT_EQ(run(plan.get(), problem.inputs(), problem.outputs()), SPARSE_ATTN_OK);
      checkAgainstLoop(problem, causal(), lengths);
    }
  }
}

TEST(Run, sinksReachEmptyRowsButNotPadding) {
  const sparse_attn_shape shape = {1, 2, 1, 12, 6};
  Kernel kernel;
  kernel.addQKV(kD, kDv);
  int sinks = kernel.floats("sinks", {2});
  int rows = kernel.layout("q_len", {1});
  Attention &attention = kernel.attention(kD, kDv, exhaustive(causal()), causal());
  attention.code.sinks = sinks;
  attention.code.q_len = rows;
  kernel.outputState(kDv);
  Problem problem(shape);
  auto sinkValues = Tensor::random({2}, 9);
  auto length = Tensor::of({1}, std::vector<int32_t>{10});
  Plan plan = makePlan(kernel.get(), shape, {length.get()});
  std::vector<Tensor *> inputs = problem.inputs();
  inputs.push_back(sinkValues.get());
  ASSERT_EQ(run(plan.get(), inputs, problem.outputs()), SPARSE_ATTN_OK);
  checkAgainstLoop(problem, causal(), {{}, {10}, {}}, sinkValues->floats);
  EXPECT_EQ(problem.lse->floats[0], sinkValues->floats[0]); // p = -4: no key
  EXPECT_EQ(problem.lse->floats[11], -kInf);                // padding
}

TEST(Run, stridesOffsetsAndNegativeStrides) {
  const sparse_attn_shape shape = {2, 2, 1, 7, 19};
  Kernel kernel;
  kernel.addQKV(kD, kDv);
  kernel.attention(kD, kDv, exhaustive(causal()), causal());
  kernel.outputState(kDv);
  Plan plan = makePlan(kernel.get(), shape);
  Problem problem(shape);
  // q: [B, M, H, D] in memory; k: rows backwards; v: one element further on;
  // o: rows with a gap.
  problem.q->strides = {7 * 2 * kD, kD, 2 * kD, 1};
  problem.k->strides[2] = -kD;
  problem.k->dl.byte_offset = 18 * kD * sizeof(float);
  auto wide = Tensor::random({2, 1, 20, kDv}, 5);
  wide->shape[2] = 19;
  wide->dl.byte_offset = sizeof(float) * kDv;
  problem.v = std::move(wide);
  auto gaps = Tensor::filled({2, 2, 7, kDv + 2}, kNaN);
  gaps->shape[3] = kDv;
  problem.o = std::move(gaps);
  ASSERT_EQ(run(plan.get(), problem.inputs(), problem.outputs()), SPARSE_ATTN_OK)
      << sparse_attn_last_error();
  // element() does not know byte_offset: move the pointers instead.
  problem.k->dl.data = problem.k->floats.data() + 18 * kD;
  problem.v->dl.data = problem.v->floats.data() + kDv;
  checkAgainstLoop(problem, causal());
  EXPECT_TRUE(std::isnan(problem.o->floats[kDv])) << "the gap was written";
}

TEST(Run, broadcastKeysWithZeroStrides) {
  const sparse_attn_shape shape = {3, 2, 2, 4, 10};
  Kernel kernel;
  kernel.addQKV(kD, kDv);
  kernel.attention(kD, kDv, nullptr, all());
  kernel.outputState(kDv);
  Plan plan = makePlan(kernel.get(), shape);
  Problem problem(shape);
  problem.k->strides[0] = 0;
  problem.v->strides[0] = 0;
  ASSERT_EQ(run(plan.get(), problem.inputs(), problem.outputs()), SPARSE_ATTN_OK);
  checkAgainstLoop(problem, all());
}

TEST(Run, emptyShapesNeedNoWorkspace) {
  for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN}) {
    for (const sparse_attn_shape &shape :
         {sparse_attn_shape{0, 2, 1, 3, 3}, sparse_attn_shape{2, 0, 0, 3, 3},
          sparse_attn_shape{2, 0, 2, 3, 3}, sparse_attn_shape{2, 2, 1, 0, 3},
          sparse_attn_shape{0, 0, 0, 0, 0}}) {
      Kernel kernel;
      kernel.addQKV(kD, kDv);
      Attention &attention = kernel.attention(kD, kDv, exhaustive(causal()), causal());
      attention.code.binding = binding;
      attention.code.per_head = attention.code.per_batch = 1;
      kernel.outputState(kDv);
      Plan plan = makePlan(kernel.get(), shape);
      size_t bytes = 1;
      ASSERT_EQ(sparse_attn_workspace_size(plan.get(), nullptr, &bytes), SPARSE_ATTN_OK);
      EXPECT_EQ(bytes, 0u);
      Problem problem(shape);
      for (Tensor *tensor : {problem.q.get(), problem.o.get(), problem.lse.get()})
        tensor->dl.data = nullptr;
      const DLTensor *inputs[] = {&problem.q->dl, &problem.k->dl, &problem.v->dl};
      DLTensor *outputs[] = {&problem.o->dl, &problem.lse->dl};
      EXPECT_EQ(sparse_attn_run(plan.get(), inputs, 3, outputs, 2, nullptr, 0, nullptr),
                SPARSE_ATTN_OK)
          << sparse_attn_last_error();
    }
  }
}

TEST(Run, noKeys) {
  const sparse_attn_shape shape = {2, 2, 1, 9, 0};
  for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN}) {
    Kernel kernel;
    kernel.addQKV(kD, kDv);
    kernel.attention(kD, kDv, exhaustive(all()), all()).code.binding = binding;
    kernel.outputState(kDv);
    Problem problem(shape);
    Plan plan = makePlan(kernel.get(), shape);
    ASSERT_EQ(run(plan.get(), problem.inputs(), problem.outputs()), SPARSE_ATTN_OK);
    checkAgainstLoop(problem, all());
  }
}

std::atomic<int> packedTiles;

TEST(Run, packsOnlyTilesThatAreRead) {
  // Head h of batch entry b reads the keys [16 * h, 16 * h + 8) alone: one tile
  // for each head, and the two heads of a group share their keys.
  auto first = [](int b, int h) { return 16 * h + 8 * b; };
  Predicate keep = [=](int b, int h, int, int j, int) {
    return j >= first(b, h) && j < first(b, h) + 8;
  };
  for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN}) {
    Kernel kernel;
    kernel.addQKV(kD, kDv);
    Attention &attention = kernel.attention(kD, kDv, exhaustive(keep), keep);
    attention.code.binding = binding;
    attention.code.per_batch = attention.code.per_head = 1;
    static sa_pack_fn pack;
    for (sa_level &level : attention.levels) {
      pack = level.pack;
      level.pack = [](const sa_pack_args *args) {
        ++packedTiles;
        EXPECT_EQ(args->first_key % 8, 0);
        pack(args);
      };
    }
    kernel.outputState(kDv);
    Problem problem({2, 4, 2, 9, 100});
    Plan plan = makePlan(kernel.get(), problem.shape);
    packedTiles = 0;
    ASSERT_EQ(run(plan.get(), problem.inputs(), problem.outputs()), SPARSE_ATTN_OK);
    checkAgainstLoop(problem, keep);
    EXPECT_EQ(packedTiles, 8);
  }
}

/// Runs `kernel` and returns the bytes of O and LSE.
std::vector<float> result(const sparse_attn_kernel *kernel,
                          const sparse_attn_shape &shape,
                          const sparse_attn_options *options) {
  Problem problem(shape);
  Plan plan = makePlan(kernel, shape, {}, options);
  EXPECT_EQ(run(plan.get(), problem.inputs(), problem.outputs(), options),
            SPARSE_ATTN_OK);
  std::vector<float> values = problem.o->floats;
  values.insert(values.end(), problem.lse->floats.begin(), problem.lse->floats.end());
  return values;
}

bool areSameBits(const std::vector<float> &a, const std::vector<float> &b) {
  return a.size() == b.size() &&
         !std::memcmp(a.data(), b.data(), a.size() * sizeof(float));
}

void callBackwards(void *calls, int workers, void (*work)(void *, int), void *argument) {
  ++*static_cast<int *>(calls);
  for (int worker = workers; worker-- > 0;)
    work(argument, worker);
}

void callOnThreads(void *, int workers, void (*work)(void *, int), void *argument) {
  std::vector<std::thread> threads;
  for (int worker = 0; worker < workers; ++worker)
    threads.emplace_back(work, argument, worker);
  for (std::thread &thread : threads)
    thread.join();
}

TEST(Run, bitIdenticalForEveryThreadCountAndExecutor) {
  const sparse_attn_shape shape = {2, 4, 2, 53, 70};
  for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN}) {
    Predicate keep = scattered(true, true);
    Kernel kernel;
    kernel.addQKV(kD, kDv);
    Attention &attention = kernel.attention(kD, kDv, exhaustive(keep), keep);
    attention.code.binding = binding;
    attention.code.per_batch = attention.code.per_head = 1;
    kernel.outputState(kDv);
    const sparse_attn_kernel *code = kernel.get();
    sparse_attn_options one = {};
    one.threads = 1;
    std::vector<float> expected = result(code, shape, &one);
    for (int threads : {2, 7, 300}) {
      sparse_attn_options options = {};
      options.threads = threads;
      EXPECT_TRUE(areSameBits(result(code, shape, &options), expected)) << threads;
    }
    int calls = 0;
    sparse_attn_executor backwards = {callBackwards, &calls};
    sparse_attn_options options = {};
    options.threads = 3;
    options.executor = &backwards;
    EXPECT_TRUE(areSameBits(result(code, shape, &options), expected));
    EXPECT_EQ(calls, binding == SA_BINDING_PLAN ? 3 : 2); // plan, pack, attend
    sparse_attn_executor onThreads = {callOnThreads, nullptr};
    options.threads = 5;
    options.executor = &onThreads;
    EXPECT_TRUE(areSameBits(result(code, shape, &options), expected));
  }
}

TEST(Run, onePlanFromManyThreads) {
  const sparse_attn_shape shape = {1, 4, 2, 20, 40};
  Kernel kernel;
  kernel.addQKV(kD, kDv);
  kernel.attention(kD, kDv, exhaustive(causal()), causal()).code.binding =
      SA_BINDING_PLAN;
  kernel.outputState(kDv);
  sparse_attn_executor onThreads = {callOnThreads, nullptr};
  sparse_attn_options options = {};
  options.threads = 2;
  options.executor = &onThreads;
  Plan plan = makePlan(kernel.get(), shape, {}, &options);
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  std::vector<std::unique_ptr<Problem>> problems;
  for (int i = 0; i < 6; ++i)
    problems.push_back(std::make_unique<Problem>(shape));
  for (int i = 0; i < 6; ++i)
    threads.emplace_back([&, i] {
      failures +=
          run(plan.get(), problems[i]->inputs(), problems[i]->outputs(), &options) != 0;
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(failures, 0);
  for (auto &problem : problems)
    checkAgainstLoop(*problem, causal());
}

} // namespace
