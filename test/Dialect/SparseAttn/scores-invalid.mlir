// RUN: sparse-attn-opt %s -split-input-file -verify-diagnostics

func.func @score_channels_c1(%w: tensor<?x?xi32>) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.channels' op count must be in [1, 256], got 0; it is the number of channels of a head}}
  %m = sparse_attn.score.channels %w count = 0 : tensor<?x?xi32>
  return
}

// -----

!qkv = tensor<?x?x?x8xf32>
!lse = tensor<?x?x?xf32>

func.func @score_channels_c2(%q: !qkv, %w: tensor<?x5xi32>) -> !qkv {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.channels' op axis 1 of channels must have 4 entries, its count, for D = 8, got 5}}
  %s = sparse_attn.score.channels %w count = 4 : tensor<?x5xi32>
  %m = sparse_attn.top_k %s, %c k = 4
  %o, %l = sparse_attn.attention %q, %q, %q mask(%m) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o : !qkv
}

// -----

func.func @score_pq_c1(%w: tensor<?x?x?x?xf32>) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.pq' op subvectors must be in [1, 256], got 0; a row of K is cut into so many pieces}}
  %m = sparse_attn.score.pq %w subvectors = 0 codes = 16 : tensor<?x?x?x?xf32>
  return
}

// -----

func.func @score_pq_c2(%w: tensor<?x?x?x?xf32>) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.pq' op codes must be in [2, 65536], got 1; one code tells nothing apart}}
  %m = sparse_attn.score.pq %w subvectors = 4 codes = 1 : tensor<?x?x?x?xf32>
  return
}

// -----

!qkv = tensor<?x?x?x8xf32>
!lse = tensor<?x?x?xf32>

func.func @score_pq_c3(%q: !qkv, %w: tensor<?x?x?x?xf32>) -> !qkv {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.pq' op needs a D that is a multiple of 3, got 8; cut a row of K into pieces of equal length}}
  %s = sparse_attn.score.pq %w subvectors = 3 codes = 16 : tensor<?x?x?x?xf32>
  %m = sparse_attn.top_k %s, %c k = 4
  %o, %l = sparse_attn.attention %q, %q, %q mask(%m) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o : !qkv
}

// -----

!qkv = tensor<?x?x?x8xf32>
!lse = tensor<?x?x?xf32>

func.func @score_pq_c4(%q: !qkv, %w: tensor<?x4x16x3xf32>) -> !qkv {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.pq' op axis 3 of centroids must have 2 entries, the length of a subvector, for D = 8, got 3}}
  %s = sparse_attn.score.pq %w subvectors = 4 codes = 16 : tensor<?x4x16x3xf32>
  %m = sparse_attn.top_k %s, %c k = 4
  %o, %l = sparse_attn.attention %q, %q, %q mask(%m) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o : !qkv
}

// -----

func.func @score_soft_hash_c1(%w: tensor<?x?x?xf32>) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.soft_hash' op tables must be in [1, 4096], got 0; it is the number of hash tables}}
  %m = sparse_attn.score.soft_hash %w tables = 0 bits = 4 temperature = 1.0 : tensor<?x?x?xf32>
  return
}

// -----

func.func @score_soft_hash_c2(%w: tensor<?x?x?xf32>) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.soft_hash' op bits must be in [1, 16], got 17; a table has 2^bits buckets}}
  %m = sparse_attn.score.soft_hash %w tables = 4 bits = 17 temperature = 1.0 : tensor<?x?x?xf32>
  return
}

// -----

func.func @score_soft_hash_c3(%w: tensor<?x?x?xf32>) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.soft_hash' op temperature must be > 0 and an ordinary f32 number (2^-126 to 2^126), got 0; use score.hash for hard buckets}}
  %m = sparse_attn.score.soft_hash %w tables = 4 bits = 4 temperature = 0.0 : tensor<?x?x?xf32>
  return
}

// -----

!qkv = tensor<?x?x?x8xf32>
!lse = tensor<?x?x?xf32>

func.func @score_soft_hash_c4(%q: !qkv, %w: tensor<?x16x?xf32>) -> !qkv {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.soft_hash' op axis 1 of projections must have 8 entries, the numbers of a row, for D = 8, got 16}}
  %s = sparse_attn.score.soft_hash %w tables = 4 bits = 2 temperature = 1.0 : tensor<?x16x?xf32>
  %m = sparse_attn.top_k %s, %c k = 4
  %o, %l = sparse_attn.attention %q, %q, %q mask(%m) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o : !qkv
}

// -----

func.func @score_pooled_c1(%w: tensor<?x?x?xf32>) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.pooled' op needs a gate for queries and one for keys, or none; the two project to one space}}
  %m = sparse_attn.score.pooled query_gate(%w : tensor<?x?x?xf32>) width = 4
  return
}

// -----

func.func @score_pooled_c2(%w: tensor<?x?x?xf32>) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.pooled' op gates need their width, the numbers that a mean is projected to; write width = 32}}
  %m = sparse_attn.score.pooled query_gate(%w : tensor<?x?x?xf32>) key_gate(%w : tensor<?x?x?xf32>)
  return
}

// -----

func.func @score_pooled_c2_alone() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.pooled' op has a width but no gates; leave the width out}}
  %m = sparse_attn.score.pooled width = 32
  return
}

// -----

func.func @score_pooled_c2_range(%w: tensor<?x?x?xf32>) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.pooled' op width must be in [1, 1024], got 0; it is the numbers that a mean is projected to}}
  %m = sparse_attn.score.pooled query_gate(%w : tensor<?x?x?xf32>) key_gate(%w : tensor<?x?x?xf32>) width = 0
  return
}

// -----

!qkv = tensor<?x?x?x8xf32>
!lse = tensor<?x?x?xf32>

func.func @score_pooled_c3(%q: !qkv, %w: tensor<?x8x5xf32>) -> !qkv {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.pooled' op axis 2 of query_gate must have 4 entries, their width, for D = 8, got 5}}
  %s = sparse_attn.score.pooled query_gate(%w : tensor<?x8x5xf32>) key_gate(%w : tensor<?x8x5xf32>) width = 4
  %m = sparse_attn.top_k %s, %c k = 4
  %o, %l = sparse_attn.attention %q, %q, %q mask(%m) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o : !qkv
}

// -----

func.func @score_antidiagonal_c1() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.antidiagonal' op stride must be in [1, 2^30), got 0; stride = 1 sums every product of a tile}}
  %m = sparse_attn.score.antidiagonal stride = 0
  return
}
