// RUN: sparse-attn-opt %s -split-input-file -verify-diagnostics --sparse-attn-to-kernel

!qkv = tensor<?x?x?x64xbf16>
!state = tensor<?x?x?xf32>

func.func @element_type(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %m = sparse_attn.causal
  // expected-error @+1 {{'block_plan.attention' op has element type 'bf16', which CPU kernels do not take yet; use f32}}
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %l : !qkv, !state
}
