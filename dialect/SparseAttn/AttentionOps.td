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
    $q `,` $k `,` $v `mask` `(` $mask custom<MaskType>(type($mask)) `)`
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
    int64_t getHeadDim();
    int64_t getValueDim();
    /// The scale, 1 / sqrt(D) where none is written.
    double getScaleOrDefault();
  }];
}

def SparseAttn_PoolOp : SparseAttn_Op<"pool", [Pure]> {
  let summary = "means of blocks of `block` tokens";
  let arguments = (ins SparseAttn_Data:$source);
  let results = (outs SparseAttn_PooledType:$result);
  let assemblyFormat = "$source `:` type($source) `->` type($result) attr-dict";
  let hasVerifier = 1;
}

def SparseAttn_MergeOp : SparseAttn_Op<"merge", [Pure, SameVariadicOperandSize]> {
  let summary = "combine attention states over disjoint keys";
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
  let arguments = (ins AnyType:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

#endif // SPARSE_ATTN_ATTENTION_OPS_TD
