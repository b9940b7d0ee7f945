//===- BlockPlan.cpp - the block_plan dialect -----------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/BlockPlan/BlockPlan.h"
#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FoldInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace block_plan;

#include "dialect/BlockPlan/BlockPlanDialect.cpp.inc"
#include "dialect/BlockPlan/BlockPlanEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialect/BlockPlan/BlockPlanAttrs.cpp.inc"

#define GET_OP_CLASSES
#include "dialect/BlockPlan/BlockPlanOps.cpp.inc"

namespace {
/// Keeps the constants of a plan's regions where they are read.
struct PlanFoldInterface : DialectFoldInterface {
  using DialectFoldInterface::DialectFoldInterface;
  bool shouldMaterializeInto(Region *region) const final { return true; }
};
} // namespace

void BlockPlanDialect::initialize() {
  addInterfaces<PlanFoldInterface>();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialect/BlockPlan/BlockPlanAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialect/BlockPlan/BlockPlanOps.cpp.inc"
      >();
}

bool block_plan::isTile(ArrayRef<int64_t> tile) {
  constexpr int64_t kWord = 64, kLargest = 1024; // bit tiles have rows of whole words
  return tile.size() == 2 && tile[0] >= 1 && tile[0] <= kLargest && tile[1] >= kWord &&
         tile[1] <= kLargest && tile[1] % kWord == 0;
}

LogicalResult BlockPlanDialect::verifyOperationAttribute(Operation *op,
                                                         NamedAttribute attribute) {
  if (attribute.getName() == kUnionsAttr) {
    if (isa<UnionsAttr>(attribute.getValue()))
      return success();
    return op->emitOpError() << kUnionsAttr << " must be #block_plan.unions<choose>, "
                             << "<whole> or <split>, got " << attribute.getValue();
  }
  if (attribute.getName() != kTileAttr)
    return op->emitOpError() << "has the attribute '" << attribute.getName().getValue()
                             << "', which means nothing; kernels take " << kTileAttr
                             << " and " << kUnionsAttr;
  auto tile = dyn_cast<DenseI64ArrayAttr>(attribute.getValue());
  if (tile && isTile(tile))
    return success();
  return op->emitOpError() << kTileAttr << " must be array<i64: rows, keys> with 1 to "
                           << "1024 rows and 64, 128, ... 1024 keys, got "
                           << attribute.getValue();
}

static RankedTensorType getTensor(Type type) {
  if (auto pooled = dyn_cast<sparse_attn::PooledType>(type))
    return pooled.getTensor();
  return cast<RankedTensorType>(type);
}
RankedTensorType AttentionOp::getKeyTensorType() { return getTensor(getK().getType()); }
RankedTensorType AttentionOp::getValueTensorType() { return getTensor(getV().getType()); }
bool AttentionOp::isSampled() {
  return getChoice() && cast<sparse_attn::MaskType>(getChoice().getType()).getSampled();
}

/// Whether `region` has one block with arguments of these types that yields these.
static LogicalResult verifyRegion(AttentionOp op, StringRef name, Region &region,
                                  TypeRange arguments, TypeRange results) {
  Block &block = region.front();
  if (block.getArgumentTypes() != arguments)
    return op.emitOpError() << "region '" << name << "' must take " << arguments;
  auto yield = dyn_cast<YieldOp>(block.empty() ? nullptr : &block.back());
  if (!yield || yield.getValues().getTypes() != results)
    return op.emitOpError() << "region '" << name << "' must yield " << results;
  return success();
}

LogicalResult AttentionOp::verify() {
  // (plan_attention_c1)
  if (getTile().size() != 2 || getTileRows() < 1 || getTileKeys() < 8 ||
      getTileKeys() % 8)
    return emitOpError("tile must be [rows >= 1, keys >= 8 and a multiple of 8]");
  for (Type type : {getQ().getType(), getK().getType(), getV().getType()})
    if (!isa<RankedTensorType, sparse_attn::PooledType>(type) ||
        getTensor(type).getRank() != 4)
      return emitOpError("q, k and v must be rank-4 tensors"); // (plan_attention_c2)
  // (plan_attention_c3)
  if (getPredicate().empty() != (getBinding() == PlanBinding::Plan))
    return emitOpError(
        "needs a predicate with compile binding, and none with plan binding");
  // (plan_attention_c4)
  if (getPeriod() < 1)
    return emitOpError("period must be >= 1");
  // (plan_attention_c5)
  Builder b(getContext());
  Type i1 = b.getI1Type(), i32 = b.getI32Type(), f32 = b.getF32Type();
  if (failed(verifyRegion(*this, "classify", getClassify(),
                          {i32, i32, i32, i32, i32, i32, i32}, {i1, i1})))
    return failure();
  // (plan_attention_c7)
  if (getStructures().size() != getKnown().size())
    return emitOpError("needs a region of structures for each mask that is known");
  for (Region &structure : getStructures())
    if (failed(verifyRegion(*this, "structures", structure,
                            {i32, i32, i32, i32, i32, i32, i32}, {i1, i1})))
      return failure();
  if (!getExtent().empty() &&
      failed(verifyRegion(*this, "extent", getExtent(),
                          {i32, i32, i32, i32, i32, i32, i32}, {i1, i1, i32})))
    return failure();
  if (!getPredicate().empty() && failed(verifyRegion(*this, "predicate", getPredicate(),
                                                     {i32, i32, i32, i32}, {i1})))
    return failure();
  if (!getModify().empty() &&
      failed(verifyRegion(*this, "modify", getModify(),
                          {f32, f32, i32, i32, i32, i32, i32}, {f32})))
    return failure();
  // (plan_attention_c6)
  if (getScores().size() != getScoreBlocks().size() ||
      llvm::any_of(getScoreBlocks(), [](int64_t block) { return block < 1; }))
    return emitOpError("score_blocks must have the keys of a unit, at least one, for "
                       "each of scores");
  for (Value score : getScores())
    if (!isa_and_nonnull<sparse_attn::ScoreOpInterface>(score.getDefiningOp()))
      return emitOpError("scores must be made by score ops, got one of type ")
             << score.getType();
  return success();
}

LogicalResult ChooseOp::verify() {
  // (choose_c1)
  if (getOuts().empty())
    return emitOpError("needs at least one way to the state");
  // (choose_c2)
  for (auto [out, lse] : llvm::zip_equal(getOuts(), getLses()))
    if (out.getType() != getOut().getType() || lse.getType() != getLse().getType())
      return emitOpError() << "every way must have the types of the results, "
                           << getResultTypes() << ", got " << out.getType() << " and "
                           << lse.getType();
  return success();
}
