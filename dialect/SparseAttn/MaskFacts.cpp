//===- MaskFacts.cpp - what is known of two masks at once -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/MaskFacts.h"
#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"
#include <numeric>

using namespace mlir;
using namespace sparse_attn;

/// Parameters of patterns stay below this.
static constexpr int64_t kParameterEnd = int64_t(1) << 30;

//===----------------------------------------------------------------------===//
// Bands
//===----------------------------------------------------------------------===//

static bool endContains(std::optional<int64_t> outer, std::optional<int64_t> inner) {
  return !outer || (inner && *inner <= *outer);
}

bool Band::contains(const Band &other) const {
  if (other.isDiagonal())
    return true;
  return endContains(left, other.left) && endContains(right, other.right) &&
         other.rate % rate == 0;
}

std::optional<Band> sparse_attn::getBand(Value mask) {
  using Result = std::optional<Band>;
  return TypeSwitch<Operation *, Result>(mask.getDefiningOp())
      .Case<AllOp>([](auto) { return Band{}; })
      .Case<CausalOp>([](auto) { return Band{std::nullopt, 0}; })
      .Case<WindowOp>([](WindowOp op) { return Band{op.getLeft(), op.getRight()}; })
      .Case<DilatedOp>([](DilatedOp op) {
        return Band{op.getLeft(), op.getRight(), static_cast<int64_t>(op.getRate())};
      })
      .Case<StridedOp>([](StridedOp op) {
        return Band{std::nullopt, std::nullopt, static_cast<int64_t>(op.getStride())};
      })
      .Default([](Operation *) { return Result(); });
}

Band sparse_attn::getNormalForm(Band band) {
  for (std::optional<int64_t> *end : {&band.left, &band.right})
    if (*end)
      **end -= **end % band.rate;
  if (band.isDiagonal())
    band.rate = 1;
  return band;
}

bool sparse_attn::isNamedAfter(Operation *op, const Band &band) {
  bool isUnbounded = !band.left && !band.right;
  if (band.rate > 1)
    return isUnbounded ? isa<StridedOp>(op) : isa<DilatedOp>(op);
  if (isUnbounded)
    return isa<AllOp>(op);
  return !band.left && *band.right == 0 ? isa<CausalOp>(op) : isa<WindowOp>(op);
}

Value sparse_attn::buildBand(Band band, OpBuilder &builder, Location loc) {
  auto end = [&](std::optional<int64_t> value) {
    return value ? builder.getI64IntegerAttr(*value) : IntegerAttr();
  };
  Type type = MaskType::get(builder.getContext(), /*sampled=*/false);
  bool isUnbounded = !band.left && !band.right;
  if (band.rate > 1 && isUnbounded)
    return StridedOp::create(builder, loc, type, builder.getI64IntegerAttr(band.rate));
  if (band.rate > 1)
    return DilatedOp::create(builder, loc, type, end(band.left), end(band.right),
                             builder.getI64IntegerAttr(band.rate));
  if (isUnbounded)
    return AllOp::create(builder, loc, type);
  if (!band.left && *band.right == 0)
    return CausalOp::create(builder, loc, type);
  return WindowOp::create(builder, loc, type, end(band.left), end(band.right));
}

static std::optional<int64_t> nearerEnd(std::optional<int64_t> a,
                                        std::optional<int64_t> b) {
  return a && b ? std::min(*a, *b) : (a ? a : b);
}
static std::optional<int64_t> fartherEnd(std::optional<int64_t> a,
                                         std::optional<int64_t> b) {
  return a && b ? std::optional<int64_t>(std::max(*a, *b)) : std::nullopt;
}

std::optional<Band> sparse_attn::intersectBands(const Band &a, const Band &b) {
  // Rates are below 2^30, so the multiple does not overflow.
  int64_t rate = std::lcm(a.rate, b.rate);
  if (rate >= kParameterEnd)
    return std::nullopt;
  return getNormalForm({nearerEnd(a.left, b.left), nearerEnd(a.right, b.right), rate});
}

std::optional<Band> sparse_attn::uniteBands(const Band &a, const Band &b) {
  // Both hold j = p, so their ends leave no gap between them.
  if (a.rate != b.rate)
    return std::nullopt;
  return getNormalForm(
      {fartherEnd(a.left, b.left), fartherEnd(a.right, b.right), a.rate});
}

//===----------------------------------------------------------------------===//
// Sameness
//===----------------------------------------------------------------------===//

static bool areSameConstant(Value a, Value b) {
  Attribute left, right;
  return matchPattern(a, m_Constant(&left)) && matchPattern(b, m_Constant(&right)) &&
         left == right;
}

/// Masks that are combined more deeply than this are not compared.
static constexpr unsigned kMaxDepth = 12;

static bool areSameTo(unsigned depth, Value a, Value b) {
  if (a == b)
    return true;
  if (depth == 0)
    return false;
  Operation *left = a.getDefiningOp(), *right = b.getDefiningOp();
  // Values inside two regions correspond once their definitions have been seen.
  DenseMap<Value, Value> matched;
  auto check = [&](Value x, Value y) {
    if (isa<MaskType, ScoreType>(x.getType()))
      return success(areSameTo(depth - 1, x, y));
    return success(x == y || matched.lookup(x) == y || areSameConstant(x, y));
  };
  auto match = [&](Value x, Value y) { matched[x] = y; };
  return OperationEquivalence::isEquivalentTo(left, right, check, match,
                                              OperationEquivalence::IgnoreLocations);
}

