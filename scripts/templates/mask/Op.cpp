//===- @CAMEL@.cpp - the pattern @SNAKE@ @FILL@===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// TODO(you): why the tile class below follows from the formula of the op.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/PatternSupport.h"

using namespace mlir;
using namespace sparse_attn;

LogicalResult @CAMEL@Op::verify() {
  // (@SNAKE@_c1) 0 <= size < 2^30
  return verifyParameter(*this, "size", getSize(), 0,
                         "use sparse_attn.none to keep no key");
}

// The meaning, one pair at a time, straight from docs/semantics.md.
double @CAMEL@Op::evaluate(const Pair &pair, Evaluator &) {
  return pair.j < static_cast<int64_t>(getSize());
}

// The meaning, one rectangle at a time: may is "some pair is kept", must is
// "every pair is kept". May without must is always legal, wrong never is; on a
// single pair the two agree.
TileClass @CAMEL@Op::buildTileClass(TileBuilder &builder) {
  Value size = builder.constant(getSize());
  return {builder.lt(builder.j0, size), builder.lt(builder.j1, size)};
}
