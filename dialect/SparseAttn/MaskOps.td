//===- MaskOps.td - the algebra and the patterns ------------*- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_MASK_OPS_TD
#define SPARSE_ATTN_MASK_OPS_TD

include "dialect/SparseAttn/SparseAttnBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/CommonAttrConstraints.td"

//===--- Algebra ----------------------------------------------------------===//

// An op that combines masks: the result is sampled when an operand is.
class SparseAttn_AlgebraOp<string mnemonic, list<Trait> traits = []>
    : SparseAttn_Op<mnemonic, !listconcat([Pure, InferTypeOpAdaptor,
        DeclareOpInterfaceMethods<MaskOpInterface, ["evaluate", "buildTileClass"]>], traits)> {
  let results = (outs SparseAttn_MaskType:$result);
}

def SparseAttn_AllOp : SparseAttn_PatternOp<"all"> {
  let summary = "keep every pair";
  let assemblyFormat = "attr-dict";
}

def SparseAttn_NoneOp : SparseAttn_PatternOp<"none"> {
  let summary = "keep no pair";
  let assemblyFormat = "attr-dict";
}

def SparseAttn_UnionOp : SparseAttn_AlgebraOp<"union", [Commutative]> {
  let summary = "keep a pair that some operand keeps";
  let arguments = (ins Variadic<SparseAttn_MaskType>:$masks);
  let assemblyFormat = "$masks custom<MaskTypes>(ref($masks), type($masks)) attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_IntersectOp : SparseAttn_AlgebraOp<"intersect", [Commutative]> {
  let summary = "keep a pair that every operand keeps";
  let arguments = (ins Variadic<SparseAttn_MaskType>:$masks);
  let assemblyFormat = "$masks custom<MaskTypes>(ref($masks), type($masks)) attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_DifferenceOp : SparseAttn_AlgebraOp<"difference"> {
  let summary = "keep what the first operand keeps and the second does not";
  let arguments = (ins SparseAttn_MaskType:$lhs, SparseAttn_MaskType:$rhs);
  let assemblyFormat = "$lhs `,` $rhs custom<MaskTypePair>(type($lhs), type($rhs)) attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_ComplementOp : SparseAttn_AlgebraOp<"complement"> {
  let summary = "keep what the operand does not";
  let arguments = (ins SparseAttn_Certain:$mask);
  let assemblyFormat = "$mask attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_PerHeadOp : SparseAttn_Op<"per_head", [Pure, InferTypeOpAdaptor,
    DeclareOpInterfaceMethods<MaskOpInterface,
        ["evaluate", "buildTileClass", "isPerHead", "getPlanChecks"]>]> {
  let summary = "a mask for each head";
  let arguments = (ins Variadic<SparseAttn_MaskType>:$masks, DenseI64ArrayAttr:$table);
  let results = (outs SparseAttn_MaskType:$result);
  let assemblyFormat = "$masks `table` `=` $table custom<MaskTypes>(ref($masks), type($masks)) attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

//===--- Patterns of the position -----------------------------------------===//

def SparseAttn_CausalOp : SparseAttn_PatternOp<"causal"> {
  let summary = "keep keys at or before the query";
  let assemblyFormat = "attr-dict";
}

def SparseAttn_WindowOp : SparseAttn_PatternOp<"window"> {
  let summary = "keep keys at most `left` before and `right` after the query";
  let arguments = (ins OptionalAttr<I64Attr>:$left, OptionalAttr<I64Attr>:$right);
  let assemblyFormat = "(`left` `=` $left^)? (`right` `=` $right^)? attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_DilatedOp : SparseAttn_PatternOp<"dilated"> {
  let summary = "keep every `rate`-th key of a window, counted from the query";
  let arguments = (ins OptionalAttr<I64Attr>:$left, OptionalAttr<I64Attr>:$right, I64Attr:$rate);
  let assemblyFormat = "(`left` `=` $left^)? (`right` `=` $right^)? `rate` `=` $rate attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_SinkOp : SparseAttn_PatternOp<"sink"> {
  let summary = "keep the first `size` keys";
  let arguments = (ins I64Attr:$size);
  let assemblyFormat = "`size` `=` $size attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_PrefixOp : SparseAttn_PatternOp<"prefix",
    ["getOwnBinding", "isPerBatch", "getPlanChecks", "getTensorSpecs"]> {
  let summary = "keep the first `length[b]` keys";
  let arguments = (ins 1DTensorOf<[I32]>:$length);
  let assemblyFormat = "$length `:` type($length) attr-dict";
}

def SparseAttn_GlobalOp : SparseAttn_PatternOp<"global",
    ["getOwnBinding", "isPerBatch", "getPlanChecks", "getTensorSpecs"]> {
  let summary = "keep a pair where the query or the key is global";
  let arguments = (ins OptionalAttr<DenseI64ArrayAttr>:$positions, OptionalAttr<I64Attr>:$stride,
                       Optional<2DTensorOf<[I32]>>:$index);
  let assemblyFormat = [{
    (`positions` `=` $positions^)? (`stride` `=` $stride^)?
    (`index` `(` $index^ `:` type($index) `)`)? attr-dict
  }];
  let hasVerifier = 1;
}

def SparseAttn_StridedOp : SparseAttn_PatternOp<"strided"> {
  let summary = "keep keys at a multiple of `stride` from the query";
  let arguments = (ins I64Attr:$stride);
  let assemblyFormat = "`stride` `=` $stride attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_FixedOp : SparseAttn_PatternOp<"fixed"> {
  let summary = "keep the last `columns` keys of every `stride`";
  let arguments = (ins I64Attr:$stride, I64Attr:$columns);
  let assemblyFormat = "`stride` `=` $stride `columns` `=` $columns attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_BlockDiagonalOp : SparseAttn_PatternOp<"block_diagonal"> {
  let summary = "keep keys of the query's block of `size` positions";
  let arguments = (ins I64Attr:$size);
  let assemblyFormat = "`size` `=` $size attr-dict";
  let hasVerifier = 1;
}

def SparseAttn_DilatedSegmentOp : SparseAttn_PatternOp<"dilated_segment", ["isPerHead"]> {
  let summary = "keep every `rate`-th pair of a segment, shifted by head (LongNet)";
  let arguments = (ins I64Attr:$segment, I64Attr:$rate, OptionalAttr<I64Attr>:$offset);
  let assemblyFormat = "`segment` `=` $segment `rate` `=` $rate (`offset` `=` $offset^)? attr-dict";
  let hasVerifier = 1;
}

def SparseAttn_NeighborhoodOp : SparseAttn_PatternOp<"neighborhood"> {
  let summary = "keep neighbours on a grid, windows shifted inside it (NATTEN)";
  let arguments = (ins DenseI64ArrayAttr:$grid, DenseI64ArrayAttr:$radius,
                       OptionalAttr<DenseI64ArrayAttr>:$dilation);
  let assemblyFormat = "`grid` `=` $grid `radius` `=` $radius (`dilation` `=` $dilation^)? attr-dict";
  let hasVerifier = 1;
}

def SparseAttn_CustomOp : SparseAttn_PatternOp<"custom",
    ["getOwnBinding", "isPerHead", "isPerBatch"], [RecursiveMemoryEffects]> {
  let summary = "keep the pairs for which a region yields true";
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$body attr-dict";
  let hasRegionVerifier = 1;
}

//===--- Patterns of the layout -------------------------------------------===//

def SparseAttn_RandomBlocksOp : SparseAttn_PatternOp<"random_blocks",
    ["getOwnBinding", "isPerHead", "isPerBatch"]> {
  let summary = "keep `count` random key blocks for each query block (BigBird)";
  let arguments = (ins I64Attr:$block, I64Attr:$count, I64Attr:$seed);
  let assemblyFormat = "`block` `=` $block `count` `=` $count `seed` `=` $seed attr-dict";
  let hasVerifier = 1;
}

def SparseAttn_BlockMaskOp : SparseAttn_PatternOp<"block_mask",
    ["getOwnBinding", "isPerHead", "isPerBatch", "getPlanChecks", "getTensorSpecs"]> {
  let summary = "keep the blocks that block-sparse rows list";
  let arguments = (ins 3DTensorOf<[I32]>:$indptr, 3DTensorOf<[I32]>:$indices,
                       Optional<4DTensorOf<[I8]>>:$bits, I64Attr:$rows, I64Attr:$columns);
  let assemblyFormat = [{
    $indptr `,` $indices (`bits` `(` $bits^ `:` type($bits) `)`)?
    `block` `=` $rows `x` $columns `:` type($indptr) `,` type($indices) attr-dict
  }];
  let hasVerifier = 1;
}

def SparseAttn_SegmentsOp : SparseAttn_PatternOp<"segments",
    ["getOwnBinding", "isPerBatch", "getPlanChecks", "getTensorSpecs"]> {
  let summary = "keep keys of the query's segment (packed documents)";
  let arguments = (ins 2DTensorOf<[I32]>:$offsets);
  let assemblyFormat = "$offsets `:` type($offsets) attr-dict";
}

def SparseAttn_GraphHopOp : SparseAttn_PatternOp<"graph_hop",
    ["getOwnBinding", "isPerBatch", "getPlanChecks", "getPlanTable", "getTensorSpecs"]> {
  let summary = "keep keys whose node is at most `max_hops` edges away";
  let arguments = (ins 2DTensorOf<[I32]>:$offsets, 2DTensorOf<[I32]>:$chunk_node,
                       1DTensorOf<[I32]>:$indptr, 1DTensorOf<[I32]>:$indices,
                       OptionalAttr<I64Attr>:$max_hops,
                       DefaultValuedAttr<BoolAttr, "false">:$directed);
  let assemblyFormat = [{
    $offsets `,` $chunk_node `,` $indptr `,` $indices (`max_hops` `=` $max_hops^)?
    (`directed` `=` $directed^)?
    `:` type($offsets) `,` type($chunk_node) `,` type($indptr) `,` type($indices) attr-dict
  }];
  let hasVerifier = 1;
}

#endif // SPARSE_ATTN_MASK_OPS_TD
