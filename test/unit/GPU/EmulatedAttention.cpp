//===- EmulatedAttention.cpp - GPU kernels on the emulator ----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EmulatedAttention.h"
#include "sparse_attn/Conversion/GPUShape.h"
#include "sparse_attn/Conversion/KernelValues.h"
#include "sparse_attn/Pipelines/Pipelines.h"
#include "sparse_attn/Reference/Reference.h"
#include "sparse_attn/Session/EmulatedDriver.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using namespace sparse_attn;
using llvm::cantFail;
using llvm::Error;
using llvm::Expected;

namespace {
/// Everything of one run.
class EmulatedRun {
public:
  explicit EmulatedRun(EmulatedCase &test) : test(test) {
    registerDialects(registry);
    mlir.appendDialectRegistry(registry);
    loadExpressionDialects(mlir);
  }
  Expected<EmulatedResult> run();

private:
  bool compile();
  void makeInputs();
  void makeViews();
  void makeItems();
  int32_t makeRuns(int64_t b, int64_t h, int64_t firstRow, int64_t rows, int64_t first,
                   int64_t end);
  sparse_attn_gpu_map makeMap(StringRef name);
  Error launchKernel(StringRef name, std::vector<sa_gpu_item> &items,
                     EmulatedResult &result);
  Error compare(EmulatedResult &result);

  EmulatedCase &test;
  DialectRegistry registry;
  MLIRContext mlir;
  OwningOpRef<ModuleOp> module;
  func::FuncOp kernel;
  std::optional<GPUModule> code;
  std::optional<GPUShape> shape;
  bool findsTiles = true;
  int64_t period = 1;

  llvm::StringMap<Array> inputs; ///< dense, as the reference takes them
  std::vector<Array> device;     ///< by value id
  std::vector<sa_view> views;
  std::unique_ptr<Reference> reference;
  std::vector<sa_gpu_item> items, combined;
  std::vector<sa_gpu_entry> entries;
  std::vector<sa_run> runs;
  std::vector<uint8_t> bits;
  std::vector<float> states;
};
} // namespace

static ElementKind getKind(Type type) {
  if (type.isF32())
    return ElementKind::F32;
  if (type.isBF16())
    return ElementKind::BF16;
  return type.isF16() ? ElementKind::F16 : ElementKind::I32;
}

bool EmulatedRun::compile() {
  module = ModuleOp::create(UnknownLoc::get(&mlir));
  test.spec.name = "kernel";
  FailureOr<func::FuncOp> built = buildKernel(*module, test.spec);
  if (failed(built))
    return false;
  kernel = *built;
  OwningOpRef<ModuleOp> plans = module->clone();
  if (failed(lowerToPlan(*plans)))
    return false;
  const GPUTarget &target = *findGPUTarget(test.target);
  plans->walk([&](block_plan::AttentionOp plan) {
    shape.emplace(plan, target);
    findsTiles = findsTilesOnGPU(plan);
    period = plan.getPeriod();
  });
  FailureOr<GPUModule> compiled = compileGPU(*plans, target);
  if (failed(compiled))
    return false;
  code = std::move(*compiled);
  return true;
}

void EmulatedRun::makeInputs() {
  std::mt19937 generator(test.seed);
  std::normal_distribution<float> normal;
  auto makeRandom = [&](int64_t heads, int64_t rows, int64_t dim) {
    Array array =
        cantFail(Array::create(ElementKind::F32, {test.batch, heads, rows, dim}));
    for (int64_t i = 0; i < array.elements(); ++i)
      array.as<float>()[i] = normal(generator);
    return array;
  };
  Array q = makeRandom(test.heads, test.queries, shape->headDim);
  Array k = makeRandom(test.kvHeads, test.keys, shape->headDim);
  Array v = makeRandom(test.kvHeads, test.keys, shape->valueDim);
  if (test.change)
    test.change(q, k, v);
  for (auto &[name, array] : test.operands)
    inputs[name] = std::move(array);
  ElementKind kind = getKind(shape->element);
  inputs["q"] = cantFail(std::move(q).roundTo(kind));
  inputs["k"] = cantFail(std::move(k).roundTo(kind));
  inputs["v"] = cantFail(std::move(v).roundTo(kind));
}

