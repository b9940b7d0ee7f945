//===- GPUTest.cpp - plans and runs on a GPU, with a driver that counts ---===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Kernels themselves run on the emulator: test/Integration/Emulated.
//
//===----------------------------------------------------------------------===//

#include "GPUTesting.h"

#include <algorithm>
#include <array>
#include <map>

using namespace mock;

// First, while no driver is loaded.
TEST_F(GPU, ADriverThatIsMissing) {
  GPUKernel kernel;
  setenv("SPARSE_ATTN_CUDA", "/nowhere/libcuda.so", 1);
  EXPECT_EQ(tryPlan(kernel), SPARSE_ATTN_NO_GPU);
  EXPECT_NE(std::string(sparse_attn_last_error())
                .find("kernel 'mock': there is no CUDA driver on this machine (/nowhere"),
            std::string::npos)
      << sparse_attn_last_error();
  setenv("SPARSE_ATTN_CUDA", RUNTIME_TEST_MODULE_GOOD, 1);
  expectFailure(kernel, SPARSE_ATTN_NO_GPU,
                "kernel 'mock': the CUDA driver has no cuInit: it is too old");
}

TEST_F(GPU, DevicesThatDoNotFit) {
  GPUKernel kernel;
  options.device.device_id = 2;
  expectFailure(kernel, SPARSE_ATTN_NO_GPU,
                "kernel 'mock': there is no device 2; this machine has 2");
  options.device = {kDLROCM, 0};
  expectFailure(
      kernel, SPARSE_ATTN_INVALID_ARGUMENT,
      "kernel 'mock': a plan for DLPack device type 10 was asked for; there are "
      "the CPU (1) and CUDA (2)");
  options.device = {kDLCUDA, 1};
  fake().capability = 75;
  expectFailure(kernel, SPARSE_ATTN_NO_GPU,
                "kernel 'mock': the library has kernels for sm_80; none runs on CUDA "
                "device 1, which is of capability 7.5 (Fake 1)");
  fake().capability = 90;
  EXPECT_EQ(tryPlan(kernel), SPARSE_ATTN_OK) << sparse_attn_last_error();
  kernel.module.exact = 1;
  EXPECT_EQ(tryPlan(kernel), SPARSE_ATTN_NO_GPU);
  kernel.module.exact = 0;
  kernel.code.shared_bytes = 100 * 1024;
  EXPECT_EQ(tryPlan(kernel), SPARSE_ATTN_NO_GPU);
}

TEST_F(GPU, ALibraryWithoutKernels) {
  GPUKernel kernel;
  kernel.kernel.setGPUs(0, {});
  sparse_attn_plan *plan = nullptr;
  sparse_attn_shape shape = {1, 2, 1, 32, 32};
  EXPECT_EQ(
      sparse_attn_plan_create(kernel.kernel.get(), &shape, nullptr, 0, &options, &plan),
      SPARSE_ATTN_NO_GPU);
  EXPECT_STREQ(sparse_attn_last_error(),
               "kernel 'mock': the library has no GPU kernels; compile it with "
               "--target=cpu,sm_80");
}

TEST_F(GPU, ModulesAreLoadedOnce) {
  sparse_attn_shape shape = {1, 2, 1, 32, 32};
  int before = fake().loaded, retained = fake().retained;
  {
    GPUKernel kernel;
    int allocations = fake().allocations;
    {
      Plan first = makePlan(kernel.get(), shape, {}, &options);
      Plan second = makePlan(kernel.get(), shape, {}, &options);
      EXPECT_EQ(fake().loaded, before + 1);
      EXPECT_EQ(fake().allocations, allocations + 2);
      EXPECT_EQ(fake().shared_bytes, 40000);
      options.device.device_id = 0;
      Plan other = makePlan(kernel.get(), shape, {}, &options);
      EXPECT_EQ(fake().loaded, before + 2) << "once for each device";
    }
    EXPECT_EQ(fake().allocations, allocations) << "a plan's memory is given back";
    EXPECT_EQ(fake().loaded, before + 2) << "CUDA keeps what it has compiled";
  }
  EXPECT_EQ(fake().loaded, before) << "until its library is closed";
  EXPECT_EQ(fake().retained, retained);
}

