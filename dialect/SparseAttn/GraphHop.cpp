//===- GraphHop.cpp - reach along the edges of a graph ----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/HopDistances.h"
#include "dialect/SparseAttn/PatternSupport.h"

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// graph_hop
//===----------------------------------------------------------------------===//

LogicalResult GraphHopOp::verify() {
  // (graph_hop_c1) 0 <= max_hops < 2^30
  if (getMaxHops() &&
      failed(verifyParameter(*this, "max_hops", *getMaxHops(), 0,
                             "leave it out to reach every node that has a path")))
    return failure();
  // (graph_hop_c2) offsets hold one entry more than chunk_node, where both sizes are
  // known
  int64_t offsets = getOffsets().getType().getDimSize(1);
  int64_t chunks = getChunkNode().getType().getDimSize(1);
  if (ShapedType::isDynamic(offsets) || ShapedType::isDynamic(chunks) ||
      offsets == chunks + 1)
    return success();
  return emitOpError()
         << "chunk_node must have one entry per chunk, " << offsets - 1 << " for "
         << offsets << " offsets, got " << chunks
         << "; offsets hold the start of every chunk and the end of the last";
}

double GraphHopOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  HopGraph graph{*this,       getOffsets(), getChunkNode(),
                 getIndptr(), getIndices(), getDirected()};
  int64_t hops = graph.distance(pair.b, pair.p, pair.j, evaluator);
  return hops >= 0 && (!getMaxHops() || hops <= static_cast<int64_t>(*getMaxHops()));
}

TileClass GraphHopOp::buildTileClass(TileBuilder &builder) {
  return builder.callTableHelper(
      "sa_classify_reach", *this,
      {builder.b, builder.p0, builder.p1, builder.j0, builder.j1});
}

Binding GraphHopOp::getOwnBinding() { return Binding::Plan; }

bool GraphHopOp::isPerBatch() {
  return variesAlong(getOffsets(), 0) || variesAlong(getChunkNode(), 0);
}

SmallVector<PlanCheck> GraphHopOp::getPlanChecks() {
  // Of the offsets too.
  return {
      {PlanCheck::Graph, {getOffsets(), getChunkNode(), getIndptr(), getIndices()}, {}}};
}

std::optional<PlanTable> GraphHopOp::getPlanTable() {
  constexpr int64_t kUnbounded = -1, kNoDistances = 0;
  int64_t maxHops = getMaxHops() ? static_cast<int64_t>(*getMaxHops()) : kUnbounded;
  return PlanTable{PlanTable::Reach,
                   {getOffsets(), getChunkNode(), getIndptr(), getIndices()},
                   {maxHops, getDirected(), kNoDistances}};
}

ArrayRef<TensorSpec> GraphHopOp::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {
      {"offsets", 32, false, false, 2, {Axis::BatchOrOne, Axis::Free}},
      {"chunk_node", 32, false, false, 2, {Axis::BatchOrOne, Axis::Free}},
      {"indptr", 32, false, false, 1, {Axis::Free}},
      {"indices", 32, false, false, 1, {Axis::Free}}};
  return specs;
}
