//===- TileBuilder.cpp - emitting tile classes and scores -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/TileBuilder.h"
#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/IR/Matchers.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// FoldingBuilder
//===----------------------------------------------------------------------===//

Value FoldingBuilder::constant(int64_t value) {
  return arith::ConstantIntOp::create(builder, loc, value, 32);
}
Value FoldingBuilder::truth(bool value) {
  return arith::ConstantIntOp::create(builder, loc, value, 1);
}
Value FoldingBuilder::add(Value a, Value b) {
  return builder.createOrFold<arith::AddIOp>(loc, a, b);
}
Value FoldingBuilder::sub(Value a, Value b) {
  return builder.createOrFold<arith::SubIOp>(loc, a, b);
}
Value FoldingBuilder::mul(Value a, int64_t b) {
  return builder.createOrFold<arith::MulIOp>(loc, a, constant(b));
}
Value FoldingBuilder::min(Value a, Value b) {
  return builder.createOrFold<arith::MinSIOp>(loc, a, b);
}
Value FoldingBuilder::max(Value a, Value b) {
  return builder.createOrFold<arith::MaxSIOp>(loc, a, b);
}

Value FoldingBuilder::floorDiv(Value a, int64_t divisor) {
  if (divisor == 1)
    return a;
  // An arithmetic shift rounds down and is one instruction on every vector unit.
  if (llvm::isPowerOf2_64(divisor))
    return builder.createOrFold<arith::ShRSIOp>(loc, a, constant(llvm::Log2_64(divisor)));
  return builder.createOrFold<arith::FloorDivSIOp>(loc, a, constant(divisor));
}

Value FoldingBuilder::floorMod(Value a, int64_t divisor) {
  if (divisor == 1)
    return constant(0);
  if (llvm::isPowerOf2_64(divisor))
    return builder.createOrFold<arith::AndIOp>(loc, a, constant(divisor - 1));
  return sub(a, mul(floorDiv(a, divisor), divisor));
}

Value FoldingBuilder::compare(arith::CmpIPredicate predicate, Value a, Value b) {
  return builder.createOrFold<arith::CmpIOp>(loc, predicate, a, b);
}
Value FoldingBuilder::eq(Value a, Value b) {
  return compare(arith::CmpIPredicate::eq, a, b);
}
Value FoldingBuilder::ne(Value a, Value b) {
  return compare(arith::CmpIPredicate::ne, a, b);
}
Value FoldingBuilder::lt(Value a, Value b) {
  return compare(arith::CmpIPredicate::slt, a, b);
}
Value FoldingBuilder::le(Value a, Value b) {
  return compare(arith::CmpIPredicate::sle, a, b);
}
Value FoldingBuilder::land(Value a, Value b) {
  return builder.createOrFold<arith::AndIOp>(loc, a, b);
}
Value FoldingBuilder::lor(Value a, Value b) {
  return builder.createOrFold<arith::OrIOp>(loc, a, b);
}
Value FoldingBuilder::lnot(Value a) {
  return builder.createOrFold<arith::XOrIOp>(loc, a, truth(true));
}
Value FoldingBuilder::select(Value condition, Value a, Value b) {
  return builder.createOrFold<arith::SelectOp>(loc, condition, a, b);
}

//===----------------------------------------------------------------------===//
// TileBuilder
//===----------------------------------------------------------------------===//

TileBuilder::~TileBuilder() = default;

TileClass TileBuilder::classOf(Value mask) {
  auto it = classes.find(mask);
  if (it != classes.end())
    return it->second;
  TileClass result = cast<MaskOpInterface>(mask.getDefiningOp()).buildTileClass(*this);
  classes[mask] = result;
  return result;
}

TileClass TileBuilder::unite(TileClass x, TileClass y) {
  return {lor(x.may, y.may), lor(x.must, y.must)};
}
TileClass TileBuilder::intersect(TileClass x, TileClass y) {
  return {land(x.may, y.may), land(x.must, y.must)};
}
TileClass TileBuilder::complement(TileClass x) { return {lnot(x.must), lnot(x.may)}; }
TileClass TileBuilder::constantClass(bool kept) { return uniform(truth(kept)); }

