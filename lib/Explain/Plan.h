//===- Plan.h - looking at a plan through the C interface ------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EXPLAIN_PLAN_H
#define SPARSE_ATTN_LIB_EXPLAIN_PLAN_H

#include "sparse_attn/Explain/Explain.h"

namespace sparse_attn {

/// The runtime's last error.
llvm::Error makeRuntimeError();

/// Fills everything of `facts` that the plan of attention `index` tells. `desc`
/// says which planes differ; `plane` is the one to show.
llvm::Error readPlan(const sparse_attn_plan *plan, size_t index,
                     const AttentionDesc &desc, Plane plane, AttentionFacts &facts);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_EXPLAIN_PLAN_H
