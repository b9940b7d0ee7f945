//===- Means.cpp - means of blocks of keys or values on a GPU -------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// As runtime/src/means.c: sums in double, in the order of the tokens, and one rounding,
// so that both make the same means. Neighbouring threads have neighbouring columns of a
// row.
//
//===----------------------------------------------------------------------===//

#include "Means.h"
#include "sparse_attn/gpu_abi.h"

using namespace mlir;
using namespace sparse_attn;

/// Tokens of batch entry `batch`; all of index type.
static Value getTokens(GPUBuilder &b, Value args, Value batch) {
  Value entries = b.toGlobal(b.pointerField(args, offsetof(sa_gpu_args, entries)));
  Value entry = b.element(entries, b.toI32(batch), sizeof(sa_gpu_entry));
  return b.toIndex(b.loadAt(b.builder.getI32Type(), entry,
                            b.i32(offsetof(sa_gpu_entry, tokens)), sizeof(int32_t)));
}

void sparse_attn::buildMeans(GPUBuilder &b, PoolOp op, const KernelValues &ids,
                             Value args) {
  auto pooled = cast<PooledType>(op.getResult().getType());
  Type element = cast<RankedTensorType>(op.getSource().getType()).getElementType();
  Type f64 = b.builder.getF64Type();
  int64_t block = pooled.getBlock();
  Value values = b.offset(args, b.i32(offsetof(sa_gpu_args, values)));
  int32_t result = ids.id(op.getResult());
  Value size = b.viewPointer(values, result);
  auto sizeOf = [&](int64_t axis) {
    return b.indexField(size, offsetof(sa_view, size) + sizeof(int64_t) * axis);
  };
  auto split = [&](Value &number, Value count) {
    Value whole = b.div(number, count);
    Value rest = b.sub(number, b.mul(whole, count));
    number = whole;
    return rest;
  };

  Value number =
      b.add(b.mul(b.toIndex(b.block()), b.index(kMeansThreads)), b.toIndex(b.thread()));
  Value column = split(number, sizeOf(3)), mean = split(number, sizeOf(2));
  Value head = split(number, sizeOf(1)), batch = number;
  b.branch(b.lt(batch, sizeOf(0)), [&] {
    Value first = b.mul(mean, b.index(block));
    Value end = b.min(b.add(first, b.index(block)), getTokens(b, args, batch));
    b.branch(b.lt(first, end), [&] {
      Value tokens = b.viewOf(values, ids.id(op.getSource()), element);
      Value zero =
          arith::ConstantOp::create(b.builder, b.loc, b.builder.getF64FloatAttr(0));
      Value sum = b.loop(first, end, 1, {zero}, [&](Value token, ValueRange sum) {
        Value own = b.loadReal(tokens, {batch, head, token, column});
        own = arith::ExtFOp::create(b.builder, b.loc, f64, own);
        return GPUBuilder::Values{arith::AddFOp::create(b.builder, b.loc, sum[0], own)};
      })[0];
      Value count =
          arith::SIToFPOp::create(b.builder, b.loc, f64, b.toI32(b.sub(end, first)));
      sum = arith::DivFOp::create(b.builder, b.loc, sum, count);
      sum = arith::TruncFOp::create(b.builder, b.loc, element, sum);
      b.store(sum, b.viewOf(values, result, element), {batch, head, mean, column});
    });
  });
}
