//===- IntegerIntrinsics.cpp - functions of integers ----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Intrinsics.h"
#include "Operations.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/InstrTypes.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;
using namespace sparse_attn::emulator;

namespace {

#define BINARY(NAME, EXPRESSION)                                                         \
  struct NAME {                                                                          \
    template <typename T> T operator()(T a, T b, unsigned width) const {                 \
      (void)width;                                                                       \
      return static_cast<T>(EXPRESSION);                                                 \
    }                                                                                    \
  };
BINARY(SMin, signExtend(a, width) < signExtend(b, width) ? a : b)
BINARY(SMax, signExtend(a, width) > signExtend(b, width) ? a : b)
BINARY(UMin, std::min(a, b))
BINARY(UMax, std::max(a, b))
BINARY(UAddSat, ((a + b) & lowBits<T>(width)) < a ? ~T(0) : a + b)
BINARY(USubSat, a > b ? a - b : T(0))
BINARY(UCmp, a<b ? -1 : a> b)
BINARY(SCmp, signExtend(a, width) < signExtend(b, width)
                 ? -1
                 : signExtend(a, width) > signExtend(b, width))
#undef BINARY

struct SAddSat {
  template <typename T> T operator()(T a, T b, unsigned width) const {
    auto sum = static_cast<__int128>(signExtend(a, width)) + signExtend(b, width);
    __int128 most = (static_cast<__int128>(1) << (width - 1)) - 1;
    return static_cast<T>(std::clamp(sum, -most - 1, most));
  }
};
struct SSubSat {
  template <typename T> T operator()(T a, T b, unsigned width) const {
    auto sum = static_cast<__int128>(signExtend(a, width)) - signExtend(b, width);
    __int128 most = (static_cast<__int128>(1) << (width - 1)) - 1;
    return static_cast<T>(std::clamp(sum, -most - 1, most));
  }
};

struct PopCount {
  template <typename T> T operator()(T a, unsigned) const { return std::popcount(a); }
};
/// Counts of zeros; of 0 the width.
struct LeadingZeros {
  template <typename T> T operator()(T a, T, unsigned width) const {
    return std::countl_zero(a) - (sizeof(T) * 8 - width);
  }
};
struct TrailingZeros {
  template <typename T> T operator()(T a, T, unsigned width) const {
    return std::min<unsigned>(std::countr_zero(a), width);
  }
};
struct Abs {
  template <typename T> T operator()(T a, T, unsigned width) const {
    return signExtend(a, width) < 0 ? T(0) - a : a;
  }
};
struct ByteSwap {
  template <typename T> T operator()(T a, unsigned width) const {
    T result = 0;
    for (unsigned bit = 0; bit < width; bit += 8)
      result |= (a >> bit & 0xff) << (width - 8 - bit);
    return result;
  }
};
struct BitReverse {
  template <typename T> T operator()(T a, unsigned width) const {
    T result = 0;
    for (unsigned bit = 0; bit < width; ++bit)
      result |= (a >> bit & 1) << (width - 1 - bit);
    return result;
  }
};
struct FunnelLeft {
  template <typename T> T operator()(T a, T b, T c, unsigned width) const {
    unsigned shift = c % width;
    return shift ? (a << shift) | (b >> (width - shift)) : a;
  }
};
struct FunnelRight {
  template <typename T> T operator()(T a, T b, T c, unsigned width) const {
    unsigned shift = c % width;
    return shift ? (a << (width - shift)) | (b >> shift) : b;
  }
};

/// The second operand is a flag: that the first is not 0, or not the least.
template <typename Op> IntegerHandlers withFlag() { return integerBinaryOf<Op>(); }

/// {sum, overflow}: the width is the immediate.
template <typename T, int operation, bool isSigned>
void executeOverflow(Warp &warp, const WarpInstruction &instruction) {
  T *result = warp.lanes<T>(instruction.result(0));
  auto *overflow = warp.lanes<uint32_t>(instruction.result(1));
  const T *a = warp.lanes<T>(instruction.operand(0));
  const T *b = warp.lanes<T>(instruction.operand(1));
  unsigned width = instruction.immediate;
  T clip = lowBits<T>(width);
  warp.forLanes([&](unsigned lane) {
    __int128 x = isSigned ? static_cast<__int128>(signExtend(a[lane], width))
                          : static_cast<__int128>(a[lane]);
    __int128 y = isSigned ? static_cast<__int128>(signExtend(b[lane], width))
                          : static_cast<__int128>(b[lane]);
    __int128 exact = operation == 0 ? x + y : operation == 1 ? x - y : x * y;
    T clipped = static_cast<T>(exact) & clip;
    __int128 back = isSigned ? static_cast<__int128>(signExtend(clipped, width))
                             : static_cast<__int128>(clipped);
    result[lane] = clipped;
    overflow[lane] = back != exact;
  });
}

void executePermute(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<uint32_t>(instruction.result());
  const auto *a = warp.lanes<uint32_t>(instruction.operand(0));
  const auto *b = warp.lanes<uint32_t>(instruction.operand(1));
  const auto *c = warp.lanes<uint32_t>(instruction.operand(2));
  warp.forLanes([&](unsigned lane) {
    uint64_t all = a[lane] | uint64_t(b[lane]) << 32;
    uint32_t value = 0;
    for (unsigned i = 0; i < 4; ++i) {
      unsigned selector = c[lane] >> (4 * i) & 0xf;
      uint32_t byte = all >> (8 * (selector & 7)) & 0xff;
      if (selector & 8)
        byte = byte & 0x80 ? 0xff : 0;
      value |= byte << (8 * i);
    }
    result[lane] = value;
  });
}

/// The upper half of a product.
template <typename T, typename Double>
void executeMulHigh(Warp &warp, const WarpInstruction &instruction) {
  T *result = warp.lanes<T>(instruction.result());
  const T *a = warp.lanes<T>(instruction.operand(0));
  const T *b = warp.lanes<T>(instruction.operand(1));
  warp.forLanes([&](unsigned lane) {
    result[lane] =
        static_cast<T>((static_cast<Double>(a[lane]) * b[lane]) >> (sizeof(T) * 8));
  });
}

} // namespace

