//===- RegionEmission.cpp - emitting a custom region and its class --------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The scalar code of a program, and its intervals over a rectangle of pairs:
// [lo, hi] of every integer, [must, may] of every i1. A step that is not
// followed precisely gets its bounds, so that comparisons with it are unknown. In steps
// of a period, what repeats is as it is for the first pair.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/RegionProgram.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace sparse_attn;

namespace {
/// What a value can be over a rectangle. For an i1, lo is whether it must and hi
/// whether it may be true.
struct Interval {
  Value lo, hi;
};
} // namespace

static bool isNonNegative(const StepBounds &x) { return x.min >= 0; }

/// Whether every integer may be computed in i32 with the same result: all values
/// fit, and the steps that look at the upper half see zeros there.
static bool isNarrow(ArrayRef<Step> steps, ArrayRef<StepBounds> bounds) {
  for (auto [step, bound] : llvm::zip(steps, bounds)) {
    if (step.width <= 1)
      continue;
    if (bound.min < llvm::minIntN(32) || bound.max > llvm::maxIntN(32))
      return false;
    bool isShift = step.kind >= StepKind::ShL && step.kind <= StepKind::ShRU;
    if (isShift && bounds[step.operands[1]].max >= 32)
      return false;
    bool isUnsigned = step.kind == StepKind::DivU || step.kind == StepKind::RemU ||
                      step.kind == StepKind::CeilDivU || step.kind == StepKind::ShRU ||
                      step.kind == StepKind::UnsignedCast;
    if (isUnsigned && step.operandWidth == 64 && !isNonNegative(bounds[step.operands[0]]))
      return false;
  }
  // Conversions of integers to f32 read signed numbers that fit; those of
  // unsigned ones must not see a sign.
  for (const Step &step : steps)
    if (step.kind == StepKind::UnsignedToF && step.operandWidth == 64 &&
        !isNonNegative(bounds[step.operands[0]]))
      return false;
  return true;
}

//===----------------------------------------------------------------------===//
// Emitter
//===----------------------------------------------------------------------===//

namespace {
class Emitter {
public:
  Emitter(ArrayRef<Step> steps, ArrayRef<StepBounds> bounds, FoldingBuilder &builder)
      : steps(steps), bounds(bounds), builder(builder), narrow(isNarrow(steps, bounds)) {}

  /// Every step as scalar code; arguments are i32 or f32.
  SmallVector<Value> emitScalars(ValueRange arguments);
  /// Every step as an interval over the rectangle of `tile`. No floats. `first` has the
  /// scalars of its first pair, and `periods` after how many tokens they repeat.
  SmallVector<Interval> emitIntervals(TileBuilder &tile, ArrayRef<Value> first,
                                      ArrayRef<int64_t> periods);

private:
  Type getType(unsigned width);
  Value constant(int64_t value, unsigned width);
  Value convert(Value value, unsigned from, unsigned to, bool isSigned);
  template <typename Op> Value create(Value a, Value b) {
    return builder.builder.createOrFold<Op>(builder.loc, a, b);
  }
  Value emitBinary(StepKind kind, Value a, Value b);
  Value emitScalar(const Step &step, ArrayRef<Value> x);

  Interval getWholeRange(unsigned slot);
  Interval emitInterval(unsigned slot, ArrayRef<Interval> x);
  Interval emitBoolean(const Step &step, ArrayRef<Interval> x);
  Interval emitComparison(const Step &step, Interval a, Interval b);
  Interval emitProduct(const Step &step, Interval a, Interval b);
  Interval emitRemainder(const Step &step, Interval a, Value divisor);
  Interval emitAnd(unsigned slot, Interval a, Interval b);
  Interval emitSelect(const Step &step, ArrayRef<Interval> x);
  Interval emitUnsigned(unsigned slot, Interval a, Interval b);
  Interval emitRepeated(const Step &step, Interval range, Interval dividend, Value first,
                        Value repeats);
  Interval monotone(StepKind kind, Interval a, Value b) {
    return {emitBinary(kind, a.lo, b), emitBinary(kind, a.hi, b)};
  }

  ArrayRef<Step> steps;
  ArrayRef<StepBounds> bounds;
  FoldingBuilder &builder;
  bool narrow;
};
} // namespace

