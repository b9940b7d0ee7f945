// RUN: sparse-attn-opt %s --sparse-attn-to-plan --convert-plan-to-gpu=target=sm_80 --canonicalize --cse | FileCheck %s
// RUN: sparse-attn-opt %s --sparse-attn-to-plan --convert-plan-to-gpu=target=sm_90a --canonicalize --cse | FileCheck %s

// Keys that are means have kernels like any other: which tokens they are of is in the
// regions of the plan. A kernel of its own makes them.

!qkv = tensor<?x?x?x64xbf16>
!state = tensor<?x?x?xf32>
!pooled = !sparse_attn.pooled<tensor<?x?x?x64xbf16>, 24>

// CHECK: llvm.func @far_0_attend(
// CHECK: llvm.func @far_0_combine(
// Two pools, of K and V: a thread for each element, ...
// CHECK-LABEL: llvm.func @far_0_pool(
// CHECK-SAME: nvvm.reqntid = array<i32: 128>
// ... whose block ends with the tokens of the batch entry, ...
// CHECK: %[[BLOCK:.*]] = arith.constant 24 : index
// CHECK: %[[FIRST:.*]] = arith.muli {{.*}}, %[[BLOCK]] : index
// CHECK: %[[END:.*]] = arith.min{{[su]}}i
// ... sums in double, and rounds once.
// CHECK: scf.for {{.*}} = %[[FIRST]] to %[[END]]
// CHECK: arith.extf {{.*}} : f32 to f64
// CHECK: arith.addf {{.*}} : f64
// CHECK: arith.divf {{.*}} : f64
// CHECK: arith.truncf {{.*}} : f64 to bf16
// CHECK-LABEL: llvm.func @far_1_pool(
func.func @far(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %mask = sparse_attn.causal
  %keys = sparse_attn.pool %k : !qkv -> !pooled
  %values = sparse_attn.pool %v : !qkv -> !pooled
  %o, %lse = sparse_attn.attention %q, %keys, %values mask(%mask) : !qkv, !pooled, !pooled -> !qkv, !state
  return %o, %lse : !qkv, !state
}
