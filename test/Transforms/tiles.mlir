// The tiles that the cost model chooses, on AVX-512 with the caches of an EPYC of family
// 26 and of a generic server, on AVX2, and where a second-level cache is small.
// RUN: sparse-attn-opt %s --plan-blocks="l1=49152 l2=1048576 l3=33554432" | FileCheck %s
// RUN: sparse-attn-opt %s --plan-blocks | FileCheck %s
// RUN: sparse-attn-opt %s --plan-blocks="lanes=8 register-rows=6 register-vectors=2" | FileCheck %s --check-prefix=AVX2
// RUN: sparse-attn-opt %s --plan-blocks="l1=4096 l2=131072 l3=1048576" | FileCheck %s --check-prefix=SMALL

// CHECK-LABEL: func.func @d32(
// CHECK: tile = array<i64: 64, 128>
// AVX2-LABEL: func.func @d32(
// AVX2: tile = array<i64: 48, 128>
func.func @d32(%q: tensor<?x?x?x32xf32>, %k: tensor<?x?x?x32xf32>, %v: tensor<?x?x?x32xf32>) -> tensor<?x?x?x32xf32> {
  %m = sparse_attn.all
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : tensor<?x?x?x32xf32>, tensor<?x?x?x32xf32>, tensor<?x?x?x32xf32> -> tensor<?x?x?x32xf32>, tensor<?x?x?xf32>
  return %o : tensor<?x?x?x32xf32>
}

// CHECK-LABEL: func.func @d64(
// CHECK: tile = array<i64: 64, 128>
// AVX2-LABEL: func.func @d64(
// AVX2: tile = array<i64: 48, 128>
func.func @d64(%q: tensor<?x?x?x64xf32>, %k: tensor<?x?x?x64xf32>, %v: tensor<?x?x?x64xf32>) -> tensor<?x?x?x64xf32> {
  %m = sparse_attn.all
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32> -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
  return %o : tensor<?x?x?x64xf32>
}

// CHECK-LABEL: func.func @d96(
// CHECK: tile = array<i64: 64, 128>
// AVX2-LABEL: func.func @d96(
// AVX2: tile = array<i64: 48, 128>
func.func @d96(%q: tensor<?x?x?x96xf32>, %k: tensor<?x?x?x96xf32>, %v: tensor<?x?x?x96xf32>) -> tensor<?x?x?x96xf32> {
  %m = sparse_attn.all
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : tensor<?x?x?x96xf32>, tensor<?x?x?x96xf32>, tensor<?x?x?x96xf32> -> tensor<?x?x?x96xf32>, tensor<?x?x?xf32>
  return %o : tensor<?x?x?x96xf32>
}

// CHECK-LABEL: func.func @d128(
// CHECK: tile = array<i64: 64, 128>
// SMALL-LABEL: func.func @d128(
// SMALL: tile = array<i64: 48, 64>
// AVX2-LABEL: func.func @d128(
// AVX2: tile = array<i64: 48, 128>
func.func @d128(%q: tensor<?x?x?x128xf32>, %k: tensor<?x?x?x128xf32>, %v: tensor<?x?x?x128xf32>) -> tensor<?x?x?x128xf32> {
  %m = sparse_attn.all
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : tensor<?x?x?x128xf32>, tensor<?x?x?x128xf32>, tensor<?x?x?x128xf32> -> tensor<?x?x?x128xf32>, tensor<?x?x?xf32>
  return %o : tensor<?x?x?x128xf32>
}

// CHECK-LABEL: func.func @d192(
// CHECK: tile = array<i64: 64, 128>
// SMALL-LABEL: func.func @d192(
// SMALL: tile = array<i64: 16, 64>
// AVX2-LABEL: func.func @d192(
// AVX2: tile = array<i64: 48, 128>
func.func @d192(%q: tensor<?x?x?x192xf32>, %k: tensor<?x?x?x192xf32>, %v: tensor<?x?x?x192xf32>) -> tensor<?x?x?x192xf32> {
  %m = sparse_attn.all
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : tensor<?x?x?x192xf32>, tensor<?x?x?x192xf32>, tensor<?x?x?x192xf32> -> tensor<?x?x?x192xf32>, tensor<?x?x?xf32>
  return %o : tensor<?x?x?x192xf32>
}

// CHECK-LABEL: func.func @d256(
// CHECK: tile = array<i64: 64, 128>
// AVX2-LABEL: func.func @d256(
// AVX2: tile = array<i64: 48, 128>
func.func @d256(%q: tensor<?x?x?x256xf32>, %k: tensor<?x?x?x256xf32>, %v: tensor<?x?x?x256xf32>) -> tensor<?x?x?x256xf32> {
  %m = sparse_attn.all
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : tensor<?x?x?x256xf32>, tensor<?x?x?x256xf32>, tensor<?x?x?x256xf32> -> tensor<?x?x?x256xf32>, tensor<?x?x?xf32>
  return %o : tensor<?x?x?x256xf32>
}

// A kernel may say it.
// CHECK-LABEL: func.func @given(
// CHECK: tile = array<i64: 7, 512>
func.func @given(%q: tensor<?x?x?x64xf32>, %k: tensor<?x?x?x64xf32>, %v: tensor<?x?x?x64xf32>) -> tensor<?x?x?x64xf32>
    attributes {block_plan.tile = array<i64: 7, 512>} {
  %m = sparse_attn.all
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32> -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
  return %o : tensor<?x?x?x64xf32>
}
