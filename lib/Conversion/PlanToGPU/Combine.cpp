//===- Combine.cpp - one result from the states of parts of the keys ------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block takes a query tile, a warp a row of it at a time, and a lane every 32nd column:
//
//   m' = max(m, m_k)    l' = l 2^(m - m') + l_k 2^(m_k - m')    O likewise
//
// in the order of the parts, whatever the number of blocks that made them.
//
//===----------------------------------------------------------------------===//

#include "AttendGPU.h"

using namespace mlir;
using namespace sparse_attn;

/// m, l and the lane's columns of O, of all parts.
static Values mergeParts(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                         Value row, const RowColumns &columns) {
  auto load = [&](Value pointer) {
    return b.loadAt(b.builder.getF32Type(), pointer, b.i32(0), sizeof(float));
  };
  Values init(columns.offsets.size() + 2, b.f32(0));
  init[0] = b.f32(-kInfinity);
  return b.loop(
      b.toIndex(frame.first), b.toIndex(frame.end), 1, init,
      [&](Value part, ValueRange merged) {
        StateRow state(b, context, frame, b.toI32(part), row);
        Value other = load(state.maximum);
        Value maximum = b.maxF(merged[0], other);
        Value shift = getShift(b, maximum);
        Value own = b.power2(b.subF(merged[0], shift));
        Value others = b.power2(b.subF(other, shift));
        auto merge = [&](Value mine, Value theirs) {
          return b.addF(buildDecay(b, mine, own), buildDecay(b, theirs, others));
        };
        Values next = {maximum, merge(merged[1], load(state.sum))};
        for (auto [offset, output] :
             llvm::zip_equal(columns.offsets, merged.drop_front(2))) {
          // Lanes past the last column repeat it, and do not write.
          Value column =
              b.min(b.add(columns.first, offset), b.i32(context.shape.valueDim - 1));
          Value theirs = b.element(state.outputs, column, sizeof(float));
          next.push_back(merge(output, load(theirs)));
        }
        return next;
      });
}

void sparse_attn::buildCombine(GPUBuilder &b, const GPUContext &context,
                               const GPUFrame &frame) {
  const GPUShape &shape = context.shape;
  b.loop(b.toIndex(frame.warp), b.toIndex(frame.rowCount), shape.warps, [&](Value index) {
    RowResult result;
    result.row = frame.rowOf(b, b.toI32(index));
    RowColumns columns = RowColumns::ofWarp(shape, frame);
    Values merged = mergeParts(b, context, frame, result.row.number, columns);
    result.maximum = merged[0], result.sum = merged[1];
    result.outputs.assign(merged.begin() + 2, merged.end());
    buildWriteResult(b, context, frame, result, b.eq(frame.lane, b.i32(0)), columns);
  });
}
