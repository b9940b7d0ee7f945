// RUN: sparse-attn-opt %s --sparse-attn-to-plan --convert-plan-to-gpu=target=sm_80 --canonicalize --cse | FileCheck %s

// A block of 4 warps of 32 rows each, and tiles of 64 keys.

!qkv = tensor<?x?x?x64xbf16>
!state = tensor<?x?x?xf32>

// CHECK: llvm.mlir.global external @sparse_attn_shared() {addr_space = 3 : i32, alignment = 1024
// CHECK-LABEL: llvm.func @near_0_attend(
// CHECK-SAME: llvm.byval = !llvm.array<{{[0-9]+}} x i64>, nvvm.grid_constant
// CHECK-SAME: nvvm.kernel, nvvm.minctasm = 2 : i32, nvvm.reqntid = array<i32: 128>

// A mask with a closed form needs no list: a ballot of 32 rectangles at once.
// CHECK: nvvm.vote.sync ballot

// K of a tile has come when V of it is asked for.
// CHECK: nvvm.cp.async.wait.group 0
// CHECK: nvvm.barrier
// CHECK: nvvm.cp.async.shared.global
// CHECK: nvvm.cp.async.commit.group

// Q K^T: D / 16 times 2 row tiles and 8 fragments of keys.
// CHECK-COUNT-64: nvvm.mma.sync {{.*}}multiplicandAPtxType = #nvvm.mma_type<bf16>
// CHECK-NOT: nvvm.mma.sync
// CHECK: nvvm.cp.async.wait.group 0
// CHECK: nvvm.barrier

// P V: keys / 16 times 2 row tiles and 8 fragments of columns.
// CHECK-COUNT-64: nvvm.mma.sync
// CHECK-NOT: nvvm.mma.sync

// Whether a sum is an inf or NaN; then the tiles again, 16 keys and 16 columns at a time,
// with three products of V.
// CHECK: nvvm.barrier #nvvm.reduction<or>
// CHECK: scf.for
// CHECK: scf.while
// CHECK: scf.for
// Q K^T: D / 16 times 2 row tiles and 2 fragments of keys.
// CHECK-COUNT-16: nvvm.mma.sync
// 3 times 2 row tiles and 2 fragments of columns.
// CHECK-COUNT-12: nvvm.mma.sync
// CHECK-NOT: nvvm.mma.sync
func.func @near(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %causal = sparse_attn.causal
  %window = sparse_attn.window {left = 100 : i64}
  %mask = sparse_attn.intersect %causal, %window
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%mask) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %lse : !qkv, !state
}

// A plan lists the tiles of segments: no ballot, and bits of pairs.
// CHECK-LABEL: llvm.func @packed_0_attend(
// CHECK-NOT: nvvm.vote.sync
// Products of tf32, three for one: 8 elements of D at once, one row tile of 16 rows.
// CHECK-COUNT-192: nvvm.mma.sync {{.*}}multiplicandAPtxType = #nvvm.mma_type<tf32>
!qkvf = tensor<?x?x?x64xf32>
func.func @packed(%q: !qkvf, %k: !qkvf, %v: !qkvf, %offsets: tensor<?x?xi32>) -> (!qkvf, !state) {
  %mask = sparse_attn.segments %offsets : tensor<?x?xi32>
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%mask) : !qkvf, !qkvf, !qkvf -> !qkvf, !state
  return %o, %lse : !qkvf, !state
}
