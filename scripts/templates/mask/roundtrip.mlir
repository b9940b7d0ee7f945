// RUN: sparse-attn-opt %s --verify-roundtrip | FileCheck %s

// CHECK-LABEL: func.func @@SNAKE@(
// CHECK:         sparse_attn.@SNAKE@ size = 2
func.func @@SNAKE@() -> !sparse_attn.mask {
  %m = sparse_attn.@SNAKE@ size = 2
  return %m : !sparse_attn.mask
}
