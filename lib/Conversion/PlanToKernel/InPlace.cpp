//===- InPlace.cpp - products of few rows with unpacked keys --------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   scores       S[row, key]  = Q[row] . K[key]          K where the tensor is
//   accumulate   O[row]      += sum_key S[row, key] V[key]
//
// With few rows attention is bound by reading K and V: each element is read once from
// memory and used by every row out of the first-level cache. Nothing is transposed;
// scores of a vector of keys are dot products along D, whose sums over lanes are taken
// for all of these keys at once.
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"
#include "sparse_attn/abi.h"

using namespace mlir;
using namespace sparse_attn;

/// Dot products that run side by side: enough to hide the latency of an addition,
/// few enough that the addresses of their keys stay in registers.
static constexpr int64_t kChains = 8;

/// result[i] = the sum over lanes of vectors[i]: at stage s, vectors i and i + s become
/// one, in which bit s of a lane says which of them its partial sum belongs to.
static Value buildSumsOfLanes(KernelBuilder &b, SmallVector<Value> vectors) {
  int64_t lanes = vectors.size();
  for (int64_t s = 1; s < lanes; s *= 2) {
    SmallVector<int64_t> own, other;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      int64_t from = lane & s ? lanes : 0;
      own.push_back(from + lane);
      other.push_back(from + (lane ^ s));
    }
    for (int64_t i = 0; i < lanes; i += 2 * s) {
      Value x = vectors[i], y = vectors[i + s];
      vectors[i] = arith::AddFOp::create(
          b.builder, b.loc, vector::ShuffleOp::create(b.builder, b.loc, x, y, own),
          vector::ShuffleOp::create(b.builder, b.loc, x, y, other));
    }
  }
  return vectors.front();
}

namespace {
/// The keys that one call reads.
struct Keys {
  KernelBuilder &b;
  const Frame &frame;
  Value firstKey, count;

  /// Indices of K or V for a key of the tile.
  SmallVector<Value> at(Value key, Value column) const {
    return {frame.batch, frame.kvHead, b.add(firstKey, b.mul(key, frame.step)), column};
  }
  /// The same for a key that may lie past the last one: then that of the last one, whose
  /// score is thrown away.
  Value clamp(Value key) const { return b.min(key, b.sub(count, b.index(1))); }
};
} // namespace

/// The columns [0, dim) in whole vectors, then what is left: body(column, lanes used).
static void forEachVector(KernelBuilder &b, int64_t dim, int64_t lanes,
                          function_ref<void(Value, int64_t)> body) {
  int64_t whole = dim / lanes * lanes;
  b.loop(b.index(0), b.index(whole), lanes, [&](Value column) { body(column, lanes); });
  if (whole < dim)
    body(b.index(whole), dim - whole);
}

/// The dot products of row `row` with the rows of `matrix` at `places`.
static SmallVector<Value> buildDots(KernelBuilder &b, const KernelShape &shape,
                                    const Frame &frame, Value row, Value matrix,
                                    ArrayRef<SmallVector<Value>> places) {
  Value zero = b.splat(b.f32(0), shape.lanes);
  auto step = [&](Value column, int64_t count, ValueRange sums) {
    Value query = b.loadRealVector(frame.queries, {row, column}, shape.lanes, count);
    SmallVector<Value> next;
    for (auto [place, sum] : llvm::zip_equal(places, sums)) {
      SmallVector<Value> at = place;
      at.back() = column;
      Value key = b.loadRealVector(matrix, at, shape.lanes, count);
      next.push_back(vector::FMAOp::create(b.builder, b.loc, query, key, sum));
    }
    return next;
  };
  int64_t whole = shape.headDim / shape.lanes * shape.lanes;
  SmallVector<Value> sums = b.loop(
      b.index(0), b.index(whole), shape.lanes, SmallVector<Value>(places.size(), zero),
      [&](Value column, ValueRange sums) { return step(column, shape.lanes, sums); });
  if (whole < shape.headDim)
    sums = step(b.index(whole), shape.headDim - whole, sums);
  return sums;
}

/// scores(sa_attend_args, first key, keys)
func::FuncOp sparse_attn::buildScoresInPlace(const AttendContext &context) {
  const KernelShape &shape = context.shape;
  OpBuilder types(context.module.getContext());
  Type pointer = LLVM::LLVMPointerType::get(types.getContext()), i = types.getIndexType();
  return buildFunction(
      context.module, context.plan->getLoc(), context.prefix + "_scores_in_place",
      {pointer, i, i}, /*isPrivate=*/true, [&](KernelBuilder &b, ValueRange arguments) {
        Frame frame(b, shape, arguments[0]);
        Keys keys = {b, frame, arguments[1], arguments[2]};
        Type f32 = b.builder.getF32Type();
        auto scores = b.arrayAt(b.advance(frame.scratch, shape.scores),
                                {shape.paddedRows, shape.keys}, f32);
        Value k =
            b.viewOf(frame.values, context.ids.id(context.plan.getK()), shape.element);
        // Keys of 16 bits become f32 once for all rows.
        bool convert = !shape.element.isF32();
        auto block = b.arrayAt(b.advance(frame.scratch, shape.block),
                               {shape.lanes, shape.headDim}, f32);
        b.loop(b.index(0), keys.count, shape.lanes, [&](Value first) {
          SmallVector<SmallVector<Value>> places;
          for (int64_t n = 0; n < shape.lanes; ++n) {
            Value key = keys.clamp(b.add(first, b.index(n)));
            places.push_back(keys.at(key, b.index(0)));
            if (!convert)
              continue;
            forEachVector(
                b, shape.headDim, shape.lanes, [&](Value column, int64_t count) {
                  places.back().back() = column;
                  Value x = b.loadRealVector(k, places.back(), shape.lanes, count);
                  b.storeRealVector(x, block, {b.index(n), column}, count);
                });
            places.back() = {b.index(n), b.index(0)};
          }
          Value matrix = convert ? Value(block) : Value(k);
          b.loop(b.index(0), frame.total, 1, [&](Value row) {
            SmallVector<Value> sums;
            int64_t chains = std::min(kChains, shape.lanes);
            for (int64_t n = 0; n < shape.lanes; n += chains)
              llvm::append_range(sums, buildDots(b, shape, frame, row, matrix,
                                                 ArrayRef(places).slice(n, chains)));
            b.storeVector(buildSumsOfLanes(b, sums), scores, {row, first});
          });
        });
      });
}

