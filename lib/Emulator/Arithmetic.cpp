//===- Arithmetic.cpp - integer and floating-point instructions -----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Conversions.h"
#include "Operations.h"
#include "llvm/IR/Instructions.h"

using namespace llvm;
using namespace sparse_attn::emulator;

//===----------------------------------------------------------------------===//
// Functions of one lane
//===----------------------------------------------------------------------===//

namespace {

#define INTEGER_OP(NAME, EXPRESSION)                                                     \
  struct NAME {                                                                          \
    template <typename T> T operator()(T a, T b, unsigned width) const {                 \
      (void)width;                                                                       \
      return static_cast<T>(EXPRESSION);                                                 \
    }                                                                                    \
  };
INTEGER_OP(Add, a + b)
INTEGER_OP(Sub, a - b)
INTEGER_OP(Mul, a *b)
INTEGER_OP(And, a &b)
INTEGER_OP(Or, a | b)
INTEGER_OP(Xor, a ^ b)
// A shift by the width or more is poison; machines give what is written here.
INTEGER_OP(Shl, b < width ? a << (b & (sizeof(T) * 8 - 1)) : T(0))
INTEGER_OP(LShr, b < width ? a >> (b & (sizeof(T) * 8 - 1)) : T(0))
INTEGER_OP(AShr, signExtend(a, width) >> std::min<T>(b, width - 1))
// Division by zero is a fault that checkDivisor reports.
INTEGER_OP(UDiv, b ? a / b : T(0))
INTEGER_OP(URem, b ? a % b : T(0))
#undef INTEGER_OP

struct SDiv {
  template <typename T> T operator()(T a, T b, unsigned width) const {
    auto y = signExtend(b, width);
    return y == 0 ? T(0) : y == -1 ? T(0) - a : static_cast<T>(signExtend(a, width) / y);
  }
};
struct SRem {
  template <typename T> T operator()(T a, T b, unsigned width) const {
    auto y = signExtend(b, width);
    return y == 0 || y == -1 ? T(0) : static_cast<T>(signExtend(a, width) % y);
  }
};

#define COMPARE_OP(NAME, OPERATOR)                                                       \
  struct Unsigned##NAME {                                                                \
    template <typename T> bool operator()(T a, T b, unsigned) const {                    \
      return a OPERATOR b;                                                               \
    }                                                                                    \
  };                                                                                     \
  struct Signed##NAME {                                                                  \
    template <typename T> bool operator()(T a, T b, unsigned width) const {              \
      return signExtend(a, width) OPERATOR signExtend(b, width);                         \
    }                                                                                    \
  };                                                                                     \
  struct Ordered##NAME {                                                                 \
    template <typename T> bool operator()(T a, T b) const {                              \
      return !std::isunordered(a, b) && a OPERATOR b;                                    \
    }                                                                                    \
  };                                                                                     \
  struct Unordered##NAME {                                                               \
    template <typename T> bool operator()(T a, T b) const {                              \
      return std::isunordered(a, b) || a OPERATOR b;                                     \
    }                                                                                    \
  };
COMPARE_OP(Equal, ==)
COMPARE_OP(NotEqual, !=)
COMPARE_OP(Less, <)
COMPARE_OP(LessEqual, <=)
COMPARE_OP(Greater, >)
COMPARE_OP(GreaterEqual, >=)
#undef COMPARE_OP

struct IsOrdered {
  template <typename T> bool operator()(T a, T b) const {
    return !std::isunordered(a, b);
  }
};
struct IsUnordered {
  template <typename T> bool operator()(T a, T b) const { return std::isunordered(a, b); }
};
struct Never {
  template <typename T> bool operator()(T, T) const { return false; }
};
struct Always {
  template <typename T> bool operator()(T, T) const { return true; }
};

struct FAdd {
  template <typename T> T operator()(T a, T b) const { return a + b; }
};
struct FSub {
  template <typename T> T operator()(T a, T b) const { return a - b; }
};
struct FMul {
  template <typename T> T operator()(T a, T b) const { return a * b; }
};
struct FDiv {
  template <typename T> T operator()(T a, T b) const { return a / b; }
};
struct FRem {
  template <typename T> T operator()(T a, T b) const { return std::fmod(a, b); }
};
struct FNeg {
  template <typename T> T operator()(T a) const { return -a; }
};

template <typename T> void checkDivisor(Warp &warp, const WarpInstruction &instruction) {
  const T *divisor = warp.lanes<T>(instruction.operand(0));
  warp.forLanes([&](unsigned lane) {
    if (!divisor[lane])
      warp.fault(instruction, FaultKind::Undefined, "division by zero", lane);
  });
}

