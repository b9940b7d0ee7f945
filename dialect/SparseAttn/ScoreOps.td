//===- ScoreOps.td - scores that guide a selection ----------*- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_SCORE_OPS_TD
#define SPARSE_ATTN_SCORE_OPS_TD

include "dialect/SparseAttn/SparseAttnBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/CommonAttrConstraints.td"

// A score reads Q, K and V of the attention whose mask it guides; its operands are
// weights.
class SparseAttn_ScoreOp<string mnemonic, list<string> methods = [], list<Trait> traits = []>
    : SparseAttn_Op<"score." # mnemonic, !listconcat([Pure,
        DeclareOpInterfaceMethods<ScoreOpInterface, !listconcat(["evaluate", "getEncoding", "buildScore"], methods)>],
        traits)> {
  let results = (outs SparseAttn_Score:$result);
}

// Scores of the query heads of one key/value head are used apart, or summed.
def SparseAttn_ShareParameter : DefaultValuedAttr<SparseAttn_ShareAttr,
                                                  "::sparse_attn::Sharing::None">;

def SparseAttn_ScoreDotOp : SparseAttn_ScoreOp<"dot"> {
  let summary = "the attention's own score before modifiers (the oracle)";
  let description = [{
    ```
    score(i, j)  =  scale * <q_i, k_j>
    ```

    The best score there is, at the price of reading all of K: what the cheaper ones
    are measured against. `scale` is that of the attention. With `share = group` the
    scores of all query heads that read one key/value head are summed, so that these
    heads select the same keys where their candidates are the same.

    ```
    q = (1, 0), scale = 1, k = (1, 5), (3, 0), (-2, 9)      score  1  3  -2
    ```

    ```mlir
    %s = sparse_attn.score.dot
    %g = sparse_attn.score.dot share = group
    ```

    Constraints: none.
  }];
  let arguments = (ins SparseAttn_ShareParameter:$share);
  let assemblyFormat = "(`share` `=` `` $share^)? attr-dict";
}

def SparseAttn_ScorePagesOp : SparseAttn_ScoreOp<"pages", ["getGranularity", "getKeyStates"]> {
  let summary = "an upper bound of q k over a page of keys (Quest)";
  let description = [{
    ```
    score(i, page)  =  sum_d max(q_i[d] * low[d], q_i[d] * high[d])
                       low[d], high[d]: the least and largest k_j[d] of the page
    ```

    No key of the page scores more than this, without the scale. The page is the key
    unit of the selection: `block_k` keys, all that are below n, whether or not they
    are candidates. Two rows of D numbers a page are read in place of `block_k` rows
    of K. A NaN in a page is in its bounds.

    ```
    block_k = 2, q = (1, -1)
    k = (1, 4), (2, 0)      low = (1, 0), high = (2, 4)      score = 2 + 0 = 2
    ```

    ```mlir
    %s = sparse_attn.score.pages
    %c = sparse_attn.causal
    %m = sparse_attn.top_k %s, %c k = 64 block_k = 16
    ```

    Constraints: none; with `block_k = 1` it is `score.dot` without the scale.
  }];
  let arguments = (ins SparseAttn_ShareParameter:$share);
  let assemblyFormat = "(`share` `=` `` $share^)? attr-dict";
}

def SparseAttn_ScoreHashOp : SparseAttn_ScoreOp<"hash",
    ["getLevels", "getKeyStates", "getWeightSizes", "getTensorSpecs"]> {
  let summary = "agreeing bits of learned signatures (HashAttention)";
  let description = [{
    ```
    score(i, j)  =  agreeing - differing bits of  sign(net_q(q_i))  and  sign(net_k(k_j))
    net(x)       =  W_n f(... f(W_1 x + c_1) ...) + c_n        sign(0) = +1
    ```

    A signature is one word for every 32 bits: 128 or 256 bits of K in f16 become one
    bit. `layers` lists the widths of the dense layers, the last one being the number of
    bits; the `activation` f follows every layer but the last: `relu`, `silu`
    (x / (1 + exp(-x))), `gelu` (x (1 + erf(x / sqrt(2))) / 2) or `tanh`.

    A row of weights holds, for one query head and layer after layer, the matrix
    W_l[in][out] row by row and then the offsets c_l[out]; a single row serves all
    heads. The keys of a query head are hashed with that head's network.

    ```
    signatures of 8 bits      q  + - + + - - + -
                              k  + + + + - - - -      6 agree, 2 differ: score 4
    ```

    ```mlir
    %s = sparse_attn.score.hash %query_weights, %key_weights layers = [128, 128, 32]
        activation = silu : tensor<?x?xf32>, tensor<?x?xf32>
    ```

    Constraints:
    * (score_hash_c1) there are 1 to 16 layers, each of a width in [1, 2^16)
    * (score_hash_c2) the last width is a multiple of 32, at most 1024
    * (score_hash_c3) a row of weights holds the parameters of all layers over D

    Invalid: `layers = [128, 20]`, "the last layer has one output for each bit of a
    signature, a multiple of 32 up to 1024, got 20".
  }];
  let arguments = (ins 2DTensorOf<[F32]>:$query_weights, 2DTensorOf<[F32]>:$key_weights,
                       DenseI64ArrayAttr:$layers,
                       DefaultValuedAttr<SparseAttn_ActivationAttr,
                                         "::sparse_attn::Activation::Silu">:$activation,
                       SparseAttn_ShareParameter:$share);
  let assemblyFormat = [{
    $query_weights `,` $key_weights `layers` `=` $layers (`activation` `=` `` $activation^)?
    (`share` `=` `` $share^)? `:` type($query_weights) `,` type($key_weights) attr-dict
  }];
  let hasVerifier = 1;
}

