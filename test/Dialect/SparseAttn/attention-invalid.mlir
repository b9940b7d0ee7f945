// RUN: sparse-attn-opt %s -split-input-file -verify-diagnostics

!data = tensor<?x?x?x64xf32>
!lse = tensor<?x?x?xf32>
func.func @attention_c1(%q: !data, %k: !data, %v: !data) {
  %c = sparse_attn.causal
  %means = sparse_attn.pool %k : !data -> !sparse_attn.pooled<!data, 32>
  // expected-error @below {{'sparse_attn.attention' op k and v must both be pooled with the same block, or neither; pool the other one too}}
  %out, %lse = sparse_attn.attention %q, %means, %v mask(%c)
      : !data, !sparse_attn.pooled<!data, 32>, !data -> !data, !lse
  return
}

// -----

!data = tensor<?x?x?x64xf32>
!lse = tensor<?x?x?xf32>
func.func @attention_c1_blocks(%q: !data, %k: !data, %v: !data) {
  %c = sparse_attn.causal
  %means = sparse_attn.pool %k : !data -> !sparse_attn.pooled<!data, 32>
  %values = sparse_attn.pool %v : !data -> !sparse_attn.pooled<!data, 16>
  // expected-error @below {{'sparse_attn.attention' op k and v must both be pooled with the same block, or neither; pool the other one too}}
  %out, %lse = sparse_attn.attention %q, %means, %values mask(%c)
      : !data, !sparse_attn.pooled<!data, 32>, !sparse_attn.pooled<!data, 16> -> !data, !lse
  return
}

// -----

!data = tensor<?x?x?x?xf32>
!lse = tensor<?x?x?xf32>
func.func @attention_c2_dynamic(%q: !data, %k: !data, %v: !data) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.attention' op the last axis of q must be a number in [8, 256], got ?; the head dimension is fixed when the kernel is compiled}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%c) : !data, !data, !data -> !data, !lse
  return
}

// -----

!data = tensor<?x?x?x64xf32>
!wide = tensor<?x?x?x257xf32>
!lse = tensor<?x?x?xf32>
func.func @attention_c2_range(%q: !data, %k: !data, %v: !wide) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.attention' op the last axis of v must be a number in [8, 256], got 257}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%c) : !data, !data, !wide -> !wide, !lse
  return
}

// -----

!data = tensor<2x?x?x64xf32>
!lse = tensor<2x?x?xf32>
func.func @attention_c3_batch(%q: !data, %k: tensor<3x?x?x64xf32>, %v: !data) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.attention' op the batch size must be the same everywhere: axis 0 of q is 2, axis 0 of k is 3}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%c)
      : !data, tensor<3x?x?x64xf32>, !data -> !data, !lse
  return
}

// -----

!data = tensor<2x?x?x64xf32>
!lse = tensor<?x?x?xf32>
func.func @attention_c3_lengths(%q: !data, %k: !data, %v: !data, %len: tensor<4xi32>) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.attention' op the batch size must be the same everywhere: axis 0 of q is 2, axis 0 of kv_len is 4}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%c) kv_len(%len : tensor<4xi32>)
      : !data, !data, !data -> !data, !lse
  return
}

// -----

!data = tensor<?x8x?x64xf32>
!lse = tensor<?x?x?xf32>
func.func @attention_c3_sinks(%q: !data, %k: !data, %v: !data, %sinks: tensor<4xf32>) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.attention' op the number of heads must be the same everywhere: axis 1 of q is 8, axis 0 of sinks is 4}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%c) sinks(%sinks : tensor<4xf32>)
      : !data, !data, !data -> !data, !lse
  return
}

// -----

!data = tensor<?x?x?x64xf32>
!half = tensor<?x?x?x32xf32>
!lse = tensor<?x?x?xf32>
func.func @attention_c3_head_dim(%q: !data, %k: !half, %v: !data) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.attention' op the head dimension must be the same everywhere: axis 3 of q is 64, axis 3 of k is 32}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%c) : !data, !half, !data -> !data, !lse
  return
}

// -----

!data = tensor<?x?x?x64xf32>
!half = tensor<?x?x?x32xf32>
!lse = tensor<?x?x?xf32>
func.func @attention_c3_value_dim(%q: !data, %k: !data, %v: !half) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.attention' op the value dimension must be the same everywhere: axis 3 of v is 32, axis 3 of out is 64}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%c) : !data, !data, !half -> !data, !lse
  return
}

// -----

!q = tensor<?x6x?x64xf32>
!k = tensor<?x4x?x64xf32>
!lse = tensor<?x6x?xf32>
func.func @attention_c4(%q: !q, %k: !k, %v: !k) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.attention' op the heads of q (6) must be a multiple of the heads of k (4); query head h reads key head h / G}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%c) : !q, !k, !k -> !q, !lse
  return
}

// -----

!data = tensor<?x?x?x64xf32>
!half = tensor<?x?x?x64xf16>
!lse = tensor<?x?x?xf32>
func.func @attention_c5(%q: !data, %k: !half, %v: !half) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.attention' op q, k and v must have one element type, got 'f32', 'f16' and 'f16'; convert the tensors before}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%c) : !data, !half, !half -> !data, !lse
  return
}

// -----

