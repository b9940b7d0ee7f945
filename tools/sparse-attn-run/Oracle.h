//===- Oracle.h - the reference of a library's kernel ----------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TOOLS_RUN_ORACLE_H
#define SPARSE_ATTN_TOOLS_RUN_ORACLE_H

#include "mlir/IR/BuiltinOps.h"
#include "sparse_attn/Reference/Reference.h"
#include <memory>
#include <string>

namespace sparse_attn::run {

/// The float64 reference on a kernel's source and inputs, with all that it refers to.
class Oracle {
public:
  /// `source` is MLIR text that holds a function called `kernel`.
  static llvm::Expected<std::unique_ptr<Oracle>> create(const std::string &source,
                                                        llvm::StringRef kernel,
                                                        llvm::StringMap<Array> inputs);

  Reference &reference() { return *evaluator; }
  /// The bound of section 9 for what is computed with inputs of these types.
  double inputBound() const { return bound; }

private:
  Oracle();
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::unique_ptr<Reference> evaluator;
  double bound = 0;
};

/// The bound of O by its type: docs/semantics.md, section 9.
double getOutBound(ElementKind type);

} // namespace sparse_attn::run

#endif // SPARSE_ATTN_TOOLS_RUN_ORACLE_H
