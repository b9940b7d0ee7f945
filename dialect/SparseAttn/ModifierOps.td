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
  let description = [{
    ```
    s'  =  cap * tanh(s / cap)
    ```

    Keeps scores within (-cap, cap), smoothly, so that no key takes all the weight.

    ```
    cap = 2      s    -8     -2     -1      0      1      2      8
                 s'   -2.00  -1.52  -0.92   0.00   0.92   1.52   2.00
    ```

    ```mlir
    %m = sparse_attn.softcap cap = 30.0
    ```

    Constraints:
    * (softcap_c1) 2^-126 <= cap <= 2^126

    Invalid: `sparse_attn.softcap cap = 0.0`, "cap must be > 0 and an ordinary f32
    number (2^-126 to 2^126); leave softcap out to have no cap".
  }];
  let arguments = (ins F64Attr:$cap);
  let assemblyFormat = "`cap` `=` $cap attr-dict";
  let hasVerifier = 1;
}

def SparseAttn_AlibiOp : SparseAttn_ModifierOp<"alibi", ["getTensorSpecs"]> {
  let summary = "s becomes s - slope[h] * |p - j|";
  let description = [{
    ```
    s'  =  s - slopes[h] * |p - j|
    ```

    Far keys count less, at a rate of its own for every head: positions without
    position embeddings.

    ```
    slopes[h] = 0.5, what is taken from s

    j      0   1   2   3
    p = 0  0   0.5 1   1.5
    p = 1  0.5 0   0.5 1
    p = 2  1   0.5 0   0.5
    ```

    ```mlir
    %m = sparse_attn.alibi %slopes : tensor<?xf32>
    ```

    Constraints: the operand's type. A plan checks that there are H slopes.

    Invalid: an operand of type `tensor<?x?xf32>`; give one slope for each head.
  }];
  let arguments = (ins 1DTensorOf<[F32]>:$slopes);
  let assemblyFormat = "$slopes `:` type($slopes) attr-dict";
}

def SparseAttn_BiasOp : SparseAttn_ModifierOp<"bias", ["readsAlongKeys", "getTensorSpecs"]> {
  let summary = "s becomes s + bias[b, h, i, j]";
  let description = [{
    ```
    s'  =  s + bias[b, h, i, j]
    ```

    Any bias that is known before: one value for every pair. An axis of size 1 is
    the same for all batch entries, heads, rows or keys. `i` counts rows of Q and `j`
    tokens, not positions.

    ```
    bias of shape [1, H, 1, N]      one row of N numbers for each head:
                                    the same for every query
    ```

    ```mlir
    %m = sparse_attn.bias %bias : tensor<?x?x?x?xf32>
    ```

    Constraints: the operand's type. A plan checks that each axis is 1 or B, H, M, N.

    Invalid: an operand of type `tensor<?x?xf32>`; write [M, N] as [1, 1, M, N].
  }];
  let arguments = (ins 4DTensorOf<[F32]>:$bias);
  let assemblyFormat = "$bias `:` type($bias) attr-dict";
}

def SparseAttn_RelativeBiasOp : SparseAttn_ModifierOp<"relative_bias", ["getTensorSpecs"]> {
  let summary = "s becomes s + table[h, distance]";
  let description = [{
    ```
    s'  =  s + table[h, clamp(p - j, -R, R) + R]      2 R + 1 columns
    ```

    A learned bias for every distance. Column R is distance 0, the columns after it
    are keys before the query, and distances beyond R read the ends. A table of one
    row serves all heads.

    ```
    R = 1, table[h] = [a, b, c]

    j      0 1 2 3
    p = 0  b a a a
    p = 1  c b a a
    p = 2  c c b a
    p = 3  c c c b
    ```

    ```mlir
    %m = sparse_attn.relative_bias %table : tensor<?x?xf32>
    ```

    Constraints:
    * (relative_bias_c1) the number of columns is odd; where only the run time knows
      it, a plan checks it, and that there are 1 or H rows

    Invalid: an operand of type `tensor<?x4xf32>`, "table must have an odd number of
    columns, 2 R + 1 for the distances -R to R, got 4".
  }];
  let arguments = (ins 2DTensorOf<[F32]>:$table);
  let assemblyFormat = "$table `:` type($table) attr-dict";
  let hasVerifier = 1;
}

