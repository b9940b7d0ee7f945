//===- PositionalPatterns.cpp - closed forms of the position --------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Patterns that are a closed form of (p, j, h, n) in one dimension. Each tile
// class is exact: unknown only where some pairs are kept and others are not.
//
// `must` doubles as the predicate of single pairs, vectorised over keys, so it
// compares keys with values of the position alone wherever it can.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/PatternSupport.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace sparse_attn;

LogicalResult sparse_attn::verifyParameter(Operation *op, const Twine &name,
                                           int64_t value, int64_t low,
                                           StringRef instead) {
  if (value >= low && value < kParameterEnd)
    return success();
  return op->emitOpError() << name << " must be in [" << low << ", 2^30), got " << value
                           << "; " << instead;
}

//===----------------------------------------------------------------------===//
// all, none
//===----------------------------------------------------------------------===//

double AllOp::evaluate(const Pair &, Evaluator &) { return 1; }
TileClass AllOp::buildTileClass(TileBuilder &builder) {
  return builder.constantClass(true);
}

double NoneOp::evaluate(const Pair &, Evaluator &) { return 0; }
TileClass NoneOp::buildTileClass(TileBuilder &builder) {
  return builder.constantClass(false);
}

//===----------------------------------------------------------------------===//
// causal, window, dilated
//===----------------------------------------------------------------------===//

// p - left <= j <= p + right, an end without a value being unbounded.
static bool isInWindow(std::optional<int64_t> left, std::optional<int64_t> right,
                       int64_t p, int64_t j) {
  return (!left || p - *left <= j) && (!right || j <= p + *right);
}

// The windows of [p0, p1] cover [p0 - left, p1 + right] without a gap and share
// [p1 - left, p0 + right].
static TileClass buildWindow(TileBuilder &builder, std::optional<int64_t> left,
                             std::optional<int64_t> right) {
  TileClass result = builder.constantClass(true);
  if (left)
    result = builder.intersect(result,
                               {builder.le(builder.sub(builder.p0, *left), builder.j1),
                                builder.le(builder.sub(builder.p1, *left), builder.j0)});
  if (right)
    result = builder.intersect(result,
                               {builder.le(builder.j0, builder.add(builder.p1, *right)),
                                builder.le(builder.j1, builder.add(builder.p0, *right))});
  return result;
}

// Bounds of the window of a position, as those of [p0, p1].
static KeyExtent buildWindowExtent(TileBuilder &builder, std::optional<int64_t> left,
                                   std::optional<int64_t> right) {
  auto sum = [&](Value p, int64_t distance) { return builder.add(p, distance); };
  Value first0, first1, end0, end1;
  if (left)
    first0 = sum(builder.p0, -*left), first1 = sum(builder.p1, -*left);
  if (right)
    end0 = sum(builder.p0, *right + 1), end1 = sum(builder.p1, *right + 1);
  return builder.alikeInRange(first0, first1, end0, end1);
}

double CausalOp::evaluate(const Pair &pair, Evaluator &) { return pair.j <= pair.p; }

TileClass CausalOp::buildTileClass(TileBuilder &builder) {
  return buildWindow(builder, std::nullopt, 0);
}

KeyExtent CausalOp::buildKeyExtent(TileBuilder &builder) {
  return buildWindowExtent(builder, std::nullopt, 0);
}

static constexpr StringLiteral kUnboundedEnd = "leave it out for an end without a bound";

LogicalResult WindowOp::verify() {
  // (window_c1) 0 <= left < 2^30
  if (getLeft() && failed(verifyParameter(*this, "left", *getLeft(), 0, kUnboundedEnd)))
    return failure();
  // (window_c2) 0 <= right < 2^30
  if (getRight() &&
      failed(verifyParameter(*this, "right", *getRight(), 0, kUnboundedEnd)))
    return failure();
  return success();
}

double WindowOp::evaluate(const Pair &pair, Evaluator &) {
  return isInWindow(getLeft(), getRight(), pair.p, pair.j);
}

TileClass WindowOp::buildTileClass(TileBuilder &builder) {
  return buildWindow(builder, getLeft(), getRight());
}

KeyExtent WindowOp::buildKeyExtent(TileBuilder &builder) {
  return buildWindowExtent(builder, getLeft(), getRight());
}

