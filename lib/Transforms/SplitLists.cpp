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
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace sparse_attn;

namespace sparse_attn {
#define GEN_PASS_DEF_SPLITLISTSPASS
#include "sparse_attn/Transforms/Passes.h.inc"
} // namespace sparse_attn

namespace {
/// The mask ops that a mask is built from, operands first, and which of them are lists.
struct MaskParts {
  explicit MaskParts(Value mask) { collect(mask); }

  bool dependsOnList(Value mask) const { return dependent.contains(mask); }

  llvm::SetVector<Operation *> ops;
  SmallVector<MaskOpInterface> lists;

private:
  void collect(Value mask) {
    Operation *op = mask.getDefiningOp();
    if (ops.contains(op))
      return;
    bool depends = false;
    for (Value operand : op->getOperands())
      if (isa<MaskType>(operand.getType())) {
        collect(operand);
        depends |= dependent.contains(operand);
      }
    ops.insert(op);
    if (auto list = cast<MaskOpInterface>(op); list.getKeyList()) {
      lists.push_back(list);
      depends = true;
    }
    if (depends)
      dependent.insert(mask);
  }

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

static LogicalResult split(AttentionOp attention) {
  MaskParts parts(attention.getMask());
  if (parts.lists.empty())
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
  return success();
}

static bool isEmpty(Value out) {
  auto attention = out.getDefiningOp<AttentionOp>();
  return attention && !attention.getSinks() &&
         attention.getMask().getDefiningOp<NoneOp>();
}

/// Takes states without a key out of a merge.
static void dropEmptyStates(MergeOp merge) {
  SmallVector<Value> outs, lses;
  for (auto [out, lse] : llvm::zip_equal(merge.getOuts(), merge.getLses()))
    if (!isEmpty(out)) {
      outs.push_back(out);
      lses.push_back(lse);
    }
  if (outs.empty() || outs.size() == merge.getOuts().size())
    return;
  if (outs.size() == 1 && outs.front().getType() == merge.getOut().getType()) {
    merge.replaceAllUsesWith(ValueRange{outs.front(), lses.front()});
    merge.erase();
    return;
  }
  merge.getOutsMutable().assign(outs);
  merge.getLsesMutable().assign(lses);
}

static void eraseUnused(Operation *root) {
  SmallVector<Operation *> ops;
  root->walk([&](Operation *op) {
    if (isa<AttentionOp, MaskOpInterface>(op))
      ops.push_back(op);
  });
  for (Operation *op : llvm::reverse(ops))
    if (op->use_empty())
      op->erase();
}

namespace {
struct SplitLists : sparse_attn::impl::SplitListsPassBase<SplitLists> {
  void runOnOperation() override {
    SmallVector<AttentionOp> attentions;
    getOperation().walk([&](AttentionOp op) { attentions.push_back(op); });
    for (AttentionOp op : attentions)
      if (failed(split(op)))
        return signalPassFailure();
    // Folds what the substitution has left, which tells whether anything is sure.
    RewritePatternSet patterns(&getContext());
    for (RegisteredOperationName op : getContext().getRegisteredOperations())
      if (op.hasInterface<MaskOpInterface>())
        op.getCanonicalizationPatterns(patterns, &getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    SmallVector<MergeOp> merges;
    getOperation().walk([&](MergeOp op) { merges.push_back(op); });
    llvm::for_each(merges, dropEmptyStates);
    eraseUnused(getOperation());
  }
};
} // namespace
