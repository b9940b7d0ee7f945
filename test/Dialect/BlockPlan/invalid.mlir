// RUN: sparse-attn-opt %s -split-input-file -verify-diagnostics

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

func.func @plan_attention_c1(%q: !qkv, %k: !qkv, %v: !qkv) {
  // expected-error @+1 {{tile must be [rows >= 1, keys >= 8 and a multiple of 8]}}
  %o, %l = block_plan.attention %q, %k, %v {binding = #block_plan<binding plan>, checks = [], key_block = 0 : i64, scale = 1.0 : f64, tables = [], tile = array<i64: 64, 12>} : !qkv, !qkv, !qkv -> !qkv, !state classify {
  ^bb0(%b: i32, %h: i32, %p0: i32, %p1: i32, %j0: i32, %j1: i32, %step: i32):
    %t = arith.constant true
    block_plan.yield %t, %t : i1, i1
  } predicate {
  } modify {
  }
  return
}

// -----

!q3 = tensor<?x?x64xf32>
!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

func.func @plan_attention_c2(%q: !q3, %k: !qkv, %v: !qkv) {
  // expected-error @+1 {{q, k and v must be rank-4 tensors}}
  %o, %l = block_plan.attention %q, %k, %v {binding = #block_plan<binding plan>, checks = [], key_block = 0 : i64, scale = 1.0 : f64, tables = [], tile = array<i64: 64, 128>} : !q3, !qkv, !qkv -> !qkv, !state classify {
  ^bb0(%b: i32, %h: i32, %p0: i32, %p1: i32, %j0: i32, %j1: i32, %step: i32):
    %t = arith.constant true
    block_plan.yield %t, %t : i1, i1
  } predicate {
  } modify {
  }
  return
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

func.func @plan_attention_c3(%q: !qkv, %k: !qkv, %v: !qkv) {
  // expected-error @+1 {{needs a predicate with compile binding, and none with plan binding}}
  %o, %l = block_plan.attention %q, %k, %v {binding = #block_plan<binding compile>, checks = [], key_block = 0 : i64, scale = 1.0 : f64, tables = [], tile = array<i64: 64, 128>} : !qkv, !qkv, !qkv -> !qkv, !state classify {
  ^bb0(%b: i32, %h: i32, %p0: i32, %p1: i32, %j0: i32, %j1: i32, %step: i32):
    %t = arith.constant true
    block_plan.yield %t, %t : i1, i1
  } predicate {
  } modify {
  }
  return
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

func.func @plan_attention_c4(%q: !qkv, %k: !qkv, %v: !qkv) {
  // expected-error @+1 {{period must be >= 1}}
  %o, %l = block_plan.attention %q, %k, %v {binding = #block_plan<binding plan>, checks = [], key_block = 0 : i64, period = 0 : i64, scale = 1.0 : f64, tables = [], tile = array<i64: 64, 128>} : !qkv, !qkv, !qkv -> !qkv, !state classify {
  ^bb0(%b: i32, %h: i32, %p0: i32, %p1: i32, %j0: i32, %j1: i32, %step: i32):
    %t = arith.constant true
    block_plan.yield %t, %t : i1, i1
  } predicate {
  } modify {
  }
  return
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

func.func @plan_attention_c5(%q: !qkv, %k: !qkv, %v: !qkv) {
  // expected-error @+1 {{region 'classify' must yield 'i1', 'i1'}}
  %o, %l = block_plan.attention %q, %k, %v {binding = #block_plan<binding plan>, checks = [], key_block = 0 : i64, scale = 1.0 : f64, tables = [], tile = array<i64: 64, 128>} : !qkv, !qkv, !qkv -> !qkv, !state classify {
  ^bb0(%b: i32, %h: i32, %p0: i32, %p1: i32, %j0: i32, %j1: i32, %step: i32):
    %t = arith.constant true
    block_plan.yield %t : i1
  } predicate {
  } modify {
  }
  return
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

func.func @plan_attention_c5_extent(%q: !qkv, %k: !qkv, %v: !qkv) {
  // expected-error @+1 {{region 'extent' must yield 'i1', 'i1', 'i32'}}
  %o, %l = block_plan.attention %q, %k, %v {binding = #block_plan<binding plan>, checks = [], key_block = 0 : i64, scale = 1.0 : f64, tables = [], tile = array<i64: 64, 128>} : !qkv, !qkv, !qkv -> !qkv, !state classify {
  ^bb0(%b: i32, %h: i32, %p0: i32, %p1: i32, %j0: i32, %j1: i32, %step: i32):
    %t = arith.constant true
    block_plan.yield %t, %t : i1, i1
  } extent {
  ^bb0(%b: i32, %h: i32, %p0: i32, %p1: i32, %j0: i32, %j1: i32, %step: i32):
    %t = arith.constant true
    block_plan.yield %t, %t : i1, i1
  } predicate {
  } modify {
  }
  return
}

// -----

// expected-error @below {{'func.func' op block_plan.tile must be array<i64: rows, keys> with 1 to 1024 rows and 64, 128, ... 1024 keys, got array<i64: 64, 100>}}
func.func private @tile_keys() attributes {block_plan.tile = array<i64: 64, 100>}

// -----

// expected-error @below {{'func.func' op block_plan.tile must be array<i64: rows, keys> with 1 to 1024 rows and 64, 128, ... 1024 keys, got "64x128"}}
func.func private @tile_text() attributes {block_plan.tile = "64x128"}

// -----

// expected-error @below {{'func.func' op has the attribute 'block_plan.tiles', which means nothing; kernels take block_plan.tile and block_plan.unions}}
func.func private @misspelled() attributes {block_plan.tiles = array<i64: 64, 128>}

// -----

// expected-error @below {{'func.func' op block_plan.unions must be #block_plan.unions<choose>, <whole> or <split>, got "split"}}
func.func private @unions_text() attributes {block_plan.unions = "split"}

// -----

func.func @choose_c1() {
  // expected-error @below {{needs at least one way to the state}}
  %o, %l = "block_plan.choose"() : () -> (tensor<?x?x?x64xf32>, tensor<?x?x?xf32>)
  return
}

// -----

func.func @choose_c2(%o: tensor<?x?x?x64xf32>, %l: tensor<?x?x?xf32>) {
  // expected-error @below {{every way must have the types of the results, 'tensor<?x?x?x64xf16>', 'tensor<?x?x?xf32>', got 'tensor<?x?x?x64xf32>' and 'tensor<?x?x?xf32>'}}
  %r, %s = block_plan.choose %o lse %l : (tensor<?x?x?x64xf32>), (tensor<?x?x?xf32>) -> tensor<?x?x?x64xf16>, tensor<?x?x?xf32>
  return
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

func.func @plan_attention_c7(%q: !qkv, %k: !qkv, %v: !qkv) {
  %c = sparse_attn.causal
  %m = sparse_attn.random_keys %c count = 4 seed = 1
  // expected-error @+1 {{needs a region of structures for each mask that is known}}
  %o, %l = block_plan.attention %q, %k, %v choice(%m : !sparse_attn.mask) known(%c : !sparse_attn.mask) {binding = #block_plan<binding plan>, checks = [], key_block = 0 : i64, scale = 1.0 : f64, tables = [], tile = array<i64: 1, 128>} : !qkv, !qkv, !qkv -> !qkv, !state classify {
  ^bb0(%b: i32, %h: i32, %p0: i32, %p1: i32, %j0: i32, %j1: i32, %step: i32):
    %t = arith.constant true
    block_plan.yield %t, %t : i1, i1
  } predicate {
  } modify {
  }
  return
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

func.func @plan_attention_c6(%q: !qkv, %k: !qkv, %v: !qkv) {
  %s = sparse_attn.score.pages
  // expected-error @+1 {{score_blocks must have the keys of a unit, at least one, for each of scores}}
  %o, %l = block_plan.attention %q, %k, %v scores(%s : !sparse_attn.score) {binding = #block_plan<binding plan>, checks = [], key_block = 0 : i64, scale = 1.0 : f64, score_blocks = array<i64>, tables = [], tile = array<i64: 64, 128>} : !qkv, !qkv, !qkv -> !qkv, !state classify {
  ^bb0(%b: i32, %h: i32, %p0: i32, %p1: i32, %j0: i32, %j1: i32, %step: i32):
    %t = arith.constant true
    block_plan.yield %t, %t : i1, i1
  } predicate {
  } modify {
  }
  return
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

func.func @plan_attention_c6_block(%q: !qkv, %k: !qkv, %v: !qkv) {
  %s = sparse_attn.score.pages
  // expected-error @+1 {{score_blocks must have the keys of a unit, at least one, for each of scores}}
  %o, %l = block_plan.attention %q, %k, %v scores(%s : !sparse_attn.score) {binding = #block_plan<binding plan>, checks = [], key_block = 0 : i64, scale = 1.0 : f64, score_blocks = array<i64: 0>, tables = [], tile = array<i64: 64, 128>} : !qkv, !qkv, !qkv -> !qkv, !state classify {
  ^bb0(%b: i32, %h: i32, %p0: i32, %p1: i32, %j0: i32, %j1: i32, %step: i32):
    %t = arith.constant true
    block_plan.yield %t, %t : i1, i1
  } predicate {
  } modify {
  }
  return
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

func.func @plan_attention_c6_score(%q: !qkv, %k: !qkv, %v: !qkv, %s: !sparse_attn.score) {
  // expected-error @+1 {{scores must be made by score ops, got one of type '!sparse_attn.score'}}
  %o, %l = block_plan.attention %q, %k, %v scores(%s : !sparse_attn.score) {binding = #block_plan<binding plan>, checks = [], key_block = 0 : i64, scale = 1.0 : f64, score_blocks = array<i64: 1>, tables = [], tile = array<i64: 64, 128>} : !qkv, !qkv, !qkv -> !qkv, !state classify {
  ^bb0(%b: i32, %h: i32, %p0: i32, %p1: i32, %j0: i32, %j1: i32, %step: i32):
    %t = arith.constant true
    block_plan.yield %t, %t : i1, i1
  } predicate {
  } modify {
  }
  return
}
