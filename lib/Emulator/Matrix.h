//===- Matrix.h - mma, ldmatrix, stmatrix -----------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_MATRIX_H
#define SPARSE_ATTN_LIB_EMULATOR_MATRIX_H

#include "Numbers.h"
#include "Program.h"

namespace sparse_attn::emulator {

enum class MatrixElement : uint8_t { F16, BF16, TF32 };

inline unsigned bitsOf(MatrixElement element) {
  return element == MatrixElement::TF32 ? 32 : 16;
}

inline float toFloat(MatrixElement element, uint32_t bits) {
  switch (element) {
  case MatrixElement::F16:
    return halfToFloat(bits);
  case MatrixElement::BF16:
    return bf16ToFloat(bits);
  default:
    return tf32ToFloat(bits);
  }
}

/// One mma.sync.m16n8k*.row.col.
struct MmaShape {
  unsigned k = 16;
  MatrixElement element = MatrixElement::BF16;
  /// Two elements of 16 bits are one operand, not two.
  bool packed = true;
  bool halfAccumulator = false;
  /// The accumulator has two halves in one register; else each has its own.
  bool packedAccumulator = false;
};

/// Operands: A, B, C; data: an MmaShape.
void executeMma(Warp &warp, const WarpInstruction &instruction);

// Where the elements of the fragments lie; `group` is lane / 4 and `thread` lane % 4.

struct Position {
  unsigned row, column;
};

/// Element `half` of register `reg` of A, 16 x k.
inline Position positionInA(MatrixElement element, unsigned lane, unsigned reg,
                            unsigned half) {
  unsigned group = lane / 4, thread = lane % 4;
  unsigned row = group + 8 * (reg & 1);
  if (element == MatrixElement::TF32)
    return {row, thread + 4 * (reg >> 1)};
  return {row, 2 * thread + half + 8 * (reg >> 1)};
}

/// Element `half` of register `reg` of B, k x 8.
inline Position positionInB(MatrixElement element, unsigned lane, unsigned reg,
                            unsigned half) {
  unsigned group = lane / 4, thread = lane % 4;
  if (element == MatrixElement::TF32)
    return {thread + 4 * reg, group};
  return {2 * thread + half + 8 * reg, group};
}

/// Register `reg` of an accumulator of f32, 16 x 8.
inline Position positionInC(unsigned lane, unsigned reg) {
  return {lane / 4 + 8 * (reg >> 1), 2 * (lane % 4) + (reg & 1)};
}

/// c[16][n] += a[16][k] * b[k][n], in f32.
void multiplyAdd(float *c, const float *a, const float *b, unsigned n, unsigned k);

/// Operand 0: the address of a row. Immediate: the number of matrices, 8 for transposed.
void executeLoadMatrix(Warp &warp, const WarpInstruction &instruction);
/// The same, then the registers.
void executeStoreMatrix(Warp &warp, const WarpInstruction &instruction);
inline constexpr uint64_t kTransposed = 8;

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_MATRIX_H
