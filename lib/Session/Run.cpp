//===- Run.cpp - plan and run through the C interface ---------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Session/Session.h"
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
struct DestroyPlan {
  void operator()(sparse_attn_plan *plan) const { sparse_attn_plan_destroy(plan); }
};
struct DestroyStates {
  void operator()(sparse_attn_states *states) const {
    sparse_attn_states_destroy(states);
  }
};

} // namespace

struct PreparedRun::State {
  GPU *gpu = nullptr;
  std::vector<GPUMemory> memory; // of the GPU, which outlives the plan
  std::vector<TensorView> views; // of inputs and outputs, which point into it
  SmallVector<const DLTensor *> inputs;
  SmallVector<DLTensor *> outputTensors;
  std::vector<Array> outputs;
  sparse_attn_options options{};
  std::unique_ptr<sparse_attn_plan, DestroyPlan> plan;
  std::unique_ptr<sparse_attn_states, DestroyStates> states;
  std::unique_ptr<void, Free> hostWorkspace;
  void *workspace = nullptr;
  size_t workspaceBytes = 0;
  double planSeconds = 0;

  Error moveToGPU(DLTensor &tensor, bool copy);
  Error makeStates(const sparse_attn_kernel &kernel, const sparse_attn_shape &shape,
                   ArrayRef<int64_t> lengths);
  Error poisonOutputs();
  Error takeFromGPU();
};

static size_t getBytes(const DLTensor &tensor) {
  size_t bytes = tensor.dtype.bits / 8;
  for (int axis = 0; axis < tensor.ndim; ++axis)
    bytes *= tensor.shape[axis];
  return bytes;
}

/// Makes the tensor one in the GPU's memory.
Error PreparedRun::State::moveToGPU(DLTensor &tensor, bool copy) {
  size_t bytes = getBytes(tensor);
  Expected<GPUMemory> own = GPUMemory::allocate(*gpu, bytes);
  if (!own)
    return own.takeError();
  if (copy)
    if (Error error = gpu->upload(own->get(), tensor.data, bytes))
      return error;
  tensor.data = own->get();
  tensor.device = gpu->getDevice();
  memory.push_back(std::move(*own));
  return Error::success();
}

Error PreparedRun::State::makeStates(const sparse_attn_kernel &kernel,
                                     const sparse_attn_shape &shape,
                                     ArrayRef<int64_t> lengths) {
  sparse_attn_states *created = nullptr;
  if (sparse_attn_states_create(&kernel, &shape, &created))
    return runtimeError();
  states.reset(created);
  if (sparse_attn_states_extend(created, inputs.data(), inputs.size(), lengths.data(),
                                &options))
    return runtimeError();
  options.states = created;
  return Error::success();
}

/// What a kernel does not write stays NaN.
Error PreparedRun::State::poisonOutputs() {
  for (auto [output, tensor] : zip_equal(outputs, outputTensors)) {
    std::memset(output.data(), 0xff, output.bytes());
    if (gpu)
      if (Error error = gpu->upload(tensor->data, output.data(), output.bytes()))
        return error;
  }
  return Error::success();
}

Error PreparedRun::State::takeFromGPU() {
  for (auto [output, tensor] : zip_equal(outputs, outputTensors))
    if (Error error = gpu->download(output.data(), tensor->data, output.bytes()))
      return error;
  return Error::success();
}

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

