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

private:
  /// The node of a position, or -1 outside every chunk.
  int64_t getNode(int64_t b, int64_t position, Evaluator &evaluator) const;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_DIALECT_HOPDISTANCES_H