TEST_F(GPU, TheCubinOrElseThePTX) {
  auto loadsOn = [&](int capability, const char *cubin) {
    GPUKernel kernel;
    kernel.module.cubin = cubin;
    fake().capability = capability;
    EXPECT_EQ(tryPlan(kernel), SPARSE_ATTN_OK) << sparse_attn_last_error();
    return std::string(fake().image);
  };
  EXPECT_EQ(loadsOn(80, "cubin"), "cubin");
  EXPECT_EQ(loadsOn(86, "cubin"), "cubin");
  EXPECT_EQ(loadsOn(90, "cubin"), "ptx") << "9.0 does not run code of 8.0";
  EXPECT_EQ(loadsOn(80, nullptr), "ptx");
  EXPECT_EQ(loadsOn(80, "refused cubin"), "ptx");
  GPUKernel broken;
  broken.module.ptx = "broken";
  expectFailure(broken, SPARSE_ATTN_GPU_FAILED,
                "kernel 'mock': CUDA device 1: cuModuleLoadDataEx: some error (CUDA "
                "error 200)");
}

TEST_F(GPU, ARunOnlyStartsKernels) {
  GPUKernel kernel;
  sparse_attn_shape shape = {2, 2, 1, 70, 70};
  Plan plan = makePlan(kernel.get(), shape, {}, &options);
  Tensors tensors(shape);
  int stream = 0, waits = fake().waits, allocations = fake().allocations;
  options.stream = &stream;
  ASSERT_EQ(runPlan(plan.get(), tensors, options), SPARSE_ATTN_OK)
      << sparse_attn_last_error();
  EXPECT_EQ(fake().waits, waits);
  EXPECT_EQ(fake().allocations, allocations);
  ASSERT_EQ(fake().launch_count, 1);
  const fake_launch &launch = fake().launches[0];
  EXPECT_EQ(launch.stream, &stream);
  EXPECT_EQ(launch.context, 1) << "device 1";
  EXPECT_EQ(launch.threads, 128u);
  EXPECT_EQ(launch.shared_bytes, 40000u);
  EXPECT_EQ(launch.blocks, 2u * 2 * 5);
  const sa_gpu_args &args = argumentsOf(launch);
  EXPECT_EQ(args.heads, 2);
  EXPECT_EQ(args.group, 2);
  EXPECT_EQ(args.bit_rows, kGPURows);
  EXPECT_EQ(args.values[0].data, tensors.inputs[0]->data);
  EXPECT_EQ(args.values[4].data, tensors.outputs[1]->data);
}

TEST_F(GPU, FailuresOfTheDriver) {
  GPUKernel kernel;
  sparse_attn_shape shape = {1, 2, 1, 32, 32};
  Plan plan = makePlan(kernel.get(), shape, {}, &options);
  Tensors tensors(shape);
  fake().fail_launch = 1;
  EXPECT_EQ(runPlan(plan.get(), tensors, options), SPARSE_ATTN_GPU_FAILED);
  EXPECT_STREQ(sparse_attn_last_error(),
               "kernel 'mock': CUDA device 1: cuLaunchKernel: an illegal memory access "
               "was encountered (CUDA error 700)");
  fake().memory = 0;
  expectFailure(kernel, SPARSE_ATTN_GPU_FAILED,
                "kernel 'mock': CUDA device 1: cuMemAlloc: out of memory (CUDA error 2)");
}

