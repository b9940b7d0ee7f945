//===- MaskFolds.cpp - the identities of the mask algebra -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace sparse_attn;
void UnionOp::getCanonicalizationPatterns(RewritePatternSet &, MLIRContext *) {}
void IntersectOp::getCanonicalizationPatterns(RewritePatternSet &, MLIRContext *) {}
void DifferenceOp::getCanonicalizationPatterns(RewritePatternSet &, MLIRContext *) {}
void ComplementOp::getCanonicalizationPatterns(RewritePatternSet &, MLIRContext *) {}
void PerHeadOp::getCanonicalizationPatterns(RewritePatternSet &, MLIRContext *) {}
void WindowOp::getCanonicalizationPatterns(RewritePatternSet &, MLIRContext *) {}
void DilatedOp::getCanonicalizationPatterns(RewritePatternSet &, MLIRContext *) {}
void SinkOp::getCanonicalizationPatterns(RewritePatternSet &, MLIRContext *) {}
void StridedOp::getCanonicalizationPatterns(RewritePatternSet &, MLIRContext *) {}
void FixedOp::getCanonicalizationPatterns(RewritePatternSet &, MLIRContext *) {}
