//===- RowState.cpp - the state of online softmax, row by row -------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   start     m = -inf, l = 0, O = 0
//   save      (l, O, m) of a share of the keys, for combine
//   combine   m' = max(m, m_s), l' = l 2^(m - m') + l_s 2^(m_s - m'), O alike
//   finish    O / l and LSE = m ln 2 + log l
//
// m is in units of log2 and l is kept as one sum for each lane. A learned sink is a
// key of value 0: it counts once, where the result is made.
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "sparse_attn/abi.h"
#include <cmath>

using namespace mlir;
using namespace sparse_attn;

Frame::Frame(KernelBuilder &b, const KernelShape &shape, Value args) : args(args) {
  Type f32 = b.builder.getF32Type();
  values = b.pointerField(args, offsetof(sa_attend_args, values));
  scratch = b.pointerField(args, offsetof(sa_attend_args, scratch));
  batch = b.indexField(args, offsetof(sa_attend_args, b));
  head = b.indexField(args, offsetof(sa_attend_args, h));
  kvHead = b.indexField(args, offsetof(sa_attend_args, kv_head));
  stack = b.indexField(args, offsetof(sa_attend_args, stack));
  firstRow = b.indexField(args, offsetof(sa_attend_args, first_row));
  rows = b.indexField(args, offsetof(sa_attend_args, rows));
  step = b.indexField(args, offsetof(sa_attend_args, step));
  list = b.pointerField(args, offsetof(sa_attend_args, list));
  listWeights = b.pointerField(args, offsetof(sa_attend_args, list_weights));
  total = b.mul(rows, stack);
  groups = b.ceilDiv(total, shape.level.tileRows);
  auto array = [&](int64_t offset, ArrayRef<int64_t> sizes) {
    return b.arrayAt(b.advance(scratch, offset), sizes, f32);
  };
  queries = b.arrayAt(b.advance(scratch, shape.queries),
                      {shape.paddedRows, shape.paddedHeadDim}, shape.words.element);
  weights = b.arrayAt(b.advance(scratch, shape.weights), {shape.paddedRows, shape.keys},
                      shape.words.element);
  maxima = array(shape.maxima, {shape.paddedRows});
  sums = array(shape.sums, {shape.paddedRows, shape.lanes});
  outputs = array(shape.outputs, {shape.paddedRows, shape.paddedValueDim});
}

Value TileKeys::rowOf(KernelBuilder &b, Value key) const {
  if (!list)
    return b.add(first, b.mul(key, step));
  Value element = b.advance(list, b.mul(b.add(first, key), sizeof(int32_t)));
  return b.toIndex(b.field(element, 0, b.builder.getI32Type()));
}

void Frame::forEachRow(KernelBuilder &b,
                       function_ref<void(Value, Value, Value)> body) const {
  b.loop(b.index(0), stack, 1, [&](Value level) {
    Value first = b.mul(level, rows), ownHead = b.add(head, level);
    b.loop(b.index(0), rows, 1,
           [&](Value index) { body(b.add(first, index), index, ownHead); });
  });
}

double AttendContext::getScale() const { return plan.getScale().convertToDouble(); }
double AttendContext::getLog2Factor() const {
  return plan.getModify().empty() ? getScale() * kLog2E : kLog2E;
}

/// The rows of A of the first product: Q as it is, and zeros below the last row, since a
/// register tile reads whole groups.
void sparse_attn::buildQueries(KernelBuilder &b, const AttendContext &context,
                               const Frame &frame) {
  const KernelShape &shape = context.shape;
  Value q = b.viewOf(frame.values, context.ids.id(context.plan.getQ()), shape.element);
  bool exact = shape.words.element == shape.element;
  frame.forEachRow(b, [&](Value row, Value index, Value head) {
    Value from = frame.tensorRow(b, index);
    b.forEachPart(shape.headDim, shape.lanes, [&](Value d, int64_t count) {
      SmallVector<Value> at = {frame.batch, head, from, d};
      Value x = exact ? b.loadPart(q, at, shape.lanes, count)
                      : b.loadRealVector(q, at, shape.lanes, count);
      b.storePart(x, frame.queries, {row, d}, llvm::alignTo(count, shape.words.size));
    });
  });
  b.loop(frame.total, b.mul(frame.groups, shape.level.tileRows), 1, [&](Value row) {
    b.loop(b.index(0), b.index(shape.paddedHeadDim), 1, [&](Value d) {
      b.store(b.zero(shape.words.element), frame.queries, {row, d});
    });
  });
}

