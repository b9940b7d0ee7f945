//===- BlockPlan.h - the block_plan dialect --------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_DIALECT_BLOCKPLAN_H
#define SPARSE_ATTN_DIALECT_BLOCKPLAN_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialect/BlockPlan/BlockPlanDialect.h.inc"
#include "dialect/BlockPlan/BlockPlanEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialect/BlockPlan/BlockPlanAttrs.h.inc"

#define GET_OP_CLASSES
#include "dialect/BlockPlan/BlockPlanOps.h.inc"

namespace block_plan {
/// On a kernel: the size of its tiles, [query rows, keys].
inline constexpr llvm::StringLiteral kTileAttr = "block_plan.tile";
/// On a kernel: what becomes of unions of masks with different periods.
inline constexpr llvm::StringLiteral kUnionsAttr = "block_plan.unions";

/// Whether tiles can be of this size.
bool isTile(llvm::ArrayRef<int64_t> tile);
} // namespace block_plan

#endif // SPARSE_ATTN_DIALECT_BLOCKPLAN_H
