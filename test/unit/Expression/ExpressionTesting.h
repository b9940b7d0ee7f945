//===- ExpressionTesting.h - kernels and errors as text --------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_EXPRESSION_TESTING_H
#define SPARSE_ATTN_TEST_UNIT_EXPRESSION_TESTING_H

#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "sparse_attn/Expression/Expression.h"
#include "gtest/gtest.h"

namespace sparse_attn {

/// What buildKernel makes of a specification.
struct Built {
  std::string ir;     ///< the function, or empty
  std::string errors; ///< as a user sees them
};

inline KernelSpec makeSpec(llvm::StringRef pattern, llvm::StringRef modifiers = "") {
  KernelSpec spec;
  spec.name = "f";
  spec.pattern = pattern;
  spec.modifiers = modifiers;
  spec.headDim = 64;
  return spec;
}

inline Built build(const KernelSpec &spec) {
  mlir::MLIRContext context;
  context.printOpOnDiagnostic(false);
  loadExpressionDialects(context);
  Built built;
  llvm::raw_string_ostream errors(built.errors), ir(built.ir);
  llvm::SourceMgr sourceMgr;
  addExpressionBuffers(sourceMgr, spec);
  mlir::SourceMgrDiagnosticHandler handler(sourceMgr, &context, errors);
  mlir::OwningOpRef<mlir::ModuleOp> module =
      mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  mlir::FailureOr<mlir::func::FuncOp> kernel = buildKernel(*module, spec);
  if (succeeded(kernel))
    (*kernel)->print(ir);
  else
    // A kernel that cannot be built leaves nothing behind.
    EXPECT_TRUE(module->getBody()->empty());
  return built;
}

} // namespace sparse_attn

#endif // SPARSE_ATTN_TEST_UNIT_EXPRESSION_TESTING_H
