// RUN: sparse-attn-opt %s --verify-roundtrip | FileCheck %s

// CHECK-LABEL: func.func @scores(
func.func @scores(%wq: tensor<?x?xf32>, %wk: tensor<1x?xf32>) {
  // CHECK: sparse_attn.score.dot{{$}}
  %dot = sparse_attn.score.dot
  // CHECK: sparse_attn.score.dot share = group
  %shared = sparse_attn.score.dot share = group
  // CHECK: sparse_attn.score.pages{{$}}
  %pages = sparse_attn.score.pages share = none
  // CHECK: sparse_attn.score.hash %{{.*}}, %{{.*}} layers = [32] : tensor<?x?xf32>, tensor<1x?xf32>
  %short = sparse_attn.score.hash %wq, %wk layers = [32] : tensor<?x?xf32>, tensor<1x?xf32>
  // CHECK: sparse_attn.score.hash %{{.*}}, %{{.*}} layers = [128, 64] activation = gelu share = group :
  %hash = sparse_attn.score.hash %wq, %wk layers = [128, 64] activation = gelu share = group
      : tensor<?x?xf32>, tensor<1x?xf32>
  return
}

// CHECK-LABEL: func.func @selections(
func.func @selections() {
  %score = sparse_attn.score.dot
  %causal = sparse_attn.causal
  // CHECK: sparse_attn.top_k %{{.*}}, %{{.*}} k = 64{{$}}
  %rows = sparse_attn.top_k %score, %causal k = 64
  // CHECK: sparse_attn.top_k %{{.*}}, %{{.*}} fraction = 1.000000e-01 block_q = 64 block_k = 16
  %tiles = sparse_attn.top_k %score, %causal fraction = 0.1 block_q = 64 block_k = 16
  // CHECK: sparse_attn.top_p %{{.*}}, %{{.*}} p = 8.750000e-01 block_k = 16
  %mass = sparse_attn.top_p %score, %causal p = 0.875 block_k = 16
  // CHECK: sparse_attn.threshold %{{.*}}, %{{.*}} t = -2.500000e+00 block_q = 4
  %high = sparse_attn.threshold %score, %causal t = -2.5 block_q = 4
  return
}

// CHECK-LABEL: func.func @draws(
func.func @draws(%q: tensor<?x?x?x8xf32>) -> (tensor<?x?x?x8xf32>, tensor<?x?x?xf32>) {
  %causal = sparse_attn.causal
  // CHECK: sparse_attn.random_keys %{{.*}} count = 3 seed = -1
  %random = sparse_attn.random_keys %causal count = 3 seed = -1
  // CHECK: sparse_attn.sample.uniform %{{.*}} rate = 5.000000e-02 seed = 7
  %drawn = sparse_attn.sample.uniform %causal rate = 0.05 seed = 7
  // CHECK: sparse_attn.union %{{.*}}, %{{.*}} : !sparse_attn.mask, !sparse_attn.mask<sampled>
  %both = sparse_attn.union %random, %drawn : !sparse_attn.mask, !sparse_attn.mask<sampled>
  // CHECK: mask(%{{.*}} : !sparse_attn.mask<sampled>)
  %o, %l = sparse_attn.attention %q, %q, %q mask(%both : !sparse_attn.mask<sampled>)
      : tensor<?x?x?x8xf32>, tensor<?x?x?x8xf32>, tensor<?x?x?x8xf32>
      -> tensor<?x?x?x8xf32>, tensor<?x?x?xf32>
  return %o, %l : tensor<?x?x?x8xf32>, tensor<?x?x?xf32>
}
