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

void sparse_attn::emulator::executeMma(Warp &warp, const WarpInstruction &instruction) {
  if (!warp.requireAllLanes(instruction))
    return;
  const auto &shape = *static_cast<const MmaShape *>(instruction.data);
  unsigned k = shape.k;
  unsigned perRegister = 32 / bitsOf(shape.element);
  unsigned numA = 16 * k / 32 / perRegister, numB = 8 * k / 32 / perRegister;
  float a[16 * 16], b[16 * 8], c[16 * 8];
  unsigned operand = 0;
  auto gather = [&](unsigned count, auto &&put) {
    for (unsigned reg = 0; reg < count; ++reg)
      for (unsigned half = 0; half < perRegister; ++half) {
        const auto *bits = warp.lanes<uint32_t>(instruction.operand(operand));
        unsigned shift = shape.packed ? 16 * half : 0;
        for (unsigned lane = 0; lane < 32; ++lane) {
          uint32_t value = bits[lane] >> shift;
          if (perRegister == 2)
            value &= 0xffff;
          put(lane, reg, half, toFloat(shape.element, value));
        }
        operand += !shape.packed || half + 1 == perRegister;
      }
  };
  gather(numA, [&](unsigned lane, unsigned reg, unsigned half, float value) {
    Position at = positionInA(shape.element, lane, reg, half);
    a[at.row * k + at.column] = value;
  });
  gather(numB, [&](unsigned lane, unsigned reg, unsigned half, float value) {
    Position at = positionInB(shape.element, lane, reg, half);
    b[at.row * 8 + at.column] = value;
  });
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
  multiplyAdd(c, a, b, 8, k);
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
  warp.block.launch.statistics.matrixMultiplyAdds += 16 * 8 * k;
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