LogicalResult DilatedOp::verify() {
  // (dilated_c1) 0 <= left < 2^30
  if (getLeft() && failed(verifyParameter(*this, "left", *getLeft(), 0, kUnboundedEnd)))
    return failure();
  // (dilated_c2) 0 <= right < 2^30
  if (getRight() &&
      failed(verifyParameter(*this, "right", *getRight(), 0, kUnboundedEnd)))
    return failure();
  // (dilated_c3) 1 <= rate < 2^30
  return verifyParameter(*this, "rate", getRate(), 1,
                         "use sparse_attn.window to keep every key of the window");
}

double DilatedOp::evaluate(const Pair &pair, Evaluator &) {
  return isInWindow(getLeft(), getRight(), pair.p, pair.j) &&
         llvm::mod(pair.p - pair.j, static_cast<int64_t>(getRate())) == 0;
}

/// The least and the greatest distance p - j, the same value for a single pair.
static std::pair<Value, Value> buildDistances(TileBuilder &builder) {
  Value nearest = builder.sub(builder.p0, builder.j1);
  bool onePair = builder.p0 == builder.p1 && builder.j0 == builder.j1;
  return {nearest, onePair ? nearest : builder.sub(builder.p1, builder.j0)};
}

// With a step of 1 all distances p - j between p0 - j1 and p1 - j0 occur: some pair
// is kept where the part of them that lies in [-right, left] holds a multiple of the
// rate. With a step that is one, all distances are alike modulo the rate.
TileClass DilatedOp::buildTileClass(TileBuilder &builder) {
  TileClass window = buildWindow(builder, getLeft(), getRight());
  int64_t rate = getRate();
  if (rate == 1)
    return window;
  auto [nearest, farthest] = buildDistances(builder);
  TileClass multiple = builder.multipleInSteps(nearest, farthest, rate);
  if (getRight())
    nearest = builder.max(nearest, builder.constant(-static_cast<int64_t>(*getRight())));
  if (getLeft())
    farthest = builder.min(farthest, builder.constant(*getLeft()));
  Value past = builder.floorMod(farthest, rate);
  Value inWindow = builder.le(nearest, builder.sub(farthest, past));
  return {builder.land(multiple.may, inWindow), builder.land(multiple.must, window.must)};
}

KeyExtent DilatedOp::buildKeyExtent(TileBuilder &builder) {
  auto [nearest, farthest] = buildDistances(builder);
  TileClass multiple = builder.multipleInSteps(nearest, farthest, getRate());
  return builder.intersect(buildWindowExtent(builder, getLeft(), getRight()),
                           builder.alikeIfDecided(multiple));
}

int64_t DilatedOp::getPeriod() { return getRate(); }

//===----------------------------------------------------------------------===//
// sink, global
//===----------------------------------------------------------------------===//

LogicalResult SinkOp::verify() {
  // (sink_c1) 0 <= size < 2^30
  return verifyParameter(
      *this, "size", getSize(), 0,
      "use sparse_attn.all to keep every key, sparse_attn.none to keep none");
}

double SinkOp::evaluate(const Pair &pair, Evaluator &) {
  return pair.j < static_cast<int64_t>(getSize());
}

TileClass SinkOp::buildTileClass(TileBuilder &builder) {
  Value size = builder.constant(getSize());
  return {builder.lt(builder.j0, size), builder.lt(builder.j1, size)};
}

KeyExtent SinkOp::buildKeyExtent(TileBuilder &builder) {
  Value size = builder.constant(getSize());
  return builder.alikeInRange({}, {}, size, size);
}

// Each run of a list becomes comparisons in the kernel's predicate.
static constexpr size_t kMaxListedPositions = 256;

LogicalResult GlobalOp::verify() {
  // (global_c1)
  int given =
      getPositions().has_value() + getStride().has_value() + (getIndex() != nullptr);
  if (given != 1)
    return emitOpError() << "needs exactly one of positions, stride and index, got "
                         << given
                         << "; unite several sparse_attn.global masks to combine them";
  if (getPositions()) {
    ArrayRef<int64_t> positions = *getPositions();
    // (global_c2) 1 to 256 positions
    if (positions.empty())
      return emitOpError(
          "positions must not be empty; use sparse_attn.none to keep nothing");
    if (positions.size() > kMaxListedPositions)
      return emitOpError() << "positions must list at most " << kMaxListedPositions
                           << " entries, got " << positions.size()
                           << "; pass longer lists at run time with index(...)";
    // (global_c3) 0 <= position < 2^30
    for (int64_t position : positions)
      if (failed(verifyParameter(*this, "a position", position, 0,
                                 "positions count from the first key")))
        return failure();
  }
  // (global_c4) 1 <= stride < 2^30
  if (getStride())
    return verifyParameter(*this, "stride", *getStride(), 1,
                           "use sparse_attn.all to make every position global");
  return success();
}

double GlobalOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  auto isGlobal = [&](int64_t x) {
    if (getPositions())
      return llvm::is_contained(*getPositions(), x);
    if (getStride())
      return llvm::mod(x, static_cast<int64_t>(*getStride())) == 0;
    // Entries of -1 are padding, and a negative position is in no list.
    for (int64_t i = 0, e = evaluator.shape(getIndex())[1]; i != e; ++i)
      if (x >= 0 && evaluator.integer(getIndex(), {pair.b, i}) == x)
        return true;
    return false;
  };
  return isGlobal(pair.p) || isGlobal(pair.j);
}

/// Calls `body` with the ends of every maximal run of consecutive positions.
static void forEachRun(ArrayRef<int64_t> positions,
                       llvm::function_ref<void(int64_t first, int64_t last)> body) {
  SmallVector<int64_t> sorted(positions);
  llvm::sort(sorted);
  for (size_t first = 0, last; first != sorted.size(); first = last + 1) {
    last = first;
    while (last + 1 != sorted.size() && sorted[last + 1] - sorted[last] <= 1)
      ++last;
    body(sorted[first], sorted[last]);
  }
}

// Whether some of, and all of, [x0, x1] are in a list of positions: one range
// check for each maximal run of consecutive positions.
static TileClass buildListed(TileBuilder &builder, ArrayRef<int64_t> positions, Value x0,
                             Value x1) {
  TileClass result = builder.constantClass(false);
  forEachRun(positions, [&](int64_t first, int64_t last) {
    result = builder.unite(
        result, builder.inRange(x0, x1, builder.constant(first), builder.constant(last)));
  });
  return result;
}

TileClass GlobalOp::buildTileClass(TileBuilder &builder) {
  if (getIndex())
    return builder.callHelper("sa_classify_global", {getIndex(), builder.b, builder.p0,
                                                     builder.p1, builder.j0, builder.j1});
  auto build = [&](Value x0, Value x1) {
    if (getPositions())
      return buildListed(builder, *getPositions(), x0, x1);
    return builder.multipleInSteps(x0, x1, *getStride());
  };
  return builder.unite(build(builder.p0, builder.p1), build(builder.j0, builder.j1));
}

KeyExtent GlobalOp::buildKeyExtent(TileBuilder &builder) {
  if (getIndex())
    return builder.callExtentHelper(
        "sa_extent_global", nullptr,
        {getIndex(), builder.b, builder.p0, builder.p1, builder.j0, builder.j1});
  if (!getPositions())
    return builder.alikeIfDecided(builder.classOf(*this));
  // A position keeps all keys or the listed ones.
  KeyExtent result = {buildListed(builder, *getPositions(), builder.p0, builder.p1),
                      builder.keyEnd()};
  forEachRun(*getPositions(), [&](int64_t first, int64_t last) {
    Value low = builder.constant(first), end = builder.constant(last + 1);
    result = builder.unite(result, builder.alikeInRange(low, low, end, end));
  });
  return result;
}

int64_t GlobalOp::getPeriod() { return getStride().value_or(1); }

Binding GlobalOp::getOwnBinding() {
  return getIndex() ? Binding::Plan : Binding::Compile;
}
bool GlobalOp::isPerBatch() { return getIndex() && variesAlong(getIndex(), 0); }

SmallVector<PlanCheck> GlobalOp::getPlanChecks() {
  if (!getIndex())
    return {};
  return {PlanCheck{PlanCheck::Index, {getIndex()}, {0}}};
}

ArrayRef<TensorSpec> GlobalOp::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {
      {"index", 32, false, true, 2, {Axis::BatchOrOne, Axis::Free}}};
  return specs;
}

//===----------------------------------------------------------------------===//
// strided, fixed, block_diagonal
//===----------------------------------------------------------------------===//

LogicalResult StridedOp::verify() {
  // (strided_c1) 1 <= stride < 2^30
  return verifyParameter(*this, "stride", getStride(), 1,
                         "use sparse_attn.all to keep every key");
}

double StridedOp::evaluate(const Pair &pair, Evaluator &) {
  return llvm::mod(pair.p - pair.j, static_cast<int64_t>(getStride())) == 0;
}

