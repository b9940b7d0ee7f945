//===- Neighborhood.cpp - neighbours on a grid of tokens -------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/PatternSupport.h"

using namespace mlir;
using namespace sparse_attn;

static constexpr size_t kMaxAxes = 3;

namespace {
/// One axis of the grid. Tokens that differ by a multiple of the dilation form a
/// class, and windows of 2 * radius + 1 members stay inside their class.
struct GridAxis {
  int64_t length, radius, dilation;
};
} // namespace

static SmallVector<GridAxis> getAxes(NeighborhoodOp op) {
  ArrayRef<int64_t> grid = op.getGrid(), radius = op.getRadius();
  ArrayRef<int64_t> dilation = op.getDilation().value_or(ArrayRef<int64_t>());
  SmallVector<GridAxis> axes;
  for (size_t a = 0; a != grid.size(); ++a)
    axes.push_back({grid[a], radius[a], dilation.empty() ? 1 : dilation[a]});
  return axes;
}

//===----------------------------------------------------------------------===//
// Verification and meaning
//===----------------------------------------------------------------------===//

LogicalResult NeighborhoodOp::verify() {
  // (neighborhood_c1) 1 to 3 axes
  size_t rank = getGrid().size();
  if (rank < 1 || rank > kMaxAxes)
    return emitOpError() << "grid must have 1 to " << kMaxAxes << " axes, got " << rank
                         << "; merge axes that are kept whole into one";
  // (neighborhood_c2) 1 <= length < 2^30
  int64_t tokens = 1;
  for (int64_t length : getGrid()) {
    if (failed(verifyParameter(*this, "a length of the grid", length, 1,
                               "leave the axis out where it has a single point")))
      return failure();
    // (neighborhood_c3) fewer than 2^30 tokens
    tokens *= length;
    if (tokens >= kParameterEnd)
      return emitOpError(
          "grid must have fewer than 2^30 points; use a smaller grid for each "
          "batch entry");
  }
  // (neighborhood_c4) one radius per axis
  if (getRadius().size() != rank)
    return emitOpError() << "radius must have one entry per axis, " << rank << ", got "
                         << getRadius().size()
                         << "; use 0 for an axis without neighbours";
  // (neighborhood_c5) 0 <= radius < 2^30
  for (int64_t radius : getRadius())
    if (failed(verifyParameter(*this, "a radius", radius, 0,
                               "use the length of the axis to keep it whole")))
      return failure();
  if (!getDilation())
    return success();
  // (neighborhood_c6) one dilation per axis
  ArrayRef<int64_t> dilations = *getDilation();
  if (dilations.size() != rank)
    return emitOpError() << "dilation must have one entry per axis, " << rank << ", got "
                         << dilations.size() << "; use 1 for an axis without dilation";
  // (neighborhood_c7) 1 <= dilation < 2^30
  for (int64_t dilation : dilations)
    if (failed(verifyParameter(*this, "a dilation", dilation, 1,
                               "use 1 for an axis without dilation")))
      return failure();
  return success();
}

// Coordinates of a token, row-major; nothing where it is not on the grid.
static std::optional<SmallVector<int64_t>> computePoint(ArrayRef<GridAxis> axes,
                                                        int64_t token) {
  SmallVector<int64_t> point(axes.size());
  if (token < 0)
    return std::nullopt;
  for (size_t a = axes.size(); a-- != 0; token /= axes[a].length)
    point[a] = token % axes[a].length;
  return token == 0 ? std::optional(point) : std::nullopt;
}

static bool isNeighbor(const GridAxis &axis, int64_t p, int64_t j) {
  int64_t residue = p % axis.dilation;
  if (j % axis.dilation != residue)
    return false;
  int64_t members = llvm::divideCeil(axis.length - residue, axis.dilation);
  int64_t lastStart = std::max<int64_t>(members - (2 * axis.radius + 1), 0);
  int64_t start = std::clamp<int64_t>(p / axis.dilation - axis.radius, 0, lastStart);
  int64_t member = j / axis.dilation;
  return start <= member && member <= start + 2 * axis.radius;
}

double NeighborhoodOp::evaluate(const Pair &pair, Evaluator &) {
  SmallVector<GridAxis> axes = getAxes(*this);
  auto query = computePoint(axes, pair.p), key = computePoint(axes, pair.j);
  if (!query || !key)
    return 0;
  for (auto [axis, p, j] : llvm::zip(axes, *query, *key))
    if (!isNeighbor(axis, p, j))
      return 0;
  return 1;
}

//===----------------------------------------------------------------------===//
// Tile classes
//===----------------------------------------------------------------------===//