Type Emitter::getType(unsigned width) {
  if (width == 0)
    return builder.builder.getF32Type();
  return builder.builder.getIntegerType(width == 64 && narrow ? 32 : width);
}

Value Emitter::constant(int64_t value, unsigned width) {
  if (width == 1)
    return builder.truth(value != 0);
  return arith::ConstantOp::create(builder.builder, builder.loc,
                                   builder.builder.getIntegerAttr(getType(width), value));
}

Value Emitter::convert(Value value, unsigned from, unsigned to, bool isSigned) {
  unsigned have = getType(from).getIntOrFloatBitWidth();
  unsigned want = getType(to).getIntOrFloatBitWidth();
  OpBuilder &b = builder.builder;
  if (want < have)
    return b.createOrFold<arith::TruncIOp>(builder.loc, getType(to), value);
  if (want > have && isSigned)
    return b.createOrFold<arith::ExtSIOp>(builder.loc, getType(to), value);
  if (want > have)
    return b.createOrFold<arith::ExtUIOp>(builder.loc, getType(to), value);
  return value;
}

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

Value Emitter::emitBinary(StepKind kind, Value a, Value b) {
  switch (kind) {
  case StepKind::AddI:
    return builder.add(a, b);
  case StepKind::SubI:
    return builder.sub(a, b);
  case StepKind::MulI:
    return create<arith::MulIOp>(a, b);
  case StepKind::DivS:
    return create<arith::DivSIOp>(a, b);
  case StepKind::DivU:
    return create<arith::DivUIOp>(a, b);
  case StepKind::RemS:
    return create<arith::RemSIOp>(a, b);
  case StepKind::RemU:
    return create<arith::RemUIOp>(a, b);
  case StepKind::FloorDivS:
    return create<arith::FloorDivSIOp>(a, b);
  case StepKind::CeilDivS:
    return create<arith::CeilDivSIOp>(a, b);
  case StepKind::CeilDivU:
    return create<arith::CeilDivUIOp>(a, b);
  case StepKind::AndI:
    return builder.land(a, b);
  case StepKind::OrI:
    return builder.lor(a, b);
  case StepKind::XorI:
    return create<arith::XOrIOp>(a, b);
  case StepKind::ShL:
    return create<arith::ShLIOp>(a, b);
  case StepKind::ShRS:
    return create<arith::ShRSIOp>(a, b);
  case StepKind::ShRU:
    return create<arith::ShRUIOp>(a, b);
  case StepKind::MinS:
    return builder.min(a, b);
  case StepKind::MaxS:
    return builder.max(a, b);
  case StepKind::MinU:
    return create<arith::MinUIOp>(a, b);
  case StepKind::MaxU:
    return create<arith::MaxUIOp>(a, b);
  default:
    llvm_unreachable("not a step of two integers");
  }
}

/// A float op again, on other operands.
static Value emitFloat(Operation *op, ArrayRef<Value> operands, OpBuilder &builder) {
  IRMapping mapping;
  for (auto [old, operand] : llvm::zip(op->getOperands(), operands))
    mapping.map(old, operand);
  return builder.clone(*op, mapping)->getResult(0);
}

Value Emitter::emitScalar(const Step &step, ArrayRef<Value> x) {
  OpBuilder &b = builder.builder;
  switch (step.kind) {
  case StepKind::Constant:
    if (step.width == 0)
      return arith::ConstantOp::create(b, builder.loc,
                                       b.getF32FloatAttr(step.constant.real));
    return constant(step.constant.integer, step.width);
  case StepKind::CmpI:
    return builder.compare(static_cast<arith::CmpIPredicate>(step.predicate), x[0], x[1]);
  case StepKind::Select:
    return builder.select(x[0], x[1], x[2]);
  case StepKind::AbsI:
    return builder.max(x[0], builder.sub(constant(0, step.width), x[0]));
  case StepKind::SignedCast:
    return convert(x[0], step.operandWidth, step.width, /*isSigned=*/true);
  case StepKind::UnsignedCast:
    return convert(x[0], step.operandWidth, step.width, /*isSigned=*/false);
  case StepKind::SignedToF:
    return b.createOrFold<arith::SIToFPOp>(builder.loc, b.getF32Type(), x[0]);
  case StepKind::UnsignedToF:
    return b.createOrFold<arith::UIToFPOp>(builder.loc, b.getF32Type(), x[0]);
  case StepKind::CmpF:
  case StepKind::FloatOp:
    return emitFloat(step.op, x, b);
  default:
    return emitBinary(step.kind, x[0], x[1]);
  }
}

