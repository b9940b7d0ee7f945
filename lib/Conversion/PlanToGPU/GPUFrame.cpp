//===- GPUFrame.cpp - what a block works at -------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttendGPU.h"
#include "sparse_attn/gpu_abi.h"

using namespace mlir;
using namespace sparse_attn;

GPUFrame::GPUFrame(GPUBuilder &b, const GPUContext &context, Value args, Value shared,
                   Value number, Value thread)
    : number(number), args(args), shared(shared), thread(thread) {
  Type i32 = b.builder.getI32Type();
  auto argument = [&](size_t offset) { return b.field(args, offset, i32); };
  heads = argument(offsetof(sa_gpu_args, heads));
  group = argument(offsetof(sa_gpu_args, group));
  stack = argument(offsetof(sa_gpu_args, stack));
  // A mask without a period is never walked in steps.
  hasSteps = context.plan.getPeriod() > 1;
  step = hasSteps ? argument(offsetof(sa_gpu_args, step)) : b.i32(1);
  classTiles = hasSteps ? argument(offsetof(sa_gpu_args, class_tiles)) : Value();
  aligned = argument(offsetof(sa_gpu_args, aligned));
  bitRows = argument(offsetof(sa_gpu_args, bit_rows));
  values = b.offset(args, b.i32(offsetof(sa_gpu_args, values)));

  /// Fields of element `index` of an array in the device's memory.
  auto element = [&](size_t array, Value index, size_t size) {
    Value base = b.toGlobal(b.pointerField(args, array));
    return [&b, i32, pointer = b.element(base, index, size)](size_t field) {
      return b.loadAt(i32, pointer, b.i32(field), 4);
    };
  };
  auto item = element(offsetof(sa_gpu_args, items), number, sizeof(sa_gpu_item));
  batch = item(offsetof(sa_gpu_item, b));
  head = item(offsetof(sa_gpu_item, h));
  firstRow = item(offsetof(sa_gpu_item, first_row));
  rowCount = item(offsetof(sa_gpu_item, rows));
  first = item(offsetof(sa_gpu_item, first));
  end = item(offsetof(sa_gpu_item, end));
  slot = item(offsetof(sa_gpu_item, slot));
  hops = item(offsetof(sa_gpu_item, hops));
  kvHead = b.divU(head, group);
  auto entry = element(offsetof(sa_gpu_args, entries), batch, sizeof(sa_gpu_entry));
  keys = entry(offsetof(sa_gpu_entry, keys));
  tokens = entry(offsetof(sa_gpu_entry, tokens));
  firstPosition = entry(offsetof(sa_gpu_entry, first_position));

  lane = b.remU(thread, kWarp);
  warp = b.divU(thread, kWarp);
  quad = b.divU(lane, 4);
  member = b.remU(lane, 4);
}

Value GPUFrame::loadRows(GPUBuilder &b) const {
  Value entries = b.toGlobal(b.pointerField(args, offsetof(sa_gpu_args, entries)));
  Value entry = b.element(entries, batch, sizeof(sa_gpu_entry));
  return b.loadAt(b.builder.getI32Type(), entry, b.i32(offsetof(sa_gpu_entry, rows)), 4);
}

GPURow GPUFrame::rowOf(GPUBuilder &b, Value number) const {
  GPURow row;
  row.number = number;
  row.inTile = b.lt(number, rowCount);
  Value existing = b.min(number, b.sub(rowCount, b.i32(1)));
  row.query = b.divU(existing, stack);
  Value other = b.remU(existing, stack);
  row.head = b.add(head, other);
  row.index = b.add(firstRow, b.mul(row.query, step));
  row.position = b.add(firstPosition, row.index);
  return row;
}

GPURow GPUFrame::fragmentRow(GPUBuilder &b, const GPUShape &shape, int64_t tile,
                             int64_t half) const {
  if (!foundRows.empty())
    return foundRows[tile][half];
  Value first = b.mul(warp, 16 * shape.rowTiles);
  return rowOf(b, b.add(b.add(first, quad), b.i32(tile * 16 + half * 8)));
}

void GPUFrame::findRows(GPUBuilder &b, const GPUShape &shape) {
  SmallVector<std::array<GPURow, 2>> rows;
  for (int64_t tile = 0; tile < shape.rowTiles; ++tile)
    rows.push_back({fragmentRow(b, shape, tile, 0), fragmentRow(b, shape, tile, 1)});
  foundRows = rows;
}

Value GPUFrame::residueOf(GPUBuilder &b, Value tile) const {
  return hasSteps ? b.divU(tile, classTiles) : b.i32(0);
}

Value GPUFrame::firstKeyOf(GPUBuilder &b, const GPUShape &shape, Value tile) const {
  if (!hasSteps)
    return b.mul(tile, shape.keys);
  Value residue = residueOf(b, tile);
  Value number = b.remU(tile, classTiles);
  return b.add(residue, b.mul(b.mul(number, shape.keys), step));
}