template <typename T> void executeSelect(Warp &warp, const WarpInstruction &instruction) {
  T *result = warp.lanes<T>(instruction.result());
  const auto *condition = warp.lanes<uint32_t>(instruction.operand(0));
  const T *a = warp.lanes<T>(instruction.operand(1));
  const T *b = warp.lanes<T>(instruction.operand(2));
  warp.forLanes([&](unsigned lane) {
    T x = a[lane], y = b[lane];
    result[lane] = condition[lane] & 1 ? x : y;
  });
}

} // namespace

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

/// Calls `emit` for every scalar of the operands, with the slots of the result and of the
/// operands that belong to it.
static Error
forEachScalar(Decoder &decoder, const llvm::Instruction &instruction,
              ArrayRef<const Value *> operands,
              llvm::function_ref<Error(const Scalar &, Slot, const Slots &)> emit) {
  // Types are those of the operands: comparisons give i1.
  auto scalars = decoder.scalarsOf(operands[0]->getType());
  if (!scalars)
    return scalars.takeError();
  Slots results = decoder.slotsOf(&instruction);
  SmallVector<Slots, 3> inputs;
  for (const Value *operand : operands)
    inputs.push_back(decoder.slotsOf(operand));
  for (unsigned i = 0; i < results.size(); ++i) {
    Slots of;
    for (const Slots &input : inputs)
      of.push_back(input[i]);
    if (Error error = emit((*scalars)[i], results[i], of))
      return error;
  }
  return Error::success();
}

Error sparse_attn::emulator::emitIntegers(Decoder &decoder,
                                          const IntegerHandlers &handlers,
                                          const llvm::Instruction &instruction,
                                          ArrayRef<const Value *> operands,
                                          InstructionKind kind) {
  return forEachScalar(decoder, instruction, operands,
                       [&](const Scalar &scalar, Slot result, const Slots &of) -> Error {
                         decoder.emit(scalar.isWide() ? handlers.wide : handlers.narrow,
                                      kind, {result}, of, scalar.bits);
                         return Error::success();
                       });
}

Error sparse_attn::emulator::emitFloats(Decoder &decoder, const FloatHandlers &handlers,
                                        const llvm::Instruction &instruction,
                                        ArrayRef<const Value *> operands,
                                        std::optional<InstructionKind> kind) {
  return forEachScalar(decoder, instruction, operands,
                       [&](const Scalar &scalar, Slot result, const Slots &of) -> Error {
                         Handler handler = handlers.of(scalar.kind);
                         if (!handler)
                           return decoder.unsupported("not for this type");
                         decoder.emit(handler, kind ? *kind : floatKind(scalar), {result},
                                      of);
                         return Error::success();
                       });
}

IntegerHandlers sparse_attn::emulator::integerOf(unsigned opcode) {
  switch (opcode) {
  case llvm::Instruction::Add:
    return integerBinaryOf<Add>();
  case llvm::Instruction::Sub:
    return integerBinaryOf<Sub>();
  case llvm::Instruction::Mul:
    return integerBinaryOf<Mul>();
  case llvm::Instruction::And:
    return integerBinaryOf<And>();
  case llvm::Instruction::Or:
    return integerBinaryOf<Or>();
  case llvm::Instruction::Xor:
    return integerBinaryOf<Xor>();
  case llvm::Instruction::Shl:
    return integerBinaryOf<Shl>();
  case llvm::Instruction::LShr:
    return integerBinaryOf<LShr>();
  case llvm::Instruction::AShr:
    return integerBinaryOf<AShr>();
  case llvm::Instruction::UDiv:
    return integerBinaryOf<UDiv>();
  case llvm::Instruction::URem:
    return integerBinaryOf<URem>();
  case llvm::Instruction::SDiv:
    return integerBinaryOf<SDiv>();
  case llvm::Instruction::SRem:
    return integerBinaryOf<SRem>();
  default:
    return {};
  }
}

static FloatHandlers floatOf(unsigned opcode) {
  switch (opcode) {
  case llvm::Instruction::FAdd:
    return floatBinaryOf<FAdd>();
  case llvm::Instruction::FSub:
    return floatBinaryOf<FSub>();
  case llvm::Instruction::FMul:
    return floatBinaryOf<FMul>();
  case llvm::Instruction::FDiv:
    return floatBinaryOf<FDiv>();
  case llvm::Instruction::FRem:
    return floatBinaryOf<FRem>();
  case llvm::Instruction::FNeg:
    return floatUnaryOf<FNeg>();
  default:
    return {};
  }
}

template <typename Op> static IntegerHandlers compareOf() {
  return {integerCompare<uint32_t, Op>, integerCompare<uint64_t, Op>};
}