void sparse_attn::buildStart(KernelBuilder &b, const AttendContext &context,
                             const Frame &frame) {
  const KernelShape &shape = context.shape;
  Value lowest = b.f32(-kInfinity), zero = b.splat(b.f32(0), shape.lanes);
  b.loop(b.index(0), b.mul(frame.groups, shape.level.tileRows), 1, [&](Value row) {
    b.store(lowest, frame.maxima, {row});
    b.storeVector(zero, frame.sums, {row, b.index(0)});
    b.loop(b.index(0), b.index(shape.paddedValueDim), shape.lanes,
           [&](Value column) { b.storeVector(zero, frame.outputs, {row, column}); });
  });
}

//===----------------------------------------------------------------------===//
// States in memory
//===----------------------------------------------------------------------===//

namespace {
/// The state of one row at `pointer`.
struct RowState {
  RowState(KernelBuilder &b, const KernelShape &shape, Value pointer) {
    auto array = [&](int64_t offset, int64_t size) {
      return b.arrayAt(b.advance(pointer, offset), {size}, b.builder.getF32Type());
    };
    sums = array(shape.stateSums, shape.lanes);
    outputs = array(shape.stateOutputs, shape.paddedValueDim);
    maximum = array(shape.stateMaximum, 1);
  }
  Value sums, outputs, maximum;
};
} // namespace

void sparse_attn::buildSaveState(KernelBuilder &b, const AttendContext &context,
                                 const Frame &frame, Value states) {
  const KernelShape &shape = context.shape;
  VectorType vector = b.vectorType(shape.lanes);
  b.loop(b.index(0), frame.total, 1, [&](Value row) {
    RowState state(b, shape, b.advance(states, b.mul(row, shape.stateBytes)));
    b.storeVector(b.loadVector(frame.sums, {row, b.index(0)}, vector), state.sums,
                  {b.index(0)});
    b.loop(b.index(0), b.index(shape.paddedValueDim), shape.lanes, [&](Value column) {
      b.storeVector(b.loadVector(frame.outputs, {row, column}, vector), state.outputs,
                    {column});
    });
    b.store(b.load(frame.maxima, {row}), state.maximum, {b.index(0)});
  });
}

/// Takes row `row` to the larger of its maximum and `other`, and returns by what its
/// sums, and those that belong to `other`, are to be multiplied.
static std::pair<Value, Value> buildRescale(KernelBuilder &b, const KernelShape &shape,
                                            const Frame &frame, Value row, Value other) {
  OpBuilder &builder = b.builder;
  auto spread = [&](Value scalar) { return b.splat(scalar, shape.lanes); };
  Value before = spread(b.load(frame.maxima, {row}));
  other = spread(other);
  Value after = b.maximum(other, before);
  // No key so far: subtract 0, and 2^-inf is 0.
  Value empty = arith::CmpFOp::create(builder, b.loc, arith::CmpFPredicate::OEQ, after,
                                      spread(b.f32(-kInfinity)));
  Value shift = arith::SelectOp::create(builder, b.loc, empty, spread(b.f32(0)), after);
  b.store(vector::ExtractOp::create(builder, b.loc, after, 0), frame.maxima, {row});
  return {b.exp2(arith::SubFOp::create(builder, b.loc, before, shift), shape.level),
          b.exp2(arith::SubFOp::create(builder, b.loc, other, shift), shape.level)};
}

/// Merges the state at `pointer` into the frame's.
static void buildMergeRow(KernelBuilder &b, const KernelShape &shape, const Frame &frame,
                          Value row, Value pointer) {
  VectorType vector = b.vectorType(shape.lanes);
  RowState state(b, shape, pointer);
  auto [own, others] =
      buildRescale(b, shape, frame, row, b.load(state.maximum, {b.index(0)}));
  auto merge = [&, own = own, others = others](Value into, Value from) -> Value {
    Value kept = arith::MulFOp::create(b.builder, b.loc, into, own);
    return vector::FMAOp::create(b.builder, b.loc, from, others, kept);
  };
  SmallVector<Value> at = {row, b.index(0)};
  b.storeVector(merge(b.loadVector(frame.sums, at, vector),
                      b.loadVector(state.sums, {b.index(0)}, vector)),
                frame.sums, at);
  b.loop(b.index(0), b.index(shape.paddedValueDim), shape.lanes, [&](Value column) {
    b.storeVector(merge(b.loadVector(frame.outputs, {row, column}, vector),
                        b.loadVector(state.outputs, {column}, vector)),
                  frame.outputs, {row, column});
  });
}

//===----------------------------------------------------------------------===//
// The result
//===----------------------------------------------------------------------===//

