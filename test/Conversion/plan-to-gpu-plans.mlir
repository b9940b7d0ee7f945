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

// Blocks are drawn where they are asked about: rounds of two products, and one more.

!qkv = tensor<?x?x?x64xbf16>
!state = tensor<?x?x?xf32>

// CHECK-LABEL: llvm.func @drawn_0_count(
// CHECK-NOT: call @
// CHECK: scf.while
// CHECK-COUNT-19: arith.mului_extended
// CHECK: llvm.return
// CHECK: llvm.func @drawn_0_list(
func.func @drawn(%q: !qkv, %k: !qkv, %v: !qkv, %offsets: tensor<?x?xi32>) -> (!qkv, !state) {
  %drawn = sparse_attn.random_blocks block = 64 count = 2 seed = 1
  %same = sparse_attn.segments %offsets : tensor<?x?xi32>
  %mask = sparse_attn.union %drawn, %same
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%mask) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %lse : !qkv, !state
}

// -----

// The host searches in a graph, and a kernel reads the tables of what it has found
// (sa_gpu_args::tables), both of them.

!qkv = tensor<?x?x?x64xbf16>
!state = tensor<?x?x?xf32>

// CHECK-LABEL: llvm.func @hops_0_count(
// CHECK-NOT: call @
// CHECK: %[[FIELD:[0-9]+]] = llvm.getelementptr %arg0[120] : (!llvm.ptr) -> !llvm.ptr, i8
// CHECK: %[[TABLES:[0-9]+]] = llvm.load %[[FIELD]] : !llvm.ptr -> !llvm.ptr
// CHECK: llvm.load %[[TABLES]] : !llvm.ptr -> !llvm.ptr
// CHECK: %[[SECOND:[0-9]+]] = llvm.getelementptr %[[TABLES]][8] : (!llvm.ptr) -> !llvm.ptr, i8
// CHECK: llvm.load %[[SECOND]] : !llvm.ptr -> !llvm.ptr
// CHECK: llvm.load %{{[0-9]+}} {alignment = 8 : i64} : !llvm.ptr<1> -> i64
// CHECK: llvm.return
// CHECK: llvm.func @hops_0_list(
func.func @hops(%q: !qkv, %k: !qkv, %v: !qkv, %offsets: tensor<?x?xi32>,
                %nodes: tensor<?x?xi32>, %indptr: tensor<?xi32>, %indices: tensor<?xi32>)
    -> (!qkv, !state) {
  %far = sparse_attn.graph_hop %offsets, %nodes, %indptr, %indices max_hops = 2
      : tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>
  %near = sparse_attn.graph_hop %offsets, %nodes, %indptr, %indices max_hops = 1
      : tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>
  %mask = sparse_attn.difference %far, %near
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%mask) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %lse : !qkv, !state
}

// -----

// Distances are made by the host, for lists that it makes.

!qkv = tensor<?x?x?x64xbf16>
!state = tensor<?x?x?xf32>

// CHECK-LABEL: llvm.func @decays_0_combine(
// CHECK-NOT: llvm.func @decays_0_
func.func @decays(%q: !qkv, %k: !qkv, %v: !qkv, %offsets: tensor<?x?xi32>,
                  %nodes: tensor<?x?xi32>, %indptr: tensor<?xi32>, %indices: tensor<?xi32>)
    -> (!qkv, !state) {
  %all = sparse_attn.all
  %decay = sparse_attn.hop_decay %offsets, %nodes, %indptr, %indices max_hops = 1 temperature = 0.5
      : tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%all) modifiers(%decay)
      : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %lse : !qkv, !state
}
