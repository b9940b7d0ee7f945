//===- Modifiers.cpp - what the score modifiers mean ----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// `evaluate` is the meaning in double. `buildScore` emits the same for one f32
// score from elementwise ops alone, so that a lowering may repeat them on
// vectors of keys. `custom_score` is in Custom.cpp.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/HopDistances.h"
#include "dialect/SparseAttn/PatternSupport.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace sparse_attn;

/// Numbers whose f32 value and its reciprocal are normal: dividing by one gives
/// neither 0 / 0 nor infinity / infinity where the score is finite.
static bool isDivisor(const APFloat &value) {
  double number = value.convertToDouble();
  return number >= 0x1p-126 && number <= 0x1p126;
}

//===----------------------------------------------------------------------===//
// SoftcapOp
//===----------------------------------------------------------------------===//

LogicalResult SoftcapOp::verify() {
  // (softcap_c1)
  if (!isDivisor(getCap()))
    return emitOpError("cap must be > 0 and an ordinary f32 number (2^-126 to 2^126); "
                       "leave softcap out to have no cap");
  return success();
}

double SoftcapOp::evaluate(double score, const Pair &, Evaluator &) {
  double cap = getCap().convertToDouble();
  return cap * std::tanh(score / cap);
}

Value SoftcapOp::buildScore(Value score, ScoreBuilder &builder) {
  OpBuilder &b = builder.builder;
  double cap = getCap().convertToDouble();
  Value ratio =
      arith::MulFOp::create(b, builder.loc, score, builder.constantF32(1 / cap));
  Value bounded = math::TanhOp::create(b, builder.loc, ratio);
  return arith::MulFOp::create(b, builder.loc, bounded, builder.constantF32(cap));
}

//===----------------------------------------------------------------------===//
// AlibiOp
//===----------------------------------------------------------------------===//

ArrayRef<TensorSpec> AlibiOp::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {
      {"slopes", 32, /*isFloat=*/true, /*optional=*/false, 1, {Axis::Heads}}};
  return specs;
}

double AlibiOp::evaluate(double score, const Pair &pair, Evaluator &evaluator) {
  double distance = std::abs(pair.p - pair.j);
  return score - evaluator.at(getSlopes(), {pair.h}) * distance;
}

Value AlibiOp::buildScore(Value score, ScoreBuilder &builder) {
  OpBuilder &b = builder.builder;
  Value distance = builder.toF32(
      builder.max(builder.sub(builder.p, builder.j), builder.sub(builder.j, builder.p)));
  Value slope = builder.load(getSlopes(), {builder.h});
  Value penalty = arith::MulFOp::create(b, builder.loc, slope, distance);
  return arith::SubFOp::create(b, builder.loc, score, penalty);
}

//===----------------------------------------------------------------------===//
// BiasOp
//===----------------------------------------------------------------------===//

ArrayRef<TensorSpec> BiasOp::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {
      {"bias",
       32,
       /*isFloat=*/true,
       /*optional=*/false,
       4,
       {Axis::BatchOrOne, Axis::HeadsOrOne, Axis::QueriesOrOne, Axis::KeysOrOne}}};
  return specs;
}

bool BiasOp::readsAlongKeys() { return true; }

double BiasOp::evaluate(double score, const Pair &pair, Evaluator &evaluator) {
  ArrayRef<int64_t> shape = evaluator.shape(getBias());
  std::array<int64_t, 4> index = {pair.b, pair.h, pair.i, pair.j};
  for (auto [i, size] : llvm::zip(index, shape))
    i = size == 1 ? 0 : i;
  return score + evaluator.at(getBias(), index);
}

Value BiasOp::buildScore(Value score, ScoreBuilder &builder) {
  Value bias = builder.load(getBias(), {builder.b, builder.h, builder.i, builder.j});
  return arith::AddFOp::create(builder.builder, builder.loc, score, bias);
}

//===----------------------------------------------------------------------===//
// RelativeBiasOp
//===----------------------------------------------------------------------===//

ArrayRef<TensorSpec> RelativeBiasOp::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {{"table",
                                          32,
                                          /*isFloat=*/true,
                                          /*optional=*/false,
                                          2,
                                          {Axis::HeadsOrOne, Axis::Odd}}};
  return specs;
}

