//===- HopDistances.cpp - edges between the nodes of two tokens -----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/HopDistances.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include <queue>
#include <vector>

using namespace mlir;
using namespace sparse_attn;

namespace {
using Neighbours = std::vector<std::vector<int64_t>>;
using Distances = std::vector<int64_t>;
/// Keys of Evaluator::derived: nodes have their own number.
constexpr int64_t kNeighboursKey = -1;
} // namespace

static Neighbours computeNeighbours(const HopGraph &graph, Evaluator &evaluator) {
  int64_t nodes = evaluator.shape(graph.indptr)[0] - 1;
  Neighbours neighbours(nodes);
  for (int64_t node = 0; node < nodes; ++node) {
    int64_t end = evaluator.integer(graph.indptr, {node + 1});
    for (int64_t e = evaluator.integer(graph.indptr, {node}); e < end; ++e) {
      int64_t other = evaluator.integer(graph.indices, {e});
      neighbours[node].push_back(other);
      if (!graph.directed)
        neighbours[other].push_back(node);
    }
  }
  return neighbours;
}

static Distances computeDistances(const Neighbours &neighbours, int64_t source) {
  Distances distances(neighbours.size(), -1);
  std::queue<int64_t> reached({source});
  distances[source] = 0;
  for (; !reached.empty(); reached.pop())
    for (int64_t next : neighbours[reached.front()])
      if (distances[next] < 0) {
        distances[next] = distances[reached.front()] + 1;
        reached.push(next);
      }
  return distances;
}

int64_t HopGraph::getNode(int64_t b, int64_t position, Evaluator &evaluator) const {
  // The last chunk that starts at or before the position holds it, if any does:
  // empty chunks before it start and end there too.
  int64_t first = 0, last = evaluator.shape(offsets)[1] - 1;
  if (last < 1 || position < evaluator.integer(offsets, {b, 0}) ||
      position >= evaluator.integer(offsets, {b, last}))
    return -1;
  while (last - first > 1) {
    int64_t middle = (first + last) / 2;
    (evaluator.integer(offsets, {b, middle}) <= position ? first : last) = middle;
  }
  return evaluator.integer(chunkNode, {b, first});
}

int64_t HopGraph::distance(int64_t b, int64_t p, int64_t j, Evaluator &evaluator) const {
  int64_t from = getNode(b, p, evaluator), to = getNode(b, j, evaluator);
  if (from < 0 || to < 0)
    return p == j ? 0 : -1;
  // One after the other: `derived` must not be entered again while it makes.
  Neighbours &neighbours = evaluator.derived<Neighbours>(
      op, kNeighboursKey, [&] { return computeNeighbours(*this, evaluator); });
  Distances &distances = evaluator.derived<Distances>(
      op, from, [&] { return computeDistances(neighbours, from); });
  return distances[to];
}

LogicalResult HopGraph::verifyChunks() const {
  int64_t starts = cast<RankedTensorType>(offsets.getType()).getDimSize(1);
  int64_t chunks = cast<RankedTensorType>(chunkNode.getType()).getDimSize(1);
  if (ShapedType::isDynamic(starts) || ShapedType::isDynamic(chunks) ||
      starts == chunks + 1)
    return success();
  return op->emitOpError()
         << "chunk_node must have one entry per chunk, " << starts - 1 << " for "
         << starts << " offsets, got " << chunks
         << "; offsets hold the start of every chunk and the end of the last";
}

PlanCheck HopGraph::getCheck() const {
  return {PlanCheck::Graph, {offsets, chunkNode, indptr, indices}, {}};
}

PlanTable HopGraph::getTable(int64_t maxHops, bool wantDistances) const {
  return {PlanTable::Reach,
          {offsets, chunkNode, indptr, indices},
          {maxHops, directed, wantDistances}};
}

ArrayRef<TensorSpec> HopGraph::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {
      {"offsets", 32, false, false, 2, {Axis::BatchOrOne, Axis::Free}},
      {"chunk_node", 32, false, false, 2, {Axis::BatchOrOne, Axis::Free}},
      {"indptr", 32, false, false, 1, {Axis::Free}},
      {"indices", 32, false, false, 1, {Axis::Free}}};
  return specs;
}
