// RUN: sparse-attn-opt %s -split-input-file -verify-diagnostics

func.func @@SNAKE@_c1() {
  // expected-error@+1 {{'sparse_attn.@SNAKE@' op size must be in [0, 2^30), got -1; use sparse_attn.none to keep no key}}
  %m = sparse_attn.@SNAKE@ size = -1
  return
}
