//===- Conversions.cpp - casts --------------------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Conversions.h"
#include "Operations.h"
#include <limits>

using namespace llvm;
using namespace sparse_attn::emulator;

//===----------------------------------------------------------------------===//
// Handlers; the immediate is the width of the operand, or of the result for
// conversions to integers
//===----------------------------------------------------------------------===//

template <typename From, typename To>
static void truncate(Warp &warp, const WarpInstruction &instruction) {
  To *result = warp.lanes<To>(instruction.result());
  const From *a = warp.lanes<From>(instruction.operand(0));
  To clip = lowBits<To>(instruction.immediate);
  warp.forLanes([&](unsigned lane) { result[lane] = static_cast<To>(a[lane]) & clip; });
}

template <typename From, typename To>
static void extendSign(Warp &warp, const WarpInstruction &instruction) {
  To *result = warp.lanes<To>(instruction.result());
  const From *a = warp.lanes<From>(instruction.operand(0));
  // The lower byte is the operand's width, the next the result's.
  unsigned width = instruction.immediate & 0xff;
  To clip = lowBits<To>(instruction.immediate >> 8);
  warp.forLanes([&](unsigned lane) {
    result[lane] =
        static_cast<To>(static_cast<std::make_signed_t<To>>(signExtend(a[lane], width))) &
        clip;
  });
}

template <typename From, typename To>
static void convertFloat(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<typename To::Lane>(instruction.result());
  const auto *a = warp.lanes<typename From::Lane>(instruction.operand(0));
  warp.forLanes([&](unsigned lane) {
    result[lane] = To::put(static_cast<typename To::Value>(From::get(a[lane])));
  });
}

template <typename T, typename Format, bool isSigned>
static void fromInteger(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<typename Format::Lane>(instruction.result());
  const T *a = warp.lanes<T>(instruction.operand(0));
  auto width = static_cast<unsigned>(instruction.immediate);
  warp.forLanes([&](unsigned lane) {
    if constexpr (isSigned)
      result[lane] =
          Format::put(static_cast<typename Format::Value>(signExtend(a[lane], width)));
    else
      result[lane] = Format::put(static_cast<typename Format::Value>(a[lane]));
  });
}

/// As cvt.rzi: towards zero, saturating; NaN gives 0.
template <typename T, typename Format, bool isSigned>
static void toInteger(Warp &warp, const WarpInstruction &instruction) {
  T *result = warp.lanes<T>(instruction.result());
  const auto *a = warp.lanes<typename Format::Lane>(instruction.operand(0));
  auto width = static_cast<unsigned>(instruction.immediate);
  double least = isSigned ? -std::ldexp(1.0, width - 1) : 0.0;
  double most = std::ldexp(1.0, isSigned ? width - 1 : width);
  T clip = lowBits<T>(width);
  warp.forLanes([&](unsigned lane) {
    double value = std::trunc(static_cast<double>(Format::get(a[lane])));
    T integer = 0;
    if (value >= most)
      integer = isSigned ? clip >> 1 : clip;
    else if (value <= least)
      integer = isSigned ? T(1) << (width - 1) : 0;
    else if (value == value)
      integer = isSigned ? static_cast<T>(static_cast<int64_t>(value))
                         : static_cast<T>(static_cast<uint64_t>(value));
    result[lane] = integer & clip;
  });
}

/// Result bits [0, width) are those of operand bits [shift, ...): the immediate is
/// width | shift << 8.
template <typename From, typename To>
static void takeBits(Warp &warp, const WarpInstruction &instruction) {
  To *result = warp.lanes<To>(instruction.result());
  const From *a = warp.lanes<From>(instruction.operand(0));
  unsigned shift = instruction.immediate >> 8;
  To clip = lowBits<To>(instruction.immediate & 0xff);
  warp.forLanes(
      [&](unsigned lane) { result[lane] = static_cast<To>(a[lane] >> shift) & clip; });
}

/// Results of operands that lie one after another; the immediate is the width of each.
template <typename From, typename To>
static void joinBits(Warp &warp, const WarpInstruction &instruction) {
  To *result = warp.lanes<To>(instruction.result());
  unsigned width = instruction.immediate;
  warp.forLanes([&](unsigned lane) {
    To value = 0;
    for (unsigned i = 0; i < instruction.numOperands; ++i)
      value |= static_cast<To>(warp.lanes<From>(instruction.operand(i))[lane])
               << (i * width);
    result[lane] = value;
  });
}

static void addWindow(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<uint64_t>(instruction.result());
  const auto *a = warp.lanes<uint64_t>(instruction.operand(0));
  warp.forLanes([&](unsigned lane) { result[lane] = a[lane] | instruction.immediate; });
}

