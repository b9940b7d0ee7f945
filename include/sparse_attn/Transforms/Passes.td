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

def SplitUnionsPass : Pass<"split-unions", "::mlir::ModuleOp"> {
  let summary = "two ways for unions of masks with different periods";
  let description = [{
    A plan has one step between the rows and keys of a tile. Where a mask is the union
    of one with a period and of a local one, no step serves both: keys that are 128
    apart are dense for `strided(128)` and empty for a window. Attention over each half
    has its own step, and `merge` puts the states together:

    ```
    attention(near | far)  =  merge(attention(near), attention(far - near))
    ```

    `near` has the parts of the union with the smaller periods, `far` the others; the
    two are divided where the ratio of neighbouring periods is the largest. Parts under
    an intersection count: `causal & (window | strided)` is `causal & window | causal &
    strided`. The halves' states are f32, sinks count in the near half alone.

    Which way is faster depends on the shape: short sequences are faster as a whole.
    So both are kept, and `block_plan.choose` lets each plan take the cheaper one. A
    kernel's `block_plan.unions`, else the option `unions`, leaves only one of them.

    Unions stay as they are where keys have to be neighbours in any case (pooled keys,
    hop distances, `bias`), and where they are sampled: probabilities of a union are
    not those of its parts. Masks under `per_head` and `complement` are not divided.
  }];
  let options = [
    Option<"unions", "unions", "::block_plan::Unions", "::block_plan::Unions::Choose",
           "What becomes of unions of different periods",
           [{::llvm::cl::values(
             clEnumValN(::block_plan::Unions::Choose, "choose", "each plan chooses"),
             clEnumValN(::block_plan::Unions::Whole, "whole", "they stay whole"),
             clEnumValN(::block_plan::Unions::Split, "split", "they are always split"))}]>,
  ];
  let dependentDialects = ["::block_plan::BlockPlanDialect"];
}

def SplitBindingsPass : Pass<"split-bindings", "::mlir::ModuleOp"> {
  let summary = "part what a run decides from what a plan knows";
  let description = [{
    An attention whose mask m holds a list, a selection or a draw becomes the merge of
    two: one over what m keeps whatever these keep, `sure = m[them := none]`, and one
    over `difference(m, sure)`. No pair counts twice. Where nothing is sure, or where
    m keeps less as more is selected, the attention stays.
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
