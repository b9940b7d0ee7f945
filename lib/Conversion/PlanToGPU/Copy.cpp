//===- Copy.cpp - rows of Q, K and V into shared memory -------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KeyLists.h"
#include "sparse_attn/gpu_abi.h"

using namespace mlir;
using namespace sparse_attn;

static constexpr int64_t kChunk = 16; // bytes that one thread copies at once

/// Elements of a row that is not aligned, put together to a chunk.
static void copyElements(GPUBuilder &b, const GPUContext &context, const CopiedRows &rows,
                         Value row, Value exists, Value chunk, Value target) {
  OpBuilder &builder = b.builder;
  int64_t size = context.shape.elementBytes, count = kChunk / size;
  Type word = builder.getIntegerType(size * 8);
  Value first = b.mul(chunk, count);
  Values elements;
  for (int64_t i = 0; i < count; ++i) {
    Value column = b.add(first, b.i32(i));
    Value meant = b.land(exists, b.lt(column, b.i32(rows.dim)));
    // Some element that exists is read whether it is meant or not.
    Value at = b.mul(b.min(column, b.i32(rows.dim - 1)), size);
    Value element = b.loadAt(word, row, at, size);
    elements.push_back(b.select(meant, element, b.zero(word)));
  }
  Value bytes =
      vector::FromElementsOp::create(builder, b.loc, b.vectorType(count, word), elements);
  b.storeAt(bytes, target, b.i32(0), kChunk);
}

/// Where a chunk of a row goes. Warpgroups read rows of 128 bytes, panel by panel, whose
/// chunks are exchanged by the number of the row: the 128-byte swizzle of wgmma and TMA.
static Value placeOf(GPUBuilder &b, const GPUContext &context, const CopiedRows &rows,
                     Value row, Value chunk) {
  if (!context.shape.warpgroups)
    return b.add(b.mul(row, rows.pitch), b.mul(chunk, kChunk));
  int64_t perPanel = rows.pitch / kChunk;
  Value panel = b.mul(b.divU(chunk, perPanel), rows.count * rows.pitch);
  Value column = b.bxor(b.remU(chunk, perPanel), b.remU(row, perPanel));
  return b.add(panel, b.add(b.mul(row, rows.pitch), b.mul(column, kChunk)));
}

void sparse_attn::buildCopy(GPUBuilder &b, const GPUContext &context,
                            const GPUFrame &frame, const CopiedRows &rows,
                            function_ref<std::pair<Value, Value>(Value)> rowOf) {
  int64_t perRow = rows.paddedDim * context.shape.elementBytes / kChunk;
  int64_t chunks = rows.count * perRow, threads = context.shape.copyThreads;
  int64_t rowBytes = rows.dim * context.shape.elementBytes;
  auto copyChunk = [&](Value inTile, Value chunk, bool async) {
    auto [row, exists] = rowOf(inTile);
    Value at = placeOf(b, context, rows, inTile, chunk);
    Value target = b.offset(frame.shared, b.add(at, rows.at));
    if (!async)
      return copyElements(b, context, rows, row, exists, chunk, target);
    Value left = b.sub(b.i32(rowBytes), b.mul(chunk, kChunk));
    Value bytes = b.min(b.max(left, b.i32(0)), b.i32(kChunk));
    // Where nothing is read the address still has to be one.
    Value column = b.select(b.gt(left, b.i32(0)), b.mul(chunk, kChunk), b.i32(0));
    b.copyAsync(target, b.offset(row, column), b.select(exists, bytes, b.i32(0)));
  };
  auto copyAll = [&](bool async) {
    // A producer has few registers for addresses, and nothing else to do.
    if (context.shape.warpgroups) {
      b.loop(b.toIndex(frame.thread), b.index(chunks), threads, [&](Value index) {
        Value number = b.toI32(index);
        copyChunk(b.divU(number, perRow), b.remU(number, perRow), async);
      });
      return;
    }
    // A thread has the same column of several rows, where that comes out even.
    if (threads % perRow == 0 && chunks % threads == 0) {
      Value first = b.divU(frame.thread, perRow), chunk = b.remU(frame.thread, perRow);
      for (int64_t row = 0; row < rows.count; row += threads / perRow)
        copyChunk(b.add(first, row), chunk, async);
      return;
    }
    for (int64_t first = 0; first < chunks; first += threads) {
      Value number = b.add(frame.thread, first);
      auto copy = [&] {
        copyChunk(b.divU(number, perRow), b.remU(number, perRow), async);
      };
      if (first + threads <= chunks)
        copy();
      else
        b.branch(b.lt(number, b.i32(chunks)), copy);
    }
  };
  Value aligned = b.ne(b.band(frame.aligned, b.i32(rows.alignedBit)), b.i32(0));
  b.branch(aligned, [&] { copyAll(true); }, [&] { copyAll(false); });
}

