// RUN: sparse-attn-opt %s -split-input-file -verify-diagnostics

func.func @cluster_c1() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.cluster' op needs either centroids, or buckets and a seed to draw directions from}}
  %m = sparse_attn.cluster %c buckets = 8
  return
}

// -----

func.func @cluster_c1_both(%w: tensor<?x?x?xf32>) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.cluster' op needs either centroids, or buckets and a seed to draw directions from}}
  %m = sparse_attn.cluster %c centroids(%w : tensor<?x?x?xf32>) seed = 1
  return
}

// -----

func.func @cluster_c2() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.cluster' op buckets must be even and in [2, 2^16), got 7; a direction and its opposite are two buckets}}
  %m = sparse_attn.cluster %c buckets = 7 seed = 1
  return
}

// -----

func.func @cluster_c3() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.cluster' op rounds must be in [1, 64], and 1 with centroids, got 65; a round draws directions of its own}}
  %m = sparse_attn.cluster %c buckets = 8 rounds = 65 seed = 1
  return
}

// -----

func.func @cluster_c3_centroids(%w: tensor<?x?x?xf32>) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.cluster' op rounds must be in [1, 64], and 1 with centroids, got 2; a round draws directions of its own}}
  %m = sparse_attn.cluster %c centroids(%w : tensor<?x?x?xf32>) rounds = 2
  return
}

// -----

func.func @cluster_c4() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.cluster' op block_q must be in [1, 2^30), got 0; leave it out to choose for every row}}
  %m = sparse_attn.cluster %c buckets = 8 seed = 1 block_q = 0
  return
}

// -----

func.func @cluster_c5() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.cluster' op block_k must be in [1, 2^30), got 0; leave it out to choose single keys}}
  %m = sparse_attn.cluster %c buckets = 8 seed = 1 block_k = 0
  return
}

// -----

!qkv = tensor<?x?x?x8xf32>
!lse = tensor<?x?x?xf32>

func.func @cluster_c6(%q: !qkv, %w: tensor<?x4x9xf32>) -> !qkv {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.cluster' op axis 2 of centroids must have 8 entries, the numbers of a row, for D = 8, got 9}}
  %m = sparse_attn.cluster %c centroids(%w : tensor<?x4x9xf32>)
  %o, %l = sparse_attn.attention %q, %q, %q mask(%m) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o : !qkv
}

// -----

func.func @cluster_c7(%c: !sparse_attn.mask) {
  // expected-error @below {{'sparse_attn.cluster' op a mask must be the result of a mask op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %m = sparse_attn.cluster %c buckets = 8 seed = 1
  return
}

// -----

func.func @sample_lsh_c1() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.sample.lsh' op tables must be in [1, 4096], got 0; it is the number of hash tables}}
  %m = sparse_attn.sample.lsh %c tables = 0 bits = 4 seed = 1
  return
}

// -----

func.func @sample_lsh_c2() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.sample.lsh' op bits must be in [1, 32], got 33; it is the number of sign bits of a table}}
  %m = sparse_attn.sample.lsh %c tables = 4 bits = 33 seed = 1
  return
}

// -----

func.func @sample_lsh_c3() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.sample.lsh' op min_matches must be 1 or 2, and not above the number of tables (150), got 3}}
  %m = sparse_attn.sample.lsh %c tables = 150 bits = 10 min_matches = 3 seed = 1
  return
}

// -----

func.func @sample_lsh_c3_tables() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.sample.lsh' op min_matches must be 1 or 2, and not above the number of tables (1), got 2}}
  %m = sparse_attn.sample.lsh %c tables = 1 bits = 10 seed = 1
  return
}

// -----

func.func @sample_lsh_c4(%w: tensor<?x?x?xf32>) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.sample.lsh' op has a mean that center = none does not subtract; leave it out, or center keys or both}}
  %m = sparse_attn.sample.lsh %c mean(%w : tensor<?x?x?xf32>) tables = 4 bits = 4 center = none seed = 1
  return
}

// -----

!qkv = tensor<?x?x?x8xf32>
!lse = tensor<?x?x?xf32>

func.func @sample_lsh_c5(%q: !qkv, %w: tensor<1x?x9xf32>) -> !qkv {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.sample.lsh' op axis 2 of mean must have 8 entries, the numbers of a row, for D = 8, got 9}}
  %m = sparse_attn.sample.lsh %c mean(%w : tensor<1x?x9xf32>) tables = 4 bits = 4 seed = 1
  %o, %l = sparse_attn.attention %q, %q, %q mask(%m : !sparse_attn.mask<sampled>) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o : !qkv
}

// -----

func.func @sample_lsh_c6(%c: !sparse_attn.mask) {
  // expected-error @below {{'sparse_attn.sample.lsh' op a mask must be the result of a mask op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %m = sparse_attn.sample.lsh %c tables = 4 bits = 4 seed = 1
  return
}

// -----

func.func @sample_adaptive_c1() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.sample.adaptive' op needs exactly one of base_count and base_rate, got 0; write base_count = 64 for a number of keys, base_rate = 0.1 for a tenth}}
  %m = sparse_attn.sample.adaptive %c beside %c epsilon = 0.1 delta = 0.1 seed = 1
  return
}

// -----

func.func @sample_adaptive_c2() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.sample.adaptive' op base_count must be in [1, 2^30), got 0; use sparse_attn.none to draw nothing}}
  %m = sparse_attn.sample.adaptive %c beside %c base_count = 0 epsilon = 0.1 delta = 0.1 seed = 1
  return
}

// -----

func.func @sample_adaptive_c3() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.sample.adaptive' op base_rate must be in (0, 1], got 1.25; use sparse_attn.none to draw nothing}}
  %m = sparse_attn.sample.adaptive %c beside %c base_rate = 1.25 epsilon = 0.1 delta = 0.1 seed = 1
  return
}

// -----

func.func @sample_adaptive_c4() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.sample.adaptive' op epsilon must be in (0, 1), got 1; it is the error allowed, as a share of the denominator}}
  %m = sparse_attn.sample.adaptive %c beside %c base_rate = 0.1 epsilon = 1.0 delta = 0.1 seed = 1
  return
}

// -----

func.func @sample_adaptive_c4_zero() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.sample.adaptive' op epsilon must be in (0, 1), got 0; it is the error allowed, as a share of the denominator}}
  %m = sparse_attn.sample.adaptive %c beside %c base_rate = 0.1 epsilon = 0.0 delta = 0.1 seed = 1
  return
}

// -----

func.func @sample_adaptive_c5() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.sample.adaptive' op delta must be in (0, 1), got 1.5; it is how often the error may be larger}}
  %m = sparse_attn.sample.adaptive %c beside %c base_rate = 0.1 epsilon = 0.1 delta = 1.5 seed = 1
  return
}

// -----

func.func @sample_adaptive_c6(%c: !sparse_attn.mask) {
  // expected-error @below {{'sparse_attn.sample.adaptive' op a mask must be the result of a mask op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %m = sparse_attn.sample.adaptive %c beside %c base_count = 2 epsilon = 0.1 delta = 0.1 seed = 1
  return
}
