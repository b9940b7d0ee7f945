// RUN: sparse-attn-opt %s --sparse-attn-to-plan --convert-plan-to-gpu=target=sm_80 --canonicalize --cse | FileCheck %s
// RUN: sparse-attn-opt %s --sparse-attn-to-plan --convert-plan-to-gpu=target=sm_90a --canonicalize --cse | FileCheck %s

// Distances in a graph: the lane's two columns of a fragment are a word of two, of which
// the largest number of 16 bits is no distance.

!qkv = tensor<?x?x?x64xbf16>
!state = tensor<?x?x?xf32>

// CHECK-LABEL: llvm.func @far_0_attend(
// CHECK-DAG: %[[NONE:.*]] = arith.constant 65535 : i32
// CHECK-DAG: %[[BITS:.*]] = arith.constant 16 : i32
// CHECK-DAG: %[[FAR:.*]] = arith.constant 0x7F800000 : f32
// CHECK: %[[LOW:.*]] = arith.andi %[[WORD:.*]], %[[NONE]] : i32
// CHECK-NEXT: %[[DISTANCE:.*]] = arith.uitofp %[[LOW]] : i32 to f32
// CHECK: %[[IS_FAR:.*]] = arith.cmpi eq, %[[LOW]], %[[NONE]] : i32
// CHECK: arith.select %[[IS_FAR]], %[[FAR]], %[[DISTANCE]] : f32
// CHECK: arith.shrui %[[WORD]], %[[BITS]] : i32
func.func @far(%q: !qkv, %k: !qkv, %v: !qkv, %offsets: tensor<?x?xi32>,
               %nodes: tensor<?x?xi32>, %indptr: tensor<?xi32>, %indices: tensor<?xi32>) -> (!qkv, !state) {
  %mask = sparse_attn.all
  %decay = sparse_attn.hop_decay %offsets, %nodes, %indptr, %indices max_hops = 1 temperature = 0.5 : tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%mask) modifiers(%decay) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %lse : !qkv, !state
}
