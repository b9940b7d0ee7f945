//===- RowStates.cpp - the online softmax of a thread's rows --------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// As on the CPU (PlanToKernel/Softmax.cpp), with s in units of log2:
//
//   m' = max(m, max_j s_j)          l' = l 2^(m - m') + sum_j 2^(s_j - m')
//   S_j <- 2^(s_j - m')             O  <- O 2^(m - m')
//
// The four lanes of a quad share a row. They agree on m for every tile; l stays apart
// until the end.
//
//===----------------------------------------------------------------------===//

#include "AttendGPU.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "sparse_attn/gpu_abi.h"

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// The state
//===----------------------------------------------------------------------===//

RowStates RowStates::start(GPUBuilder &b, const GPUShape &shape) {
  RowStates states;
  Value lowest = b.f32(-kInfinity), zero = b.f32(0);
  states.maxima.assign(shape.rowTiles, {lowest, lowest});
  states.sums.assign(shape.rowTiles, {zero, zero});
  states.outputs.assign(shape.rowTiles, Values(shape.paddedValueDim / 2, zero));
  return states;
}

Values RowStates::flatten() const {
  Values values;
  for (const auto &pairs : {maxima, sums})
    for (const auto &pair : pairs)
      values.append({pair[0], pair[1]});
  for (const Values &row : outputs)
    llvm::append_range(values, row);
  return values;
}

RowStates RowStates::restore(const GPUShape &shape, ValueRange values) {
  RowStates states;
  for (auto *pairs : {&states.maxima, &states.sums})
    for (int64_t tile = 0; tile < shape.rowTiles; ++tile) {
      pairs->push_back({values[0], values[1]});
      values = values.drop_front(2);
    }
  for (int64_t tile = 0; tile < shape.rowTiles; ++tile) {
    states.outputs.emplace_back(values.take_front(shape.paddedValueDim / 2));
    values = values.drop_front(shape.paddedValueDim / 2);
  }
  return states;
}

//===----------------------------------------------------------------------===//
// A tile
//===----------------------------------------------------------------------===//

Value sparse_attn::combineQuad(GPUBuilder &b, Value value,
                               function_ref<Value(Value, Value)> combine) {
  for (int64_t lanes : {1, 2})
    value = combine(value, b.shuffleXor(value, lanes));
  return value;
}

/// Calls `body` for the values of a row of fragments.
static void forEachOfRow(Values &values, int64_t half, function_ref<void(Value &)> body) {
  for (size_t i = 2 * half; i < values.size(); i += 4) {
    body(values[i]);
    body(values[i + 1]);
  }
}

void RowStates::combineSums(GPUBuilder &b) {
  for (auto &pair : sums)
    for (Value &sum : pair)
      sum = combineQuad(b, sum, [&](Value x, Value y) { return b.addF(x, y); });
}

Value sparse_attn::getShift(GPUBuilder &b, Value maximum) {
  return b.select(b.eqF(maximum, b.f32(-kInfinity)), b.f32(0), maximum);
}

Value sparse_attn::buildDecay(GPUBuilder &b, Value sum, Value factor) {
  Value decayed = b.mulF(sum, factor);
  Value isInfinite = b.eqF(math::AbsFOp::create(b.builder, b.loc, sum), b.f32(kInfinity));
  return b.select(isInfinite, sum, decayed);
}

/// By what sums shrink where the maximum grows.
static Value buildShrinking(GPUBuilder &b, Value before, Value maximum) {
  return b.power2OrZero(b.subF(before, getShift(b, maximum)));
}

