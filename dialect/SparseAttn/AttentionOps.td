//===- AttentionOps.td - attention and its states -----------*- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_ATTENTION_OPS_TD
#define SPARSE_ATTN_ATTENTION_OPS_TD

include "dialect/SparseAttn/SparseAttnBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/CommonAttrConstraints.td"

def SparseAttn_Data : 4DTensorOf<[F32, F16, BF16]>;
def SparseAttn_KeyData : AnyTypeOf<[SparseAttn_Data, SparseAttn_PooledType]>;

def SparseAttn_AttentionOp : SparseAttn_Op<"attention", [Pure, AttrSizedOperandSegments]> {
  let summary = "softmax(scale Q K^T, masked) V and its log-sum-exp";
  let description = [{
    ```
    s_ij  = scale * <q_i, k_j>, changed by the modifiers in the order written
    w_ij  = exp(s_ij) / probability(i, j)         where the mask keeps the pair
    out_i = sum_j w_ij v_j / (sum_j w_ij + exp(sinks_h))
    lse_i = log(sum_j w_ij + exp(sinks_h))
    ```

    The one op that computes; everything else in the dialect says on which pairs. Row
    i sits at position `i + n - m`, or `i + q_offset[b]`. A row without a key is 0
    with LSE -infinity (or its sink), never NaN.

    ```
    q   [B, H, M, D]       ----+
    k   [B, Hkv, N, D]     ----+-- scores [M, N], kept pairs only --+
    v   [B, Hkv, N, Dv]    -----------------------------------------+-- out [B, H, M, Dv]
                                                                        lse [B, H, M]
    H = G * Hkv: query head h reads key head h / G
    ```

    Optional operands: real lengths `kv_len[b]` and `q_len[b]` inside padded tensors,
    `q_offset[b]`, one learned sink logit for each head.

    Sums are f32 whatever the inputs are; `out` is rounded once, where its type is f16
    or bf16.

    K and V may be pooled (see `pool`). A pooled key then stands at the position of the
    last token of its block, for the mask and for the modifiers, so `causal` keeps it
    once its whole block is at or before the query. Block plans do not take modifiers
    on pooled keys yet.

    ```mlir
    %c = sparse_attn.causal
    %out, %lse = sparse_attn.attention %q, %k, %v mask(%c) scale = 0.125
        : tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>
        -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
    ```

    Constraints:
    * (attention_c1) k and v are both pooled with the same block, or neither is
    * (attention_c2) the last axes of q, k, v and out are numbers in [8, 256]
    * (attention_c3) B, H, Hkv, M, N, D and Dv are each the same wherever they are known
    * (attention_c4) H is a multiple of Hkv, where both are known
    * (attention_c5) q, k and v have one element type, out has the same or f32
    * (attention_c6) 2^-126 <= scale <= 2^126
    * (attention_c7) the mask and the modifiers are results of ops before
    * (attention_c8) a mask that selects or draws keys does not go with pooled keys
    * (attention_c9) weights of scores and selections have the sizes that follow from D

    Invalid: q of type `tensor<?x?x?x?xf32>`, "the last axis of q must be a number in
    [8, 256], got ?; the head dimension is fixed when the kernel is compiled".
  }];
  let arguments = (ins SparseAttn_Data:$q, SparseAttn_KeyData:$k, SparseAttn_KeyData:$v,
                       SparseAttn_MaskType:$mask,
                       Optional<1DTensorOf<[I32]>>:$kv_len,
                       Optional<1DTensorOf<[I32]>>:$q_len,
                       Optional<1DTensorOf<[I32]>>:$q_offset,
                       Optional<1DTensorOf<[F32]>>:$sinks,
                       Variadic<SparseAttn_Modifier>:$modifiers,
                       OptionalAttr<F64Attr>:$scale);
  let results = (outs SparseAttn_Data:$out, 3DTensorOf<[F32]>:$lse);
  let assemblyFormat = [{
    $q `,` $k `,` $v `mask` `(` $mask `` custom<MaskType>(type($mask)) `)`
    (`kv_len` `(` $kv_len^ `:` type($kv_len) `)`)?
    (`q_len` `(` $q_len^ `:` type($q_len) `)`)?
    (`q_offset` `(` $q_offset^ `:` type($q_offset) `)`)?
    (`sinks` `(` $sinks^ `:` type($sinks) `)`)?
    (`modifiers` `(` $modifiers^ `)`)? (`scale` `=` $scale^)?
    attr-dict `:` type($q) `,` type($k) `,` type($v) `->` type($out) `,` type($lse)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The key tensor's type, pooled or not.
    ::mlir::RankedTensorType getKeyTensorType();
    ::mlir::RankedTensorType getValueTensorType();
    /// Tokens that a key stands for: the pool's block, or 0 where K is not pooled.
    int64_t getKeyBlock();
    /// Whether the keys that are computed together have to be neighbours: where they
    /// are pooled, where distances come from the plan, and where modifiers say so.
    bool needsNeighbours();
    int64_t getHeadDim();
    int64_t getValueDim();
    /// The scale, 1 / sqrt(D) where none is written.
    double getScaleOrDefault();
  }];
}

