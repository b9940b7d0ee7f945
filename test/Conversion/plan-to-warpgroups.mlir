// RUN: sparse-attn-opt %s --sparse-attn-to-plan --convert-plan-to-gpu=target=sm_90a --canonicalize --cse | FileCheck %s

// A producer and two consumers of 64 rows each; tiles of 128 keys.

!qkv = tensor<?x?x?x64xbf16>
!state = tensor<?x?x?xf32>

// The tensor maps of K and V are parameters of their own.
// CHECK-LABEL: llvm.func @near_0_attend(
// CHECK-SAME: %[[ARGS:[a-z0-9]+]]: !llvm.ptr {llvm.align = 8 : i64, llvm.byval
// CHECK-SAME: %[[KEYS:[a-z0-9]+]]: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<16 x i64>, nvvm.grid_constant}
// CHECK-SAME: %[[VALUES:[a-z0-9]+]]: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<16 x i64>, nvvm.grid_constant}
// CHECK-SAME: nvvm.reqntid = array<i32: 384>

// Q, two buffers of K, and two of V: each has one mbarrier for full and one for empty.
// CHECK-COUNT-10: nvvm.mbarrier.init
// CHECK-NOT: nvvm.mbarrier.init
// CHECK: nvvm.fence.mbarrier.init
// CHECK: nvvm.barrier

// The producer finds tiles. Where a tensor has a map, one thread asks for a tile of 128
// keys of 64 columns in 16 bits.
// CHECK: nvvm.setmaxregister decrease 40
// CHECK: nvvm.vote.sync ballot
// CHECK: nvvm.mbarrier.arrive.expect_tx %{{.*}}, %[[BYTES:[a-z0-9_]+]]
// CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.*}}, %[[KEYS]], %{{.*}}
// CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.*}}, %[[VALUES]], %{{.*}}

// The consumers have no list and no classes. S of the first tile: D / 16 products of 128
// keys, 64 sums a thread.
// CHECK: nvvm.setmaxregister increase 232
// CHECK-NOT: nvvm.vote.sync
// CHECK: wgmma.fence
// CHECK-COUNT-4: wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16
// CHECK-NOT: wgmma.mma_async
// CHECK: wgmma.commit_group
// CHECK: wgmma.wait_group.sync.aligned 0

// The next ones: S and P V are started together, and S is waited for.
// CHECK: wgmma.fence
// CHECK-COUNT-4: wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16
// CHECK: wgmma.commit_group
// CHECK-COUNT-8: wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16
// CHECK: wgmma.commit_group
// CHECK: wgmma.wait_group.sync.aligned 1
// A maximum and a power are an instruction each.
// CHECK: llvm.intr.maxnum
// CHECK: llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz"
// CHECK: wgmma.wait_group.sync.aligned 0
// O is scaled only where the maximum of a row of the warp has grown.
// CHECK: %[[GROWN:.*]] = nvvm.vote.sync ballot
// CHECK: %[[ANY:.*]] = arith.cmpi ne, %[[GROWN]], %{{.*}} : i32
// CHECK: scf.if %[[ANY]]
// CHECK: arith.truncf
func.func @near(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %causal = sparse_attn.causal
  %window = sparse_attn.window {left = 100 : i64}
  %mask = sparse_attn.intersect %causal, %window
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%mask) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %lse : !qkv, !state
}
