//===- KeyScores.cpp - scores of the keys that a call lists ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An sa_key_scores_fn: what attend would make of one row and the listed keys before the
// softmax, in natural units. A modifier that asks for hops finds one for each key.
//
//===----------------------------------------------------------------------===//

#include "ScoreEditor.h"
#include "sparse_attn/abi.h"

using namespace mlir;
using namespace sparse_attn;

/// The scores of `count` keys from `first` of the list on, whose products with the row
/// are in the scratch.
static void buildEdited(KernelBuilder &b, const AttendContext &context,
                        const Frame &frame, Value first, Value count, Value target) {
  const KernelShape &shape = context.shape;
  OpBuilder &builder = b.builder;
  Type f32 = builder.getF32Type();
  VectorType type = b.vectorType(shape.lanes);
  auto products = b.arrayAt(b.advance(frame.scratch, shape.scores),
                            {shape.paddedRows, shape.keys}, f32);
  Value none = LLVM::ZeroOp::create(builder, b.loc,
                                    LLVM::LLVMPointerType::get(b.loc.getContext()));
  Value hops = b.advance(b.pointerField(frame.args, offsetof(sa_attend_args, hops)),
                         b.mul(first, sizeof(uint16_t)));
  ScoreEditor editor(b, context, {frame.args, first, count, none, hops}, /*full=*/true);
  Row row = {b.index(0), b.index(0), b.toI32(frame.head)};
  b.loop(b.index(0), count, shape.lanes, [&](Value column) {
    Value score = b.loadVector(products, {row.number, column}, type);
    if (editor.changesScores())
      score = editor.edit(score, row, column);
    else
      score = arith::MulFOp::create(builder, b.loc, score,
                                    b.splat(b.f32(context.getScale()), shape.lanes));
    Value exists =
        arith::CmpIOp::create(builder, b.loc, arith::CmpIPredicate::slt,
                              b.lanesFrom(b.toI32(column), b.i32(1), shape.lanes),
                              b.splat(b.toI32(count), shape.lanes));
    auto place = b.arrayAt(b.advance(target, b.mul(b.add(first, column), sizeof(float))),
                           {shape.lanes}, f32);
    vector::MaskedStoreOp::create(builder, b.loc, place, b.index(0), exists, score);
  });
}

void sparse_attn::buildKeyScores(const AttendContext &context, StringRef symbol) {
  AttendContext listed = context;
  listed.listed = true;
  listed.prefix = symbol.str();
  func::FuncOp multiply = buildScoresInPlace(listed);
  Type pointer = LLVM::LLVMPointerType::get(context.module.getContext());
  buildFunction(context.module, context.plan->getLoc(), symbol, {pointer, pointer},
                /*isPrivate=*/false, [&](KernelBuilder &b, ValueRange arguments) {
                  Frame frame(b, listed.shape, arguments[0]);
                  buildQueries(b, listed, frame);
                  Value keys = b.indexField(frame.args, offsetof(sa_attend_args, keys));
                  int64_t tile = listed.shape.keys;
                  b.loop(b.index(0), keys, tile, [&](Value first) {
                    Value count = b.min(b.index(tile), b.sub(keys, first));
                    func::CallOp::create(b.builder, b.loc, multiply,
                                         ValueRange{frame.args, first, count});
                    buildEdited(b, listed, frame, first, count, arguments[1]);
                  });
                });
}
