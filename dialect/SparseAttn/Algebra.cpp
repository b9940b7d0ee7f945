//===- Algebra.cpp - what the ops that combine masks mean -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/MaskOperands.h"
#include "dialect/SparseAttn/SparseAttn.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// Operands that are masks, scores or modifiers
//===----------------------------------------------------------------------===//

/// Whether `definition` comes before `user` in a way that rules out cycles, even
/// where SSA dominance does not (unreachable blocks, graph regions): earlier in
/// a block around `user`, or in the entry block of a region around it.
static bool isDefinedBefore(Operation *definition, Operation *user) {
  Block *block = definition->getBlock();
  if (Operation *ancestor = block->findAncestorOpInBlock(*user))
    return definition->isBeforeInBlock(ancestor);
  return block->isEntryBlock() && block->getParent()->isAncestor(user->getParentRegion());
}

namespace {
/// What a value of one of the dialect's types has to come from.
struct Origin {
  StringRef what; ///< "mask", "score", "modifier"
  bool isFound;
};
} // namespace

static std::optional<Origin> getOrigin(Value operand) {
  Operation *definition = operand.getDefiningOp();
  return llvm::TypeSwitch<Type, std::optional<Origin>>(operand.getType())
      .Case<MaskType>([&](auto) {
        return Origin{"mask", isa_and_nonnull<MaskOpInterface>(definition)};
      })
      .Case<ScoreType>([&](auto) {
        return Origin{"score", isa_and_nonnull<ScoreOpInterface>(definition)};
      })
      .Case<ModifierType>([&](auto) {
        return Origin{"modifier", isa_and_nonnull<ModifierOpInterface>(definition)};
      })
      .Default(std::nullopt);
}

LogicalResult sparse_attn::verifyMaskOperands(Operation *op) {
  for (Value operand : op->getOperands()) {
    std::optional<Origin> origin = getOrigin(operand);
    if (!origin)
      continue;
    StringRef what = origin->what;
    if (!origin->isFound)
      return op->emitOpError("a ")
             << what << " must be the result of a " << what
             << " op, not an argument or a result of another op; build it from "
                "sparse_attn ops in the same function";
    if (!isDefinedBefore(operand.getDefiningOp(), op))
      return op->emitOpError("uses a ")
             << what
             << " that is not defined before it; define it earlier in the same block";
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

static bool isSampled(Value mask) { return cast<MaskType>(mask.getType()).getSampled(); }

/// A combination is sampled when one of its operands is.
static LogicalResult inferMaskType(MLIRContext *context, ValueRange masks,
                                   SmallVectorImpl<Type> &types) {
  types.push_back(MaskType::get(context, llvm::any_of(masks, isSampled)));
  return success();
}

//===----------------------------------------------------------------------===//
// UnionOp
//===----------------------------------------------------------------------===//

LogicalResult UnionOp::inferReturnTypes(MLIRContext *context, std::optional<Location>,
                                        Adaptor adaptor, SmallVectorImpl<Type> &types) {
  return inferMaskType(context, adaptor.getMasks(), types);
}

LogicalResult UnionOp::verify() {
  // (union_c1)
  if (getMasks().empty())
    return emitOpError(
        "needs at least one operand; use sparse_attn.none to keep nothing");
  // (union_c2)
  return verifyMaskOperands(*this);
}

/// 1 - (1-a)(1-b)..., for independent draws. A certain operand decides alone, so
/// that no rounding touches its 1.
double UnionOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  double excluded = 1;
  for (Value mask : getMasks()) {
    double probability = evaluator.evaluate(mask, pair);
    if (probability == 1)
      return 1;
    excluded *= 1 - probability;
  }
  return 1 - excluded;
}

bool UnionOp::isDrawn(const Pair &pair, Evaluator &evaluator) {
  return llvm::any_of(getMasks(),
                      [&](Value mask) { return evaluator.isDrawn(mask, pair); });
}

TileClass UnionOp::buildTileClass(TileBuilder &builder) {
  TileClass result = builder.constantClass(false);
  for (Value mask : getMasks())
    result = builder.unite(result, builder.classOf(mask));
  return result;
}

KeyExtent UnionOp::buildKeyExtent(TileBuilder &builder) {
  KeyExtent result = builder.extentOf(getMasks().front());
  for (Value mask : getMasks().drop_front())
    result = builder.unite(result, builder.extentOf(mask));
  return result;
}

SmallVector<Value> UnionOp::buildParts(OpBuilder &) { return getMasks(); }

//===----------------------------------------------------------------------===//
// IntersectOp
//===----------------------------------------------------------------------===//

LogicalResult IntersectOp::inferReturnTypes(MLIRContext *context, std::optional<Location>,
                                            Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  return inferMaskType(context, adaptor.getMasks(), types);
}

LogicalResult IntersectOp::verify() {
  // (intersect_c1)
  if (getMasks().empty())
    return emitOpError(
        "needs at least one operand; use sparse_attn.all to keep everything");
  // (intersect_c2)
  return verifyMaskOperands(*this);
}

double IntersectOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  double probability = 1;
  for (Value mask : getMasks()) {
    probability *= evaluator.evaluate(mask, pair);
    if (probability == 0)
      return 0;
  }
  return probability;
}