def SparseAttn_ScoreChannelsOp : SparseAttn_ScoreOp<"channels",
    ["getKeyStates", "getWeightSizes", "getTensorSpecs"]> {
  let summary = "q k over the heaviest channels of a head (Double Sparsity)";
  let description = [{
    ```
    score(i, j)  =  sum over c in channels[h] of q_i[c] * k_j[c], over sqrt(count)
    ```

    A few channels, found once by calibration, hold most of the score of a head. Each
    query head has its own `count` of them, or all heads share one row of the table. The
    channels of K are kept beside it (labels), so that D is not read.

    With `quantized`, a label is 4 bits: of the values x_c of one key in the channels,
    low is the least and step a 15th of the distance to the largest, and x_c becomes
    low + step * round((x_c - low) / step), halves to even; low where step is 0.

    ```
    channels = (0, 2), q = (1, 7, 2), k = (3, 7, 1)      score = (3 + 2) / sqrt(2)
    ```

    ```mlir
    %s = sparse_attn.score.channels %channels count = 16 quantized = true : tensor<?x?xi32>
    ```

    Constraints:
    * (score_channels_c1) 1 <= count <= 256
    * (score_channels_c2) a row of channels has count entries

    A run checks that channels lie in [0, D).

    Invalid: `count = 0`, "count must be in [1, 256], got 0; it is the number of channels
    of a head".
  }];
  let arguments = (ins 2DTensorOf<[I32]>:$channels, I64Attr:$count,
                       DefaultValuedAttr<BoolAttr, "false">:$quantized,
                       SparseAttn_ShareParameter:$share);
  let assemblyFormat = [{
    $channels `count` `=` $count (`quantized` `=` $quantized^)? (`share` `=` `` $share^)?
    `:` type($channels) attr-dict
  }];
  let hasVerifier = 1;
}

def SparseAttn_ScorePqOp : SparseAttn_ScoreOp<"pq",
    ["getKeyStates", "getWeightSizes", "getHeadDimMultiple", "getTensorSpecs"]> {
  let summary = "q k with keys as product-quantized codes (PQCache)";
  let description = [{
    ```
    score(i, j)  =  sum over subvectors s of <q_i[s], centroids[s, code_j[s]]>
    code_j[s]    =  argmin over c of |k_j[s] - centroids[s, c]|^2, the lowest of equal ones
    ```

    A row of D numbers is cut into `subvectors` pieces of equal length, each of which
    is one of `codes` centroids of its key/value head: a byte each for 256 codes.

    ```
    subvectors = 2, D = 4      k = (.9 .1 | 0 2.1)  ->  codes (0, 1)
    centroids 0: (1 0), (0 1)      1: (0 0), (0 2)      score <q, (1 0 0 2)>
    ```

    ```mlir
    %s = sparse_attn.score.pq %centroids subvectors = 4 codes = 256 : tensor<?x?x?x?xf32>
    ```

    Constraints:
    * (score_pq_c1) 1 <= subvectors <= 256
    * (score_pq_c2) 2 <= codes <= 65536
    * (score_pq_c3) D is a multiple of subvectors
    * (score_pq_c4) centroids are [Hkv, subvectors, codes, D / subvectors]

    Invalid: `codes = 1`, "codes must be in [2, 65536], got 1; one code tells nothing
    apart".
  }];
  let arguments = (ins 4DTensorOf<[F32]>:$centroids, I64Attr:$subvectors, I64Attr:$codes,
                       SparseAttn_ShareParameter:$share);
  let assemblyFormat = [{
    $centroids `subvectors` `=` $subvectors `codes` `=` $codes (`share` `=` `` $share^)?
    `:` type($centroids) attr-dict
  }];
  let hasVerifier = 1;
}

