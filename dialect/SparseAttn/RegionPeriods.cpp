//===- RegionPeriods.cpp - what repeats in a custom region -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A polynomial of p and j with whole coefficients moves by a multiple of n where p and j
// do, so that its remainder by a divisor of n stays the same.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/RegionProgram.h"

using namespace mlir;
using namespace sparse_attn;

/// Whether the step makes a polynomial of polynomials. What wraps around is none.
static bool keepsPolynomial(const Step &step, const StepBounds &bounds,
                            ArrayRef<StepBounds> all) {
  switch (step.kind) {
  case StepKind::Argument:
  case StepKind::Constant:
    return step.width > 1;
  case StepKind::AddI:
  case StepKind::SubI:
  case StepKind::MulI:
  case StepKind::ShL: // by a constant
    return step.width > 1 && bounds.fits;
  case StepKind::SignedCast:
    return step.width > 1 && step.operandWidth > 1 && bounds.fits;
  case StepKind::UnsignedCast:
    return step.width > 1 && step.operandWidth > 1 && bounds.fits &&
           all[step.operands[0]].min >= 0;
  default:
    return false;
  }
}

/// The n of a remainder by n, if the step is one: `x & (2^k - 1)` is, for either sign.
static std::optional<int64_t> getDivisor(const Step &step, ArrayRef<Step> steps) {
  if (step.width <= 1 || step.operands.size() != 2)
    return std::nullopt;
  const Step &second = steps[step.operands[1]];
  if (second.kind != StepKind::Constant)
    return std::nullopt;
  int64_t value = second.constant.integer;
  if (step.kind == StepKind::RemS || step.kind == StepKind::RemU)
    return value;
  if (step.kind == StepKind::AndI && value > 0 && value < llvm::maxIntN(step.width) &&
      llvm::isMask_64(value))
    return value + 1;
  return std::nullopt;
}

std::vector<int64_t> RegionProgram::computePeriods(ArrayRef<StepBounds> bounds) const {
  constexpr size_t kPosition = 2, kKey = 3;
  std::vector<int64_t> periods(steps.size(), 1);
  SmallVector<bool, 32> polynomial, moving;
  for (auto [slot, step] : llvm::enumerate(steps)) {
    auto isPolynomial = [&](unsigned x) { return polynomial[x]; };
    auto isMoving = [&](unsigned x) { return moving[x]; };
    polynomial.push_back(keepsPolynomial(step, bounds[slot], bounds) &&
                         llvm::all_of(step.operands, isPolynomial));
    moving.push_back(step.kind == StepKind::Argument
                         ? slot == kPosition || slot == kKey
                         : llvm::any_of(step.operands, isMoving));
    std::optional<int64_t> divisor = getDivisor(step, steps);
    if (divisor && polynomial[step.operands[0]] && moving[step.operands[0]])
      periods[slot] = *divisor;
  }
  return periods;
}
