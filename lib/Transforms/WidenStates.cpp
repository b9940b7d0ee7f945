//===- WidenStates.cpp - what is merged stays f32 -------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/SparseAttn.h"
#include "sparse_attn/Transforms/Passes.h"

using namespace mlir;
using namespace sparse_attn;

namespace sparse_attn {
#define GEN_PASS_DEF_WIDENSTATESPASS
#include "sparse_attn/Transforms/Passes.h.inc"
} // namespace sparse_attn

static bool isMerged(Value out) {
  return llvm::any_of(out.getUsers(), llvm::IsaPred<MergeOp>);
}

/// Makes the out of a state f32 for the merges that read it, and rounds it to the
/// type that it had for everything else.
static void widenState(Value out, Value lse) {
  auto narrow = cast<RankedTensorType>(out.getType());
  if (narrow.getElementType().isF32() || !isMerged(out))
    return;
  OpBuilder builder(out.getContext());
  builder.setInsertionPointAfterValue(out);
  out.setType(narrow.clone(builder.getF32Type()));
  SmallVector<OpOperand *> others;
  for (OpOperand &use : out.getUses())
    if (!isa<MergeOp>(use.getOwner()))
      others.push_back(&use);
  if (others.empty())
    return;
  auto rounded = MergeOp::create(builder, out.getLoc(), narrow, lse.getType(),
                                 ValueRange{out}, ValueRange{lse});
  for (OpOperand *use : others)
    use->set(rounded.getOut());
}

namespace {
struct WidenStates : sparse_attn::impl::WidenStatesPassBase<WidenStates> {
  void runOnOperation() override {
    SmallVector<Operation *> states;
    getOperation().walk([&](Operation *op) {
      if (isa<AttentionOp, MergeOp>(op))
        states.push_back(op);
    });
    for (Operation *op : states)
      widenState(op->getResult(0), op->getResult(1));
  }
};
} // namespace
