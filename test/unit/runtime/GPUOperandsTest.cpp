//===- GPUOperandsTest.cpp - layout operands in a GPU's memory ------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUTesting.h"

using namespace mock;

TEST_F(GPU, LayoutOperandsHereOrThere) {
  GPUKernel kernel(GPUKernel::Operands{{"offsets", {0}}});
  sparse_attn_shape shape = {1, 2, 1, 32, 32};
  for (DLDevice device : {DLDevice{kDLCPU, 0}, DLDevice{kDLCUDA, 1}}) {
    auto offsets = Tensor::of({4}, std::vector<int32_t>{3, 5, 7, 11});
    offsets->dl.device = device;
    Plan plan = makePlan(kernel.get(), shape, {offsets.get()}, &options);
    Tensors tensors(shape);
    fake().launch_count = 0;
    ASSERT_EQ(runPlan(plan.get(), tensors, options), SPARSE_ATTN_OK);
    const sa_view &view = argumentsOf(fake().launches[0]).values[3];
    EXPECT_NE(view.data, offsets->dl.data);
    EXPECT_EQ(static_cast<const int32_t *>(view.data)[3], 11);
    EXPECT_EQ(view.size[3], 4);
  }
}

// Kernels do nothing here, so that all lists are empty.
TEST_F(GPU, ListsOfOperandsThatAreThere) {
  GPUKernel kernel(GPUKernel::Operands{{"offsets", {0}}});
  kernel.planThere({kernel.kernel.makeCheck(SA_CHECK_OFFSETS, {3}, {}, "segments")});
  sparse_attn_shape shape = {2, 2, 1, 70, 4096};
  constexpr int kOffsets = 2000;
  std::vector<int32_t> starts(kOffsets);
  for (int i = 0; i < kOffsets; ++i)
    starts[i] = 2 * i;
  auto offsets = Tensor::of({kOffsets}, starts);
  auto plan = [&](DLDevice device) {
    offsets->dl.device = device;
    fake().launch_count = 0;
    fake().downloaded = fake().copied = 0;
    return makePlan(kernel.get(), shape, {offsets.get()}, &options);
  };
  // Without kernels for it, and of operands that are here, the host lists tiles.
  kernel.code.list = nullptr;
  plan({kDLCUDA, 1});
  EXPECT_EQ(fake().launch_count, 0);
  EXPECT_EQ(fake().downloaded, kOffsets * sizeof(int32_t));
  kernel.code.list = "list";
  plan({kDLCPU, 0});
  EXPECT_EQ(fake().launch_count, 0);

  int allocations = fake().allocations;
  Plan made = plan({kDLCUDA, 1});
  ASSERT_EQ(fake().launch_count, 3);
  const char *names[] = {"check", "count", "list"};
  for (int i = 0; i < 3; ++i) {
    EXPECT_STREQ(fake().launches[i].name, names[i]);
    EXPECT_EQ(fake().launches[i].threads, 64u);
  }
  constexpr unsigned kTiles = 5; // of 70 rows; all planes are alike
  EXPECT_EQ(fake().launches[1].blocks, kTiles);
  EXPECT_EQ(fake().launches[2].blocks, kTiles);
  EXPECT_EQ(fake().copied, kOffsets * sizeof(int32_t));
  EXPECT_EQ(fake().downloaded,
            fake().launches[0].blocks * sizeof(int32_t) +
                kTiles * (2 * sizeof(sa_gpu_list) + sizeof(sa_gpu_share)));
  const sa_gpu_args &args = argumentsOf(fake().launches[2]);
  EXPECT_NE(args.values[3].data, offsets->dl.data) << "a copy, which stays";
  EXPECT_EQ(static_cast<const int32_t *>(args.values[3].data)[7], 14);
  EXPECT_EQ(fake().allocations, allocations + 3) << "operand, lists, items";
  Tensors tensors(shape);
  ASSERT_EQ(runPlan(made.get(), tensors, options), SPARSE_ATTN_OK);
  EXPECT_EQ(argumentsOf(fake().launches[3]).runs, args.runs);
  EXPECT_EQ(argumentsOf(fake().launches[3]).bits, args.bits);
  made.reset();
  EXPECT_EQ(fake().allocations, allocations);

  // A size is checked before anything is started.
  offsets = Tensor::of({0}, std::vector<int32_t>{});
  offsets->dl.device = {kDLCUDA, 1};
  fake().launch_count = 0;
  const DLTensor *layout[] = {&offsets->dl};
  sparse_attn_plan *none = nullptr;
  EXPECT_EQ(sparse_attn_plan_create(kernel.get(), &shape, layout, 1, &options, &none),
            SPARSE_ATTN_INVALID_ARGUMENT);
  EXPECT_EQ(fake().launch_count, 0);
  // Other plans need their room: a failure gives all back.
  offsets = Tensor::of({kOffsets}, starts);
  offsets->dl.device = {kDLCUDA, 1};
  layout[0] = &offsets->dl;
  fake().fail_launch = 1;
  EXPECT_EQ(sparse_attn_plan_create(kernel.get(), &shape, layout, 1, &options, &none),
            SPARSE_ATTN_GPU_FAILED);
  EXPECT_EQ(fake().allocations, allocations);
}