TEST_F(GPU, TensorsElsewhere) {
  GPUKernel kernel;
  sparse_attn_shape shape = {1, 2, 1, 32, 32};
  Plan plan = makePlan(kernel.get(), shape, {}, &options);
  Tensors tensors(shape);
  tensors.all[1]->dl.device = {kDLCPU, 0};
  EXPECT_EQ(runPlan(plan.get(), tensors, options), SPARSE_ATTN_INVALID_ARGUMENT);
  EXPECT_STREQ(sparse_attn_last_error(),
               "kernel 'mock': 'k' is on device 0 of DLPack type 1, but the plan is for "
               "device 1 of type 2; copy it there first");
  tensors.all[1]->dl.device = {kDLCUDA, 0};
  EXPECT_EQ(runPlan(plan.get(), tensors, options), SPARSE_ATTN_INVALID_ARGUMENT);
  tensors.all[1]->dl.device = {kDLCUDAManaged, 0};
  EXPECT_EQ(runPlan(plan.get(), tensors, options), SPARSE_ATTN_OK);
  EXPECT_EQ(fake().launch_count, 1) << "nothing was started by the run that failed";
}

TEST_F(GPU, MapsOfKeysAndValues) {
  GPUKernel kernel;
  kernel.code.has_maps = 1;
  sparse_attn_shape shape = {2, 4, 2, 200, 70};
  Plan plan = makePlan(kernel.get(), shape, {}, &options);
  Tensors tensors(shape);
  // Rows of 8 bytes are not aligned: the kernel gets no maps, but room for them.
  int before = fake().maps;
  ASSERT_EQ(runPlan(plan.get(), tensors, options), SPARSE_ATTN_OK);
  EXPECT_EQ(fake().maps, before);
  EXPECT_EQ(argumentsOf(fake().launches[0]).aligned & SA_GPU_MAPPED, 0);
  // Strides of 16 elements.
  for (int i = 1; i < 3; ++i) {
    Tensor &tensor = *tensors.all[i];
    tensor.floats.assign(2 * 2 * 70 * 16, 1);
    tensor.strides = {2 * 70 * 16, 70 * 16, 16, 1};
    tensor.dl.data = reinterpret_cast<void *>(
        reinterpret_cast<uintptr_t>(tensor.floats.data()) & ~uintptr_t(15));
  }
  ASSERT_EQ(runPlan(plan.get(), tensors, options), SPARSE_ATTN_OK)
      << sparse_attn_last_error();
  EXPECT_EQ(fake().maps, before + 2);
  const fake_launch &launch = fake().launches[1];
  EXPECT_EQ(argumentsOf(launch).aligned & SA_GPU_MAPPED, SA_GPU_MAPPED);
  EXPECT_EQ(argumentsOf(launch).item_count, 2 * 4 * 13);
  EXPECT_EQ(launch.blocks, 8u) << "no more than are resident at once";
  const uint64_t sizes[] = {2, 70, 2, 2}, strides[] = {32, 70 * 32, 2 * 70 * 32};
  EXPECT_TRUE(std::equal(sizes, sizes + 4, fake().map_sizes));
  EXPECT_TRUE(std::equal(strides, strides + 3, fake().map_strides));
  EXPECT_EQ(fake().map_box[0], 64u);
  EXPECT_EQ(fake().map_box[1], uint32_t(kGPUKeys));
}

//===----------------------------------------------------------------------===//
// Items
//===----------------------------------------------------------------------===//

