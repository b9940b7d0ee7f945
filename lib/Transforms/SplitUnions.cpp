//===- SplitUnions.cpp - a step for each half of a union ------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   attention(near | far)  =  merge(attention(near), attention(far - near))
//
// Runs after widen-states, so that the type of an out is the one that is needed, and
// before plan-blocks, which gives each attention the period of its mask.
//
//===----------------------------------------------------------------------===//

#include "Halves.h"
#include "sparse_attn/Transforms/Passes.h"

using namespace mlir;
using namespace sparse_attn;
using block_plan::Unions;

namespace sparse_attn {
#define GEN_PASS_DEF_SPLITUNIONSPASS
#include "sparse_attn/Transforms/Passes.h.inc"
} // namespace sparse_attn

namespace {
/// A mask is the union of these.
struct Halves {
  SmallVector<Value> near, far;
};
} // namespace

/// Divides the parts of `mask` by their periods; nothing where these are equal.
static std::optional<Halves> findHalves(Value mask, OpBuilder &builder) {
  SmallVector<Value> parts =
      cast<MaskOpInterface>(mask.getDefiningOp()).buildParts(builder);
  SmallVector<int64_t> periods =
      llvm::map_to_vector(parts, [](Value part) { return getPeriod(part); });
  llvm::sort(periods);
  int64_t first = 1; // of the far periods
  double widest = 1;
  for (auto [smaller, larger] : llvm::zip(periods, llvm::drop_begin(periods))) {
    double ratio = static_cast<double>(larger) / static_cast<double>(smaller);
    if (ratio > widest) {
      widest = ratio;
      first = larger;
    }
  }
  if (widest == 1)
    return std::nullopt;
  Halves halves;
  for (Value part : parts)
    (getPeriod(part) < first ? halves.near : halves.far).push_back(part);
  return halves;
}

/// Whether the attention can be a merge of two, which helps where tiles may hold keys
/// that are apart.
static bool isDivisible(AttentionOp op) {
  return !cast<MaskType>(op.getMask().getType()).getSampled() &&
         getBinding(op.getMask()) != Binding::Run && !op.needsNeighbours();
}

static Value buildUnion(ArrayRef<Value> parts, Location loc, OpBuilder &builder) {
  return parts.size() == 1 ? parts[0] : UnionOp::create(builder, loc, parts).getResult();
}

/// The merge of attention to both halves.
static MergeOp buildSplit(AttentionOp op, const Halves &halves, OpBuilder &builder) {
  Location loc = op.getLoc();
  Value near = buildUnion(halves.near, loc, builder);
  Value far =
      DifferenceOp::create(builder, loc, buildUnion(halves.far, loc, builder), near);
  return buildHalves(op, {kNearHalf, near}, {kFarHalf, far}, builder);
}

static void splitUnion(AttentionOp op, Unions unions) {
  if (auto asked = op->getParentOp()->getAttrOfType<block_plan::UnionsAttr>(
          block_plan::kUnionsAttr))
    unions = asked.getValue();
  if (unions == Unions::Whole || !isDivisible(op))
    return;
  OpBuilder builder(op);
  std::optional<Halves> halves = findHalves(op.getMask(), builder);
  if (!halves)
    return;
  builder.setInsertionPointAfter(op);
  MergeOp split = buildSplit(op, *halves, builder);
  if (unions == Unions::Split) {
    op->replaceAllUsesWith(split);
    op->erase();
    return;
  }
  auto choice = block_plan::ChooseOp::create(
      builder, op.getLoc(), op.getOut().getType(), op.getLse().getType(),
      ValueRange{op.getOut(), split.getOut()}, ValueRange{op.getLse(), split.getLse()});
  op->replaceUsesWithIf(choice, [&](OpOperand &use) { return use.getOwner() != choice; });
}

namespace {
struct SplitUnions : sparse_attn::impl::SplitUnionsPassBase<SplitUnions> {
  using SplitUnionsPassBase::SplitUnionsPassBase;

  void runOnOperation() override {
    SmallVector<AttentionOp> attentions;
    getOperation().walk([&](AttentionOp op) { attentions.push_back(op); });
    for (AttentionOp op : attentions)
      splitUnion(op, unions);
  }
};
} // namespace
