//===- @CAMEL@.cpp - TODO(you): the purpose @FILL@===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// TODO(you): the idea, and why it is correct.
//
//===----------------------------------------------------------------------===//

#include "dialect/BlockPlan/BlockPlan.h"
#include "sparse_attn/Transforms/Passes.h"

using namespace mlir;

namespace sparse_attn {
#define GEN_PASS_DEF_@UPPER@PASS
#include "sparse_attn/Transforms/Passes.h.inc"
} // namespace sparse_attn

//===----------------------------------------------------------------------===//
// Helpers: isX asks, getX looks up, buildX creates IR, computeX is pure
//===----------------------------------------------------------------------===//

/// Does the work on one attention; emits the reason where it must fail.
static LogicalResult @LOWER@(block_plan::AttentionOp op) {
  return op ? success() : failure();
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {
struct @CAMEL@Pass : sparse_attn::impl::@CAMEL@PassBase<@CAMEL@Pass> {
  void runOnOperation() override {
    WalkResult result = getOperation().walk([](block_plan::AttentionOp op) {
      return failed(@LOWER@(op)) ? WalkResult::interrupt() : WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure(); // the reason was emitted
  }
};
} // namespace