namespace {
/// Coordinates along one axis, ends inclusive. A single point holds the same
/// value twice.
struct AxisRange {
  Value low, high;
  bool isPoint() const { return low == high; }
};

/// The tokens [low, high] of the grid, from the first axis to the last.
class GridWalker {
public:
  GridWalker(TileBuilder &builder, ArrayRef<GridAxis> axes, Value low, Value high)
      : builder(builder), rest{low, high} {
    for (const GridAxis &axis : axes)
      size *= axis.length;
    if (rest.isPoint())
      return;
    rest = {builder.max(low, builder.constant(0)),
            builder.min(high, builder.constant(size - 1))};
  }

  /// The range of the next axis: exact while the axes before are constant over
  /// the tokens, the whole axis from there on.
  AxisRange next(const GridAxis &axis) {
    size /= axis.length;
    AxisRange point = map(rest, [&](Value x) { return builder.floorDiv(x, size); });
    rest = map2(rest, point,
                [&](Value x, Value c) { return builder.sub(x, builder.mul(c, size)); });
    AxisRange result = point;
    if (!point.isPoint() && constantSoFar)
      result = {
          builder.select(constantSoFar, point.low, builder.constant(0)),
          builder.select(constantSoFar, point.high, builder.constant(axis.length - 1))};
    if (!point.isPoint()) {
      Value constant = builder.eq(point.low, point.high);
      constantSoFar = constantSoFar ? builder.land(constantSoFar, constant) : constant;
    }
    return result;
  }

private:
  template <typename Fn> static AxisRange map(AxisRange x, Fn fn) {
    Value low = fn(x.low);
    return {low, x.isPoint() ? low : fn(x.high)};
  }
  template <typename Fn> static AxisRange map2(AxisRange x, AxisRange y, Fn fn) {
    Value low = fn(x.low, y.low);
    return {low, x.isPoint() ? low : fn(x.high, y.high)};
  }

  TileBuilder &builder;
  AxisRange rest;
  Value constantSoFar;
  int64_t size = 1;
};
} // namespace

// Radius and dilation beyond the axis change nothing; cut there, sums fit in i32.
static GridAxis cutToLength(GridAxis axis) {
  axis.dilation = std::min(axis.dilation, axis.length);
  axis.radius = std::min(axis.radius, axis.length);
  return axis;
}

// Without dilation, both ends of the window grow with p: the windows of [p0, p1]
// cover [start(p0), end(p1)] and share [start(p1), end(p0)]. `length` is that of the
// axis, or of a class on it, whose members p and j number then.
static TileClass buildShifted(TileBuilder &builder, int64_t radius, Value length,
                              AxisRange p, AxisRange j) {
  Value zero = builder.constant(0), last = builder.sub(length, 1);
  Value lastStart = builder.max(builder.sub(last, 2 * radius), zero);
  Value firstEnd = builder.min(builder.constant(2 * radius), last);
  auto startOf = [&](Value x) {
    return builder.max(builder.min(builder.sub(x, radius), lastStart), zero);
  };
  auto endOf = [&](Value x) {
    return builder.min(builder.max(builder.add(x, radius), firstEnd), last);
  };
  Value start0 = startOf(p.low), start1 = p.isPoint() ? start0 : startOf(p.high);
  Value end0 = endOf(p.low), end1 = p.isPoint() ? end0 : endOf(p.high);
  return {builder.land(builder.le(start0, j.high), builder.le(j.low, end1)),
          builder.land(builder.le(start1, j.low), builder.le(j.high, end0))};
}

/// Whether tokens that are a multiple of the last axis' dilation apart are of one class
/// on it: where its rows begin must not matter.
static bool hasPeriodicClasses(ArrayRef<GridAxis> axes) {
  GridAxis last = axes.back();
  bool isOnlyAxis =
      llvm::all_of(axes.drop_back(), [](const GridAxis &x) { return x.length == 1; });
  return last.dilation > 1 && last.dilation < last.length &&
         (isOnlyAxis || last.length % last.dilation == 0);
}

// The last axis in steps of its dilation, where that is a period: all positions are of
// one class, all keys of one, and windows are those of an axis without dilation, whose
// coordinates are the numbers of the members.
static TileClass buildInSteps(TileBuilder &builder, const GridAxis &axis, AxisRange p,
                              AxisRange j) {
  Value residue = builder.floorMod(builder.p0, axis.dilation);
  Value sameClass = builder.eq(residue, builder.floorMod(builder.j0, axis.dilation));
  Value members = builder.add(
      builder.floorDiv(builder.sub(builder.constant(axis.length - 1), residue),
                       axis.dilation),
      1);
  auto numberOf = [&](AxisRange x) -> AxisRange {
    Value low = builder.floorDiv(x.low, axis.dilation);
    return {low, x.isPoint() ? low : builder.floorDiv(x.high, axis.dilation)};
  };
  return builder.intersect(
      builder.uniform(sameClass),
      buildShifted(builder, axis.radius, members, numberOf(p), numberOf(j)));
}