bool IntersectOp::isDrawn(const Pair &pair, Evaluator &evaluator) {
  return llvm::all_of(getMasks(),
                      [&](Value mask) { return evaluator.isDrawn(mask, pair); });
}

TileClass IntersectOp::buildTileClass(TileBuilder &builder) {
  TileClass result = builder.constantClass(true);
  for (Value mask : getMasks())
    result = builder.intersect(result, builder.classOf(mask));
  return result;
}

KeyExtent IntersectOp::buildKeyExtent(TileBuilder &builder) {
  KeyExtent result = builder.extentOf(getMasks().front());
  for (Value mask : getMasks().drop_front())
    result = builder.intersect(result, builder.extentOf(mask));
  return result;
}

/// Distributes over the first operand whose parts have different periods: c & (a | b)
/// is (c & a) | (c & b).
SmallVector<Value> IntersectOp::buildParts(OpBuilder &builder) {
  for (OpOperand &operand : getOperation()->getOpOperands()) {
    auto mask = cast<MaskOpInterface>(operand.get().getDefiningOp());
    SmallVector<Value> parts = mask.buildParts(builder);
    if (llvm::all_equal(llvm::map_to_vector(parts, sparse_attn::getPeriod)))
      continue;
    SmallVector<Value> restricted(getMasks());
    for (Value &part : parts) {
      restricted[operand.getOperandNumber()] = part;
      part = IntersectOp::create(builder, getLoc(), restricted);
    }
    return parts;
  }
  return {getResult()};
}

//===----------------------------------------------------------------------===//
// DifferenceOp
//===----------------------------------------------------------------------===//

LogicalResult DifferenceOp::inferReturnTypes(MLIRContext *context,
                                             std::optional<Location>, Adaptor adaptor,
                                             SmallVectorImpl<Type> &types) {
  return inferMaskType(context, adaptor.getLhs(), types);
}

LogicalResult DifferenceOp::verify() {
  // (difference_c1) Not drawing a pair says nothing about how often it is drawn.
  if (isSampled(getRhs()))
    return emitOpError("the second operand must be deterministic; exclude from the "
                       "candidates of the sampled mask instead");
  // (difference_c2)
  return verifyMaskOperands(*this);
}

double DifferenceOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  return evaluator.evaluate(getRhs(), pair) == 1 ? 0 : evaluator.evaluate(getLhs(), pair);
}

bool DifferenceOp::isDrawn(const Pair &pair, Evaluator &evaluator) {
  return evaluator.isDrawn(getLhs(), pair) && !evaluator.isDrawn(getRhs(), pair);
}

TileClass DifferenceOp::buildTileClass(TileBuilder &builder) {
  return builder.intersect(builder.classOf(getLhs()),
                           builder.complement(builder.classOf(getRhs())));
}

KeyExtent DifferenceOp::buildKeyExtent(TileBuilder &builder) {
  return builder.intersect(builder.extentOf(getLhs()),
                           builder.complement(builder.extentOf(getRhs())));
}

//===----------------------------------------------------------------------===//
// ComplementOp
//===----------------------------------------------------------------------===//