// Copies of operands have no gaps: rows are copied at once where none reaches into the
// next.
TEST_F(GPU, OperandsWithGaps) {
  GPUKernel kernel(GPUKernel::Operands{{"offsets", {0, 0, 0}}});
  kernel.planThere({kernel.kernel.makeCheck(SA_CHECK_OFFSETS, {3}, {}, "segments")});
  sparse_attn_shape shape = {1, 2, 1, 32, 32};
  std::vector<int32_t> values(100);
  for (int i = 0; i < 100; ++i)
    values[i] = i;
  struct Case {
    std::vector<int64_t> shape, strides;
    int first, copies;
  };
  for (const Case &each :
       {Case{{2, 3, 4}, {12, 4, 1}, 0, 1}, // no gaps
        Case{{2, 3, 4}, {15, 5, 1}, 0, 1}, // six rows
        Case{{1, 3, 4}, {0, 7, 1}, 2, 1},
        Case{{2, 3, 4}, {40, 4, 1}, 0, 1}, // two rows of twelve
        Case{{2, 3, 4}, {40, 9, 1}, 1, 2}, // twice three rows
        Case{{2, 3, 4}, {0, 4, 1}, 3, 2},  // the same ones again
        Case{{2, 3, 4}, {50, 3, 1}, 0, 6}, // they overlap
        Case{{2, 3, 4}, {-12, 4, 1}, 12, 2}, Case{{2, 0, 4}, {0, 4, 1}, 0, 0}}) {
    auto offsets = Tensor::of({100}, values);
    offsets->shape = each.shape;
    offsets->strides = each.strides;
    offsets->dl.ndim = 3;
    offsets->dl.shape = offsets->shape.data();
    offsets->dl.strides = offsets->strides.data();
    offsets->dl.data = static_cast<int32_t *>(offsets->dl.data) + each.first;
    offsets->dl.device = {kDLCUDA, 1};
    fake().launch_count = fake().copies = 0;
    fake().downloaded = fake().copied = 0;
    Plan plan = makePlan(kernel.get(), shape, {offsets.get()}, &options);
    ASSERT_EQ(fake().launch_count, 3) << "listed there";
    EXPECT_EQ(fake().copies, each.copies);
    const sa_view &copy = argumentsOf(fake().launches[0]).values[3];
    auto *at = static_cast<const int32_t *>(copy.data);
    for (int i = 0; i < each.shape[0]; ++i)
      for (int j = 0; j < each.shape[1]; ++j)
        for (int k = 0; k < each.shape[2]; ++k)
          EXPECT_EQ(*at++, each.first + i * each.strides[0] + j * each.strides[1] + k);
    EXPECT_EQ(fake().copied, size_t(at - static_cast<const int32_t *>(copy.data)) * 4);
  }
}

