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
            "getOwnBinding", "isPerHead", "isPerBatch", "getKeySet"], methods)>,
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
    count = 2, seed = 7, causal        p = 0  x . . . .
                                       p = 1  x x . . .
                                       p = 2  x x . . .
                                       p = 3  x . x . .
                                       p = 4  . x x . .
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

def SparseAttn_SampleLshOp : SparseAttn_DrawOp<"sample.lsh", SparseAttn_Sampled,
    ["isDrawn", "getTensorSpecs"], ["getKeyStates", "getEncoding", "getWeightSizes"]> {
  let summary = "draw keys whose hash tables agree with the query's (MagicPIG)";
  let description = [{
    ```
    drawn        <=>  at least min_matches of L tables agree on all K sign bits
    a             =   (1 - acos(cos(q', k')) / pi)^K
    probability   =   1 - (1 - a)^L                             min_matches = 1
                      1 - (1 - a)^L - L a (1 - a)^(L - 1)       min_matches = 2
    ```

    Keys that point where the query points are drawn often and count little, the others
    seldom and count much. Bit k of table l is the sign of <x, r>, `sign(0) = +1`, for
    a random direction r = directions[l K + k] (docs/semantics.md, section 6) which is
    the same for all rows and heads: keys are hashed once, when they are appended.

    `center = keys` subtracts the mean key from keys, `both` from queries, too, `none`
    nothing. Without an operand the mean is that of the keys below n of the key/value
    head; `mean` gives a fixed one, so that appended keys leave the hashes as they are.
    `normalize = cosine` compares directions; `simple_lsh` divides keys by the largest norm
    X of those below n, with one more coordinate sqrt(X^2 - |k|^2) / X, where queries
    of length 1 have 0.

    ```
    K = 2, L = 3        tables agree   x . x      min_matches = 2: drawn
    q bits  ++ -+ --
    k bits  ++ -- --
    ```

    ```mlir
    %c = sparse_attn.causal
    %w = sparse_attn.window left = 63 right = 0
    %rest = sparse_attn.difference %c, %w
    %d = sparse_attn.sample.lsh %rest tables = 150 bits = 10 seed = 7
    %m = sparse_attn.union %w, %d : !sparse_attn.mask, !sparse_attn.mask<sampled>
    ```

    Constraints:
    * (sample_lsh_c1) 1 <= tables <= 4096
    * (sample_lsh_c2) 1 <= bits <= 32
    * (sample_lsh_c3) min_matches is 1 or 2, and not above tables
    * (sample_lsh_c4) a mean goes with center = keys or both
    * (sample_lsh_c5) the mean has D numbers
    * (sample_lsh_c6) the candidates are the result of an op before

    Invalid: `min_matches = 3`, "min_matches must be 1 or 2, and not above the number of
    tables (150), got 3".
  }];
  let arguments = (ins SparseAttn_Certain:$candidates, Optional<3DTensorOf<[F32]>>:$mean,
                       I64Attr:$tables, I64Attr:$bits,
                       DefaultValuedAttr<I64Attr, "2">:$min_matches,
                       DefaultValuedAttr<SparseAttn_CenterAttr,
                                         "::sparse_attn::Center::Keys">:$center,
                       DefaultValuedAttr<SparseAttn_NormalizeAttr,
                                         "::sparse_attn::Normalize::Cosine">:$normalize,
                       I64Attr:$seed);
  let assemblyFormat = [{
    $candidates (`mean` `(` $mean^ `:` type($mean) `)`)? `tables` `=` $tables
    `bits` `=` $bits (`min_matches` `=` $min_matches^)? (`center` `=` `` $center^)?
    (`normalize` `=` `` $normalize^)? `seed` `=` $seed attr-dict
  }];
  let hasVerifier = 1;
}