def SparseAttn_ScoreSoftHashOp : SparseAttn_ScoreOp<"soft_hash",
    ["getKeyStates", "getWeightSizes", "getTensorSpecs"]> {
  let summary = "probability that a soft query falls into a key's buckets (SOCKET)";
  let description = [{
    ```
    score(i, j)  =  |v_j| * sum over tables l of p_l[bucket_l(k_j)]
    bucket_l(x)  =  sign(x W_l), one of 2^bits corners of {-1, 1}^bits; sign(0) = +1
    p_l          =  softmax over the corners c of <tanh(q_i W_l) / sqrt(D), c> / temperature
    ```

    Keys are hashed hard, queries softly: near a boundary both sides count. The
    projections W_l[D][bits] are the same for all heads.

    ```
    bits = 1, tables = 1, temperature = 1/sqrt(D)      p[+] = 1 / (1 + exp(-2 tanh(q W)))
    ```

    ```mlir
    %s = sparse_attn.score.soft_hash %projections tables = 60 bits = 10 temperature = 0.3
        : tensor<?x?x?xf32>
    ```

    Constraints:
    * (score_soft_hash_c1) 1 <= tables <= 4096
    * (score_soft_hash_c2) 1 <= bits <= 16
    * (score_soft_hash_c3) temperature > 0, an ordinary f32 number
    * (score_soft_hash_c4) projections are [tables, D, bits]

    Invalid: `temperature = 0.0`, "temperature must be > 0 and an ordinary f32 number
    (2^-126 to 2^126), got 0; use score.hash for hard buckets".
  }];
  let arguments = (ins 3DTensorOf<[F32]>:$projections, I64Attr:$tables, I64Attr:$bits,
                       F64Attr:$temperature, SparseAttn_ShareParameter:$share);
  let assemblyFormat = [{
    $projections `tables` `=` $tables `bits` `=` $bits `temperature` `=` $temperature
    (`share` `=` `` $share^)? `:` type($projections) attr-dict
  }];
  let hasVerifier = 1;
}

def SparseAttn_ScorePooledOp : SparseAttn_ScoreOp<"pooled",
    ["getGranularity", "getKeyStates", "getWeightSizes", "getTensorSpecs"],
    [AttrSizedOperandSegments]> {
  let summary = "the mean of a query tile times the mean of a key block";
  let description = [{
    ```
    score(tile, block)  =  <mean of q_i over the tile, mean of k_j over the block>
                           <... * query_gate[h], ... * key_gate[h / G]>      with gates
    ```

    One product for `block_q` rows and `block_k` keys. Learned gates, matrices
    [D][width] for every query head and key/value head, project both means before
    (SeerAttention). Means are of the rows below m and the keys below n, candidates or
    not; the score has no scale.

    ```
    rows (1, 0), (0, 1)      keys (2, 2), (0, 2)      score <(.5, .5), (1, 2)> = 1.5
    ```

    ```mlir
    %plain = sparse_attn.score.pooled
    %gated = sparse_attn.score.pooled query_gate(%gq : tensor<?x?x?xf32>)
        key_gate(%gk : tensor<?x?x?xf32>) width = 32
    ```

    Constraints:
    * (score_pooled_c1) there are two gates or none
    * (score_pooled_c2) a width goes with gates, and is in [1, 1024]
    * (score_pooled_c3) gates are [H or 1, D, width] and [Hkv, D, width]

    Invalid: gates without a width, "gates need their width, the numbers that a mean is
    projected to; write width = 32".
  }];
  let arguments = (ins Optional<3DTensorOf<[F32]>>:$query_gate,
                       Optional<3DTensorOf<[F32]>>:$key_gate, OptionalAttr<I64Attr>:$width,
                       SparseAttn_ShareParameter:$share);
  let assemblyFormat = [{
    (`query_gate` `(` $query_gate^ `:` type($query_gate) `)`)?
    (`key_gate` `(` $key_gate^ `:` type($key_gate) `)`)? (`width` `=` $width^)?
    (`share` `=` `` $share^)? attr-dict
  }];
  let hasVerifier = 1;
}

def SparseAttn_ScoreAntidiagonalOp : SparseAttn_ScoreOp<"antidiagonal",
    ["getGranularity", "getKeyStates"]> {
  let summary = "the sum of every stride-th antidiagonal of a tile (XAttention)";
  let description = [{
    ```
    score(tile, block)  =  sum of <q_i, k_j> over rows i and keys j of the two with
                           (i - i0 + j - j0) mod stride == stride - 1
    ```

    Antidiagonals cross every row and every key of a tile, and every vertical and slanted
    line that attention draws in it, so that a share 1 / stride of the products tells
    what the tile weighs. i0 and j0 are the tile's first row and key; rows below m and
    keys below n count, candidates or not; the score has no scale. It is `stride`
    products of sums: of the rows with i - i0 = a and the keys with j - j0 =
    stride - 1 - a, modulo stride.

    ```
    stride = 2      j  0 1 2 3
                i 0    . x . x
                i 1    x . x .
                i 2    . x . x
    ```

    ```mlir
    %s = sparse_attn.score.antidiagonal stride = 16
    ```

    Constraints:
    * (score_antidiagonal_c1) 1 <= stride < 2^30

    Invalid: `stride = 0`, "stride must be in [1, 2^30), got 0; stride = 1 sums every
    product of a tile".
  }];
  let arguments = (ins I64Attr:$stride, SparseAttn_ShareParameter:$share);
  let assemblyFormat = "`stride` `=` $stride (`share` `=` `` $share^)? attr-dict";
  let hasVerifier = 1;
}

#endif // SPARSE_ATTN_SCORE_OPS_TD
