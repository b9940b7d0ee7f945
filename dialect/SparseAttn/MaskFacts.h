//===- MaskFacts.h - what is known of two masks at once --------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The questions behind the identities of the algebra. "No" always means "not
// known": every answer "yes" holds for all shapes, heads and positions, negative
// ones included, and for sampled masks.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_DIALECT_MASKFACTS_H
#define SPARSE_ATTN_DIALECT_MASKFACTS_H

#include "mlir/IR/Builders.h"
#include <optional>

namespace sparse_attn {

/// The keys -left <= j - p <= right at multiples of `rate` from the query; an end
/// without a value is unbounded. Every band holds j = p.
struct Band {
  std::optional<int64_t> left, right;
  int64_t rate = 1;

  bool isDiagonal() const { return left && right && *left < rate && *right < rate; }
  bool contains(const Band &other) const;
  bool operator==(const Band &other) const = default;
};

/// The band that a mask is, if it is one.
std::optional<Band> getBand(mlir::Value mask);

/// The same pairs with the ends and the rate that say it shortest.
Band getNormalForm(Band band);

/// Whether `op` is of the kind that buildBand makes of this band in normal form.
bool isNamedAfter(mlir::Operation *op, const Band &band);

/// The op of a band in normal form: all, causal, window, strided or dilated.
mlir::Value buildBand(Band band, mlir::OpBuilder &builder, mlir::Location loc);

/// The pairs of both bands, or nothing where the rate would be too large.
std::optional<Band> intersectBands(const Band &a, const Band &b);
/// The pairs of either band, where they are a band.
std::optional<Band> uniteBands(const Band &a, const Band &b);

/// Whether two masks are built the same way. Two sampled masks may be the same
/// without drawing the same pairs.
bool areSame(mlir::Value a, mlir::Value b);

/// Whether `outer` is 1 wherever `inner` is not 0.
bool covers(mlir::Value outer, mlir::Value inner);

} // namespace sparse_attn

#endif // SPARSE_ATTN_DIALECT_MASKFACTS_H
