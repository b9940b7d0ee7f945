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

/// Sums that run side by side: enough to hide the latency of an addition, few enough
/// that the addresses of as many keys stay in registers.
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

/// Asks for share `index` of `shares` of the rows of a tile of K or V, from row `first`
/// of this one on, before they are needed: the products of one array run while the other
/// is fetched. Lines come in the order of memory, which the processor's own prefetching
/// follows too.
static void buildPrefetch(KernelBuilder &b, const Keys &keys, Value memref, int64_t first,
                          int64_t rows, int64_t dim, Value index, int64_t shares) {
  constexpr int64_t kLineBits = 512, kSecondLevel = 2;
  Type element = cast<MemRefType>(memref.getType()).getElementType();
  int64_t line = kLineBits / element.getIntOrFloatBitWidth();
  int64_t lines = llvm::divideCeil(dim, line);
  int64_t each = llvm::divideCeil(rows * lines, shares);
  for (int64_t n = 0; n < each; ++n) {
    Value number = b.add(b.mul(index, each), b.index(n));
    Value key = b.add(b.div(number, b.index(lines)), b.index(first));
    Value column = b.mul(b.remainder(number, lines), line);
    memref::PrefetchOp::create(b.builder, b.loc, memref, keys.at(key, column),
                               /*isWrite=*/false, kSecondLevel, /*isDataCache=*/true);
  }
}

/// The row of `matrix` at `place` in vectors of words, zeros past the last column.
static SmallVector<Value> loadRow(KernelBuilder &b, const KernelShape &shape,
                                  Value matrix, ArrayRef<Value> place) {
  SmallVector<Value> vectors;
  int64_t step = shape.lanes * shape.words.size;
  for (int64_t column = 0; column < shape.headDim; column += step) {
    SmallVector<Value> at(place);
    at.back() = b.index(column);
    vectors.push_back(b.loadWords(matrix, at, shape.words, shape.lanes,
                                  std::min(step, shape.headDim - column)));
  }
  return vectors;
}

/// x . y lane by lane, in two chains of sums.
static Value buildProducts(KernelBuilder &b, const KernelShape &shape, ArrayRef<Value> x,
                           ArrayRef<Value> y) {
  Value zero = b.splat(b.f32(0), shape.lanes);
  Value sums[2] = {zero, zero};
  for (auto [n, pair] : llvm::enumerate(llvm::zip_equal(x, y)))
    sums[n % 2] = b.multiplyAdd(std::get<0>(pair), std::get<1>(pair), sums[n % 2]);
  if (x.size() == 1)
    return sums[0];
  return arith::AddFOp::create(b.builder, b.loc, sums[0], sums[1]);
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
        int64_t lanes = shape.lanes;
        auto view = [&](Value tensor) {
          return b.viewOf(frame.values, context.ids.id(tensor), shape.element);
        };
        Value k = view(context.plan.getK()), v = view(context.plan.getV());
        auto scores = b.arrayAt(b.advance(frame.scratch, shape.scores),
                                {shape.paddedRows, shape.keys}, f32);
        auto products = b.arrayAt(b.advance(frame.scratch, shape.products),
                                  {shape.rowsInPlace, lanes, lanes}, f32);
        b.loop(b.index(0), keys.count, lanes, [&](Value first) {
          // Keys in the order of memory, each for all rows.
          b.loop(b.index(0), b.index(lanes), 1, [&](Value lane) {
            Value key = keys.clamp(b.add(first, lane));
            buildPrefetch(b, keys, v, 0, shape.keys, shape.valueDim, b.add(first, lane),
                          shape.keys);
            SmallVector<Value> columns = loadRow(b, shape, k, keys.at(key, b.index(0)));
            b.loop(b.index(0), frame.total, 1, [&](Value row) {
              SmallVector<Value> query =
                  loadRow(b, shape, frame.queries, {row, b.index(0)});
              b.storeVector(buildProducts(b, shape, query, columns), products,
                            {row, lane, b.index(0)});
            });
          });
          b.loop(b.index(0), frame.total, 1, [&](Value row) {
            SmallVector<Value> sums;
            for (int64_t lane = 0; lane < lanes; ++lane)
              sums.push_back(b.loadVector(products, {row, b.index(lane), b.index(0)},
                                          b.vectorType(lanes)));
            b.storeVector(buildSumsOfLanes(b, sums), scores, {row, first});
          });
        });
      });
}