SmallVector<Value> Emitter::emitScalars(ValueRange arguments) {
  SmallVector<Value> values;
  for (auto [argument, step] : llvm::zip(arguments, steps))
    values.push_back(step.width ? convert(argument, 32, step.width, /*isSigned=*/true)
                                : argument);
  for (const Step &step : steps.drop_front(arguments.size())) {
    SmallVector<Value, 3> operands;
    for (unsigned operand : step.operands)
      operands.push_back(values[operand]);
    values.push_back(emitScalar(step, operands));
  }
  return values;
}

//===----------------------------------------------------------------------===//
// Intervals
//===----------------------------------------------------------------------===//

Interval Emitter::getWholeRange(unsigned slot) {
  unsigned width = steps[slot].width;
  if (width == 1)
    return {builder.truth(false), builder.truth(true)};
  return {constant(bounds[slot].min, width), constant(bounds[slot].max, width)};
}

/// a < b, a <= b and a == b are decided by the ends; the others follow.
Interval Emitter::emitComparison(const Step &step, Interval a, Interval b) {
  using Predicate = arith::CmpIPredicate;
  auto complement = [&](Interval x) -> Interval {
    return {builder.lnot(x.hi), builder.lnot(x.lo)};
  };
  auto lt = [&](Interval a, Interval b) -> Interval {
    return {builder.lt(a.hi, b.lo), builder.lt(a.lo, b.hi)};
  };
  auto eq = [&]() -> Interval {
    return {builder.land(builder.eq(a.lo, b.hi), builder.eq(a.hi, b.lo)),
            builder.land(builder.le(a.lo, b.hi), builder.le(b.lo, a.hi))};
  };
  // Numbers >= 0 compare the same way as unsigned.
  auto plain = [&](Interval x) -> Interval {
    Value zero = constant(0, step.operandWidth);
    Value nonNegative = builder.land(builder.le(zero, a.lo), builder.le(zero, b.lo));
    return {builder.land(nonNegative, x.lo),
            builder.lor(builder.lnot(nonNegative), x.hi)};
  };
  switch (static_cast<Predicate>(step.predicate)) {
  case Predicate::eq:
    return eq();
  case Predicate::ne:
    return complement(eq());
  case Predicate::slt:
    return lt(a, b);
  case Predicate::sgt:
    return lt(b, a);
  case Predicate::sle:
    return complement(lt(b, a));
  case Predicate::sge:
    return complement(lt(a, b));
  case Predicate::ult:
    return plain(lt(a, b));
  case Predicate::ugt:
    return plain(lt(b, a));
  case Predicate::ule:
    return plain(complement(lt(b, a)));
  case Predicate::uge:
    return plain(complement(lt(a, b)));
  }
  llvm_unreachable("covered switch");
}

/// Steps that yield an i1 from i1 operands, in Kleene's logic.
Interval Emitter::emitBoolean(const Step &step, ArrayRef<Interval> x) {
  auto exclusive = [&]() -> Interval {
    Interval a = x[0], b = x[1];
    return {builder.lor(builder.land(a.lo, builder.lnot(b.hi)),
                        builder.land(builder.lnot(a.hi), b.lo)),
            builder.lor(builder.land(a.hi, builder.lnot(b.lo)),
                        builder.land(builder.lnot(a.lo), b.hi))};
  };
  switch (step.kind) {
  case StepKind::AndI:
    return {builder.land(x[0].lo, x[1].lo), builder.land(x[0].hi, x[1].hi)};
  case StepKind::OrI:
    return {builder.lor(x[0].lo, x[1].lo), builder.lor(x[0].hi, x[1].hi)};
  case StepKind::XorI:
    return exclusive();
  case StepKind::CmpI: {
    auto predicate = static_cast<arith::CmpIPredicate>(step.predicate);
    Interval different = exclusive();
    if (predicate == arith::CmpIPredicate::ne)
      return different;
    if (predicate == arith::CmpIPredicate::eq)
      return {builder.lnot(different.hi), builder.lnot(different.lo)};
    return {builder.truth(false), builder.truth(true)};
  }
  case StepKind::Select: {
    Interval c = x[0], a = x[1], b = x[2];
    Value both = builder.land(a.lo, b.lo);
    return {
        builder.lor(both, builder.lor(builder.land(c.lo, a.lo),
                                      builder.land(builder.lnot(c.hi), b.lo))),
        builder.lor(builder.land(c.hi, a.hi), builder.land(builder.lnot(c.lo), b.hi))};
  }
  default: // arithmetic on truth values is left to the exact code
    return {builder.truth(false), builder.truth(true)};
  }
}

