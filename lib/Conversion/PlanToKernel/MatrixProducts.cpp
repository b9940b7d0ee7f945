//===- MatrixProducts.cpp - the micro-kernels of both products ------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   scores       S[rows, keys]      = Q[rows, D]    x  K^T, packed in panels
//   accumulate   O[rows, valueDim] += P[rows, keys] x  V, packed in rows
//
// Both keep a register tile of tileRows x (tileVectors * lanes) accumulators and
// walk the contracted axis with one vector load of B for each column of the tile
// and one broadcast of A for each of its rows.
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"

using namespace mlir;
using namespace sparse_attn;

/// accumulators[row][vector] += a(row, k) * b(k, vector) for k in [0, steps).
static SmallVector<Value> buildRegisterTile(KernelBuilder &b, int64_t rows,
                                            int64_t vectors, int64_t lanes, Value steps,
                                            ArrayRef<Value> init,
                                            function_ref<Value(int64_t, Value)> a,
                                            function_ref<Value(Value, int64_t)> bVector) {
  return b.loop(b.index(0), steps, 1, init, [&](Value k, ValueRange accumulators) {
    SmallVector<Value> columns;
    for (int64_t v = 0; v < vectors; ++v)
      columns.push_back(bVector(k, v));
    SmallVector<Value> next;
    for (int64_t r = 0; r < rows; ++r) {
      Value row = b.splat(a(r, k), lanes);
      for (int64_t v = 0; v < vectors; ++v)
        next.push_back(vector::FMAOp::create(b.builder, b.loc, row, columns[v],
                                             accumulators[r * vectors + v]));
    }
    return next;
  });
}

/// Asks for `count` lines from line `first` after `pointer` before they are needed.
static void buildPrefetch(KernelBuilder &b, Value pointer, Value first, Value count) {
  constexpr int64_t kLineBytes = 64, kRead = 0, kSecondLevel = 2, kData = 1;
  Value start = b.advance(pointer, b.mul(first, kLineBytes));
  b.loop(b.index(0), count, 1, [&](Value line) {
    LLVM::Prefetch::create(b.builder, b.loc, b.advance(start, b.mul(line, kLineBytes)),
                           kRead, kSecondLevel, kData);
  });
}

/// scores(queries, packed tile, scores, row groups, panels, tile to ask for next)
func::FuncOp sparse_attn::buildScores(const AttendContext &context) {
  const KernelShape &shape = context.shape;
  OpBuilder types(context.module.getContext());
  Type pointer = LLVM::LLVMPointerType::get(types.getContext()), i = types.getIndexType();
  return buildFunction(
      context.module, context.plan->getLoc(), context.prefix + "_scores",
      {pointer, pointer, pointer, i, i, pointer}, /*isPrivate=*/true,
      [&](KernelBuilder &b, ValueRange arguments) {
        Type f32 = b.builder.getF32Type();
        int64_t mr = shape.level.tileRows, nv = shape.level.tileVectors;
        VectorType vector = b.vectorType(shape.lanes);
        auto queries = b.arrayAt(arguments[0], {shape.paddedRows, shape.headDim}, f32);
        auto keys =
            b.arrayAt(b.advance(arguments[1], shape.packedKeys),
                      {shape.keys / shape.panel, shape.headDim, shape.panel}, f32);
        // A long row's tiles come from memory: the next one is asked for while this
        // one is worked on, a share of its lines with every register tile.
        Value nextTile = arguments[5];
        Value registerTiles = b.mul(arguments[3], shape.keys / shape.panel);
        Value lines = b.ceilDiv(b.index(shape.packedBytes / 64), registerTiles);
        auto scores = b.arrayAt(arguments[2], {shape.paddedRows, shape.keys}, f32);
        Value zero = b.splat(b.f32(0), shape.lanes);
        // A panel of K stays in the first-level cache while all rows pass.
        b.loop(b.index(0), arguments[4], 1, [&](Value panel) {
          b.loop(b.index(0), arguments[3], 1, [&](Value group) {
            Value done = b.add(b.mul(panel, arguments[3]), group);
            buildPrefetch(b, nextTile, b.mul(done, lines), lines);
            Value row = b.mul(group, mr);
            SmallVector<Value> tile = buildRegisterTile(
                b, mr, nv, shape.lanes, b.index(shape.headDim),
                SmallVector<Value>(mr * nv, zero),
                [&](int64_t r, Value d) {
                  return b.load(queries, {b.add(row, b.index(r)), d});
                },
                [&](Value d, int64_t v) {
                  return b.loadVector(keys, {panel, d, b.index(v * shape.lanes)}, vector);
                });
            Value column = b.mul(panel, shape.panel);
            for (int64_t r = 0; r < mr; ++r)
              for (int64_t v = 0; v < nv; ++v)
                b.storeVector(
                    tile[r * nv + v], scores,
                    {b.add(row, b.index(r)), b.add(column, b.index(v * shape.lanes))});
          });
        });
      });
}

