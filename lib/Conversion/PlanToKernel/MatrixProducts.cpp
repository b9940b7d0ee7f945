//===- MatrixProducts.cpp - the micro-kernels of both products ------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   scores       S[rows, keys]      = Q[rows, D]    x  K^T, packed in panels
//   accumulate   O[rows, valueDim] += P[rows, keys] x  V, packed in panels
//
// Both keep a register tile of tileRows x (tileVectors * lanes) accumulators and
// walk the contracted axis, word by word (KernelShape.h), with one vector load of B for
// each column of the tile and one broadcast of A for each of its rows, out of memory or
// of a register.
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"

using namespace mlir;
using namespace sparse_attn;

/// The panel of columns [first, first + vectors * lanes) of B, `steps` words long.
static Value getPanel(KernelBuilder &b, const KernelShape &shape, Value packed,
                      Value first, int64_t steps, int64_t vectors) {
  Value pointer = b.advance(packed, b.mul(first, steps * sizeof(float)));
  return b.arrayAt(pointer, {steps, vectors * shape.lanes}, shape.words.type);
}

/// sums[row][vector] += splats[row] * B(k, vector)
static SmallVector<Value> buildStep(KernelBuilder &b, const KernelShape &shape,
                                    Value panel, Value k, ArrayRef<Value> splats,
                                    ValueRange sums) {
  int64_t lanes = shape.lanes;
  int64_t vectors = cast<MemRefType>(panel.getType()).getDimSize(1) / lanes;
  VectorType words = b.vectorType(lanes, shape.words.type);
  SmallVector<Value> columns, next;
  for (int64_t v = 0; v < vectors; ++v)
    columns.push_back(b.loadVector(panel, {k, b.index(v * lanes)}, words));
  for (auto [r, row] : llvm::enumerate(splats))
    for (int64_t v = 0; v < vectors; ++v)
      next.push_back(b.multiplyAdd(row, columns[v], sums[r * vectors + v]));
  return next;
}

namespace {
/// A share of the next tile, asked for while a register tile is worked on: `bytes` more
/// with every word of the contracted axis. Asked for in one go the lines would fill the
/// processor's miss buffers, and what the tile itself misses in the first-level cache
/// would wait for memory.
struct Prefetch {
  Value start, bytes;

  void build(KernelBuilder &b, Value word) const {
    constexpr int64_t kRead = 0, kSecondLevel = 2, kData = 1;
    LLVM::Prefetch::create(b.builder, b.loc, b.advance(start, b.mul(word, bytes)), kRead,
                           kSecondLevel, kData);
  }
};

/// What the register tiles of one product ask for: [start, start + bytes) in equal
/// shares.
class PrefetchShares {
public:
  PrefetchShares(KernelBuilder &b, Value start, int64_t bytes, Value registerTiles,
                 int64_t steps)
      : b(b), start(start),
        perStep(b.ceilDiv(b.index(bytes), b.mul(registerTiles, steps))),
        perTile(b.mul(perStep, steps)) {}

  Prefetch ofTile(Value registerTile) {
    return {b.advance(start, b.mul(registerTile, perTile)), perStep};
  }

private:
  KernelBuilder &b;
  Value start, perStep, perTile;
};
} // namespace

/// tileRows rows of A from `row` times the first `steps` words of a panel of B: the
/// sums, row by row.
static SmallVector<Value> buildRegisterTile(KernelBuilder &b, const KernelShape &shape,
                                            Value rows, Value row, Value panel,
                                            Value steps, const Prefetch &prefetch) {
  int64_t lanes = shape.lanes, mr = shape.level.tileRows, depth = shape.level.depth;
  int64_t vectors = cast<MemRefType>(panel.getType()).getDimSize(1) / lanes;
  SmallVector<Value> sums(mr * vectors, b.splat(b.f32(0), lanes)), splats(mr);
  Value done = b.index(0);
  // Where a multiply-add takes any lane of a register, `depth` words of a row of A
  // are loaded at once: broadcasts from memory would cost a load and an instruction
  // of the vector unit each.
  if (depth > 1) {
    VectorType words = b.vectorType(depth, shape.words.type);
    Value whole = b.sub(steps, b.remainder(steps, depth));
    sums = b.loop(done, whole, depth, sums, [&](Value first, ValueRange carried) {
      SmallVector<Value> next(carried), loaded;
      prefetch.build(b, first);
      for (int64_t r = 0; r < mr; ++r)
        loaded.push_back(b.loadVector(rows, {b.add(row, b.index(r)), first}, words));
      for (int64_t d = 0; d < depth; ++d) {
        for (auto [splat, vector] : llvm::zip_equal(splats, loaded))
          splat = b.splatLane(vector, d);
        next = buildStep(b, shape, panel, b.add(first, b.index(d)), splats, next);
      }
      return next;
    });
    done = whole;
  }
  return b.loop(done, steps, 1, sums, [&](Value k, ValueRange carried) {
    prefetch.build(b, k);
    for (auto [r, splat] : llvm::enumerate(splats))
      splat = b.splat(b.load(rows, {b.add(row, b.index(r)), k}), lanes);
    return buildStep(b, shape, panel, k, splats, carried);
  });
}

/// Calls `body` with the first column and the width in vectors of every panel of V.
static void forEachPanel(KernelBuilder &b, const KernelShape &shape,
                         function_ref<void(Value, int64_t)> body) {
  int64_t whole = shape.paddedValueDim / shape.panel * shape.panel;
  b.loop(b.index(0), b.index(whole), shape.panel,
         [&](Value first) { body(first, shape.level.tileVectors); });
  if (int64_t rest = (shape.paddedValueDim - whole) / shape.lanes)
    body(b.index(whole), rest);
}

