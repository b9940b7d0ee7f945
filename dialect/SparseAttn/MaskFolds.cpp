//===- MaskFolds.cpp - the identities of the mask algebra -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The normal form has unions and intersections, flat, of patterns and their
// complements. `difference` becomes an intersection with a complement, because
// then one set of rules for `intersect` sees all that restricts a mask.
//
// A rewrite never changes the type of a value: where the result would no longer
// be sampled, the op stays.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/MaskFacts.h"
#include "dialect/SparseAttn/PatternLabels.h"
#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

static bool isDeterministic(Value mask) {
  return !cast<MaskType>(mask.getType()).getSampled();
}

/// Puts `value` in the place of the mask `op`.
static LogicalResult replaceMask(PatternRewriter &rewriter, Operation *op, Value value) {
  if (op->getResult(0).getType() != value.getType())
    return rewriter.notifyMatchFailure(op, "would change the type of the mask");
  rewriter.replaceOp(op, value);
  return success();
}

/// Puts a combination of `masks` in the place of `op`.
template <typename Op>
static LogicalResult replaceMasks(PatternRewriter &rewriter, Op op,
                                  ArrayRef<Value> masks) {
  if (masks.size() == 1)
    return replaceMask(rewriter, op, masks[0]);
  if (isDeterministic(op.getResult()) != llvm::all_of(masks, isDeterministic))
    return rewriter.notifyMatchFailure(op, "would change the type of the mask");
  rewriter.replaceOpWithNewOp<Op>(op, masks);
  return success();
}

template <typename Op>
static LogicalResult replaceWithNew(PatternRewriter &rewriter, Operation *op) {
  if (!isDeterministic(op->getResult(0)))
    return rewriter.notifyMatchFailure(op, "would change the type of the mask");
  rewriter.replaceOpWithNewOp<Op>(
      op, MaskType::get(rewriter.getContext(), /*sampled=*/false));
  return success();
}

namespace {

/// The dual of an op, and what a pair of operands may do in each.
template <typename Op> struct Rules;
template <> struct Rules<UnionOp> {
  using Dual = IntersectOp;
  using Absorbing = AllOp;
  /// Whether `mask` adds nothing where `other` is an operand too.
  static bool isRedundant(Value mask, Value other) { return covers(other, mask); }
  static std::optional<Band> mergeBands(const Band &a, const Band &b) {
    return uniteBands(a, b);
  }
};
template <> struct Rules<IntersectOp> {
  using Dual = UnionOp;
  using Absorbing = NoneOp;
  static bool isRedundant(Value mask, Value other) { return covers(mask, other); }
  static std::optional<Band> mergeBands(const Band &a, const Band &b) {
    return intersectBands(a, b);
  }
};

/// Whether `mask` answers a complement: in a union the two keep everything (~x and
/// what covers x), in an intersection nothing (~x and what x covers).
template <typename Op> static bool answersComplement(Value mask, Value complement) {
  auto op = complement.getDefiningOp<ComplementOp>();
  return op && Rules<Op>::isRedundant(op.getMask(), mask);
}

//===----------------------------------------------------------------------===//
// union, intersect
//===----------------------------------------------------------------------===//

/// union(a) = a, intersect(a) = a.
template <typename Op> struct UnwrapSingle : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (op.getMasks().size() != 1)
      return rewriter.notifyMatchFailure(op, "combines several masks");
    return replaceMask(rewriter, op, op.getMasks()[0]);
  }
};

/// a | (b | c) = a | b | c, and the same for &. Both are associative on
/// probabilities too.
template <typename Op> struct Flatten : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    SmallVector<Value> masks;
    llvm::SmallPtrSet<Value, 8> seen;
    auto add = [&](Value mask) {
      // Shared parts of deep nests would repeat exponentially often.
      if (!isDeterministic(mask) || seen.insert(mask).second)
        masks.push_back(mask);
    };
    bool changed = false;
    for (Value mask : op.getMasks()) {
      if (auto inner = mask.getDefiningOp<Op>()) {
        changed = true;
        llvm::for_each(inner.getMasks(), add);
      } else {
        add(mask);
      }
    }
    if (!changed)
      return rewriter.notifyMatchFailure(op, "is flat");
    return replaceMasks(rewriter, op, masks);
  }
};

