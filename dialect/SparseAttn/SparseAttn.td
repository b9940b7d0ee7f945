//===- SparseAttn.td - the dialect --------------------------*- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_TD
#define SPARSE_ATTN_TD

include "dialect/SparseAttn/MaskOps.td"
include "dialect/SparseAttn/PositionalPatternOps.td"
include "dialect/SparseAttn/LayoutPatternOps.td"
include "dialect/SparseAttn/ListedOps.td"
include "dialect/SparseAttn/ScoreOps.td"
include "dialect/SparseAttn/SelectionOps.td"
include "dialect/SparseAttn/SamplingOps.td"
include "dialect/SparseAttn/ModifierOps.td"
include "dialect/SparseAttn/AttentionOps.td"

#endif // SPARSE_ATTN_TD
