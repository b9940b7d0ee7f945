// RUN: sparse-attn-opt %s --sparse-attn-to-kernel=level=avx512 | FileCheck %s --check-prefixes=CHECK,AVX512
// RUN: sparse-attn-opt %s --sparse-attn-to-kernel=level=avx2 | FileCheck %s --check-prefixes=CHECK,AVX2

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

// CHECK-NOT: block_plan
// CHECK-LABEL: func.func private @{{.*}}_pack_tile(
// AVX512:    func.func @band_0_pack_avx512(%{{.*}}: !llvm.ptr)
// AVX2:      func.func @band_0_pack_avx2(%{{.*}}: !llvm.ptr)

// The register tile of Q K^T: rows x vectors accumulators, all carried in registers.
// CHECK-LABEL: func.func private @{{.*}}_scores(
// AVX512-COUNT-2: vector.load %{{.*}} : memref<64x32xf32>, vector<16xf32>
// AVX512-COUNT-16: vector.fma {{.*}} : vector<16xf32>
// AVX512-NOT:     vector.fma
// AVX2-COUNT-2:   vector.load %{{.*}} : memref<64x16xf32>, vector<8xf32>
// AVX2-COUNT-12:  vector.fma {{.*}} : vector<8xf32>
// AVX2-NOT:       vector.fma

// Few rows: a key is loaded once, in the order of memory, and multiplied with every
// row in two chains along D. One row takes a vector of keys at once.
// CHECK-LABEL: func.func private @{{.*}}_scores_in_place(
// CHECK:           memref.prefetch
// AVX512-COUNT-4:  vector.load %{{.*}} : memref<?x?x?x?xf32, {{.*}}>, vector<16xf32>
// AVX512-COUNT-68: vector.fma {{.*}} : vector<16xf32>
// AVX512-NOT:      vector.fma
// AVX2-COUNT-8:    vector.load %{{.*}} : memref<?x?x?x?xf32, {{.*}}>, vector<8xf32>
// AVX2:            vector.fma {{.*}} : vector<8xf32>

// A full tile carries no predicate ...
// CHECK-LABEL: func.func private @{{.*}}_softmax_full(
// CHECK-NOT:     arith.cmpi
// CHECK-NOT:     math.exp2
// A partial tile asks for a vector of keys at once.
// CHECK-LABEL: func.func private @{{.*}}_softmax_partial(
// AVX512:        arith.cmpi sle, %{{.*}}, %{{.*}} : vector<16xi32>
// AVX512:        arith.select %{{.*}}, %{{.*}}, %{{.*}} : vector<16xi1>, vector<16xf32>
// AVX2:          arith.cmpi sle, %{{.*}}, %{{.*}} : vector<8xi32>
// CHECK-LABEL: func.func private @{{.*}}_accumulate(
// CHECK-LABEL: func.func private @{{.*}}_accumulate_nonfinite(
// CHECK-LABEL: func.func private @{{.*}}_accumulate_in_place(
// Where pairs are left out, a weight of 0 takes the value out.
// CHECK-LABEL: func.func private @{{.*}}_accumulate_masked_in_place(
// CHECK:         arith.cmpf une
// CHECK:         arith.select
// CHECK:       func.func @band_0_attend_
// CHECK:       func.func @band_0_combine_
func.func @band(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %c = sparse_attn.causal
  %s = sparse_attn.sink size = 4
  %m = sparse_attn.intersect %c, %s
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %l : !qkv, !state
}
