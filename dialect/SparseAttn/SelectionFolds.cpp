//===- SelectionFolds.cpp - selections of all or of nothing ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A selection that takes every candidate is its candidates, and one without a
// candidate keeps nothing. That a selection lies within its candidates is known to
// `covers` (MaskFacts.h), so `causal & top_k(.., causal)` needs no rule here.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace sparse_attn;

namespace {

static bool takesAll(TopKOp op) {
  return op.getFraction() && op.getFraction()->isExactlyValue(1);
}
static bool takesAll(TopPOp op) { return op.getP().isExactlyValue(1); }
static bool takesAll(ThresholdOp) { return false; } // a NaN is not kept
static bool takesAll(RandomKeysOp op) {
  return op.getRate() && op.getRate()->isExactlyValue(1);
}

/// Nothing is left out of the candidates: they are the mask.
template <typename Op> struct TakeCandidates : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    bool isEmpty = isa<NoneOp>(op.getCandidates().getDefiningOp());
    if (!isEmpty && !takesAll(op))
      return rewriter.notifyMatchFailure(op, "chooses among its candidates");
    rewriter.replaceOp(op, op.getCandidates());
    return success();
  }
};

} // namespace

void TopKOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                         MLIRContext *context) {
  patterns.add<TakeCandidates<TopKOp>>(context);
}
void TopPOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                         MLIRContext *context) {
  patterns.add<TakeCandidates<TopPOp>>(context);
}
void ThresholdOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                              MLIRContext *context) {
  patterns.add<TakeCandidates<ThresholdOp>>(context);
}
void RandomKeysOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                               MLIRContext *context) {
  patterns.add<TakeCandidates<RandomKeysOp>>(context);
}
