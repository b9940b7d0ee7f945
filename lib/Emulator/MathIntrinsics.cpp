//===- MathIntrinsics.cpp - functions of floating-point numbers -----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Intrinsics.h"
#include "Operations.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/InstrTypes.h"

using namespace llvm;
using namespace sparse_attn::emulator;

namespace {

#define UNARY(NAME, EXPRESSION)                                                          \
  struct NAME {                                                                          \
    template <typename T> T operator()(T a) const { return EXPRESSION; }                 \
  };
#define BINARY(NAME, EXPRESSION)                                                         \
  struct NAME {                                                                          \
    template <typename T> T operator()(T a, T b) const { return EXPRESSION; }            \
  };
UNARY(Abs, std::fabs(a))
UNARY(Sqrt, std::sqrt(a))
UNARY(Exp, std::exp(a))
UNARY(Exp2, std::exp2(a))
UNARY(Log, std::log(a))
UNARY(LogBase2, std::log2(a))
UNARY(Log10, std::log10(a))
UNARY(Sin, std::sin(a))
UNARY(Cos, std::cos(a))
UNARY(Floor, std::floor(a))
UNARY(Ceil, std::ceil(a))
UNARY(Trunc, std::trunc(a))
UNARY(Rint, std::rint(a))
UNARY(Round, std::round(a))
UNARY(Same, a)
UNARY(Reciprocal, T(1) / a)
UNARY(ReciprocalRoot, T(1) / std::sqrt(a))
UNARY(Tanh, std::tanh(a))
BINARY(Add, a + b)
BINARY(Mul, a *b)
BINARY(Div, a / b)
BINARY(Pow, std::pow(a, b))
BINARY(CopySign, std::copysign(a, b))
#undef UNARY
#undef BINARY

/// The other number where one is a NaN.
struct MinNum {
  template <typename T> T operator()(T a, T b) const {
    if (a == b) // -0 is less than 0.
      return std::signbit(a) ? a : b;
    return std::fmin(a, b);
  }
};
struct MaxNum {
  template <typename T> T operator()(T a, T b) const {
    if (a == b)
      return std::signbit(a) ? b : a;
    return std::fmax(a, b);
  }
};
/// A NaN where one is a NaN.
struct Minimum {
  template <typename T> T operator()(T a, T b) const {
    return std::isunordered(a, b) ? std::numeric_limits<T>::quiet_NaN() : MinNum()(a, b);
  }
};
struct Maximum {
  template <typename T> T operator()(T a, T b) const {
    return std::isunordered(a, b) ? std::numeric_limits<T>::quiet_NaN() : MaxNum()(a, b);
  }
};
struct Fma {
  template <typename T> T operator()(T a, T b, T c) const { return std::fma(a, b, c); }
};

/// .ftz around another function of f32.
template <typename Op> struct Flushed {
  float operator()(float a) const { return flush(Op()(flush(a))); }
  float operator()(float a, float b) const { return flush(Op()(flush(a), flush(b))); }
  float operator()(float a, float b, float c) const {
    return flush(Op()(flush(a), flush(b), flush(c)));
  }
};
template <typename Op> struct ReLU {
  template <typename T> T operator()(T a, T b, T c) const {
    T value = Op()(a, b, c);
    return value > 0 ? value : std::isnan(value) ? value : T(0);
  }
};
template <typename Op> struct Saturated {
  template <typename... T> float operator()(T... a) const {
    float value = Op()(a...);
    return value > 0 ? (value < 1 ? value : 1.0f) : 0.0f;
  }
};

struct FPowI {
  static void execute(Warp &warp, const WarpInstruction &instruction) {
    auto *result = warp.lanes<float>(instruction.result());
    const auto *a = warp.lanes<float>(instruction.operand(0));
    const auto *n = warp.lanes<int32_t>(instruction.operand(1));
    warp.forLanes([&](unsigned lane) { result[lane] = std::pow(a[lane], n[lane]); });
  }
};

} // namespace

