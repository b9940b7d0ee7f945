// RUN: sparse-attn-opt %s --widen-states --split-input-file | FileCheck %s

!half = tensor<?x?x?x64xf16>
!lse = tensor<?x?x?xf32>

// What merges read is f32; the last merge rounds.
// CHECK-LABEL: func.func @merged(
// CHECK: %[[O0:.*]], %[[L0:.*]] = sparse_attn.attention {{.*}} -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
// CHECK: %[[O1:.*]], %[[L1:.*]] = sparse_attn.attention {{.*}} -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
// CHECK: %[[O2:.*]], %[[L2:.*]] = sparse_attn.merge %[[O0]], %[[O1]] lse %[[L0]], %[[L1]] : tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
// CHECK: %[[O3:.*]], %{{.*}} = sparse_attn.merge %[[O2]] lse %[[L2]] : (tensor<?x?x?x64xf32>), tensor<?x?x?xf32> -> tensor<?x?x?x64xf16>
// CHECK: return %[[O3]]
func.func @merged(%q: !half, %k: !half, %v: !half) -> !half {
  %near = sparse_attn.window left = 63 right = 0
  %far = sparse_attn.complement %near
  %o0, %l0 = sparse_attn.attention %q, %k, %v mask(%near) : !half, !half, !half -> !half, !lse
  %o1, %l1 = sparse_attn.attention %q, %k, %v mask(%far) : !half, !half, !half -> !half, !lse
  %o2, %l2 = sparse_attn.merge %o0, %o1 lse %l0, %l1 : !half, !lse
  %o3, %l3 = sparse_attn.merge %o2 lse %l2 : !half, !lse
  return %o3 : !half
}

// -----

!half = tensor<?x?x?x64xf16>
!lse = tensor<?x?x?xf32>

// A state that is returned too is rounded for that use alone.
// CHECK-LABEL: func.func @returned(
// CHECK: %[[O0:.*]], %[[L0:.*]] = sparse_attn.attention {{.*}} -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
// CHECK: %[[R:.*]], %{{.*}} = sparse_attn.merge %[[O0]] lse %[[L0]] : (tensor<?x?x?x64xf32>), tensor<?x?x?xf32> -> tensor<?x?x?x64xf16>
// CHECK: %[[O1:.*]], %{{.*}} = sparse_attn.merge %[[O0]] lse %[[L0]] : (tensor<?x?x?x64xf32>), tensor<?x?x?xf32> -> tensor<?x?x?x64xf16>
// CHECK: return %[[R]], %[[O1]], %[[L0]]
func.func @returned(%q: !half, %k: !half, %v: !half) -> (!half, !half, !lse) {
  %near = sparse_attn.window left = 63 right = 0
  %o0, %l0 = sparse_attn.attention %q, %k, %v mask(%near) : !half, !half, !half -> !half, !lse
  %o1, %l1 = sparse_attn.merge %o0 lse %l0 : !half, !lse
  return %o0, %o1, %l0 : !half, !half, !lse
}

// -----

!half = tensor<?x?x?x64xf16>
!lse = tensor<?x?x?xf32>

// Nothing to widen: an attention rounds what it writes.
// CHECK-LABEL: func.func @alone(
// CHECK: sparse_attn.attention {{.*}} -> tensor<?x?x?x64xf16>, tensor<?x?x?xf32>
// CHECK-NOT: merge
func.func @alone(%q: !half, %k: !half, %v: !half) -> (!half, !lse) {
  %near = sparse_attn.window left = 63 right = 0
  %o0, %l0 = sparse_attn.attention %q, %k, %v mask(%near) : !half, !half, !half -> !half, !lse
  return %o0, %l0 : !half, !lse
}