LogicalResult ComplementOp::inferReturnTypes(MLIRContext *context,
                                             std::optional<Location>, Adaptor,
                                             SmallVectorImpl<Type> &types) {
  types.push_back(MaskType::get(context, /*sampled=*/false));
  return success();
}

LogicalResult ComplementOp::verify() {
  // (complement_c1) is the operand's type; (complement_c2)
  return verifyMaskOperands(*this);
}

double ComplementOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  return evaluator.evaluate(getMask(), pair) == 1 ? 0 : 1;
}

bool ComplementOp::isDrawn(const Pair &pair, Evaluator &evaluator) {
  return !evaluator.isDrawn(getMask(), pair);
}

TileClass ComplementOp::buildTileClass(TileBuilder &builder) {
  return builder.complement(builder.classOf(getMask()));
}

KeyExtent ComplementOp::buildKeyExtent(TileBuilder &builder) {
  return builder.complement(builder.extentOf(getMask()));
}

//===----------------------------------------------------------------------===//
// PerHeadOp
//===----------------------------------------------------------------------===//

LogicalResult PerHeadOp::inferReturnTypes(MLIRContext *context, std::optional<Location>,
                                          Adaptor adaptor, SmallVectorImpl<Type> &types) {
  return inferMaskType(context, adaptor.getMasks(), types);
}

LogicalResult PerHeadOp::verify() {
  // (per_head_c1)
  if (getTable().empty())
    return emitOpError("table must name a mask for at least one head");
  // (per_head_c2)
  int64_t count = getMasks().size();
  for (auto [head, mask] : llvm::enumerate(getTable()))
    if (mask < 0 || mask >= count)
      return emitOpError() << "table gives head " << head << " the mask number " << mask
                           << "; there are " << count << " masks, numbered from 0";
  // (per_head_c3)
  return verifyMaskOperands(*this);
}

double PerHeadOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  return evaluator.evaluate(getMasks()[getTable()[pair.h]], pair);
}

bool PerHeadOp::isDrawn(const Pair &pair, Evaluator &evaluator) {
  return evaluator.isDrawn(getMasks()[getTable()[pair.h]], pair);
}

/// Whether head `h` uses mask number `mask`: the table's runs of it, as ranges.
static Value buildUses(ArrayRef<int64_t> table, int64_t mask, TileBuilder &builder) {
  Value uses = builder.truth(false);
  for (size_t first = 0; first < table.size();) {
    size_t end = first + 1;
    while (end < table.size() && table[end] == table[first])
      ++end;
    if (table[first] == mask) {
      Value in = builder.le(builder.constant(first), builder.h);
      if (end < table.size())
        in = builder.land(in, builder.lt(builder.h, builder.constant(end)));
      uses = builder.lor(uses, in);
    }
    first = end;
  }
  return uses;
}

TileClass PerHeadOp::buildTileClass(TileBuilder &builder) {
  llvm::SmallSetVector<int64_t, 8> used(getTable().begin(), getTable().end());
  TileClass result = builder.classOf(getMasks()[used.front()]);
  for (int64_t mask : llvm::drop_begin(used)) {
    Value uses = buildUses(getTable(), mask, builder);
    TileClass other = builder.classOf(getMasks()[mask]);
    result = {builder.select(uses, other.may, result.may),
              builder.select(uses, other.must, result.must)};
  }
  return result;
}

KeyExtent PerHeadOp::buildKeyExtent(TileBuilder &builder) {
  llvm::SmallSetVector<int64_t, 8> used(getTable().begin(), getTable().end());
  KeyExtent result = builder.extentOf(getMasks()[used.front()]);
  for (int64_t mask : llvm::drop_begin(used)) {
    Value uses = buildUses(getTable(), mask, builder);
    KeyExtent other = builder.extentOf(getMasks()[mask]);
    result = {{builder.select(uses, other.kind.may, result.kind.may),
               builder.select(uses, other.kind.must, result.kind.must)},
              builder.select(uses, other.stop, result.stop)};
  }
  return result;
}

bool PerHeadOp::isPerHead() { return true; }

SmallVector<PlanCheck> PerHeadOp::getPlanChecks() {
  return {{PlanCheck::Heads, {}, {static_cast<int64_t>(getTable().size())}}};
}
