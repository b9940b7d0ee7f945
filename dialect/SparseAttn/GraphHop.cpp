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

static HopGraph getGraph(GraphHopOp op) {
  return {op,
          op.getOffsets(),
          op.getChunkNode(),
          op.getIndptr(),
          op.getIndices(),
          op.getDirected()};
}

LogicalResult GraphHopOp::verify() {
  // (graph_hop_c1) 0 <= max_hops < 2^30
  if (getMaxHops() &&
      failed(verifyParameter(*this, "max_hops", *getMaxHops(), 0,
                             "leave it out to reach every node that has a path")))
    return failure();
  // (graph_hop_c2) offsets hold one entry more than chunk_node, where both sizes are
  // known
  return getGraph(*this).verifyChunks();
}

double GraphHopOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  int64_t hops = getGraph(*this).distance(pair.b, pair.p, pair.j, evaluator);
  return hops >= 0 && (!getMaxHops() || hops <= static_cast<int64_t>(*getMaxHops()));
}

TileClass GraphHopOp::buildTileClass(TileBuilder &builder) {
  return builder.callTableHelper(
      "sa_classify_reach", *this,
      {builder.b, builder.p0, builder.p1, builder.j0, builder.j1});
}

KeyExtent GraphHopOp::buildKeyExtent(TileBuilder &builder) {
  return builder.callExtentHelper(
      "sa_extent_reach", *this,
      {builder.b, builder.p0, builder.p1, builder.j0, builder.j1});
}

Binding GraphHopOp::getOwnBinding() { return Binding::Plan; }

bool GraphHopOp::isPerBatch() {
  return variesAlong(getOffsets(), 0) || variesAlong(getChunkNode(), 0);
}

SmallVector<PlanCheck> GraphHopOp::getPlanChecks() {
  return {getGraph(*this).getCheck()};
}

std::optional<PlanTable> GraphHopOp::getPlanTable() {
  int64_t maxHops = getMaxHops() ? static_cast<int64_t>(*getMaxHops()) : -1;
  return getGraph(*this).getTable(maxHops, /*wantDistances=*/false);
}

ArrayRef<TensorSpec> GraphHopOp::getTensorSpecs() { return HopGraph::getTensorSpecs(); }
