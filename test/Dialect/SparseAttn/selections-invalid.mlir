// RUN: sparse-attn-opt %s -split-input-file -verify-diagnostics

func.func @score_hash_c1(%w: tensor<?x?xf32>) {
  // expected-error @below {{'sparse_attn.score.hash' op layers must list the widths of 1 to 16 layers, got 0; the last one is the number of bits}}
  %s = sparse_attn.score.hash %w, %w layers = [] : tensor<?x?xf32>, tensor<?x?xf32>
  return
}

// -----

func.func @score_hash_c1_width(%w: tensor<?x?xf32>) {
  // expected-error @below {{'sparse_attn.score.hash' op the width of a layer must be in [1, 2^16), got 0; layers lists the outputs of each dense layer}}
  %s = sparse_attn.score.hash %w, %w layers = [0, 32] : tensor<?x?xf32>, tensor<?x?xf32>
  return
}

// -----

func.func @score_hash_c2(%w: tensor<?x?xf32>) {
  // expected-error @below {{'sparse_attn.score.hash' op the last layer has one output for each bit of a signature, a multiple of 32 up to 1024, got 20}}
  %s = sparse_attn.score.hash %w, %w layers = [128, 20] : tensor<?x?xf32>, tensor<?x?xf32>
  return
}

// -----

!qkv = tensor<?x?x?x8xf32>
!lse = tensor<?x?x?xf32>

func.func @score_hash_c3(%q: !qkv, %wq: tensor<?x288xf32>, %wk: tensor<?x256xf32>) -> !qkv {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.score.hash' op axis 1 of key_weights must have 288 entries, the weights and offsets of all layers, for D = 8, got 256}}
  %s = sparse_attn.score.hash %wq, %wk layers = [32] : tensor<?x288xf32>, tensor<?x256xf32>
  %t = sparse_attn.top_k %s, %c k = 4
  %m = sparse_attn.union %c, %t
  %o, %l = sparse_attn.attention %q, %q, %q mask(%m) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o : !qkv
}

// -----

!qkv = tensor<?x?x?x8xf32>
!lse = tensor<?x?x?xf32>

func.func @attention_c9(%q: !qkv, %w: tensor<?x289xf32>) -> !qkv {
  %c = sparse_attn.causal
  // expected-error @below {{axis 1 of query_weights must have 288 entries, the weights and offsets of all layers, for D = 8, got 289}}
  %s = sparse_attn.score.hash %w, %w layers = [32] : tensor<?x289xf32>, tensor<?x289xf32>
  %m = sparse_attn.top_k %s, %c k = 4
  %o, %l = sparse_attn.attention %q, %q, %q mask(%m) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o : !qkv
}

// -----

!qkv = tensor<?x?x?x8xf32>
!lse = tensor<?x?x?xf32>
!pooled = !sparse_attn.pooled<tensor<?x?x?x8xf32>, 32>

func.func @attention_c8(%q: !qkv) -> !qkv {
  %c = sparse_attn.causal
  %s = sparse_attn.score.dot
  %t = sparse_attn.top_k %s, %c k = 4
  %m = sparse_attn.intersect %c, %t
  %k = sparse_attn.pool %q : !qkv -> !pooled
  // expected-error @below {{'sparse_attn.attention' op has a mask that selects or draws keys, and its keys are pooled; select tokens and leave K and V as they are}}
  %o, %l = sparse_attn.attention %q, %k, %k mask(%m) : !qkv, !pooled, !pooled -> !qkv, !lse
  return %o : !qkv
}

// -----

func.func @top_k_c1() {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.top_k' op needs exactly one of k and fraction, got 0; write k = 64 for a number of units, fraction = 0.1 for a tenth of them}}
  %m = sparse_attn.top_k %s, %c
  return
}

// -----

func.func @top_k_c1_both() {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.top_k' op needs exactly one of k and fraction, got 2; write k = 64 for a number of units, fraction = 0.1 for a tenth of them}}
  %m = sparse_attn.top_k %s, %c k = 4 fraction = 0.1
  return
}

// -----

func.func @top_k_c2() {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.top_k' op k must be in [1, 2^30), got 0; use sparse_attn.none to keep nothing}}
  %m = sparse_attn.top_k %s, %c k = 0
  return
}

// -----

func.func @top_k_c3() {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.top_k' op fraction must be in (0, 1], got 10; it is a share of the key units, not a percentage}}
  %m = sparse_attn.top_k %s, %c fraction = 10.0
  return
}

// -----

func.func @top_k_c3_zero() {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.top_k' op fraction must be in (0, 1], got 0; it is a share of the key units, not a percentage}}
  %m = sparse_attn.top_k %s, %c fraction = 0.0
  return
}

// -----

func.func @top_k_c4() {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.top_k' op block_q must be in [1, 2^30), got 0; leave it out to choose for every row}}
  %m = sparse_attn.top_k %s, %c k = 1 block_q = 0
  return
}

// -----

