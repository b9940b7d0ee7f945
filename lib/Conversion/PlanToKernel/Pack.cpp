//===- Pack.cpp - keys and values of a tile into kernel order -------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   K [keys, D]  -> panels of keys, words of neighbours in D
//   V [keys, Dv] -> panels of columns, words of neighbouring keys
//   flag         -> not 0 where V holds an inf or NaN
//
// Words and panels are those of KernelShape.h. Elements that the products do not
// multiply as they are become f32 here, once for all query tiles. A tile is packed once
// and read by every query tile of every head of the group.
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"
#include "sparse_attn/abi.h"

using namespace mlir;
using namespace sparse_attn;

/// Transposes lanes x lanes elements in registers: at stage s, rows i and i + s
/// exchange the elements whose lanes differ in bit s (Eklundh, 1972).
static void transpose(KernelBuilder &b, SmallVector<Value> &rows) {
  int64_t lanes = rows.size();
  for (int64_t s = 1; s < lanes; s *= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      bool moves = lane & s;
      low.push_back(moves ? lanes + (lane ^ s) : lane);
      high.push_back(moves ? lanes + lane : lane ^ s);
    }
    for (int64_t i = 0; i < lanes; ++i) {
      if (i & s)
        continue;
      Value x = rows[i], y = rows[i + s];
      rows[i] = vector::ShuffleOp::create(b.builder, b.loc, x, y, low);
      rows[i + s] = vector::ShuffleOp::create(b.builder, b.loc, x, y, high);
    }
  }
}

/// The keys whose words share a vector with key `first`, as the columns of a square of
/// lanes x lanes words that is transposed in registers.
static void buildPackKeys(KernelBuilder &b, const KernelShape &shape, Value from,
                          const TileKeys &source, Value keys, Value packed) {
  const Words &words = shape.words;
  int64_t lanes = shape.lanes, steps = words.count(shape.headDim);
  VectorType vector = b.vectorType(lanes, words.type);
  Value zero = b.zero(vector), last = b.sub(keys, b.index(1));
  auto panels =
      b.arrayAt(packed, {shape.keys / shape.panel, steps, shape.panel}, words.type);
  auto to = [&](Value first, Value word) -> SmallVector<Value> {
    return {b.div(first, b.index(shape.panel)), word, b.remainder(first, shape.panel)};
  };
  auto square = [&](Value first, Value d, int64_t count, bool whole) {
    SmallVector<Value> rows;
    for (int64_t i = 0; i < lanes; ++i) {
      Value key = b.add(first, b.index(i));
      Value exists =
          arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::ult, key, keys);
      SmallVector<Value> at = source.at(b, whole ? key : b.min(key, last), d);
      Value row = b.loadWords(from, at, words, lanes, count);
      rows.push_back(
          whole ? row : arith::SelectOp::create(b.builder, b.loc, exists, row, zero));
    }
    transpose(b, rows);
    Value word = b.div(d, b.index(words.size));
    for (int64_t i = 0; i < words.count(count); ++i)
      b.storeVector(rows[i], panels, to(first, b.add(word, b.index(i))));
  };
  Value wholeKeys = b.sub(keys, b.remainder(keys, lanes));
  auto squares = [&](Value begin, Value end, bool whole) {
    b.loop(begin, end, lanes, [&](Value first) {
      b.forEachPart(shape.headDim, lanes * words.size,
                    [&](Value d, int64_t count) { square(first, d, count, whole); });
    });
  };
  squares(b.index(0), wholeKeys, /*whole=*/true);
  squares(wholeKeys, keys, /*whole=*/false);
  b.loop(b.mul(b.ceilDiv(keys, lanes), lanes), b.index(shape.keys), lanes,
         [&](Value first) {
           b.loop(b.index(0), b.index(steps), 1,
                  [&](Value word) { b.storeVector(zero, panels, to(first, word)); });
         });
}

