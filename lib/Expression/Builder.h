//===- Builder.h - syntax tree to ops --------------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Any op that implements the interface can be built: the interface tells the
// operands and attributes it takes, so a new op needs nothing here.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EXPRESSION_BUILDER_H
#define SPARSE_ATTN_LIB_EXPRESSION_BUILDER_H

#include "Syntax.h"
#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringMap.h"

namespace sparse_attn::expression {

/// The arguments of the kernel that is built.
class Arguments {
public:
  explicit Arguments(mlir::Block &block) : block(block) {}

  /// An argument that the kernel itself has; expressions cannot use its name.
  mlir::Value addOwn(llvm::StringRef name, mlir::Type type, mlir::Location location);
  /// A name that no operand may have.
  void reserve(llvm::StringRef name) { own.insert({name, true}); }
  /// The operand called `name`, added at its first use; null after a diagnostic.
  mlir::Value getOperand(llvm::StringRef name, mlir::Type type, mlir::Location location);

  llvm::ArrayRef<std::string> names() const { return order; }

private:
  mlir::Block &block;
  std::vector<std::string> order;
  llvm::StringMap<bool> own;
  llvm::StringMap<mlir::BlockArgument> operands;
};

/// An op that an expression can name, as its interface describes it.
struct Callee {
  mlir::RegisteredOperationName name;
  llvm::ArrayRef<ParameterSpec> parameters;
  llvm::ArrayRef<TensorSpec> tensors; ///< those parameters that are tensors
  llvm::StringRef prefix;             ///< of the mnemonic, left out in expressions

  llvm::StringRef mnemonic() const {
    return name.stripDialect().drop_front(prefix.size());
  }
  /// `window([left], [right])`
  std::string usage() const;
};

class ExpressionBuilder {
public:
  ExpressionBuilder(const Source &source, mlir::OpBuilder &builder, Arguments &arguments)
      : source(source), builder(builder), arguments(arguments) {}

  /// Builds the mask, or returns null after a diagnostic.
  mlir::Value buildMask(const Node &node);
  /// Builds every modifier of a List node.
  mlir::FailureOr<llvm::SmallVector<mlir::Value>> buildModifiers(const Node &list);

private:
  /// What is written for each parameter, empty where nothing is.
  using Slots = llvm::SmallVector<llvm::SmallVector<const Node *, 1>>;

  mlir::Value buildScore(const Node &node);
  mlir::Value buildOperator(llvm::StringRef opName, const Node &node);
  mlir::Value buildCall(const Callee &callee, const Node &node);
  mlir::FailureOr<Slots> assign(const Callee &callee, const Node &node);
  mlir::FailureOr<size_t> assignNamed(const Callee &callee, const Argument &argument);
  mlir::FailureOr<size_t> assignNext(const Callee &callee, const Slots &slots,
                                     const Node &value);
  mlir::LogicalResult addOperand(const Callee &callee, size_t parameter,
                                 llvm::ArrayRef<const Node *> values,
                                 mlir::OperationState &state);
  mlir::LogicalResult addAttribute(const Callee &callee, const ParameterSpec &parameter,
                                   const Node &value, mlir::OperationState &state);
  mlir::Attribute buildAttribute(const Callee &callee, const ParameterSpec &parameter,
                                 const Node &value);
  /// Creates and verifies the op.
  mlir::Value create(mlir::OperationState &state);

  const Source &source;
  mlir::OpBuilder &builder;
  Arguments &arguments;
};

} // namespace sparse_attn::expression

#endif // SPARSE_ATTN_LIB_EXPRESSION_BUILDER_H
