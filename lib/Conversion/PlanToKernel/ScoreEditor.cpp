//===- ScoreEditor.cpp - mask and modifiers of one tile -------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A vector of scores at a time: the modifiers' region makes new ones, and the mask's
// bits or predicate replace those of pairs that are left out by -inf.
//
//===----------------------------------------------------------------------===//

#include "ScoreEditor.h"
#include "sparse_attn/abi.h"

using namespace mlir;
using namespace sparse_attn;

ScoreEditor::ScoreEditor(KernelBuilder &b, const AttendContext &context, Tile tile,
                         bool full)
    : b(b), plan(context.plan), shape(context.shape), scale(context.getScale()),
      tile(tile), full(full), listed(context.listed),
      values(b.pointerField(tile.args, offsetof(sa_attend_args, values))),
      cloner(b, context.ids, values, shape.lanes) {
  cloner.neighbours &= !listed;
  batch = b.toI32(b.indexField(tile.args, offsetof(sa_attend_args, b)));
  firstRow = b.toI32(b.indexField(tile.args, offsetof(sa_attend_args, first_row)));
  firstPosition =
      b.toI32(b.indexField(tile.args, offsetof(sa_attend_args, first_position)));
  step = b.toI32(b.indexField(tile.args, offsetof(sa_attend_args, step)));
  firstKey = b.toI32(tile.firstKey);
  cloner.keys = b.toI32(b.indexField(tile.args, offsetof(sa_attend_args, tokens)));
  cloner.heads = b.toI32(b.indexField(tile.args, offsetof(sa_attend_args, heads)));
}

Value ScoreEditor::edit(Value score, const Row &row, Value column) {
  OpBuilder &builder = b.builder;
  Value head = row.head;
  Value distance = steps(b.toI32(row.index));
  Value position = b.add(firstPosition, distance);
  Value number = b.lanesFrom(b.add(firstKey, steps(b.toI32(column))), step, shape.lanes);
  Value inBounds;
  if (!full) {
    Value end = b.splat(b.add(firstKey, steps(b.toI32(tile.keys))), shape.lanes);
    inBounds =
        arith::CmpIOp::create(builder, b.loc, arith::CmpIPredicate::slt, number, end);
  }
  Value key = listed ? loadListed(column) : number;
  cloner.inBounds = inBounds;
  if (!plan.getModify().empty()) {
    Value hops = plan.getHopTable() ? loadHops(row.index, column) : b.f32(0);
    Value tensorRow = b.add(firstRow, distance);
    score =
        arith::MulFOp::create(builder, b.loc, score, b.splat(b.f32(scale), shape.lanes));
    score = cloner.clone(plan.getModify(),
                         {score, hops, batch, head, tensorRow, position, key})[0];
  }
  if (full)
    return score;
  Value keep = plan.getPredicate().empty() ? loadBits(row.index, column)
                                           : predicate(head, position, key, inBounds);
  return arith::SelectOp::create(builder, b.loc, keep, score,
                                 b.splat(b.f32(-kInfinity), shape.lanes));
}

Value ScoreEditor::steps(Value number) {
  return b.builder.createOrFold<arith::MulIOp>(b.loc, number, step);
}

Value ScoreEditor::predicate(Value head, Value position, Value key, Value inBounds) {
  Value keep = cloner.clone(plan.getPredicate(), {batch, head, position, key})[0];
  if (!isa<VectorType>(keep.getType()))
    keep = b.splat(keep, shape.lanes);
  return arith::AndIOp::create(b.builder, b.loc, keep, inBounds);
}

Value ScoreEditor::loadListed(Value column) {
  Value list = b.pointerField(tile.args, offsetof(sa_attend_args, list));
  Value last = b.add(tile.firstKey, b.sub(tile.keys, b.index(1)));
  SmallVector<Value> keys;
  for (int64_t lane = 0; lane < shape.lanes; ++lane) {
    Value number = b.min(b.add(b.add(tile.firstKey, column), b.index(lane)), last);
    keys.push_back(b.field(b.advance(list, b.mul(number, sizeof(int32_t))), 0,
                           b.builder.getI32Type()));
  }
  return vector::FromElementsOp::create(
      b.builder, b.loc, b.vectorType(shape.lanes, b.builder.getI32Type()), keys);
}

Value ScoreEditor::loadBits(Value row, Value column) {
  auto bytes = b.arrayAt(tile.bits, {shape.rows, shape.keys / 8}, b.builder.getI8Type());
  Value byte = arith::DivUIOp::create(b.builder, b.loc, column, b.index(8));
  if (shape.lanes < 8)
    return loadPartOfByte(b.load(bytes, {row, byte}), column);
  Value word = b.loadVector(bytes, {row, byte},
                            b.vectorType(shape.lanes / 8, b.builder.getI8Type()));
  return vector::BitCastOp::create(
      b.builder, b.loc, b.vectorType(shape.lanes, b.builder.getI1Type()), word);
}

Value ScoreEditor::loadPartOfByte(Value byte, Value column) {
  OpBuilder &builder = b.builder;
  Type i32 = builder.getI32Type();
  Value word = arith::ExtUIOp::create(builder, b.loc, i32, byte);
  word = arith::ShRUIOp::create(builder, b.loc, word, b.toI32(b.remainder(column, 8)));
  auto type = b.vectorType(shape.lanes, i32);
  SmallVector<int32_t> places;
  for (int64_t lane = 0; lane < shape.lanes; ++lane)
    places.push_back(1 << lane);
  Value bits = arith::ConstantOp::create(
      builder, b.loc, DenseElementsAttr::get(type, ArrayRef<int32_t>(places)));
  bits = arith::AndIOp::create(builder, b.loc, bits, b.splat(word, shape.lanes));
  Value none = arith::ConstantOp::create(builder, b.loc, DenseElementsAttr::get(type, 0));
  return arith::CmpIOp::create(builder, b.loc, arith::CmpIPredicate::ne, bits, none);
}

Value ScoreEditor::loadHops(Value row, Value column) {
  OpBuilder &builder = b.builder;
  Type i16 = builder.getI16Type();
  auto table = b.arrayAt(tile.hops, {shape.rows, shape.keys}, i16);
  Value hops = b.loadVector(table, {row, column}, b.vectorType(shape.lanes, i16));
  auto type = cast<VectorType>(hops.getType());
  Value none = arith::ConstantOp::create(
      builder, b.loc, DenseElementsAttr::get(type, builder.getI16IntegerAttr(-1)));
  Value far = arith::CmpIOp::create(builder, b.loc, arith::CmpIPredicate::eq, hops, none);
  Value number = arith::UIToFPOp::create(builder, b.loc, b.vectorType(shape.lanes), hops);
  return arith::SelectOp::create(builder, b.loc, far,
                                 b.splat(b.f32(kInfinity), shape.lanes), number);
}
