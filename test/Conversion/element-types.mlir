// RUN: sparse-attn-opt %s --sparse-attn-to-kernel | FileCheck %s
// RUN: sparse-attn-opt %s --sparse-attn-to-kernel=level=avx2 | sparse-attn-opt --sparse-attn-to-llvm | FileCheck %s --check-prefix=LLVM

!qkv = tensor<?x?x?x64xbf16>
!state = tensor<?x?x?xf32>

// Elements of 16 bits become f32 when a tile is packed and when queries are copied;
// the result is rounded once, at the end. In between there is f32 alone.
// CHECK-LABEL: func.func private @{{.*}}_pack_tile(
// CHECK:         vector.load %{{.*}} : memref<?x?x?x?xbf16, {{.*}}>, vector<16xbf16>
// CHECK:         arith.extf %{{.*}} : vector<16xbf16> to vector<16xf32>
// CHECK-LABEL: func.func private @{{.*}}_scores(
// CHECK-NOT:     bf16
// CHECK-LABEL: func.func private @{{.*}}_scores_in_place(
// Few rows read keys and values where they are.
// CHECK:         arith.extf %{{.*}} : vector<16xbf16> to vector<16xf32>
// CHECK-LABEL: func.func private @{{.*}}_accumulate(
// CHECK-NOT:     bf16
// CHECK-LABEL: func.func private @{{.*}}_accumulate_in_place(
// CHECK:         arith.extf %{{.*}} : vector<16xbf16> to vector<16xf32>
// CHECK-LABEL: func.func @half_0_attend_avx512(
// CHECK:         arith.extf %{{.*}} : vector<16xbf16> to vector<16xf32>
// CHECK:         arith.truncf %{{.*}} : vector<16xf32> to vector<16xbf16>

// A level without bf16 instructions needs no function of a compiler's library.
// LLVM-NOT: fptrunc
// LLVM-NOT: @__
func.func @half(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %m = sparse_attn.causal
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %l : !qkv, !state
}
