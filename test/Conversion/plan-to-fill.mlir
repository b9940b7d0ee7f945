// RUN: sparse-attn-opt %s --sparse-attn-to-kernel=level=avx512 | FileCheck %s --check-prefixes=CHECK,AVX512
// RUN: sparse-attn-opt %s --sparse-attn-to-kernel=level=avx2 | FileCheck %s --check-prefixes=CHECK,AVX2

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

// The helper decides the tile once, in front of the loops; the rest of the mask is a
// vector of keys at a time, as many as a register has bytes.
// CHECK:         func.func private @sa_fill_segments(!llvm.ptr, i32, !llvm.ptr, !llvm.ptr)
// CHECK-LABEL:   func.func @docs_0_fill_
// CHECK-SAME:        %[[PAIRS:.*]]: !llvm.ptr)
// CHECK:           %[[BITS:.*]] = llvm.alloca
// CHECK:           call @sa_fill_segments(%{{.*}}, %{{.*}}, %[[PAIRS]], %[[BITS]])
// CHECK-NOT:       call
// CHECK:           scf.for
// CHECK:           scf.for
// AVX512:            vector.load %{{.*}} : memref<64x16xi8>, vector<8xi8>
// AVX512:            arith.cmpi sle, %{{.*}}, %{{.*}} : vector<64xi32>
// AVX512:            vector.store %{{.*}} : memref<64x16xi8>, vector<8xi8>
// AVX2:              vector.load %{{.*}} : memref<48x16xi8>, vector<4xi8>
// AVX2:              arith.cmpi sle, %{{.*}}, %{{.*}} : vector<32xi32>
// AVX2:              vector.store %{{.*}} : memref<48x16xi8>, vector<4xi8>
func.func @docs(%q: !qkv, %k: !qkv, %v: !qkv, %offsets: tensor<?x?xi32>) -> (!qkv, !state) {
  %c = sparse_attn.causal
  %s = sparse_attn.segments %offsets : tensor<?x?xi32>
  %m = sparse_attn.intersect %c, %s
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %l : !qkv, !state
}

// A mask that is known at compile time has no bits.
// CHECK-NOT:     func.func @closed_0_fill_
// CHECK:         func.func @closed_0_attend_
// CHECK-NOT:     func.func @closed_0_fill_
// CHECK:         func.func @closed_0_combine_
// CHECK-NOT:     func.func @closed_0_fill_
func.func @closed(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %c = sparse_attn.causal
  %o, %l = sparse_attn.attention %q, %k, %v mask(%c) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %l : !qkv, !state
}