TileClass StridedOp::buildTileClass(TileBuilder &builder) {
  auto [nearest, farthest] = buildDistances(builder);
  return builder.multipleInSteps(nearest, farthest, getStride());
}

int64_t StridedOp::getPeriod() { return getStride(); }

LogicalResult FixedOp::verify() {
  // (fixed_c1) 1 <= stride < 2^30
  if (failed(verifyParameter(*this, "stride", getStride(), 1,
                             "use sparse_attn.all to keep every key")))
    return failure();
  // (fixed_c2) 0 <= columns <= stride
  int64_t columns = getColumns(), stride = getStride();
  if (columns < 0 || columns > stride)
    return emitOpError() << "columns must be in [0, stride] = [0, " << stride << "], got "
                         << columns << "; use sparse_attn.all to keep every key";
  return success();
}

double FixedOp::evaluate(const Pair &pair, Evaluator &) {
  int64_t stride = getStride(), columns = getColumns();
  return llvm::mod(pair.j, stride) >= stride - columns;
}

// With r = j0 mod stride, the next kept key is max(0, stride - columns - r) keys
// away, and the kept keys from there on end with the stride. Keys that are a stride
// apart share r.
TileClass FixedOp::buildTileClass(TileBuilder &builder) {
  int64_t stride = getStride(), columns = getColumns();
  if (columns == 0 || columns == stride)
    return builder.constantClass(columns == stride);
  Value remainder = builder.floorMod(builder.j0, stride);
  Value further = builder.sub(builder.j1, builder.j0);
  Value first = builder.constant(stride - columns);
  Value left = builder.sub(builder.constant(stride - 1), remainder);
  Value isKept = builder.le(first, remainder), alike = builder.isStepOf(stride);
  Value allAlike = builder.lor(alike, builder.eq(builder.j0, builder.j1));
  return {builder.land(builder.le(builder.sub(first, remainder), further),
                       builder.lor(isKept, builder.lnot(alike))),
          builder.land(isKept, builder.lor(allAlike, builder.le(further, left)))};
}

int64_t FixedOp::getPeriod() { return getStride(); }

LogicalResult BlockDiagonalOp::verify() {
  // (block_diagonal_c1) 1 <= size < 2^30
  return verifyParameter(*this, "size", getSize(), 1,
                         "use sparse_attn.all for a single block of every token");
}

double BlockDiagonalOp::evaluate(const Pair &pair, Evaluator &) {
  int64_t size = getSize();
  return llvm::divideFloorSigned(pair.p, size) == llvm::divideFloorSigned(pair.j, size);
}

// Some pair shares a block of `size` where the blocks of [p0, p1] meet [j0, j1];
// every pair does where [j0, j1] lies in the block of both p0 and p1.
static TileClass buildSameBlock(TileBuilder &builder, int64_t size) {
  Value start0 = builder.mul(builder.floorDiv(builder.p0, size), size);
  Value start1 = builder.p0 == builder.p1
                     ? start0
                     : builder.mul(builder.floorDiv(builder.p1, size), size);
  Value end0 = builder.add(start0, size), end1 = builder.add(start1, size);
  return {builder.land(builder.le(start0, builder.j1), builder.lt(builder.j0, end1)),
          builder.land(builder.le(start1, builder.j0), builder.lt(builder.j1, end0))};
}

TileClass BlockDiagonalOp::buildTileClass(TileBuilder &builder) {
  return buildSameBlock(builder, getSize());
}

// The keys of a block are alike, and so are all those before, or behind, the blocks of
// [p0, p1].
KeyExtent BlockDiagonalOp::buildKeyExtent(TileBuilder &builder) {
  int64_t size = getSize();
  Value start0 = builder.mul(builder.floorDiv(builder.p0, size), size);
  Value start1 = builder.mul(builder.floorDiv(builder.p1, size), size);
  Value own = builder.mul(builder.floorDiv(builder.j0, size), size);
  Value before = builder.lt(own, start0), behind = builder.lt(start1, own);
  Value outside = builder.lor(before, behind);
  Value inside = builder.land(builder.eq(start0, own), builder.eq(start1, own));
  Value end = builder.select(behind, builder.keyEnd(), builder.add(own, size));
  Value stop = builder.select(before, start0, end);
  return {{builder.lnot(outside), inside}, builder.min(stop, builder.keyEnd())};
}