// A graph is searched here, and what was found is there while tiles are listed.
TEST_F(GPU, TablesOfGraphs) {
  GPUKernel kernel(
      {{"offsets", {0, 0}}, {"nodes", {0, 0}}, {"indptr", {0}}, {"indices", {0}}});
  const std::vector<int32_t> ids = {3, 4, 5, 6};
  kernel.planThere({kernel.kernel.makeCheck(SA_CHECK_GRAPH, ids, {}, "graph_hop")});
  kernel.kernel.attentions.front().tables = {
      kernel.kernel.makeReach(ids, 1, false, false)};
  std::vector<std::unique_ptr<Tensor>> operands;
  auto add = [&](std::vector<int64_t> shape, std::vector<int32_t> values) {
    operands.push_back(Tensor::of(std::move(shape), std::move(values)));
  };
  add({2, 3}, {0, 10, 20, 5, 5, 32});
  add({1, 2}, {0, 1});
  add({3}, {0, 1, 1});
  add({1}, {1});
  sparse_attn_shape shape = {2, 2, 1, 32, 32};
  sparse_attn_plan *plan = nullptr;
  std::vector<const DLTensor *> layout;
  for (auto &operand : operands)
    layout.push_back(&operand->dl);
  auto make = [&](size_t there) {
    for (size_t i = 0; i < operands.size(); ++i)
      operands[i]->dl.device = i < there ? DLDevice{kDLCUDA, 1} : DLDevice{kDLCPU, 0};
    fake().launch_count = 0;
    return sparse_attn_plan_create(kernel.get(), &shape, layout.data(), layout.size(),
                                   &options, &plan);
  };
  int allocations = fake().allocations;
  for (size_t there : {4, 1, 0}) {
    ASSERT_EQ(make(there), SPARSE_ATTN_OK) << sparse_attn_last_error();
    // Values that come here are checked here.
    ASSERT_EQ(fake().launch_count, there ? 2 : 0);
    EXPECT_EQ(fake().allocations, allocations + (there ? 2 : 1)) << "lists and items";
    if (there) {
      EXPECT_STREQ(fake().launches[0].name, "count");
      EXPECT_NE(argumentsOf(fake().launches[0]).tables, nullptr);
      EXPECT_EQ(argumentsOf(fake().launches[0]).tables,
                argumentsOf(fake().launches[1]).tables);
    }
    sparse_attn_plan_destroy(plan);
    EXPECT_EQ(fake().allocations, allocations);
  }
  // Wherever the memory ends, all is given back.
  for (size_t memory : {0, 600, 1500, 2000}) {
    fake().memory = memory;
    if (!make(4))
      sparse_attn_plan_destroy(plan);
    EXPECT_EQ(fake().allocations, allocations) << memory;
  }
}

// Where a step is to be chosen, tiles are counted with both, and brought at once.
TEST_F(GPU, StepsOfMasksThatAreThere) {
  GPUKernel kernel(GPUKernel::Operands{{"offsets", {0}}});
  kernel.kernel.attentions.front().code.period = 4;
  kernel.planThere({kernel.kernel.makeCheck(SA_CHECK_OFFSETS, {3}, {}, "segments")});
  sparse_attn_shape shape = {2, 2, 1, 70, 4096};
  auto offsets = Tensor::of({3}, std::vector<int32_t>{0, 9, 4096});
  offsets->dl.device = {kDLCUDA, 1};
  fake().downloaded = 0;
  Plan made = makePlan(kernel.get(), shape, {offsets.get()}, &options);
  ASSERT_EQ(fake().launch_count, 5);
  const struct {
    const char *name;
    unsigned blocks;
    int step, byClass;
  } wanted[] = {{"check", 64, 0, 0},
                {"count", 5, 1, 1},
                {"count", 8, 4, 1}, // four residue classes of two query tiles
                {"count", 5, 1, 0},
                {"list", 5, 1, 0}};
  const fake_launch *launched = fake().launches;
  for (const auto &launch : wanted) {
    const sa_gpu_args &args = argumentsOf(*launched);
    EXPECT_STREQ(launched->name, launch.name);
    EXPECT_EQ(launched++->blocks, launch.blocks);
    EXPECT_EQ(args.step, launch.step);
    EXPECT_EQ(args.by_class, launch.byClass);
  }
  constexpr unsigned kTiles = 5, kSampled = 2 * SA_SAMPLES;
  EXPECT_EQ(fake().downloaded, 64 * sizeof(int32_t) +
                                   (kSampled + 2 * kTiles) * sizeof(sa_gpu_list) +
                                   kTiles * sizeof(sa_gpu_share));
}
