//===- ModifierOps.td - changes of the score ----------------*- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_MODIFIER_OPS_TD
#define SPARSE_ATTN_MODIFIER_OPS_TD

include "dialect/SparseAttn/SparseAttnBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/CommonAttrConstraints.td"

class SparseAttn_ModifierOp<string mnemonic, list<string> methods = [], list<Trait> traits = []>
    : SparseAttn_Op<mnemonic, !listconcat([Pure, DeclareOpInterfaceMethods<ModifierOpInterface,
        !listconcat(["evaluate", "buildScore"], methods)>], traits)> {
  let results = (outs SparseAttn_Modifier:$result);
}

def SparseAttn_SoftcapOp : SparseAttn_ModifierOp<"softcap"> {
  let summary = "s becomes c * tanh(s / c)";
  let arguments = (ins F64Attr:$cap);
  let assemblyFormat = "`cap` `=` $cap attr-dict";
  let hasVerifier = 1;
}

def SparseAttn_AlibiOp : SparseAttn_ModifierOp<"alibi", ["getTensorSpecs"]> {
  let summary = "s becomes s - slope[h] * |p - j|";
  let arguments = (ins 1DTensorOf<[F32]>:$slopes);
  let assemblyFormat = "$slopes `:` type($slopes) attr-dict";
}

def SparseAttn_BiasOp : SparseAttn_ModifierOp<"bias", ["getTensorSpecs"]> {
  let summary = "s becomes s + bias[b, h, i, j]";
  let arguments = (ins 4DTensorOf<[F32]>:$bias);
  let assemblyFormat = "$bias `:` type($bias) attr-dict";
}

def SparseAttn_RelativeBiasOp : SparseAttn_ModifierOp<"relative_bias", ["getTensorSpecs"]> {
  let summary = "s becomes s + table[h, distance]";
  let arguments = (ins 2DTensorOf<[F32]>:$table);
  let assemblyFormat = "$table `:` type($table) attr-dict";
  let hasVerifier = 1;
}

def SparseAttn_HopDecayOp : SparseAttn_ModifierOp<"hop_decay",
    ["excludes", "buildTileClass", "getPlanChecks", "getPlanTable", "getTensorSpecs"]> {
  let summary = "s becomes s - max(0, distance - max_hops) / temperature";
  let arguments = (ins 2DTensorOf<[I32]>:$offsets, 2DTensorOf<[I32]>:$chunk_node,
                       1DTensorOf<[I32]>:$indptr, 1DTensorOf<[I32]>:$indices,
                       I64Attr:$max_hops, F64Attr:$temperature,
                       DefaultValuedAttr<BoolAttr, "false">:$directed);
  let assemblyFormat = [{
    $offsets `,` $chunk_node `,` $indptr `,` $indices `max_hops` `=` $max_hops
    `temperature` `=` $temperature (`directed` `=` $directed^)?
    `:` type($offsets) `,` type($chunk_node) `,` type($indptr) `,` type($indices) attr-dict
  }];
  let hasVerifier = 1;
}

def SparseAttn_CustomScoreOp : SparseAttn_ModifierOp<"custom_score", [],
                                                     [RecursiveMemoryEffects]> {
  let summary = "s becomes what a region yields";
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$body attr-dict";
  let hasRegionVerifier = 1;
}

#endif // SPARSE_ATTN_MODIFIER_OPS_TD