GPUTensor::GPUTensor(GPUBuilder &b, const GPUFrame &frame, int32_t id,
                     int64_t elementBytes) {
  Value view = b.viewPointer(frame.values, id);
  data = b.toGlobal(b.pointerField(view, offsetof(sa_view, data)));
  Type i64 = b.builder.getI64Type();
  Value size = b.toI64(b.i32(elementBytes));
  for (int64_t axis = 0; axis < 3; ++axis)
    strides[axis] = b.mul(b.field(view, offsetof(sa_view, stride) + 8 * axis, i64), size);
}

Value GPUTensor::row(GPUBuilder &b, Value batch, Value head, Value index) const {
  Value at = b.mul(b.toI64(batch), strides[0]);
  at = b.add(at, b.mul(b.toI64(head), strides[1]));
  return b.offset(data, b.add(at, b.mul(b.toI64(index), strides[2])));
}

void sparse_attn::buildCopyQueries(GPUBuilder &b, const GPUContext &context,
                                   const GPUFrame &frame, Value at) {
  const GPUShape &shape = context.shape;
  GPUTensor tensor(b, frame, context.ids.id(context.plan.getQ()), shape.elementBytes);
  CopiedRows rows = {shape.headDim,   shape.paddedHeadDim, shape.rows, shape.pitch, at,
                     SA_GPU_ALIGNED_Q};
  buildCopy(b, context, frame, rows, [&](Value number) {
    GPURow row = frame.rowOf(b, number);
    return std::pair(tensor.row(b, frame.batch, row.head, row.index), row.inTile);
  });
}

/// The keys of `tile`, rows of the tensor `id`.
static void copyTile(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                     const CopiedRows &rows, int32_t id, Value tile) {
  GPUTensor tensor(b, frame, id, context.shape.elementBytes);
  if (context.shape.listed) {
    KeyLists lists(b, context, frame);
    buildCopy(b, context, frame, rows, [&](Value number) {
      Value key = lists.keyAt(b.add(tile, number)), none = b.i32(0);
      return std::pair(tensor.row(b, frame.batch, frame.kvHead, b.max(key, none)),
                       b.ge(key, none));
    });
    return;
  }
  Value first = frame.firstKeyOf(b, context.shape, tile);
  Value last = frame.lastKey(b);
  buildCopy(b, context, frame, rows, [&](Value number) {
    Value key = b.add(first, b.mul(number, frame.step));
    Value existing = b.min(key, last);
    return std::pair(tensor.row(b, frame.batch, frame.kvHead, existing), b.le(key, last));
  });
}

void sparse_attn::buildCopyKeys(GPUBuilder &b, const GPUContext &context,
                                const GPUFrame &frame, Value tile, Value at) {
  const GPUShape &shape = context.shape;
  copyTile(
      b, context, frame,
      {shape.headDim, shape.paddedHeadDim, shape.keys, shape.pitch, at, SA_GPU_ALIGNED_K},
      context.ids.id(context.plan.getK()), tile);
}

void sparse_attn::buildCopyValues(GPUBuilder &b, const GPUContext &context,
                                  const GPUFrame &frame, Value tile, Value at) {
  const GPUShape &shape = context.shape;
  copyTile(b, context, frame,
           {shape.valueDim, shape.paddedValueDim, shape.keys, shape.valuePitch, at,
            SA_GPU_ALIGNED_V},
           context.ids.id(context.plan.getV()), tile);
}