/// The ends of a product are products of ends; nothing wraps.
Interval Emitter::emitProduct(const Step &step, Interval a, Interval b) {
  for (unsigned constantSide : {1, 0}) {
    const StepBounds &bound = bounds[step.operands[constantSide]];
    if (bound.min != bound.max)
      continue;
    Interval x = constantSide ? a : b;
    Value lo = emitBinary(StepKind::MulI, x.lo, constant(bound.min, step.width));
    Value hi = emitBinary(StepKind::MulI, x.hi, constant(bound.min, step.width));
    return bound.min < 0 ? Interval{hi, lo} : Interval{lo, hi};
  }
  Value products[] = {
      emitBinary(StepKind::MulI, a.lo, b.lo), emitBinary(StepKind::MulI, a.lo, b.hi),
      emitBinary(StepKind::MulI, a.hi, b.lo), emitBinary(StepKind::MulI, a.hi, b.hi)};
  Interval result = {products[0], products[0]};
  for (Value product : ArrayRef(products).drop_front())
    result = {builder.min(result.lo, product), builder.max(result.hi, product)};
  return result;
}

/// While the quotient stays the same, the remainder moves with the dividend.
Interval Emitter::emitRemainder(const Step &step, Interval a, Value divisor) {
  Value zero = constant(0, step.width);
  Value last = builder.sub(divisor, constant(1, step.width));
  Interval quotient = monotone(StepKind::DivS, a, divisor);
  Value same = builder.eq(quotient.lo, quotient.hi);
  Value base = emitBinary(StepKind::MulI, quotient.lo, divisor);
  Value lowest =
      isNonNegative(bounds[step.operands[0]])
          ? zero
          : builder.select(builder.le(zero, a.lo), zero, builder.sub(zero, last));
  Value highest = builder.select(builder.le(a.hi, zero), zero, last);
  return {builder.select(same, builder.sub(a.lo, base), lowest),
          builder.select(same, builder.sub(a.hi, base), highest)};
}

Interval Emitter::emitAnd(unsigned slot, Interval a, Interval b) {
  const Step &step = steps[slot];
  const StepBounds &left = bounds[step.operands[0]], &right = bounds[step.operands[1]];
  Value zero = constant(0, step.width);
  // The lower k bits are the remainder by 2^k, for either sign.
  if (right.min == right.max && right.min > 0 && llvm::isMask_64(right.min)) {
    Value shift = constant(llvm::countr_one<uint64_t>(right.min), step.width);
    if (right.min == llvm::maxIntN(step.width))
      return getWholeRange(slot); // no shift leaves a quotient
    Interval quotient = monotone(StepKind::ShRS, a, shift);
    Value same = builder.eq(quotient.lo, quotient.hi);
    return {builder.select(same, builder.land(a.lo, b.lo), zero),
            builder.select(same, builder.land(a.hi, b.lo), b.lo)};
  }
  if (isNonNegative(left) && isNonNegative(right))
    return {zero, builder.min(a.hi, b.hi)};
  if (isNonNegative(left) || isNonNegative(right))
    return {zero, isNonNegative(left) ? a.hi : b.hi};
  return getWholeRange(slot);
}

Interval Emitter::emitSelect(const Step &step, ArrayRef<Interval> x) {
  auto [condition, a, b] = std::tuple(x[0], x[1], x[2]);
  Value lo = builder.select(condition.hi, builder.min(a.lo, b.lo), b.lo);
  Value hi = builder.select(condition.hi, builder.max(a.hi, b.hi), b.hi);
  return {builder.select(condition.lo, a.lo, lo), builder.select(condition.lo, a.hi, hi)};
}

