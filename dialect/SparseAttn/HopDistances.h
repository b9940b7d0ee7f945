//===- HopDistances.h - edges between the nodes of two tokens --*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What `graph_hop` and `hop_decay` evaluate: tokens lie in chunks, chunks belong
// to nodes, and the distance of two tokens is that of their nodes in the graph.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_DIALECT_HOPDISTANCES_H
#define SPARSE_ATTN_DIALECT_HOPDISTANCES_H

#include "dialect/SparseAttn/Semantics.h"

namespace sparse_attn {

/// The four graph operands of an op and how its edges are read.
struct HopGraph {
  mlir::Operation *op; ///< owner of what is kept between calls
  mlir::Value offsets, chunkNode, indptr, indices;
  bool directed;

  /// Edges on the shortest path from the node of position `p` to that of key
  /// `j`: 0 in the same node, -1 where there is no path. A token outside every
  /// chunk is at distance 0 from itself alone. Searches breadth first, once for
  /// every node that is asked about.
  int64_t distance(int64_t b, int64_t p, int64_t j, Evaluator &evaluator) const;

  /// That offsets hold one entry more than chunk_node, where both sizes are known.
  llvm::LogicalResult verifyChunks() const;
  /// What a plan checks of the operands, offsets included, and makes of them;
  /// `maxHops` below 0 is unbounded.
  PlanCheck getCheck() const;
  PlanTable getTable(int64_t maxHops, bool wantDistances) const;
  static llvm::ArrayRef<TensorSpec> getTensorSpecs();

private:
  /// The node of a position, or -1 outside every chunk.
  int64_t getNode(int64_t b, int64_t position, Evaluator &evaluator) const;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_DIALECT_HOPDISTANCES_H
