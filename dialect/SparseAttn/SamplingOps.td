//===- SamplingOps.td - masks that are drawn ----------------*- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_SAMPLING_OPS_TD
#define SPARSE_ATTN_SAMPLING_OPS_TD

include "dialect/SparseAttn/SparseAttnBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/CommonAttrConstraints.td"

// A draw from candidates, row by row; `result` is what the op makes.
class SparseAttn_DrawOp<string mnemonic, Type result, list<string> methods = [],
                        list<string> facts = []>
    : SparseAttn_Op<mnemonic, [Pure,
        DeclareOpInterfaceMethods<MaskOpInterface, !listconcat(["evaluate", "buildTileClass",
            "getOwnBinding", "isPerHead", "isPerBatch"], methods)>,
        DeclareOpInterfaceMethods<SelectionOpInterface, facts>]> {
  let results = (outs result:$result);
}

def SparseAttn_RandomKeysOp : SparseAttn_DrawOp<"random_keys", SparseAttn_Certain> {
  let summary = "keep random candidates, as they are (random attention)";
  let description = [{
    ```
    keep(p, j)  <=>  j is among the b that are drawn from the n_c candidates of p,
                     without replacement
    b  =  min(count, n_c), or floor(rate * n_c) in float64
    ```

    Plain random attention: keys drawn have weight 1, so that the result is attention
    over fewer keys and no estimate of attention over all of them; that is
    `sample.uniform`. The draw is the one of `sample.uniform`, from stream 1.

    ```
    count = 2, candidates: causal      p = 0  x . . . .
                                       p = 1  x x . . .
                                       p = 2  x . x . .
                                       p = 3  . x . x .
                                       p = 4  x . . . x
    ```

    ```mlir
    %c = sparse_attn.causal
    %m = sparse_attn.random_keys %c count = 64 seed = 7
    ```

    Constraints:
    * (random_keys_c1) exactly one of count and rate is given
    * (random_keys_c2) 1 <= count < 2^30
    * (random_keys_c3) 0 < rate <= 1
    * (random_keys_c4) the candidates are the result of an op before

    Invalid: `sparse_attn.random_keys %c count = 0 seed = 7`, "count must be in [1,
    2^30), got 0; use sparse_attn.none to draw nothing".
  }];
  let arguments = (ins SparseAttn_Certain:$candidates, OptionalAttr<I64Attr>:$count,
                       OptionalAttr<F64Attr>:$rate, I64Attr:$seed);
  let assemblyFormat = [{
    $candidates (`count` `=` $count^)? (`rate` `=` $rate^)? `seed` `=` $seed attr-dict
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_SampleUniformOp : SparseAttn_DrawOp<"sample.uniform", SparseAttn_Sampled,
                                                   ["isDrawn"]> {
  let summary = "draw candidates with equal probability";
  let description = [{
    ```
    probability(p, j)  =  b / n_c      for each of the n_c candidates j of p
    b  =  min(count, n_c), or floor(rate * n_c) in float64
    ```

    `b` candidates are drawn without replacement for each row, and `attention` divides
    their weights by the probability: the sums over what is drawn estimate those over
    all candidates without bias.

    The candidates of a row are numbered from 0 in ascending order of j, and number r
    is drawn when r = permute(d) for some d < b. `permute` is the keyed permutation of
    [0, n_c) of docs/semantics.md, section 6, for seed, head b H + h, position p and
    stream 2: integer arithmetic with no memory at all, the same everywhere.

    ```
    count = 2, four candidates, of which 1 and 3 are drawn

    probability      .5 .5 .5 .5
    weights           .  2  .  2      times exp(s)
    ```

    ```mlir
    %s = sparse_attn.sink size = 4
    %c = sparse_attn.causal
    %rest = sparse_attn.difference %c, %s
    %u = sparse_attn.sample.uniform %rest rate = 0.05 seed = 7
    %m = sparse_attn.union %s, %u : !sparse_attn.mask, !sparse_attn.mask<sampled>
    ```

    Constraints:
    * (sample_uniform_c1) exactly one of count and rate is given
    * (sample_uniform_c2) 1 <= count < 2^30
    * (sample_uniform_c3) 0 < rate <= 1
    * (sample_uniform_c4) the candidates are the result of an op before

    Invalid: `sparse_attn.sample.uniform %c rate = 0.0 seed = 7`, "rate must be in (0, 1],
    got 0; use sparse_attn.none to draw nothing".
  }];
  let arguments = (ins SparseAttn_Certain:$candidates, OptionalAttr<I64Attr>:$count,
                       OptionalAttr<F64Attr>:$rate, I64Attr:$seed);
  let assemblyFormat = [{
    $candidates (`count` `=` $count^)? (`rate` `=` $rate^)? `seed` `=` $seed attr-dict
  }];
  let hasVerifier = 1;
}

#endif // SPARSE_ATTN_SAMPLING_OPS_TD