KeyExtent TileBuilder::extentOf(Value mask) {
  auto it = extents.find(mask);
  if (it != extents.end())
    return it->second;
  KeyExtent result = cast<MaskOpInterface>(mask.getDefiningOp()).buildKeyExtent(*this);
  extents[mask] = result;
  return result;
}

/// `byX`: x decides all keys up to its end, whatever y is.
KeyExtent TileBuilder::decide(TileClass kind, KeyExtent x, KeyExtent y, Value byX,
                              Value byY) {
  Value both = select(byX, max(x.stop, y.stop), y.stop);
  Value stop = select(byY, both, select(byX, x.stop, min(x.stop, y.stop)));
  return {kind, stop};
}

KeyExtent TileBuilder::unite(KeyExtent x, KeyExtent y) {
  return decide(unite(x.kind, y.kind), x, y, x.kind.must, y.kind.must);
}
KeyExtent TileBuilder::intersect(KeyExtent x, KeyExtent y) {
  return decide(intersect(x.kind, y.kind), x, y, lnot(x.kind.may), lnot(y.kind.may));
}

KeyExtent TileBuilder::alikeIfDecided(TileClass x) {
  return {x, select(eq(x.may, x.must), keyEnd(), j0)};
}

/// Keys between two bounds of the same kind are told apart one by one:
///
///   first0   first1        end0     end1
///     |  each  |   all kept  |  each  |
KeyExtent TileBuilder::alikeInRange(Value first0, Value first1, Value end0, Value end1) {
  KeyExtent result = {constantClass(true), keyEnd()};
  // Keys from a bound on, of which `kept` are kept.
  auto addBound = [&](Value low, Value high, bool keptBefore) {
    Value before = lt(j0, low), after = le(high, j0);
    Value stop = select(before, low, select(after, keyEnd(), add(j0, 1)));
    Value none = keptBefore ? after : before, all = keptBefore ? before : after;
    result = intersect(result, {{lnot(none), all}, min(stop, keyEnd())});
  };
  if (first0)
    addBound(first0, first1, /*keptBefore=*/false);
  if (end0)
    addBound(end0, end1, /*keptBefore=*/true);
  return result;
}

TileClass TileBuilder::inRange(Value x0, Value x1, Value lo, Value hi) {
  return {land(le(lo, x1), le(x0, hi)), land(le(lo, x0), le(x1, hi))};
}

Value TileBuilder::isStepOf(int64_t divisor) {
  if (divisor == 1)
    return truth(true);
  if (period == 1 || period % divisor)
    return truth(false);
  return eq(step, constant(period));
}

TileClass TileBuilder::congruent(Value x0, Value x1, int64_t divisor, Value remainder) {
  if (divisor == 1)
    return constantClass(true);
  // A multiple of `divisor` in [a, b] exists when floor(b / d) * d >= a. All of
  // [a, b] are multiples only where a == b.
  Value a = sub(x0, remainder), b = sub(x1, remainder);
  Value past = floorMod(b, divisor);
  return {le(a, sub(b, past)), land(eq(x0, x1), eq(past, constant(0)))};
}

TileClass TileBuilder::multipleInSteps(Value x0, Value x1, int64_t divisor) {
  TileClass inRange = congruent(x0, x1, divisor, constant(0));
  Value alike = isStepOf(divisor);
  Value multiple = eq(floorMod(x1, divisor), constant(0));
  return {land(inRange.may, lor(multiple, lnot(alike))),
          lor(inRange.must, land(multiple, alike))};
}

//===----------------------------------------------------------------------===//
// ScoreBuilder
//===----------------------------------------------------------------------===//

ScoreBuilder::~ScoreBuilder() = default;

Value ScoreBuilder::constantF32(double value) {
  return arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(value));
}
Value ScoreBuilder::toF32(Value integer) {
  return builder.createOrFold<arith::SIToFPOp>(loc, builder.getF32Type(), integer);
}
