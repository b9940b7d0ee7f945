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
        DeclareOpInterfaceMethods<ScoreOpInterface, !listconcat(["evaluate"], methods)>],
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
    ["getKeyStates", "getWeightSizes", "getTensorSpecs"]> {
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

#endif // SPARSE_ATTN_SCORE_OPS_TD