def SparseAttn_SampleAdaptiveOp : SparseAttn_DrawOp<"sample.adaptive", SparseAttn_Sampled,
                                                    ["isDrawn"], ["readsAttentionScores"]> {
  let summary = "draw as many candidates as an error bound asks for (vAttention)";
  let description = [{
    ```
    m   =  max(2, base) draws;  e_j = exp(s_j)      s: scores of the attention, modifiers
    sd  =  unbiased standard deviation of the m values                         included
    D   =  sum of e over `beside` + (n / m) * sum of e over the m draws
    z   =  quantile(1 - delta / 2), or quantile(1 - delta) with tail = one_sided
    b0  =  (z sd n / (epsilon D))^2
    b   =  ceil(b0 n / (n + b0)), or ceil(b0) without finite_population, in [m, n]
    probability(p, j)  =  b / n      for each of the n candidates
    ```

    A sample with a promise: the denominator that `b` fresh draws estimate is off by more
    than `epsilon` of itself with a probability of at most `delta`. Rows where the
    candidates are much alike take few, rows where they differ take many. `beside` is
    the deterministic mask whose keys are attended anyway, in a union with this one:
    heavy keys belong there. Of `beside`, only keys that are not candidates count.
    Where n < 2, every candidate is kept with probability 1.

    The base draws are those of stream 3, the others of stream 4, as for `sample.uniform`.
    `base` is `base_count`, or floor(base_rate * n), both at most n. `delta` with
    `one_sided` bounds each of the two errors, too high and too low, for itself.

    ```
    epsilon = delta = 0.2, one_sided, no finite population, sd = 1, n = 100000, D = 10000

    z = 0.8416      b0 = (0.8416 * 100000 / (0.2 * 10000))^2 = 1770.8      b = 1771
    ```

    ```mlir
    %s = sparse_attn.sink size = 128
    %w = sparse_attn.window left = 127 right = 0
    %near = sparse_attn.union %s, %w
    %c = sparse_attn.causal
    %far = sparse_attn.difference %c, %near
    %score = sparse_attn.score.dot
    %top = sparse_attn.top_k %score, %far fraction = 0.05
    %kept = sparse_attn.union %near, %top
    %rest = sparse_attn.difference %c, %kept
    %d = sparse_attn.sample.adaptive %rest beside %kept base_rate = 0.1
        epsilon = 0.25 delta = 0.25 seed = 7
    %m = sparse_attn.union %kept, %d : !sparse_attn.mask, !sparse_attn.mask<sampled>
    ```

    Constraints:
    * (sample_adaptive_c1) exactly one of base_count and base_rate is given
    * (sample_adaptive_c2) 1 <= base_count < 2^30
    * (sample_adaptive_c3) 0 < base_rate <= 1
    * (sample_adaptive_c4) 0 < epsilon < 1
    * (sample_adaptive_c5) 0 < delta < 1
    * (sample_adaptive_c6) the candidates and `beside` are results of ops before

    Invalid: `epsilon = 1.0`, "epsilon must be in (0, 1), got 1; it is the error allowed,
    as a share of the denominator".
  }];
  let arguments = (ins SparseAttn_Certain:$candidates, SparseAttn_Certain:$beside,
                       OptionalAttr<I64Attr>:$base_count, OptionalAttr<F64Attr>:$base_rate,
                       F64Attr:$epsilon, F64Attr:$delta,
                       DefaultValuedAttr<SparseAttn_TailAttr,
                                         "::sparse_attn::Tail::TwoSided">:$tail,
                       DefaultValuedAttr<BoolAttr, "true">:$finite_population,
                       I64Attr:$seed);
  let assemblyFormat = [{
    $candidates `beside` $beside (`base_count` `=` $base_count^)?
    (`base_rate` `=` $base_rate^)? `epsilon` `=` $epsilon `delta` `=` $delta
    (`tail` `=` `` $tail^)? (`finite_population` `=` $finite_population^)?
    `seed` `=` $seed attr-dict
  }];
  let hasVerifier = 1;
}

#endif // SPARSE_ATTN_SAMPLING_OPS_TD