namespace {
/// O += S V for one tile.
struct WeightedValues {
  KernelBuilder &b;
  const KernelShape &shape;
  const Frame &frame;
  const Keys &keys;
  Value values;
  Value next; ///< K, whose next tile is asked for meanwhile
  bool full;

  void addAllColumns(Value row, int64_t rows);

private:
  void addColumns(Value row, int64_t rows, Value first, int64_t vectors, int64_t last);
  SmallVector<Value> addKey(Value key, ValueRange sums, Value row, int64_t rows,
                            Value first, int64_t vectors, int64_t last);
};
} // namespace

/// `sums`, one for each row and vector of columns, with one key added.
SmallVector<Value> WeightedValues::addKey(Value key, ValueRange sums, Value row,
                                          int64_t rows, Value first, int64_t vectors,
                                          int64_t last) {
  int64_t lanes = shape.lanes;
  SmallVector<Value> columns, result;
  for (int64_t v = 0; v < vectors; ++v)
    columns.push_back(b.loadRealVector(values,
                                       keys.at(key, b.add(first, b.index(v * lanes))),
                                       lanes, v + 1 == vectors ? last : lanes));
  for (int64_t r = 0; r < rows; ++r) {
    Value weight =
        b.splat(b.loadReal(frame.weights, {b.add(row, b.index(r)), key}), lanes);
    // Unordered: a NaN weight is attended to.
    Value attended =
        full ? Value()
             : arith::CmpFOp::create(b.builder, b.loc, arith::CmpFPredicate::UNE, weight,
                                     b.splat(b.f32(0), lanes));
    for (int64_t v = 0; v < vectors; ++v) {
      Value before = sums[r * vectors + v];
      Value sum = vector::FMAOp::create(b.builder, b.loc, weight, columns[v], before);
      result.push_back(
          full ? sum : arith::SelectOp::create(b.builder, b.loc, attended, sum, before));
    }
  }
  return result;
}

/// Adds the values of all keys to `vectors` vectors of columns from `first` on, the last
/// of which has `last` lanes, of rows [row, row + rows).
void WeightedValues::addColumns(Value row, int64_t rows, Value first, int64_t vectors,
                                int64_t last) {
  SmallVector<Value> zeros(rows * vectors, b.splat(b.f32(0), shape.lanes));
  SmallVector<Value> sums =
      b.loop(b.index(0), keys.count, 1, zeros, [&](Value key, ValueRange sums) {
        Value done = b.mul(b.div(first, b.index(vectors * shape.lanes)), shape.keys);
        buildPrefetch(
            b, keys, next, shape.keys, shape.keys, shape.headDim, b.add(done, key),
            shape.keys * llvm::divideCeil(shape.paddedValueDim, vectors * shape.lanes));
        return addKey(key, sums, row, rows, first, vectors, last);
      });
  // Sums of one tile start at zero and reach O in one addition, as in packed tiles.
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t v = 0; v < vectors; ++v) {
      SmallVector<Value> at = {b.add(row, b.index(r)),
                               b.add(first, b.index(v * shape.lanes))};
      Value before = b.loadVector(frame.outputs, at, b.vectorType(shape.lanes));
      Value sum = arith::AddFOp::create(b.builder, b.loc, before, sums[r * vectors + v]);
      b.storeVector(sum, frame.outputs, at);
    }
}

void WeightedValues::addAllColumns(Value row, int64_t rows) {
  int64_t lanes = shape.lanes, vectors = shape.paddedValueDim / lanes;
  int64_t rest = shape.valueDim % lanes;
  int64_t wide = std::max<int64_t>(1, kChains / rows);
  int64_t whole = (rest ? vectors - 1 : vectors) / wide * wide;
  b.loop(b.index(0), b.index(whole * lanes), wide * lanes,
         [&](Value first) { addColumns(row, rows, first, wide, lanes); });
  if (whole < vectors)
    addColumns(row, rows, b.index(whole * lanes), vectors - whole, rest ? rest : lanes);
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
        auto view = [&](Value tensor) {
          return b.viewOf(frame.values, context.ids.id(tensor), shape.element);
        };
        WeightedValues sum = {
            b,   shape, frame, keys, view(context.plan.getV()), view(context.plan.getK()),
            full};
        constexpr int64_t kRows = 4;
        Value whole = b.mul(b.div(frame.total, b.index(kRows)), kRows);
        b.loop(b.index(0), whole, kRows,
               [&](Value row) { sum.addAllColumns(row, kRows); });
        b.loop(whole, frame.total, 1, [&](Value row) { sum.addAllColumns(row, 1); });
      });
}
