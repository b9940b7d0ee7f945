//===- RegionProgram.cpp - reading and running a custom region ------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/RegionProgram.h"
#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// What a region may hold
//===----------------------------------------------------------------------===//

namespace {
struct FloatOp {
  StringLiteral name;
  double (*apply)(double, double, double);
};
} // namespace

static double minimum(double a, double b, double) {
  return std::isnan(a) || std::isnan(b) ? NAN : std::fmin(a, b);
}
static double maximum(double a, double b, double) {
  return std::isnan(a) || std::isnan(b) ? NAN : std::fmax(a, b);
}

/// The elementwise ops on f32, with their meaning in double.
static constexpr FloatOp kFloatOps[] = {
    {"arith.addf", [](double a, double b, double) { return a + b; }},
    {"arith.subf", [](double a, double b, double) { return a - b; }},
    {"arith.mulf", [](double a, double b, double) { return a * b; }},
    {"arith.divf", [](double a, double b, double) { return a / b; }},
    {"arith.negf", [](double a, double, double) { return -a; }},
    {"arith.minimumf", minimum},
    {"arith.maximumf", maximum},
    {"arith.minnumf", [](double a, double b, double) { return std::fmin(a, b); }},
    {"arith.maxnumf", [](double a, double b, double) { return std::fmax(a, b); }},
    {"math.absf", [](double a, double, double) { return std::fabs(a); }},
    {"math.ceil", [](double a, double, double) { return std::ceil(a); }},
    {"math.copysign", [](double a, double b, double) { return std::copysign(a, b); }},
    {"math.cos", [](double a, double, double) { return std::cos(a); }},
    {"math.erf", [](double a, double, double) { return std::erf(a); }},
    {"math.exp", [](double a, double, double) { return std::exp(a); }},
    {"math.exp2", [](double a, double, double) { return std::exp2(a); }},
    {"math.expm1", [](double a, double, double) { return std::expm1(a); }},
    {"math.floor", [](double a, double, double) { return std::floor(a); }},
    {"math.fma", [](double a, double b, double c) { return a * b + c; }},
    {"math.log", [](double a, double, double) { return std::log(a); }},
    {"math.log1p", [](double a, double, double) { return std::log1p(a); }},
    {"math.log2", [](double a, double, double) { return std::log2(a); }},
    {"math.powf", [](double a, double b, double) { return std::pow(a, b); }},
    {"math.rsqrt", [](double a, double, double) { return 1 / std::sqrt(a); }},
    {"math.sin", [](double a, double, double) { return std::sin(a); }},
    {"math.sqrt", [](double a, double, double) { return std::sqrt(a); }},
    {"math.tanh", [](double a, double, double) { return std::tanh(a); }},
    {"math.trunc", [](double a, double, double) { return std::trunc(a); }},
};

static std::optional<StepKind> getIntegerKind(Operation *op) {
  using Kind = std::optional<StepKind>;
  return TypeSwitch<Operation *, Kind>(op)
      .Case<arith::AddIOp>([](auto) { return StepKind::AddI; })
      .Case<arith::SubIOp>([](auto) { return StepKind::SubI; })
      .Case<arith::MulIOp>([](auto) { return StepKind::MulI; })
      .Case<arith::DivSIOp>([](auto) { return StepKind::DivS; })
      .Case<arith::DivUIOp>([](auto) { return StepKind::DivU; })
      .Case<arith::RemSIOp>([](auto) { return StepKind::RemS; })
      .Case<arith::RemUIOp>([](auto) { return StepKind::RemU; })
      .Case<arith::FloorDivSIOp>([](auto) { return StepKind::FloorDivS; })
      .Case<arith::CeilDivSIOp>([](auto) { return StepKind::CeilDivS; })
      .Case<arith::CeilDivUIOp>([](auto) { return StepKind::CeilDivU; })
      .Case<arith::AndIOp>([](auto) { return StepKind::AndI; })
      .Case<arith::OrIOp>([](auto) { return StepKind::OrI; })
      .Case<arith::XOrIOp>([](auto) { return StepKind::XorI; })
      .Case<arith::ShLIOp>([](auto) { return StepKind::ShL; })
      .Case<arith::ShRSIOp>([](auto) { return StepKind::ShRS; })
      .Case<arith::ShRUIOp>([](auto) { return StepKind::ShRU; })
      .Case<arith::MinSIOp>([](auto) { return StepKind::MinS; })
      .Case<arith::MaxSIOp>([](auto) { return StepKind::MaxS; })
      .Case<arith::MinUIOp>([](auto) { return StepKind::MinU; })
      .Case<arith::MaxUIOp>([](auto) { return StepKind::MaxU; })
      .Case<math::AbsIOp>([](auto) { return StepKind::AbsI; })
      .Case<arith::CmpIOp>([](auto) { return StepKind::CmpI; })
      .Case<arith::SelectOp>([](auto) { return StepKind::Select; })
      .Case<arith::ExtSIOp, arith::TruncIOp, arith::IndexCastOp>(
          [](auto) { return StepKind::SignedCast; })
      .Case<arith::ExtUIOp, arith::IndexCastUIOp>(
          [](auto) { return StepKind::UnsignedCast; })
      .Default([](Operation *) { return Kind(); });
}

