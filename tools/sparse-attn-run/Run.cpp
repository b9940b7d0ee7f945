//===- Run.cpp - plan and run through the C interface ---------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Session.h"
#include <chrono>
#include <cstdlib>
#include <cstring>

using namespace llvm;
using namespace sparse_attn;
using namespace sparse_attn::run;

namespace {

/// A DLTensor over an array, with the memory that it points at.
struct TensorView {
  SmallVector<int64_t, 4> shape, strides;
  DLTensor tensor{};

  TensorView(Array &array, const sa_tensor &type)
      : shape(array.shape()), strides(array.rank(), 1) {
    for (int64_t axis = array.rank() - 1; axis > 0; --axis)
      strides[axis - 1] = strides[axis] * std::max<int64_t>(shape[axis], 1);
    tensor.data = array.data();
    tensor.device = {kDLCPU, 0};
    tensor.ndim = static_cast<int>(array.rank());
    tensor.dtype = {static_cast<uint8_t>(type.type_code),
                    static_cast<uint8_t>(type.type_bits), 1};
    tensor.shape = shape.data();
    tensor.strides = strides.data();
  }
};

class Stopwatch {
public:
  double seconds() const {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start = Clock::now();
};

struct Free {
  void operator()(void *pointer) const { std::free(pointer); }
};
using Plan = std::unique_ptr<sparse_attn_plan, decltype(&sparse_attn_plan_destroy)>;

} // namespace

/// O is [B, H, M, Dv] and LSE [B, H, M].
static Expected<Array> makeOutput(const sa_tensor &tensor,
                                  const sparse_attn_shape &shape) {
  SmallVector<int64_t, 4> sizes = {shape.batch, shape.heads, shape.queries};
  if (tensor.rank == 4)
    sizes.push_back(tensor.dims[3]);
  std::optional<ElementKind> kind = getElementKind(tensor);
  if (!kind)
    return createStringError("output '" + Twine(tensor.name) + "' is " +
                             describeTensor(tensor) + ", a type that no file holds");
  return Array::create(*kind, sizes);
}

static Expected<TileCounts> countTiles(const sparse_attn_plan *plan) {
  TileCounts counts;
  for (size_t a = 0; a < sparse_attn_plan_attention_count(plan); ++a) {
    sparse_attn_grid grid;
    if (sparse_attn_plan_grid(plan, a, &grid))
      return runtimeError();
    counts.all += grid.batch * grid.heads * grid.row_tiles * grid.key_tiles;
    auto visit = [](void *context, int64_t, int64_t tiles, sparse_attn_tile_class kind) {
      auto *counts = static_cast<TileCounts *>(context);
      (kind == SPARSE_ATTN_TILE_FULL ? counts->full : counts->partial) += tiles;
    };
    for (int64_t b = 0; b < grid.batch; ++b)
      for (int64_t h = 0; h < grid.heads; ++h)
        for (int64_t row = 0; row < grid.row_tiles; ++row)
          if (sparse_attn_plan_visit(plan, a, b, h, row, visit, &counts))
            return runtimeError();
  }
  return counts;
}

Expected<RunResult> run::runKernel(const sparse_attn_kernel &kernel,
                                   const sparse_attn_shape &shape,
                                   StringMap<Array> &arrays, const RunRequest &request) {
  RunResult result;
  const char *level = sparse_attn_kernel_level(&kernel);
  if (!level)
    return runtimeError();
  result.level = level;

  std::vector<TensorView> views;
  views.reserve(kernel.input_count + kernel.output_count);
  SmallVector<const DLTensor *> layout, inputs;
  SmallVector<DLTensor *> outputs;
  for (int32_t i = 0; i < kernel.input_count; ++i) {
    const sa_tensor &type = kernel.inputs[i];
    views.emplace_back(arrays.find(type.name)->second, type);
    (type.layout ? layout : inputs).push_back(&views.back().tensor);
  }
  result.outputs.reserve(kernel.output_count);
  for (int32_t i = 0; i < kernel.output_count; ++i) {
    Expected<Array> output = makeOutput(kernel.outputs[i], shape);
    if (!output)
      return output.takeError();
    result.outputs.push_back(std::move(*output));
    views.emplace_back(result.outputs.back(), kernel.outputs[i]);
    outputs.push_back(&views.back().tensor);
  }

  sparse_attn_options options{};
  options.threads = request.threads;
  sparse_attn_plan *created = nullptr;
  Stopwatch planning;
  if (sparse_attn_plan_create(&kernel, &shape, layout.data(), layout.size(), &options,
                              &created))
    return runtimeError();
  result.planSeconds = planning.seconds();
  Plan plan(created, sparse_attn_plan_destroy);
  result.planBytes = sparse_attn_plan_bytes(created);
  if (sparse_attn_workspace_size(created, &options, &result.workspaceBytes))
    return runtimeError();
  size_t allocated = alignTo(std::max<size_t>(result.workspaceBytes, 1), 64);
  std::unique_ptr<void, Free> workspace(std::aligned_alloc(64, allocated));
  if (!workspace)
    return createStringError("the run needs a workspace of " +
                             Twine(result.workspaceBytes) +
                             " bytes, more than there is memory");

  int warmups = request.repeat > 1 ? 1 : 0;
  for (int run = 0; run < warmups + request.repeat; ++run) {
    if (request.progress)
      request.progress(run, warmups + request.repeat);
    for (Array &output : result.outputs)
      std::memset(output.data(), 0xff, output.bytes()); // NaN
    Stopwatch running;
    if (sparse_attn_run(created, inputs.data(), inputs.size(), outputs.data(),
                        outputs.size(), workspace.get(), result.workspaceBytes, &options))
      return runtimeError();
    if (run >= warmups)
      result.seconds.push_back(running.seconds());
  }
  if (request.progress)
    request.progress(warmups + request.repeat, warmups + request.repeat);
  if (request.countTiles) {
    Expected<TileCounts> tiles = countTiles(created);
    if (!tiles)
      return tiles.takeError();
    result.tiles = *tiles;
  }
  return result;
}
