//===- RegionBounds.cpp - what values of a custom region can be ------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What every value of a program can be, for any pair at all. This proves that
// nothing wraps around, so that intervals over a rectangle (RegionEmission.cpp)
// need no checks.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/RegionProgram.h"

using namespace mlir;
using namespace sparse_attn;

using Wide = __int128;

/// Positions, keys, batch entries and heads are below this in magnitude.
static constexpr int64_t kIndexLimit = int64_t(1) << 30;

//===----------------------------------------------------------------------===//
// Bounds
//===----------------------------------------------------------------------===//

static int64_t getTypeMin(unsigned width) { return llvm::minIntN(width); }
static int64_t getTypeMax(unsigned width) { return llvm::maxIntN(width); }

/// [min, max] where it fits the type, else everything the type holds.
static StepBounds fit(Wide min, Wide max, unsigned width) {
  if (min < getTypeMin(width) || max > getTypeMax(width))
    return {getTypeMin(width), getTypeMax(width), /*fits=*/false};
  return {static_cast<int64_t>(min), static_cast<int64_t>(max), true};
}

static bool isNonNegative(const StepBounds &x) { return x.min >= 0; }

static StepBounds fitProduct(const StepBounds &a, const StepBounds &b, unsigned width) {
  auto [min, max] = std::minmax({Wide(a.min) * b.min, Wide(a.min) * b.max,
                                 Wide(a.max) * b.min, Wide(a.max) * b.max});
  return fit(min, max, width);
}

/// The smallest 2^k - 1 with -2^k <= x < 2^k for all of both bounds: and, or, xor
/// of numbers of k bits and a sign have k bits and a sign.
static int64_t getBitMask(const StepBounds &a, const StepBounds &b) {
  uint64_t bits = 0;
  for (int64_t end : {a.min, a.max, b.min, b.max})
    bits |= end < 0 ? ~end : end;
  return bits ? llvm::maskTrailingOnes<uint64_t>(llvm::Log2_64(bits) + 1) : 0;
}

static StepBounds computeBitwise(const Step &step, const StepBounds &a,
                                 const StepBounds &b) {
  int64_t mask = getBitMask(a, b);
  if (step.kind == StepKind::AndI) {
    if (isNonNegative(a) && isNonNegative(b))
      return {0, std::min(a.max, b.max)};
    if (isNonNegative(a) || isNonNegative(b))
      return {0, isNonNegative(a) ? a.max : b.max};
  }
  if (step.kind == StepKind::XorI && b.min == -1 && b.max == -1)
    return {~a.max, ~a.min};
  if (isNonNegative(a) && isNonNegative(b))
    return {step.kind == StepKind::OrI ? std::max(a.min, b.min) : 0, mask};
  return {-mask - 1, mask};
}

/// Bounds of the steps that read their operands as unsigned.
static StepBounds computeUnsigned(const Step &step, const StepBounds &a,
                                  const StepBounds &b) {
  Wide all = Wide(toUnsigned(-1, step.operandWidth)); // of one operand
  bool plain = isNonNegative(a);
  switch (step.kind) {
  case StepKind::DivU:
    if (b.min == 1)
      return a;
    return plain ? StepBounds{a.min / b.min, a.max / b.min}
                 : fit(0, all / b.min, step.width);
  case StepKind::CeilDivU:
    if (b.min == 1)
      return a;
    return plain ? StepBounds{llvm::divideCeilSigned(a.min, b.min),
                              llvm::divideCeilSigned(a.max, b.min)}
                 : fit(0, (all + b.min - 1) / b.min, step.width);
  case StepKind::RemU:
    return {0, b.min - 1};
  case StepKind::ShRU:
    if (b.min == 0)
      return a;
    return plain ? StepBounds{a.min >> b.min, a.max >> b.min}
                 : fit(0, all >> b.min, step.width);
  case StepKind::MinU:
  case StepKind::MaxU:
    if (plain && isNonNegative(b))
      return step.kind == StepKind::MinU
                 ? StepBounds{std::min(a.min, b.min), std::min(a.max, b.max)}
                 : StepBounds{std::max(a.min, b.min), std::max(a.max, b.max)};
    return {std::min(a.min, b.min), std::max(a.max, b.max)};
  case StepKind::UnsignedCast:
    return plain ? fit(a.min, a.max, step.width) : fit(0, all, step.width);
  default:
    llvm_unreachable("not an unsigned step");
  }
}

static StepBounds computeStepBounds(const Step &step, ArrayRef<StepBounds> operands) {
  unsigned width = step.width;
  StepBounds a = operands.size() > 0 ? operands[0] : StepBounds();
  StepBounds b = operands.size() > 1 ? operands[1] : StepBounds();
  switch (step.kind) {
  case StepKind::Constant:
    return {step.constant.integer, step.constant.integer};
  case StepKind::AddI:
    return fit(Wide(a.min) + b.min, Wide(a.max) + b.max, width);
  case StepKind::SubI:
    return fit(Wide(a.min) - b.max, Wide(a.max) - b.min, width);
  case StepKind::MulI:
    return fitProduct(a, b, width);
  case StepKind::DivS:
    return {a.min / b.min, a.max / b.min};
  case StepKind::FloorDivS:
    return {llvm::divideFloorSigned(a.min, b.min), llvm::divideFloorSigned(a.max, b.min)};
  case StepKind::CeilDivS:
    return {llvm::divideCeilSigned(a.min, b.min), llvm::divideCeilSigned(a.max, b.min)};
  case StepKind::RemS:
    return {isNonNegative(a) ? 0 : 1 - b.min, a.max <= 0 ? 0 : b.min - 1};
  case StepKind::AndI:
  case StepKind::OrI:
  case StepKind::XorI:
    return computeBitwise(step, a, b);
  case StepKind::ShL:
    return fit(Wide(a.min) * (Wide(1) << b.min), Wide(a.max) * (Wide(1) << b.min), width);
  case StepKind::ShRS:
    return {a.min >> b.min, a.max >> b.min};
  case StepKind::MinS:
    return {std::min(a.min, b.min), std::min(a.max, b.max)};
  case StepKind::MaxS:
    return {std::max(a.min, b.min), std::max(a.max, b.max)};
  case StepKind::AbsI:
    return fit(0, std::max(-Wide(a.min), Wide(a.max)), width);
  case StepKind::Select: {
    StepBounds c = operands[2];
    return {std::min(b.min, c.min), std::max(b.max, c.max)};
  }
  case StepKind::SignedCast:
    return fit(a.min, a.max, width);
  default:
    return computeUnsigned(step, a, b);
  }
}

/// Steps whose value is an i1 or an f32 have no bounds of their own; as operands
/// of casts an i1 counts -1 or 0.
static bool hasBounds(const Step &step) { return step.width > 1; }

std::vector<StepBounds> RegionProgram::computeBounds() const {
  std::vector<StepBounds> bounds;
  size_t arguments = llvm::count_if(
      steps, [](const Step &step) { return step.kind == StepKind::Argument; });
  for (const auto &[slot, step] : llvm::enumerate(steps)) {
    if (!hasBounds(step)) {
      bounds.push_back({-1, 0});
      continue;
    }
    if (step.kind == StepKind::Argument) {
      bool isPosition = slot == arguments - 2; // ..., b, h, p, j
      bounds.push_back({isPosition ? -kIndexLimit : 0, kIndexLimit});
      continue;
    }
    SmallVector<StepBounds, 3> operands;
    for (unsigned operand : step.operands)
      operands.push_back(bounds[operand]);
    bounds.push_back(computeStepBounds(step, operands));
  }
  return bounds;
}