LogicalResult RelativeBiasOp::verify() {
  // (relative_bias_c1) A size known at run time alone is checked then.
  int64_t columns = getTable().getType().getDimSize(1);
  if (!ShapedType::isDynamic(columns) && columns % 2 == 0)
    return emitOpError() << "table must have an odd number of columns, 2 R + 1 for the "
                            "distances -R to R, got "
                         << columns;
  return success();
}

/// The column of p - j in a table of 2 R + 1: clamp(p - j, -R, R) + R.
double RelativeBiasOp::evaluate(double score, const Pair &pair, Evaluator &evaluator) {
  ArrayRef<int64_t> shape = evaluator.shape(getTable());
  int64_t reach = shape[1] / 2;
  int64_t column = std::clamp(pair.p - pair.j, -reach, reach) + reach;
  return score + evaluator.at(getTable(), {shape[0] == 1 ? 0 : pair.h, column});
}

Value RelativeBiasOp::buildScore(Value score, ScoreBuilder &builder) {
  Value reach = builder.floorDiv(builder.size(getTable(), 1), 2);
  Value distance = builder.sub(builder.p, builder.j);
  Value column = builder.max(builder.add(distance, reach), builder.constant(0));
  column = builder.min(column, builder.add(reach, reach));
  Value bias = builder.load(getTable(), {builder.h, column});
  return arith::AddFOp::create(builder.builder, builder.loc, score, bias);
}

//===----------------------------------------------------------------------===//
// HopDecayOp
//===----------------------------------------------------------------------===//

static HopGraph getGraph(HopDecayOp op) {
  return {op,
          op.getOffsets(),
          op.getChunkNode(),
          op.getIndptr(),
          op.getIndices(),
          op.getDirected()};
}

LogicalResult HopDecayOp::verify() {
  // (hop_decay_c1)
  if (failed(verifyParameter(*this, "max_hops", getMaxHops(), 0,
                             "0 lets the score decay from the first edge on")))
    return failure();
  // (hop_decay_c2)
  if (!isDivisor(getTemperature()))
    return emitOpError("temperature must be > 0 and an ordinary f32 number (2^-126 to "
                       "2^126); use sparse_attn.graph_hop for a sharp limit");
  // (hop_decay_c3)
  return getGraph(*this).verifyChunks();
}

/// Hops from the node of the query to the node of the key, below 0 where there is
/// no path.
static int64_t getHops(HopDecayOp op, const Pair &pair, Evaluator &evaluator) {
  return getGraph(op).distance(pair.b, pair.p, pair.j, evaluator);
}

bool HopDecayOp::excludes(const Pair &pair, Evaluator &evaluator) {
  return getHops(*this, pair, evaluator) < 0;
}

double HopDecayOp::evaluate(double score, const Pair &pair, Evaluator &evaluator) {
  int64_t hops = getHops(*this, pair, evaluator);
  if (hops < 0)
    return -std::numeric_limits<double>::infinity();
  int64_t excess = std::max<int64_t>(0, hops - static_cast<int64_t>(getMaxHops()));
  return score - excess / getTemperature().convertToDouble();
}

Value HopDecayOp::buildScore(Value score, ScoreBuilder &builder) {
  OpBuilder &b = builder.builder;
  Location loc = builder.loc;
  Value limit = builder.constantF32(static_cast<int64_t>(getMaxHops()));
  Value excess = arith::SubFOp::create(b, loc, builder.hops, limit);
  excess = arith::MaximumFOp::create(b, loc, excess, builder.constantF32(0));
  Value temperature = builder.constantF32(getTemperature().convertToDouble());
  Value penalty = arith::DivFOp::create(b, loc, excess, temperature);
  return arith::SubFOp::create(b, loc, score, penalty);
}

/// Tokens without a path between them are excluded.
std::optional<TileClass> HopDecayOp::buildTileClass(TileBuilder &builder) {
  return builder.callTableHelper(
      "sa_classify_reach", *this,
      {builder.b, builder.p0, builder.p1, builder.j0, builder.j1});
}

SmallVector<PlanCheck> HopDecayOp::getPlanChecks() {
  return {getGraph(*this).getCheck()};
}

std::optional<PlanTable> HopDecayOp::getPlanTable() {
  return getGraph(*this).getTable(/*maxHops=*/-1, /*wantDistances=*/true);
}

ArrayRef<TensorSpec> HopDecayOp::getTensorSpecs() { return HopGraph::getTensorSpecs(); }
