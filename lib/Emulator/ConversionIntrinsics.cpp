//===- ConversionIntrinsics.cpp - conversions between number formats ------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConversionIntrinsics.h"
#include "Conversions.h"
#include "Intrinsics.h"
#include "Operations.h"
#include "llvm/IR/InstrTypes.h"

using namespace llvm;
using namespace sparse_attn::emulator;

//===----------------------------------------------------------------------===//
// Handlers
//===----------------------------------------------------------------------===//

namespace {

float relu(float value) { return value > 0 || std::isnan(value) ? value : 0.0f; }

template <bool isBF16, bool isRelu> uint32_t toHalf(float value) {
  if (isRelu)
    value = relu(value);
  return isBF16 ? floatToBf16(value) : floatToHalf(value);
}

template <bool isBF16, bool isRelu> uint32_t toHalfDown(float value) {
  uint32_t bits = toHalf<isBF16, isRelu>(value);
  float back = isBF16 ? bf16ToFloat(bits) : halfToFloat(bits);
  // One step towards zero is one less in sign and magnitude.
  return std::fabs(back) > std::fabs(isRelu ? relu(value) : value) ? bits - 1 : bits;
}

template <uint32_t (*convert)(float)>
void toOne(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<uint32_t>(instruction.result());
  const auto *a = warp.lanes<float>(instruction.operand(0));
  warp.forLanes([&](unsigned lane) { result[lane] = convert(a[lane]); });
}

/// cvt.rn.x2: the first operand becomes the upper half, element 1.
template <uint32_t (*convert)(float)>
void toTwo(Warp &warp, const WarpInstruction &instruction) {
  auto *low = warp.lanes<uint32_t>(instruction.result(0));
  auto *high = warp.lanes<uint32_t>(instruction.result(1));
  const auto *a = warp.lanes<float>(instruction.operand(0));
  const auto *b = warp.lanes<float>(instruction.operand(1));
  warp.forLanes([&](unsigned lane) {
    uint32_t upper = convert(a[lane]), lower = convert(b[lane]);
    high[lane] = upper;
    low[lane] = lower;
  });
}

/// tf32 by the two other roundings: to even, and towards zero.
uint32_t toTf32Even(float value) {
  auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7f800000) == 0x7f800000)
    return bits;
  return (bits + 0xfff + ((bits >> 13) & 1)) & 0xffffe000u;
}
uint32_t toTf32Zero(float value) { return std::bit_cast<uint32_t>(value) & 0xffffe000u; }

void halfFromFloat(Warp &warp, const WarpInstruction &instruction) {
  toOne<toHalf<false, false>>(warp, instruction);
}

} // namespace

void sparse_attn::emulator::executePackHalves(Warp &warp,
                                              const WarpInstruction &instruction) {
  auto *result = warp.lanes<uint32_t>(instruction.result());
  const auto *a = warp.lanes<float>(instruction.operand(0));
  const auto *b = warp.lanes<float>(instruction.operand(1));
  bool isBF16 = instruction.immediate & 1, isRelu = instruction.immediate & 2;
  warp.forLanes([&](unsigned lane) {
    float x = isRelu ? relu(a[lane]) : a[lane], y = isRelu ? relu(b[lane]) : b[lane];
    result[lane] = isBF16 ? floatToBf16(x) << 16 | floatToBf16(y)
                          : floatToHalf(x) << 16 | floatToHalf(y);
  });
}

void sparse_attn::emulator::executeToTf32(Warp &warp,
                                          const WarpInstruction &instruction) {
  toOne<floatToTf32>(warp, instruction);
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

void sparse_attn::emulator::addConversionIntrinsics(IntrinsicTable &table) {
  constexpr auto kind = InstructionKind::Convert;
  table.add("llvm.nvvm.ff2bf16x2.rn", toTwo<toHalf<true, false>>, kind);
  table.add("llvm.nvvm.ff2bf16x2.rn.relu", toTwo<toHalf<true, true>>, kind);
  table.add("llvm.nvvm.ff2bf16x2.rz", toTwo<toHalfDown<true, false>>, kind);
  table.add("llvm.nvvm.ff2f16x2.rn", toTwo<toHalf<false, false>>, kind);
  table.add("llvm.nvvm.ff2f16x2.rn.relu", toTwo<toHalf<false, true>>, kind);
  table.add("llvm.nvvm.ff2f16x2.rz", toTwo<toHalfDown<false, false>>, kind);
  table.add("llvm.nvvm.f2bf16.rn", toOne<toHalf<true, false>>, kind);
  table.add("llvm.nvvm.f2bf16.rn.relu", toOne<toHalf<true, true>>, kind);
  table.add("llvm.nvvm.f2bf16.rz", toOne<toHalfDown<true, false>>, kind);
  table.add("llvm.nvvm.f2f16.rn", toOne<toHalf<false, false>>, kind);
  table.add("llvm.nvvm.f2h.rn", halfFromFloat, kind);
  table.add("llvm.nvvm.f2tf32.rna", executeToTf32, kind);
  table.add("llvm.nvvm.f2tf32.rn", toOne<toTf32Even>, kind);
  table.add("llvm.nvvm.f2tf32.rz", toOne<toTf32Zero>, kind);
  table.add("llvm.convert.to.fp16", halfFromFloat, kind);
}
