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

#include "dialect/SparseAttn/SparseAttn.h"
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

/// A way to the state of an attention.
struct State {
  Value out, lse;
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

/// `op` with another mask and an out in f32, which a merge reads. Its location tells
/// which half it is.
static State buildPart(AttentionOp op, StringRef name, Value mask, Value sinks,
                       OpBuilder &builder) {
  Location loc = NameLoc::get(builder.getStringAttr(name), op.getLoc());
  Type out = cast<RankedTensorType>(op.getOut().getType()).clone(builder.getF32Type());
  auto part =
      AttentionOp::create(builder, loc, out, op.getLse().getType(), op.getQ(), op.getK(),
                          op.getV(), mask, op.getKvLen(), op.getQLen(), op.getQOffset(),
                          sinks, op.getModifiers(), op.getScaleAttr());
  return {part.getOut(), part.getLse()};
}

/// The state of `op` from its halves. A sink is a key that every row has: it counts in
/// one of them.
static State buildSplit(AttentionOp op, const Halves &halves, OpBuilder &builder) {
  Location loc = op.getLoc();
  Value near = buildUnion(halves.near, loc, builder);
  Value far =
      DifferenceOp::create(builder, loc, buildUnion(halves.far, loc, builder), near);
  State nearState = buildPart(op, kNearHalf, near, op.getSinks(), builder);
  State farState = buildPart(op, kFarHalf, far, /*sinks=*/nullptr, builder);
  auto merge = MergeOp::create(builder, loc, op.getOut().getType(), op.getLse().getType(),
                               ValueRange{nearState.out, farState.out},
                               ValueRange{nearState.lse, farState.lse});
  return {merge.getOut(), merge.getLse()};
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
  State split = buildSplit(op, *halves, builder);
  if (unions == Unions::Split) {
    op->replaceAllUsesWith(ValueRange{split.out, split.lse});
    op->erase();
    return;
  }
  auto choice = block_plan::ChooseOp::create(
      builder, op.getLoc(), op.getOut().getType(), op.getLse().getType(),
      ValueRange{op.getOut(), split.out}, ValueRange{op.getLse(), split.lse});
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
