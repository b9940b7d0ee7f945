// The tool keeps what an interesting input needs and drops the rest.
// RUN: sparse-attn-reduce %s -reduction-tree='traversal-mode=0 test=%S/Inputs/has-sink.sh' | FileCheck %s
// CHECK-NOT: @dropped
// CHECK:     func.func @kept
// CHECK-NOT: @dropped
func.func @dropped_first() -> !sparse_attn.mask {
  %m = sparse_attn.causal
  return %m : !sparse_attn.mask
}
func.func @kept() -> !sparse_attn.mask {
  %m = sparse_attn.sink size = 4
  return %m : !sparse_attn.mask
}
func.func @dropped_last() -> !sparse_attn.mask {
  %m = sparse_attn.all
  return %m : !sparse_attn.mask
}
