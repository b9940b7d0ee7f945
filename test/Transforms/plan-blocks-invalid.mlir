// RUN: sparse-attn-opt %s -split-input-file -verify-diagnostics --plan-blocks

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>
!pooled = !sparse_attn.pooled<tensor<?x?x?x64xf32>, 32>

func.func @modifier_on_pooled_keys(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %m = sparse_attn.causal
  %c = sparse_attn.softcap cap = 30.0
  %pk = sparse_attn.pool %k : !qkv -> !pooled
  %pv = sparse_attn.pool %v : !qkv -> !pooled
  // expected-error @+1 {{'sparse_attn.attention' op has score modifiers on pooled keys, whose positions are blocks; apply modifiers to token keys only}}
  %o, %l = sparse_attn.attention %q, %pk, %pv mask(%m) modifiers(%c) : !qkv, !pooled, !pooled -> !qkv, !state
  return %o, %l : !qkv, !state
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>
!i1 = tensor<?xi32>
!i2 = tensor<?x?xi32>

func.func @two_distances(%q: !qkv, %k: !qkv, %v: !qkv, %o: !i2, %c: !i2, %p: !i1, %i: !i1) -> (!qkv, !state) {
  %m = sparse_attn.all
  %a = sparse_attn.hop_decay %o, %c, %p, %i max_hops = 1 temperature = 1.0 : !i2, !i2, !i1, !i1
  %b = sparse_attn.hop_decay %o, %c, %p, %i max_hops = 2 temperature = 1.0 : !i2, !i2, !i1, !i1
  // expected-error @+1 {{'sparse_attn.attention' op has 2 modifiers that need hop distances; merge them into one}}
  %out, %l = sparse_attn.attention %q, %k, %v mask(%m) modifiers(%a, %b) : !qkv, !qkv, !qkv -> !qkv, !state
  return %out, %l : !qkv, !state
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

func.func @many_rows(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  %a = sparse_attn.top_k %s, %c k = 8 block_q = 96
  %t = sparse_attn.top_k %s, %a k = 8 block_q = 2048
  // expected-error @below {{'sparse_attn.attention' op has a mask in which 6144 rows choose together, the least common multiple of its block_q; a query tile holds at most 1024}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%t) : !qkv, !qkv, !qkv -> !qkv, !state
  return %out, %lse : !qkv, !state
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

func.func @sampled_rows(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  %t = sparse_attn.top_k %s, %c k = 8 block_q = 64
  %u = sparse_attn.sample.uniform %c count = 8 seed = 1
  %m = sparse_attn.union %t, %u : !sparse_attn.mask, !sparse_attn.mask<sampled>
  // expected-error @below {{'sparse_attn.attention' op has a mask in which 64 rows choose together, beside keys that each row draws for itself; select with block_q = 1 where a mask is sampled}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%m : !sparse_attn.mask<sampled>) : !qkv, !qkv, !qkv -> !qkv, !state
  return %out, %lse : !qkv, !state
}