func.func @top_k_c5() {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.top_k' op block_k must be in [1, 2^30), got -16; leave it out to choose single keys}}
  %m = sparse_attn.top_k %s, %c k = 1 block_k = -16
  return
}

// -----

func.func @top_k_c6(%s: !sparse_attn.score) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.top_k' op a score must be the result of a score op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %m = sparse_attn.top_k %s, %c k = 1
  return
}

// -----

func.func @top_k_c6_sampled() {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  // expected-note @below {{prior use here}}
  %u = sparse_attn.sample.uniform %c count = 1 seed = 1
  // expected-error @below {{use of value '%u' expects different type than prior uses: '!sparse_attn.mask' vs '!sparse_attn.mask<sampled>'}}
  %m = sparse_attn.top_k %s, %u k = 1
  return
}

// -----

func.func @top_p_c1() {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.top_p' op p must be in [0, 1], got 95; it is a share of the softmax, not a percentage}}
  %m = sparse_attn.top_p %s, %c p = 95.0
  return
}

// -----

func.func @top_p_c1_nan() {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.top_p' op p must be in [0, 1], got nan; it is a share of the softmax, not a percentage}}
  %m = sparse_attn.top_p %s, %c p = 0x7FF8000000000000
  return
}

// -----

func.func @top_p_c2() {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.top_p' op block_q must be in [1, 2^30), got 1073741824; leave it out to choose for every row}}
  %m = sparse_attn.top_p %s, %c p = 0.5 block_q = 1073741824
  return
}

// -----

func.func @top_p_c3() {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.top_p' op block_k must be in [1, 2^30), got 0; leave it out to choose single keys}}
  %m = sparse_attn.top_p %s, %c p = 0.5 block_k = 0
  return
}

// -----

func.func @top_p_c4(%c: !sparse_attn.mask) {
  %s = sparse_attn.score.dot
  // expected-error @below {{'sparse_attn.top_p' op a mask must be the result of a mask op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %m = sparse_attn.top_p %s, %c p = 0.5
  return
}

// -----

func.func @threshold_c1() {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.threshold' op t must be a number; nothing is at least NaN}}
  %m = sparse_attn.threshold %s, %c t = 0x7FF8000000000000
  return
}

// -----

func.func @threshold_c2() {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.threshold' op block_q must be in [1, 2^30), got 0; leave it out to choose for every row}}
  %m = sparse_attn.threshold %s, %c t = 0.0 block_q = 0
  return
}

// -----

func.func @threshold_c3() {
  %s = sparse_attn.score.dot
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.threshold' op block_k must be in [1, 2^30), got 0; leave it out to choose single keys}}
  %m = sparse_attn.threshold %s, %c t = 0.0 block_k = 0
  return
}

// -----

func.func @threshold_c4(%s: !sparse_attn.score) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.threshold' op a score must be the result of a score op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %m = sparse_attn.threshold %s, %c t = 0.0
  return
}

// -----

func.func @random_keys_c1() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.random_keys' op needs exactly one of count and rate, got 0; write count = 64 for a number of keys, rate = 0.1 for a tenth}}
  %m = sparse_attn.random_keys %c seed = 7
  return
}

// -----

func.func @random_keys_c2() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.random_keys' op count must be in [1, 2^30), got 0; use sparse_attn.none to draw nothing}}
  %m = sparse_attn.random_keys %c count = 0 seed = 7
  return
}

// -----

func.func @random_keys_c3() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.random_keys' op rate must be in (0, 1], got 1.5; use sparse_attn.none to draw nothing}}
  %m = sparse_attn.random_keys %c rate = 1.5 seed = 7
  return
}

// -----

func.func @random_keys_c4(%c: !sparse_attn.mask) {
  // expected-error @below {{'sparse_attn.random_keys' op a mask must be the result of a mask op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %m = sparse_attn.random_keys %c count = 1 seed = 7
  return
}

// -----

func.func @sample_uniform_c1() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.sample.uniform' op needs exactly one of count and rate, got 2; write count = 64 for a number of keys, rate = 0.1 for a tenth}}
  %m = sparse_attn.sample.uniform %c count = 4 rate = 0.5 seed = 7
  return
}

// -----

func.func @sample_uniform_c2() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.sample.uniform' op count must be in [1, 2^30), got 0; use sparse_attn.none to draw nothing}}
  %m = sparse_attn.sample.uniform %c count = 0 seed = 7
  return
}

// -----

func.func @sample_uniform_c3() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.sample.uniform' op rate must be in (0, 1], got 0; use sparse_attn.none to draw nothing}}
  %m = sparse_attn.sample.uniform %c rate = 0.0 seed = 7
  return
}

// -----

func.func @sample_uniform_c4(%c: !sparse_attn.mask) {
  // expected-error @below {{'sparse_attn.sample.uniform' op a mask must be the result of a mask op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %m = sparse_attn.sample.uniform %c count = 1 seed = 7
  return
}
