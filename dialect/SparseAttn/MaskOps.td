//===- MaskOps.td - the mask algebra and custom masks --------*- tablegen -*-===//
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
  let description = [{
    ```
    keep(p, j)  <=>  true
    ```

    The neutral element of `intersect`. Attention with it is dense attention.

    ```
    j      0 1 2
    p = 0  x x x
    p = 1  x x x
    p = 2  x x x
    ```

    ```mlir
    %m = sparse_attn.all
    ```

    Constraints: none; there is no parameter.
  }];
  let assemblyFormat = "attr-dict";
}

def SparseAttn_NoneOp : SparseAttn_PatternOp<"none"> {
  let summary = "keep no pair";
  let description = [{
    ```
    keep(p, j)  <=>  false
    ```

    The neutral element of `union`. Every row of its attention is 0, with LSE
    -infinity.

    ```
    j      0 1 2
    p = 0  . . .
    p = 1  . . .
    p = 2  . . .
    ```

    ```mlir
    %m = sparse_attn.none
    ```

    Constraints: none; there is no parameter.
  }];
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

//===--- Custom -----------------------------------------------------------===//

def SparseAttn_CustomOp : SparseAttn_PatternOp<"custom",
    ["getOwnBinding", "isPerHead", "isPerBatch"], [RecursiveMemoryEffects]> {
  let summary = "keep the pairs for which a region yields true";
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$body attr-dict";
  let hasRegionVerifier = 1;
}

#endif // SPARSE_ATTN_MASK_OPS_TD
