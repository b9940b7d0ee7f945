//===- Attend.cpp - one query tile over its runs of key tiles -------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   start     Q scaled into the scratch, m = -inf, l = 0, O = 0 (or the sink)
//   each tile S = Q K^T, softmax, O += S V; full tiles without a predicate
//   finish    O / l and LSE = m ln 2 + log l
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "sparse_attn/abi.h"
#include <cmath>

using namespace mlir;
using namespace sparse_attn;

namespace {
/// The arguments of the function and the arrays of its scratch.
struct Frame {
  Frame(KernelBuilder &b, const KernelShape &shape, Value args) : args(args) {
    Type f32 = b.builder.getF32Type();
    values = b.pointerField(args, offsetof(sa_attend_args, values));
    scratch = b.pointerField(args, offsetof(sa_attend_args, scratch));
    batch = b.indexField(args, offsetof(sa_attend_args, b));
    head = b.indexField(args, offsetof(sa_attend_args, h));
    firstRow = b.indexField(args, offsetof(sa_attend_args, first_row));
    rows = b.indexField(args, offsetof(sa_attend_args, rows));
    keys = b.indexField(args, offsetof(sa_attend_args, keys));
    groups = b.ceilDiv(rows, shape.level.tileRows);
    auto array = [&](int64_t offset, ArrayRef<int64_t> sizes) {
      return b.arrayAt(b.advance(scratch, offset), sizes, f32);
    };
    queries = array(shape.queries, {shape.paddedRows, shape.headDim});
    maxima = array(shape.maxima, {shape.paddedRows});
    sums = array(shape.sums, {shape.paddedRows, shape.lanes});
    outputs = array(shape.outputs, {shape.paddedRows, shape.paddedValueDim});
  }
  Value args, values, scratch, batch, head, firstRow, rows, keys, groups;
  Value queries, maxima, sums, outputs;
};

/// The functions that a tile calls.
struct TileFunctions {
  func::FuncOp scores, softmaxFull, softmaxPartial, accumulate, accumulateNonFinite;
};
} // namespace

double AttendContext::getQueryFactor() const {
  double scale = plan.getScale().convertToDouble();
  return scale > 0 ? 1 : scale < 0 ? -1 : 0;
}
double AttendContext::getScoreFactor() const {
  double scale = plan.getScale().convertToDouble();
  return scale != 0 ? std::abs(scale) : 1;
}
double AttendContext::getLog2Factor() const {
  return plan.getModify().empty() ? getScoreFactor() * kLog2E : kLog2E;
}

/// Scaled queries, zeros below the last row: a register tile reads whole groups.
static void buildStart(KernelBuilder &b, const AttendContext &context,
                       const Frame &frame) {
  const KernelShape &shape = context.shape;
  block_plan::AttentionOp plan = context.plan;
  OpBuilder &builder = b.builder;
  Value q = b.viewOf(frame.values, context.ids.id(plan.getQ()), shape.element);
  Value factor = b.f32(context.getQueryFactor());
  b.loop(b.index(0), frame.rows, 1, [&](Value row) {
    b.loop(b.index(0), b.index(shape.headDim), 1, [&](Value d) {
      Value x = b.loadReal(q, {frame.batch, frame.head, b.add(frame.firstRow, row), d});
      b.store(arith::MulFOp::create(builder, b.loc, x, factor), frame.queries, {row, d});
    });
  });
  Value end = b.mul(frame.groups, shape.level.tileRows);
  b.loop(frame.rows, end, 1, [&](Value row) {
    b.loop(b.index(0), b.index(shape.headDim), 1,
           [&](Value d) { b.store(b.f32(0), frame.queries, {row, d}); });
  });

  Value lowest = b.f32(-kInfinity), zero = b.splat(b.f32(0), shape.lanes);
  Value maximum = lowest, sum = zero;
  if (plan.getSinks()) {
    // The sink is a key of weight exp(sink) and value 0.
    Value sinks =
        b.viewOf(frame.values, context.ids.id(plan.getSinks()), builder.getF32Type());
    Value logit = b.load(sinks, {b.index(0), b.index(0), b.index(0), frame.head});
    maximum = arith::MulFOp::create(builder, b.loc, logit, b.f32(kLog2E));
    Value none =
        arith::CmpFOp::create(builder, b.loc, arith::CmpFPredicate::OEQ, maximum, lowest);
    Value one = arith::SelectOp::create(builder, b.loc, none, b.f32(0), b.f32(1));
    sum = vector::InsertOp::create(builder, b.loc, one, zero, 0);
  }
  b.loop(b.index(0), end, 1, [&](Value row) {
    b.store(maximum, frame.maxima, {row});
    b.storeVector(sum, frame.sums, {row, b.index(0)});
    b.loop(b.index(0), b.index(shape.paddedValueDim), shape.lanes,
           [&](Value column) { b.storeVector(zero, frame.outputs, {row, column}); });
  });
}

