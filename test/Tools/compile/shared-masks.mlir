// A mask that two attentions share: once one of them has its plan, the other reads it alone,
// and must not be rewritten below its own plan.
// RUN: sparse-attn-compile %s -o %t --name shared
// RUN: sparse-attn-run %t/libshared.so --random 1,2,1,30,90 --check | FileCheck %s
// CHECK: check  passed

!qkv = tensor<?x?x?x16xf32>
!state = tensor<?x?x?xf32>
func.func @k(%q: !qkv {sparse_attn.name = "q"}, %k: !qkv {sparse_attn.name = "k"}, %v: !qkv {sparse_attn.name = "v"}) -> (!qkv, !state) {
  %w = sparse_attn.window left = 9 right = 0
  %g = sparse_attn.strided stride = 7
  %u = sparse_attn.union %w, %g
  %c = sparse_attn.causal
  %s = sparse_attn.score.dot
  %t = sparse_attn.top_k %s, %c k = 5
  %n = sparse_attn.complement %u
  %r = sparse_attn.intersect %t, %n
  %a:2 = sparse_attn.attention %q, %k, %v mask(%u) : !qkv, !qkv, !qkv -> !qkv, !state
  %b:2 = sparse_attn.attention %q, %k, %v mask(%r) : !qkv, !qkv, !qkv -> !qkv, !state
  %m:2 = sparse_attn.merge %a#0, %b#0 lse %a#1, %b#1 : (!qkv, !qkv), !state -> !qkv
  return %m#0, %m#1 : !qkv, !state
}
