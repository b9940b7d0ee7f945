// RUN: sparse-attn-opt %s --plan-blocks="tile-rows=32 tile-keys=256" | FileCheck %s
// RUN: not sparse-attn-opt %s --plan-blocks=tile-rows=32 2>&1 | FileCheck %s --check-prefix=ALONE
// ALONE: error: tile-rows and tile-keys go together

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

// CHECK: tile = array<i64: 32, 256>
func.func @tiles(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %m = sparse_attn.all
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %l : !qkv, !state
}