/// Unsigned steps agree with signed ones on numbers >= 0. Where that is not known
/// now, it is asked of the rectangle.
Interval Emitter::emitUnsigned(unsigned slot, Interval a, Interval b) {
  const Step &step = steps[slot];
  bool two = step.operands.size() == 2;
  bool known = isNonNegative(bounds[step.operands[0]]) &&
               (!two || isNonNegative(bounds[step.operands[1]]));
  auto plain = [&]() -> Interval {
    switch (step.kind) {
    case StepKind::DivU:
      return monotone(StepKind::DivS, a, b.lo);
    case StepKind::CeilDivU:
      return monotone(StepKind::CeilDivS, a, b.lo);
    case StepKind::RemU:
      return emitRemainder(step, a, b.lo);
    case StepKind::ShRU:
      return monotone(StepKind::ShRS, a, b.lo);
    case StepKind::MinU:
      return {builder.min(a.lo, b.lo), builder.min(a.hi, b.hi)};
    case StepKind::MaxU:
      return {builder.max(a.lo, b.lo), builder.max(a.hi, b.hi)};
    case StepKind::UnsignedCast:
      return {convert(a.lo, step.operandWidth, step.width, /*isSigned=*/true),
              convert(a.hi, step.operandWidth, step.width, /*isSigned=*/true)};
    default:
      llvm_unreachable("not an unsigned step");
    }
  };
  if (known)
    return plain();
  // x / 1 and x >> 0 are x, whatever its sign.
  int64_t second = two ? steps[step.operands[1]].constant.integer : 0;
  if ((step.kind == StepKind::ShRU && second == 0) ||
      ((step.kind == StepKind::DivU || step.kind == StepKind::CeilDivU) && second == 1))
    return a;
  Value zero = constant(0, step.operandWidth);
  Value nonNegative = builder.le(zero, a.lo);
  if (two)
    nonNegative = builder.land(nonNegative, builder.le(zero, b.lo));
  Interval whole = getWholeRange(slot), exact = plain();
  return {builder.select(nonNegative, exact.lo, whole.lo),
          builder.select(nonNegative, exact.hi, whole.hi)};
}

Interval Emitter::emitInterval(unsigned slot, ArrayRef<Interval> x) {
  const Step &step = steps[slot];
  bool fits = bounds[slot].fits;
  switch (step.kind) {
  case StepKind::Constant: {
    Value value = constant(step.constant.integer, step.width);
    return {value, value};
  }
  case StepKind::CmpI:
    return step.operandWidth == 1 ? emitBoolean(step, x)
                                  : emitComparison(step, x[0], x[1]);
  case StepKind::SignedCast:
  case StepKind::UnsignedCast:
    if (step.width == 1)
      return step.operandWidth == 1 ? x[0] : getWholeRange(slot);
    if (step.operandWidth == 1) {
      bool isSigned = step.kind == StepKind::SignedCast; // true is -1, else 1
      Value a = convert(x[0].lo, 1, step.width, isSigned);
      Value b = convert(x[0].hi, 1, step.width, isSigned);
      return isSigned ? Interval{b, a} : Interval{a, b};
    }
    if (!fits)
      return getWholeRange(slot);
    if (step.kind == StepKind::UnsignedCast)
      return emitUnsigned(slot, x[0], {});
    return {convert(x[0].lo, step.operandWidth, step.width, /*isSigned=*/true),
            convert(x[0].hi, step.operandWidth, step.width, /*isSigned=*/true)};
  default:
    break;
  }
  if (step.width == 1)
    return emitBoolean(step, x);
  if (!fits)
    return getWholeRange(slot);
  switch (step.kind) {
  case StepKind::AddI:
    return {builder.add(x[0].lo, x[1].lo), builder.add(x[0].hi, x[1].hi)};
  case StepKind::SubI:
    return {builder.sub(x[0].lo, x[1].hi), builder.sub(x[0].hi, x[1].lo)};
  case StepKind::MulI:
    return emitProduct(step, x[0], x[1]);
  case StepKind::DivS:
  case StepKind::FloorDivS:
  case StepKind::CeilDivS:
  case StepKind::ShL:
  case StepKind::ShRS:
    return monotone(step.kind, x[0], x[1].lo);
  case StepKind::RemS:
    return emitRemainder(step, x[0], x[1].lo);
  case StepKind::AndI:
    return emitAnd(slot, x[0], x[1]);
  case StepKind::OrI:
    if (isNonNegative(bounds[slot]))
      return {builder.max(x[0].lo, x[1].lo), getWholeRange(slot).hi};
    return getWholeRange(slot);
  case StepKind::XorI: { // with -1 it turns numbers around
    const StepBounds &mask = bounds[step.operands[1]];
    if (mask.min == -1 && mask.max == -1)
      return {emitBinary(StepKind::XorI, x[0].hi, x[1].lo),
              emitBinary(StepKind::XorI, x[0].lo, x[1].lo)};
    return getWholeRange(slot);
  }
  case StepKind::MinS:
    return {builder.min(x[0].lo, x[1].lo), builder.min(x[0].hi, x[1].hi)};
  case StepKind::MaxS:
    return {builder.max(x[0].lo, x[1].lo), builder.max(x[0].hi, x[1].hi)};
  case StepKind::AbsI: {
    Value zero = constant(0, step.width);
    Value low = builder.max(x[0].lo, builder.sub(zero, x[0].hi));
    return {builder.max(low, zero), builder.max(builder.sub(zero, x[0].lo), x[0].hi)};
  }
  case StepKind::Select:
    return emitSelect(step, x);
  default:
    return emitUnsigned(slot, x[0], x[1]);
  }
}