//===----------------------------------------------------------------------===//
// dilated_segment
//===----------------------------------------------------------------------===//

LogicalResult DilatedSegmentOp::verify() {
  // (dilated_segment_c1) 1 <= segment < 2^30
  if (failed(verifyParameter(*this, "segment", getSegment(), 1,
                             "use sparse_attn.strided for a segment of every token")))
    return failure();
  // (dilated_segment_c2) 1 <= rate < 2^30
  if (failed(verifyParameter(*this, "rate", getRate(), 1,
                             "use sparse_attn.block_diagonal to keep whole segments")))
    return failure();
  // (dilated_segment_c3) 0 <= offset < rate
  int64_t rate = getRate();
  if (getOffset() && (static_cast<int64_t>(*getOffset()) < 0 ||
                      static_cast<int64_t>(*getOffset()) >= rate))
    return emitOpError() << "offset must be in [0, rate) = [0, " << rate << "), got "
                         << static_cast<int64_t>(*getOffset())
                         << "; leave it out to shift it by head";
  return success();
}

double DilatedSegmentOp::evaluate(const Pair &pair, Evaluator &) {
  int64_t segment = getSegment(), rate = getRate();
  int64_t offset = getOffset() ? *getOffset() : pair.h % rate;
  auto isKept = [&](int64_t x) { return llvm::mod(x, segment) % rate == offset; };
  return llvm::divideFloorSigned(pair.p, segment) ==
             llvm::divideFloorSigned(pair.j, segment) &&
         isKept(pair.p) && isKept(pair.j);
}

bool DilatedSegmentOp::isPerHead() { return !getOffset() && getRate() != 1; }

// Some pair is kept where one segment holds kept positions of both ranges. Of
// the segments that meet both, those between the first and the last lie in both
// ranges as a whole, so three of them decide. Positions that are a multiple of the
// rate apart are alike inside a segment, and everywhere if the rate divides it.
TileClass DilatedSegmentOp::buildTileClass(TileBuilder &builder) {
  int64_t segment = getSegment(), rate = getRate();
  if (rate == 1)
    return buildSameBlock(builder, segment);
  Value offset =
      getOffset() ? builder.constant(*getOffset()) : builder.floorMod(builder.h, rate);

  Value alike = builder.isStepOf(rate);
  Value start = builder.mul(builder.floorDiv(builder.p0, segment), segment);
  auto isKept = [&](Value x, Value start) {
    return builder.eq(builder.floorMod(builder.sub(x, start), rate), offset);
  };
  auto inSegment = [&](Value x) {
    return builder.land(builder.le(start, x), builder.lt(x, builder.add(start, segment)));
  };
  Value firstKept = builder.land(isKept(builder.p0, start), isKept(builder.j0, start));
  Value inside = builder.land(inSegment(builder.p1), inSegment(builder.j1));
  Value all = builder.lor(builder.isPoint(), builder.land(alike, inside));
  Value must = builder.land(builder.land(firstKept, inSegment(builder.j0)), all);

  // Whether [x0, x1] holds a kept position of the segment that starts at `start`.
  auto meets = [&](Value start, Value x0, Value x1) {
    Value low = builder.max(builder.sub(x0, start), builder.constant(0));
    Value high = builder.min(builder.sub(x1, start), builder.constant(segment - 1));
    Value first = builder.max(low, offset);
    Value skipped = builder.floorMod(builder.sub(offset, first), rate);
    return builder.land(builder.le(builder.add(first, skipped), high),
                        builder.lor(isKept(x0, start), builder.lnot(alike)));
  };
  auto meetsBoth = [&](Value start) {
    return builder.land(meets(start, builder.p0, builder.p1),
                        meets(start, builder.j0, builder.j1));
  };
  auto startOf = [&](Value x) {
    return builder.mul(builder.floorDiv(x, segment), segment);
  };
  Value first = startOf(builder.max(builder.p0, builder.j0));
  Value last = startOf(builder.min(builder.p1, builder.j1));
  Value between = builder.land(builder.lt(builder.add(first, segment), last),
                               builder.lt(offset, builder.constant(segment)));
  if (segment % rate == 0)
    between = builder.land(between, builder.lor(firstKept, builder.lnot(alike)));
  Value some = builder.lor(builder.lor(meetsBoth(first), meetsBoth(last)), between);
  return {builder.land(builder.le(first, last), some), must};
}

int64_t DilatedSegmentOp::getPeriod() { return getRate(); }
