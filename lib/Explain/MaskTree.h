//===- MaskTree.h - a mask in words ----------------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EXPLAIN_MASKTREE_H
#define SPARSE_ATTN_LIB_EXPLAIN_MASKTREE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "sparse_attn/Explain/Explain.h"

namespace sparse_attn {

/// `mask` and its parts, each with its binding time.
MaskTree buildMaskTree(mlir::Value mask);

/// `mask` in the language of lib/Expression: "causal & window(1023, 0)".
std::string printExpression(mlir::Value mask);

/// The op of `mask` alone, without the masks that it takes: "top_k(dot, k = 64)".
std::string printHead(mlir::Value mask);

/// "compile time", "plan time", "run time".
llvm::StringRef getBindingName(Binding binding);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_EXPLAIN_MASKTREE_H
