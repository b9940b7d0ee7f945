//===- Reference.cpp - what a kernel computes, in float64 -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ReferenceDetail.h"
#include "llvm/ADT/SmallVectorExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include <atomic>
#include <mutex>
#include <thread>

using namespace mlir;
using namespace sparse_attn;
using llvm::createStringError;
using llvm::Error;
using llvm::Expected;

Reference::Reference(func::FuncOp kernel) : kernel(kernel) {}
Reference::~Reference() = default;

//===----------------------------------------------------------------------===//
// Taking the arguments
//===----------------------------------------------------------------------===//

static std::optional<ElementKind> getArrayType(Type type) {
  if (type.isF32())
    return ElementKind::F32;
  if (type.isF16())
    return ElementKind::F16;
  if (type.isBF16())
    return ElementKind::BF16;
  if (type.isInteger(32))
    return ElementKind::I32;
  if (type.isInteger(8))
    return ElementKind::I8;
  return std::nullopt;
}

std::string Reference::nameOf(Value argument) const {
  unsigned number = cast<BlockArgument>(argument).getArgNumber();
  // A FuncOp is a handle whose accessors are not const.
  func::FuncOp function = kernel;
  auto name = function.getArgAttrOfType<StringAttr>(number, kNameAttr);
  return name ? name.str() : "argument " + std::to_string(number);
}

const Array &Reference::valueOf(Value argument) const {
  return arguments[cast<BlockArgument>(argument).getArgNumber()];
}