/// Drops operands that another one makes redundant: a | a = a, a | none = a,
/// a | all = all, a | (a & b) = a, window in window, sink in sink, ...; and the
/// dual for &.
template <typename Op> struct DropRedundant : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    SmallVector<Value> masks(op.getMasks());
    // From the end, so that of two equal masks the first stays.
    for (size_t i = masks.size(); i-- > 0;) {
      bool isRedundant = llvm::any_of(llvm::enumerate(masks), [&](auto other) {
        return other.index() != i && Rules<Op>::isRedundant(masks[i], other.value());
      });
      // The last sampled operand gives the op its type.
      bool givesType = !isDeterministic(masks[i]) &&
                       llvm::count_if(masks, isDeterministic) + 1 == std::ssize(masks);
      if (isRedundant && !givesType)
        masks.erase(masks.begin() + i);
    }
    if (masks.size() == op.getMasks().size())
      return rewriter.notifyMatchFailure(op, "every operand counts");
    return replaceMasks(rewriter, op, masks);
  }
};

/// Bands merge: window(l, r) | window(l', r') and window(l, r) & window(l', r')
/// are windows, causal and dilated ones included.
template <typename Op> struct MergeBands : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    SmallVector<Value> masks(op.getMasks());
    for (size_t i = 0; i < masks.size(); ++i) {
      std::optional<Band> a = getBand(masks[i]);
      for (size_t k = i + 1; a && k < masks.size(); ++k) {
        std::optional<Band> b = getBand(masks[k]);
        std::optional<Band> merged = b ? Rules<Op>::mergeBands(*a, *b) : std::nullopt;
        if (!merged)
          continue;
        masks[i] = buildBand(*merged, rewriter, op.getLoc());
        masks.erase(masks.begin() + k);
        return replaceMasks(rewriter, op, masks);
      }
    }
    return rewriter.notifyMatchFailure(op, "has no two bands that merge");
  }
};

/// a | ~a = all and a & ~a = none, also with b in the place of a where b covers a
/// (|) or lies in it (&).
template <typename Op> struct FoldComplement : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    for (Value complement : op.getMasks())
      for (Value mask : op.getMasks())
        if (mask != complement && answersComplement<Op>(mask, complement))
          return replaceWithNew<typename Rules<Op>::Absorbing>(rewriter, op);
    return rewriter.notifyMatchFailure(op, "has no mask beside its complement");
  }
};

/// a | (~a & b) = a | b and a & (~a | b) = a & b: what adds to a base need not
/// exclude it.
template <typename Op> struct DropInnerComplement : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    using Dual = typename Rules<Op>::Dual;
    SmallVector<Value> masks(op.getMasks());
    for (Value &mask : masks) {
      auto inner = mask.getDefiningOp<Dual>();
      if (!inner)
        continue;
      SmallVector<Value> kept;
      for (Value part : inner.getMasks())
        if (llvm::none_of(op.getMasks(), [&](Value other) {
              return other != mask && answersComplement<Op>(other, part);
            }))
          kept.push_back(part);
      if (kept.size() == inner.getMasks().size())
        continue;
      if (kept.empty())
        return replaceWithNew<typename Rules<Op>::Absorbing>(rewriter, op);
      mask = kept.size() == 1 ? kept[0]
                              : Dual::create(rewriter, inner.getLoc(), kept).getResult();
      return replaceMasks(rewriter, op, masks);
    }
    return rewriter.notifyMatchFailure(op, "has no complement of an operand inside");
  }
};

//===----------------------------------------------------------------------===//
// difference, complement
//===----------------------------------------------------------------------===//