def SparseAttn_PoolOp : SparseAttn_Op<"pool", [Pure]> {
  let summary = "means of blocks of `block` tokens";
  let description = [{
    ```
    result[b, h, t, :]  =  mean of source[b, h, j, :] over block t <= j < block (t + 1)
    ```

    Coarse keys and values for hierarchical attention: the near tokens one by one, the
    far ones as means, combined with `merge`. The last block may have fewer tokens and
    is their mean; tokens at or after `kv_len[b]` do not count. A mean is rounded once
    to the element type.

    ```
    block = 2      tokens  a b  c d  e
                   rows    (a+b)/2  (c+d)/2  e
    ```

    ```mlir
    %means = sparse_attn.pool %k : tensor<?x?x?x64xf32>
        -> !sparse_attn.pooled<tensor<?x?x?x64xf32>, 32>
    ```

    Constraints:
    * (pool_c1) the element type stays
    * (pool_c2) B, H and D stay, where they are known
    * (pool_c3) there is one row for each block that is filled or started, where both
      sizes are known

    Invalid: a result of `tensor<?x?x3x64xf32>` for 100 tokens and blocks of 32, "the
    result must have one row for each of the 4 blocks that 100 tokens fill or start,
    got 3".
  }];
  let arguments = (ins SparseAttn_Data:$source);
  let results = (outs SparseAttn_PooledType:$result);
  let assemblyFormat = "$source `:` type($source) `->` type($result) attr-dict";
  let hasVerifier = 1;
}

def SparseAttn_MergeOp : SparseAttn_Op<"merge", [Pure, SameVariadicOperandSize]> {
  let summary = "combine attention states over disjoint keys";
  let description = [{
    ```
    lse  =  log(sum_k exp(lse_k))
    out  =  sum_k exp(lse_k - lse) out_k
    ```

    Attention over parts of the keys, put together to attention over all of them: near
    and pooled tokens, or parts of a long context. States without a key (LSE
    -infinity) are neutral, and one state beside empty ones is returned bit for bit.

    ```
    keys   |  part 0  |  part 1  |
            out0, lse0  out1, lse1
                 \\        /
                 out, lse
    ```

    ```mlir
    %out, %lse = sparse_attn.merge %o0, %o1 lse %l0, %l1
        : tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
    ```

    The types are those of every out and of every lse. States in f32, f16 and bf16 may
    be mixed; then each out has its type, and the result has its own, to which it is
    rounded once:

    ```mlir
    %out, %lse = sparse_attn.merge %o0, %o1 lse %l0, %l1
        : (tensor<?x?x?x64xf16>, tensor<?x?x?x64xf32>), tensor<?x?x?xf32>
        -> tensor<?x?x?x64xf16>
    ```

    Constraints:
    * (merge_c1) there is at least one state
    * (merge_c2) every out has the sizes of the result's out, every lse the type of its
      lse
    * (merge_c3) out and lse have the same B, H and M, where they are known

    Invalid: states of D = 64 and D = 32, "every out must have the sizes of the result
    'tensor<?x?x?x64xf32>', got 'tensor<?x?x?x32xf32>'".
  }];
  let arguments = (ins Variadic<SparseAttn_Data>:$outs, Variadic<3DTensorOf<[F32]>>:$lses);
  let results = (outs SparseAttn_Data:$out, 3DTensorOf<[F32]>:$lse);
  let assemblyFormat = [{
    $outs `lse` $lses custom<StateTypes>(ref($outs), type($outs), type($lses), type($out),
                                         type($lse)) attr-dict
  }];
  let hasVerifier = 1;
}

def SparseAttn_YieldOp : SparseAttn_Op<"yield", [Pure, Terminator,
    ParentOneOf<["CustomOp", "CustomScoreOp"]>]> {
  let summary = "the value of a custom region";
  let description = [{
    ```
    custom:        keep(b, h, p, j)    =  value      value: i1
    custom_score:  s'(s, b, h, p, j)   =  value      value: f32
    ```

    Ends the region of `custom` or `custom_score`.

    ```mlir
    %m = sparse_attn.custom {
    ^bb0(%b: index, %h: index, %p: index, %j: index):
      %keep = arith.cmpi sle, %j, %p : index
      sparse_attn.yield %keep : i1
    }
    ```

    Constraints: the value has the type that the op around it wants.

    Invalid: `sparse_attn.yield` elsewhere; it has no meaning outside these regions.
  }];
  let arguments = (ins AnyType:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

#endif // SPARSE_ATTN_ATTENTION_OPS_TD