Error Reference::takeArguments(llvm::StringMap<Array> named) {
  for (BlockArgument argument : kernel.getArguments()) {
    std::string name = nameOf(argument);
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    std::optional<ElementKind> element;
    if (type)
      element = getArrayType(type.getElementType());
    if (!element)
      return createStringError("'" + name +
                               "' is not a tensor of f32, f16, bf16, i32 or i8, which is "
                               "what the reference takes");
    auto it = named.find(name);
    if (it == named.end())
      return createStringError("the kernel reads '" + name + "', which is not given");
    Expected<Array> array = std::move(it->second).convertTo(*element);
    named.erase(it);
    if (!array)
      return createStringError("'" + name + "' " + toString(array.takeError()));
    if (array->rank() != type.getRank())
      return createStringError("'" + name + "' has rank " + Twine(array->rank()) +
                               ", the kernel takes rank " + Twine(type.getRank()));
    for (auto [axis, size] : llvm::enumerate(type.getShape()))
      if (ShapedType::isStatic(size) && size != array->shape()[axis])
        return createStringError("'" + name + "' has shape " +
                                 formatShape(array->shape()) + ", the kernel takes " +
                                 Twine(size) + " on axis " + Twine(axis));
    arguments.push_back(std::move(*array));
  }
  if (!named.empty())
    return createStringError("the kernel has no argument '" + named.begin()->first() +
                             "'");
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Reading the body
//===----------------------------------------------------------------------===//

Error Reference::checkSize(Value argument, unsigned axis, Axis wanted) {
  struct Known {
    int64_t size;
    const char *name;
  };
  const Known known[] = {{0, ""},           {batchSize, "B"},
                         {headCount, "H"},  {kvHeadCount, "Hkv"},
                         {queryCount, "M"}, {keyCount, "N"}};
  constexpr int kOrOne = 16; // Axis::BatchOrOne and its siblings
  int code = static_cast<int>(wanted);
  if (wanted == Axis::Free)
    return Error::success();
  int64_t size = valueOf(argument).shape()[axis];
  if (wanted == Axis::Odd) {
    if (size % 2 == 1)
      return Error::success();
    return createStringError("'" + nameOf(argument) + "' has shape " +
                             formatShape(valueOf(argument).shape()) + ", axis " +
                             Twine(axis) + " has to be odd");
  }
  const Known &expected = known[code % kOrOne];
  if (size == expected.size || (code > kOrOne && size == 1))
    return Error::success();
  return createStringError("'" + nameOf(argument) + "' has shape " +
                           formatShape(valueOf(argument).shape()) + ", axis " +
                           Twine(axis) + " has to be " + (code > kOrOne ? "1 or " : "") +
                           expected.name + " = " + Twine(expected.size));
}

Error Reference::checkOperands(Operation *op, ArrayRef<TensorSpec> specs) {
  SmallVector<Value> tensors =
      llvm::filter_to_vector(op->getOperands(), [](Value operand) {
        return isa<TensorType>(operand.getType());
      });
  for (auto [index, tensor] : llvm::enumerate(tensors)) {
    if (!isa<BlockArgument>(tensor))
      return createStringError("the reference reads the operands of " +
                               op->getName().getStringRef() +
                               " from the kernel's arguments alone");
    if (index >= specs.size())
      continue;
    for (unsigned axis = 0; axis < specs[index].rank; ++axis)
      if (Error error = checkSize(tensor, axis, specs[index].axes[axis]))
        return error;
  }
  return Error::success();
}

/// Sizes that follow from D; the types of weights may leave them open.
Error Reference::checkWeights(AttentionOp op) {
  for (const WeightSize &weight : getWeightSizes(op.getMask(), op.getHeadDim())) {
    ArrayRef<int64_t> shape = valueOf(weight.tensor).shape();
    if (shape[weight.axis] != weight.size)
      return createStringError("'" + nameOf(weight.tensor) + "' has shape " +
                               formatShape(shape) + ", axis " + Twine(weight.axis) +
                               " has to be " + Twine(weight.size) + ", " + weight.reason +
                               ", for D = " + Twine(op.getHeadDim()));
  }
  return Error::success();
}

/// `value` as a number of `element`, rounded to nearest even.
static double roundTo(FloatType element, double value) {
  APFloat number(value);
  bool losesInfo;
  number.convert(element.getFloatSemantics(), APFloat::rmNearestTiesToEven, &losesInfo);
  return number.convertToDouble();
}

/// The mean of every block of tokens below n[b], per key/value head, rounded to
/// `element`: the one place where a kernel holds what it has computed in its type.
static Expected<Array> computePool(const Array &source, int64_t block,
                                   ArrayRef<int64_t> n, FloatType element) {
  ArrayRef<int64_t> shape = source.shape();
  int64_t tokens = shape[2], width = shape[3], blocks = llvm::divideCeil(tokens, block);
  Expected<Array> pooled =
      Array::create(ElementKind::F64, {shape[0], shape[1], blocks, width});
  if (!pooled)
    return pooled;
  for (int64_t plane = 0; plane < shape[0] * shape[1]; ++plane)
    for (int64_t t = 0; t < blocks; ++t) {
      int64_t first = t * block, end = std::min(first + block, n[plane / shape[1]]);
      double *mean = pooled->as<double>() + (plane * blocks + t) * width;
      for (int64_t token = first; token < end; ++token)
        for (int64_t d = 0; d < width; ++d)
          mean[d] += source.get((plane * tokens + token) * width + d);
      for (int64_t d = 0; first < end && d < width; ++d)
        mean[d] = roundTo(element, mean[d] / static_cast<double>(end - first));
    }
  return pooled;
}

static Expected<Array> copyToDouble(const Array &source) {
  Expected<Array> copy = Array::create(ElementKind::F64, source.shape());
  for (int64_t i = 0; copy && i < source.elements(); ++i)
    copy->as<double>()[i] = source.get(i);
  return copy;
}

Error Reference::addAttention(AttentionOp op) {
  // Where K comes from: an argument, or the pool of one.
  auto getSource = [](Value value) -> Value {
    if (auto pool = value.getDefiningOp<PoolOp>())
      return pool.getSource();
    return value;
  };
  Value k = getSource(op.getK()), v = getSource(op.getV());
  if (!isa<BlockArgument>(op.getQ()) || !isa<BlockArgument>(k) || !isa<BlockArgument>(v))
    return createStringError("the reference reads Q, K and V from the kernel's arguments "
                             "or from the pool of one");
  if (attentionOps.empty()) {
    ArrayRef<int64_t> queryShape = valueOf(op.getQ()).shape(),
                      keyShape = valueOf(k).shape();
    batchSize = queryShape[0], headCount = queryShape[1], queryCount = queryShape[2];
    kvHeadCount = keyShape[1], keyCount = keyShape[2];
    if (kvHeadCount == 0 ? headCount != 0 : headCount % kvHeadCount != 0)
      return createStringError("H = " + Twine(headCount) +
                               " is not a multiple of Hkv = " + Twine(kvHeadCount));
  }
  auto inputs = std::make_unique<Inputs>();
  inputs->op = op;
  for (auto [tensor, axes] : {std::pair<Value, std::array<Axis, 3>>{
                                  op.getQ(), {Axis::Batch, Axis::Heads, Axis::Queries}},
                              {k, {Axis::Batch, Axis::KvHeads, Axis::Keys}},
                              {v, {Axis::Batch, Axis::KvHeads, Axis::Keys}},
                              {op.getKvLen(), {Axis::Batch, Axis::Free, Axis::Free}},
                              {op.getQLen(), {Axis::Batch, Axis::Free, Axis::Free}},
                              {op.getQOffset(), {Axis::Batch, Axis::Free, Axis::Free}},
                              {op.getSinks(), {Axis::Heads, Axis::Free, Axis::Free}}}) {
    if (!tensor)
      continue;
    if (!isa<BlockArgument>(tensor))
      return createStringError("the reference reads lengths, offsets and sinks from the "
                               "kernel's arguments alone");
    for (unsigned axis = 0; axis < std::min<int64_t>(3, valueOf(tensor).rank()); ++axis)
      if (Error error = checkSize(tensor, axis, axes[axis]))
        return error;
  }

  auto readLengths = [&](Value operand, int64_t limit,
                         SmallVectorImpl<int64_t> &lengths) -> Error {
    lengths.assign(batchSize, limit);
    for (int64_t b = 0; operand && b < batchSize; ++b) {
      lengths[b] = valueOf(operand).get(b);
      if (lengths[b] < 0 || lengths[b] > limit)
        return createStringError("'" + nameOf(operand) + "' is " + Twine(lengths[b]) +
                                 " at batch entry " + Twine(b) + ", expected 0 to " +
                                 Twine(limit));
    }
    return Error::success();
  };
  if (Error error = readLengths(op.getKvLen(), keyCount, inputs->n))
    return error;
  if (Error error = readLengths(op.getQLen(), queryCount, inputs->m))
    return error;
  for (int64_t b = 0; b < batchSize; ++b)
    inputs->shift.push_back(op.getQOffset() ? valueOf(op.getQOffset()).get(b)
                                            : inputs->n[b] - inputs->m[b]);
  inputs->sinks = op.getSinks() ? &valueOf(op.getSinks()) : nullptr;
  inputs->block = op.getKeyBlock();
  auto element = cast<FloatType>(op.getKeyTensorType().getElementType());
  for (auto [source, target] : {std::pair<Value, Array *>{op.getQ(), &inputs->q},
                                {k, &inputs->k},
                                {v, &inputs->v}}) {
    bool isPooled = inputs->block && source != op.getQ();
    Expected<Array> array =
        isPooled ? computePool(valueOf(source), inputs->block, inputs->n, element)
                 : copyToDouble(valueOf(source));
    if (!array)
      return array.takeError();
    *target = std::move(*array);
  }
  inputsOf[op] = inputs.get();
  attentionOps.push_back(std::move(inputs));
  return Error::success();
}

/// States that are arguments have the sizes of those that the kernel computes.
Error Reference::checkStates(MergeOp op) {
  for (Value state : op->getOperands())
    for (unsigned axis = 0; isa<BlockArgument>(state) && axis < 3; ++axis)
      if (Error error = checkSize(
              state, axis, std::array{Axis::Batch, Axis::Heads, Axis::Queries}[axis]))
        return error;
  return Error::success();
}

Error Reference::readBody() {
  if (!llvm::hasSingleElement(kernel.getBody()))
    return createStringError("the kernel has more than one block");
  // Sizes come first: they are what operands are checked against.
  for (auto op : kernel.getOps<AttentionOp>())
    if (Error error = addAttention(op))
      return error;
  if (attentionOps.empty())
    return createStringError("the kernel has no sparse_attn.attention");

  for (Operation &op : kernel.getBody().front()) {
    Error error =
        llvm::TypeSwitch<Operation *, Error>(&op)
            .Case([&](MaskOpInterface mask) {
              return checkOperands(mask, mask.getTensorSpecs());
            })
            .Case([&](ScoreOpInterface score) {
              return checkOperands(score, score.getTensorSpecs());
            })
            .Case([&](ModifierOpInterface modifier) {
              return checkOperands(modifier, modifier.getTensorSpecs());
            })
            .Case([&](MergeOp merge) { return checkStates(merge); })
            .Case<AttentionOp, PoolOp, func::ReturnOp>(
                [](Operation *) { return Error::success(); })
            .Default([](Operation *op) {
              return createStringError("the reference does not know " +
                                       op->getName().getStringRef() +
                                       "; a kernel consists of sparse_attn ops");
            });
    if (error)
      return error;
  }
  for (auto op : kernel.getOps<AttentionOp>())
    if (Error error = checkWeights(op))
      return error;
  for (Value result : kernel.getBody().front().getTerminator()->getOperands())
    if (!isa_and_present<AttentionOp, MergeOp>(result.getDefiningOp()))
      return createStringError("the kernel returns something that is not the result of "
                               "attention or merge");
  return Error::success();
}

Expected<std::unique_ptr<Reference>> Reference::create(func::FuncOp kernel,
                                                       llvm::StringMap<Array> arguments) {
  std::unique_ptr<Reference> reference(new Reference(kernel));
  if (kernel.isExternal())
    return createStringError("the kernel has no body");
  if (Error error = reference->takeArguments(std::move(arguments)))
    return error;
  if (Error error = reference->readBody())
    return error;
  return reference;
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

int64_t Reference::keys(size_t attention) const {
  return attentionOps[attention]->k.shape()[2];
}

Reference::Extent Reference::extent(size_t attention, int64_t b) const {
  const Inputs &inputs = *attentionOps[attention];
  return {inputs.m[b], inputs.keys(b), inputs.shift[b]};
}

AttentionOp Reference::op(size_t attention) const { return attentionOps[attention]->op; }

double Reference::pairs() const {
  double keys = 0;
  for (size_t a = 0; a < attentions(); ++a)
    keys += static_cast<double>(this->keys(a));
  return static_cast<double>(batchSize) * headCount * queryCount * keys;
}

std::vector<Row> Reference::allRows() const {
  std::vector<Row> rows;
  rows.reserve(batchSize * headCount * queryCount);
  for (int64_t b = 0; b < batchSize; ++b)
    for (int64_t h = 0; h < headCount; ++h)
      for (int64_t i = 0; i < queryCount; ++i)
        rows.push_back({b, h, i});
  return rows;
}

Expected<std::vector<Array>> Reference::evaluate(ArrayRef<Row> rows, unsigned threads,
                                                 const RowProgress &progress) {
  OperandRange results = kernel.getBody().front().getTerminator()->getOperands();
  int64_t total = rows.size();
  std::vector<Array> arrays;
  for (Value result : results) {
    auto type = cast<RankedTensorType>(result.getType());
    SmallVector<int64_t> shape = {total};
    if (type.getRank() == 4)
      shape.push_back(type.getDimSize(3));
    Expected<Array> array = Array::create(ElementKind::F64, shape);
    if (!array)
      return array.takeError();
    arrays.push_back(std::move(*array));
  }

  // Rows are independent; each thread has its own evaluators, whose caches are
  // not shared.
  std::atomic<int64_t> next = 0, done = 0;
  std::mutex mutex;
  std::string failure;
  auto work = [&] {
    Worker worker(*this);
    constexpr int64_t kRowsAtATime = 16;
    for (int64_t first; (first = next.fetch_add(kRowsAtATime)) < total;) {
      int64_t end = std::min(total, first + kRowsAtATime);
      for (int64_t r = first; r < end; ++r)
        for (auto [result, array] : llvm::zip_equal(results, arrays)) {
          const RowState &state = worker.stateOf(result.getDefiningOp(), rows[r]);
          if (array.rank() == 2)
            llvm::copy(state.out, array.as<double>() + r * array.shape()[1]);
          else
            array.as<double>()[r] = state.lse;
        }
      std::lock_guard<std::mutex> lock(mutex);
      if (worker.failed()) {
        failure = worker.failure();
        next = total;
      }
      done += end - first;
      if (progress)
        progress(done, total);
    }
  };
  if (threads == 0)
    threads = std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> others;
  for (unsigned t = 1; t < std::min<int64_t>(threads, total / 64 + 1); ++t)
    others.emplace_back(work);
  work();
  for (std::thread &thread : others)
    thread.join();
  if (!failure.empty())
    return createStringError(failure);
  return arrays;
}

Expected<std::vector<double>> Reference::membership(Row row, size_t attention) {
  if (attention >= attentionOps.size())
    return createStringError("the kernel has " + Twine(attentionOps.size()) +
                             " attentions, there is none with index " + Twine(attention));
  return membership(row, attention, op(attention).getMask());
}

Expected<std::vector<double>> Reference::membership(Row row, size_t attention,
                                                    Value mask) {
  if (!single)
    single = std::make_unique<Worker>(*this);
  std::vector<double> kept = single->membership(*attentionOps[attention], row, mask);
  if (single->failed())
    return createStringError(single->failure());
  return kept;
}
