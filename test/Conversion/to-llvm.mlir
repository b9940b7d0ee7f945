// RUN: sparse-attn-opt %s --sparse-attn-to-kernel | sparse-attn-opt --sparse-attn-to-llvm | FileCheck %s

!qkv = tensor<?x?x?x80xf32>
!state = tensor<?x?x?xf32>

// Everything reaches the llvm dialect: no other dialect, no libm call.
// CHECK-NOT: builtin.unrealized_conversion_cast
// CHECK-NOT: math.
// CHECK-NOT: arith.
// CHECK-NOT: @tanhf
// CHECK:     llvm.func @caps_0_attend_avx512(%{{.*}}: !llvm.ptr)
// CHECK-NOT: memref.
func.func @caps(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %m = sparse_attn.dilated left = 100 right = 0 rate = 3
  %c = sparse_attn.softcap cap = 20.0
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) modifiers(%c) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %l : !qkv, !state
}
