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

    A tile is what the kernel's `block_plan.tile` says, else what `tile-rows` and
    `tile-keys` say, else the cheapest by the cost model of Analysis/TileCosts.h for
    the registers and caches that the other options describe.
  }];
  let options = [
    Option<"tileRows", "tile-rows", "int64_t", "0", "Query rows of a tile, 0: chosen">,
    Option<"tileKeys", "tile-keys", "int64_t", "0", "Keys of a tile, a multiple of 64, 0: chosen">,
    Option<"lanes", "lanes", "int64_t", "16", "f32 of a vector register">,
    Option<"registerRows", "register-rows", "int64_t", "8", "Rows of the products' register tile">,
    Option<"registerVectors", "register-vectors", "int64_t", "2", "Vectors of each such row">,
    Option<"bf16Dot", "bf16-dot", "bool", "false", "bf16 products take two elements for each lane">,
    Option<"l1", "l1", "int64_t", "32768", "Bytes of the first-level data cache">,
    Option<"l2", "l2", "int64_t", "1048576", "Bytes of the second-level cache">,
    Option<"l3", "l3", "int64_t", "33554432", "Bytes of the last-level cache">,
  ];
  let dependentDialects = ["::block_plan::BlockPlanDialect", "::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect", "::mlir::tensor::TensorDialect"];
}

#endif // SPARSE_ATTN_TRANSFORMS_PASSES_TD
