//===- RegionProgram.h - the scalar code of a custom region ----*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The body of `custom` and `custom_score` as a list of steps over numbered
// values. One list serves four uses: verifying the region, running it on one
// pair, bounding it over a rectangle of pairs, and emitting it.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_DIALECT_REGIONPROGRAM_H
#define SPARSE_ATTN_DIALECT_REGIONPROGRAM_H

#include "dialect/SparseAttn/TileBuilder.h"
#include "mlir/IR/Operation.h"
#include "llvm/Support/MathExtras.h"
#include <vector>

namespace sparse_attn {

/// A value while a program runs. Integers are sign-extended from their width, so
/// a true i1 is -1; an f32 is held in double.
struct RegionValue {
  int64_t integer = 0;
  double real = 0;
};

/// What a step does. `I` works on integers, `F` on f32.
enum class StepKind {
  Argument,
  Constant,
  AddI,
  SubI,
  MulI,
  DivS,
  DivU,
  RemS,
  RemU,
  FloorDivS,
  CeilDivS,
  CeilDivU,
  AndI,
  OrI,
  XorI,
  ShL,
  ShRS,
  ShRU,
  MinS,
  MaxS,
  MinU,
  MaxU,
  AbsI,
  CmpI,
  Select,
  SignedCast,   ///< extsi, trunci, index_cast
  UnsignedCast, ///< extui, index_castui
  SignedToF,
  UnsignedToF,
  CmpF,
  FloatOp ///< an elementwise op that maps f32 to f32
};

/// Computes one value from earlier ones.
struct Step {
  StepKind kind;
  unsigned width;        ///< bits of the result; index counts 64, f32 counts 0
  unsigned operandWidth; ///< bits of the last operand
  llvm::SmallVector<unsigned, 3> operands;
  RegionValue constant;
  int64_t predicate = 0;                             ///< of CmpI and CmpF
  double (*apply)(double, double, double) = nullptr; ///< of FloatOp
  mlir::Operation *op = nullptr;                     ///< null for arguments
};

/// Bounds of an integer value that hold for every pair; an i1 has none.
struct StepBounds {
  int64_t min = 0, max = 0;
  bool fits = true; ///< the exact result fits the type, so the step cannot wrap
};

/// A sign-extended integer of `width` bits read as unsigned.
inline uint64_t toUnsigned(int64_t value, unsigned width) {
  return width == 64 ? value : value & llvm::maskTrailingOnes<uint64_t>(width);
}

class RegionProgram {
public:
  /// Reads the only block of the only region of `op`; reports through
  /// `emitError` what it may not hold. Floats are allowed on request.
  static mlir::FailureOr<RegionProgram>
  parse(mlir::Operation *op, bool allowFloats,
        llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

  /// As parse, of a region that the verifier has seen.
  static RegionProgram get(mlir::Operation *op, bool allowFloats);

  RegionValue run(llvm::ArrayRef<RegionValue> arguments) const;

  /// Emits the program. Arguments are i32 (index in the region) and f32. Runs
  /// in i32 wherever no value can leave it: twice as many lanes as i64.
  mlir::Value emit(mlir::ValueRange arguments, FoldingBuilder &builder) const;

  /// Emits the class of the rectangle of `builder`, for arguments b, h, p, j.
  TileClass emitClass(TileBuilder &builder) const;

  /// Whether the result is made of comparisons of affine forms of the arguments,
  /// joined by and, or, xor, select on i1: a closed form for the compiler.
  bool isAffine() const;

  llvm::ArrayRef<Step> getSteps() const { return steps; }
  const Step &getResult() const { return steps[result]; }

  /// What every value can be for any pair.
  std::vector<StepBounds> computeBounds() const;

  /// After how many tokens every value repeats, for arguments b, h, p, j: a remainder
  /// has its divisor; 1 where nothing is known or nothing moves.
  std::vector<int64_t> computePeriods(llvm::ArrayRef<StepBounds> bounds) const;

private:
  std::vector<Step> steps; ///< arguments first
  unsigned result = 0;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_DIALECT_REGIONPROGRAM_H
