//===- ChooseTest.cpp - several ways to a state -----------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MockKernel.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace mock;

namespace {

constexpr int kD = 4, kDv = 3;

Predicate near() {
  return [](int, int, int p, int j, int) { return j <= p && j > p - 8; };
}
Predicate far() {
  return [](int, int, int p, int j, int) { return j <= p - 8 && j > p - 16; };
}
Predicate both() {
  return [](int, int, int p, int j, int) { return j <= p && j > p - 16; };
}

/// A window as one attention that visits every tile, or as two halves that visit what
/// they keep, and a merge.
struct Choice {
  Kernel kernel;
  Attention *whole, *nearHalf, *farHalf;

  explicit Choice(int binding = SA_BINDING_COMPILE) {
    kernel.addQKV(kD, kDv);
    Classifier exact = exhaustive(both());
    whole = &kernel.attention(
        kD, kDv,
        [exact](const sa_mask_context *context, int b, int h, int p0, int p1, int j0,
                int j1, int step) {
          bool pair = p0 == p1 && j0 == j1;
          return pair ? exact(context, b, h, p0, p1, j0, j1, step) : 2;
        },
        both());
    nearHalf = &kernel.attention(kD, kDv, exhaustive(near()), near());
    farHalf = &kernel.attention(kD, kDv, exhaustive(far()), far());
    for (Attention *attention : {whole, nearHalf, farHalf})
      attention->code.binding = binding;
    kernel.merge(
        {nearHalf->code.out, nearHalf->code.lse, farHalf->code.out, farHalf->code.lse});
    int merged = kernel.nextValue - 2;
    kernel.choose({whole->code.out, whole->code.lse, merged, merged + 1});
    kernel.outputState(kDv);
  }
};

std::vector<int> numbers(const sparse_attn_plan *plan) {
  std::vector<int> result;
  for (size_t i = 0; i < sparse_attn_plan_attention_count(plan); ++i) {
    sparse_attn_grid grid;
    EXPECT_EQ(sparse_attn_plan_grid(plan, i, &grid), SPARSE_ATTN_OK);
    result.push_back(grid.number);
  }
  return result;
}

TEST(Choose, takesTheCheaperWay) {
  for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN}) {
    Choice choice(binding);
    const sparse_attn_kernel *kernel = choice.kernel.get();
    EXPECT_EQ(numbers(makePlan(kernel, {1, 2, 1, 8, 8}).get()), std::vector<int>{0});
    Plan plan = makePlan(kernel, {1, 2, 1, 600, 600});
    EXPECT_EQ(numbers(plan.get()), (std::vector<int>{1, 2}));
    // What does not run has no tiles to look at.
    sparse_attn_grid grid;
    EXPECT_EQ(sparse_attn_plan_grid(plan.get(), 2, &grid), SPARSE_ATTN_INVALID_ARGUMENT);
    EXPECT_STREQ(sparse_attn_last_error(), "kernel 'mock' has no attention 2, only 2");
  }
}

TEST(Choose, everyWayWritesTheResult) {
  for (int binding : {SA_BINDING_COMPILE, SA_BINDING_PLAN})
    for (int64_t n : {8, 600}) {
      const sparse_attn_shape shape = {2, 2, 1, n, n};
      Kernel one;
      one.addQKV(kD, kDv);
      one.attention(kD, kDv, exhaustive(both()), both());
      one.outputState(kDv);
      Choice choice(binding);
      auto q = Tensor::random({2, 2, n, kD}, 1), k = Tensor::random({2, 1, n, kD}, 2),
           v = Tensor::random({2, 1, n, kDv}, 3);
      std::vector<std::unique_ptr<Tensor>> results;
      for (const sparse_attn_kernel *kernel : {one.get(), choice.kernel.get()}) {
        results.push_back(Tensor::filled({2, 2, n, kDv}, NAN));
        results.push_back(Tensor::filled({2, 2, n}, NAN));
        Plan plan = makePlan(kernel, shape);
        ASSERT_EQ(mock::run(plan.get(), {q.get(), k.get(), v.get()},
                            {results[results.size() - 2].get(), results.back().get()}),
                  SPARSE_ATTN_OK)
            << sparse_attn_last_error();
      }
      for (int result : {0, 1})
        for (size_t i = 0; i < results[result]->floats.size(); ++i)
          ASSERT_NEAR(results[2 + result]->floats[i], results[result]->floats[i], 2e-6);
    }
}

// The plan and the workspace hold what runs.
TEST(Choose, theOtherWayTakesNoRoom) {
  const sparse_attn_shape small = {1, 1, 1, 8, 8}, large = {1, 1, 1, 600, 600};
  auto workspace = [](const sparse_attn_plan *plan) {
    size_t bytes;
    EXPECT_EQ(sparse_attn_workspace_size(plan, nullptr, &bytes), SPARSE_ATTN_OK);
    return bytes;
  };
  size_t chosenPlan, chosenWorkspace;
  {
    Choice choice(SA_BINDING_PLAN);
    chosenPlan = sparse_attn_plan_bytes(makePlan(choice.kernel.get(), large).get());
    chosenWorkspace = workspace(makePlan(choice.kernel.get(), small).get());
  }
  size_t wholePlan, wholeWorkspace;
  {
    Kernel whole;
    whole.addQKV(kD, kDv);
    whole.attention(kD, kDv, exhaustive(both()), both()).code.binding = SA_BINDING_PLAN;
    whole.outputState(kDv);
    wholePlan = sparse_attn_plan_bytes(makePlan(whole.get(), large).get());
    wholeWorkspace = workspace(makePlan(whole.get(), small).get());
  }
  Kernel halves;
  halves.addQKV(kD, kDv);
  std::vector<int32_t> states;
  for (const Predicate &predicate : {near(), far()}) {
    Attention &half = halves.attention(kD, kDv, exhaustive(predicate), predicate);
    half.code.binding = SA_BINDING_PLAN;
    states.insert(states.end(), {half.code.out, half.code.lse});
  }
  halves.merge(states);
  halves.outputState(kDv);
  size_t halvesPlan = sparse_attn_plan_bytes(makePlan(halves.get(), large).get());
  EXPECT_LT(chosenPlan, halvesPlan + wholePlan / 4);
  size_t views = 8 * sizeof(sa_view); // of values that are not made
  EXPECT_LE(chosenWorkspace, wholeWorkspace + views + 64);
}

TEST(Choose, refusesWhatIsNoChoice) {
  auto expect = [](const sparse_attn_kernel *kernel, const char *what) {
    const sparse_attn_shape shape = {1, 1, 1, 8, 8};
    sparse_attn_plan *plan = nullptr;
    EXPECT_EQ(sparse_attn_plan_create(kernel, &shape, nullptr, 0, nullptr, &plan),
              SPARSE_ATTN_INVALID_ARGUMENT);
    EXPECT_EQ(sparse_attn_last_error(),
              "kernel 'mock' is malformed: " + std::string(what) + "; compile it again");
  };
  Choice output;
  output.kernel.output("way", output.whole->code.lse, {1, 2, 4});
  expect(output.kernel.get(), "what a choice takes is an output too");

  Kernel types;
  types.addQKV(kD, kDv);
  Attention &attention = types.attention(kD, kDv, nullptr, all());
  types.merge({attention.code.out, attention.code.lse}, kDLBfloat, 16, SA_STEP_CHOOSE);
  types.outputState(kDv, kDLBfloat, 16);
  expect(types.get(), "what a choice takes has another type than it");
}

} // namespace