/// Dividends that are alike modulo the divisor have the same remainder if their signs
/// agree, or if it is 0: signed remainders have the sign of the dividend.
Interval Emitter::emitRepeated(const Step &step, Interval range, Interval dividend,
                               Value first, Value repeats) {
  Value zero = constant(0, step.width), same = repeats;
  Value nonNegative = builder.le(zero, dividend.lo);
  if (step.kind == StepKind::RemU)
    same = builder.land(same, nonNegative);
  if (step.kind == StepKind::RemS)
    same = builder.land(
        same, builder.lor(builder.eq(first, zero),
                          builder.lor(nonNegative, builder.le(dividend.hi, zero))));
  return {builder.select(same, first, range.lo), builder.select(same, first, range.hi)};
}

SmallVector<Interval> Emitter::emitIntervals(TileBuilder &tile, ArrayRef<Value> first,
                                             ArrayRef<int64_t> periods) {
  const Interval arguments[] = {
      {tile.b, tile.b}, {tile.h, tile.h}, {tile.p0, tile.p1}, {tile.j0, tile.j1}};
  SmallVector<Interval> values;
  for (auto [argument, step] : llvm::zip(arguments, steps))
    values.push_back({convert(argument.lo, 32, step.width, /*isSigned=*/true),
                      convert(argument.hi, 32, step.width, /*isSigned=*/true)});
  for (unsigned slot = std::size(arguments); slot < steps.size(); ++slot) {
    SmallVector<Interval, 3> operands;
    for (unsigned operand : steps[slot].operands)
      operands.push_back(values[operand]);
    values.push_back(emitInterval(slot, operands));
    Value repeats = tile.isStepOf(periods[slot]);
    if (periods[slot] > 1 && !matchPattern(repeats, m_Zero()))
      values.back() =
          emitRepeated(steps[slot], values.back(), operands[0], first[slot], repeats);
  }
  return values;
}

//===----------------------------------------------------------------------===//
// RegionProgram
//===----------------------------------------------------------------------===//

Value RegionProgram::emit(ValueRange arguments, FoldingBuilder &builder) const {
  std::vector<StepBounds> bounds = computeBounds();
  return Emitter(steps, bounds, builder).emitScalars(arguments)[result];
}

TileClass RegionProgram::emitClass(TileBuilder &builder) const {
  std::vector<StepBounds> bounds = computeBounds();
  Emitter emitter(steps, bounds, builder);
  SmallVector<Value> first =
      emitter.emitScalars({builder.b, builder.h, builder.p0, builder.j0});
  Value exact = first[result];
  if (builder.p0 == builder.p1 && builder.j0 == builder.j1)
    return builder.uniform(exact);
  Interval range = emitter.emitIntervals(builder, first, computePeriods(bounds))[result];
  // A single pair is decided even where intervals lose track of it.
  Value single = builder.land(builder.eq(builder.p0, builder.p1),
                              builder.eq(builder.j0, builder.j1));
  return {builder.select(single, exact, range.hi),
          builder.select(single, exact, range.lo)};
}