/// A copy with `slack` elements after each row.
static Array spread(const Array &array, int64_t slack) {
  SmallVector<int64_t> shape(array.shape());
  size_t bytes = getElementBytes(array.type());
  int64_t dim = shape.back(), rows = array.elements() / dim;
  shape.back() += slack;
  Array result = cantFail(Array::create(array.type(), shape));
  for (int64_t row = 0; row < rows; ++row)
    std::memcpy(result.as<char>() + row * (dim + slack) * bytes,
                array.as<char>() + row * dim * bytes, dim * bytes);
  return result;
}

void EmulatedRun::makeViews() {
  auto addView = [&](Array array, int64_t slack) {
    sa_view view = {};
    int64_t stride = 1;
    for (int64_t axis = 3; axis >= 0; --axis) {
      int64_t own = axis - (4 - array.rank());
      int64_t size = own < 0 ? 1 : array.shape()[own];
      view.size[axis] = size - (axis == 3 ? slack : 0);
      view.stride[axis] = size == 1 ? 0 : stride;
      stride *= size;
    }
    device.push_back(std::move(array));
    view.allocated = view.data = device.back().data();
    views.push_back(view);
  };
  for (unsigned i = 0; i < kernel.getNumArguments(); ++i) {
    auto name = kernel.getArgAttrOfType<StringAttr>(i, kNameAttr).getValue();
    bool spreads = name == "q" || name == "k" || name == "v";
    int64_t slack = spreads ? test.strideSlack : 0;
    addView(spread(inputs[name], slack), slack);
  }
  for (Type type : kernel.getResultTypes()) {
    SmallVector<int64_t> sizes = {test.batch, test.heads, test.queries};
    auto tensor = cast<RankedTensorType>(type);
    if (tensor.getRank() == 4)
      sizes.push_back(shape->valueDim);
    Array array = cantFail(Array::create(getKind(tensor.getElementType()), sizes));
    std::memset(array.data(), 0x7b, array.bytes()); // some large number
    addView(std::move(array), 0);
  }
}

/// Lists tiles [first, end) of key tiles as the reference's mask has them.
int32_t EmulatedRun::makeRuns(int64_t b, int64_t h, int64_t firstRow, int64_t rows,
                              int64_t first, int64_t end) {
  int32_t start = runs.size();
  std::vector<std::vector<double>> members;
  for (int64_t row = 0; row < rows; ++row)
    members.push_back(cantFail(reference->membership({b, h, firstRow + row})));
  for (int64_t tile = first; tile < end; ++tile) {
    std::vector<uint8_t> own(shape->rows * shape->keys / 8);
    int64_t kept = 0;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t key = 0; key < shape->keys; ++key) {
        size_t number = tile * shape->keys + key;
        if (number >= members[row].size() || members[row][number] == 0)
          continue;
        ++kept;
        own[(row * shape->keys + key) / 8] |= 1 << key % 8;
      }
    if (!kept)
      continue;
    if (kept == rows * shape->keys) {
      runs.push_back({int32_t(tile), 1, SA_RUN_FULL, -1});
      continue;
    }
    runs.push_back({int32_t(tile), 1, int32_t(bits.size() / own.size()), -1});
    bits.insert(bits.end(), own.begin(), own.end());
  }
  return start;
}

void EmulatedRun::makeItems() {
  int32_t slots = 0;
  for (int64_t b = 0; b < test.batch; ++b) {
    Reference::Extent extent = reference->extent(0, b);
    entries.push_back({int32_t(extent.queries), int32_t(extent.keys),
                       int32_t(extent.keys), int32_t(extent.firstPosition)});
    int64_t step = test.step;
    int64_t classTiles =
        llvm::divideCeil(llvm::divideCeil(extent.keys, step), shape->keys);
    int64_t tiles = classTiles * step;
    int64_t tileQueries = test.tileQueries ? test.tileQueries : shape->rows / test.stack;
    for (int64_t h = 0; h < test.heads; h += test.stack)
      for (int64_t residue = 0; residue < step; ++residue)
        for (int64_t row = residue; row < extent.queries; row += tileQueries * step) {
          int64_t left = llvm::divideCeil(extent.queries - row, step);
          int64_t rows = std::min(left, tileQueries) * test.stack;
          sa_gpu_item item = {int32_t(b), int32_t(h), int32_t(row), int32_t(rows),
                              0,          0,          -1,           0};
          int32_t firstSlot = slots;
          for (int64_t part = 0; part < test.parts; ++part) {
            item.first = tiles * part / test.parts;
            item.end = tiles * (part + 1) / test.parts;
            if (shape->listed) {
              item.first = part, item.end = test.parts;
            } else if (!findsTiles) {
              item.first = makeRuns(b, h, row, rows / test.stack, item.first, item.end);
              item.end = runs.size();
            }
            item.slot = test.parts > 1 ? slots++ : -1;
            items.push_back(item);
          }
          item.first = firstSlot, item.end = slots, item.slot = -1;
          if (test.parts > 1)
            combined.push_back(item);
        }
  }
  states.assign(slots * shape->rows * (shape->valueDim + 2), NAN);
}

