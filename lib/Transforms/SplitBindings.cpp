//===- SplitBindings.cpp - what a run decides apart from what a plan knows ===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A mask m that something decides when it runs (a list, a selection, a draw) keeps some
// pairs whatever that is, and these are attention as a plan knows it:
//
//   sure   =  m[what a run decides := none]
//   rest   =  m - sure                        a key is never visited twice
//
//   attention(m)  =  merge(attention(sure), attention(rest))
//
// That holds as long as the mask grows with what a run decides; where a selection is
// subtracted nothing is sure, and the attention stays whole.
//
//===----------------------------------------------------------------------===//

#include "Halves.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "sparse_attn/Transforms/Passes.h"

using namespace mlir;
using namespace sparse_attn;

namespace sparse_attn {
#define GEN_PASS_DEF_SPLITBINDINGSPASS
#include "sparse_attn/Transforms/Passes.h.inc"
} // namespace sparse_attn

/// Whether the op of `mask` itself is what a run decides.
static bool isDecidedByRun(Value mask) {
  return cast<MaskOpInterface>(mask.getDefiningOp()).getOwnBinding() == Binding::Run;
}

/// Whether `mask` keeps less where a run selects more.
static bool shrinks(Value mask) {
  if (getBinding(mask) != Binding::Run || isDecidedByRun(mask))
    return false;
  std::optional<KeySet> set = cast<MaskOpInterface>(mask.getDefiningOp()).getKeySet();
  for (auto [number, operand] : llvm::enumerate(set->operands))
    if ((set->negates(number) && getBinding(operand) == Binding::Run) || shrinks(operand))
      return true;
  return false;
}

/// Without what is drawn a sampled mask is certain.
static void inferType(Operation *op) {
  SmallVector<Type> types;
  auto infer = cast<InferTypeOpInterface>(op);
  LogicalResult inferred =
      infer.inferReturnTypes(op->getContext(), op->getLoc(), op->getOperands(),
                             op->getDiscardableAttrDictionary(),
                             op->getPropertiesStorage(), op->getRegions(), types);
  assert(succeeded(inferred) && "the op has been verified with the same operands' kinds");
  op->getResult(0).setType(types.front());
}

/// What `mask` keeps whatever a run decides. `known` holds what has been built.
static Value buildSure(OpBuilder &builder, Value mask, IRMapping &known) {
  if (Value built = known.lookupOrNull(mask))
    return built;
  Value sure = mask;
  if (getBinding(mask) == Binding::Run) {
    if (isDecidedByRun(mask)) {
      sure = NoneOp::create(builder, mask.getLoc());
    } else {
      Operation *op = mask.getDefiningOp();
      for (Value operand : op->getOperands())
        buildSure(builder, operand, known);
      Operation *clone = builder.clone(*op, known);
      inferType(clone);
      sure = clone->getResult(0);
    }
  }
  known.map(mask, sure);
  return sure;
}

/// Adds the merge of both states to `merges`, where the attention becomes two.
static void split(AttentionOp attention, SmallVectorImpl<MergeOp> &merges) {
  Value mask = attention.getMask();
  if (getBinding(mask) != Binding::Run || isDecidedByRun(mask) || shrinks(mask) ||
      attention->use_empty())
    return;
  OpBuilder builder(attention);
  Location loc = attention.getLoc();
  IRMapping known;
  Value sure = buildSure(builder, mask, known);
  Value rest = DifferenceOp::create(builder, loc, mask, sure);
  MergeOp merged =
      buildHalves(attention, {kSureHalf, sure}, {kDecidedHalf, rest}, builder);
  attention.replaceAllUsesWith(merged);
  attention.erase();
  merges.push_back(merged);
}

/// Folds what the substitution has left, which tells whether anything is sure.
static LogicalResult foldMasks(ModuleOp module) {
  MLIRContext *context = module.getContext();
  RewritePatternSet patterns(context);
  for (RegisteredOperationName op : context->getRegisteredOperations())
    if (op.hasInterface<MaskOpInterface>())
      op.getCanonicalizationPatterns(patterns, context);
  return applyPatternsGreedily(module, std::move(patterns));
}

/// Takes the state of what is sure out of the merge where that is nothing.
static void dropEmptyState(MergeOp merge) {
  auto sure = merge.getOuts().front().getDefiningOp<AttentionOp>();
  auto rest = merge.getOuts().back().getDefiningOp<AttentionOp>();
  if (!sure.getMask().getDefiningOp<NoneOp>())
    return;
  rest.getSinksMutable().assign(sure.getSinks() ? sure.getSinks() : ValueRange());
  rest.getOut().setType(merge.getOut().getType());
  rest->setLoc(merge.getLoc());
  merge.replaceAllUsesWith(ValueRange{rest.getOut(), rest.getLse()});
  merge.erase();
  sure.erase();
}

namespace {
struct SplitBindings : sparse_attn::impl::SplitBindingsPassBase<SplitBindings> {
  void runOnOperation() override {
    SmallVector<AttentionOp> attentions;
    getOperation().walk([&](AttentionOp op) { attentions.push_back(op); });
    SmallVector<MergeOp> merges;
    for (AttentionOp op : attentions)
      split(op, merges);
    if (merges.empty())
      return;
    if (failed(foldMasks(getOperation())))
      return signalPassFailure();
    llvm::for_each(merges, dropEmptyState);
  }
};
} // namespace
