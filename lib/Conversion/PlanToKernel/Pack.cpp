//===- Pack.cpp - keys and values of a tile into kernel order -------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   K [keys, D]  -> [keys / panel][D][panel]   the lanes of a vector are keys
//   V [keys, Dv] -> [keys][Dv up to whole vectors]
//   flag         -> not 0 where V holds an inf or NaN
//
// Elements of 16 bits become f32 here, once for all query tiles.
// A tile is packed once and read by every query tile of every head of the group.
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

namespace {
/// Where the keys of a tile lie in K and V.
struct Source {
  KernelBuilder &b;
  Value batch, kvHead, firstKey, step;

  SmallVector<Value> at(Value key, Value column) const {
    return {batch, kvHead, b.add(firstKey, b.mul(key, step)), column};
  }
};
} // namespace

static void buildPackKeys(KernelBuilder &b, const KernelShape &shape, Value from,
                          const Source &source, Value keys, Value packed) {
  auto panels = b.arrayAt(packed, {shape.keys / shape.panel, shape.headDim, shape.panel},
                          b.builder.getF32Type());
  auto to = [&](Value key, Value d) -> SmallVector<Value> {
    Value panel = arith::DivUIOp::create(b.builder, b.loc, key, b.index(shape.panel));
    return {panel, d, b.remainder(key, shape.panel)};
  };
  auto copy = [&](Value firstKey, Value endKey, Value firstD) {
    b.loop(firstKey, endKey, 1, [&](Value key) {
      b.loop(firstD, b.index(shape.headDim), 1, [&](Value d) {
        b.store(b.loadReal(from, source.at(key, d)), panels, to(key, d));
      });
    });
  };
  // Squares of lanes x lanes in registers, what they leave over one by one.
  Value wholeKeys = b.sub(keys, b.remainder(keys, shape.lanes));
  int64_t wholeDims = shape.headDim / shape.lanes * shape.lanes;
  b.loop(b.index(0), wholeKeys, shape.lanes, [&](Value key) {
    b.loop(b.index(0), b.index(wholeDims), shape.lanes, [&](Value d) {
      SmallVector<Value> rows;
      for (int64_t i = 0; i < shape.lanes; ++i)
        rows.push_back(b.loadRealVector(from, source.at(b.add(key, b.index(i)), d),
                                        shape.lanes, shape.lanes));
      transpose(b, rows);
      for (int64_t i = 0; i < shape.lanes; ++i)
        b.storeVector(rows[i], panels, to(key, b.add(d, b.index(i))));
    });
  });
  if (wholeDims < shape.headDim)
    copy(b.index(0), wholeKeys, b.index(wholeDims));
  copy(wholeKeys, keys, b.index(0));
  b.loop(keys, b.index(shape.keys), 1, [&](Value key) {
    b.loop(b.index(0), b.index(shape.headDim), 1,
           [&](Value d) { b.store(b.f32(0), panels, to(key, d)); });
  });
}

/// Returns an i32: not 0 where a value is an inf or NaN.
static Value buildPackValues(KernelBuilder &b, const KernelShape &shape, Value from,
                             const Source &source, Value keys, Value packed) {
  OpBuilder &builder = b.builder;
  auto rows = b.arrayAt(packed, {shape.keys, shape.paddedValueDim}, builder.getF32Type());
  Value zero = b.splat(b.f32(0), shape.lanes);
  Value none = arith::ConstantOp::create(
      builder, b.loc,
      builder.getZeroAttr(b.vectorType(shape.lanes, builder.getI32Type())));
  // x - x is 0 for a number, NaN for an inf or NaN; the bits of 0 are 0.
  auto mark = [&](Value seen, Value x) -> Value {
    Value difference = arith::SubFOp::create(builder, b.loc, x, x);
    Value bits = arith::BitcastOp::create(builder, b.loc, seen.getType(), difference);
    return arith::OrIOp::create(builder, b.loc, seen, bits);
  };
  int64_t whole = shape.valueDim / shape.lanes * shape.lanes;
  Value seen = b.loop(b.index(0), keys, 1, {none}, [&](Value key, ValueRange carried) {
    Value seen = b.loop(b.index(0), b.index(whole), shape.lanes, carried,
                        [&](Value column, ValueRange carried) -> SmallVector<Value> {
                          Value x = b.loadRealVector(from, source.at(key, column),
                                                     shape.lanes, shape.lanes);
                          b.storeVector(x, rows, {key, column});
                          return {mark(carried[0], x)};
                        })[0];
    if (int64_t rest = shape.valueDim - whole) {
      Value x = b.loadRealVector(from, source.at(key, b.index(whole)), shape.lanes, rest);
      b.storeVector(x, rows, {key, b.index(whole)});
      seen = mark(seen, x);
    }
    return SmallVector<Value>{seen};
  })[0];
  b.loop(keys, b.index(shape.keys), 1, [&](Value key) {
    b.loop(b.index(0), b.index(shape.paddedValueDim), shape.lanes,
           [&](Value column) { b.storeVector(zero, rows, {key, column}); });
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
      {pointer, pointer, i, i, i, i, i}, /*isPrivate=*/true,
      [&](KernelBuilder &b, ValueRange arguments) {
        Value values = arguments[0], packed = arguments[1];
        Source source = {b, arguments[2], arguments[3], arguments[4], arguments[6]};
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
                  func::CallOp::create(b.builder, b.loc, packTile, operands);
                });
}