/// The keys of each batch entry.
static Expected<SmallVector<int64_t>> getLengths(const sparse_attn_kernel &kernel,
                                                 const sparse_attn_shape &shape,
                                                 const StringMap<Array> &arrays) {
  std::optional<int32_t> operand;
  for (const sa_step &step : ArrayRef(kernel.steps, kernel.step_count)) {
    if (step.kind != SA_STEP_ATTENTION)
      continue;
    if (operand.value_or(step.attention->kv_len) != step.attention->kv_len)
      return createStringError("kernel '" + Twine(kernel.name) +
                               "' has attentions of different kv_len, whose keys have no "
                               "states of one length");
    operand = step.attention->kv_len;
  }
  SmallVector<int64_t> lengths(shape.batch, shape.keys);
  if (operand.value_or(-1) < 0)
    return lengths;
  const Array &given = arrays.find(kernel.inputs[*operand].name)->second;
  for (auto [b, length] : enumerate(lengths))
    length = static_cast<int64_t>(given.get(b));
  return lengths;
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

PreparedRun::PreparedRun(std::unique_ptr<State> state) : state(std::move(state)) {}
PreparedRun::PreparedRun(PreparedRun &&) = default;
PreparedRun &PreparedRun::operator=(PreparedRun &&) = default;
PreparedRun::~PreparedRun() = default;

const sparse_attn_plan *PreparedRun::plan() const { return state->plan.get(); }
const sparse_attn_states *PreparedRun::states() const { return state->states.get(); }
std::vector<Array> PreparedRun::takeOutputs() { return std::move(state->outputs); }
double PreparedRun::planSeconds() const { return state->planSeconds; }
size_t PreparedRun::workspaceBytes() const { return state->workspaceBytes; }

Expected<PreparedRun> PreparedRun::create(const sparse_attn_kernel &kernel,
                                          const sparse_attn_shape &shape,
                                          StringMap<Array> &arrays,
                                          const RunPlace &place) {
  GPU *gpu = place.gpu;
  if (gpu && place.withStates)
    return createStringError("states are read by runs on the processor alone");
  auto state = std::make_unique<State>();
  state->gpu = gpu;
  state->views.reserve(kernel.input_count + kernel.output_count);
  SmallVector<const DLTensor *> layout;
  for (int32_t i = 0; i < kernel.input_count; ++i) {
    const sa_tensor &type = kernel.inputs[i];
    state->views.emplace_back(arrays.find(type.name)->second, type);
    (type.layout ? layout : state->inputs).push_back(&state->views.back().tensor);
    if (gpu && (!type.layout || place.layoutOnGPU))
      if (Error error = state->moveToGPU(state->views.back().tensor, true))
        return error;
  }
  state->outputs.reserve(kernel.output_count);
  for (int32_t i = 0; i < kernel.output_count; ++i) {
    Expected<Array> output = makeOutput(kernel.outputs[i], shape);
    if (!output)
      return output.takeError();
    state->outputs.push_back(std::move(*output));
    state->views.emplace_back(state->outputs.back(), kernel.outputs[i]);
    state->outputTensors.push_back(&state->views.back().tensor);
    if (gpu)
      if (Error error = state->moveToGPU(state->views.back().tensor, false))
        return error;
  }

  state->options.threads = place.threads;
  if (gpu) {
    state->options.device = gpu->getDevice();
    state->options.driver = gpu->getDriver();
  }
  sparse_attn_plan *created = nullptr;
  Stopwatch planning;
  if (sparse_attn_plan_create(&kernel, &shape, layout.data(), layout.size(),
                              &state->options, &created))
    return runtimeError();
  state->planSeconds = planning.seconds();
  state->plan.reset(created);
  if (place.withStates) {
    auto lengths = getLengths(kernel, shape, arrays);
    if (!lengths)
      return lengths.takeError();
    if (Error error = state->makeStates(kernel, shape, *lengths))
      return error;
  }
  if (sparse_attn_workspace_size(created, &state->options, &state->workspaceBytes))
    return runtimeError();
  if (gpu) {
    Expected<GPUMemory> memory = GPUMemory::allocate(*gpu, state->workspaceBytes);
    if (!memory)
      return memory.takeError();
    state->workspace = memory->get();
    state->memory.push_back(std::move(*memory));
    return PreparedRun(std::move(state));
  }
  size_t allocated = alignTo(std::max<size_t>(state->workspaceBytes, 1), 64);
  state->hostWorkspace.reset(std::aligned_alloc(64, allocated));
  state->workspace = state->hostWorkspace.get();
  if (!state->workspace)
    return createStringError("the run needs a workspace of " +
                             Twine(state->workspaceBytes) +
                             " bytes, more than there is memory");
  return PreparedRun(std::move(state));
}

Expected<double> PreparedRun::run() {
  if (Error error = state->poisonOutputs())
    return error;
  Stopwatch running;
  if (sparse_attn_run(state->plan.get(), state->inputs.data(), state->inputs.size(),
                      state->outputTensors.data(), state->outputTensors.size(),
                      state->workspace, state->workspaceBytes, &state->options))
    return runtimeError();
  if (!state->gpu)
    return running.seconds();
  if (Error error = state->gpu->wait())
    return error;
  double seconds = running.seconds();
  if (Error error = state->takeFromGPU())
    return error;
  return seconds;
}

Expected<RunResult> run::runKernel(const sparse_attn_kernel &kernel,
                                   const sparse_attn_shape &shape,
                                   StringMap<Array> &arrays, const RunRequest &request) {
  RunResult result;
  const char *level = sparse_attn_kernel_level(&kernel);
  if (!level)
    return runtimeError();
  result.level = request.place.gpu ? request.place.gpu->getFacts().name : level;
  Expected<PreparedRun> prepared =
      PreparedRun::create(kernel, shape, arrays, request.place);
  if (!prepared)
    return prepared.takeError();
  result.planSeconds = prepared->planSeconds();
  result.planBytes = sparse_attn_plan_bytes(prepared->plan());
  result.workspaceBytes = prepared->workspaceBytes();
  if (const sparse_attn_states *states = prepared->states())
    result.states = {sparse_attn_states_bytes(states),
                     sparse_attn_states_bytes_per_key(states)};

  int warmups = request.repeat > 1 ? 1 : 0;
  for (int run = 0; run < warmups + request.repeat; ++run) {
    if (request.progress)
      request.progress(run, warmups + request.repeat);
    Expected<double> seconds = prepared->run();
    if (!seconds)
      return seconds.takeError();
    if (run >= warmups)
      result.seconds.push_back(*seconds);
  }
  if (request.progress)
    request.progress(warmups + request.repeat, warmups + request.repeat);
  if (request.countTiles) {
    Expected<TileCounts> tiles = countTiles(prepared->plan());
    if (!tiles)
      return tiles.takeError();
    result.tiles = *tiles;
  }
  result.outputs = prepared->takeOutputs();
  return result;
}
