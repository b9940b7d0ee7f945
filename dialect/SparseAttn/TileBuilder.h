//===- TileBuilder.h - emitting tile classes and scores --------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What a mask op emits into: i32 arithmetic that folds as it is built, and
// Kleene's three-valued logic over rectangles of pairs.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_DIALECT_TILEBUILDER_H
#define SPARSE_ATTN_DIALECT_TILEBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringRef.h"

namespace sparse_attn {

/// The class of a rectangle of pairs: empty = !may, full = must, else unknown.
/// Both are i1, and must implies may.
struct TileClass {
  mlir::Value may, must;
};

/// Keys [j0, stop) that are alike, which the same positions keep, and their class with
/// the positions. With stop == j0 nothing is known of so many keys as were asked about.
struct KeyExtent {
  TileClass kind;
  mlir::Value stop; ///< i32
};

/// i32 and i1 arithmetic that folds constants as it is built. Positions, keys
/// and parameters are below 2^30 in magnitude, so sums of two do not overflow.
class FoldingBuilder {
public:
  FoldingBuilder(mlir::OpBuilder &builder, mlir::Location loc)
      : builder(builder), loc(loc) {}

  mlir::OpBuilder &builder;
  mlir::Location loc;

  mlir::Value constant(int64_t value);
  mlir::Value truth(bool value);
  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value add(mlir::Value a, int64_t b) { return add(a, constant(b)); }
  mlir::Value sub(mlir::Value a, mlir::Value b);
  mlir::Value sub(mlir::Value a, int64_t b) { return sub(a, constant(b)); }
  mlir::Value mul(mlir::Value a, int64_t b);
  mlir::Value min(mlir::Value a, mlir::Value b);
  mlir::Value max(mlir::Value a, mlir::Value b);
  /// Quotient and remainder that round towards minus infinity; divisor >= 1.
  mlir::Value floorDiv(mlir::Value a, int64_t divisor);
  mlir::Value floorMod(mlir::Value a, int64_t divisor);
  mlir::Value compare(mlir::arith::CmpIPredicate predicate, mlir::Value a, mlir::Value b);
  mlir::Value eq(mlir::Value a, mlir::Value b);
  mlir::Value ne(mlir::Value a, mlir::Value b);
  mlir::Value lt(mlir::Value a, mlir::Value b);
  mlir::Value le(mlir::Value a, mlir::Value b);
  mlir::Value ge(mlir::Value a, mlir::Value b) { return le(b, a); }
  mlir::Value gt(mlir::Value a, mlir::Value b) { return lt(b, a); }
  mlir::Value land(mlir::Value a, mlir::Value b);
  mlir::Value lor(mlir::Value a, mlir::Value b);
  mlir::Value lnot(mlir::Value a);
  mlir::Value select(mlir::Value condition, mlir::Value a, mlir::Value b);
};

/// Builds the class of positions p0, p0 + step, ..., p1 x keys j0, j0 + step, ...,
/// j1: ends are inclusive, and the step is 1 or `period`.
class TileBuilder : public FoldingBuilder {
public:
  using FoldingBuilder::FoldingBuilder;
  virtual ~TileBuilder();

  mlir::Value b, h, p0, p1, j0, j1; ///< i32
  mlir::Value step;                 ///< i32; read where the period is not 1
  int64_t period = 1;

  /// The class of another mask over the same rectangle, emitted once.
  TileClass classOf(mlir::Value mask);

  /// The keys from j0 on that are alike for another mask, emitted once.
  KeyExtent extentOf(mlir::Value mask);

  /// Kleene's connectives.
  TileClass unite(TileClass x, TileClass y);
  TileClass intersect(TileClass x, TileClass y);
  TileClass complement(TileClass x);
  TileClass constantClass(bool kept);
  /// Of keys: where one operand alone decides, they are alike as far as for that one,
  /// else as far as for both.
  KeyExtent unite(KeyExtent x, KeyExtent y);
  KeyExtent intersect(KeyExtent x, KeyExtent y);
  KeyExtent complement(KeyExtent x) { return {complement(x.kind), x.stop}; }

