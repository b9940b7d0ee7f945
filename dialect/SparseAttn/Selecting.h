//===- Selecting.h - what masks bound at run time share --------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// How the meaning of a selection is put together: units, their scores, the ranks of
// candidates.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_DIALECT_SELECTING_H
#define SPARSE_ATTN_DIALECT_SELECTING_H

#include "dialect/SparseAttn/MaskOperands.h"
#include "dialect/SparseAttn/PatternSupport.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>

namespace sparse_attn {

//===--- Numbers ----------------------------------------------------------===//

/// The lesser and the larger of two numbers; a NaN stays.
inline double least(double a, double b) { return a < b || std::isnan(a) ? a : b; }
inline double largest(double a, double b) { return a > b || std::isnan(a) ? a : b; }

inline double dot(llvm::ArrayRef<double> x, llvm::ArrayRef<double> y) {
  double sum = 0;
  for (auto [a, b] : llvm::zip_equal(x, y))
    sum += a * b;
  return sum;
}

//===--- Units and their scores -------------------------------------------===//

/// The key units of one query unit: whether some pair is a candidate, and the score,
/// which means nothing where no pair is one.
struct UnitScores {
  llvm::BitVector candidate;
  std::vector<double> score;
};

/// The rows that choose together with row i.
QueryUnit getQueryUnit(SelectionOpInterface op, const Pair &pair, Evaluator &evaluator);

/// What `op` chooses from for `unit`, by its score.
UnitScores computeUnitScores(SelectionOpInterface op, const QueryUnit &unit,
                             Evaluator &evaluator);

/// The candidate units from the best to the worst: descending scores, then NaN; equal
/// ones in ascending order of their index.
std::vector<int64_t> rankUnits(const UnitScores &units);

/// A number that tells (b, h, x) apart, for caches.
inline int64_t getRowKey(int64_t plane, int64_t x) {
  return plane << 32 | static_cast<uint32_t>(x);
}

/// Whether the unit of the pair's key is among those that `choose` takes, which is
/// asked once for each query unit, and the pair is a candidate.
template <typename Op, typename Choose>
bool isChosen(Op op, const Pair &pair, Evaluator &evaluator, Choose choose) {
  if (evaluator.evaluate(op.getCandidates(), pair) != 1)
    return false;
  auto selection = llvm::cast<SelectionOpInterface>(op.getOperation());
  int64_t plane = pair.b * evaluator.heads() + pair.h;
  int64_t key = getRowKey(plane, pair.i / selection.getBlockQ());
  const auto &chosen = evaluator.latest<llvm::BitVector>(
      op, key, [&] { return choose(getQueryUnit(selection, pair, evaluator)); });
  return chosen[pair.j / selection.getBlockK()];
}

/// What a mask that chooses from `candidates` keeps at most.
inline TileClass buildCandidateClass(mlir::Value candidates, TileBuilder &builder) {
  return {builder.classOf(candidates).may, builder.truth(false)};
}

//===--- Draws ------------------------------------------------------------===//

/// A permutation of [0, size) for one row and stream, as docs/semantics.md defines it
/// in section 6: the first draws of it are a sample without replacement.
class KeyedPermutation {
public:
  KeyedPermutation(int64_t seed, uint32_t plane, uint32_t row, Stream stream,
                   uint32_t size);
  uint32_t operator()(uint32_t index) const;

private:
  uint32_t size;
  unsigned highBits, lowBits;
  std::array<uint32_t, 8> keys;
};

/// Random directions, nearly normal: each number is the sum of 96 random bits and one
/// uniform number, as docs/semantics.md defines it in section 6.
std::vector<std::vector<double>> drawDirections(int64_t seed, int64_t count,
                                                int64_t width, Stream stream);

/// The keys of one row that are candidates, in ascending order.
std::vector<int64_t> listCandidates(mlir::Value candidates, const Pair &pair,
                                    Evaluator &evaluator);

/// One of `count` and `rate`, called so after `prefix`, is given and in range.
mlir::LogicalResult verifyDraws(mlir::Operation *op, std::optional<uint64_t> count,
                                std::optional<llvm::APFloat> rate,
                                llvm::StringRef prefix = "");

/// Draws from `candidates` candidates: min(count, candidates), or floor(rate *
/// candidates).
int64_t countDraws(std::optional<uint64_t> count, std::optional<llvm::APFloat> rate,
                   int64_t candidates);

//===--- Verifiers --------------------------------------------------------===//

/// 1 <= block_q < 2^30.
mlir::LogicalResult verifyBlockQ(SelectionOpInterface op);
/// 1 <= block_k < 2^30.
mlir::LogicalResult verifyBlockK(SelectionOpInterface op);

/// A number as messages show it.
std::string formatReal(double value);

/// 0 < value <= 1, or value == 0 where `withZero`.
mlir::LogicalResult verifyShare(mlir::Operation *op, llvm::StringRef name,
                                const llvm::APFloat &value, bool withZero,
                                llvm::StringRef instead);

} // namespace sparse_attn

#endif // SPARSE_ATTN_DIALECT_SELECTING_H
