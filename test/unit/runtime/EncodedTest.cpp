//===- EncodedTest.cpp - the states that a run makes ----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A kernel with three encodings: the states in the workspace of its run are those of
// each (b, head) on its own, for any number of threads; and what a run refuses.
//
//===----------------------------------------------------------------------===//

#include "EncodingKernel.h"
#include "EncodingMock.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstring>

using namespace mock;

namespace {

/// A run up to the point where its keys are encoded.
struct OpenRun {
  OpenRun(EncodingKernel &kernel, const sparse_attn_shape &shape, int threads,
          const std::vector<Tensor *> &layout = {})
      : plan(makePlan(kernel.get(), shape, layout)) {
    options.threads = threads;
    state.plan = plan.get();
    state.options = &options;
    state.workers = threads;
    EXPECT_EQ(sa_plan_workspace(plan.get(), &options, threads, nullptr, nullptr,
                                &state.workspace),
              SPARSE_ATTN_OK);
    memory.assign(state.workspace.bytes, 0xff);
    state.base = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
    std::vector<Tensor *> inputs = kernel.inputs();
    for (size_t i = 0; i < inputs.size(); ++i) {
      sa_view view;
      EXPECT_EQ(sa_bind_tensor(plan->kernel, &plan->kernel->inputs[i], false,
                               &inputs[i]->dl, kCPU, &shape, &view),
                SPARSE_ATTN_OK)
          << sparse_attn_last_error();
      views.push_back(view);
    }
    views.resize(plan->kernel->value_count);
    state.values = views.data();
    EXPECT_EQ(sa_encode_run_keys(&state, &plan->attentions[0]), SPARSE_ATTN_OK)
        << sparse_attn_last_error();
  }
  /// Words of units [0, units) of all states of an encoding.
  std::vector<uint32_t> words(int encoding, int64_t b, int64_t h, int64_t units) {
    EncodingMock::Planes planes;
    const sa_encoding &code = plan->kernel->encodings[encoding];
    for (int i = 0; i < code.state_count; ++i) {
      size_t bytes;
      EXPECT_TRUE(sa_state_plane_bytes(&code.states[i], plan->shape.keys, &bytes));
      auto *from = static_cast<const uint8_t *>(sa_run_plane(&state, encoding, i, b, h));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(from) % 64, 0u);
      planes.data.emplace_back(from, from + bytes);
      planes.states.push_back(&code.states[i]);
    }
    return planes.words(units);
  }
  Plan plan;
  sparse_attn_options options{};
  sa_run_state state{};
  std::vector<char> memory;
  std::vector<sa_view> views;
};

TEST(Encoded, statesOfARunAreThoseOfEachHead) {
  for (int64_t keys : {1, 300, 2600}) {
    sparse_attn_shape shape = {2, 4, 2, 1, keys};
    EncodingKernel kernel(shape);
    OpenRun one(kernel, shape, 1), two(kernel, shape, 2), seven(kernel, shape, 7);
    for (int e = 0; e < EncodingKernel::Encodings; ++e) {
      int64_t block = e == EncodingKernel::Pages ? 16 : 1;
      int64_t units = (keys + block - 1) / block;
      for (int64_t b = 0; b < 2; ++b)
        for (int64_t h = 0; h < 4; ++h) {
          std::vector<uint32_t> words = one.words(e, b, h, units);
          EXPECT_EQ(words, two.words(e, b, h, units));
          EXPECT_EQ(words, seven.words(e, b, h, units));
          sa_encoder encoder = sa_run_encoder(&one.state, &one.plan->attentions[0], e);
          EXPECT_EQ(words, kernel.encodeAlone(encoder, b, h, keys)) << e;
        }
    }
  }
}

/// Over more keys than one thread sums up at a time.
TEST(Encoded, centersAreOfAllKeys) {
  constexpr int kD = EncodingKernel::D;
  sparse_attn_shape shape = {2, 4, 2, 1, 5000};
  EncodingKernel kernel(shape);
  OpenRun one(kernel, shape, 1), three(kernel, shape, 3);
  auto centersOf = [](const OpenRun &run) {
    return sa_run_encoder(&run.state, &run.plan->attentions[0], EncodingKernel::Lsh)
        .centers;
  };
  EXPECT_EQ(std::memcmp(centersOf(one), centersOf(three), 4 * (kD + 1) * sizeof(double)),
            0);
  for (int64_t plane = 0; plane < 4; ++plane) {
    const float *keys = &kernel.k->floats[plane * 5000 * kD];
    const double *center = centersOf(one) + plane * (kD + 1);
    double mean[kD] = {}, longest = 0;
    for (int64_t i = 0; i < 5000 * kD; ++i)
      mean[i % kD] += keys[i] / 5000.0;
    for (int64_t j = 0; j < 5000; ++j) {
      double sum = 0;
      for (int d = 0; d < kD; ++d)
        sum += std::pow(keys[j * kD + d] - mean[d], 2);
      longest = std::max(longest, std::sqrt(sum));
    }
    for (int d = 0; d < kD; ++d)
      EXPECT_NEAR(center[d], mean[d], 1e-14);
    EXPECT_NEAR(center[kD], longest, 1e-14);
  }
}

