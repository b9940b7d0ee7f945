//===- SparseAttn.h - the sparse_attn dialect ------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_DIALECT_SPARSEATTN_H
#define SPARSE_ATTN_DIALECT_SPARSEATTN_H

#include "dialect/SparseAttn/Semantics.h"
#include "dialect/SparseAttn/TileBuilder.h"
#include "dialect/SparseAttn/UnitScoreBuilder.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialect/SparseAttn/SparseAttnDialect.h.inc"
#include "dialect/SparseAttn/SparseAttnEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialect/SparseAttn/SparseAttnAttrs.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialect/SparseAttn/SparseAttnTypes.h.inc"

#include "dialect/SparseAttn/SparseAttnInterfaces.h.inc"

#define GET_OP_CLASSES
#include "dialect/SparseAttn/SparseAttnOps.h.inc"

namespace sparse_attn {
/// Names a kernel's argument: {sparse_attn.name = "offsets"}.
inline constexpr llvm::StringLiteral kNameAttr = "sparse_attn.name";

/// When `mask` with everything it combines is known.
Binding getBinding(mlir::Value mask);

/// The largest parts of a mask that are known before a run, in the order of collectOps:
/// what a run combines with what it decides itself.
llvm::SmallVector<mlir::Value> collectStructures(mlir::Value mask);

/// The rows that have to be in a query tile together for what a run decides in `mask`:
/// the least common multiple of the blocks that choose together.
int64_t getChoiceRows(mlir::Value mask);

/// The ops that `value`, a mask or a score, is made of: operands first, each once.
llvm::SmallVector<mlir::Operation *> collectOps(mlir::Value value);
/// The sizes of weights that D says, for everything that `mask` is made of.
llvm::SmallVector<WeightSize> getWeightSizes(mlir::Value mask, int64_t headDim);

/// Gathering keys that are further apart than this leaves too few of them for tiles.
inline constexpr int64_t kMostPeriod = 1024;
/// The least common multiple of two periods; the first alone, where that exceeds
/// kMostPeriod: what has another period is then looked at as a whole.
int64_t combinePeriods(int64_t a, int64_t b);
/// The period of `mask` and of the masks that it combines.
int64_t getPeriod(mlir::Value mask);
} // namespace sparse_attn

#endif // SPARSE_ATTN_DIALECT_SPARSEATTN_H
