// RUN: sparse-attn-opt %s --sparse-attn-to-plan | sparse-attn-opt --verify-roundtrip | FileCheck %s

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

// CHECK-LABEL: func.func @everything(
// CHECK:         block_plan.attention {{.*}} kv_len({{.*}}) q_len({{.*}}) q_offset({{.*}}) sinks({{.*}}) layout(
// CHECK:         block_plan.helper
// CHECK:         block_plan.size heads
func.func @everything(%q: !qkv, %k: !qkv, %v: !qkv, %offsets: tensor<?x?xi32>, %n: tensor<?xi32>,
                      %m: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xf32>) -> (!qkv, !state) {
  %a = sparse_attn.segments %offsets : tensor<?x?xi32>
  %r = sparse_attn.random_blocks block = 64 count = 3 seed = 7
  %mask = sparse_attn.union %a, %r
  %c = sparse_attn.softcap cap = 20.0
  %o, %l = sparse_attn.attention %q, %k, %v mask(%mask) kv_len(%n : tensor<?xi32>)
      q_len(%m : tensor<?xi32>) q_offset(%p : tensor<?xi32>) sinks(%s : tensor<?xf32>)
      modifiers(%c) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %l : !qkv, !state
}

// CHECK-LABEL: func.func private @unions() attributes {block_plan.unions = #block_plan.unions<whole>}
func.func private @unions() attributes {block_plan.unions = #block_plan.unions<whole>}

// CHECK-LABEL: func.func @choose(
// CHECK: block_plan.choose %{{.*}}, %{{.*}} lse %{{.*}}, %{{.*}} : (
func.func @choose(%o0: tensor<?x?x?x64xf32>, %l0: tensor<?x?x?xf32>, %o1: tensor<?x?x?x64xf32>,
                  %l1: tensor<?x?x?xf32>) -> tensor<?x?x?x64xf32> {
  %o, %l = block_plan.choose %o0, %o1 lse %l0, %l1
      : (tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>), (tensor<?x?x?xf32>, tensor<?x?x?xf32>)
      -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
  return %o : tensor<?x?x?x64xf32>
}