static std::optional<StepKind> getFloatKind(Operation *op, Step &step) {
  if (isa<arith::SIToFPOp>(op))
    return StepKind::SignedToF;
  if (isa<arith::UIToFPOp>(op))
    return StepKind::UnsignedToF;
  if (isa<arith::CmpFOp>(op))
    return StepKind::CmpF;
  for (const FloatOp &candidate : kFloatOps)
    if (op->getName().getStringRef() == candidate.name) {
      step.apply = candidate.apply;
      return StepKind::FloatOp;
    }
  return std::nullopt;
}

/// Bits of a type that a region may use: f32 counts 0.
static std::optional<unsigned> getWidth(Type type, bool allowFloats) {
  if (type.isIndex())
    return 64;
  if (type.isSignlessInteger(1) || type.isSignlessInteger(32) ||
      type.isSignlessInteger(64))
    return type.getIntOrFloatBitWidth();
  if (allowFloats && type.isF32())
    return 0;
  return std::nullopt;
}

static std::optional<RegionValue> getConstant(Value value) {
  Attribute attribute;
  if (!matchPattern(value, m_Constant(&attribute)))
    return std::nullopt;
  RegionValue constant;
  if (auto integer = dyn_cast<IntegerAttr>(attribute))
    constant.integer = integer.getValue().getSExtValue();
  else if (auto real = dyn_cast<FloatAttr>(attribute))
    constant.real = real.getValueAsDouble();
  else
    return std::nullopt;
  return constant;
}

