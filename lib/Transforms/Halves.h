//===- Halves.h - an attention as two over disjoint keys -------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_TRANSFORMS_HALVES_H
#define SPARSE_ATTN_LIB_TRANSFORMS_HALVES_H

#include "dialect/SparseAttn/SparseAttn.h"

namespace sparse_attn {

/// What a half keeps, and its name in the half's location.
struct Half {
  llvm::StringRef name;
  mlir::Value mask;
};

/// Attention to the keys of two masks that share no pair: the merge of one to each, whose
/// states are f32. Sinks, which every row has once, count in the first.
MergeOp buildHalves(AttentionOp op, const Half &first, const Half &second,
                    mlir::OpBuilder &builder);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_TRANSFORMS_HALVES_H