/// a - b = a & ~b.
struct IntersectWithComplement : OpRewritePattern<DifferenceOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(DifferenceOp op,
                                PatternRewriter &rewriter) const override {
    Value outside = ComplementOp::create(rewriter, op.getLoc(), op.getRhs());
    rewriter.replaceOpWithNewOp<IntersectOp>(op, ValueRange{op.getLhs(), outside});
    return success();
  }
};

/// ~~a = a.
struct CancelComplements : OpRewritePattern<ComplementOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ComplementOp op,
                                PatternRewriter &rewriter) const override {
    auto inner = op.getMask().getDefiningOp<ComplementOp>();
    if (!inner)
      return rewriter.notifyMatchFailure(op, "its operand is no complement");
    return replaceMask(rewriter, op, inner.getMask());
  }
};

/// ~all = none and ~none = all.
template <typename From, typename To>
struct ComplementConstant : OpRewritePattern<ComplementOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ComplementOp op,
                                PatternRewriter &rewriter) const override {
    if (!op.getMask().getDefiningOp<From>())
      return rewriter.notifyMatchFailure(op, "its operand is no constant");
    return replaceWithNew<To>(rewriter, op);
  }
};

/// ~(a | b) = ~a & ~b and ~(a & b) = ~a | ~b, where nothing else uses the inner
/// op: complements then meet the masks that they cancel.
template <typename Op> struct DeMorgan : OpRewritePattern<ComplementOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ComplementOp op,
                                PatternRewriter &rewriter) const override {
    auto inner = op.getMask().getDefiningOp<Op>();
    if (!inner || !inner->hasOneUse())
      return rewriter.notifyMatchFailure(op, "its operand has other uses");
    SmallVector<Value> masks;
    for (Value mask : inner.getMasks())
      masks.push_back(ComplementOp::create(rewriter, op.getLoc(), mask));
    rewriter.replaceOpWithNewOp<typename Rules<Op>::Dual>(op, masks);
    return success();
  }
};

//===----------------------------------------------------------------------===//
// per_head
//===----------------------------------------------------------------------===//

/// per_head [a, a] = a.
struct UnwrapEqualHeads : OpRewritePattern<PerHeadOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(PerHeadOp op, PatternRewriter &rewriter) const override {
    Value first = op.getMasks()[op.getTable()[0]];
    for (int64_t mask : op.getTable())
      if (!areSame(op.getMasks()[mask], first))
        return rewriter.notifyMatchFailure(op, "heads differ");
    return replaceMask(rewriter, op, first);
  }
};

/// Numbers the masks in the order in which heads use them, each once.
struct RenumberHeads : OpRewritePattern<PerHeadOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(PerHeadOp op, PatternRewriter &rewriter) const override {
    SmallVector<Value> masks;
    SmallVector<int64_t> table;
    for (int64_t number : op.getTable()) {
      Value mask = op.getMasks()[number];
      auto it = llvm::find_if(masks, [&](Value x) { return areSame(x, mask); });
      table.push_back(it - masks.begin());
      if (it == masks.end())
        masks.push_back(mask);
    }
    if (ArrayRef(table) == op.getTable() && masks.size() == op.getMasks().size())
      return rewriter.notifyMatchFailure(op, "is in order");
    if (isDeterministic(op.getResult()) != llvm::all_of(masks, isDeterministic))
      return rewriter.notifyMatchFailure(op, "would change the type of the mask");
    rewriter.replaceOpWithNewOp<PerHeadOp>(op, masks, table);
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Patterns
//===----------------------------------------------------------------------===//

/// Says a band in the shortest way: an unbounded window is all, window without
/// left and with right = 0 is causal, dilated with rate 1 is a window, strided
/// with stride 1 is all, ends are multiples of the rate.
template <typename Op> struct NormaliseBand : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    Band band = *getBand(op), normal = getNormalForm(band);
    if (normal == band && isNamedAfter(op, band))
      return rewriter.notifyMatchFailure(op, "is in normal form");
    return replaceMask(rewriter, op, buildBand(normal, rewriter, op.getLoc()));
  }
};

