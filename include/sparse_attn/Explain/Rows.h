//===- Rows.h - which keys a row attends to, and why -----------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What a run decides has no plan to look at. Here the float64 reference decides it again
// on the same arrays, and says what each part of a mask keeps.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_EXPLAIN_ROWS_H
#define SPARSE_ATTN_EXPLAIN_ROWS_H

#include "sparse_attn/Explain/Explain.h"
#include "sparse_attn/Reference/Reference.h"

namespace sparse_attn {

/// A part of a mask: the largest expressions that a plan knows, and every selection,
/// list and draw.
struct MaskPart {
  std::string label; ///< "sink(4)", "top_k(dot, k = 64)"
  Binding binding = Binding::Compile;
  std::vector<int64_t> keys; ///< in ascending order
  /// Of what chooses among candidates.
  std::optional<int64_t> candidates;
  /// Of the kept keys.
  double leastProbability = 1, mostProbability = 1;
  /// Draws that an adaptive sample made to find out how many it needs.
  std::optional<int64_t> baseDraws;

  bool isSampled() const { return leastProbability < 1; }
  bool operator==(const MaskPart &) const = default;
};

/// One row of one attention.
struct RowFacts {
  Row row;
  size_t attention = 0;
  int64_t position = 0;
  int64_t keys = 0;          ///< that there are
  bool isPadding = false;    ///< behind q_len
  std::vector<int64_t> kept; ///< by the whole mask
  std::vector<MaskPart> parts;
};

llvm::Expected<RowFacts> explainRow(Reference &reference, size_t attention, Row row);

/// Counts, the first keys, and a line of where they lie.
void printRow(const RowFacts &facts, llvm::raw_ostream &os);

/// The pairs that a plane (b, h) of every attention keeps, as buildSvg takes it. At most
/// 512 queries and keys.
llvm::Expected<Explanation> explainPairs(Reference &reference, llvm::StringRef kernel,
                                         Plane plane);

} // namespace sparse_attn

#endif // SPARSE_ATTN_EXPLAIN_ROWS_H