static void buildTile(KernelBuilder &b, const AttendContext &context, const Frame &frame,
                      const TileFunctions &functions, Value tile, Value full, Value bits,
                      Value hops) {
  const KernelShape &shape = context.shape;
  Value firstKey = b.mul(tile, shape.keys);
  Value keys = b.min(b.index(shape.keys), b.sub(frame.keys, firstKey));
  Value packed = b.advance(b.pointerField(frame.args, offsetof(sa_attend_args, packed)),
                           b.mul(tile, shape.packedBytes));
  Value packedValues = b.advance(packed, shape.packedValues);
  Value scores = b.advance(frame.scratch, shape.scores);
  Value outputs = b.advance(frame.scratch, shape.outputs);
  auto call = [&](func::FuncOp function, ValueRange arguments) {
    func::CallOp::create(b.builder, b.loc, function, arguments);
  };
  call(functions.scores, {b.advance(frame.scratch, shape.queries), packed, scores,
                          frame.groups, b.ceilDiv(keys, shape.panel)});
  SmallVector<Value> softmax = {frame.args, frame.scratch, bits, hops,
                                frame.rows, firstKey,      keys};
  SmallVector<Value> product = {scores, packedValues, outputs, frame.groups, keys};
  b.branch(
      full,
      [&] {
        call(functions.softmaxFull, softmax);
        call(functions.accumulate, product);
      },
      [&] {
        call(functions.softmaxPartial, softmax);
        Value flag = LLVM::LoadOp::create(b.builder, b.loc, b.builder.getI32Type(),
                                          b.advance(packed, shape.packedFlag));
        Value finite = arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::eq,
                                             flag, b.i32(0));
        b.branch(
            finite, [&] { call(functions.accumulate, product); },
            [&] {
              product[3] = frame.rows;
              call(functions.accumulateNonFinite, product);
            });
      });
}

static void buildRuns(KernelBuilder &b, const AttendContext &context, const Frame &frame,
                      const TileFunctions &functions) {
  const KernelShape &shape = context.shape;
  Type i32 = b.builder.getI32Type();
  Value runs = b.pointerField(frame.args, offsetof(sa_attend_args, runs));
  Value bits = b.pointerField(frame.args, offsetof(sa_attend_args, bits));
  Value hops = b.pointerField(frame.args, offsetof(sa_attend_args, hops));
  Value count = b.indexField(frame.args, offsetof(sa_attend_args, run_count));
  b.loop(b.index(0), count, 1, [&](Value index) {
    Value run = b.advance(runs, b.mul(index, sizeof(sa_run)));
    Value first = b.toIndex(b.field(run, offsetof(sa_run, first_tile), i32));
    Value tiles = b.toIndex(b.field(run, offsetof(sa_run, tiles), i32));
    Value mask = b.field(run, offsetof(sa_run, mask), i32);
    Value hop = b.toIndex(b.field(run, offsetof(sa_run, hops), i32));
    Value full = arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::eq, mask,
                                       b.i32(SA_RUN_FULL));
    b.loop(b.index(0), tiles, 1, [&](Value t) {
      int64_t bitBytes = shape.rows * shape.keys / 8;
      int64_t hopBytes = shape.rows * shape.keys * sizeof(uint16_t);
      Value tileBits = b.advance(bits, b.mul(b.add(b.toIndex(mask), t), bitBytes));
      Value tileHops = b.advance(hops, b.mul(b.add(hop, t), hopBytes));
      buildTile(b, context, frame, functions, b.add(first, t), full, tileBits, tileHops);
    });
  });
}

