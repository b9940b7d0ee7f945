//===- UnitScoreBuilder.h - emitting the scores of key units ---*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What a score op emits into. Its states lie in words, units side by side; a score says
// what one word adds, and is told nothing of how many units go at once or in what order.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_DIALECT_UNITSCOREBUILDER_H
#define SPARSE_ATTN_DIALECT_UNITSCOREBUILDER_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"

namespace sparse_attn {

/// A number, f32 or i32, for each of the units that are scored at once: a vector for
/// each group of units.
using Lanes = llvm::SmallVector<mlir::Value, 4>;

class UnitScoreBuilder {
public:
  virtual ~UnitScoreBuilder();

  //===--- The score: one of these ----------------------------------------===//
  /// `finish` of the sum, from 0 on, to which `add` adds what word `word` (an index) of
  /// the first state contributes, for all its words; the sum itself without `finish`.
  virtual void sumWords(
      llvm::function_ref<Lanes(mlir::Value word, Lanes sum)> add,
      llvm::function_ref<Lanes(Lanes sum)> finish = [](Lanes sum) { return sum; }) = 0;
  /// The level (`getLevels`) that is the sum, from 0 on, of what each word adds: i32.
  virtual void sumLevels(llvm::function_ref<Lanes(mlir::Value word, Lanes sum)> add) = 0;
  /// The sum of what words contribute from that one on whose number is the last word of
  /// the encoded query.
  virtual void
  sumLastWords(llvm::function_ref<Lanes(mlir::Value word, Lanes sum)> add) = 0;
  /// <encoded query, key> of every key.
  virtual void dotKeys() = 0;

  //===--- What it reads ---------------------------------------------------===//
  /// Words as they are kept, those of less than 32 bits with zeros above.
  virtual Lanes state(unsigned number, mlir::Value word) = 0;
  /// The same word of the encoded query for all units, as f32 and as i32.
  virtual Lanes query(mlir::Value word) = 0;
  virtual Lanes queryBits(mlir::Value word) = 0;
  /// Words `first` + offsets of the encoded query, as f32.
  virtual Lanes lookup(mlir::Value first, const Lanes &offsets) = 0;
  /// word * factor + offset, and a word that is known.
  virtual mlir::Value place(mlir::Value word, int64_t factor, int64_t offset = 0) = 0;
  virtual mlir::Value place(int64_t word) = 0;

  //===--- f32 -------------------------------------------------------------===//
  virtual Lanes real(double value) = 0;
  virtual Lanes add(const Lanes &a, const Lanes &b) = 0;
  virtual Lanes mul(const Lanes &a, const Lanes &b) = 0;
  virtual Lanes fma(const Lanes &a, const Lanes &b, const Lanes &c) = 0; ///< a * b + c
  /// c + the larger product of word `word` of the query with the same words of states
  /// `low` and `high`, low <= high or both NaN. The sign of the query tells which one it
  /// is, so that a score reads half of these states.
  virtual Lanes addLargerProduct(mlir::Value word, unsigned low, unsigned high,
                                 const Lanes &c) = 0;
  /// `a` where `x` is -0, `b` elsewhere.
  virtual Lanes ifNegativeZero(const Lanes &x, const Lanes &a, const Lanes &b) = 0;

  //===--- i32 -------------------------------------------------------------===//
  virtual Lanes toReal(const Lanes &integers) = 0;
  virtual Lanes addInts(const Lanes &a, const Lanes &b) = 0;
  virtual Lanes bitXor(const Lanes &a, const Lanes &b) = 0;
  virtual Lanes popcount(const Lanes &a) = 0;
  /// Bits [first, first + count), from bit 0 on.
  virtual Lanes bits(const Lanes &a, int64_t first, int64_t count) = 0;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_DIALECT_UNITSCOREBUILDER_H
