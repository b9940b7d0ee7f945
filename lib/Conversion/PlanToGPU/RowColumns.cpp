//===- RowColumns.cpp - a thread's columns of a row to memory -------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Addresses are one pointer and constants, which cost no registers. Pairs of columns go
// at once where the row is aligned to them.
//
//===----------------------------------------------------------------------===//

#include "AttendGPU.h"

using namespace mlir;
using namespace sparse_attn;

RowColumns RowColumns::ofFragments(GPUBuilder &b, const GPUShape &shape,
                                   const GPUFrame &frame, Value first,
                                   int64_t fragments) {
  int64_t largest = shape.paddedValueDim - 8 * fragments + 6;
  first = b.add(first, b.mul(frame.member, 2));
  RowColumns columns = {first, largest, {}, /*paired=*/true};
  for (int64_t fragment = 0; fragment < fragments; ++fragment)
    columns.offsets.append({8 * fragment, 8 * fragment + 1});
  return columns;
}

RowColumns RowColumns::ofWarp(const GPUShape &shape, const GPUFrame &frame) {
  RowColumns columns = {frame.lane, kWarp - 1, {}, /*paired=*/false};
  for (int64_t first = 0; first < shape.valueDim; first += kWarp)
    columns.offsets.push_back(first);
  return columns;
}

void sparse_attn::buildStoreColumns(GPUBuilder &b, const GPUContext &context,
                                    const RowColumns &columns, ArrayRef<Value> outputs,
                                    Value row, Type element) {
  int64_t bytes = element.getIntOrFloatBitWidth() / 8, dim = context.shape.valueDim;
  Value first = b.element(row, columns.first, bytes);
  auto storeAll = [&](int64_t count) {
    for (size_t i = 0; i < outputs.size(); i += count) {
      auto store = [&] {
        Value value = vector::FromElementsOp::create(
            b.builder, b.loc, b.vectorType(count), outputs.slice(i, count));
        if (!element.isF32())
          value = arith::TruncFOp::create(b.builder, b.loc, b.vectorType(count, element),
                                          value);
        b.storeAt(value, first, b.i32(columns.offsets[i] * bytes), count * bytes);
      };
      // Most columns exist for every thread.
      if (columns.largest + columns.offsets[i + count - 1] < dim)
        store();
      else
        b.branch(b.lt(b.add(columns.first, columns.offsets[i + count - 1]), b.i32(dim)),
                 store);
    }
  };
  if (!columns.paired || dim % 2)
    return storeAll(1);
  Value address = LLVM::PtrToIntOp::create(b.builder, b.loc, b.builder.getI64Type(), row);
  Value rest = b.band(address, b.toI64(b.i32(2 * bytes - 1)));
  b.branch(b.eq(rest, b.toI64(b.i32(0))), [&] { storeAll(2); }, [&] { storeAll(1); });
}