void sparse_attn::buildRescale(GPUBuilder &b, const RowValues &before,
                               const RowValues &maxima, Fragments &outputs) {
  Value grown = b.truth(false);
  Values flat;
  for (auto [tile, row] : llvm::enumerate(outputs)) {
    for (int64_t half = 0; half < 2; ++half)
      grown = b.lor(grown, b.lnot(b.eqF(before[tile][half], maxima[tile][half])));
    llvm::append_range(flat, row);
  }
  flat = b.choose(
      b.ne(b.ballot(grown), b.i32(0)),
      [&] {
        Fragments scaled = outputs;
        Values result;
        for (auto [tile, row] : llvm::enumerate(scaled)) {
          for (int64_t half = 0; half < 2; ++half) {
            Value factor = buildShrinking(b, before[tile][half], maxima[tile][half]);
            forEachOfRow(row, half,
                         [&](Value &output) { output = b.mulF(output, factor); });
          }
          llvm::append_range(result, row);
        }
        return result;
      },
      [&] { return flat; });
  size_t at = 0;
  for (Values &row : outputs)
    for (Value &output : row)
      output = flat[at++];
}

// Weights may reach 2^8, which is far from any type's limit, before the maximum that they
// are relative to is raised and O is scaled. That is rare after the first few tiles.
static constexpr double kHeadroom = 8;

void sparse_attn::buildSoftmax(GPUBuilder &b, const GPUContext &context,
                               Fragments &scores, RowStates &states) {
  Value factor = b.f32(context.getLog2Factor());
  for (int64_t tile = 0; tile < context.shape.rowTiles; ++tile)
    for (int64_t half = 0; half < 2; ++half) {
      Value &maximum = states.maxima[tile][half], &sum = states.sums[tile][half];
      Value highest = b.f32(-kInfinity);
      forEachOfRow(scores[tile], half,
                   [&](Value &score) { highest = b.maxF(highest, score); });
      highest = combineQuad(b, highest, [&](Value x, Value y) { return b.maxF(x, y); });
      Value before = maximum;
      Value reached = b.mulF(highest, factor);
      Value isFar = arith::CmpFOp::create(b.builder, b.loc, arith::CmpFPredicate::OGT,
                                          reached, b.addF(before, b.f32(kHeadroom)));
      maximum = b.select(isFar, reached, before);
      Value negative = arith::NegFOp::create(b.builder, b.loc, getShift(b, maximum));
      Value decay = buildShrinking(b, before, maximum);
      sum = b.mulF(sum, decay);
      forEachOfRow(scores[tile], half, [&](Value &score) {
        score = b.power2OrZero(b.fma(score, factor, negative));
        sum = b.addF(sum, score);
      });
    }
}

//===----------------------------------------------------------------------===//
// The end
//===----------------------------------------------------------------------===//

static constexpr int64_t kFloat = sizeof(float);

StateRow::StateRow(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                   Value slot, Value row) {
  const GPUShape &shape = context.shape;
  Value states = b.toGlobal(b.pointerField(frame.args, offsetof(sa_gpu_args, states)));
  states = b.element(states, slot, shape.rows * (shape.valueDim + 2) * kFloat);
  outputs = b.element(states, row, shape.valueDim * kFloat);
  Value maxima = b.offset(states, b.i32(shape.rows * shape.valueDim * kFloat));
  maximum = b.element(maxima, row, kFloat);
  sum = b.offset(maximum, b.i32(shape.rows * kFloat));
}

static void buildWriteState(GPUBuilder &b, const GPUContext &context,
                            const GPUFrame &frame, const RowResult &result, Value isFirst,
                            const RowColumns &columns) {
  StateRow state(b, context, frame, frame.slot, result.row.number);
  auto store = [&](Value value, Value pointer) {
    b.storeAt(value, pointer, b.i32(0), kFloat);
  };
  buildStoreColumns(b, context, columns, result.outputs, state.outputs,
                    b.builder.getF32Type());
  b.branch(isFirst, [&] {
    store(result.maximum, state.maximum);
    store(result.sum, state.sum);
  });
}