// With dilation, the window of one p is every `dilation`-th coordinate between
// two members of its class; several p at least stay within the outermost ones.
static TileClass buildDilated(TileBuilder &builder, const GridAxis &axis, AxisRange p,
                              AxisRange j) {
  int64_t length = axis.length, dilation = axis.dilation;
  // A reach of the whole axis is as good as any beyond.
  int64_t reach = std::min(axis.radius * dilation, length);
  int64_t span = std::min(2 * axis.radius * dilation, length);

  // The window of p.low alone, from the first to the last member of its class.
  Value residue = builder.floorMod(p.low, dilation);
  Value last = builder.add(
      builder.mul(
          builder.floorDiv(builder.sub(builder.constant(length - 1), residue), dilation),
          dilation),
      residue);
  Value start = builder.max(
      builder.min(builder.sub(p.low, reach), builder.sub(last, span)), residue);
  Value end = builder.min(
      builder.max(builder.add(p.low, reach), builder.add(residue, span)), last);

  Value onePoint = builder.land(builder.eq(p.low, p.high), builder.eq(j.low, j.high));
  Value inside = builder.land(builder.le(start, j.low), builder.le(j.low, end));
  Value sameClass = builder.eq(builder.floorMod(builder.sub(j.low, residue), dilation),
                               builder.constant(0));
  Value must = builder.land(onePoint, builder.land(inside, sameClass));
  if (p.isPoint() && j.isPoint())
    return {must, must};

  Value met = builder
                  .congruent(builder.max(j.low, start), builder.min(j.high, end),
                             dilation, residue)
                  .may;
  if (p.isPoint())
    return {met, must};

  // Classes end within a dilation of the axis' ends.
  Value outerStart = builder.max(
      builder.min(builder.sub(p.low, reach),
                  builder.constant(std::max<int64_t>(length - dilation - span, 0))),
      builder.constant(0));
  Value outerEnd = builder.min(
      builder.max(builder.add(p.high, reach),
                  builder.constant(std::min(span + dilation - 1, length - 1))),
      builder.constant(length - 1));
  Value overlap = builder.land(
      builder.land(builder.le(outerStart, j.high), builder.le(j.low, outerEnd)),
      builder
          .congruent(builder.sub(p.low, j.high), builder.sub(p.high, j.low), dilation,
                     builder.constant(0))
          .may);
  return {builder.select(builder.eq(p.low, p.high), met, overlap), must};
}

// The product of the axes' classes over the box around the tiles' points, where
// the tiles meet the grid.
TileClass NeighborhoodOp::buildTileClass(TileBuilder &builder) {
  SmallVector<GridAxis> axes = getAxes(*this);
  int64_t tokens = 1;
  for (const GridAxis &axis : axes)
    tokens *= axis.length;
  Value first = builder.constant(0), last = builder.constant(tokens - 1);
  TileClass result =
      builder.intersect(builder.inRange(builder.p0, builder.p1, first, last),
                        builder.inRange(builder.j0, builder.j1, first, last));

  GridWalker queries(builder, axes, builder.p0, builder.p1);
  GridWalker keys(builder, axes, builder.j0, builder.j1);
  for (const GridAxis &axis : axes) {
    AxisRange p = queries.next(axis), j = keys.next(axis);
    GridAxis cut = cutToLength(axis);
    TileClass kind = cut.dilation == 1 ? buildShifted(builder, cut.radius,
                                                      builder.constant(cut.length), p, j)
                                       : buildDilated(builder, cut, p, j);
    bool isLast = &axis == &axes.back();
    if (isLast && hasPeriodicClasses(axes) && !(p.isPoint() && j.isPoint())) {
      Value alike = builder.isStepOf(cut.dilation);
      TileClass inSteps = buildInSteps(builder, cut, p, j);
      kind = {builder.select(alike, inSteps.may, kind.may),
              builder.select(alike, inSteps.must, kind.must)};
    }
    result = builder.intersect(result, kind);
  }
  return result;
}

int64_t NeighborhoodOp::getPeriod() {
  SmallVector<GridAxis> axes = getAxes(*this);
  return hasPeriodicClasses(axes) ? axes.back().dilation : 1;
}
