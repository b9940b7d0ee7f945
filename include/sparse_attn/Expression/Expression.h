//===- Expression.h - masks written as expressions -------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A second way to write a kernel: `causal & (window(1023, 0) | sink(4))`.
//
//   expression := term (("|" | "-") term)*        union, difference: left to right
//   term       := factor ("&" factor)*            intersection binds tighter
//   factor     := "~" factor | primary            complement binds tightest
//   primary    := "(" expression ")" | name ["(" arguments ")"]
//   arguments  := [[name "="] value ("," [name "="] value)*]
//   value      := expression | number | "true" | "false" | "unbounded" | list
//   list       := "[" [value ("," value)*] "]"
//
// So `a | b - c & d` is `(a | b) - (c & d)`, as with + and * in arithmetic.
// White space is free, and `#` starts a comment that ends with its line.
//
// A name is the mnemonic of an op that implements MaskOpInterface (among modifiers
// ModifierOpInterface; where a score belongs ScoreOpInterface, without the `score.` that
// these begin with); nothing here lists the ops. Values without a
// name fill parameters in the order in which the op declares them: names and
// expressions fill its operands, numbers and lists its attributes. `unbounded`
// leaves out an optional attribute. The name of a tensor operand becomes an
// argument of the kernel; the same name twice is the same argument.
//
// Mistakes are MLIR diagnostics whose location lies in the expression's text, so
// a SourceMgr that holds the text (addExpressionBuffers) draws a caret. The same
// holds for what a later pass says about an op of the expression.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_EXPRESSION_EXPRESSION_H
#define SPARSE_ATTN_EXPRESSION_EXPRESSION_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/SourceMgr.h"
#include <optional>
#include <string>

namespace sparse_attn {

enum class ElementType { F32, F16, BF16 };

/// What a kernel's function is made from.
struct KernelSpec {
  std::string name;
  std::string pattern;   ///< a mask expression
  std::string modifiers; ///< "softcap(30.0), alibi(slopes)", or empty
  int64_t headDim = 0;   ///< D
  int64_t valueDim = 0;  ///< Dv, 0 for D
  ElementType elementType = ElementType::F32; ///< of Q, K and V
  bool wideOut = false;                       ///< O is f32, whatever Q, K and V are
  std::optional<double> scale;
  /// Which optional operands of the attention the kernel takes.
  bool kvLen = false, qLen = false, qOffset = false, sinks = false;
};

/// The file names of the locations that buildKernel gives to ops.
inline constexpr llvm::StringLiteral kPatternBuffer = "<pattern>";
inline constexpr llvm::StringLiteral kModifiersBuffer = "<modifiers>";

/// Appends the kernel's function to `module`:
///
///   func.func @name(q, k, v, [kv_len], [q_len], [q_offset], [sinks],
///                   operands of the pattern, then of the modifiers, in the order
///                   of their first use) -> (out, lse)
///
/// Every argument and result carries its name as `sparse_attn.name`. Emits
/// diagnostics and leaves `module` as it was where that fails.
mlir::FailureOr<mlir::func::FuncOp> buildKernel(mlir::ModuleOp module,
                                                const KernelSpec &spec);

/// Gives `sourceMgr` the texts that the locations of `spec` refer to.
void addExpressionBuffers(llvm::SourceMgr &sourceMgr, const KernelSpec &spec);

/// Loads the dialects that buildKernel creates ops of.
void loadExpressionDialects(mlir::MLIRContext &context);

} // namespace sparse_attn

#endif // SPARSE_ATTN_EXPRESSION_EXPRESSION_H
