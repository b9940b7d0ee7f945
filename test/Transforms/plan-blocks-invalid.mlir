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

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>
!drawn = !sparse_attn.mask<sampled>

func.func @one_seed(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %c = sparse_attn.causal
  %w = sparse_attn.window left = 9 right = 0
  // expected-note @below {{drawn here}}
  %a = sparse_attn.sample.uniform %c count = 8 seed = 7
  // expected-note @below {{and here}}
  %b = sparse_attn.sample.uniform %w count = 2 seed = 7
  %m = sparse_attn.union %a, %b : !drawn, !drawn
  // expected-error @below {{'sparse_attn.attention' op has a mask in which 'sparse_attn.sample.uniform' draws the same keys twice, with seed 7; give each draw its own seed}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%m : !drawn) : !qkv, !qkv, !qkv -> !qkv, !state
  return %out, %lse : !qkv, !state
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>
!drawn = !sparse_attn.mask<sampled>
!list = tensor<?x?x?x?xi32>
!chance = tensor<?x?x?x?xf32>

func.func @one_list(%q: !qkv, %k: !qkv, %v: !qkv, %i: !list, %p: !chance) -> (!qkv, !state) {
  %c = sparse_attn.causal
  // expected-note @below {{drawn here}}
  %a = sparse_attn.listed %i probability(%p : !chance) : !list
  %b = sparse_attn.intersect %a, %c : !drawn, !sparse_attn.mask
  %m = sparse_attn.union %a, %b : !drawn, !drawn
  // expected-error @below {{'sparse_attn.attention' op has a mask in which 'sparse_attn.listed' draws the same keys twice; use a sampled list once}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%m : !drawn) : !qkv, !qkv, !qkv -> !qkv, !state
  return %out, %lse : !qkv, !state
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>
!drawn = !sparse_attn.mask<sampled>

// Heads draw for themselves, and so do ops of two kinds.
func.func @other_draws(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %c = sparse_attn.causal
  %w = sparse_attn.window left = 9 right = 0
  %a = sparse_attn.sample.uniform %c count = 8 seed = 7
  %b = sparse_attn.sample.uniform %w count = 2 seed = 7
  %h = sparse_attn.per_head %a, %b table = [0, 1] : !drawn, !drawn
  %l = sparse_attn.sample.lsh %c tables = 8 bits = 2 seed = 7
  %m = sparse_attn.union %h, %l : !drawn, !drawn
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%m : !drawn) : !qkv, !qkv, !qkv -> !qkv, !state
  return %out, %lse : !qkv, !state
}
