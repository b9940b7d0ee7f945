//===- PatternLabels.h - canonicalizations that a pipeline may leave out --===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_DIALECT_PATTERNLABELS_H
#define SPARSE_ATTN_DIALECT_PATTERNLABELS_H

#include "llvm/ADT/StringRef.h"

namespace sparse_attn {

/// Of patterns that ask whether a mask has other uses: they may apply again once a plan
/// has taken the place of an attention.
inline constexpr llvm::StringLiteral kOnlyUseLabel = "only-use";

} // namespace sparse_attn

#endif // SPARSE_ATTN_DIALECT_PATTERNLABELS_H
