// RUN: sparse-attn-opt %s --verify-roundtrip | FileCheck %s

!table = tensor<?x?xi32>
!w3 = tensor<?x?x?xf32>
!w4 = tensor<?x?x?x?xf32>

// CHECK-LABEL: func.func @weights(
func.func @weights(%channels: !table, %centroids: !w4, %planes: !w3, %gq: !w3, %gk: !w3) {
  // CHECK: sparse_attn.score.channels %{{.*}} count = 16 : tensor<?x?xi32>
  %channel = sparse_attn.score.channels %channels count = 16 : !table
  // CHECK: sparse_attn.score.channels %{{.*}} count = 16 quantized = true share = group :
  %labels = sparse_attn.score.channels %channels count = 16 quantized = true share = group : !table
  // CHECK: sparse_attn.score.pq %{{.*}} subvectors = 4 codes = 256 : tensor<?x?x?x?xf32>
  %pq = sparse_attn.score.pq %centroids subvectors = 4 codes = 256 : !w4
  // CHECK: sparse_attn.score.soft_hash %{{.*}} tables = 60 bits = 10 temperature = 3.000000e-01 :
  %soft = sparse_attn.score.soft_hash %planes tables = 60 bits = 10 temperature = 0.3 : !w3
  // CHECK: sparse_attn.score.pooled{{$}}
  %pooled = sparse_attn.score.pooled
  // CHECK: sparse_attn.score.pooled query_gate(%{{.*}} : tensor<?x?x?xf32>) key_gate(%{{.*}} : tensor<?x?x?xf32>) width = 32 share = group
  %gated = sparse_attn.score.pooled query_gate(%gq : !w3) key_gate(%gk : !w3) width = 32 share = group
  // CHECK: sparse_attn.score.antidiagonal stride = 16
  %lines = sparse_attn.score.antidiagonal stride = 16
  return
}

// CHECK-LABEL: func.func @draws(
func.func @draws(%centroids: !w3, %mean: !w3) {
  %c = sparse_attn.causal
  %s = sparse_attn.sink size = 4
  // CHECK: sparse_attn.cluster %{{.*}} buckets = 64 rounds = 4 seed = 7 block_q = 16
  %hashed = sparse_attn.cluster %c buckets = 64 rounds = 4 seed = 7 block_q = 16
  // CHECK: sparse_attn.cluster %{{.*}} centroids(%{{.*}} : tensor<?x?x?xf32>) block_k = 16
  %routed = sparse_attn.cluster %c centroids(%centroids : !w3) block_k = 16
  // CHECK: sparse_attn.sample.lsh %{{.*}} tables = 150 bits = 10 seed = 7
  %lsh = sparse_attn.sample.lsh %c tables = 150 bits = 10 seed = 7
  // CHECK: sparse_attn.sample.lsh %{{.*}} mean(%{{.*}} : tensor<?x?x?xf32>) tables = 75 bits = 8 min_matches = 1 center = both normalize = simple_lsh seed = -1
  %fixed = sparse_attn.sample.lsh %c mean(%mean : !w3) tables = 75 bits = 8 min_matches = 1
      center = both normalize = simple_lsh seed = -1
  // CHECK: sparse_attn.sample.adaptive %{{.*}} beside %{{.*}} base_rate = 1.000000e-01 epsilon = 2.500000e-01 delta = 2.500000e-01 seed = 7
  %adaptive = sparse_attn.sample.adaptive %c beside %s base_rate = 0.1 epsilon = 0.25 delta = 0.25 seed = 7
  // CHECK: sparse_attn.sample.adaptive %{{.*}} beside %{{.*}} base_count = 64 epsilon = 5.000000e-02 delta = 5.000000e-02 tail = one_sided finite_population = false seed = 7
  %published = sparse_attn.sample.adaptive %c beside %s base_count = 64 epsilon = 0.05 delta = 0.05
      tail = one_sided finite_population = false seed = 7
  return
}
