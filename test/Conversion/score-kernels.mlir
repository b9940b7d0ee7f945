// RUN: sparse-attn-opt %s --convert-plan-to-kernel=level=avx512 | FileCheck %s --check-prefixes=CHECK,AVX512
// RUN: sparse-attn-opt %s --convert-plan-to-kernel=level=avx2 | FileCheck %s --check-prefixes=CHECK,AVX2

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>
!score = !sparse_attn.score

// A lane is a unit on every level: states are the same everywhere.
// CHECK-LABEL: func.func @selects_0_score0_{{.*}}(%{{.*}}: !llvm.ptr)
// CHECK:         arith.xori %{{.*}}, %{{.*}} : vector<16xi32>
// CHECK:         math.ctpop %{{.*}} : vector<16xi32>
// CHECK:         arith.trunci %{{.*}} : vector<16xi32> to vector<16xi8>
// CHECK-NOT:     arith.sitofp

// Bounds of a page, 64 channels, in several chains: one of the two, or both.
// CHECK-LABEL: func.func @selects_0_score1_
// CHECK:         arith.select %{{.*}} : !llvm.ptr
// CHECK:         scf.if
// CHECK:         vector.fma
// CHECK:         vector.load %{{.*}} : memref<64x16xf32>, vector<16xf32>
// CHECK:         arith.maximumf %{{.*}}, %{{.*}} fastmath<nsz> : vector<16xf32>

// Eight labels in a word.
// CHECK-LABEL: func.func @selects_0_score2_
// CHECK:         vector.load %{{.*}} : memref<2x16xi32>, vector<16xi32>
// CHECK:         vector.fma

// Codes of a byte, buckets of two.
// CHECK-LABEL: func.func @selects_0_score3_
// CHECK:         vector.load %{{.*}} : memref<4x16xi8>, vector<16xi8>
// CHECK:         vector.gather
// CHECK-LABEL: func.func @selects_0_score4_
// CHECK:         vector.load %{{.*}} : memref<60x16xi16>, vector<16xi16>
// CHECK:         vector.gather

// CHECK-LABEL: func.func @selects_0_score5_
// CHECK:         vector.load %{{.*}} : memref<64x16xf32>, vector<16xf32>

// As many sums as the stride, or the block where that is shorter, says.
// CHECK-LABEL: func.func @selects_0_score6_
// CHECK:         vector.load %{{.*}} : memref<512x16xf32>, vector<16xf32>

// K itself, a key at a time; the last one stands for keys after it.
// CHECK-LABEL: func.func @selects_0_score7_
// CHECK:         memref.prefetch
// AVX512-COUNT-2: vector.fma {{.*}} : vector<16xf32>
// AVX2-COUNT-6:  vector.fma {{.*}} : vector<8xf32>
// CHECK:         memref.prefetch
// CHECK:         arith.minsi

// CHECK-LABEL: func.func private @selects_0_key_scores_{{.*}}_scores_in_place(
// CHECK-LABEL: func.func @selects_0_key_scores_
// CHECK-SAME:    (%{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr)
// CHECK:         vector.maskedstore

// Eight sums at once.
// CHECK-LABEL: func.func @selects_0_project_
// CHECK-SAME:    (%{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64)
// AVX512-COUNT-8: vector.fma {{.*}} : vector<16xf32>
// AVX2-COUNT-8:  vector.fma {{.*}} : vector<8xf32>
func.func @selects(%q: !qkv, %k: !qkv, %v: !qkv, %w: tensor<?x?xf32>,
                   %channels: tensor<?x?xi32>, %centroids: tensor<?x?x?x?xf32>,
                   %projections: tensor<?x?x?xf32>) -> (!qkv, !state) {
  %s0 = sparse_attn.score.hash %w, %w layers = [32] : tensor<?x?xf32>, tensor<?x?xf32>
  %s1 = sparse_attn.score.pages
  %s2 = sparse_attn.score.channels %channels count = 16 quantized = true : tensor<?x?xi32>
  %s3 = sparse_attn.score.pq %centroids subvectors = 4 codes = 256 : tensor<?x?x?x?xf32>
  %s4 = sparse_attn.score.soft_hash %projections tables = 60 bits = 10 temperature = 0.3
      : tensor<?x?x?xf32>
  %s5 = sparse_attn.score.pooled
  %s6 = sparse_attn.score.antidiagonal stride = 16
  %s7 = sparse_attn.score.dot
  %o, %l = block_plan.attention %q, %k, %v
      scores(%s0, %s1, %s2, %s3, %s4, %s5, %s6, %s7 : !score, !score, !score, !score,
             !score, !score, !score, !score)
      {binding = #block_plan<binding compile>, scale = 0.125 : f64,
       tile = array<i64: 64, 64>, key_block = 0 : i64, checks = [], tables = [],
       score_blocks = array<i64: 1, 16, 1, 1, 1, 16, 8, 1>, key_scores}
      : !qkv, !qkv, !qkv -> !qkv, !state classify {
    ^bb0(%b: i32, %h: i32, %p0: i32, %p1: i32, %j0: i32, %j1: i32, %step: i32):
      %t = arith.constant true
      block_plan.yield %t, %t : i1, i1
  } predicate {
    ^bb0(%b: i32, %h: i32, %p: i32, %j: i32):
      %t = arith.constant true
      block_plan.yield %t : i1
  } modify {
  }
  return %o, %l : !qkv, !state
}

// CHECK-NOT: block_plan
// CHECK-NOT: sparse_attn.score

// Nothing of it where nothing asks.
// CHECK-LABEL: func.func @plain_0_combine_
// CHECK-NOT: func.func @plain_0
func.func @plain(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %o, %l = block_plan.attention %q, %k, %v
      {binding = #block_plan<binding compile>, scale = 0.125 : f64,
       tile = array<i64: 64, 64>, key_block = 0 : i64, checks = [], tables = []}
      : !qkv, !qkv, !qkv -> !qkv, !state classify {
    ^bb0(%b: i32, %h: i32, %p0: i32, %p1: i32, %j0: i32, %j1: i32, %step: i32):
      %t = arith.constant true
      block_plan.yield %t, %t : i1, i1
  } predicate {
    ^bb0(%b: i32, %h: i32, %p: i32, %j: i32):
      %t = arith.constant true
      block_plan.yield %t : i1
  } modify {
  }
  return %o, %l : !qkv, !state
}
