//===- LayoutPatterns.cpp - patterns that layout operands describe ---------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// prefix, segments and block_mask. Their tile classes read the operands when a
// plan is created: a length in place, lists through the runtime's helpers.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/PatternSupport.h"

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// prefix
//===----------------------------------------------------------------------===//

double PrefixOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  return pair.j < evaluator.integer(getLength(), {pair.b});
}

TileClass PrefixOp::buildTileClass(TileBuilder &builder) {
  Value length = builder.load(getLength(), builder.b);
  return {builder.lt(builder.j0, length), builder.lt(builder.j1, length)};
}

KeyExtent PrefixOp::buildKeyExtent(TileBuilder &builder) {
  Value length = builder.load(getLength(), builder.b);
  return builder.alikeInRange({}, {}, length, length);
}

Binding PrefixOp::getOwnBinding() { return Binding::Plan; }
bool PrefixOp::isPerBatch() { return variesAlong(getLength(), 0); }

SmallVector<PlanCheck> PrefixOp::getPlanChecks() {
  // The length counts keys: 0 <= length <= N.
  return {PlanCheck{PlanCheck::Length, {getLength()}, {1}}};
}

ArrayRef<TensorSpec> PrefixOp::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {{"length", 32, false, false, 1, {Axis::Batch}}};
  return specs;
}

//===----------------------------------------------------------------------===//
// segments
//===----------------------------------------------------------------------===//

// The segment of every token below the last offset, -1 before the first one.
static std::vector<int64_t> computeSegments(Value offsets, int64_t b,
                                            Evaluator &evaluator) {
  std::vector<int64_t> segments;
  for (int64_t s = 0, count = evaluator.shape(offsets)[1] - 1; s < count; ++s) {
    int64_t begin = evaluator.integer(offsets, {b, s});
    int64_t end = evaluator.integer(offsets, {b, s + 1});
    if (static_cast<int64_t>(segments.size()) < end)
      segments.resize(end, -1);
    for (int64_t token = begin; token < end; ++token)
      segments[token] = s;
  }
  return segments;
}

double SegmentsOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  const auto &segments = evaluator.derived<std::vector<int64_t>>(
      *this, pair.b, [&] { return computeSegments(getOffsets(), pair.b, evaluator); });
  auto segmentOf = [&](int64_t token) {
    bool inside = token >= 0 && token < static_cast<int64_t>(segments.size());
    return inside ? segments[token] : -1;
  };
  return segmentOf(pair.p) >= 0 && segmentOf(pair.p) == segmentOf(pair.j);
}

TileClass SegmentsOp::buildTileClass(TileBuilder &builder) {
  return builder.callHelper("sa_classify_segments", {getOffsets(), builder.b, builder.p0,
                                                     builder.p1, builder.j0, builder.j1});
}

KeyExtent SegmentsOp::buildKeyExtent(TileBuilder &builder) {
  return builder.callExtentHelper(
      "sa_extent_segments", nullptr,
      {getOffsets(), builder.b, builder.p0, builder.p1, builder.j0, builder.j1});
}

Binding SegmentsOp::getOwnBinding() { return Binding::Plan; }
bool SegmentsOp::isPerBatch() { return variesAlong(getOffsets(), 0); }

SmallVector<PlanCheck> SegmentsOp::getPlanChecks() {
  return {PlanCheck{PlanCheck::Offsets, {getOffsets()}, {}}};
}

ArrayRef<TensorSpec> SegmentsOp::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {
      {"offsets", 32, false, false, 2, {Axis::BatchOrOne, Axis::Free}}};
  return specs;
}

//===----------------------------------------------------------------------===//
// block_mask
//===----------------------------------------------------------------------===//

