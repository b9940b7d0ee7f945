//===- SelectionOps.td - masks that Q and K decide ----------*- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_SELECTION_OPS_TD
#define SPARSE_ATTN_SELECTION_OPS_TD

include "dialect/SparseAttn/SparseAttnBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/CommonAttrConstraints.td"

// A deterministic choice from candidates. `getSharing` is that of its score.
class SparseAttn_SelectionOp<string mnemonic, list<string> methods = [],
                             list<string> facts = []>
    : SparseAttn_Op<mnemonic, [Pure,
        DeclareOpInterfaceMethods<MaskOpInterface, !listconcat(["evaluate", "buildTileClass",
            "getOwnBinding", "isPerHead", "isPerBatch", "getKeySet"], methods)>,
        DeclareOpInterfaceMethods<SelectionOpInterface, !listconcat(["getSharing"], facts)>]> {
  let results = (outs SparseAttn_Certain:$result);
}

def SparseAttn_UnitParameter : DefaultValuedAttr<I64Attr, "1">;

def SparseAttn_TopKOp : SparseAttn_SelectionOp<"top_k"> {
  let summary = "keep the `k` best candidate units of each query unit";
  let description = [{
    ```
    keep(i, j)  <=>  (i, j) is a candidate  and  the unit of j is among the k best
                     candidate units for the unit of i
    ```

    What scores high gets most of the weight, so the rest may go. `fraction` in place
    of `k` stands for floor(fraction * u), in float64, with u = ceil(n / block_k) the
    number of key units. Where scores are equal the lower index comes first; a NaN
    comes after every number; fewer candidates than k are all kept.

    Rows [block_q t, block_q (t + 1)) choose together, and keys [block_k t,
    block_k (t + 1)) are chosen together. A unit is a candidate where some pair of it
    is, and its score is the largest of its candidate pairs; `score.pages` and the scores
    of whole blocks say otherwise.

    To add k keys to what a base keeps, give what the base leaves as candidates.

    ```
    k = 2, candidates: causal      scores        keeps
                                   5 . . .       x . . .
                                   5 1 . .       x x . .
                                   1 3 2 .       . x x .
                                   2 2 2 2       x x . .
    ```

    ```mlir
    %w = sparse_attn.window left = 127 right = 0
    %c = sparse_attn.causal
    %far = sparse_attn.difference %c, %w
    %s = sparse_attn.score.dot
    %t = sparse_attn.top_k %s, %far k = 64
    %m = sparse_attn.union %w, %t
    ```

    Constraints:
    * (top_k_c1) exactly one of k and fraction is given
    * (top_k_c2) 1 <= k < 2^30
    * (top_k_c3) 0 < fraction <= 1
    * (top_k_c4) 1 <= block_q < 2^30
    * (top_k_c5) 1 <= block_k < 2^30
    * (top_k_c6) the score and the candidates are results of ops before

    Invalid: `sparse_attn.top_k %s, %c`, "needs exactly one of k and fraction, got 0;
    write k = 64 for a number of units, fraction = 0.1 for a tenth of them".
  }];
  let arguments = (ins SparseAttn_Score:$score, SparseAttn_Certain:$candidates,
                       OptionalAttr<I64Attr>:$k, OptionalAttr<F64Attr>:$fraction,
                       SparseAttn_UnitParameter:$block_q, SparseAttn_UnitParameter:$block_k);
  let assemblyFormat = [{
    $score `,` $candidates (`k` `=` $k^)? (`fraction` `=` $fraction^)?
    (`block_q` `=` $block_q^)? (`block_k` `=` $block_k^)? attr-dict
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_TopPOp : SparseAttn_SelectionOp<"top_p"> {
  let summary = "keep the best candidate units that hold a share `p` of the mass";
  let description = [{
    ```
    mass(u)     =  exp(score(u)) / sum of exp(score) over the candidate units
    keep(i, j)  <=>  (i, j) is a candidate, and in descending order of score the mass
                     of the units before that of j is <= p, or its score is that of
                     the last unit so kept
    ```

    As many units as the row needs: few where its softmax is sharp, many where it is
    flat. `p = 0` keeps the best unit and its ties, `p = 1` all candidates. Units and
    their scores are as for `top_k`. A NaN has no mass and comes after every number.

    ```
    mass .1 .3 .2 .4      p = .35  keeps .4
                          p = .6   keeps .4 .3
                          p = .75  keeps .4 .3 .2
    ```

    ```mlir
    %c = sparse_attn.causal
    %s = sparse_attn.score.dot
    %m = sparse_attn.top_p %s, %c p = 0.95
    ```

    Constraints:
    * (top_p_c1) 0 <= p <= 1
    * (top_p_c2) 1 <= block_q < 2^30
    * (top_p_c3) 1 <= block_k < 2^30
    * (top_p_c4) the score and the candidates are results of ops before

    Invalid: `p = 95.0`, "p must be in [0, 1], got 95; it is a share of the
    softmax, not a percentage".
  }];
  let arguments = (ins SparseAttn_Score:$score, SparseAttn_Certain:$candidates, F64Attr:$p,
                       SparseAttn_UnitParameter:$block_q, SparseAttn_UnitParameter:$block_k);
  let assemblyFormat = [{
    $score `,` $candidates `p` `=` $p (`block_q` `=` $block_q^)? (`block_k` `=` $block_k^)?
    attr-dict
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_ThresholdOp : SparseAttn_SelectionOp<"threshold"> {
  let summary = "keep the candidate units that score at least `t`";
  let description = [{
    ```
    keep(i, j)  <=>  (i, j) is a candidate  and  the score of its unit >= t
    ```

    A choice that needs no ranking. Units and their scores are as for `top_k`. A NaN
    is not kept.

    ```
    t = 2, candidates: causal      scores        keeps
                                   5 . . .       x . . .
                                   5 1 . .       x . . .
                                   1 3 2 .       . x x .
    ```

    ```mlir
    %c = sparse_attn.causal
    %s = sparse_attn.score.dot
    %m = sparse_attn.threshold %s, %c t = 2.0
    ```

    Constraints:
    * (threshold_c1) t is not NaN
    * (threshold_c2) 1 <= block_q < 2^30
    * (threshold_c3) 1 <= block_k < 2^30
    * (threshold_c4) the score and the candidates are results of ops before

    Invalid: `t = 0x7FF8000000000000 : f64`, "t must be a number; nothing is at least
    NaN".
  }];
  let arguments = (ins SparseAttn_Score:$score, SparseAttn_Certain:$candidates, F64Attr:$t,
                       SparseAttn_UnitParameter:$block_q, SparseAttn_UnitParameter:$block_k);
  let assemblyFormat = [{
    $score `,` $candidates `t` `=` $t (`block_q` `=` $block_q^)? (`block_k` `=` $block_k^)?
    attr-dict
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_ClusterOp : SparseAttn_SelectionOp<"cluster", ["getTensorSpecs"],
                                                  ["getKeyStates", "getEncoding",
                                                   "getWeightSizes"]> {
  let summary = "keep candidates in a bucket of the query (Reformer, Routing)";
  let description = [{
    ```
    keep(i, j)  <=>  (i, j) is a candidate  and, in some round, bucket(q_i) == bucket(k_j)
    bucket(x)    =   argmax [x R, -x R]              R[D][buckets / 2] drawn from the seed
                     argmax over c of <x, centroids[h / G, c]>      with centroids
    ```

    Tokens that point the same way meet in a bucket. The angular hash of Reformer draws
    directions for every round (docs/semantics.md, section 6, stream 6), the same for all
    heads; trained centroids (Routing Transformer) belong to key/value heads and serve
    queries and keys. The lowest of equal maxima wins; a token with a NaN is in no bucket.
    Where units have several rows or keys, a key unit is kept where some candidate
    pair of it shares a bucket.

    ```
    buckets = 4, directions r0, r1      <x, r0> = .3, <x, r1> = -2      bucket 3: -r1
    ```

    ```mlir
    %c = sparse_attn.causal
    %hashed = sparse_attn.cluster %c buckets = 64 rounds = 4 seed = 7
    %routed = sparse_attn.cluster %c centroids(%centroids : tensor<?x?x?xf32>)
    ```

    Constraints:
    * (cluster_c1) either centroids are given, or buckets and a seed
    * (cluster_c2) buckets is an even number in [2, 2^16)
    * (cluster_c3) 1 <= rounds <= 64, and 1 with centroids
    * (cluster_c4) 1 <= block_q < 2^30
    * (cluster_c5) 1 <= block_k < 2^30
    * (cluster_c6) centroids are [Hkv, buckets, D]
    * (cluster_c7) the candidates are the result of an op before

    Invalid: `buckets = 7 seed = 1`, "buckets must be even and in [2, 2^16), got 7; a
    direction and its opposite are two buckets".
  }];
  let arguments = (ins SparseAttn_Certain:$candidates,
                       Optional<3DTensorOf<[F32]>>:$centroids,
                       OptionalAttr<I64Attr>:$buckets,
                       DefaultValuedAttr<I64Attr, "1">:$rounds,
                       OptionalAttr<I64Attr>:$seed,
                       SparseAttn_UnitParameter:$block_q, SparseAttn_UnitParameter:$block_k);
  let assemblyFormat = [{
    $candidates (`centroids` `(` $centroids^ `:` type($centroids) `)`)?
    (`buckets` `=` $buckets^)? (`rounds` `=` $rounds^)? (`seed` `=` $seed^)?
    (`block_q` `=` $block_q^)? (`block_k` `=` $block_k^)? attr-dict
  }];
  let hasVerifier = 1;
}

#endif // SPARSE_ATTN_SELECTION_OPS_TD
