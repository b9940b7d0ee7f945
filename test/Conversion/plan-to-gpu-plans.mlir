// RUN: sparse-attn-opt %s --split-input-file --sparse-attn-to-plan --convert-plan-to-gpu=target=sm_80 --canonicalize --cse | FileCheck %s
// RUN: sparse-attn-opt %s --split-input-file --sparse-attn-to-plan --convert-plan-to-gpu=target=sm_90a --canonicalize --cse | FileCheck %s

// Beside the attention kernels, which read lists: one that checks offsets and takes none of
// the runtime's functions, one that counts tiles and one that writes them.

!qkv = tensor<?x?x?x64xbf16>
!state = tensor<?x?x?xf32>

// CHECK-LABEL: llvm.func @documents_0_check(
// CHECK-SAME: nvvm.reqntid = array<i32: 128>
// CHECK-NOT: call @
// CHECK: scf.while
// A word for the block.
// CHECK: nvvm.barrier {{.*}}#nvvm.reduction<or>
// CHECK: llvm.store
// CHECK: llvm.return

// CHECK-LABEL: llvm.func @documents_0_count(
// CHECK-NOT: call @
// Spans and tiles, 32 at once.
// CHECK: nvvm.vote.sync ballot
// CHECK: nvvm.vote.sync ballot
// Words of bits in shared memory; whether a pair is kept, and whether one is not.
// CHECK: llvm.store {{.*}} !llvm.ptr<3>
// CHECK-COUNT-2: nvvm.barrier {{.*}}#nvvm.reduction<or>
// CHECK-NOT: !llvm.ptr<3> -> i32
// CHECK: llvm.return

// CHECK-LABEL: llvm.func @documents_0_list(
// CHECK-NOT: call @
// CHECK: llvm.store {{.*}} !llvm.ptr<3>
// CHECK-COUNT-2: nvvm.barrier {{.*}}#nvvm.reduction<or>
// A run, and bits from shared memory to where the list says.
// CHECK: llvm.store {{.*}} !llvm.ptr<1>
// CHECK: llvm.load {{.*}} !llvm.ptr<3> -> i32
// CHECK: llvm.return
func.func @documents(%q: !qkv, %k: !qkv, %v: !qkv, %offsets: tensor<?x?xi32>) -> (!qkv, !state) {
  %causal = sparse_attn.causal
  %same = sparse_attn.segments %offsets : tensor<?x?xi32>
  %mask = sparse_attn.intersect %causal, %same
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%mask) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %lse : !qkv, !state
}

// -----

// A graph is searched, and blocks are drawn, by the host, which then lists the tiles.

!qkv = tensor<?x?x?x64xbf16>
!state = tensor<?x?x?xf32>

// CHECK-LABEL: llvm.func @drawn_0_combine(
// CHECK-NOT: llvm.func @drawn_0_
func.func @drawn(%q: !qkv, %k: !qkv, %v: !qkv, %offsets: tensor<?x?xi32>) -> (!qkv, !state) {
  %drawn = sparse_attn.random_blocks block = 64 count = 2 seed = 1
  %same = sparse_attn.segments %offsets : tensor<?x?xi32>
  %mask = sparse_attn.union %drawn, %same
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%mask) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %lse : !qkv, !state
}
