//===- GPUBuilder.h - vocabulary of GPU kernels ----------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What a thread, its warp and its block can do. Integers are i32; words of fragments are
// i32 too.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_CONVERSION_GPUBUILDER_H
#define SPARSE_ATTN_LIB_CONVERSION_GPUBUILDER_H

#include "../PlanToKernel/KernelBuilder.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

namespace sparse_attn {

inline constexpr int64_t kWarp = 32; // threads

class GPUBuilder : public KernelBuilder {
public:
  using KernelBuilder::KernelBuilder;
  using KernelBuilder::mul;

  using Values = llvm::SmallVector<mlir::Value>;

  //===--- Integers --------------------------------------------------------===//
  mlir::Value mul(mlir::Value a, int64_t b) { return FoldingBuilder::mul(a, b); }
  mlir::Value divU(mlir::Value a, mlir::Value b);
  mlir::Value divU(mlir::Value a, int64_t b) { return divU(a, i32(b)); }
  mlir::Value remU(mlir::Value a, mlir::Value b);
  mlir::Value remU(mlir::Value a, int64_t b) { return remU(a, i32(b)); }
  mlir::Value shl(mlir::Value a, mlir::Value bits);
  mlir::Value shr(mlir::Value a, mlir::Value bits); ///< unsigned
  mlir::Value band(mlir::Value a, mlir::Value b);
  mlir::Value bor(mlir::Value a, mlir::Value b);
  mlir::Value bxor(mlir::Value a, mlir::Value b);
  mlir::Value mulI32(mlir::Value a, mlir::Value b);
  mlir::Value countBits(mlir::Value word);
  mlir::Value toI64(mlir::Value i32); ///< signed
  /// The number of the lowest bit that is set, and the word without it.
  mlir::Value trailingZeros(mlir::Value word);
  mlir::Value clearLowestBit(mlir::Value word);

  //===--- Control ---------------------------------------------------------===//
  /// The values of `then` or of `otherwise`, which run under the condition.
  Values choose(mlir::Value condition, llvm::function_ref<Values()> then,
                llvm::function_ref<Values()> otherwise);
  /// `body` again and again, as long as `condition` holds of its last values.
  Values repeat(mlir::ValueRange init,
                llvm::function_ref<mlir::Value(mlir::ValueRange)> condition,
                llvm::function_ref<Values(mlir::ValueRange)> body);

  //===--- Threads ---------------------------------------------------------===//
  mlir::Value thread(); ///< number in the block
  mlir::Value block();  ///< number in the grid
  mlir::Value blocks(); ///< of the grid
  /// All threads of the block wait for each other.
  void barrier();
  /// The same; whether the condition holds for one of them.
  mlir::Value anyInBlock(mlir::Value condition);
  /// Bit l: the condition of lane l of the warp.
  mlir::Value ballot(mlir::Value condition);
  /// Of the lane whose number differs by `lanes` in its bits.
  mlir::Value shuffleXor(mlir::Value value, int64_t lanes);
  /// An i32 that is equal, but not known to be: what is made of it is made anew, and does
  /// not wait in a register because it was needed before.
  mlir::Value anew(mlir::Value value);
  /// The value of lane `lane`.
  mlir::Value ofLane(mlir::Value value, mlir::Value lane);
  /// The value of the first lane: ptxas sees that a warp agrees.
  mlir::Value ofFirstLane(mlir::Value value);

  //===--- Memory ----------------------------------------------------------===//
  /// An aligned value of `type` at a pointer of any kind, some bytes on.
  mlir::Value loadAt(mlir::Type type, mlir::Value pointer, mlir::Value bytes,
                     int64_t alignment);
  void storeAt(mlir::Value value, mlir::Value pointer, mlir::Value bytes,
               int64_t alignment);
  /// pointer + bytes, of any kind of pointer.
  mlir::Value offset(mlir::Value pointer, mlir::Value bytes);
  /// Element `index` (i32) of an array of elements of so many bytes.
  mlir::Value element(mlir::Value array, mlir::Value index, int64_t bytes);
  /// As a pointer to the device's memory.
  mlir::Value toGlobal(mlir::Value pointer);
  /// Of words in the block's shared memory; both return what the word was. Writes
  /// `desired` where it is `expected`.
  mlir::Value exchangeAtomic(mlir::Value pointer, mlir::Value expected,
                             mlir::Value desired);
  mlir::Value minAtomic(mlir::Value pointer, mlir::Value value); ///< unsigned
  /// Starts a copy of 16 bytes, of which the first `bytes` exist and others become 0.
  void copyAsync(mlir::Value shared, mlir::Value global, mlir::Value bytes);
  void commitCopies();
  /// Until all but the last `pending` groups of copies that the thread committed are
  /// done.
  void waitForCopies(int64_t pending = 0);

  //===--- Fragments of a warp ---------------------------------------------===//
  /// Four 8 x 8 matrices of 16-bit elements; lane l names row l % 8 of matrix l / 8.
  Values loadMatrices(mlir::Value shared, bool transposed);
  /// sums + A B of one warp: m16n8k16 of 16-bit elements, m16n8k8 of f32 read as tf32.
  Values multiply(mlir::ValueRange a, mlir::ValueRange b, mlir::ValueRange sums,
                  mlir::Type element);

  //===--- f32 -------------------------------------------------------------===//
  mlir::Value addF(mlir::Value a, mlir::Value b);
  mlir::Value subF(mlir::Value a, mlir::Value b);
  mlir::Value mulF(mlir::Value a, mlir::Value b);
  mlir::Value fma(mlir::Value a, mlir::Value b, mlir::Value c);
  /// The larger one; the number where one is NaN.
  mlir::Value maxF(mlir::Value a, mlir::Value b);
  mlir::Value eqF(mlir::Value a, mlir::Value b);
  /// 2^x and log2 x by the processor's function unit, with a relative error of 2^-22.
  mlir::Value power2(mlir::Value x);
  /// The same, and 0 below 2^-126: one instruction, where the whole range takes four.
  mlir::Value power2OrZero(mlir::Value x);
  mlir::Value log2(mlir::Value x);
  /// Two f32 rounded to 16 bits, `low` in the lower half of a word.
  mlir::Value pack(mlir::Value low, mlir::Value high, mlir::Type element);
  mlir::Value bitcast(mlir::Value value, mlir::Type type);
};

using Values = GPUBuilder::Values;

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_CONVERSION_GPUBUILDER_H
