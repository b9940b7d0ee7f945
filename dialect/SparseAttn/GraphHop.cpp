//===- GraphHop.cpp - distances in a graph of chunks -----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// graph_hop, and what hop_decay shares with it.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/PatternSupport.h"

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// Distances
//===----------------------------------------------------------------------===//

using Adjacency = std::vector<std::vector<int64_t>>;

// The nodes that each node has an edge to; undirected edges count both ways.
static Adjacency computeAdjacency(const GraphOperands &graph, Evaluator &evaluator) {
  int64_t nodes = std::max<int64_t>(evaluator.shape(graph.indptr)[0] - 1, 0);
  Adjacency adjacency(nodes);
  for (int64_t from = 0; from < nodes; ++from) {
    int64_t begin = evaluator.integer(graph.indptr, {from});
    int64_t end = evaluator.integer(graph.indptr, {from + 1});
    for (int64_t edge = begin; edge < end; ++edge) {
      int64_t to = evaluator.integer(graph.indices, {edge});
      adjacency[from].push_back(to);
      if (!graph.directed)
        adjacency[to].push_back(from);
    }
  }
  return adjacency;
}

// Edges on a shortest path from `source` to each node, -1 where there is none.
static std::vector<int64_t> computeDistances(const Adjacency &adjacency, int64_t source) {
  std::vector<int64_t> distance(adjacency.size(), -1);
  std::vector<int64_t> queue = {source};
  distance[source] = 0;
  for (size_t next = 0; next != queue.size(); ++next)
    for (int64_t to : adjacency[queue[next]])
      if (distance[to] < 0) {
        distance[to] = distance[queue[next]] + 1;
        queue.push_back(to);
      }
  return distance;
}

std::optional<int64_t> sparse_attn::computeHopDistance(Operation *op,
                                                       const GraphOperands &graph,
                                                       const Pair &pair,
                                                       Evaluator &evaluator) {
  // Keys of what is derived: b >= 0 for the chunks of the tokens, -1 for the
  // adjacency, -2 - node for the distances from a node.
  const auto &chunks = evaluator.derived<std::vector<int64_t>>(
      op, pair.b, [&] { return computeSegments(graph.offsets, pair.b, evaluator); });
  int64_t from = segmentOf(chunks, pair.p), to = segmentOf(chunks, pair.j);
  if (from < 0 || to < 0)
    return pair.p == pair.j ? std::optional<int64_t>(0) : std::nullopt;
  if (from == to)
    return 0;
  int64_t fromNode = evaluator.integer(graph.chunkNode, {pair.b, from});
  int64_t toNode = evaluator.integer(graph.chunkNode, {pair.b, to});
  const auto &adjacency = evaluator.derived<Adjacency>(
      op, -1, [&] { return computeAdjacency(graph, evaluator); });
  const auto &distances = evaluator.derived<std::vector<int64_t>>(
      op, -2 - fromNode, [&] { return computeDistances(adjacency, fromNode); });
  int64_t distance = distances[toNode];
  return distance < 0 ? std::nullopt : std::optional<int64_t>(distance);
}

//===----------------------------------------------------------------------===//
// What graph_hop and hop_decay tell of their operands
//===----------------------------------------------------------------------===//

LogicalResult sparse_attn::verifyGraphShape(Operation *op, const GraphOperands &graph) {
  int64_t offsets = cast<ShapedType>(graph.offsets.getType()).getDimSize(1);
  int64_t chunks = cast<ShapedType>(graph.chunkNode.getType()).getDimSize(1);
  if (ShapedType::isDynamic(offsets) || ShapedType::isDynamic(chunks) ||
      offsets == chunks + 1)
    return success();
  return op->emitOpError()
         << "chunk_node must have one entry per chunk, " << offsets - 1 << " for "
         << offsets << " offsets, got " << chunks
         << "; offsets hold the start of every chunk and the end of the last";
}

SmallVector<PlanCheck> sparse_attn::getGraphChecks(const GraphOperands &graph) {
  return {PlanCheck{PlanCheck::Offsets, {graph.offsets}, {}},
          PlanCheck{PlanCheck::Graph,
                    {graph.offsets, graph.chunkNode, graph.indptr, graph.indices},
                    {}}};
}

PlanTable sparse_attn::getReachTable(const GraphOperands &graph,
                                     std::optional<int64_t> maxHops, bool wantDistances) {
  return {PlanTable::Reach,
          {graph.offsets, graph.chunkNode, graph.indptr, graph.indices},
          {maxHops.value_or(-1), graph.directed, wantDistances}};
}

ArrayRef<TensorSpec> sparse_attn::getGraphTensorSpecs() {
  static constexpr TensorSpec specs[] = {
      {"offsets", 32, false, false, 2, {Axis::BatchOrOne, Axis::Free}},
      {"chunk_node", 32, false, false, 2, {Axis::BatchOrOne, Axis::Free}},
      {"indptr", 32, false, false, 1, {Axis::Free}},
      {"indices", 32, false, false, 1, {Axis::Free}}};
  return specs;
}

//===----------------------------------------------------------------------===//
// graph_hop
//===----------------------------------------------------------------------===//

static GraphOperands getGraph(GraphHopOp op) {
  return {op.getOffsets(), op.getChunkNode(), op.getIndptr(), op.getIndices(),
          op.getDirected()};
}

LogicalResult GraphHopOp::verify() {
  // (graph_hop_c1) 0 <= max_hops < 2^30
  if (getMaxHops() &&
      failed(verifyParameter(*this, "max_hops", *getMaxHops(), 0,
                             "leave it out to reach every node that has a path")))
    return failure();
  // (graph_hop_c2) one node per chunk
  return verifyGraphShape(*this, getGraph(*this));
}

double GraphHopOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  std::optional<int64_t> distance =
      computeHopDistance(*this, getGraph(*this), pair, evaluator);
  return distance && (!getMaxHops() || *distance <= static_cast<int64_t>(*getMaxHops()));
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
  return getGraphChecks(getGraph(*this));
}

std::optional<PlanTable> GraphHopOp::getPlanTable() {
  return getReachTable(getGraph(*this), getMaxHops(), /*wantDistances=*/false);
}

ArrayRef<TensorSpec> GraphHopOp::getTensorSpecs() { return getGraphTensorSpecs(); }