static bool isDivision(StepKind kind) {
  return kind >= StepKind::DivS && kind <= StepKind::CeilDivU;
}
static bool isShift(StepKind kind) {
  return kind >= StepKind::ShL && kind <= StepKind::ShRU;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

namespace {
/// Turns a block into steps, or says why it cannot.
class Reader {
public:
  Reader(bool allowFloats, function_ref<InFlightDiagnostic()> emitError)
      : allowFloats(allowFloats), emitError(emitError) {}

  LogicalResult addArgument(BlockArgument argument) {
    std::optional<unsigned> width = getWidth(argument.getType(), allowFloats);
    assert(width && "the op has checked its region's arguments");
    add({StepKind::Argument, *width, *width, {}, {}}, argument);
    return success();
  }
  LogicalResult addOp(Operation &op);
  FailureOr<unsigned> getSlot(Value value);

  std::vector<Step> steps;

private:
  void add(Step step, Value value) {
    slots[value] = steps.size();
    steps.push_back(std::move(step));
  }
  LogicalResult verifySecondOperand(Operation &op, const Step &step);

  bool allowFloats;
  function_ref<InFlightDiagnostic()> emitError;
  DenseMap<Value, unsigned> slots;
};
} // namespace

/// The number of a value; constants are read where they are used, so that they
/// may lie outside the region.
FailureOr<unsigned> Reader::getSlot(Value value) {
  if (auto it = slots.find(value); it != slots.end())
    return it->second;
  std::optional<unsigned> width = getWidth(value.getType(), allowFloats);
  if (!width)
    return emitError() << "the region uses a value of type " << value.getType()
                       << "; use " << (allowFloats ? "f32, " : "")
                       << "index, i1, i32 or i64";
  std::optional<RegionValue> constant = getConstant(value);
  if (!constant)
    return emitError()
           << "the region uses a value from outside that is not a constant; a "
              "region sees its arguments and constants alone";
  add({StepKind::Constant,
       *width,
       *width,
       {},
       *constant,
       0,
       nullptr,
       value.getDefiningOp()},
      value);
  return static_cast<unsigned>(steps.size() - 1);
}

/// Divisors and shift amounts are such that every pair is defined.
LogicalResult Reader::verifySecondOperand(Operation &op, const Step &step) {
  const Step &second = steps[step.operands[1]];
  bool isConstant = second.kind == StepKind::Constant;
  if (isDivision(step.kind) && !(isConstant && second.constant.integer >= 1))
    return emitError() << "the divisor of '" << op.getName()
                       << "' must be a constant >= 1, so that every pair is defined; "
                          "divide by the positive number and negate the result";
  if (isShift(step.kind) && !(isConstant && second.constant.integer >= 0 &&
                              second.constant.integer < static_cast<int64_t>(step.width)))
    return emitError() << "the shift of '" << op.getName()
                       << "' must be a constant >= 0 and below the width " << step.width
                       << ", so that every pair is defined";
  return success();
}

LogicalResult Reader::addOp(Operation &op) {
  if (op.hasTrait<OpTrait::ConstantLike>())
    return success(); // read where it is used
  Step step{};
  std::optional<StepKind> kind = getIntegerKind(&op);
  if (!kind && allowFloats)
    kind = getFloatKind(&op, step);
  if (!kind)
    return emitError() << "'" << op.getName() << "' is not allowed in the region; use "
                       << (allowFloats ? "elementwise arith and math ops on f32, and "
                                       : "")
                       << "arith integer ops and math.absi on index, i1, i32 and i64";
  std::optional<unsigned> width = getWidth(op.getResult(0).getType(), allowFloats);
  if (!width)
    return emitError() << "'" << op.getName() << "' in the region has the type "
                       << op.getResult(0).getType() << "; use "
                       << (allowFloats ? "f32, " : "") << "index, i1, i32 or i64";
  step.kind = *kind;
  step.width = *width;
  step.op = &op;
  for (Value operand : op.getOperands()) {
    FailureOr<unsigned> slot = getSlot(operand);
    if (failed(slot))
      return failure();
    step.operands.push_back(*slot);
    step.operandWidth = steps[*slot].width;
  }
  if ((isDivision(*kind) || isShift(*kind)) && failed(verifySecondOperand(op, step)))
    return failure();
  if (auto compare = dyn_cast<arith::CmpIOp>(op))
    step.predicate = static_cast<int64_t>(compare.getPredicate());
  if (auto compare = dyn_cast<arith::CmpFOp>(op))
    step.predicate = static_cast<int64_t>(compare.getPredicate());
  add(std::move(step), op.getResult(0));
  return success();
}

FailureOr<RegionProgram>
RegionProgram::parse(Operation *op, bool allowFloats,
                     function_ref<InFlightDiagnostic()> emitError) {
  Block &block = op->getRegion(0).front();
  Reader reader(allowFloats, emitError);
  for (BlockArgument argument : block.getArguments())
    if (failed(reader.addArgument(argument)))
      return failure();
  for (Operation &inner : block.without_terminator())
    if (failed(reader.addOp(inner)))
      return failure();
  FailureOr<unsigned> result = reader.getSlot(block.getTerminator()->getOperand(0));
  if (failed(result))
    return failure();
  RegionProgram program;
  program.steps = std::move(reader.steps);
  program.result = *result;
  return program;
}

RegionProgram RegionProgram::get(Operation *op, bool allowFloats) {
  FailureOr<RegionProgram> program =
      parse(op, allowFloats, [&] { return op->emitOpError(); });
  assert(succeeded(program) && "the verifier has read this region");
  return std::move(*program);
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

static int64_t wrap(uint64_t value, unsigned width) {
  return llvm::SignExtend64(value, width);
}

/// The integer steps on sign-extended values. Divisors are >= 1.
static int64_t runInteger(const Step &step, int64_t a, int64_t b) {
  unsigned width = step.width;
  uint64_t ua = toUnsigned(a, step.operandWidth), ub = toUnsigned(b, step.operandWidth);
  switch (step.kind) {
  case StepKind::AddI:
    return wrap(static_cast<uint64_t>(a) + b, width);
  case StepKind::SubI:
    return wrap(static_cast<uint64_t>(a) - b, width);
  case StepKind::MulI:
    return wrap(static_cast<uint64_t>(a) * b, width);
  case StepKind::DivS:
    return a / b;
  case StepKind::DivU:
    return wrap(ua / ub, width);
  case StepKind::RemS:
    return a % b;
  case StepKind::RemU:
    return wrap(ua % ub, width);
  case StepKind::FloorDivS:
    return a / b - (a % b < 0);
  case StepKind::CeilDivS:
    return a / b + (a % b > 0);
  case StepKind::CeilDivU:
    return wrap(ua / ub + (ua % ub != 0), width);
  case StepKind::AndI:
    return a & b;
  case StepKind::OrI:
    return a | b;
  case StepKind::XorI:
    return a ^ b;
  case StepKind::ShL:
    return wrap(static_cast<uint64_t>(a) << b, width);
  case StepKind::ShRS:
    return a >> b;
  case StepKind::ShRU:
    return wrap(ua >> b, width);
  case StepKind::MinS:
    return std::min(a, b);
  case StepKind::MaxS:
    return std::max(a, b);
  case StepKind::MinU:
    return ua < ub ? a : b;
  case StepKind::MaxU:
    return ua > ub ? a : b;
  case StepKind::AbsI:
    return a < 0 ? wrap(-static_cast<uint64_t>(a), width) : a;
  case StepKind::SignedCast:
    return wrap(a, width);
  case StepKind::UnsignedCast:
    return wrap(ua, width);
  default:
    llvm_unreachable("not an integer step");
  }
}

static bool runCmpI(const Step &step, int64_t a, int64_t b) {
  return arith::applyCmpPredicate(static_cast<arith::CmpIPredicate>(step.predicate),
                                  APInt(64, a, /*isSigned=*/true),
                                  APInt(64, b, /*isSigned=*/true));
}
static bool runCmpF(const Step &step, double a, double b) {
  return arith::applyCmpPredicate(static_cast<arith::CmpFPredicate>(step.predicate),
                                  APFloat(a), APFloat(b));
}

static RegionValue runStep(const Step &step, ArrayRef<RegionValue> values) {
  auto at = [&](unsigned i) {
    return i < step.operands.size() ? values[step.operands[i]] : RegionValue();
  };
  RegionValue a = at(0), b = at(1);
  switch (step.kind) {
  case StepKind::Constant:
    return step.constant;
  case StepKind::CmpI:
    return {runCmpI(step, a.integer, b.integer) ? -1 : 0, 0};
  case StepKind::CmpF:
    return {runCmpF(step, a.real, b.real) ? -1 : 0, 0};
  case StepKind::Select:
    return a.integer ? b : at(2);
  case StepKind::SignedToF:
    return {0, static_cast<double>(a.integer)};
  case StepKind::UnsignedToF:
    return {0, static_cast<double>(toUnsigned(a.integer, step.operandWidth))};
  case StepKind::FloatOp:
    return {0, step.apply(a.real, b.real, at(2).real)};
  default:
    return {runInteger(step, a.integer, b.integer), 0};
  }
}

RegionValue RegionProgram::run(ArrayRef<RegionValue> arguments) const {
  SmallVector<RegionValue, 32> values(arguments);
  for (const Step &step : llvm::drop_begin(steps, arguments.size()))
    values.push_back(runStep(step, values));
  return values[result];
}

//===----------------------------------------------------------------------===//
// Closed forms
//===----------------------------------------------------------------------===//

bool RegionProgram::isAffine() const {
  // By value: an affine integer, or a truth value made of such.
  SmallVector<bool, 32> closed;
  for (const Step &step : steps) {
    bool all = llvm::all_of(step.operands, [&](unsigned x) { return closed[x]; });
    auto isConstant = [&](unsigned i) {
      return steps[step.operands[i]].kind == StepKind::Constant;
    };
    switch (step.kind) {
    case StepKind::Argument:
    case StepKind::Constant:
    case StepKind::CmpI:
      break;
    case StepKind::AddI:
    case StepKind::SubI:
    case StepKind::ShL: // by a constant
      all = all && step.width > 1;
      break;
    case StepKind::MulI:
      all = all && step.width > 1 && (isConstant(0) || isConstant(1));
      break;
    case StepKind::SignedCast:
      all = all && step.width > 1 && step.operandWidth > 1;
      break;
    case StepKind::AndI:
    case StepKind::OrI:
    case StepKind::XorI:
    case StepKind::Select:
      all = all && step.width == 1;
      break;
    default:
      all = false;
    }
    closed.push_back(all);
  }
  return closed[result];
}
