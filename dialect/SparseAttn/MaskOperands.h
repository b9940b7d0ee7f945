//===- MaskOperands.h - what ops demand of masks they take -----*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_DIALECT_MASKOPERANDS_H
#define SPARSE_ATTN_DIALECT_MASKOPERANDS_H

#include "mlir/IR/Operation.h"

namespace sparse_attn {

/// Every mask, score and modifier that `op` takes is the result of an op that says what
/// it means, and no chain of them has a cycle: whoever holds a mask may follow
/// getDefiningOp() without asking.
mlir::LogicalResult verifyMaskOperands(mlir::Operation *op);

} // namespace sparse_attn

#endif // SPARSE_ATTN_DIALECT_MASKOPERANDS_H