/// A pointer that is not in the address space becomes one that no access takes: the
/// conversion may have been hoisted above the test that guards it.
static void removeWindow(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<uint64_t>(instruction.result());
  const auto *a = warp.lanes<uint64_t>(instruction.operand(0));
  warp.forLanes([&](unsigned lane) {
    bool inside = (a[lane] & kWindowMask) == instruction.immediate;
    result[lane] = inside ? a[lane] & ~kWindowMask : 0;
  });
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

Expected<Slots> sparse_attn::emulator::emitBitcast(Decoder &decoder, const Slots &slots,
                                                   ArrayRef<Scalar> from,
                                                   ArrayRef<Scalar> to) {
  if (from.size() == to.size()) // The same bits under another name.
    return slots;
  Slots results = decoder.newSlots(to);
  if (from.size() < to.size()) {
    unsigned parts = to.size() / from.size();
    unsigned width = to[0].bits;
    Handler handler = from[0].isWide() ? (to[0].isWide() ? takeBits<uint64_t, uint64_t>
                                                         : takeBits<uint64_t, uint32_t>)
                                       : takeBits<uint32_t, uint32_t>;
    if (parts * width != from[0].bits)
      return decoder.unsupported("elements of the types do not divide each other");
    for (unsigned i = 0; i < to.size(); ++i)
      decoder.emit(handler, InstructionKind::Move, {results[i]}, {slots[i / parts]},
                   width | uint64_t(i % parts) * width << 8);
    return results;
  }
  unsigned parts = from.size() / to.size();
  unsigned width = from[0].bits;
  Handler handler = to[0].isWide() ? (from[0].isWide() ? joinBits<uint64_t, uint64_t>
                                                       : joinBits<uint32_t, uint64_t>)
                                   : joinBits<uint32_t, uint32_t>;
  if (parts * width != to[0].bits)
    return decoder.unsupported("elements of the types do not divide each other");
  for (unsigned i = 0; i < to.size(); ++i)
    decoder.emit(handler, InstructionKind::Move, {results[i]},
                 ArrayRef(slots).slice(i * parts, parts), width);
  return results;
}

template <typename From> static Handler conversionTo(Scalar::Kind to) {
  switch (to) {
  case Scalar::F16:
    return convertFloat<From, F16Format>;
  case Scalar::BF16:
    return convertFloat<From, BF16Format>;
  case Scalar::F32:
    return convertFloat<From, F32Format>;
  case Scalar::F64:
    return convertFloat<From, F64Format>;
  default:
    return nullptr;
  }
}

Handler sparse_attn::emulator::floatConversion(Scalar::Kind from, Scalar::Kind to) {
  switch (from) {
  case Scalar::F16:
    return conversionTo<F16Format>(to);
  case Scalar::BF16:
    return conversionTo<BF16Format>(to);
  case Scalar::F32:
    return conversionTo<F32Format>(to);
  case Scalar::F64:
    return conversionTo<F64Format>(to);
  default:
    return nullptr;
  }
}

template <typename T, bool isSigned>
static Handler integerConversion(Scalar::Kind kind, bool toFloat) {
  switch (kind) {
  case Scalar::F16:
    return toFloat ? fromInteger<T, F16Format, isSigned>
                   : toInteger<T, F16Format, isSigned>;
  case Scalar::BF16:
    return toFloat ? fromInteger<T, BF16Format, isSigned>
                   : toInteger<T, BF16Format, isSigned>;
  case Scalar::F32:
    return toFloat ? fromInteger<T, F32Format, isSigned>
                   : toInteger<T, F32Format, isSigned>;
  case Scalar::F64:
    return toFloat ? fromInteger<T, F64Format, isSigned>
                   : toInteger<T, F64Format, isSigned>;
  default:
    return nullptr;
  }
}

/// Handler and immediate for one scalar; a null handler where nothing is to be done.
static std::pair<Handler, uint64_t> castOf(unsigned opcode, const Scalar &from,
                                           const Scalar &to) {
  bool wideFrom = from.isWide(), wideTo = to.isWide();
  auto plain = [&]() -> Handler {
    if (wideFrom)
      return wideTo ? truncate<uint64_t, uint64_t> : truncate<uint64_t, uint32_t>;
    return wideTo ? truncate<uint32_t, uint64_t> : truncate<uint32_t, uint32_t>;
  };
  switch (opcode) {
  case llvm::Instruction::Trunc:
  case llvm::Instruction::ZExt:
  case llvm::Instruction::PtrToInt:
  case llvm::Instruction::PtrToAddr:
  case llvm::Instruction::IntToPtr:
    if (wideFrom == wideTo && to.bits >= from.bits)
      return {nullptr, 0};
    return {plain(), std::min(to.bits, from.bits)};
  case llvm::Instruction::SExt:
    return {wideFrom ? extendSign<uint64_t, uint64_t>
            : wideTo ? extendSign<uint32_t, uint64_t>
                     : extendSign<uint32_t, uint32_t>,
            from.bits | to.bits << 8};
  case llvm::Instruction::FPExt:
  case llvm::Instruction::FPTrunc:
    return {floatConversion(from.kind, to.kind), 0};
  case llvm::Instruction::SIToFP:
    return {wideFrom ? integerConversion<uint64_t, true>(to.kind, true)
                     : integerConversion<uint32_t, true>(to.kind, true),
            from.bits};
  case llvm::Instruction::UIToFP:
    return {wideFrom ? integerConversion<uint64_t, false>(to.kind, true)
                     : integerConversion<uint32_t, false>(to.kind, true),
            from.bits};
  case llvm::Instruction::FPToSI:
    return {wideTo ? integerConversion<uint64_t, true>(from.kind, false)
                   : integerConversion<uint32_t, true>(from.kind, false),
            to.bits};
  case llvm::Instruction::FPToUI:
    return {wideTo ? integerConversion<uint64_t, false>(from.kind, false)
                   : integerConversion<uint32_t, false>(from.kind, false),
            to.bits};
  default:
    return {nullptr, 0};
  }
}

static Error decodeAddressSpaceCast(Decoder &decoder, const CastInst &cast) {
  auto window = [](unsigned space) -> std::optional<uint64_t> {
    switch (space) {
    case 3:
    case 7:
      return kSharedWindow;
    case 5:
      return kLocalWindow;
    case 0:
    case 1:
    case 4:
    case 101:
      return 0;
    default:
      return std::nullopt;
    }
  };
  unsigned from = cast.getSrcTy()->getPointerAddressSpace();
  unsigned to = cast.getDestTy()->getPointerAddressSpace();
  Slot operand = decoder.slotOf(cast.getOperand(0));
  std::optional<uint64_t> fromWindow = window(from), toWindow = window(to);
  if (!fromWindow || !toWindow)
    return decoder.unsupported("no such address space");
  if (*fromWindow == *toWindow && (from != 0 || *toWindow == 0) &&
      (from == 0) == (to == 0)) {
    decoder.alias(&cast, {operand});
    return Error::success();
  }
  if (to == 0 || from == 0) {
    uint64_t of = to == 0 ? *fromWindow : *toWindow;
    if (of == 0 && to == 0) {
      decoder.alias(&cast, {operand});
      return Error::success();
    }
    decoder.emit(to == 0 ? addWindow : removeWindow, InstructionKind::Integer,
                 decoder.slotsOf(&cast), {operand}, of);
    return Error::success();
  }
  return decoder.unsupported("no conversion between these address spaces");
}

Error sparse_attn::emulator::decodeCast(Decoder &decoder, const CastInst &cast) {
  if (cast.getOpcode() == llvm::Instruction::AddrSpaceCast)
    return decodeAddressSpaceCast(decoder, cast);
  auto from = decoder.scalarsOf(cast.getSrcTy());
  auto to = decoder.scalarsOf(cast.getDestTy());
  if (!from || !to)
    return joinErrors(from ? Error::success() : from.takeError(),
                      to ? Error::success() : to.takeError());
  Slots operand = decoder.slotsOf(cast.getOperand(0));
  if (cast.getOpcode() == llvm::Instruction::BitCast) {
    Expected<Slots> slots = emitBitcast(decoder, operand, *from, *to);
    if (!slots)
      return slots.takeError();
    decoder.alias(&cast, *slots);
    return Error::success();
  }
  if (!castOf(cast.getOpcode(), (*from)[0], (*to)[0]).first) {
    decoder.alias(&cast, operand);
    return Error::success();
  }
  Slots results = decoder.slotsOf(&cast);
  bool isInteger = (*from)[0].kind == Scalar::Integer && (*to)[0].kind == Scalar::Integer;
  for (unsigned i = 0; i < results.size(); ++i) {
    auto [handler, immediate] = castOf(cast.getOpcode(), (*from)[i], (*to)[i]);
    decoder.emit(handler, isInteger ? InstructionKind::Integer : InstructionKind::Convert,
                 {results[i]}, {operand[i]}, immediate);
  }
  return Error::success();
}