/// The same result with and without the instruction; 20 times faster with it.
[[gnu::target_clones("fma", "default")]] static void
executeFma(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<float>(instruction.result());
  const auto *a = warp.lanes<float>(instruction.operand(0));
  const auto *b = warp.lanes<float>(instruction.operand(1));
  const auto *c = warp.lanes<float>(instruction.operand(2));
  if (warp.mask == kAllLanes) {
    for (unsigned lane = 0; lane < 32; ++lane)
      result[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
    return;
  }
  for (uint32_t rest = warp.mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    result[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
  }
}

static FloatHandlers fmaHandlers() {
  FloatHandlers handlers = floatTernaryOf<Fma>();
  handlers.f32 = executeFma;
  return handlers;
}

FloatHandlers sparse_attn::emulator::floatFunction(StringRef name) {
  return StringSwitch<FloatHandlers>(name)
      .Case("fadd", floatBinaryOf<Add>())
      .Case("fmul", floatBinaryOf<Mul>())
      .Case("fmin", floatBinaryOf<MinNum>())
      .Case("fmax", floatBinaryOf<MaxNum>())
      .Case("fminimum", floatBinaryOf<Minimum>())
      .Case("fmaximum", floatBinaryOf<Maximum>())
      .Default({});
}

static void addFloat(IntrinsicTable &table, const Twine &name, FloatHandlers handlers,
                     std::optional<InstructionKind> kind = std::nullopt) {
  table.add(name, [=](Decoder &decoder, const CallBase &call) {
    SmallVector<const Value *, 3> operands;
    for (const Value *operand : call.args())
      operands.push_back(operand);
    return emitFloats(decoder, handlers, call, operands, kind);
  });
}

/// nvvm's functions of f32, each with a form that flushes subnormals.
template <typename Op>
static void addUnaryF32(IntrinsicTable &table, StringRef stem, StringRef tail,
                        InstructionKind kind) {
  table.add("llvm.nvvm." + stem + "." + tail, floatUnary<F32Format, Op>, kind);
  table.add("llvm.nvvm." + stem + ".ftz." + tail, floatUnary<F32Format, Flushed<Op>>,
            kind);
}
template <typename Op>
static void addBinaryF32(IntrinsicTable &table, StringRef stem, StringRef tail,
                         InstructionKind kind) {
  table.add("llvm.nvvm." + stem + "." + tail, floatBinary<F32Format, Op>, kind);
  table.add("llvm.nvvm." + stem + ".ftz." + tail, floatBinary<F32Format, Flushed<Op>>,
            kind);
}

template <typename Op>
static void addMinMax(IntrinsicTable &table, StringRef name, bool isNaN) {
  std::string stem = ("llvm.nvvm." + name).str();
  std::string nan = isNaN ? ".nan" : "";
  constexpr auto kind = InstructionKind::Float;
  table.add(stem + nan + ".f", floatBinary<F32Format, Op>, kind);
  table.add(stem + ".ftz" + nan + ".f", floatBinary<F32Format, Flushed<Op>>, kind);
  if (!isNaN)
    table.add(stem + ".d", floatBinary<F64Format, Op>, InstructionKind::Double);
  for (const char *type : {"f16", "f16x2"})
    addFloat(table, stem + nan + "." + type, floatBinaryOf<Op>(), kind);
  for (const char *type : {"bf16", "bf16x2"})
    addFloat(table, stem + nan + "." + type, floatBinaryOf<Op>(), kind);
}

void sparse_attn::emulator::addMathIntrinsics(IntrinsicTable &table) {
  constexpr auto special = InstructionKind::SpecialFunction;
  constexpr auto plain = InstructionKind::Float;
  addFloat(table, "llvm.fabs", floatUnaryOf<Abs>());
  addFloat(table, "llvm.sqrt", floatUnaryOf<Sqrt>(), special);
  addFloat(table, "llvm.exp", floatUnaryOf<Exp>(), special);
  addFloat(table, "llvm.exp2", floatUnaryOf<Exp2>(), special);
  addFloat(table, "llvm.log", floatUnaryOf<Log>(), special);
  addFloat(table, "llvm.log2", floatUnaryOf<LogBase2>(), special);
  addFloat(table, "llvm.log10", floatUnaryOf<Log10>(), special);
  addFloat(table, "llvm.sin", floatUnaryOf<Sin>(), special);
  addFloat(table, "llvm.cos", floatUnaryOf<Cos>(), special);
  addFloat(table, "llvm.tanh", floatUnaryOf<Tanh>(), special);
  addFloat(table, "llvm.floor", floatUnaryOf<Floor>());
  addFloat(table, "llvm.ceil", floatUnaryOf<Ceil>());
  addFloat(table, "llvm.trunc", floatUnaryOf<Trunc>());
  addFloat(table, "llvm.rint", floatUnaryOf<Rint>());
  addFloat(table, "llvm.nearbyint", floatUnaryOf<Rint>());
  addFloat(table, "llvm.roundeven", floatUnaryOf<Rint>());
  addFloat(table, "llvm.round", floatUnaryOf<Round>());
  addFloat(table, "llvm.canonicalize", floatUnaryOf<Same>());
  addFloat(table, "llvm.arithmetic.fence", floatUnaryOf<Same>());
  addFloat(table, "llvm.minnum", floatBinaryOf<MinNum>());
  addFloat(table, "llvm.maxnum", floatBinaryOf<MaxNum>());
  addFloat(table, "llvm.minimumnum", floatBinaryOf<MinNum>());
  addFloat(table, "llvm.maximumnum", floatBinaryOf<MaxNum>());
  addFloat(table, "llvm.minimum", floatBinaryOf<Minimum>());
  addFloat(table, "llvm.maximum", floatBinaryOf<Maximum>());
  addFloat(table, "llvm.copysign", floatBinaryOf<CopySign>());
  addFloat(table, "llvm.pow", floatBinaryOf<Pow>(), special);
  addFloat(table, "llvm.fma", fmaHandlers());
  addFloat(table, "llvm.fmuladd", fmaHandlers());
  table.add("llvm.powi", FPowI::execute, special);

  addUnaryF32<Exp2>(table, "ex2.approx", "f", special);
  table.add("llvm.nvvm.ex2.approx.d", floatUnary<F64Format, Exp2>, special);
  addFloat(table, "llvm.nvvm.ex2.approx", floatUnaryOf<Exp2>(), special);
  table.add("llvm.nvvm.ex2.approx.ftz", [](Decoder &decoder, const CallBase &call) {
    // Overloaded by type: f16x2 and bf16x2 have no subnormals to lose here.
    FloatHandlers handlers = floatUnaryOf<Exp2>();
    handlers.f32 = floatUnary<F32Format, Flushed<Exp2>>;
    return emitFloats(decoder, handlers, call, {call.getArgOperand(0)},
                      InstructionKind::SpecialFunction);
  });
  addUnaryF32<LogBase2>(table, "lg2.approx", "f", special);
  addUnaryF32<Sin>(table, "sin.approx", "f", special);
  addUnaryF32<Cos>(table, "cos.approx", "f", special);
  addUnaryF32<Sqrt>(table, "sqrt.approx", "f", special);
  addUnaryF32<Sqrt>(table, "sqrt.rn", "f", special);
  addUnaryF32<ReciprocalRoot>(table, "rsqrt.approx", "f", special);
  addUnaryF32<Reciprocal>(table, "rcp.rn", "f", special);
  table.add("llvm.nvvm.rcp.approx.ftz.f", floatUnary<F32Format, Flushed<Reciprocal>>,
            special);
  table.add("llvm.nvvm.tanh.approx.f32", floatUnary<F32Format, Tanh>, special);
  table.add("llvm.nvvm.sqrt.f", floatUnary<F32Format, Sqrt>, special);
  addUnaryF32<Abs>(table, "fabs", "f", plain);
  addFloat(table, "llvm.nvvm.fabs", floatUnaryOf<Abs>(), plain);
  addBinaryF32<Div>(table, "div.approx", "f", special);
  addBinaryF32<Div>(table, "div.full", "f", special);
  addBinaryF32<Div>(table, "div.rn", "f", special);
  table.add("llvm.nvvm.div.full", floatBinary<F32Format, Div>, special);
  table.add("llvm.nvvm.div.full.ftz", floatBinary<F32Format, Flushed<Div>>, special);
  addBinaryF32<Add>(table, "add.rn", "f", plain);
  addBinaryF32<Mul>(table, "mul.rn", "f", plain);
  table.add("llvm.nvvm.saturate.f", floatUnary<F32Format, Saturated<Same>>, plain);
  table.add("llvm.nvvm.fma.rn.f", executeFma, plain);
  table.add("llvm.nvvm.fma.rn.ftz.f", floatTernary<F32Format, Flushed<Fma>>, plain);
  table.add("llvm.nvvm.fma.rn.sat.f", floatTernary<F32Format, Saturated<Fma>>, plain);
  table.add("llvm.nvvm.fma.rn.d", floatTernary<F64Format, Fma>, InstructionKind::Double);
  for (const char *type : {"f16", "f16x2", "bf16", "bf16x2"}) {
    addFloat(table, Twine("llvm.nvvm.fma.rn.") + type, floatTernaryOf<Fma>(), plain);
    addFloat(table, Twine("llvm.nvvm.fma.rn.relu.") + type, floatTernaryOf<ReLU<Fma>>(),
             plain);
  }
  addMinMax<MinNum>(table, "fmin", false);
  addMinMax<MaxNum>(table, "fmax", false);
  addMinMax<Minimum>(table, "fmin", true);
  addMinMax<Maximum>(table, "fmax", true);
  table.add("llvm.nvvm.floor.f", floatUnary<F32Format, Floor>, plain);
  table.add("llvm.nvvm.ceil.f", floatUnary<F32Format, Ceil>, plain);
  table.add("llvm.nvvm.trunc.f", floatUnary<F32Format, Trunc>, plain);
  table.add("llvm.nvvm.round.f", floatUnary<F32Format, Rint>, plain);
}