/// Returns an i32: not 0 where a value is an inf or NaN.
static Value buildPackValues(KernelBuilder &b, const KernelShape &shape, Value from,
                             const TileKeys &source, Value keys, Value packed) {
  OpBuilder &builder = b.builder;
  const Words &words = shape.words;
  int64_t lanes = shape.lanes, steps = words.count(shape.keys);
  auto panels = b.arrayAt(packed, {steps * shape.paddedValueDim}, words.type);
  // Where a word of `column` lies; the last panel is as wide as what is left.
  auto to = [&](Value word, Value column) -> Value {
    Value lane = b.remainder(column, shape.panel), panel = b.sub(column, lane);
    Value width =
        b.min(b.index(shape.panel), b.sub(b.index(shape.paddedValueDim), panel));
    return b.add(b.add(b.mul(panel, steps), b.mul(word, width)), lane);
  };
  Value none = b.zero(b.vectorType(lanes, builder.getI32Type()));
  // x - x is 0 for a number, NaN for an inf or NaN; the bits of 0 are 0.
  auto mark = [&](Value seen, Value x) -> Value {
    if (!getElementTypeOrSelf(x).isF32())
      x = arith::ExtFOp::create(builder, b.loc, b.vectorType(lanes), x);
    Value difference = arith::SubFOp::create(builder, b.loc, x, x);
    Value bits = arith::BitcastOp::create(builder, b.loc, seen.getType(), difference);
    return arith::OrIOp::create(builder, b.loc, seen, bits);
  };
  auto load = [&](Value key, Value column, int64_t count) -> Value {
    SmallVector<Value> at = source.at(b, key, column);
    return words.size == 1 ? b.loadRealVector(from, at, lanes, count)
                           : b.loadPart(from, at, lanes, count);
  };
  Value last = b.sub(keys, b.index(1));
  Value seen =
      b.loop(b.index(0), keys, words.size, {none}, [&](Value first, ValueRange carried) {
        auto pack = [&](Value column, int64_t count,
                        ValueRange carried) -> SmallVector<Value> {
          Value seen = carried[0];
          SmallVector<Value> rows = {load(first, column, count)};
          for (int64_t i = 1; i < words.size; ++i) {
            Value key = b.add(first, b.index(i));
            Value exists = arith::CmpIOp::create(builder, b.loc,
                                                 arith::CmpIPredicate::ule, key, last);
            Value row = load(b.min(key, last), column, count);
            rows.push_back(arith::SelectOp::create(builder, b.loc, exists, row,
                                                   b.zero(row.getType())));
          }
          for (Value row : rows)
            seen = mark(seen, row);
          b.storeVector(b.interleave(rows, words), panels,
                        to(b.div(first, b.index(words.size)), column));
          return {seen};
        };
        return b.forEachPart(shape.valueDim, lanes, carried, pack);
      })[0];
  b.loop(b.ceilDiv(keys, words.size), b.index(steps), 1, [&](Value word) {
    b.forEachPart(shape.paddedValueDim, lanes, [&](Value column, int64_t) {
      b.storeVector(b.zero(b.vectorType(lanes, words.type)), panels, to(word, column));
    });
  });
  return b.reduce(seen, [&](Value x, Value y) -> Value {
    return arith::OrIOp::create(builder, b.loc, x, y);
  });
}

func::FuncOp sparse_attn::buildPackTile(const AttendContext &context) {
  const KernelShape &shape = context.shape;
  OpBuilder types(context.module.getContext());
  Type pointer = LLVM::LLVMPointerType::get(types.getContext()), i = types.getIndexType();
  return buildFunction(
      context.module, context.plan->getLoc(), context.prefix + "_pack_tile",
      {pointer, pointer, i, i, i, i, i, pointer}, /*isPrivate=*/true,
      [&](KernelBuilder &b, ValueRange arguments) {
        Value values = arguments[0], packed = arguments[1];
        TileKeys source = {arguments[2], arguments[3], arguments[4], arguments[6],
                           context.listed ? arguments[7] : Value()};
        Value keys = arguments[5];
        Value k = b.viewOf(values, context.ids.id(context.plan.getK()), shape.element);
        Value v = b.viewOf(values, context.ids.id(context.plan.getV()), shape.element);
        buildPackKeys(b, shape, k, source, keys, b.advance(packed, shape.packedKeys));
        Value seen = buildPackValues(b, shape, v, source, keys,
                                     b.advance(packed, shape.packedValues));
        LLVM::StoreOp::create(b.builder, b.loc, seen,
                              b.advance(packed, shape.packedFlag));
      });
}

void sparse_attn::buildPack(const AttendContext &context, func::FuncOp packTile,
                            StringRef symbol) {
  Type pointer = LLVM::LLVMPointerType::get(context.module.getContext());
  buildFunction(context.module, context.plan->getLoc(), symbol, {pointer},
                /*isPrivate=*/false, [&](KernelBuilder &b, ValueRange arguments) {
                  Value args = arguments[0];
                  SmallVector<Value> operands = {
                      b.pointerField(args, offsetof(sa_pack_args, values)),
                      b.pointerField(args, offsetof(sa_pack_args, packed))};
                  for (size_t offset :
                       {offsetof(sa_pack_args, b), offsetof(sa_pack_args, kv_head),
                        offsetof(sa_pack_args, first_key), offsetof(sa_pack_args, keys),
                        offsetof(sa_pack_args, step)})
                    operands.push_back(b.indexField(args, offset));
                  // Tiles of neighbours alone are packed for several calls.
                  operands.push_back(LLVM::ZeroOp::create(b.builder, b.loc, pointer));
                  func::CallOp::create(b.builder, b.loc, packTile, operands);
                });
}
