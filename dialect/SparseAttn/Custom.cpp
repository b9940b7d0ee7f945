//===- Custom.cpp - masks and modifiers that are regions ------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/RegionProgram.h"
#include "dialect/SparseAttn/SparseAttn.h"

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

/// The region takes (b, h, p, j: index) after `first`, if given, yields `result`,
/// and is a program.
static LogicalResult verifyBody(Operation *op, Type first, Type result,
                                StringRef arguments) {
  Block &block = op->getRegion(0).front();
  Type index = IndexType::get(op->getContext());
  SmallVector<Type> types(4, index);
  if (first)
    types.insert(types.begin(), first);
  // (custom_c1), (custom_score_c1)
  if (block.getArgumentTypes() != TypeRange(types))
    return op->emitOpError() << "the region must take " << arguments;
  // (custom_c2), (custom_score_c2)
  auto yield = dyn_cast_or_null<YieldOp>(block.empty() ? nullptr : &block.back());
  if (!yield || yield.getValue().getType() != result)
    return op->emitOpError() << "the region must end with sparse_attn.yield of one "
                             << result;
  // (custom_c3), (custom_c4), (custom_c5), (custom_c6), (custom_score_c3),
  // (custom_score_c4), (custom_score_c5), (custom_score_c6): what the reader of the
  // program rejects
  return RegionProgram::parse(op, /*allowFloats=*/first != nullptr,
                              [&] { return op->emitOpError(); });
}

/// The op's program, read once for an evaluator.
static RegionProgram &getProgram(Operation *op, bool allowFloats, Evaluator &evaluator) {
  return evaluator.derived<RegionProgram>(
      op, /*key=*/0, [&] { return RegionProgram::get(op, allowFloats); });
}

//===----------------------------------------------------------------------===//
// CustomOp
//===----------------------------------------------------------------------===//

LogicalResult CustomOp::verifyRegions() {
  return verifyBody(*this, /*first=*/nullptr, IntegerType::get(getContext(), 1),
                    "(b, h, p, j), all index");
}

double CustomOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  RegionValue arguments[] = {{pair.b}, {pair.h}, {pair.p}, {pair.j}};
  return getProgram(*this, /*allowFloats=*/false, evaluator).run(arguments).integer != 0;
}

TileClass CustomOp::buildTileClass(TileBuilder &builder) {
  return RegionProgram::get(*this, /*allowFloats=*/false).emitClass(builder);
}

/// Comparisons of affine forms are decided by their ends, so bisection finds
/// their tiles at any length; other bodies are looked at pair by pair, once.
Binding CustomOp::getOwnBinding() {
  return RegionProgram::get(*this, /*allowFloats=*/false).isAffine() ? Binding::Compile
                                                                     : Binding::Plan;
}

int64_t CustomOp::getPeriod() {
  RegionProgram program = RegionProgram::get(*this, /*allowFloats=*/false);
  int64_t period = 1;
  for (int64_t each : program.computePeriods(program.computeBounds()))
    period = combinePeriods(period, each);
  return period;
}

bool CustomOp::isPerBatch() { return !getBody().getArgument(0).use_empty(); }
bool CustomOp::isPerHead() { return !getBody().getArgument(1).use_empty(); }

//===----------------------------------------------------------------------===//
// CustomScoreOp
//===----------------------------------------------------------------------===//

LogicalResult CustomScoreOp::verifyRegions() {
  Type f32 = Float32Type::get(getContext());
  return verifyBody(*this, f32, f32, "(s, b, h, p, j): f32, then index");
}

double CustomScoreOp::evaluate(double score, const Pair &pair, Evaluator &evaluator) {
  RegionValue arguments[] = {{0, score}, {pair.b}, {pair.h}, {pair.p}, {pair.j}};
  return getProgram(*this, /*allowFloats=*/true, evaluator).run(arguments).real;
}

Value CustomScoreOp::buildScore(Value score, ScoreBuilder &builder) {
  return RegionProgram::get(*this, /*allowFloats=*/true)
      .emit({score, builder.b, builder.h, builder.p, builder.j}, builder);
}
