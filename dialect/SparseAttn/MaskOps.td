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
class SparseAttn_AlgebraOp<string mnemonic, list<Trait> traits = [], list<string> methods = []>
    : SparseAttn_Op<mnemonic, !listconcat([Pure, InferTypeOpAdaptor,
        DeclareOpInterfaceMethods<MaskOpInterface, !listconcat(
            ["evaluate", "isDrawn", "buildTileClass", "buildKeyExtent", "getKeySet"], methods)>],
        traits)> {
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

def SparseAttn_UnionOp : SparseAttn_AlgebraOp<"union", [Commutative], ["buildParts"]> {
  let summary = "keep a pair that some operand keeps";
  let description = [{
    ```
    keep(p, j)  <=>  a keeps (p, j)  or  b keeps (p, j)  or  ...
    ```

    On probabilities of independent draws: `1 - (1 - a)(1 - b)...`; a
    deterministic 1 stays 1. It puts patterns together: what is near, the first
    tokens, what a graph connects. `none` is neutral and `all` absorbs.

    ```
    causal | sink 2      j      0 1 2 3
                         p = 0  x x . .
                         p = 1  x x . .
                         p = 2  x x x .
                         p = 3  x x x x
    ```

    ```mlir
    %w = sparse_attn.window left = 1023 right = 0
    %s = sparse_attn.sink size = 4
    %m = sparse_attn.union %w, %s
    ```

    Types are written only where an operand is sampled:
    `sparse_attn.union %w, %d : !sparse_attn.mask, !sparse_attn.mask<sampled>`.

    Constraints:
    * (union_c1) there is at least one operand
    * (union_c2) every operand is the result of a mask op before it

    Invalid: `sparse_attn.union` without operands, "needs at least one operand; use
    sparse_attn.none to keep nothing".
  }];
  let arguments = (ins Variadic<SparseAttn_MaskType>:$masks);
  let assemblyFormat = "$masks `` custom<MaskTypes>(ref($masks), type($masks)) attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_IntersectOp : SparseAttn_AlgebraOp<"intersect", [Commutative], ["buildParts"]> {
  let summary = "keep a pair that every operand keeps";
  let description = [{
    ```
    keep(p, j)  <=>  a keeps (p, j)  and  b keeps (p, j)  and  ...
    ```

    On probabilities of independent draws: `a * b * ...`. It restricts a pattern: to
    the past, to a document, to a chunk. `all` is neutral and `none` absorbs.

    ```
    causal & window(left = 2, right = 2)      j      0 1 2 3 4
                                              p = 0  x . . . .
                                              p = 1  x x . . .
                                              p = 2  x x x . .
                                              p = 3  . x x x .
                                              p = 4  . . x x x
    ```

    ```mlir
    %c = sparse_attn.causal
    %d = sparse_attn.segments %offsets : tensor<?x?xi32>
    %m = sparse_attn.intersect %c, %d
    ```

    Constraints:
    * (intersect_c1) there is at least one operand
    * (intersect_c2) every operand is the result of a mask op before it

    Invalid: `sparse_attn.intersect` without operands, "needs at least one operand;
    use sparse_attn.all to keep everything".
  }];
  let arguments = (ins Variadic<SparseAttn_MaskType>:$masks);
  let assemblyFormat = "$masks `` custom<MaskTypes>(ref($masks), type($masks)) attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_DifferenceOp : SparseAttn_AlgebraOp<"difference"> {
  let summary = "keep what the first operand keeps and the second does not";
  let description = [{
    ```
    keep(p, j)  <=>  lhs keeps (p, j)  and  not (rhs keeps (p, j))
    ```

    Where rhs keeps nothing, the result has the probability of lhs. It says what a
    selection may still add to a base: `difference(causal, base)`. Canonicalization
    turns it into `intersect(lhs, complement(rhs))`, so that one set of rules sees
    everything that restricts a mask.

    ```
    causal - window(left = 1, right = 0)      j      0 1 2 3
                                              p = 0  . . . .
                                              p = 1  . . . .
                                              p = 2  x . . .
                                              p = 3  x x . .
    ```

    ```mlir
    %c = sparse_attn.causal
    %w = sparse_attn.window left = 1 right = 0
    %m = sparse_attn.difference %c, %w
    ```

    Constraints:
    * (difference_c1) rhs is deterministic: that a pair was not drawn says nothing of
      how often it is
    * (difference_c2) every operand is the result of a mask op before it

    Invalid: `sparse_attn.difference %c, %d : !sparse_attn.mask,
    !sparse_attn.mask<sampled>`, "the second operand must be deterministic; exclude
    from the candidates of the sampled mask instead".
  }];
  let arguments = (ins SparseAttn_MaskType:$lhs, SparseAttn_MaskType:$rhs);
  let assemblyFormat = "$lhs `,` $rhs `` custom<MaskTypePair>(type($lhs), type($rhs)) attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_ComplementOp : SparseAttn_AlgebraOp<"complement"> {
  let summary = "keep what the operand does not";
  let description = [{
    ```
    keep(p, j)  <=>  not (mask keeps (p, j))
    ```

    It names a pattern by what it leaves out, such as everything but the tokens of
    the query's own segment.

    ```
    complement(block_diagonal(2))      j      0 1 2 3
                                       p = 0  . . x x
                                       p = 1  . . x x
                                       p = 2  x x . .
                                       p = 3  x x . .
    ```

    ```mlir
    %b = sparse_attn.block_diagonal size = 64
    %m = sparse_attn.complement %b
    ```

    Constraints:
    * (complement_c1) the operand is deterministic, by its type
    * (complement_c2) the operand is the result of a mask op before it

    Invalid: an operand of type `!sparse_attn.mask<sampled>`; exclude from the
    candidates of the sampled mask instead.
  }];
  let arguments = (ins SparseAttn_Certain:$mask);
  let assemblyFormat = "$mask attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_PerHeadOp : SparseAttn_Op<"per_head", [Pure, InferTypeOpAdaptor,
    DeclareOpInterfaceMethods<MaskOpInterface,
        ["evaluate", "isDrawn", "buildTileClass", "buildKeyExtent", "isPerHead",
         "getPlanChecks", "getKeySet"]>]> {
  let summary = "a mask for each head";
  let description = [{
    ```
    keep(h, p, j)  <=>  masks[table[h]] keeps (h, p, j)
    ```

    Heads divide the work: some look near, some far. Masks are numbered from 0 in the
    order written, and the table gives every head a number.

    ```
    per_head %causal, %window table = [0, 1]      window: left = 1, right = 0

    h = 0  j      0 1 2 3      h = 1  j      0 1 2 3
           p = 0  x . . .             p = 0  x . . .
           p = 1  x x . .             p = 1  x x . .
           p = 2  x x x .             p = 2  . x x .
           p = 3  x x x x             p = 3  . . x x
    ```

    ```mlir
    %c = sparse_attn.causal
    %w = sparse_attn.window left = 127 right = 0
    %m = sparse_attn.per_head %c, %w table = [0, 1, 1, 1, 0, 1, 1, 1]
    ```

    Constraints:
    * (per_head_c1) the table has at least one entry
    * (per_head_c2) 0 <= table[h] < number of masks
    * (per_head_c3) every operand is the result of a mask op before it

    A plan checks that H is the size of the table, as long as the heads differ: equal
    masks for all heads are folded into one that serves any H.

    Invalid: `sparse_attn.per_head %c table = [0, 1]`, "table gives head 1 the mask
    number 1; there are 1 masks, numbered from 0".
  }];
  let arguments = (ins Variadic<SparseAttn_MaskType>:$masks, DenseI64ArrayAttr:$table);
  let results = (outs SparseAttn_MaskType:$result);
  let assemblyFormat = "$masks `table` `=` $table `` custom<MaskTypes>(ref($masks), type($masks)) attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

//===--- Custom -----------------------------------------------------------===//

def SparseAttn_CustomOp : SparseAttn_PatternOp<"custom",
    ["getOwnBinding", "getPeriod", "isPerHead", "isPerBatch"], [RecursiveMemoryEffects]> {
  let summary = "keep the pairs for which a region yields true";
  let description = [{
    ```
    keep(b, h, p, j)  <=>  body(b, h, p, j)
    ```

    For a pattern that no op has. The region is scalar code on batch entry, head,
    position and key; what a tile of pairs keeps is found by interval arithmetic, and
    a tile that intervals cannot decide is asked pair by pair. A body of comparisons
    of affine forms, joined by and, or, xor and select, is bound at compile time,
    any other at plan time. Remainders of polynomials of p and j, by numbers up to 1024,
    make it periodic: a plan may gather what they keep into dense tiles.

    ```
    p + j <= 3      j      0 1 2 3
                    p = 0  x x x x
                    p = 1  x x x .
                    p = 2  x x . .
                    p = 3  x . . .
    ```

    ```mlir
    %m = sparse_attn.custom {
    ^bb0(%b: index, %h: index, %p: index, %j: index):
      %three = arith.constant 3 : index
      %sum = arith.addi %p, %j : index
      %keep = arith.cmpi sle, %sum, %three : index
      sparse_attn.yield %keep : i1
    }
    ```

    Integers wrap around at their width, 64 for index, and positions may be negative:
    `divsi` and `remsi` round towards zero, `floordivsi` and `ceildivsi` down and up.
    Overflow flags promise nothing here and are ignored.

    Constraints:
    * (custom_c1) the region takes (b, h, p, j), all index
    * (custom_c2) it ends with `sparse_attn.yield` of one i1
    * (custom_c3) it holds arith ops on integers and `math.absi` alone: constant, addi,
      subi, muli, divsi, divui, remsi, remui, floordivsi, ceildivsi, ceildivui, andi,
      ori, xori, shli, shrsi, shrui, minsi, maxsi, minui, maxui, cmpi, select,
      index_cast, index_castui, extsi, extui, trunci
    * (custom_c4) every value is index, i1, i32 or i64
    * (custom_c5) values from outside are constants
    * (custom_c6) divisors are constants >= 1, and shifts are by constants >= 0 below
      the width, so that every pair is defined

    Invalid: `%q = arith.divsi %p, %j : index` in the region, "the divisor of
    'arith.divsi' must be a constant >= 1, so that every pair is defined; divide by the
    positive number and negate the result".
  }];
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$body attr-dict";
  let hasRegionVerifier = 1;
}

#endif // SPARSE_ATTN_MASK_OPS_TD
