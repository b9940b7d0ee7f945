//===- MockKernel.cpp - kernels written by hand to the ABI ----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MockKernel.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

using namespace mock;

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

static int64_t product(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

void Tensor::finish(uint8_t code, uint8_t bits, void *data) {
  strides.assign(shape.size(), 1);
  for (int axis = static_cast<int>(shape.size()) - 2; axis >= 0; --axis)
    strides[axis] = strides[axis + 1] * shape[axis + 1];
  dl.data = data;
  dl.device = {kDLCPU, 0};
  dl.ndim = static_cast<int>(shape.size());
  dl.dtype = {code, bits, 1};
  dl.shape = shape.data();
  dl.strides = strides.data();
}

std::unique_ptr<Tensor> Tensor::random(std::vector<int64_t> shape, unsigned seed) {
  auto tensor = filled(std::move(shape), 0);
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> value(-1, 1);
  for (float &x : tensor->floats)
    x = value(engine);
  return tensor;
}

std::unique_ptr<Tensor> Tensor::filled(std::vector<int64_t> shape, float value) {
  auto tensor = std::make_unique<Tensor>();
  tensor->shape = std::move(shape);
  tensor->floats.assign(product(tensor->shape), value);
  tensor->finish(kDLFloat, 32, tensor->floats.data());
  return tensor;
}

std::unique_ptr<Tensor> Tensor::of(std::vector<int64_t> shape,
                                   std::vector<int32_t> values) {
  auto tensor = std::make_unique<Tensor>();
  tensor->shape = std::move(shape);
  tensor->ints = std::move(values);
  EXPECT_EQ(product(tensor->shape), static_cast<int64_t>(tensor->ints.size()));
  tensor->finish(kDLInt, 32, tensor->ints.data());
  return tensor;
}

std::unique_ptr<Tensor> Tensor::of(std::vector<int64_t> shape,
                                   std::vector<uint8_t> values) {
  auto tensor = std::make_unique<Tensor>();
  tensor->shape = std::move(shape);
  tensor->bytes = std::move(values);
  EXPECT_EQ(product(tensor->shape), static_cast<int64_t>(tensor->bytes.size()));
  tensor->finish(kDLUInt, 8, tensor->bytes.data());
  return tensor;
}

//===----------------------------------------------------------------------===//
// Generated code, as loops
//===----------------------------------------------------------------------===//

static float *at(const sa_view &view, int64_t i0, int64_t i1, int64_t i2, int64_t i3) {
  return static_cast<float *>(view.data) + i0 * view.stride[0] + i1 * view.stride[1] +
         i2 * view.stride[2] + i3 * view.stride[3];
}

static int64_t packedFloats(const sa_attention &code) {
  return static_cast<int64_t>(code.tile_keys) * (code.head_dim + code.value_dim);
}

static int64_t packedBytes(const sa_attention &code) {
  return (packedFloats(code) * 4 + 63) / 64 * 64;
}

static void pack(const Attention &attention, const sa_pack_args *args) {
  const sa_attention &code = attention.code;
  EXPECT_EQ(reinterpret_cast<uintptr_t>(args->packed) % 64, 0u);
  auto *to = static_cast<float *>(args->packed);
  int width = code.head_dim + code.value_dim;
  std::fill_n(to, packedFloats(code), 0.f);
  for (int64_t j = 0; j < args->keys; ++j)
    for (int d = 0; d < width; ++d) {
      bool isKey = d < code.head_dim;
      const sa_view &from = args->values[isKey ? code.k : code.v];
      to[j * width + d] =
          *at(from, args->b, args->kv_head, args->first_key + args->step * j,
              isKey ? d : d - code.head_dim);
    }
}

/// Key `c` of tile `tile`: tiles are numbered residue class by residue class.
static int64_t keyAt(const sa_attend_args *args, const sa_attention &code, int64_t tile,
                     int64_t c) {
  int64_t residue = tile / args->class_tiles, index = tile % args->class_tiles;
  return residue + args->step * (index * code.tile_keys + c);
}

/// Whether row r keeps column c of tile `tile` of a run, and at what distance.
static bool isKept(const Attention &attention, const sa_attend_args *args,
                   const sa_run &run, int tile, int64_t h, int64_t r, int64_t c,
                   int &hops) {
  const sa_attention &code = attention.code;
  int64_t j = keyAt(args, code, static_cast<int64_t>(run.first_tile) + tile, c);
  hops = 0;
  if (run.hops >= 0)
    hops = args->hops[((static_cast<int64_t>(run.hops) + tile) * code.tile_rows + r) *
                          code.tile_keys +
                      c];
  if (run.mask == SA_RUN_PREDICATE)
    return j < args->keys &&
           attention.predicate(args->b, h, args->first_position + args->step * r, j,
                               args->tokens);
  if (run.mask == SA_RUN_FULL) {
    EXPECT_LT(j, args->keys) << "a full tile crosses the last key";
    return j < args->keys;
  }
  const uint8_t *bits =
      args->bits + ((static_cast<int64_t>(run.mask) + tile) * code.tile_rows + r) *
                       (code.tile_keys / 8);
  bool kept = bits[c / 8] >> (c % 8) & 1;
  EXPECT_TRUE(!kept || j < args->keys) << "a bit is set past the last key";
  return kept && j < args->keys;
}

/// A key of a tile: its scaled score for a row, and its value.
struct MockKey {
  double score;
  std::vector<double> value;
};

/// Key `c` of tile `tile`, from where it was packed or from where it is.
static MockKey readKey(const Attention &attention, const sa_attend_args *args, int64_t h,
                       int64_t i, int64_t tile, int c) {
  const sa_attention &code = attention.code;
  const sa_view *values = args->values;
  int64_t j = keyAt(args, code, tile, c);
  int width = code.head_dim + code.value_dim;
  auto element = [&](int d) -> double {
    if (args->packed)
      return static_cast<const float *>(
          args->packed)[tile * packedBytes(code) / 4 + c * width + d];
    bool isKey = d < code.head_dim;
    return *at(values[isKey ? code.k : code.v], args->b, args->kv_head, j,
               isKey ? d : d - code.head_dim);
  };
  MockKey key = {0, {}};
  for (int d = 0; d < code.head_dim; ++d)
    key.score += double(*at(values[code.q], args->b, h, i, d)) * element(d);
  key.score /= std::sqrt(double(code.head_dim));
  for (int d = 0; d < code.value_dim; ++d)
    key.value.push_back(element(code.head_dim + d));
  return key;
}

/// l, m, then O, as doubles: what a call leaves of a row where keys are split.
static int64_t stateBytes(const sa_attention &code) {
  return ((code.value_dim + 2) * 8 + 63) / 64 * 64;
}

static void addToState(double *state, int valueDim, double sum, double largest,
                       const double *out) {
  double shared = std::isnan(largest) ? largest : std::max(largest, state[1]);
  if (std::isinf(shared))
    return;
  double own = std::exp(state[1] - shared), other = std::exp(largest - shared);
  state[0] = state[0] * own + sum * other;
  for (int d = 0; d < valueDim; ++d)
    state[2 + d] = state[2 + d] * own + (out ? out[d] * other : 0);
  state[1] = shared;
}

static std::vector<double> emptyState(const sa_attention &code) {
  std::vector<double> state(code.value_dim + 2, 0.);
  state[1] = -std::numeric_limits<double>::infinity();
  return state;
}

static void finishRow(const sa_attention &code, const sa_attend_args *args, int64_t h,
                      int64_t i, std::vector<double> state) {
  const sa_view *values = args->values;
  if (code.sinks >= 0)
    addToState(state.data(), code.value_dim, 1, *at(values[code.sinks], 0, 0, 0, h),
               nullptr);
  for (int d = 0; d < code.value_dim; ++d)
    *at(values[code.out], args->b, h, i, d) =
        float(state[0] == 0 ? 0 : state[2 + d] / state[0]);
  if (code.lse >= 0)
    *at(values[code.lse], 0, args->b, h, i) =
        float(state[0] == 0 ? -std::numeric_limits<double>::infinity()
                            : state[1] + std::log(state[0]));
}

static std::vector<double> attendRow(const Attention &attention,
                                     const sa_attend_args *args, int64_t h, int64_t r) {
  const sa_attention &code = attention.code;
  std::vector<double> state = emptyState(code);
  for (int64_t n = 0; n < args->run_count; ++n) {
    const sa_run &run = args->runs[n];
    for (int t = 0; t < run.tiles; ++t)
      for (int c = 0; c < code.tile_keys; ++c) {
        int hops;
        if (!isKept(attention, args, run, t, h, r, c, hops))
          continue;
        MockKey key = readKey(attention, args, h, args->first_row + args->step * r,
                              run.first_tile + t, c);
        addToState(state.data(), code.value_dim, 1, key.score - 0.25 * hops,
                   key.value.data());
      }
  }
  return state;
}

static double *stateOf(const sa_attention &code, const sa_attend_args *args, int64_t part,
                       int64_t h, int64_t r) {
  int64_t row = (part * args->stack + h - args->h) * args->rows + r;
  EXPECT_EQ(reinterpret_cast<uintptr_t>(args->states) % 64, 0u);
  return reinterpret_cast<double *>(static_cast<char *>(args->states) +
                                    row * stateBytes(code));
}

static void attend(const Attention &attention, const sa_attend_args *args) {
  const sa_attention &code = attention.code;
  EXPECT_EQ(reinterpret_cast<uintptr_t>(args->scratch) % 64, 0u);
  // Scratch belongs to one worker: what is written stays while the call runs.
  auto *mark = static_cast<int64_t *>(args->scratch);
  *mark = args->first_row * 1000 + args->h;
  EXPECT_GT(args->rows, 0);
  EXPECT_LE(args->rows, code.tile_rows);
  EXPECT_GT(args->stack, 0);
  EXPECT_LE(args->rows * args->stack, attention.levels.back().stack_rows);
  for (int64_t h = args->h; h < args->h + args->stack; ++h)
    for (int64_t r = 0; r < args->rows; ++r) {
      std::vector<double> state = attendRow(attention, args, h, r);
      if (args->states)
        std::copy(state.begin(), state.end(), stateOf(code, args, 0, h, r));
      else
        finishRow(code, args, h, args->first_row + args->step * r, state);
    }
  EXPECT_EQ(*mark, args->first_row * 1000 + args->h);
}

static void combine(const Attention &attention, const sa_attend_args *args) {
  const sa_attention &code = attention.code;
  EXPECT_GT(args->state_count, 1);
  for (int64_t h = args->h; h < args->h + args->stack; ++h)
    for (int64_t r = 0; r < args->rows; ++r) {
      std::vector<double> state = emptyState(code);
      for (int64_t part = 0; part < args->state_count; ++part) {
        const double *from = stateOf(code, args, part, h, r);
        addToState(state.data(), code.value_dim, from[0], from[1], from + 2);
      }
      finishRow(code, args, h, args->first_row + args->step * r, state);
    }
}

/// Generated functions have no closure: a slot stands for one attention.
static constexpr int kSlots = 4;
static Attention *slots[kSlots];

template <int Slot> struct SlotFunctions {
  static void pack(const sa_pack_args *args) { ::pack(*slots[Slot], args); }
  static void attend(const sa_attend_args *args) { ::attend(*slots[Slot], args); }
  static void combine(const sa_attend_args *args) { ::combine(*slots[Slot], args); }
  static int32_t classify(const sa_mask_context *context, int32_t b, int32_t h,
                          int32_t p0, int32_t p1, int32_t j0, int32_t j1, int32_t step) {
    // Both ends belong to the steps.
    EXPECT_EQ((p1 - p0) % step, 0);
    EXPECT_EQ((j1 - j0) % step, 0);
    return slots[Slot]->classify(context, b, h, p0, p1, j0, j1, step);
  }
};

static const sa_pack_fn packs[] = {SlotFunctions<0>::pack, SlotFunctions<1>::pack,
                                   SlotFunctions<2>::pack, SlotFunctions<3>::pack};
static const sa_attend_fn attends[] = {SlotFunctions<0>::attend, SlotFunctions<1>::attend,
                                       SlotFunctions<2>::attend,
                                       SlotFunctions<3>::attend};
static const sa_attend_fn combines[] = {
    SlotFunctions<0>::combine, SlotFunctions<1>::combine, SlotFunctions<2>::combine,
    SlotFunctions<3>::combine};
static const sa_classify_fn classifiers[] = {
    SlotFunctions<0>::classify, SlotFunctions<1>::classify, SlotFunctions<2>::classify,
    SlotFunctions<3>::classify};

Attention::~Attention() {
  if (slot >= 0)
    slots[slot] = nullptr;
}

//===----------------------------------------------------------------------===//
// Descriptors
//===----------------------------------------------------------------------===//

Kernel::Kernel(std::string name) : name(std::move(name)) {}

const int32_t *Kernel::keep(std::vector<int32_t> values) {
  lists.push_back(std::move(values));
  return lists.back().data();
}

static sa_tensor makeTensor(const char *name, const std::vector<int32_t> &axis,
                            const std::vector<int64_t> &dims, int value) {
  sa_tensor tensor{};
  tensor.name = name;
  tensor.rank = static_cast<int32_t>(axis.size());
  tensor.value = value;
  for (int i = 0; i < 4; ++i) {
    tensor.dims[i] = i < static_cast<int>(dims.size()) ? dims[i] : -1;
    tensor.axis[i] = i < tensor.rank ? axis[i] : 0;
  }
  return tensor;
}

int Kernel::input(const char *name, std::vector<int32_t> axis, bool layout,
                  std::vector<int64_t> dims, int code, int bits) {
  sa_tensor tensor = makeTensor(name, axis, dims, nextValue);
  tensor.layout = layout;
  tensor.type_code = code;
  tensor.type_bits = bits;
  inputs.push_back(tensor);
  return nextValue++;
}

void Kernel::addQKV(int d, int dv) {
  floats("q", {1, 2, 4, 0}, {-1, -1, -1, d});
  floats("k", {1, 3, 5, 0}, {-1, -1, -1, d});
  floats("v", {1, 3, 5, 0}, {-1, -1, -1, dv});
}

Attention &Kernel::attention(int d, int dv, Classifier classify, Predicate predicate,
                             int k, int v) {
  Attention &result = attentions.emplace_back();
  while (slots[++result.slot]) {
    if (result.slot + 1 == kSlots) {
      ADD_FAILURE() << "too many mock attentions at once";
      abort();
    }
  }
  slots[result.slot] = &result;
  result.classify = std::move(classify);
  result.predicate = std::move(predicate);

  sa_attention &code = result.code;
  code.head_dim = d;
  code.value_dim = dv;
  code.tile_rows = kTileRows;
  code.tile_keys = kTileKeys;
  code.period = 1;
  code.q = 0;
  code.k = k;
  code.v = v;
  code.kv_len = code.q_len = code.q_offset = code.sinks = code.hop_table = -1;
  code.out = nextValue++;
  code.lse = nextValue++;
  code.classify = result.classify ? classifiers[result.slot] : nullptr;
  for (auto [level, name] :
       {std::pair(SA_LEVEL_AVX2, "avx2"), std::pair(SA_LEVEL_AVX512, "avx512")})
    result.levels.push_back({level, 0, name, 64, packedBytes(code), kStackRows,
                             stateBytes(code), packs[result.slot], attends[result.slot],
                             combines[result.slot], nullptr, nullptr, nullptr, nullptr});
  sa_step step{};
  step.kind = SA_STEP_ATTENTION;
  step.first_result = code.out;
  step.type_code = kDLFloat;
  step.type_bits = 32;
  step.attention = &code;
  steps.push_back(step);
  return result;
}

int Kernel::pool(int value, int block) {
  sa_step step{};
  step.kind = SA_STEP_POOL;
  step.input_count = 1;
  step.inputs = keep({value});
  step.first_result = nextValue;
  step.block = block;
  step.type_code = inputs[value].type_code;
  step.type_bits = inputs[value].type_bits;
  steps.push_back(step);
  return nextValue++;
}

void Kernel::merge(std::vector<int32_t> states, int code, int bits, int kind) {
  sa_step step{};
  step.kind = kind;
  step.input_count = static_cast<int32_t>(states.size());
  step.inputs = keep(std::move(states));
  step.first_result = nextValue;
  step.type_code = code;
  step.type_bits = bits;
  steps.push_back(step);
  nextValue += 2;
}

void Kernel::output(const char *name, int value, std::vector<int32_t> axis, int lastDim,
                    int code, int bits) {
  std::vector<int64_t> dims(axis.size(), -1);
  dims.back() = lastDim;
  sa_tensor tensor = makeTensor(name, axis, dims, value);
  tensor.type_code = code;
  tensor.type_bits = bits;
  outputs.push_back(tensor);
}

void Kernel::outputState(int dv, int code, int bits) {
  output("o", nextValue - 2, {1, 2, 4, 0}, dv, code, bits);
  output("lse", nextValue - 1, {1, 2, 4});
}

sa_check Kernel::makeCheck(int kind, std::vector<int32_t> ids,
                           std::vector<int64_t> values, const char *op) {
  parameters.push_back(std::move(values));
  sa_check check{};
  check.kind = kind;
  check.input_count = static_cast<int32_t>(ids.size());
  check.inputs = keep(std::move(ids));
  check.parameter_count = static_cast<int32_t>(parameters.back().size());
  check.parameters = parameters.back().data();
  check.op = op;
  return check;
}

sa_table Kernel::makeReach(std::vector<int32_t> ids, int64_t maxHops, bool directed,
                           bool distances) {
  parameters.push_back({maxHops, directed, distances});
  sa_table table{};
  table.kind = SA_TABLE_REACH;
  table.input_count = static_cast<int32_t>(ids.size());
  table.inputs = keep(std::move(ids));
  table.parameter_count = 3;
  table.parameters = parameters.back().data();
  return table;
}

void Kernel::setGPUs(size_t step, std::vector<sa_gpu_kernel> kernels) {
  gpus.push_back(std::move(kernels));
  steps[step].gpus = gpus.back().data();
  steps[step].gpu_count = static_cast<int32_t>(gpus.back().size());
}

const sparse_attn_kernel *Kernel::get() {
  for (Attention &attention : attentions) {
    sa_attention &code = attention.code;
    code.check_count = static_cast<int32_t>(attention.checks.size());
    code.checks = attention.checks.data();
    code.table_count = static_cast<int32_t>(attention.tables.size());
    code.tables = attention.tables.data();
    code.level_count = static_cast<int32_t>(attention.levels.size());
    code.levels = attention.levels.data();
  }
  kernel.name = name.c_str();
  kernel.input_count = static_cast<int32_t>(inputs.size());
  kernel.inputs = inputs.data();
  kernel.output_count = static_cast<int32_t>(outputs.size());
  kernel.outputs = outputs.data();
  kernel.value_count = nextValue;
  kernel.step_count = static_cast<int32_t>(steps.size());
  kernel.steps = steps.data();
  return &kernel;
}

//===----------------------------------------------------------------------===//
// Masks
//===----------------------------------------------------------------------===//

Classifier mock::exhaustive(Predicate predicate) {
  return [predicate](const sa_mask_context *context, int b, int h, int p0, int p1, int j0,
                     int j1, int step) {
    bool any = false, all = true;
    for (int p = p0; p <= p1; p += step)
      for (int j = j0; j <= j1; j += step) {
        bool kept = predicate(b, h, p, j, context->keys);
        any = any || kept;
        all = all && kept;
      }
    return !any ? 0 : all ? 1 : 2;
  };
}

Predicate mock::all() {
  return [](int, int, int, int, int) { return true; };
}

Predicate mock::causal() {
  return [](int, int, int p, int j, int) { return j <= p; };
}

int mock::classifyCausal(int p0, int p1, int j0, int j1) {
  return j1 <= p0 ? 1 : j0 > p1 ? 0 : 2;
}

//===----------------------------------------------------------------------===//
// Plans and runs
//===----------------------------------------------------------------------===//

static std::vector<DLTensor *> pointers(const std::vector<Tensor *> &tensors) {
  std::vector<DLTensor *> result;
  for (Tensor *tensor : tensors)
    result.push_back(tensor ? &tensor->dl : nullptr);
  return result;
}

Plan mock::makePlan(const sparse_attn_kernel *kernel, sparse_attn_shape shape,
                    const std::vector<Tensor *> &layout,
                    const sparse_attn_options *options) {
  sparse_attn_plan *plan = nullptr;
  std::vector<DLTensor *> list = pointers(layout);
  sparse_attn_status status =
      sparse_attn_plan_create(kernel, &shape, list.data(), list.size(), options, &plan);
  EXPECT_EQ(status, SPARSE_ATTN_OK) << sparse_attn_last_error();
  return Plan(plan);
}

sparse_attn_status mock::run(const sparse_attn_plan *plan,
                             const std::vector<Tensor *> &inputs,
                             const std::vector<Tensor *> &outputs,
                             const sparse_attn_options *options) {
  size_t bytes = 0;
  sparse_attn_status status = sparse_attn_workspace_size(plan, options, &bytes);
  if (status)
    return status;
  // Odd on purpose: the run aligns what it is given.
  std::vector<uint8_t> memory(bytes + 1, 0xff);
  std::vector<DLTensor *> in = pointers(inputs), out = pointers(outputs);
  return sparse_attn_run(plan, in.data(), in.size(), out.data(), out.size(),
                         memory.data() + 1, bytes, options);
}