  /// What the class of the whole rectangle says of its keys: all are alike if it is
  /// decided.
  KeyExtent alikeIfDecided(TileClass x);
  /// Keys j with first(p) <= j < end(p), where first(p) is in [first0, first1] and end(p)
  /// in [end0, end1] for the positions asked about; null values are no bound.
  KeyExtent alikeInRange(mlir::Value first0, mlir::Value first1, mlir::Value end0,
                         mlir::Value end1);
  /// One past j1.
  mlir::Value keyEnd() { return add(j1, 1); }

  /// The condition is the same for every pair of the rectangle.
  TileClass uniform(mlir::Value condition) { return {condition, condition}; }

  /// Whether the rectangle is a single pair.
  mlir::Value isPoint() { return land(eq(p0, p1), eq(j0, j1)); }
  /// Whether the step is a multiple of `divisor`: then positions are alike modulo
  /// `divisor`, and so are keys.
  mlir::Value isStepOf(int64_t divisor);

  /// lo <= x <= hi somewhere in, and all over, the range [x0, x1].
  TileClass inRange(mlir::Value x0, mlir::Value x1, mlir::Value lo, mlir::Value hi);
  /// x mod divisor == remainder somewhere in, and all over, the range [x0, x1].
  TileClass congruent(mlir::Value x0, mlir::Value x1, int64_t divisor,
                      mlir::Value remainder);
  /// The same of multiples of divisor in x0, x0 + step, ..., x1.
  TileClass multipleInSteps(mlir::Value x0, mlir::Value x1, int64_t divisor);

  /// n, in tokens, and H, as i32.
  virtual mlir::Value keys() = 0;
  virtual mlir::Value heads() = 0;
  /// An i32 element of a layout operand. The index is i32; an axis that is 1
  /// long broadcasts.
  virtual mlir::Value load(mlir::Value tensor, mlir::ValueRange index) = 0;
  /// The class that the runtime's function `symbol` (runtime/.../abi.h) answers
  /// with. Arguments are tensors (passed as sa_view pointers, null ones as
  /// null), i32 and i64 values, in the order of the C declaration.
  virtual TileClass callHelper(llvm::StringRef symbol, mlir::ValueRange arguments) = 0;
  /// As callHelper, with the plan table of `op` as the first argument.
  virtual TileClass callTableHelper(llvm::StringRef symbol, mlir::Operation *op,
                                    mlir::ValueRange arguments) = 0;
  /// The same of an sa_extent_fn, with the table of `op` unless that is null.
  virtual KeyExtent callExtentHelper(llvm::StringRef symbol, mlir::Operation *op,
                                     mlir::ValueRange arguments) = 0;

private:
  KeyExtent decide(TileClass kind, KeyExtent x, KeyExtent y, mlir::Value byX,
                   mlir::Value byY);

  llvm::DenseMap<mlir::Value, TileClass> classes;
  llvm::DenseMap<mlir::Value, KeyExtent> extents;
};

/// Builds the modified score of one pair.
class ScoreBuilder : public FoldingBuilder {
public:
  using FoldingBuilder::FoldingBuilder;
  virtual ~ScoreBuilder();

  mlir::Value b, h, i, p, j; ///< i32
  mlir::Value hops;          ///< f32 distance in the reach table, +inf if unreachable

  mlir::Value constantF32(double value);
  mlir::Value toF32(mlir::Value integer);
  /// An f32 element of an operand, with i32 indices; a 1-long axis broadcasts.
  virtual mlir::Value load(mlir::Value tensor, mlir::ValueRange index) = 0;
  /// The size of an axis as i32.
  virtual mlir::Value size(mlir::Value tensor, unsigned axis) = 0;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_DIALECT_TILEBUILDER_H