TEST(Encoded, lengthsOfBatchEntriesCount) {
  sparse_attn_shape shape = {2, 4, 2, 1, 100};
  EncodingKernel kernel(shape, /*withLengths=*/true);
  auto lengths = Tensor::of({2}, std::vector<int32_t>{37, 90});
  OpenRun run(kernel, shape, 2, {lengths.get()});
  for (int e = 0; e < EncodingKernel::Encodings; ++e)
    for (int64_t b = 0; b < 2; ++b) {
      int64_t n = lengths->ints[b];
      sa_encoder encoder = sa_run_encoder(&run.state, &run.plan->attentions[0], e);
      int64_t units = e == EncodingKernel::Pages ? (n + 15) / 16 : n;
      EXPECT_EQ(run.words(e, b, 3, units), kernel.encodeAlone(encoder, b, 3, n)) << e;
    }
}

TEST(Encoded, aWholeRunHasRoom) {
  sparse_attn_shape shape = {2, 4, 2, 3, 300};
  EncodingKernel kernel(shape);
  Plan plan = makePlan(kernel.get(), shape);
  EXPECT_GT(sparse_attn_plan_bytes(plan.get()),
            sa_directions_bytes(&kernel.encodings[2]));
  EXPECT_EQ(kernel.run(plan.get()), SPARSE_ATTN_OK) << sparse_attn_last_error();
}

void expectRefused(EncodingKernel &kernel, const char *message) {
  Plan plan = makePlan(kernel.get(), kernel.shape);
  EXPECT_EQ(kernel.run(plan.get()), SPARSE_ATTN_INVALID_ARGUMENT);
  EXPECT_STREQ(sparse_attn_last_error(), message);
}

TEST(Encoded, weightsOfTheWrongSize) {
  sparse_attn_shape shape = {1, 4, 2, 1, 20};
  EncodingKernel kernel(shape);
  kernel.keyWeights = Tensor::random({4, 100}, 1);
  expectRefused(kernel, "kernel 'mock': 'key_weights' has size 100 on axis 1, expected "
                        "192, the weights and offsets of all layers");
}

TEST(Encoded, malformedEncodings) {
  sparse_attn_shape shape = {1, 4, 2, 1, 20};
  auto refuse = [&](const std::function<void(EncodingKernel &)> &spoil,
                    const char *what) {
    EncodingKernel kernel(shape);
    const sparse_attn_kernel *code = kernel.get();
    spoil(kernel);
    sparse_attn_plan *plan = nullptr;
    EXPECT_EQ(sparse_attn_plan_create(code, &shape, nullptr, 0, nullptr, &plan),
              SPARSE_ATTN_INVALID_ARGUMENT);
    EXPECT_STREQ(sparse_attn_last_error(), what);
    EXPECT_EQ(plan, nullptr);
  };
  const char *unknown = "kernel 'mock' is malformed: this runtime does not know encoding "
                        "1 of its keys; compile it again";
  refuse([](EncodingKernel &kernel) { kernel.encodings[1].kind = 10; }, unknown);
  refuse([](EncodingKernel &kernel) { kernel.encodings[1].kind = -1; }, unknown);
  refuse([](EncodingKernel &kernel) { kernel.encodings[1].input_count = 1; }, unknown);
  refuse([](EncodingKernel &kernel) { kernel.encodings[1].state_count = 2; }, unknown);
  refuse([](EncodingKernel &kernel) { kernel.encodings[1].query_words = 2; }, unknown);
  refuse([](EncodingKernel &kernel) { kernel.hashParameters[1] = 33; }, unknown);
  refuse([](EncodingKernel &kernel) { kernel.hashInputs[0] = 99; }, unknown);
  const char *foreign =
      "kernel 'mock' is malformed: an attention reads encoding 3, which "
      "is not of its keys; compile it again";
  refuse([](EncodingKernel &kernel) { kernel.scores[1].encoding = 3; }, foreign);
  // Two attentions of different lengths cannot read one encoding.
  EncodingKernel kernel(shape, /*withLengths=*/true);
  Attention &other =
      kernel.kernel.attention(EncodingKernel::D, EncodingKernel::Dv, nullptr, all());
  other.code.scores = &kernel.scores[2];
  other.code.score_count = 1;
  kernel.kernel.merge({kernel.kernel.attentions[0].code.out,
                       kernel.kernel.attentions[0].code.lse, other.code.out,
                       other.code.lse});
  kernel.kernel.output("merged", kernel.kernel.nextValue - 2, {1, 2, 4, 0},
                       EncodingKernel::Dv);
  auto lengths = Tensor::of({1}, std::vector<int32_t>{7});
  const DLTensor *layout[] = {&lengths->dl};
  sparse_attn_plan *plan = nullptr;
  EXPECT_EQ(sparse_attn_plan_create(kernel.get(), &shape, layout, 1, nullptr, &plan),
            SPARSE_ATTN_INVALID_ARGUMENT);
  EXPECT_STREQ(sparse_attn_last_error(),
               "kernel 'mock' is malformed: an attention reads encoding 2, which is not "
               "of its keys; compile it again");
  refuse([](EncodingKernel &kernel) { kernel.encodings[1].k = 2; },
         "kernel 'mock' is malformed: an attention reads encoding 1, which is not of its "
         "keys; compile it again");
}

} // namespace
