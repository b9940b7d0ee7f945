// RUN: sparse-attn-opt %s --verify-roundtrip | FileCheck %s

!f32_64 = tensor<?x?x?x64xf32>
!lse = tensor<?x?x?xf32>

// CHECK-LABEL: func.func @plain(
func.func @plain(%q: !f32_64, %k: !f32_64, %v: !f32_64) -> (!f32_64, !lse) {
  %c = sparse_attn.causal
  // CHECK: sparse_attn.attention %{{.*}}, %{{.*}}, %{{.*}} mask(%{{[a-z0-9]+}}) : tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32> -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%c)
      : !f32_64, !f32_64, !f32_64 -> !f32_64, !lse
  return %out, %lse : !f32_64, !lse
}

// CHECK-LABEL: func.func @every_operand(
func.func @every_operand(%q: tensor<2x8x?x16xbf16>, %k: tensor<2x4x?x16xbf16>, %v: tensor<2x4x?x24xbf16>,
                         %len: tensor<2xi32>, %sinks: tensor<8xf32>, %slopes: tensor<8xf32>)
    -> (tensor<2x8x?x24xbf16>, tensor<2x8x?xf32>) {
  %c = sparse_attn.causal
  %cap = sparse_attn.softcap cap = 30.0
  %alibi = sparse_attn.alibi %slopes : tensor<8xf32>
  // CHECK: sparse_attn.attention %{{.*}}, %{{.*}}, %{{.*}} mask(%{{[a-z0-9]+}})
  // CHECK-SAME: kv_len(%{{[a-z0-9]+}} : tensor<2xi32>) q_len(%{{[a-z0-9]+}} : tensor<2xi32>)
  // CHECK-SAME: q_offset(%{{[a-z0-9]+}} : tensor<2xi32>) sinks(%{{[a-z0-9]+}} : tensor<8xf32>)
  // CHECK-SAME: modifiers(%{{[a-z0-9]+}}, %{{[a-z0-9]+}}) scale = 1.250000e-01
  // CHECK-SAME: : tensor<2x8x?x16xbf16>, tensor<2x4x?x16xbf16>, tensor<2x4x?x24xbf16> -> tensor<2x8x?x24xbf16>, tensor<2x8x?xf32>
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%c) kv_len(%len : tensor<2xi32>)
      q_len(%len : tensor<2xi32>) q_offset(%len : tensor<2xi32>) sinks(%sinks : tensor<8xf32>)
      modifiers(%cap, %alibi) scale = 0.125
      : tensor<2x8x?x16xbf16>, tensor<2x4x?x16xbf16>, tensor<2x4x?x24xbf16>
      -> tensor<2x8x?x24xbf16>, tensor<2x8x?xf32>
  return %out, %lse : tensor<2x8x?x24xbf16>, tensor<2x8x?xf32>
}

// Near tokens one by one, all tokens as means, put together.
// CHECK-LABEL: func.func @hierarchy(
func.func @hierarchy(%q: !f32_64, %k: !f32_64, %v: !f32_64) -> (!f32_64, !lse) {
  %w = sparse_attn.window left = 255 right = 0
  %c = sparse_attn.causal
  // CHECK: sparse_attn.pool %{{.*}} : tensor<?x?x?x64xf32> -> <tensor<?x?x?x64xf32>, 32>
  %means = sparse_attn.pool %k : !f32_64 -> !sparse_attn.pooled<!f32_64, 32>
  %values = sparse_attn.pool %v : !f32_64 -> !sparse_attn.pooled<!f32_64, 32>
  %o0, %l0 = sparse_attn.attention %q, %k, %v mask(%w) : !f32_64, !f32_64, !f32_64 -> !f32_64, !lse
  // CHECK: sparse_attn.attention {{.*}} : tensor<?x?x?x64xf32>, !sparse_attn.pooled<tensor<?x?x?x64xf32>, 32>, !sparse_attn.pooled<tensor<?x?x?x64xf32>, 32> ->
  %o1, %l1 = sparse_attn.attention %q, %means, %values mask(%c)
      : !f32_64, !sparse_attn.pooled<!f32_64, 32>, !sparse_attn.pooled<!f32_64, 32> -> !f32_64, !lse
  // CHECK: sparse_attn.merge %{{.*}}, %{{.*}} lse %{{.*}}, %{{.*}} : tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
  %out, %lse = sparse_attn.merge %o0, %o1 lse %l0, %l1
      : !f32_64, !lse
  return %out, %lse : !f32_64, !lse
}

// Outputs in f32 beside 16-bit inputs; states of any of the types, merged to one.
// CHECK-LABEL: func.func @mixed(
func.func @mixed(%q: tensor<?x?x?x64xf16>, %k: tensor<?x?x?x64xf16>, %v: tensor<?x?x?x64xf16>)
    -> (tensor<?x?x?x64xf16>, !lse) {
  %w = sparse_attn.window left = 255 right = 0
  %c = sparse_attn.causal
  // CHECK: sparse_attn.attention {{.*}} : tensor<?x?x?x64xf16>, tensor<?x?x?x64xf16>, tensor<?x?x?x64xf16> -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
  %o0, %l0 = sparse_attn.attention %q, %k, %v mask(%w)
      : tensor<?x?x?x64xf16>, tensor<?x?x?x64xf16>, tensor<?x?x?x64xf16> -> !f32_64, !lse
  %o1, %l1 = sparse_attn.attention %q, %k, %v mask(%c)
      : tensor<?x?x?x64xf16>, tensor<?x?x?x64xf16>, tensor<?x?x?x64xf16> -> tensor<?x?x?x64xf16>, !lse
  // CHECK: sparse_attn.merge %{{.*}}, %{{.*}} lse %{{.*}}, %{{.*}} : (tensor<?x?x?x64xf32>, tensor<?x?x?x64xf16>), tensor<?x?x?xf32> -> tensor<?x?x?x64xf16>
  %o2, %l2 = sparse_attn.merge %o0, %o1 lse %l0, %l1
      : (!f32_64, tensor<?x?x?x64xf16>), !lse -> tensor<?x?x?x64xf16>
  // CHECK: sparse_attn.merge %{{.*}} lse %{{.*}} : (tensor<?x?x?x64xf16>), tensor<?x?x?xf32> -> tensor<?x?x?x64xbf16>
  %o3, %l3 = sparse_attn.merge %o2 lse %l2 : (tensor<?x?x?x64xf16>), !lse -> tensor<?x?x?x64xbf16>
  // CHECK: sparse_attn.merge %{{.*}}, %{{.*}} lse %{{.*}}, %{{.*}} : tensor<?x?x?x64xf16>, tensor<?x?x?xf32>
  %o4, %l4 = sparse_attn.merge %o1, %o2 lse %l1, %l2 : (tensor<?x?x?x64xf16>, tensor<?x?x?x64xf16>), !lse -> tensor<?x?x?x64xf16>
  return %o4, %l4 : tensor<?x?x?x64xf16>, !lse
}