/// Counts exp(sink) in a row's m and l.
static void buildAddSink(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                         RowResult &result) {
  TypedValue<RankedTensorType> sinks =
      cast<TypedValue<RankedTensorType>>(context.plan.getSinks());
  Value view =
      b.viewOf(frame.values, context.ids.id(sinks), sinks.getType().getElementType());
  Value zero = b.index(0);
  Value sink = b.loadReal(view, {zero, zero, zero, b.toIndex(result.row.head)});
  sink = b.mulF(sink, b.f32(kLog2E));
  Value before = result.maximum;
  result.maximum = b.maxF(before, sink);
  Value shift = getShift(b, result.maximum);
  Value decay = b.power2(b.subF(before, shift));
  result.sum = b.fma(result.sum, decay, b.power2(b.subF(sink, shift)));
  for (Value &output : result.outputs)
    output = buildDecay(b, output, decay);
}

void sparse_attn::buildWriteResult(GPUBuilder &b, const GPUContext &context,
                                   const GPUFrame &frame, RowResult result, Value isFirst,
                                   const RowColumns &columns) {
  block_plan::AttentionOp plan = context.plan;
  if (plan.getSinks())
    buildAddSink(b, context, frame, result);
  Value empty = b.eqF(result.sum, b.f32(0));
  Value inverse = arith::DivFOp::create(b.builder, b.loc, b.f32(1), result.sum);
  inverse = b.select(empty, b.f32(0), inverse);
  Type element = cast<RankedTensorType>(plan.getOut().getType()).getElementType();
  Value isPadding = b.ge(result.row.index, frame.loadRows(b));
  for (Value &output : result.outputs)
    output = b.select(isPadding, b.f32(0), b.mulF(output, inverse));
  GPUTensor out(b, frame, context.ids.id(plan.getOut()),
                element.getIntOrFloatBitWidth() / 8);
  Value row = out.row(b, frame.batch, result.row.head, result.row.index);
  buildStoreColumns(b, context, columns, result.outputs, row, element);
  b.branch(isFirst, [&] {
    Value lse =
        b.viewOf(frame.values, context.ids.id(plan.getLse()), b.builder.getF32Type());
    Value value = b.mulF(b.addF(result.maximum, b.log2(result.sum)), b.f32(kLn2));
    // A score of inf has no weight that is a number.
    Value isInfinite = b.eqF(result.maximum, b.f32(kInfinity));
    value = b.select(isInfinite, b.f32(kInfinity), value);
    value = b.select(b.lor(empty, isPadding), b.f32(-kInfinity), value);
    b.store(value, lse,
            {b.index(0), b.toIndex(frame.batch), b.toIndex(result.row.head),
             b.toIndex(result.row.index)});
  });
}

void sparse_attn::buildFinishRow(GPUBuilder &b, const GPUContext &context,
                                 const GPUFrame &frame, const RowResult &result,
                                 Value isFirst, const RowColumns &columns) {
  b.branch(
      b.ge(frame.slot, b.i32(0)),
      [&] { buildWriteState(b, context, frame, result, isFirst, columns); },
      [&] { buildWriteResult(b, context, frame, result, isFirst, columns); });
}

void sparse_attn::buildFinish(GPUBuilder &b, const GPUContext &context,
                              const GPUFrame &frame, const RowStates &states, Value first,
                              const RowValues &leftOut) {
  Value isFirst = b.eq(frame.member, b.i32(0));
  RowColumns columns = RowColumns::ofFragments(b, context.shape, frame, first,
                                               states.outputs[0].size() / 4);
  for (int64_t tile = 0; tile < context.shape.rowTiles; ++tile)
    for (int64_t half = 0; half < 2; ++half) {
      RowResult result;
      result.row = frame.fragmentRow(b, context.shape, tile, half);
      result.maximum = states.maxima[tile][half];
      result.sum = states.sums[tile][half];
      Values outputs = states.outputs[tile];
      forEachOfRow(outputs, half,
                   [&](Value &output) { result.outputs.push_back(output); });
      Value wanted = result.row.inTile;
      if (!leftOut.empty())
        wanted = b.land(wanted, b.lnot(leftOut[tile][half]));
      b.branch(wanted,
               [&] { buildFinishRow(b, context, frame, result, isFirst, columns); });
    }
}
