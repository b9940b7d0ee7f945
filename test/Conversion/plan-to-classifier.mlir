// RUN: sparse-attn-opt %s --sparse-attn-to-plan --convert-plan-to-classifier --cse | FileCheck %s

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

// CHECK:       func.func private @sa_classify_segments(!llvm.ptr, i32, i32, i32, i32, i32) -> i32
// CHECK-LABEL: func.func @docs_0_classify(
// CHECK-SAME:      %[[CONTEXT:.*]]: !llvm.ptr, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32) -> i32
// CHECK:         %[[CLASS:.*]] = call @sa_classify_segments(
// CHECK:         %[[MAY:.*]] = arith.andi
// CHECK:         %[[MUST:.*]] = arith.andi
// CHECK:         %[[PARTIAL:.*]] = arith.select %[[MAY]], %{{.*}}, %{{.*}} : i32
// CHECK:         %[[RESULT:.*]] = arith.select %[[MUST]], %{{.*}}, %[[PARTIAL]] : i32
// CHECK:         return %[[RESULT]]
func.func @docs(%q: !qkv, %k: !qkv, %v: !qkv, %offsets: tensor<?x?xi32>) -> (!qkv, !state) {
  %c = sparse_attn.causal
  %s = sparse_attn.segments %offsets : tensor<?x?xi32>
  %m = sparse_attn.intersect %c, %s
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %l : !qkv, !state
}