namespace {
/// Every row and key tile that causal attention sees belongs to one item, and shares of a
/// tile to one item of the kernel that combines them.
void checkItems(const sparse_attn_shape &shape, int64_t stack, bool split) {
  const sa_gpu_args &args = argumentsOf(fake().launches[0]);
  ASSERT_EQ(args.stack, stack);
  std::vector<int> visits(shape.batch * shape.heads * shape.queries * shape.keys);
  std::vector<int> slots;
  // Of each tile: how many shares there are, and how many leave their state in a slot.
  std::map<std::array<int, 3>, std::pair<int, int>> shares;
  int64_t last = INT64_MAX;
  for (unsigned i = 0; i < fake().launches[0].blocks; ++i) {
    const sa_gpu_item &item = args.items[i];
    EXPECT_LE(item.end - item.first, last) << "longest first";
    last = item.end - item.first;
    auto &[all, kept] = shares[{item.b, item.h, item.first_row}];
    ++all;
    kept += item.slot >= 0;
    if (item.slot >= 0)
      slots.push_back(item.slot);
    for (int r = 0; r < item.rows; ++r) {
      int64_t row = item.first_row + r / stack, head = item.h + r % stack;
      int64_t first = ((item.b * shape.heads + head) * shape.queries + row) * shape.keys;
      for (int key = item.first * kGPUKeys; key < item.end * kGPUKeys && key < shape.keys;
           ++key)
        ++visits[first + key];
    }
  }
  for (const auto &[tile, counts] : shares)
    EXPECT_EQ(counts.second, counts.first > 1 ? counts.first : 0);
  for (int64_t plane = 0; plane < shape.batch * shape.heads; ++plane)
    for (int64_t row = 0; row < shape.queries; ++row)
      for (int64_t key = 0; key <= row + shape.keys - shape.queries; ++key)
        ASSERT_EQ(visits[(plane * shape.queries + row) * shape.keys + key], 1)
            << plane << ", " << row << ", " << key;
  ASSERT_EQ(fake().launch_count, split ? 2 : 1);
  if (!split)
    return;
  std::sort(slots.begin(), slots.end());
  std::vector<int> combined;
  ASSERT_STREQ(fake().launches[1].name, "combine");
  const sa_gpu_args &second = argumentsOf(fake().launches[1]);
  for (unsigned i = 0; i < fake().launches[1].blocks; ++i)
    for (int slot = second.items[i].first; slot < second.items[i].end; ++slot)
      combined.push_back(slot);
  std::sort(combined.begin(), combined.end());
  EXPECT_EQ(slots, combined);
}
} // namespace

TEST_F(GPU, ItemsCoverWhatIsVisited) {
  struct Case {
    sparse_attn_shape shape;
    int64_t stack;
    bool split;
  };
  for (const Case &each :
       {Case{{1, 2, 1, 64, 64}, 1, false}, // 8 tiles for 8 blocks
        Case{{1, 1, 1, 48, 200}, 1, true}, Case{{1, 6, 1, 1, 999}, 6, true},
        Case{{2, 6, 2, 5, 300}, 3, true},
        Case{{1, 6, 1, 3, 20}, 3, false},    // too few tiles to split
        Case{{1, 5, 1, 8, 100}, 1, true}}) { // 5 is prime
    SCOPED_TRACE(each.shape.queries);
    GPUKernel kernel;
    fake().launch_count = 0;
    Plan plan = makePlan(kernel.get(), each.shape, {}, &options);
    Tensors tensors(each.shape);
    ASSERT_EQ(runPlan(plan.get(), tensors, options), SPARSE_ATTN_OK)
        << sparse_attn_last_error();
    checkItems(each.shape, each.stack, each.split);
  }
}

namespace {
/// An attention over lists of `block` rows each, of a head or of a group.
struct ListKernel {
  GPUKernel gpu;
  int32_t inputs[2] = {3, -1};
  int64_t share;
  sa_set set{};

  ListKernel(int block, bool share) : gpu({}, /*list=*/true), share(share) {
    set.kind = SA_SET_LIST;
    set.input_count = 2;
    set.inputs = inputs;
    set.parameter_count = 1;
    set.parameters = &this->share;
    set.score = set.encoding = -1;
    set.block_q = block, set.block_k = 1;
    sa_attention &code = gpu.kernel.attentions[0].code;
    code.sets = &set;
    code.set_count = code.gathered = 1;
    code.binding = SA_BINDING_PLAN;
    code.per_head = !share;
    gpu.code.finds_tiles = 0;
  }
};
} // namespace

