//===- Halves.cpp - an attention as two over disjoint keys ----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Halves.h"

using namespace mlir;
using namespace sparse_attn;

static AttentionOp buildHalf(AttentionOp op, const Half &half, Value sinks,
                             OpBuilder &builder) {
  Location loc = NameLoc::get(builder.getStringAttr(half.name), op.getLoc());
  Type out = cast<RankedTensorType>(op.getOut().getType()).clone(builder.getF32Type());
  return AttentionOp::create(builder, loc, out, op.getLse().getType(), op.getQ(),
                             op.getK(), op.getV(), half.mask, op.getKvLen(), op.getQLen(),
                             op.getQOffset(), sinks, op.getModifiers(),
                             op.getScaleAttr());
}

MergeOp sparse_attn::buildHalves(AttentionOp op, const Half &first, const Half &second,
                                 OpBuilder &builder) {
  AttentionOp one = buildHalf(op, first, op.getSinks(), builder);
  AttentionOp other = buildHalf(op, second, /*sinks=*/nullptr, builder);
  return MergeOp::create(builder, op.getLoc(), op.getOut().getType(),
                         op.getLse().getType(), ValueRange{one.getOut(), other.getOut()},
                         ValueRange{one.getLse(), other.getLse()});
}
