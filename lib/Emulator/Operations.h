//===- Operations.h - handlers from functions of one lane -------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A handler of plain arithmetic is a loop over lanes around a function object. The
// immediate of integer instructions is the width.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_OPERATIONS_H
#define SPARSE_ATTN_LIB_EMULATOR_OPERATIONS_H

#include "Decoder.h"
#include "Numbers.h"
#include "Warp.h"

namespace sparse_attn::emulator {

/// result = Op()(a, b) on zero-extended integers of T.
template <typename T, typename Op>
void integerBinary(Warp &warp, const WarpInstruction &instruction) {
  T *result = warp.lanes<T>(instruction.result());
  const T *a = warp.lanes<T>(instruction.operand(0));
  const T *b = warp.lanes<T>(instruction.operand(1));
  auto width = static_cast<unsigned>(instruction.immediate);
  T clip = lowBits<T>(width);
  warp.forLanes(
      [&](unsigned lane) { result[lane] = Op()(a[lane], b[lane], width) & clip; });
}

template <typename T, typename Op>
void integerUnary(Warp &warp, const WarpInstruction &instruction) {
  T *result = warp.lanes<T>(instruction.result());
  const T *a = warp.lanes<T>(instruction.operand(0));
  auto width = static_cast<unsigned>(instruction.immediate);
  T clip = lowBits<T>(width);
  warp.forLanes([&](unsigned lane) { result[lane] = Op()(a[lane], width) & clip; });
}

template <typename T, typename Op>
void integerTernary(Warp &warp, const WarpInstruction &instruction) {
  T *result = warp.lanes<T>(instruction.result());
  const T *a = warp.lanes<T>(instruction.operand(0));
  const T *b = warp.lanes<T>(instruction.operand(1));
  const T *c = warp.lanes<T>(instruction.operand(2));
  auto width = static_cast<unsigned>(instruction.immediate);
  T clip = lowBits<T>(width);
  warp.forLanes([&](unsigned lane) {
    result[lane] = Op()(a[lane], b[lane], c[lane], width) & clip;
  });
}

/// result, an i1, = Op()(a, b).
template <typename T, typename Op>
void integerCompare(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<uint32_t>(instruction.result());
  const T *a = warp.lanes<T>(instruction.operand(0));
  const T *b = warp.lanes<T>(instruction.operand(1));
  auto width = static_cast<unsigned>(instruction.immediate);
  warp.forLanes([&](unsigned lane) { result[lane] = Op()(a[lane], b[lane], width); });
}

template <typename Format, typename Op>
void floatUnary(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<typename Format::Lane>(instruction.result());
  const auto *a = warp.lanes<typename Format::Lane>(instruction.operand(0));
  warp.forLanes(
      [&](unsigned lane) { result[lane] = Format::put(Op()(Format::get(a[lane]))); });
}

template <typename Format, typename Op>
void floatBinary(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<typename Format::Lane>(instruction.result());
  const auto *a = warp.lanes<typename Format::Lane>(instruction.operand(0));
  const auto *b = warp.lanes<typename Format::Lane>(instruction.operand(1));
  warp.forLanes([&](unsigned lane) {
    result[lane] = Format::put(Op()(Format::get(a[lane]), Format::get(b[lane])));
  });
}

template <typename Format, typename Op>
void floatTernary(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<typename Format::Lane>(instruction.result());
  const auto *a = warp.lanes<typename Format::Lane>(instruction.operand(0));
  const auto *b = warp.lanes<typename Format::Lane>(instruction.operand(1));
  const auto *c = warp.lanes<typename Format::Lane>(instruction.operand(2));
  warp.forLanes([&](unsigned lane) {
    result[lane] = Format::put(
        Op()(Format::get(a[lane]), Format::get(b[lane]), Format::get(c[lane])));
  });
}

template <typename Format, typename Op>
void floatCompare(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<uint32_t>(instruction.result());
  const auto *a = warp.lanes<typename Format::Lane>(instruction.operand(0));
  const auto *b = warp.lanes<typename Format::Lane>(instruction.operand(1));
  warp.forLanes([&](unsigned lane) {
    result[lane] = Op()(Format::get(a[lane]), Format::get(b[lane]));
  });
}

/// Handlers of one operation for all widths of integers.
struct IntegerHandlers {
  Handler narrow, wide;
};

template <typename Op> IntegerHandlers integerBinaryOf() {
  return {integerBinary<uint32_t, Op>, integerBinary<uint64_t, Op>};
}
template <typename Op> IntegerHandlers integerUnaryOf() {
  return {integerUnary<uint32_t, Op>, integerUnary<uint64_t, Op>};
}
template <typename Op> IntegerHandlers integerTernaryOf() {
  return {integerTernary<uint32_t, Op>, integerTernary<uint64_t, Op>};
}

/// Handlers of one operation for all formats of floating-point numbers.
struct FloatHandlers {
  Handler f16, bf16, f32, f64;

  Handler of(Scalar::Kind kind) const {
    switch (kind) {
    case Scalar::F16:
      return f16;
    case Scalar::BF16:
      return bf16;
    case Scalar::F32:
      return f32;
    case Scalar::F64:
      return f64;
    default:
      return nullptr;
    }
  }
};

template <typename Op> FloatHandlers floatUnaryOf() {
  return {floatUnary<F16Format, Op>, floatUnary<BF16Format, Op>,
          floatUnary<F32Format, Op>, floatUnary<F64Format, Op>};
}
template <typename Op> FloatHandlers floatBinaryOf() {
  return {floatBinary<F16Format, Op>, floatBinary<BF16Format, Op>,
          floatBinary<F32Format, Op>, floatBinary<F64Format, Op>};
}
template <typename Op> FloatHandlers floatTernaryOf() {
  return {floatTernary<F16Format, Op>, floatTernary<BF16Format, Op>,
          floatTernary<F32Format, Op>, floatTernary<F64Format, Op>};
}
template <typename Op> FloatHandlers floatCompareOf() {
  return {floatCompare<F16Format, Op>, floatCompare<BF16Format, Op>,
          floatCompare<F32Format, Op>, floatCompare<F64Format, Op>};
}

inline InstructionKind floatKind(const Scalar &scalar) {
  return scalar.kind == Scalar::F64 ? InstructionKind::Double : InstructionKind::Float;
}

/// Handlers of an opcode of LLVM's, such as llvm::Instruction::Add; null for others.
IntegerHandlers integerOf(unsigned opcode);
/// Handlers of smin, smax, umin and umax; null for others.
IntegerHandlers integerFunction(llvm::StringRef name);
/// Handlers of fadd, fmul, fmin, fmax (a number where one is a NaN), fminimum and
/// fmaximum (a NaN where one is).
FloatHandlers floatFunction(llvm::StringRef name);
/// Operands: an i1, what it chooses, what else.
IntegerHandlers selectHandlers();
IntegerHandlers integerComparison(llvm::CmpInst::Predicate predicate);

/// Emits `handlers` for every scalar of `value`, whose operands have as many scalars.
llvm::Error emitIntegers(Decoder &decoder, const IntegerHandlers &handlers,
                         const llvm::Instruction &instruction,
                         llvm::ArrayRef<const llvm::Value *> operands,
                         InstructionKind kind = InstructionKind::Integer);
llvm::Error emitFloats(Decoder &decoder, const FloatHandlers &handlers,
                       const llvm::Instruction &instruction,
                       llvm::ArrayRef<const llvm::Value *> operands,
                       std::optional<InstructionKind> kind = std::nullopt);

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_OPERATIONS_H