/// Adds the weighted values of all keys to `columns` vectors, the first at `first`, of
/// rows [row, row + rows).
static void buildRowsInPlace(KernelBuilder &b, const KernelShape &shape,
                             const Frame &frame, const Keys &keys, Value values,
                             Value weights, bool full, Value row, int64_t rows,
                             Value first, int64_t columns, int64_t lastCount) {
  OpBuilder &builder = b.builder;
  Value zero = b.splat(b.f32(0), shape.lanes);
  auto column = [&](int64_t v) { return b.add(first, b.index(v * shape.lanes)); };
  SmallVector<Value> sums = b.loop(
      b.index(0), keys.count, 1, SmallVector<Value>(rows * columns, zero),
      [&](Value key, ValueRange carried) {
        SmallVector<Value> vectors, next;
        for (int64_t v = 0; v < columns; ++v)
          vectors.push_back(b.loadRealVector(values, keys.at(key, column(v)), shape.lanes,
                                             v + 1 == columns ? lastCount : shape.lanes));
        for (int64_t r = 0; r < rows; ++r) {
          Value weight =
              b.splat(b.load(weights, {b.add(row, b.index(r)), key}), shape.lanes);
          // Unordered: a NaN weight is attended to.
          Value attended;
          if (!full)
            attended = arith::CmpFOp::create(builder, b.loc, arith::CmpFPredicate::UNE,
                                             weight, zero);
          for (int64_t v = 0; v < columns; ++v) {
            Value before = carried[r * columns + v];
            Value sum = vector::FMAOp::create(builder, b.loc, weight, vectors[v], before);
            next.push_back(
                full ? sum
                     : arith::SelectOp::create(builder, b.loc, attended, sum, before));
          }
        }
        return next;
      });
  // Sums of one tile start at zero and reach O in one addition, as in packed tiles.
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t v = 0; v < columns; ++v) {
      SmallVector<Value> at = {b.add(row, b.index(r)), column(v)};
      Value before = b.loadVector(frame.outputs, at, b.vectorType(shape.lanes));
      Value sum = arith::AddFOp::create(builder, b.loc, before, sums[r * columns + v]);
      b.storeVector(sum, frame.outputs, at);
    }
}

/// accumulate(sa_attend_args, first key, keys). Unless the tile is full, a weight of 0
/// takes the value out: 0 * NaN must not reach a row that leaves the key out.
func::FuncOp sparse_attn::buildAccumulateInPlace(const AttendContext &context,
                                                 bool full) {
  const KernelShape &shape = context.shape;
  OpBuilder types(context.module.getContext());
  Type pointer = LLVM::LLVMPointerType::get(types.getContext()), i = types.getIndexType();
  return buildFunction(
      context.module, context.plan->getLoc(),
      context.prefix + (full ? "_accumulate_in_place" : "_accumulate_masked_in_place"),
      {pointer, i, i}, /*isPrivate=*/true, [&](KernelBuilder &b, ValueRange arguments) {
        Frame frame(b, shape, arguments[0]);
        Keys keys = {b, frame, arguments[1], arguments[2]};
        auto weights = b.arrayAt(b.advance(frame.scratch, shape.scores),
                                 {shape.paddedRows, shape.keys}, b.builder.getF32Type());
        Value v =
            b.viewOf(frame.values, context.ids.id(context.plan.getV()), shape.element);
        int64_t lanes = shape.lanes, vectors = shape.paddedValueDim / lanes;
        int64_t rest = shape.valueDim % lanes ? shape.valueDim % lanes : lanes;
        auto rowsAt = [&](Value row, int64_t rows) {
          // As many accumulators as a register tile of the level has.
          int64_t wide = std::max<int64_t>(1, shape.level.tileRows *
                                                  shape.level.tileVectors / rows / 2);
          int64_t whole = (shape.valueDim % lanes ? vectors - 1 : vectors) / wide;
          auto columns = [&](Value first, int64_t count, int64_t last) {
            buildRowsInPlace(b, shape, frame, keys, v, weights, full, row, rows, first,
                             count, last);
          };
          b.loop(b.index(0), b.index(whole * wide * lanes), wide * lanes,
                 [&](Value first) { columns(first, wide, lanes); });
          if (int64_t left = vectors - whole * wide)
            columns(b.index(whole * wide * lanes), left, rest);
        };
        constexpr int64_t kRows = 4;
        Value whole = b.mul(b.div(frame.total, b.index(kRows)), kRows);
        b.loop(b.index(0), whole, kRows, [&](Value row) { rowsAt(row, kRows); });
        b.loop(whole, frame.total, 1, [&](Value row) { rowsAt(row, 1); });
      });
}