/// sink 0 = none.
struct EmptySink : OpRewritePattern<SinkOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(SinkOp op, PatternRewriter &rewriter) const override {
    if (op.getSize() != 0)
      return rewriter.notifyMatchFailure(op, "keeps some keys");
    return replaceWithNew<NoneOp>(rewriter, op);
  }
};

/// fixed keeps all where every column counts, none where no column does.
struct ConstantFixed : OpRewritePattern<FixedOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(FixedOp op, PatternRewriter &rewriter) const override {
    if (op.getColumns() == op.getStride())
      return replaceWithNew<AllOp>(rewriter, op);
    if (op.getColumns() == 0)
      return replaceWithNew<NoneOp>(rewriter, op);
    return rewriter.notifyMatchFailure(op, "keeps some columns");
  }
};

/// block_diagonal with blocks of one token keeps the diagonal.
struct SingleTokenBlocks : OpRewritePattern<BlockDiagonalOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(BlockDiagonalOp op,
                                PatternRewriter &rewriter) const override {
    if (op.getSize() != 1)
      return rewriter.notifyMatchFailure(op, "blocks have several tokens");
    return replaceMask(rewriter, op, buildBand({0, 0}, rewriter, op.getLoc()));
  }
};

/// dilated_segment with rate 1 is block_diagonal.
struct WholeSegments : OpRewritePattern<DilatedSegmentOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(DilatedSegmentOp op,
                                PatternRewriter &rewriter) const override {
    if (op.getRate() != 1)
      return rewriter.notifyMatchFailure(op, "keeps some tokens of a segment");
    rewriter.replaceOpWithNewOp<BlockDiagonalOp>(op, op.getType(), op.getSegmentAttr());
    return success();
  }
};

/// global with stride 1 keeps all.
struct EveryTokenGlobal : OpRewritePattern<GlobalOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(GlobalOp op, PatternRewriter &rewriter) const override {
    if (op.getStride() != 1)
      return rewriter.notifyMatchFailure(op, "some tokens are not global");
    return replaceWithNew<AllOp>(rewriter, op);
  }
};

template <typename Op> void addCombinations(RewritePatternSet &patterns) {
  patterns.add<UnwrapSingle<Op>, Flatten<Op>, DropRedundant<Op>, MergeBands<Op>,
               FoldComplement<Op>, DropInnerComplement<Op>>(patterns.getContext());
}

} // namespace

void UnionOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *) {
  addCombinations<UnionOp>(patterns);
}
void IntersectOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                              MLIRContext *) {
  addCombinations<IntersectOp>(patterns);
}
void DifferenceOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                               MLIRContext *context) {
  patterns.add<IntersectWithComplement>(context);
}
void ComplementOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                               MLIRContext *context) {
  patterns.add<CancelComplements, ComplementConstant<AllOp, NoneOp>,
               ComplementConstant<NoneOp, AllOp>>(context);
  patterns.addWithLabel<DeMorgan<UnionOp>, DeMorgan<IntersectOp>>({kOnlyUseLabel},
                                                                  context);
}
void PerHeadOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                            MLIRContext *context) {
  patterns.add<UnwrapEqualHeads, RenumberHeads>(context);
}
void WindowOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                           MLIRContext *context) {
  patterns.add<NormaliseBand<WindowOp>>(context);
}
void DilatedOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                            MLIRContext *context) {
  patterns.add<NormaliseBand<DilatedOp>>(context);
}
void StridedOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                            MLIRContext *context) {
  patterns.add<NormaliseBand<StridedOp>>(context);
}
void SinkOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                         MLIRContext *context) {
  patterns.add<EmptySink>(context);
}
void FixedOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                          MLIRContext *context) {
  patterns.add<ConstantFixed>(context);
}
void BlockDiagonalOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                                  MLIRContext *context) {
  patterns.add<SingleTokenBlocks>(context);
}
void DilatedSegmentOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                                   MLIRContext *context) {
  patterns.add<WholeSegments>(context);
}
void GlobalOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                           MLIRContext *context) {
  patterns.add<EveryTokenGlobal>(context);
}