/// accumulate(weights, packed values, outputs, row groups, keys)
func::FuncOp sparse_attn::buildAccumulate(const AttendContext &context) {
  const KernelShape &shape = context.shape;
  OpBuilder types(context.module.getContext());
  Type pointer = LLVM::LLVMPointerType::get(types.getContext()), i = types.getIndexType();
  return buildFunction(
      context.module, context.plan->getLoc(), context.prefix + "_accumulate",
      {pointer, pointer, pointer, i, i}, /*isPrivate=*/true,
      [&](KernelBuilder &b, ValueRange arguments) {
        Type f32 = b.builder.getF32Type();
        int64_t mr = shape.level.tileRows;
        VectorType vector = b.vectorType(shape.lanes);
        auto weights = b.arrayAt(arguments[0], {shape.paddedRows, shape.keys}, f32);
        auto values = b.arrayAt(arguments[1], {shape.keys, shape.paddedValueDim}, f32);
        auto outputs =
            b.arrayAt(arguments[2], {shape.paddedRows, shape.paddedValueDim}, f32);
        Value zero = b.splat(b.f32(0), shape.lanes);
        // Columns [first, first + nv vectors) of V stay in the first-level cache.
        auto columns = [&](Value first, int64_t nv) {
          b.loop(b.index(0), arguments[3], 1, [&](Value group) {
            Value row = b.mul(group, mr);
            auto place = [&](int64_t r, int64_t v) -> SmallVector<Value> {
              return {b.add(row, b.index(r)), b.add(first, b.index(v * shape.lanes))};
            };
            // Sums of one tile start at zero and reach O in one addition: rounding
            // then grows with the number of tiles, not of keys.
            SmallVector<Value> tile = buildRegisterTile(
                b, mr, nv, shape.lanes, arguments[4], SmallVector<Value>(mr * nv, zero),
                [&](int64_t r, Value key) {
                  return b.load(weights, {b.add(row, b.index(r)), key});
                },
                [&](Value key, int64_t v) {
                  return b.loadVector(
                      values, {key, b.add(first, b.index(v * shape.lanes))}, vector);
                });
            for (int64_t r = 0; r < mr; ++r)
              for (int64_t v = 0; v < nv; ++v) {
                Value before = b.loadVector(outputs, place(r, v), vector);
                Value after =
                    arith::AddFOp::create(b.builder, b.loc, before, tile[r * nv + v]);
                b.storeVector(after, outputs, place(r, v));
              }
          });
        };
        int64_t whole = shape.paddedValueDim / shape.panel * shape.panel;
        b.loop(b.index(0), b.index(whole), shape.panel,
               [&](Value first) { columns(first, shape.level.tileVectors); });
        if (int64_t rest = (shape.paddedValueDim - whole) / shape.lanes)
          columns(b.index(whole), rest);
      });
}

/// The same for a tile whose V holds an inf or NaN and whose rows do not attend to
/// every key: 0 * NaN must not reach a row that leaves the key out.
///   accumulate(weights, packed values, outputs, rows, keys)
func::FuncOp sparse_attn::buildAccumulateNonFinite(const AttendContext &context) {
  const KernelShape &shape = context.shape;
  OpBuilder types(context.module.getContext());
  Type pointer = LLVM::LLVMPointerType::get(types.getContext()), i = types.getIndexType();
  return buildFunction(
      context.module, context.plan->getLoc(), context.prefix + "_accumulate_nonfinite",
      {pointer, pointer, pointer, i, i}, /*isPrivate=*/true,
      [&](KernelBuilder &b, ValueRange arguments) {
        Type f32 = b.builder.getF32Type();
        VectorType vector = b.vectorType(shape.lanes);
        auto weights = b.arrayAt(arguments[0], {shape.paddedRows, shape.keys}, f32);
        auto values = b.arrayAt(arguments[1], {shape.keys, shape.paddedValueDim}, f32);
        auto outputs =
            b.arrayAt(arguments[2], {shape.paddedRows, shape.paddedValueDim}, f32);
        b.loop(b.index(0), arguments[3], 1, [&](Value row) {
          b.loop(b.index(0), arguments[4], 1, [&](Value key) {
            Value weight = b.load(weights, {row, key});
            // Unordered: a NaN weight is attended to.
            Value attended = arith::CmpFOp::create(
                b.builder, b.loc, arith::CmpFPredicate::UNE, weight, b.f32(0));
            b.branch(attended, [&] {
              b.loop(b.index(0), b.index(shape.paddedValueDim), shape.lanes,
                     [&](Value column) {
                       Value sum = vector::FMAOp::create(
                           b.builder, b.loc, b.splat(weight, shape.lanes),
                           b.loadVector(values, {key, column}, vector),
                           b.loadVector(outputs, {row, column}, vector));
                       b.storeVector(sum, outputs, {row, column});
                     });
            });
          });
        });
      });
}