static void buildFinish(KernelBuilder &b, const AttendContext &context,
                        const Frame &frame) {
  const KernelShape &shape = context.shape;
  block_plan::AttentionOp plan = context.plan;
  OpBuilder &builder = b.builder;
  Type f32 = builder.getF32Type();
  Value out = b.viewOf(frame.values, context.ids.id(plan.getOut()),
                       cast<RankedTensorType>(plan.getOut().getType()).getElementType());
  Value lse = b.viewOf(frame.values, context.ids.id(plan.getLse()), f32);
  VectorType vector = b.vectorType(shape.lanes);
  b.loop(b.index(0), frame.rows, 1, [&](Value row) {
    Value lanes = b.loadVector(frame.sums, {row, b.index(0)}, vector);
    Value sum = b.reduce(lanes, [&](Value x, Value y) -> Value {
      return arith::AddFOp::create(builder, b.loc, x, y);
    });
    Value empty =
        arith::CmpFOp::create(builder, b.loc, arith::CmpFPredicate::OEQ, sum, b.f32(0));
    Value inverse = arith::DivFOp::create(builder, b.loc, b.f32(1), sum);
    inverse = arith::SelectOp::create(builder, b.loc, empty, b.f32(0), inverse);
    Value target = b.add(frame.firstRow, row);
    auto scaled = [&](Value column) -> Value {
      Value x = b.loadVector(frame.outputs, {row, column}, vector);
      return arith::MulFOp::create(builder, b.loc, x, b.splat(inverse, shape.lanes));
    };
    int64_t whole = shape.valueDim / shape.lanes * shape.lanes;
    b.loop(b.index(0), b.index(whole), shape.lanes, [&](Value column) {
      b.storeRealVector(scaled(column), out, {frame.batch, frame.head, target, column},
                        shape.lanes);
    });
    if (int64_t rest = shape.valueDim - whole)
      b.storeRealVector(scaled(b.index(whole)), out,
                        {frame.batch, frame.head, target, b.index(whole)}, rest);

    Value maximum = b.load(frame.maxima, {row});
    Value log = math::LogOp::create(builder, b.loc, sum);
    Value scaledMaximum = arith::MulFOp::create(builder, b.loc, maximum, b.f32(kLn2));
    Value state = arith::AddFOp::create(builder, b.loc, scaledMaximum, log);
    state = arith::SelectOp::create(builder, b.loc, empty, b.f32(-kInfinity), state);
    b.store(state, lse, {b.index(0), frame.batch, frame.head, target});
  });
}

void sparse_attn::buildAttend(const AttendContext &context, StringRef symbol) {
  TileFunctions functions = {buildScores(context), buildSoftmax(context, /*full=*/true),
                             buildSoftmax(context, /*full=*/false),
                             buildAccumulate(context), buildAccumulateNonFinite(context)};
  Type pointer = LLVM::LLVMPointerType::get(context.module.getContext());
  buildFunction(context.module, context.plan->getLoc(), symbol, {pointer},
                /*isPrivate=*/false, [&](KernelBuilder &b, ValueRange arguments) {
                  Frame frame(b, context.shape, arguments[0]);
                  buildStart(b, context, frame);
                  buildRuns(b, context, frame, functions);
                  buildFinish(b, context, frame);
                });
}