sparse_attn_gpu_map EmulatedRun::makeMap(StringRef name) {
  unsigned id = 0;
  while (kernel.getArgAttrOfType<StringAttr>(id, kNameAttr).getValue() != name)
    ++id;
  run::EmulatedDriver driver(findGPUTarget(test.target)->capability);
  sparse_attn_gpu_tensor tensor =
      sparse_attn_gpu_describe(&views[id], shape->element.isBF16(), shape->keys);
  sparse_attn_gpu_map map;
  const char *error = driver.table()->map(driver.table()->context, 0, &tensor, &map);
  cantFail(error ? llvm::createStringError(StringRef(error)) : Error::success());
  return map;
}

Error EmulatedRun::launchKernel(StringRef name, std::vector<sa_gpu_item> &items,
                                EmulatedResult &result) {
  if (items.empty())
    return Error::success();
  emulator::Options options;
  options.seed = test.seed;
  options.sm = findGPUTarget(test.target)->capability;
  emulator::Device gpu(options);
  auto addMemory = [&](auto &array) {
    if (!array.empty())
      gpu.registerMemory(array.data(), array.size() * sizeof(array[0]));
    return array.data();
  };
  for (Array &array : device)
    if (array.bytes())
      gpu.registerMemory(array.data(), array.bytes());
  std::vector<uint64_t> argument((sizeof(sa_gpu_args) + views.size() * sizeof(sa_view)) /
                                 8);
  auto *args = reinterpret_cast<sa_gpu_args *>(argument.data());
  args->items = addMemory(items);
  args->entries = addMemory(entries);
  args->runs = addMemory(runs);
  args->bits = addMemory(bits);
  args->states = addMemory(states);
  args->heads = test.heads;
  args->group = test.heads / test.kvHeads;
  args->stack = test.stack;
  args->step = test.step;
  args->bit_rows = shape->rows;
  args->class_tiles =
      llvm::divideCeil(llvm::divideCeil(test.keys, test.step), shape->keys);
  auto isAligned = [&](int64_t dim) {
    return (dim + test.strideSlack) * shape->elementBytes % 16 == 0;
  };
  if (isAligned(shape->headDim))
    args->aligned |= SA_GPU_ALIGNED_Q | SA_GPU_ALIGNED_K;
  if (isAligned(shape->valueDim))
    args->aligned |= SA_GPU_ALIGNED_V;
  std::memcpy(args->values, views.data(), views.size() * sizeof(sa_view));
  auto loaded = gpu.load(*code->module, name);
  if (!loaded)
    return loaded.takeError();
  bool isAttend = name == "kernel_0_attend";
  std::vector<const void *> params = {args};
  unsigned blocks = items.size();
  sparse_attn_gpu_map maps[2] = {};
  if (shape->warpgroups && isAttend) {
    params.insert(params.end(), {&maps[0], &maps[1]});
    args->item_count = items.size();
    if (test.blocks)
      blocks = std::min(blocks, test.blocks);
    constexpr int32_t both = SA_GPU_ALIGNED_K | SA_GPU_ALIGNED_V;
    if (test.maps && (args->aligned & both) == both) {
      args->aligned |= SA_GPU_MAPPED;
      maps[0] = makeMap("k");
      maps[1] = makeMap("v");
    }
  }
  auto done = gpu.launch(*loaded, {blocks}, {unsigned(shape->threads)},
                         shape->sharedBytes, params);
  if (!done)
    return done.takeError();
  result.statistics[isAttend ? 0 : 1] = *done;
  return Error::success();
}

