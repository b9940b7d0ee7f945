// RUN: sparse-attn-opt %s --split-bindings --split-input-file --verify-diagnostics | FileCheck %s

// A list alone, or an intersection with one, is one attention.
// CHECK-LABEL: @alone
// CHECK: %[[L:.+]] = sparse_attn.listed
// CHECK: %[[M:.+]] = sparse_attn.intersect
// CHECK: sparse_attn.attention {{.*}} mask(%[[M]])
// CHECK-NOT: sparse_attn.merge
func.func @alone(%q: tensor<?x?x?x64xf32>, %k: tensor<?x?x?x64xf32>, %v: tensor<?x?x?x64xf32>, %i: tensor<?x?x?x?xi32>) -> (tensor<?x?x?x64xf32>, tensor<?x?x?xf32>) {
  %c = sparse_attn.causal
  %l = sparse_attn.listed %i : tensor<?x?x?x?xi32>
  %m = sparse_attn.intersect %l, %c
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%m) : tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32> -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
  return %o, %lse : tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
}

// -----

// Beside a window: what the window keeps is not listed again, and sinks count once.
// CHECK-LABEL: @beside
// CHECK-DAG: %[[W:.+]] = sparse_attn.window
// CHECK-DAG: %[[L:.+]] = sparse_attn.listed
// CHECK: %[[O0:.+]], %[[L0:.+]] = sparse_attn.attention {{.*}} mask(%[[W]]) sinks(
// CHECK: %[[O1:.+]], %[[L1:.+]] = sparse_attn.attention {{.*}} mask(%[[M:[^)]+]])
// CHECK-NOT: sinks
// CHECK: sparse_attn.merge %[[O0]], %[[O1]] lse %[[L0]], %[[L1]]
func.func @beside(%q: tensor<?x?x?x64xf32>, %k: tensor<?x?x?x64xf32>, %v: tensor<?x?x?x64xf32>, %i: tensor<?x?x?x?xi32>, %s: tensor<?xf32>) -> (tensor<?x?x?x64xf32>, tensor<?x?x?xf32>) {
  %w = sparse_attn.window left = 63 right = 0
  %l = sparse_attn.listed %i : tensor<?x?x?x?xi32>
  %m = sparse_attn.union %l, %w
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%m) sinks(%s : tensor<?xf32>) : tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32> -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
  return %o, %lse : tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
}

// -----

// Where nothing is sure there is nothing to merge.
// CHECK-LABEL: @nested
// CHECK-COUNT-1: sparse_attn.attention
// CHECK-NOT: sparse_attn.attention
// CHECK-NOT: sparse_attn.merge
func.func @nested(%q: tensor<?x?x?x64xf32>, %k: tensor<?x?x?x64xf32>, %v: tensor<?x?x?x64xf32>, %i: tensor<?x?x?x?xi32>) -> (tensor<?x?x?x64xf32>, tensor<?x?x?xf32>) {
  %w = sparse_attn.window left = 63 right = 0
  %s = sparse_attn.sink size = 4
  %l = sparse_attn.listed %i : tensor<?x?x?x?xi32>
  %near = sparse_attn.intersect %l, %w
  %first = sparse_attn.intersect %l, %s
  %m = sparse_attn.union %near, %first
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%m) : tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32> -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
  return %o, %lse : tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
}

// -----

// Where keys that are selected are taken away, nothing is sure.
// CHECK-LABEL: @subtracted
// CHECK-COUNT-1: sparse_attn.attention
// CHECK-NOT: sparse_attn.attention
// CHECK-NOT: sparse_attn.merge
func.func @subtracted(%q: tensor<?x?x?x64xf32>, %k: tensor<?x?x?x64xf32>, %v: tensor<?x?x?x64xf32>, %i: tensor<?x?x?x?xi32>) -> (tensor<?x?x?x64xf32>, tensor<?x?x?xf32>) {
  %c = sparse_attn.causal
  %l = sparse_attn.listed %i : tensor<?x?x?x?xi32>
  %m = sparse_attn.difference %c, %l
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%m) : tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32> -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
  return %o, %lse : tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
}

// -----

// Beside a selection and a draw the sink is sure; probabilities are left to the rest.
// CHECK-LABEL: @sampled
// CHECK-DAG: %[[S:.+]] = sparse_attn.sink size = 4
// CHECK-DAG: sparse_attn.top_k
// CHECK-DAG: sparse_attn.sample.uniform
// CHECK: sparse_attn.attention {{.*}} mask(%[[S]]) :
// CHECK: sparse_attn.attention {{.*}} mask(%{{.+}} : !sparse_attn.mask<sampled>)
// CHECK: sparse_attn.merge
func.func @sampled(%q: tensor<?x?x?x64xf32>, %k: tensor<?x?x?x64xf32>, %v: tensor<?x?x?x64xf32>) -> (tensor<?x?x?x64xf32>, tensor<?x?x?xf32>) {
  %s = sparse_attn.sink size = 4
  %all = sparse_attn.all
  %dot = sparse_attn.score.dot
  %t = sparse_attn.top_k %dot, %all k = 16
  %u = sparse_attn.sample.uniform %all rate = 0.1 seed = 7
  %m = sparse_attn.union %s, %t, %u : !sparse_attn.mask, !sparse_attn.mask, !sparse_attn.mask<sampled>
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%m : !sparse_attn.mask<sampled>) : tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32> -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
  return %o, %lse : tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
}
