// RUN: sparse-attn-opt %s --split-input-file --sparse-attn-to-plan --convert-plan-to-gpu=target=sm_80 --canonicalize --cse | FileCheck %s
// RUN: sparse-attn-opt %s --split-input-file --sparse-attn-to-plan --convert-plan-to-gpu=target=sm_90a --canonicalize --cse | FileCheck %s

// A list that a run brings: no warpgroups, since TMA copies neighbours, and 64 keys of a
// tile for 4 warps of 16 rows.

!qkv = tensor<?x?x?x128xbf16>
!state = tensor<?x?x?xf32>

// CHECK-LABEL: llvm.func @lists_0_attend(
// CHECK-SAME: nvvm.reqntid = array<i32: 128>
// The piece's keys go into a hash table with the first element that names each, ...
// CHECK: llvm.cmpxchg {{.*}} syncscope("block") monotonic monotonic {{.*}} !llvm.ptr<3>, i32
// CHECK: llvm.atomicrmw umin {{.*}} syncscope("block") monotonic {{.*}} !llvm.ptr<3>, i32
// ... as do the elements before the piece that name one of them;
// CHECK: nvvm.barrier
// CHECK: llvm.atomicrmw umin
// CHECK-NOT: llvm.cmpxchg
// elements vote, and those that are kept get their places.
// CHECK: nvvm.barrier
// CHECK: nvvm.vote.sync ballot
// CHECK: nvvm.barrier
// CHECK: llvm.intr.ctpop
// A row of K for each key of the list.
// CHECK: nvvm.cp.async.shared.global
// D / 16 times 8 fragments of keys.
// CHECK-COUNT-64: nvvm.mma.sync {{.*}}multiplicandAPtxType = #nvvm.mma_type<bf16>
// Pairs are asked about the mask where a tile is not full, and nothing else is.
// CHECK: scf.if
// CHECK-NOT: llvm.intr.log2
// CHECK: llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz"
func.func @lists(%q: !qkv, %k: !qkv, %v: !qkv, %indices: tensor<?x?x?x?xi32>) -> (!qkv, !state) {
  %mask = sparse_attn.listed %indices : tensor<?x?x?x?xi32>
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%mask) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %lse : !qkv, !state
}
