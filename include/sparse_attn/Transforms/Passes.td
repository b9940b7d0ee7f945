//===- Passes.td - transformations --------------------------*- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_TRANSFORMS_PASSES_TD
#define SPARSE_ATTN_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def WidenStatesPass : Pass<"widen-states", "::mlir::ModuleOp"> {
  let summary = "keep in f32 what is merged";
  let description = [{
    An out that a merge reads is f32, whatever type it has been given: rounded before
    and after the merge, the result would carry two roundings. Where it is returned
    too, a merge of it alone rounds it for that use.
  }];
}

def PlanBlocksPass : Pass<"plan-blocks", "::mlir::ModuleOp"> {
  let summary = "turn masks into block plans";
  let description = [{
    Replaces every `sparse_attn.attention` by a `block_plan.attention`: asks the
    mask for its tile class and its predicate, the score modifiers for their
    arithmetic, and both for what they need of their layout operands.
  }];
  let options = [
    Option<"tileRows", "tile-rows", "int64_t", "64", "Query rows of a tile">,
    Option<"tileKeys", "tile-keys", "int64_t", "128", "Keys of a tile, a multiple of 64">,
  ];
  let dependentDialects = ["::block_plan::BlockPlanDialect", "::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect", "::mlir::tensor::TensorDialect"];
}

#endif // SPARSE_ATTN_TRANSFORMS_PASSES_TD