def SparseAttn_HopDecayOp : SparseAttn_ModifierOp<"hop_decay",
    ["excludes", "buildTileClass", "getPlanChecks", "getPlanTable", "getTensorSpecs"]> {
  let summary = "s becomes s - max(0, distance - max_hops) / temperature";
  let description = [{
    ```
    s'  =  s - max(0, hops(p, j) - max_hops) / temperature
    s'  =  -infinity where there is no path: the pair is excluded
    ```

    The soft form of `graph_hop`: what is further away than `max_hops` edges fades
    instead of ending. Distances, chunks and `directed` are those of `graph_hop`. A
    pair that it excludes stays excluded, whatever modifiers follow.

    ```
    chunks of one token on the path 0 - 1 - 2 - 3, 4 alone
    max_hops = 1, temperature = 0.5; what is taken from s

    j      0   1   2   3   4
    p = 0  0   0   2   4   inf
    p = 1  0   0   0   2   inf
    p = 4  inf inf inf inf 0
    ```

    ```mlir
    %m = sparse_attn.hop_decay %offsets, %chunk_node, %indptr, %indices
        max_hops = 1 temperature = 0.5
        : tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>
    ```

    Constraints:
    * (hop_decay_c1) 0 <= max_hops < 2^30
    * (hop_decay_c2) 2^-126 <= temperature <= 2^126
    * (hop_decay_c3) offsets hold one entry more than chunk_node, where both sizes are
      known

    Invalid: `temperature = 0.0`, "temperature must be > 0 and an ordinary f32 number
    (2^-126 to 2^126); use sparse_attn.graph_hop for a sharp limit".
  }];
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
  let description = [{
    ```
    s'  =  body(s, b, h, p, j)
    ```

    For a change of the score that no op has, as scalar code. It is repeated over
    vectors of keys, so it holds elementwise ops alone; integers are those of `custom`.

    ```
    s' = s where j <= p, s / 2 ahead of the query

    j      0   1   2
    p = 0  s   s/2 s/2
    p = 1  s   s   s/2
    p = 2  s   s   s
    ```

    ```mlir
    %m = sparse_attn.custom_score {
    ^bb0(%s: f32, %b: index, %h: index, %p: index, %j: index):
      %half = arith.constant 0.5 : f32
      %less = arith.mulf %s, %half : f32
      %past = arith.cmpi sle, %j, %p : index
      %r = arith.select %past, %s, %less : f32
      sparse_attn.yield %r : f32
    }
    ```

    Constraints:
    * (custom_score_c1) the region takes (s: f32; b, h, p, j: index)
    * (custom_score_c2) it ends with `sparse_attn.yield` of one f32
    * (custom_score_c3) it holds the ops of (custom_c3) and, on f32: constant, addf,
      subf, mulf, divf, negf, minimumf, maximumf, minnumf, maxnumf, cmpf, select,
      sitofp, uitofp; math.absf, ceil, copysign, cos, erf, exp, exp2, expm1, floor,
      fma, log, log1p, log2, powf, rsqrt, sin, sqrt, tanh, trunc
    * (custom_score_c4) every value is f32, index, i1, i32 or i64
    * (custom_score_c5) values from outside are constants
    * (custom_score_c6) divisors and shifts are as in (custom_c6)

    Invalid: a region without `%s`, "the region must take (s, b, h, p, j): f32, then
    index".
  }];
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$body attr-dict";
  let hasRegionVerifier = 1;
}

#endif // SPARSE_ATTN_MODIFIER_OPS_TD
