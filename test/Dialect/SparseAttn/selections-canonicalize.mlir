// RUN: sparse-attn-opt %s --canonicalize | FileCheck %s

!qkv = tensor<?x?x?x8xf32>
!lse = tensor<?x?x?xf32>

// A selection that takes every candidate is its candidates.
// CHECK-LABEL: func.func @all_of_them(
// CHECK-NOT:     top_
// CHECK:         mask(%[[CAUSAL:.*]]) :
func.func @all_of_them(%q: !qkv) -> !qkv {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  %k = sparse_attn.top_k %s, %c fraction = 1.0
  %p = sparse_attn.top_p %s, %k p = 1.0
  %r = sparse_attn.random_keys %p rate = 1.0 seed = 3
  %o, %l = sparse_attn.attention %q, %q, %q mask(%r) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o : !qkv
}

// Nothing to choose from is nothing.
// CHECK-LABEL: func.func @nothing(
// CHECK-NOT:     top_k
// CHECK:         %[[NONE:.*]] = sparse_attn.none
// CHECK:         mask(%[[NONE]])
func.func @nothing(%q: !qkv) -> !qkv {
  %s = sparse_attn.score.dot
  %c = sparse_attn.none
  %k = sparse_attn.top_k %s, %c k = 4
  %o, %l = sparse_attn.attention %q, %q, %q mask(%k) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o : !qkv
}

// A selection lies within its candidates, whatever contains these.
// CHECK-LABEL: func.func @within(
// CHECK:         %[[TOP:.*]] = sparse_attn.top_k
// CHECK-NOT:     intersect
// CHECK:         mask(%[[TOP]])
func.func @within(%q: !qkv) -> !qkv {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  %w = sparse_attn.window left = 64 right = 0
  %k = sparse_attn.top_k %s, %w k = 4
  %m = sparse_attn.intersect %c, %k
  %o, %l = sparse_attn.attention %q, %q, %q mask(%m) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o : !qkv
}

// Draws stay what they are: their type says that their weights are divided.
// CHECK-LABEL: func.func @sampled(
// CHECK:         sparse_attn.sample.uniform
func.func @sampled(%q: !qkv) -> !qkv {
  %c = sparse_attn.causal
  %u = sparse_attn.sample.uniform %c rate = 1.0 seed = 3
  %o, %l = sparse_attn.attention %q, %q, %q mask(%u : !sparse_attn.mask<sampled>) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o : !qkv
}