!data = tensor<?x?x?x64xf16>
!brain = tensor<?x?x?x64xbf16>
!lse = tensor<?x?x?xf32>
func.func @attention_c5_out(%q: !data, %k: !data, %v: !data) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.attention' op out must have the element type of q, 'f16', or f32, got 'bf16'}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%c) : !data, !data, !data -> !brain, !lse
  return
}

// -----

!data = tensor<?x?x?x64xf32>
!lse = tensor<?x?x?xf32>
func.func @attention_c6(%q: !data, %k: !data, %v: !data) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.attention' op scale must be > 0 and an ordinary f32 number (2^-126 to 2^126); leave it out for 1 / sqrt(D)}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%c) scale = -1.0 : !data, !data, !data -> !data, !lse
  return
}

// -----

!data = tensor<?x?x?x64xf32>
!lse = tensor<?x?x?xf32>
func.func @attention_c7_mask(%q: !data, %k: !data, %v: !data, %m: !sparse_attn.mask) {
  // expected-error @below {{'sparse_attn.attention' op a mask must be the result of a mask op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%m) : !data, !data, !data -> !data, !lse
  return
}

// -----

!data = tensor<?x?x?x64xf32>
!lse = tensor<?x?x?xf32>
func.func @attention_c7_sampled(%q: !data, %k: !data, %v: !data, %m: !sparse_attn.mask<sampled>) {
  // expected-error @below {{'sparse_attn.attention' op a mask must be the result of a mask op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%m : !sparse_attn.mask<sampled>) : !data, !data, !data -> !data, !lse
  return
}

// -----

!data = tensor<?x?x?x64xf32>
!lse = tensor<?x?x?xf32>
func.func @attention_c7_modifier(%q: !data, %k: !data, %v: !data, %m: !sparse_attn.modifier) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.attention' op a modifier must be the result of a modifier op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%c) modifiers(%m) : !data, !data, !data -> !data, !lse
  return
}

// -----

func.func @pool_c1(%k: tensor<?x?x?x64xf32>) {
  // expected-error @below {{'sparse_attn.pool' op the result must keep the element type 'f32', got 'f16'}}
  %m = sparse_attn.pool %k : tensor<?x?x?x64xf32> -> !sparse_attn.pooled<tensor<?x?x?x64xf16>, 32>
  return
}

// -----

func.func @pool_c2(%k: tensor<?x?x?x64xf32>) {
  // expected-error @below {{'sparse_attn.pool' op the size must be the same everywhere: axis 3 of source is 64, axis 3 of result is 32}}
  %m = sparse_attn.pool %k : tensor<?x?x?x64xf32> -> !sparse_attn.pooled<tensor<?x?x?x32xf32>, 32>
  return
}

// -----

func.func @pool_c3(%k: tensor<?x?x100x64xf32>) {
  // expected-error @below {{'sparse_attn.pool' op the result must have one row for each of the 4 blocks that 100 tokens fill or start, got 3}}
  %m = sparse_attn.pool %k : tensor<?x?x100x64xf32> -> !sparse_attn.pooled<tensor<?x?x3x64xf32>, 32>
  return
}

// -----

// expected-error @below {{pooled tensor must have rank 4, [B, Hkv, blocks, D], got rank 3}}
func.func private @pooled_c1(!sparse_attn.pooled<tensor<?x?x64xf32>, 32>)

// -----

// expected-error @below {{pooled block must be >= 1, got 0}}
func.func private @pooled_c2(!sparse_attn.pooled<tensor<?x?x?x64xf32>, 0>)

// -----

func.func @merge_c1() {
  // expected-error @below {{'sparse_attn.merge' op needs at least one state (out and lse) to combine}}
  %o, %l = "sparse_attn.merge"() : () -> (tensor<?x?x?x64xf32>, tensor<?x?x?xf32>)
  return
}

// -----

func.func @merge_c2_out(%o: tensor<?x?x?x32xf16>, %l: tensor<?x?x?xf32>) {
  // expected-error @below {{'sparse_attn.merge' op every out must have the sizes of the result 'tensor<?x?x?x64xf32>', got 'tensor<?x?x?x32xf16>'}}
  %out, %lse = "sparse_attn.merge"(%o, %l) : (tensor<?x?x?x32xf16>, tensor<?x?x?xf32>)
      -> (tensor<?x?x?x64xf32>, tensor<?x?x?xf32>)
  return
}

// -----

func.func @merge_c2_lse(%o: tensor<?x?x?x64xf32>, %l: tensor<2x?x?xf32>) {
  // expected-error @below {{'sparse_attn.merge' op every lse must have the result's type 'tensor<?x?x?xf32>', got 'tensor<2x?x?xf32>'}}
  %out, %lse = "sparse_attn.merge"(%o, %l) : (tensor<?x?x?x64xf32>, tensor<2x?x?xf32>)
      -> (tensor<?x?x?x64xf32>, tensor<?x?x?xf32>)
  return
}

// -----

func.func @merge_c3(%o: tensor<2x?x?x64xf32>, %l: tensor<3x?x?xf32>) {
  // expected-error @below {{'sparse_attn.merge' op the size must be the same everywhere: axis 0 of out is 2, axis 0 of lse is 3}}
  %out, %lse = "sparse_attn.merge"(%o, %l) : (tensor<2x?x?x64xf32>, tensor<3x?x?xf32>)
      -> (tensor<2x?x?x64xf32>, tensor<3x?x?xf32>)
  return
}
