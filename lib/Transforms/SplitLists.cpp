//===- SplitLists.cpp - what a run lists apart from what a plan knows -----===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A mask m of a list l becomes two attentions, whose states are merged:
//
//   sure    s = m[l := none]                    kept whatever is listed: tiles
//   listed  l & (m[l := all] - s)               the rest: listed keys that l decides
//
// They share no pair, so that a key of both counts once. This is right where m grows
// with l: a list may not be subtracted.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "sparse_attn/Transforms/Passes.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;
using namespace sparse_attn;

namespace sparse_attn {
#define GEN_PASS_DEF_SPLITLISTSPASS
#include "sparse_attn/Transforms/Passes.h.inc"
} // namespace sparse_attn

namespace {
/// What a mask is made of, operands first, and which of it are lists.
struct MaskParts {
  explicit MaskParts(Value mask) : ops(collectOps(mask)) {
    for (Operation *op : ops) {
      auto list = dyn_cast<MaskOpInterface>(op);
      if (list && list.getKeyList())
        lists.push_back(list);
      else if (llvm::none_of(op->getOperands(),
                             [&](Value operand) { return dependsOnList(operand); }))
        continue;
      dependent.insert(op->getResult(0));
    }
  }

  bool dependsOnList(Value mask) const { return dependent.contains(mask); }

  SmallVector<Operation *> ops;
  SmallVector<MaskOpInterface> lists;

private:
  llvm::DenseSet<Value> dependent;
};
} // namespace

/// `mask` with `list` replaced; what does not depend on the list stays shared.
static Value substitute(OpBuilder &builder, Value mask, const MaskParts &parts,
                        Value list, Value by) {
  IRMapping mapping;
  mapping.map(list, by);
  for (Operation *op : parts.ops) {
    if (op->getResult(0) == list || !parts.dependsOnList(op->getResult(0)))
      continue;
    Operation *clone = builder.clone(*op, mapping);
    // Without the list a sampled mask is certain.
    SmallVector<Type> types;
    auto infer = dyn_cast<InferTypeOpInterface>(clone);
    if (infer && succeeded(infer.inferReturnTypes(
                     clone->getContext(), clone->getLoc(), clone->getOperands(),
                     clone->getDiscardableAttrDictionary(), clone->getPropertiesStorage(),
                     clone->getRegions(), types)))
      clone->getResult(0).setType(types.front());
  }
  return mapping.lookupOrDefault(mask);
}

/// Whether the mask is the list, or an intersection with it that has it nowhere else.
static bool isListedAlone(Value mask, const MaskParts &parts, Value list) {
  if (mask == list)
    return true;
  auto intersect = mask.getDefiningOp<IntersectOp>();
  return intersect && llvm::all_of(intersect.getMasks(), [&](Value operand) {
           return operand == list || !parts.dependsOnList(operand);
         });
}

/// A list that is subtracted would take back what is sure.
static LogicalResult checkGrows(AttentionOp attention, const MaskParts &parts) {
  for (Operation *op : parts.ops) {
    Value negated;
    if (auto difference = dyn_cast<DifferenceOp>(op))
      negated = difference.getRhs();
    else if (auto complement = dyn_cast<ComplementOp>(op))
      negated = complement.getMask();
    if (negated && parts.dependsOnList(negated))
      return attention.emitOpError()
             << "has a mask in which listed keys are taken away ('" << op->getName()
             << "'); leave them out of the list instead";
  }
  return success();
}

/// Adds the merge of both states to `merges`, where the attention becomes two.
static LogicalResult split(AttentionOp attention, SmallVectorImpl<MergeOp> &merges) {
  MaskParts parts(attention.getMask());
  if (parts.lists.empty() || attention->use_empty())
    return success();
  if (parts.lists.size() > 1)
    return attention.emitOpError("has a mask with two lists of keys; give one list that "
                                 "holds both");
  if (failed(checkGrows(attention, parts)))
    return failure();
  Value mask = attention.getMask(), list = parts.lists.front()->getResult(0);
  if (isListedAlone(mask, parts, list))
    return success();

  OpBuilder builder(attention);
  Location loc = attention.getLoc();
  Value sure = substitute(builder, mask, parts, list, NoneOp::create(builder, loc));
  Value most = substitute(builder, mask, parts, list, AllOp::create(builder, loc));
  Value rest = DifferenceOp::create(builder, loc, most, sure);
  Value listed = IntersectOp::create(builder, loc, ValueRange{list, rest});
  auto sureState = cast<AttentionOp>(builder.clone(*attention));
  auto listedState = cast<AttentionOp>(builder.clone(*attention));
  sureState.getMaskMutable().assign(sure);
  listedState.getMaskMutable().assign(listed);
  // A sink is one key of the row, not one of each state.
  listedState.getSinksMutable().clear();
  auto merged = MergeOp::create(builder, loc, attention.getOut().getType(),
                                attention.getLse().getType(),
                                ValueRange{sureState.getOut(), listedState.getOut()},
                                ValueRange{sureState.getLse(), listedState.getLse()});
  attention.replaceAllUsesWith(merged);
  attention.erase();
  merges.push_back(merged);
  return success();
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
  if (sure.getSinks() || !sure.getMask().getDefiningOp<NoneOp>())
    return;
  Value out = merge.getOuts().back(), lse = merge.getLses().back();
  merge.replaceAllUsesWith(ValueRange{out, lse});
  merge.erase();
  sure.erase();
}

namespace {
struct SplitLists : sparse_attn::impl::SplitListsPassBase<SplitLists> {
  void runOnOperation() override {
    SmallVector<AttentionOp> attentions;
    getOperation().walk([&](AttentionOp op) { attentions.push_back(op); });
    SmallVector<MergeOp> merges;
    for (AttentionOp op : attentions)
      if (failed(split(op, merges)))
        return signalPassFailure();
    if (merges.empty())
      return;
    if (failed(foldMasks(getOperation())))
      return signalPassFailure();
    llvm::for_each(merges, dropEmptyState);
  }
};
} // namespace