Error EmulatedRun::compare(EmulatedResult &result) {
  std::vector<Row> rows = reference->allRows();
  auto expected = reference->evaluate(rows, 1);
  if (!expected)
    return expected.takeError();
  const Array &out = device[kernel.getNumArguments()];
  const Array &lse = device[kernel.getNumArguments() + 1];
  double difference = 0, norm = 0;
  for (size_t number = 0; number < rows.size(); ++number) {
    const Row &row = rows[number];
    double wanted = (*expected)[1].get(number);
    double got = lse.get(lse.position({row.b, row.h, row.i}));
    if (std::isnan(wanted) != std::isnan(got) ||
        (wanted == -INFINITY && got != -INFINITY))
      return llvm::createStringError("LSE of row %lld of head %lld is %g, expected %g",
                                     (long long)row.i, (long long)row.h, got, wanted);
    if (std::isfinite(wanted))
      result.lseError = std::max(result.lseError, std::abs(got - wanted));
    for (int64_t column = 0; column < shape->valueDim; ++column) {
      double x = (*expected)[0].get(number * shape->valueDim + column);
      double y = out.get(out.position({row.b, row.h, row.i, column}));
      if (std::isnan(x) != std::isnan(y) || (wanted == -INFINITY && y != 0) ||
          (std::isinf(x) && x != y))
        return llvm::createStringError(
            "column %lld of row %lld of head %lld is %g, expected %g", (long long)column,
            (long long)row.i, (long long)row.h, y, x);
      if (!std::isfinite(x))
        continue;
      difference += (x - y) * (x - y);
      norm += x * x;
    }
  }
  result.outError = norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
  return Error::success();
}

Expected<EmulatedResult> EmulatedRun::run() {
  if (!compile())
    return llvm::createStringError("the pattern does not compile");
  if (test.step > 1 && period % test.step)
    return llvm::createStringError("the mask has the period " + Twine(period));
  makeInputs();
  llvm::StringMap<Array> copies;
  for (auto &[name, array] : inputs)
    copies[name] = spread(array, 0);
  auto made = Reference::create(kernel, std::move(copies));
  if (!made)
    return made.takeError();
  reference = std::move(*made);
  makeViews();
  makeItems();
  EmulatedResult result;
  if (Error error = launchKernel("kernel_0_attend", items, result))
    return error;
  if (Error error = launchKernel("kernel_0_combine", combined, result))
    return error;
  if (Error error = compare(result))
    return error;
  return result;
}

Expected<EmulatedResult> sparse_attn::runEmulated(EmulatedCase test) {
  return EmulatedRun(test).run();
}

//===----------------------------------------------------------------------===//
// Cases
//===----------------------------------------------------------------------===//

EmulatedCase sparse_attn::makeCase(const char *pattern, int64_t dim, ElementType type,
                                   int64_t queries, int64_t keys, const char *target) {
  EmulatedCase test;
  test.target = target;
  test.spec.pattern = pattern;
  test.spec.headDim = dim;
  test.spec.elementType = type;
  test.queries = queries, test.keys = keys;
  return test;
}

void sparse_attn::addModifiersAndSinks(EmulatedCase &test) {
  test.spec.modifiers = "softcap(5.0), alibi(slopes)";
  test.spec.sinks = true;
  test.heads = 2;
  for (const char *name : {"slopes", "sinks"}) {
    Array array = cantFail(Array::create(ElementKind::F32, {2}));
    array.as<float>()[0] = 0.25f, array.as<float>()[1] = 1.5f;
    test.operands[name] = std::move(array);
  }
}

void sparse_attn::addOffsets(EmulatedCase &test, ArrayRef<int32_t> starts) {
  Array offsets = cantFail(Array::create(ElementKind::I32, {1, int64_t(starts.size())}));
  llvm::copy(starts, offsets.as<int32_t>());
  test.operands["offsets"] = std::move(offsets);
}

/// The bounds of docs/semantics.md, section 9. Of f32 on a GPU: products of tf32, three
/// for one, leave out 2^-22 of each, and 2^x is off by 2^-22 of it.
static double getBound(ElementType type) {
  switch (type) {
  case ElementType::F32:
    return 5e-6;
  case ElementType::BF16:
    return 4e-3;
  case ElementType::F16:
    return 1e-3;
  }
  llvm_unreachable("every type has a bound");
}

void sparse_attn::checkEmulated(EmulatedCase test) {
  double bound = getBound(test.spec.elementType);
  SCOPED_TRACE(test.spec.pattern);
  auto result = runEmulated(std::move(test));
  ASSERT_TRUE(bool(result)) << llvm::toString(result.takeError());
  EXPECT_LE(result->outError, bound);
  EXPECT_LE(result->lseError, 2e-5);
}