IntegerHandlers sparse_attn::emulator::integerComparison(CmpInst::Predicate predicate) {
  switch (predicate) {
  case CmpInst::ICMP_EQ:
    return compareOf<UnsignedEqual>();
  case CmpInst::ICMP_NE:
    return compareOf<UnsignedNotEqual>();
  case CmpInst::ICMP_ULT:
    return compareOf<UnsignedLess>();
  case CmpInst::ICMP_ULE:
    return compareOf<UnsignedLessEqual>();
  case CmpInst::ICMP_UGT:
    return compareOf<UnsignedGreater>();
  case CmpInst::ICMP_UGE:
    return compareOf<UnsignedGreaterEqual>();
  case CmpInst::ICMP_SLT:
    return compareOf<SignedLess>();
  case CmpInst::ICMP_SLE:
    return compareOf<SignedLessEqual>();
  case CmpInst::ICMP_SGT:
    return compareOf<SignedGreater>();
  default:
    return compareOf<SignedGreaterEqual>();
  }
}

static FloatHandlers floatComparison(CmpInst::Predicate predicate) {
  switch (predicate) {
  case CmpInst::FCMP_FALSE:
    return floatCompareOf<Never>();
  case CmpInst::FCMP_OEQ:
    return floatCompareOf<OrderedEqual>();
  case CmpInst::FCMP_OGT:
    return floatCompareOf<OrderedGreater>();
  case CmpInst::FCMP_OGE:
    return floatCompareOf<OrderedGreaterEqual>();
  case CmpInst::FCMP_OLT:
    return floatCompareOf<OrderedLess>();
  case CmpInst::FCMP_OLE:
    return floatCompareOf<OrderedLessEqual>();
  case CmpInst::FCMP_ONE:
    return floatCompareOf<OrderedNotEqual>();
  case CmpInst::FCMP_ORD:
    return floatCompareOf<IsOrdered>();
  case CmpInst::FCMP_UNO:
    return floatCompareOf<IsUnordered>();
  case CmpInst::FCMP_UEQ:
    return floatCompareOf<UnorderedEqual>();
  case CmpInst::FCMP_UGT:
    return floatCompareOf<UnorderedGreater>();
  case CmpInst::FCMP_UGE:
    return floatCompareOf<UnorderedGreaterEqual>();
  case CmpInst::FCMP_ULT:
    return floatCompareOf<UnorderedLess>();
  case CmpInst::FCMP_ULE:
    return floatCompareOf<UnorderedLessEqual>();
  case CmpInst::FCMP_UNE:
    return floatCompareOf<UnorderedNotEqual>();
  default:
    return floatCompareOf<Always>();
  }
}

IntegerHandlers sparse_attn::emulator::selectHandlers() {
  return {executeSelect<uint32_t>, executeSelect<uint64_t>};
}

static Error decodeSelect(Decoder &decoder, const SelectInst &select) {
  auto scalars = decoder.scalarsOf(select.getType());
  if (!scalars)
    return scalars.takeError();
  Slots results = decoder.slotsOf(&select);
  Slots condition = decoder.slotsOf(select.getCondition());
  Slots a = decoder.slotsOf(select.getTrueValue());
  Slots b = decoder.slotsOf(select.getFalseValue());
  for (unsigned i = 0; i < results.size(); ++i)
    decoder.emit((*scalars)[i].isWide() ? executeSelect<uint64_t>
                                        : executeSelect<uint32_t>,
                 InstructionKind::Integer, {results[i]},
                 {condition[condition.size() > 1 ? i : 0], a[i], b[i]});
  return Error::success();
}

Expected<bool> sparse_attn::emulator::decodeScalar(Decoder &decoder,
                                                   const llvm::Instruction &instruction) {
  auto done = [](Error error) -> Expected<bool> {
    if (error)
      return std::move(error);
    return true;
  };
  if (isa<CastInst>(instruction))
    return done(decodeCast(decoder, cast<CastInst>(instruction)));
  if (const auto *select = dyn_cast<SelectInst>(&instruction))
    return done(decodeSelect(decoder, *select));
  SmallVector<const Value *, 2> operands(instruction.operand_values());
  if (const auto *compare = dyn_cast<ICmpInst>(&instruction))
    return done(emitIntegers(decoder, integerComparison(compare->getPredicate()),
                             instruction, operands));
  if (const auto *compare = dyn_cast<FCmpInst>(&instruction))
    return done(emitFloats(decoder, floatComparison(compare->getPredicate()), instruction,
                           operands));
  unsigned opcode = instruction.getOpcode();
  if (FloatHandlers handlers = floatOf(opcode); handlers.f32)
    return done(emitFloats(decoder, handlers, instruction, operands));
  IntegerHandlers handlers = integerOf(opcode);
  if (!handlers.narrow)
    return false;
  if (instruction.isIntDivRem() && !isa<Constant>(operands[1]))
    for (Slot divisor : Slots(decoder.slotsOf(operands[1])))
      decoder.emit(decoder.isWide(operands[1]) ? checkDivisor<uint64_t>
                                               : checkDivisor<uint32_t>,
                   InstructionKind::Move, {}, {divisor});
  return done(emitIntegers(decoder, handlers, instruction, operands));
}
