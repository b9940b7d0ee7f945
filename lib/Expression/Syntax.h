//===- Syntax.h - the syntax tree of an expression -------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What is written, not yet what it means: whether `offsets` is a mask or an
// operand is decided when ops are built (Builder.h).
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EXPRESSION_SYNTAX_H
#define SPARSE_ATTN_LIB_EXPRESSION_SYNTAX_H

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Location.h"
#include "llvm/ADT/StringRef.h"
#include <memory>
#include <vector>

namespace sparse_attn::expression {

/// The text of an expression and how to point into it.
class Source {
public:
  Source(mlir::MLIRContext *context, llvm::StringRef text, llvm::StringRef buffer)
      : context(context), text(text), buffer(buffer) {}

  mlir::MLIRContext *const context;
  const llvm::StringRef text;

  mlir::Location locate(size_t offset) const;
  mlir::InFlightDiagnostic error(size_t offset) const {
    return mlir::emitError(locate(offset));
  }

private:
  llvm::StringRef buffer;
};

struct Argument;

struct Node {
  enum Kind {
    Name,      ///< `causal`, `offsets`
    Call,      ///< `window(3, 0)`
    Union,     ///< two or more children
    Intersect, ///< two or more children
    Difference,
    Complement,
    Number,
    Boolean,
    Unbounded,
    List
  };
  Kind kind;
  size_t offset;                   ///< of the name, the operator or the first character
  llvm::StringRef text;            ///< the name, number or word
  std::vector<Argument> arguments; ///< of a call, an operator or a list
  unsigned depth = 1;

  /// Whether it can only be a mask or an operand, never an attribute's value.
  bool isExpression() const { return kind <= Complement; }
};

/// `left = 3`; the name is empty for a value without one.
struct Argument {
  llvm::StringRef name;
  size_t offset;
  std::unique_ptr<Node> value;
};

/// Parses one expression, or null after a diagnostic.
std::unique_ptr<Node> parseExpression(const Source &source);

/// Parses `call, call, ...` into a List node, or null after a diagnostic.
std::unique_ptr<Node> parseList(const Source &source);

} // namespace sparse_attn::expression

#endif // SPARSE_ATTN_LIB_EXPRESSION_SYNTAX_H