IntegerHandlers sparse_attn::emulator::integerFunction(StringRef name) {
  return StringSwitch<IntegerHandlers>(name)
      .Case("smin", integerBinaryOf<SMin>())
      .Case("smax", integerBinaryOf<SMax>())
      .Case("umin", integerBinaryOf<UMin>())
      .Case("umax", integerBinaryOf<UMax>())
      .Default({});
}

static void addInteger(IntrinsicTable &table, const Twine &name, IntegerHandlers handlers,
                       unsigned numOperands) {
  table.add(name, [=](Decoder &decoder, const CallBase &call) -> Error {
    // Flags of one bit go with every scalar of the first operand.
    auto scalars = decoder.scalarsOf(call.getArgOperand(0)->getType());
    if (!scalars)
      return scalars.takeError();
    Slots results = decoder.slotsOf(&call);
    for (unsigned i = 0; i < results.size(); ++i) {
      Slots operands;
      for (unsigned k = 0; k < numOperands; ++k) {
        const Value *operand = call.getArgOperand(k);
        bool isFlag = operand->getType() != call.getArgOperand(0)->getType();
        operands.push_back(isFlag ? decoder.constant(0, (*scalars)[i].isWide())
                                  : decoder.slotsOf(operand)[i]);
      }
      decoder.emit((*scalars)[i].isWide() ? handlers.wide : handlers.narrow,
                   InstructionKind::Integer, {results[i]}, operands, (*scalars)[i].bits);
    }
    return Error::success();
  });
}

template <int operation, bool isSigned>
static void addOverflow(IntrinsicTable &table, StringRef name) {
  table.add("llvm." + name + ".with.overflow",
            [](Decoder &decoder, const CallBase &call) -> Error {
              auto scalars = decoder.scalarsOf(call.getArgOperand(0)->getType());
              if (!scalars)
                return scalars.takeError();
              if (scalars->size() != 1)
                return decoder.unsupported("not for vectors");
              emitCall(decoder, call,
                       (*scalars)[0].isWide()
                           ? executeOverflow<uint64_t, operation, isSigned>
                           : executeOverflow<uint32_t, operation, isSigned>,
                       InstructionKind::Integer, (*scalars)[0].bits);
              return Error::success();
            });
}

void sparse_attn::emulator::addIntegerIntrinsics(IntrinsicTable &table) {
  for (const char *name : {"smin", "smax", "umin", "umax"})
    addInteger(table, Twine("llvm.") + name, integerFunction(name), 2);
  addInteger(table, "llvm.uadd.sat", integerBinaryOf<UAddSat>(), 2);
  addInteger(table, "llvm.usub.sat", integerBinaryOf<USubSat>(), 2);
  addInteger(table, "llvm.sadd.sat", integerBinaryOf<SAddSat>(), 2);
  addInteger(table, "llvm.ssub.sat", integerBinaryOf<SSubSat>(), 2);
  addInteger(table, "llvm.abs", withFlag<Abs>(), 2);
  addInteger(table, "llvm.ctlz", withFlag<LeadingZeros>(), 2);
  addInteger(table, "llvm.cttz", withFlag<TrailingZeros>(), 2);
  addInteger(table, "llvm.ctpop", integerUnaryOf<PopCount>(), 1);
  addInteger(table, "llvm.bswap", integerUnaryOf<ByteSwap>(), 1);
  addInteger(table, "llvm.bitreverse", integerUnaryOf<BitReverse>(), 1);
  addInteger(table, "llvm.fshl", integerTernaryOf<FunnelLeft>(), 3);
  addInteger(table, "llvm.fshr", integerTernaryOf<FunnelRight>(), 3);
  // Their results are of another width than the operands, mostly.
  for (auto [name, handlers] : {std::pair("llvm.ucmp", integerBinaryOf<UCmp>()),
                                {"llvm.scmp", integerBinaryOf<SCmp>()}})
    table.add(name, [handlers](Decoder &decoder, const CallBase &call) -> Error {
      if (decoder.isWide(&call) != decoder.isWide(call.getArgOperand(0)) ||
          call.getType() != call.getArgOperand(0)->getType())
        return decoder.unsupported("only where the result has the operands' type");
      return emitIntegers(decoder, handlers, call,
                          {call.getArgOperand(0), call.getArgOperand(1)});
    });
  addOverflow<0, true>(table, "sadd");
  addOverflow<0, false>(table, "uadd");
  addOverflow<1, true>(table, "ssub");
  addOverflow<1, false>(table, "usub");
  addOverflow<2, true>(table, "smul");
  addOverflow<2, false>(table, "umul");
  constexpr auto kind = InstructionKind::Integer;
  table.add("llvm.nvvm.prmt", executePermute, kind);
  table.add("llvm.nvvm.mulhi.i", executeMulHigh<int32_t, int64_t>, kind);
  table.add("llvm.nvvm.mulhi.ui", executeMulHigh<uint32_t, uint64_t>, kind);
  table.add("llvm.nvvm.mulhi.ll", executeMulHigh<int64_t, __int128>, kind);
  table.add("llvm.nvvm.mulhi.ull", executeMulHigh<uint64_t, unsigned __int128>, kind);
}
