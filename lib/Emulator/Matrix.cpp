//===- Matrix.cpp - mma.sync ----------------------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Matrix.h"
#include "Intrinsics.h"
#include "ThreadBlock.h"
#include "llvm/IR/InstrTypes.h"

using namespace llvm;
using namespace sparse_attn::emulator;

// One rounding for each product and sum on every machine: no fused multiply-adds.
#pragma clang fp contract(off)

[[gnu::target_clones("avx2", "default")]] void
sparse_attn::emulator::multiplyAdd(float *c, const float *a, const float *b, unsigned n,
                                   unsigned k) {
  if (n == 8) { // An mma: its row of sums stays in registers.
    for (unsigned row = 0; row < 16; ++row) {
      float sum[8];
      for (unsigned column = 0; column < 8; ++column)
        sum[column] = c[row * 8 + column];
      for (unsigned i = 0; i < k; ++i)
        for (unsigned column = 0; column < 8; ++column)
          sum[column] += a[row * k + i] * b[i * 8 + column];
      for (unsigned column = 0; column < 8; ++column)
        c[row * 8 + column] = sum[column];
    }
    return;
  }
  for (unsigned row = 0; row < 16; ++row) {
    float *sum = c + row * n;
    for (unsigned i = 0; i < k; ++i) {
      float factor = a[row * k + i];
      const float *with = b + i * n;
      for (unsigned column = 0; column < n; ++column)
        sum[column] += factor * with[column];
    }
  }
}

/// Calls `put(lane, register, half, value)` for the elements of `count` registers of A or
/// B, which begin at `operand`.
template <MatrixElement element, typename F>
static void gatherElements(Warp &warp, const WarpInstruction &instruction, bool packed,
                           unsigned &operand, unsigned count, F &&put) {
  constexpr unsigned perRegister = element == MatrixElement::TF32 ? 1 : 2;
  for (unsigned reg = 0; reg < count; ++reg)
    for (unsigned half = 0; half < perRegister; ++half) {
      const auto *bits = warp.lanes<uint32_t>(instruction.operand(operand));
      unsigned shift = packed ? 16 * half : 0;
      for (unsigned lane = 0; lane < 32; ++lane) {
        uint32_t value = bits[lane] >> shift;
        put(lane, reg, half, toFloat(element, perRegister == 2 ? value & 0xffff : value));
      }
      operand += !packed || half + 1 == perRegister;
    }
}

/// A and B as matrices of k columns and of k rows; returns the first operand of C.
template <MatrixElement element>
static unsigned gatherFactors(Warp &warp, const WarpInstruction &instruction,
                              const MmaShape &shape, float *a, float *b) {
  unsigned bits = shape.k * bitsOf(element), operand = 0;
  gatherElements<element>(warp, instruction, shape.packed, operand, bits / 64,
                          [&](unsigned lane, unsigned reg, unsigned half, float value) {
                            Position at = positionInA(element, lane, reg, half);
                            a[at.row * shape.k + at.column] = value;
                          });
  gatherElements<element>(warp, instruction, shape.packed, operand, bits / 128,
                          [&](unsigned lane, unsigned reg, unsigned half, float value) {
                            Position at = positionInB(element, lane, reg, half);
                            b[at.row * 8 + at.column] = value;
                          });
  return operand;
}

void sparse_attn::emulator::executeMma(Warp &warp, const WarpInstruction &instruction) {
  if (!warp.requireAllLanes(instruction))
    return;
  const auto &shape = *static_cast<const MmaShape *>(instruction.data);
  float a[16 * 16], b[16 * 8], c[16 * 8];
  unsigned operand;
  switch (shape.element) {
  case MatrixElement::F16:
    operand = gatherFactors<MatrixElement::F16>(warp, instruction, shape, a, b);
    break;
  case MatrixElement::BF16:
    operand = gatherFactors<MatrixElement::BF16>(warp, instruction, shape, a, b);
    break;
  case MatrixElement::TF32:
    operand = gatherFactors<MatrixElement::TF32>(warp, instruction, shape, a, b);
    break;
  }
  for (unsigned reg = 0; reg < 4; ++reg) {
    Slot slot = instruction.operand(operand + (shape.packedAccumulator ? reg / 2 : reg));
    for (unsigned lane = 0; lane < 32; ++lane) {
      Position at = positionInC(lane, reg);
      uint32_t bits = warp.lanes<uint32_t>(slot)[lane];
      if (shape.packedAccumulator)
        bits = bits >> (16 * (reg & 1)) & 0xffff;
      c[at.row * 8 + at.column] =
          shape.halfAccumulator ? halfToFloat(bits) : std::bit_cast<float>(bits);
    }
  }
  multiplyAdd(c, a, b, 8, shape.k);
  for (unsigned reg = 0; reg < 4; ++reg)
    for (unsigned lane = 0; lane < 32; ++lane) {
      Position at = positionInC(lane, reg);
      float value = c[at.row * 8 + at.column];
      if (shape.packedAccumulator) {
        auto &bits = warp.lanes<uint32_t>(instruction.result(reg / 2))[lane];
        uint32_t half = floatToHalf(value);
        bits = reg & 1 ? (bits & 0xffff) | half << 16 : half;
      } else if (shape.halfAccumulator) {
        warp.lanes<uint32_t>(instruction.result(reg))[lane] = floatToHalf(value);
      } else {
        warp.lanes<float>(instruction.result(reg))[lane] = value;
      }
    }
  warp.block.launch.statistics.matrixMultiplyAdds += 16 * 8 * shape.k;
}

void sparse_attn::emulator::addMatrixIntrinsics(IntrinsicTable &table) {
  auto add = [&](const Twine &name, MmaShape shape) {
    table.add("llvm.nvvm.mma." + name, [=](Decoder &decoder, const CallBase &call) {
      emitCall(decoder, call, executeMma, InstructionKind::Mma, 0, ~0u,
               decoder.own(shape));
      return Error::success();
    });
  };
  add("m16n8k16.row.col.bf16", {16, MatrixElement::BF16});
  add("m16n8k8.row.col.bf16", {8, MatrixElement::BF16});
  add("m16n8k8.row.col.tf32", {8, MatrixElement::TF32});
  add("m16n8k4.row.col.tf32", {4, MatrixElement::TF32});
  for (unsigned k : {8, 16}) {
    std::string name = "m16n8k" + std::to_string(k) + ".row.col.";
    add(name + "f32.f32", {k, MatrixElement::F16, /*packed=*/false});
    add(name + "f16.f16", {k, MatrixElement::F16, /*packed=*/false, true});
  }
}
