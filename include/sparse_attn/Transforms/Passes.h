//===- Passes.h - transformations ------------------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TRANSFORMS_PASSES_H
#define SPARSE_ATTN_TRANSFORMS_PASSES_H

#include "dialect/BlockPlan/BlockPlan.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace sparse_attn {

#define GEN_PASS_DECL
#include "sparse_attn/Transforms/Passes.h.inc"

/// Names, in their locations, of the attentions that --split-unions and --split-bindings
/// make of one.
inline constexpr llvm::StringLiteral kNearHalf = "near half", kFarHalf = "far half",
                                     kSureHalf = "half that no run decides",
                                     kDecidedHalf = "half that a run decides";

#define GEN_PASS_REGISTRATION
#include "sparse_attn/Transforms/Passes.h.inc"

} // namespace sparse_attn

#endif // SPARSE_ATTN_TRANSFORMS_PASSES_H