LogicalResult BlockMaskOp::verify() {
  // (block_mask_c1) 1 <= rows < 2^30
  if (failed(
          verifyParameter(*this, "rows of a block", getRows(), 1,
                          "write the block as `block = R x C`, one position at least")))
    return failure();
  // (block_mask_c2) 1 <= columns < 2^30
  if (failed(verifyParameter(*this, "columns of a block", getColumns(), 1,
                             "write the block as `block = R x C`, one key at least")))
    return failure();
  // (block_mask_c3) bits[b, block, R, ceil(C / 8)]
  if (!getBits())
    return success();
  auto type = cast<ShapedType>(getBits().getType());
  int64_t rows = getRows(), bytes = llvm::divideCeil(getColumns(), 8);
  auto matches = [&](unsigned axis, int64_t size) {
    return type.isDynamicDim(axis) || type.getDimSize(axis) == size;
  };
  if (!matches(2, rows) || !matches(3, bytes))
    return emitOpError() << "bits must have shape [B or 1, blocks, " << rows << ", "
                         << bytes << "] for blocks of " << rows << " x " << getColumns()
                         << ", got " << type
                         << "; pack 8 keys to a byte, lowest bit first";
  return success();
}

// Axes of batch entries and heads broadcast where they have size 1.
static int64_t broadcast(Value tensor, unsigned axis, int64_t index,
                         Evaluator &evaluator) {
  return evaluator.shape(tensor)[axis] == 1 ? 0 : index;
}

double BlockMaskOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  int64_t rows = getRows(), columns = getColumns();
  int64_t row = llvm::divideFloorSigned(pair.p, rows), column = pair.j / columns;
  if (row < 0 || row + 1 >= evaluator.shape(getIndptr())[2])
    return 0;
  auto load = [&](Value tensor, int64_t index) {
    return evaluator.integer(tensor, {broadcast(tensor, 0, pair.b, evaluator),
                                      broadcast(tensor, 1, pair.h, evaluator), index});
  };
  int64_t begin = load(getIndptr(), row), end = load(getIndptr(), row + 1);
  for (int64_t block = begin; block < end; ++block) {
    if (load(getIndices(), block) != column)
      continue;
    if (!getBits())
      return 1;
    int64_t key = pair.j % columns;
    int64_t b = broadcast(getBits(), 0, pair.b, evaluator);
    int64_t byte = evaluator.integer(getBits(), {b, block, pair.p % rows, key / 8});
    return byte >> (key % 8) & 1;
  }
  return 0;
}

static SmallVector<Value> getHelperArguments(BlockMaskOp op, TileBuilder &builder) {
  return {op.getIndptr(),
          op.getIndices(),
          op.getBits(),
          builder.constant(op.getRows()),
          builder.constant(op.getColumns()),
          builder.b,
          builder.h,
          builder.p0,
          builder.p1,
          builder.j0,
          builder.j1};
}

TileClass BlockMaskOp::buildTileClass(TileBuilder &builder) {
  return builder.callHelper("sa_classify_block_mask", getHelperArguments(*this, builder));
}

KeyExtent BlockMaskOp::buildKeyExtent(TileBuilder &builder) {
  return builder.callExtentHelper("sa_extent_block_mask", nullptr,
                                  getHelperArguments(*this, builder));
}

Binding BlockMaskOp::getOwnBinding() { return Binding::Plan; }

bool BlockMaskOp::isPerHead() {
  return variesAlong(getIndptr(), 1) || variesAlong(getIndices(), 1);
}

bool BlockMaskOp::isPerBatch() {
  return variesAlong(getIndptr(), 0) || variesAlong(getIndices(), 0) ||
         (getBits() && variesAlong(getBits(), 0));
}

SmallVector<PlanCheck> BlockMaskOp::getPlanChecks() {
  return {
      PlanCheck{PlanCheck::Bsr,
                {getIndptr(), getIndices(), getBits()},
                {static_cast<int64_t>(getRows()), static_cast<int64_t>(getColumns())}}};
}

ArrayRef<TensorSpec> BlockMaskOp::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {
      {"indptr", 32, false, false, 3, {Axis::BatchOrOne, Axis::HeadsOrOne, Axis::Free}},
      {"indices", 32, false, false, 3, {Axis::BatchOrOne, Axis::HeadsOrOne, Axis::Free}},
      {"bits",
       8,
       false,
       true,
       4,
       {Axis::BatchOrOne, Axis::Free, Axis::Free, Axis::Free}}};
  return specs;
}
