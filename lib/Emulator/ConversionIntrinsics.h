//===- ConversionIntrinsics.h - conversions between number formats --*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_CONVERSIONINTRINSICS_H
#define SPARSE_ATTN_LIB_EMULATOR_CONVERSIONINTRINSICS_H

#include "Program.h"

namespace sparse_attn::emulator {

/// cvt.rn.{f16x2,bf16x2}.f32 into one 32-bit register: operand 0 is the upper half.
/// Immediate: 1 for bf16, 2 for relu.
void executePackHalves(Warp &warp, const WarpInstruction &instruction);
/// cvt.rna.tf32.f32.
void executeToTf32(Warp &warp, const WarpInstruction &instruction);

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_CONVERSIONINTRINSICS_H