/// scores(queries, packed keys, scores, row groups, panels, packed keys to ask for next)
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
        int64_t steps = shape.words.count(shape.headDim);
        auto queries =
            b.arrayAt(arguments[0], {shape.paddedRows, steps}, shape.words.type);
        Value keys = arguments[1];
        PrefetchShares prefetch(b, arguments[5], shape.keys * steps * sizeof(float),
                                b.mul(arguments[3], shape.keys / shape.panel), steps);
        auto scores = b.arrayAt(arguments[2], {shape.paddedRows, shape.keys}, f32);
        // A panel of K stays in the first-level cache while all rows pass.
        b.loop(b.index(0), arguments[4], 1, [&](Value panel) {
          Value column = b.mul(panel, shape.panel);
          Value columns = getPanel(b, shape, keys, column, steps, nv);
          b.loop(b.index(0), arguments[3], 1, [&](Value group) {
            Value done = b.add(b.mul(panel, arguments[3]), group);
            Value row = b.mul(group, mr);
            SmallVector<Value> tile = buildRegisterTile(
                b, shape, queries, row, columns, b.index(steps), prefetch.ofTile(done));
            for (int64_t r = 0; r < mr; ++r)
              for (int64_t v = 0; v < nv; ++v)
                b.storeVector(
                    tile[r * nv + v], scores,
                    {b.add(row, b.index(r)), b.add(column, b.index(v * shape.lanes))});
          });
        });
      });
}

/// accumulate(weights, packed values, outputs, row groups, keys, values to ask for next)
func::FuncOp sparse_attn::buildAccumulate(const AttendContext &context) {
  const KernelShape &shape = context.shape;
  OpBuilder types(context.module.getContext());
  Type pointer = LLVM::LLVMPointerType::get(types.getContext()), i = types.getIndexType();
  return buildFunction(
      context.module, context.plan->getLoc(), context.prefix + "_accumulate",
      {pointer, pointer, pointer, i, i, pointer}, /*isPrivate=*/true,
      [&](KernelBuilder &b, ValueRange arguments) {
        int64_t mr = shape.level.tileRows, steps = shape.words.count(shape.keys);
        VectorType vector = b.vectorType(shape.lanes);
        auto weights =
            b.arrayAt(arguments[0], {shape.paddedRows, steps}, shape.words.type);
        auto outputs = b.arrayAt(arguments[2], {shape.paddedRows, shape.paddedValueDim},
                                 b.builder.getF32Type());
        Value used = b.ceilDiv(arguments[4], shape.words.size);
        int64_t panels = llvm::divideCeil(shape.paddedValueDim, shape.panel);
        PrefetchShares prefetch(b, arguments[5],
                                shape.paddedValueDim * steps * sizeof(float),
                                b.mul(arguments[3], panels), steps);
        // Columns [first, first + nv vectors) of V stay in the first-level cache.
        auto columns = [&](Value first, int64_t nv) {
          Value panel = getPanel(b, shape, arguments[1], first, steps, nv);
          b.loop(b.index(0), arguments[3], 1, [&](Value group) {
            Value row = b.mul(group, mr);
            Value done =
                b.add(b.mul(b.div(first, b.index(shape.panel)), arguments[3]), group);
            auto place = [&](int64_t r, int64_t v) -> SmallVector<Value> {
              return {b.add(row, b.index(r)), b.add(first, b.index(v * shape.lanes))};
            };
            // Sums of one tile start at zero and reach O in one addition: rounding
            // then grows with the number of tiles, not of keys.
            SmallVector<Value> tile = buildRegisterTile(b, shape, weights, row, panel,
                                                        used, prefetch.ofTile(done));
            for (int64_t r = 0; r < mr; ++r)
              for (int64_t v = 0; v < nv; ++v) {
                Value before = b.loadVector(outputs, place(r, v), vector);
                Value after =
                    arith::AddFOp::create(b.builder, b.loc, before, tile[r * nv + v]);
                b.storeVector(after, outputs, place(r, v));
              }
          });
        };
        forEachPanel(b, shape, columns);
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
        int64_t steps = shape.words.count(shape.keys);
        VectorType vector = b.vectorType(shape.lanes);
        VectorType words = b.vectorType(shape.lanes, shape.words.type);
        auto weights =
            b.arrayAt(arguments[0], {shape.paddedRows, shape.keys}, shape.words.element);
        auto outputs = b.arrayAt(arguments[2], {shape.paddedRows, shape.paddedValueDim},
                                 b.builder.getF32Type());
        b.loop(b.index(0), arguments[3], 1, [&](Value row) {
          b.loop(b.index(0), arguments[4], 1, [&](Value key) {
            Value weight = b.loadReal(weights, {row, key});
            Value word = b.div(key, b.index(shape.words.size));
            // Unordered: a NaN weight is attended to.
            Value attended = arith::CmpFOp::create(
                b.builder, b.loc, arith::CmpFPredicate::UNE, weight, b.f32(0));
            auto add = [&](Value first, int64_t vectors) {
              Value panel = getPanel(b, shape, arguments[1], first, steps, vectors);
              for (int64_t v = 0; v < vectors; ++v) {
                Value column = b.add(first, b.index(v * shape.lanes));
                Value values =
                    b.loadVector(panel, {word, b.index(v * shape.lanes)}, words);
                Value sum = vector::FMAOp::create(
                    b.builder, b.loc, b.splat(weight, shape.lanes),
                    b.elementOf(values, b.remainder(key, shape.words.size), shape.words),
                    b.loadVector(outputs, {row, column}, vector));
                b.storeVector(sum, outputs, {row, column});
              }
            };
            b.branch(attended, [&] { forEachPanel(b, shape, add); });
          });
        });
      });
}