/// Adds each head's sink to the sum of its rows: a key of weight exp(sink), value 0.
static void buildAddSinks(KernelBuilder &b, const AttendContext &context,
                          const Frame &frame) {
  const KernelShape &shape = context.shape;
  OpBuilder &builder = b.builder;
  Value sinks = b.viewOf(frame.values, context.ids.id(context.plan.getSinks()),
                         builder.getF32Type());
  VectorType vector = b.vectorType(shape.lanes);
  frame.forEachRow(b, [&](Value row, Value, Value head) {
    Value logit = b.load(sinks, {b.index(0), b.index(0), b.index(0), head});
    Value sink = arith::MulFOp::create(builder, b.loc, logit, b.f32(kLog2E));
    auto [own, weight] = buildRescale(b, shape, frame, row, sink);
    auto decay = [&, own = own](Value memref, ValueRange at) -> Value {
      return arith::MulFOp::create(builder, b.loc, b.loadVector(memref, at, vector), own);
    };
    SmallVector<Value> at = {row, b.index(0)};
    Value sums = decay(frame.sums, at);
    Value first = vector::ExtractOp::create(builder, b.loc, sums, 0);
    Value own0 = vector::ExtractOp::create(builder, b.loc, weight, 0);
    first = arith::AddFOp::create(builder, b.loc, first, own0);
    b.storeVector(vector::InsertOp::create(builder, b.loc, first, sums, 0), frame.sums,
                  at);
    b.loop(b.index(0), b.index(shape.paddedValueDim), shape.lanes, [&](Value column) {
      b.storeVector(decay(frame.outputs, {row, column}), frame.outputs, {row, column});
    });
  });
}

void sparse_attn::buildFinish(KernelBuilder &b, const AttendContext &context,
                              const Frame &frame) {
  const KernelShape &shape = context.shape;
  block_plan::AttentionOp plan = context.plan;
  OpBuilder &builder = b.builder;
  Type f32 = builder.getF32Type();
  Value out = b.viewOf(frame.values, context.ids.id(plan.getOut()),
                       cast<RankedTensorType>(plan.getOut().getType()).getElementType());
  Value lse = b.viewOf(frame.values, context.ids.id(plan.getLse()), f32);
  VectorType vector = b.vectorType(shape.lanes);
  if (plan.getSinks())
    buildAddSinks(b, context, frame);
  frame.forEachRow(b, [&](Value row, Value index, Value head) {
    Value lanes = b.loadVector(frame.sums, {row, b.index(0)}, vector);
    Value sum = b.reduce(lanes, [&](Value x, Value y) -> Value {
      return arith::AddFOp::create(builder, b.loc, x, y);
    });
    Value empty =
        arith::CmpFOp::create(builder, b.loc, arith::CmpFPredicate::OEQ, sum, b.f32(0));
    Value inverse = arith::DivFOp::create(builder, b.loc, b.f32(1), sum);
    inverse = arith::SelectOp::create(builder, b.loc, empty, b.f32(0), inverse);
    Value target = frame.tensorRow(b, index);
    auto scaled = [&](Value column) -> Value {
      Value x = b.loadVector(frame.outputs, {row, column}, vector);
      return arith::MulFOp::create(builder, b.loc, x, b.splat(inverse, shape.lanes));
    };
    int64_t whole = shape.valueDim / shape.lanes * shape.lanes;
    b.loop(b.index(0), b.index(whole), shape.lanes, [&](Value column) {
      b.storeRealVector(scaled(column), out, {frame.batch, head, target, column},
                        shape.lanes);
    });
    if (int64_t rest = shape.valueDim - whole)
      b.storeRealVector(scaled(b.index(whole)), out,
                        {frame.batch, head, target, b.index(whole)}, rest);

    Value maximum = b.load(frame.maxima, {row});
    Value log = math::LogOp::create(builder, b.loc, sum);
    Value scaledMaximum = arith::MulFOp::create(builder, b.loc, maximum, b.f32(kLn2));
    Value state = arith::AddFOp::create(builder, b.loc, scaledMaximum, log);
    state = arith::SelectOp::create(builder, b.loc, empty, b.f32(-kInfinity), state);
    b.store(state, lse, {b.index(0), frame.batch, head, target});
  });
}

/// combine(sa_attend_args): the result of the states that shares of the keys left.
void sparse_attn::buildCombine(const AttendContext &context, StringRef symbol) {
  const KernelShape &shape = context.shape;
  Type pointer = LLVM::LLVMPointerType::get(context.module.getContext());
  buildFunction(context.module, context.plan->getLoc(), symbol, {pointer},
                /*isPrivate=*/false, [&](KernelBuilder &b, ValueRange arguments) {
                  Frame frame(b, shape, arguments[0]);
                  buildStart(b, context, frame);
                  Value states =
                      b.pointerField(frame.args, offsetof(sa_attend_args, states));
                  Value count =
                      b.indexField(frame.args, offsetof(sa_attend_args, state_count));
                  // Always in the same order.
                  b.loop(b.index(0), count, 1, [&](Value part) {
                    b.loop(b.index(0), frame.total, 1, [&](Value row) {
                      Value number = b.add(b.mul(part, frame.total), row);
                      buildMergeRow(b, shape, frame, row,
                                    b.advance(states, b.mul(number, shape.stateBytes)));
                    });
                  });
                  buildFinish(b, context, frame);
                });
}
