//===- Merge.cpp - states over disjoint keys become one on a GPU ----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   m = max_k LSE_k     w_k = exp(LSE_k - m)     l = sum_k w_k
//   LSE = m + log l     O = sum_k w_k O_k / l
//
// as in runtime/src/merge.c: a state with LSE_k = -inf is neutral, one beside empty ones
// is returned as it is, and a NaN reaches the row. A warp takes a row, a lane every 32nd
// column.
//
//===----------------------------------------------------------------------===//

#include "Merge.h"
#include "AttendGPU.h"
#include "sparse_attn/gpu_abi.h"

using namespace mlir;
using namespace sparse_attn;

namespace {
/// A row of one head; all of index type.
struct MergeRow {
  Value b, h, i;

  SmallVector<Value> out(Value column) const { return {b, h, i, column}; }
  SmallVector<Value> lse(GPUBuilder &builder) const {
    return {builder.index(0), b, h, i};
  }
};

class Merger {
public:
  Merger(GPUBuilder &b, MergeOp op, const KernelValues &ids, Value values)
      : b(b), op(op), ids(ids), values(values) {}
  void build();

private:
  Value view(Value tensor) {
    Type element = cast<RankedTensorType>(tensor.getType()).getElementType();
    return b.viewOf(values, ids.id(tensor), element);
  }
  void buildRow(const MergeRow &row);
  void buildColumn(const MergeRow &row, Value column, ArrayRef<Value> weights,
                   Value inverse);

  GPUBuilder &b;
  MergeOp op;
  const KernelValues &ids;
  Value values;
};
} // namespace

void Merger::buildColumn(const MergeRow &row, Value column, ArrayRef<Value> weights,
                         Value inverse) {
  Value zero = b.f32(0), sum = zero;
  for (auto [out, weight] : llvm::zip_equal(op.getOuts(), weights)) {
    Value part = b.loadReal(view(out), row.out(column));
    // What a state without weight holds does not matter, be it infinite.
    Value counts = b.ne(b.bitcast(weight, b.builder.getI32Type()), b.i32(0));
    sum = b.select(counts, b.fma(weight, part, sum), sum);
  }
  sum = b.mulF(sum, inverse);
  Type element = cast<RankedTensorType>(op.getOut().getType()).getElementType();
  if (!element.isF32())
    sum = arith::TruncFOp::create(b.builder, b.loc, element, sum);
  b.store(sum, view(op.getOut()), row.out(column));
}

void Merger::buildRow(const MergeRow &row) {
  Values lses;
  Value maximum = b.f32(-kInfinity), sum = b.f32(0);
  for (Value lse : op.getLses()) {
    lses.push_back(b.load(view(lse), row.lse(b)));
    maximum = b.maxF(maximum, lses.back());
  }
  Value shift = getShift(b, maximum);
  Values weights;
  for (Value lse : lses) {
    weights.push_back(b.power2(b.mulF(b.subF(lse, shift), b.f32(kLog2E))));
    sum = b.addF(sum, weights.back());
  }
  Value empty = b.eqF(sum, b.f32(0));
  Value inverse = arith::DivFOp::create(b.builder, b.loc, b.f32(1), sum);
  inverse = b.select(empty, b.f32(0), inverse);
  Value lane = b.remU(b.thread(), kWarp);
  int64_t columns = cast<RankedTensorType>(op.getOut().getType()).getDimSize(3);
  b.loop(b.toIndex(lane), b.index(columns), kWarp,
         [&](Value column) { buildColumn(row, column, weights, inverse); });
  b.branch(b.eq(lane, b.i32(0)), [&] {
    Value lse = b.fma(b.log2(sum), b.f32(kLn2), shift);
    lse = b.select(empty, b.f32(-kInfinity), lse);
    b.store(lse, view(op.getLse()), row.lse(b));
  });
}

void Merger::build() {
  Value out = b.viewPointer(values, ids.id(op.getOut()));
  auto size = [&](int64_t axis) {
    return b.indexField(out, offsetof(sa_view, size) + sizeof(int64_t) * axis);
  };
  Value heads = size(1), queries = size(2);
  Value perBatch = b.mul(heads, queries);
  Value warp = b.add(b.mul(b.block(), kMergeRows), b.divU(b.thread(), kWarp));
  Value number = b.toIndex(warp);
  b.branch(b.lt(number, b.mul(size(0), perBatch)), [&] {
    MergeRow row;
    row.b = b.div(number, perBatch);
    Value rest = b.sub(number, b.mul(row.b, perBatch));
    row.h = b.div(rest, queries);
    row.i = b.sub(rest, b.mul(row.h, queries));
    buildRow(row);
  });
}

void sparse_attn::buildMerge(GPUBuilder &b, MergeOp op, const KernelValues &ids,
                             Value args) {
  Value values = b.offset(args, b.i32(offsetof(sa_gpu_args, values)));
  Merger(b, op, ids, values).build();
}