bool sparse_attn::areSame(Value a, Value b) { return areSameTo(kMaxDepth, a, b); }

//===----------------------------------------------------------------------===//
// Covering
//===----------------------------------------------------------------------===//

static bool isDeterministic(Value mask) {
  return !cast<MaskType>(mask.getType()).getSampled();
}

/// Patterns that contain others of their own kind, or of another.
static bool coversPattern(Operation *outer, Operation *inner) {
  return TypeSwitch<Operation *, bool>(outer)
      .Case<SinkOp>([&](SinkOp a) {
        auto b = dyn_cast<SinkOp>(inner);
        return b && b.getSize() <= a.getSize();
      })
      .Case<FixedOp>([&](FixedOp a) {
        auto b = dyn_cast<FixedOp>(inner);
        return b && a.getStride() == b.getStride() && b.getColumns() <= a.getColumns();
      })
      .Case<BlockDiagonalOp>([&](BlockDiagonalOp a) {
        if (auto b = dyn_cast<BlockDiagonalOp>(inner))
          return a.getSize() % b.getSize() == 0;
        auto b = dyn_cast<DilatedSegmentOp>(inner);
        return b && a.getSize() % b.getSegment() == 0;
      })
      .Case<GlobalOp>([&](GlobalOp a) {
        auto b = dyn_cast<GlobalOp>(inner);
        if (!b)
          return false;
        if (a.getStride() && b.getStride())
          return *b.getStride() % *a.getStride() == 0;
        return a.getPositions() && b.getPositions() &&
               llvm::all_of(*b.getPositions(), [&](int64_t position) {
                 return llvm::is_contained(*a.getPositions(), position);
               });
      })
      .Case<GraphHopOp>([&](GraphHopOp a) {
        auto b = dyn_cast<GraphHopOp>(inner);
        return b && a->getOperands() == b->getOperands() &&
               a.getDirected() == b.getDirected() &&
               endContains(a.getMaxHops(), b.getMaxHops());
      })
      .Default([](Operation *) { return false; });
}

/// A block of `size` lies in the window of size - 1 to both sides.
static bool coversBlocks(const Band &band, Operation *inner) {
  std::optional<int64_t> size =
      TypeSwitch<Operation *, std::optional<int64_t>>(inner)
          .Case<BlockDiagonalOp>([](auto op) { return op.getSize(); })
          .Case<DilatedSegmentOp>([](auto op) { return op.getSegment(); })
          .Default([](Operation *) { return std::nullopt; });
  return size && band.contains({*size - 1, *size - 1});
}

namespace {
/// Asks `covers` along both masks' operands, within a budget: combinations of
/// combinations are rare, and "not known" is always right.
class Cover {
public:
  bool ask(Value outer, Value inner);

private:
  int budget = 256;
};
} // namespace

bool Cover::ask(Value outer, Value inner) {
  if (--budget < 0)
    return false;
  Operation *a = outer.getDefiningOp(), *b = inner.getDefiningOp();
  if (isa<AllOp>(a) || isa<NoneOp>(b))
    return true;
  // (1) where inner is not 0 because the same deterministic mask is 1
  if (isDeterministic(outer) && areSame(outer, inner))
    return true;
  auto coversThis = [&](Value x) { return ask(x, inner); };
  auto coveredByThis = [&](Value x) { return ask(outer, x); };
  // (2) any part of outer is 1, or all of them are
  if (auto op = dyn_cast<UnionOp>(a); op && llvm::any_of(op.getMasks(), coversThis))
    return true;
  if (auto op = dyn_cast<IntersectOp>(a); op && llvm::all_of(op.getMasks(), coversThis))
    return true;
  if (auto op = dyn_cast<PerHeadOp>(a); op && llvm::all_of(op.getMasks(), coversThis))
    return true;
  // (3) inner lies in one of its parts, or is made of parts that lie in outer
  if (auto op = dyn_cast<IntersectOp>(b);
      op && llvm::any_of(op.getMasks(), coveredByThis))
    return true;
  if (auto op = dyn_cast<DifferenceOp>(b); op && ask(outer, op.getLhs()))
    return true;
  if (auto op = dyn_cast<UnionOp>(b); op && llvm::all_of(op.getMasks(), coveredByThis))
    return true;
  if (auto op = dyn_cast<PerHeadOp>(b); op && llvm::all_of(op.getMasks(), coveredByThis))
    return true;
  // (4) a selection lies in its candidates
  if (auto op = dyn_cast<SelectionOpInterface>(b); op && ask(outer, op.getCandidates()))
    return true;
  // (5) complements turn the order around
  auto notA = dyn_cast<ComplementOp>(a), notB = dyn_cast<ComplementOp>(b);
  if (notA && notB)
    return ask(notB.getMask(), notA.getMask());
  // (6) patterns
  if (std::optional<Band> band = getBand(outer)) {
    std::optional<Band> other = getBand(inner);
    return other ? band->contains(*other) : coversBlocks(*band, b);
  }
  return coversPattern(a, b);
}

bool sparse_attn::covers(Value outer, Value inner) { return Cover().ask(outer, inner); }