TEST_F(GPU, ListsStayOnTheDevice) {
  struct Case {
    int block;
    bool share;
    sparse_attn_shape shape;
    int stack, rows, parts; ///< rows of a tile
  };
  for (const Case &each :
       {Case{1, false, {1, 4, 2, 3, 64}, 1, 1, 1}, // 12 tiles for 8 blocks
        Case{1, true, {1, 4, 2, 1, 999}, 2, 2, 4},
        Case{1, true, {1, 4, 2, 40, 64}, 2, 2, 1},
        Case{12, true, {2, 4, 2, 24, 64}, 1, 12, 1},
        Case{24, true, {2, 4, 2, 48, 64}, 1, 12, 1}}) { // half of a block
    SCOPED_TRACE(each.block);
    ListKernel kernel(each.block, each.share);
    const sparse_attn_shape &shape = each.shape;
    Plan plan = makePlan(kernel.gpu.get(), shape, {}, &options);
    Tensors tensors(shape);
    int64_t units = (shape.queries + each.block - 1) / each.block;
    int64_t heads = each.share ? shape.kv_heads : shape.heads;
    auto list = Tensor::of({1, heads, units, 5},
                           std::vector<int32_t>(heads * units * 5, INT32_MAX));
    list->dl.device = {kDLCUDA, 1};
    tensors.inputs.push_back(&list->dl);
    size_t bytes = 0;
    ASSERT_EQ(sparse_attn_workspace_size(plan.get(), &options, &bytes), SPARSE_ATTN_OK);
    std::vector<char> workspace(bytes);
    auto run = [&] {
      return sparse_attn_run(plan.get(), tensors.inputs.data(), 4, tensors.outputs.data(),
                             2, bytes ? workspace.data() : nullptr, bytes, &options);
    };
    int waits = fake().waits, allocations = fake().allocations;
    fake().launch_count = 0;
    ASSERT_EQ(run(), SPARSE_ATTN_OK) << sparse_attn_last_error();
    EXPECT_EQ(fake().waits, waits);
    EXPECT_EQ(fake().allocations, allocations);
    ASSERT_EQ(fake().launch_count, each.parts > 1 ? 2 : 1);
    const sa_gpu_args &args = argumentsOf(fake().launches[0]);
    EXPECT_EQ(args.values[3].data, list->dl.data);
    EXPECT_EQ(args.stack, each.stack);
    std::map<std::array<int, 3>, int> parts;
    for (unsigned i = 0; i < fake().launches[0].blocks; ++i) {
      const sa_gpu_item &item = args.items[i];
      EXPECT_EQ(item.rows, each.rows);
      EXPECT_EQ(item.end, each.parts);
      EXPECT_EQ(item.first_row / each.block,
                (item.first_row + item.rows / each.stack - 1) / each.block)
          << "rows of two lists";
      parts[{item.b, item.h, item.first_row}] |= 1 << item.first;
    }
    EXPECT_EQ(int64_t(parts.size()),
              shape.batch * shape.heads * shape.queries / each.rows);
    for (const auto &[tile, seen] : parts)
      EXPECT_EQ(seen, (1 << each.parts) - 1);
    // Only the device knows what lists hold; their shape is checked here.
    list->shape[2] += 1;
    EXPECT_EQ(run(), SPARSE_ATTN_INVALID_ARGUMENT);
  }
}

TEST_F(GPU, NothingToDo) {
  GPUKernel kernel;
  sparse_attn_shape empty = {1, 2, 1, 0, 32}, noKeys = {1, 2, 1, 32, 0};
  Plan plan = makePlan(kernel.get(), empty, {}, &options);
  Tensors tensors(empty);
  EXPECT_EQ(runPlan(plan.get(), tensors, options), SPARSE_ATTN_OK);
  EXPECT_EQ(fake().launch_count, 0);
  // Rows without keys are written all the same.
  Plan rows = makePlan(kernel.get(), noKeys, {}, &options);
  Tensors others(noKeys);
  EXPECT_EQ(runPlan(rows.get(), others, options), SPARSE_ATTN_OK)
      << sparse_attn_last_error();
  ASSERT_EQ(fake().launch_count, 1);
  EXPECT_EQ(fake().launches[0].blocks, 4u);
}
