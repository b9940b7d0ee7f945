// RUN: sparse-attn-opt %s --split-unions --canonicalize --split-input-file | FileCheck %s
// RUN: sparse-attn-opt %s --split-unions=unions=split --canonicalize --split-input-file | FileCheck %s --check-prefix=SPLIT
// RUN: sparse-attn-opt %s --split-unions=unions=whole --canonicalize --split-input-file | FileCheck %s --check-prefix=WHOLE

!qkv = tensor<?x?x?x64xf16>
!lse = tensor<?x?x?xf32>

// A window, and every 128th key: the intersection is distributed, what both halves
// keep is kept by the near one, and the states that are merged are f32. Sinks count in
// the near half.
// CHECK-LABEL: func.func @transformer(
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xf32>)
// CHECK-DAG: %[[N:.*]] = sparse_attn.window left = 127 right = 0
// CHECK-DAG: %[[F:.*]] = sparse_attn.dilated right = 0 rate = 128
// CHECK: %[[O:.*]], %[[L:.*]] = sparse_attn.attention {{.*}} sinks(%[[S]] {{.*}} -> tensor<?x?x?x64xf16>
// CHECK-DAG: %[[NOT:.*]] = sparse_attn.complement %[[N]]
// CHECK-DAG: %[[FAR:.*]] = sparse_attn.intersect %[[F]], %[[NOT]]
// CHECK: %[[O0:.*]], %[[L0:.*]] = sparse_attn.attention {{.*}} mask(%[[N]]) sinks(%[[S]] {{.*}} scale = 5.000000e-01 {{.*}} -> tensor<?x?x?x64xf32>
// CHECK: %[[O1:.*]], %[[L1:.*]] = sparse_attn.attention {{.*}} mask(%[[FAR]]) scale = 5.000000e-01 {{.*}} -> tensor<?x?x?x64xf32>
// CHECK: %[[OM:.*]], %[[LM:.*]] = sparse_attn.merge %[[O0]], %[[O1]] lse %[[L0]], %[[L1]] {{.*}} -> tensor<?x?x?x64xf16>
// CHECK: %[[OC:.*]], %[[LC:.*]] = block_plan.choose %[[O]], %[[OM]] lse %[[L]], %[[LM]]
// CHECK: return %[[OC]], %[[LC]]
// SPLIT-LABEL: func.func @transformer(
// SPLIT-COUNT-2: sparse_attn.attention
// SPLIT-NOT: sparse_attn.attention
// SPLIT: %[[O:.*]], %[[L:.*]] = sparse_attn.merge
// SPLIT-NEXT: return %[[O]], %[[L]]
// WHOLE-LABEL: func.func @transformer(
// WHOLE-COUNT-1: sparse_attn.attention
// WHOLE-NEXT: return
func.func @transformer(%q: !qkv, %k: !qkv, %v: !qkv, %s: tensor<?xf32>) -> (!qkv, !lse) {
  %c = sparse_attn.causal
  %w = sparse_attn.window left = 127 right = 0
  %f = sparse_attn.strided stride = 128
  %u = sparse_attn.union %w, %f
  %m = sparse_attn.intersect %c, %u
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) sinks(%s : tensor<?xf32>) scale = 0.5
      : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o, %l : !qkv, !lse
}

// -----

!qkv = tensor<?x?x?x64xf32>
!lse = tensor<?x?x?xf32>

// Periods 1, 4 and 128: the widest gap divides them. Lengths and modifiers go along.
// CHECK-LABEL: func.func @widest_gap(
// CHECK-DAG: %[[W:.*]] = sparse_attn.window left = 7 right = 7
// CHECK-DAG: %[[D:.*]] = sparse_attn.dilated left = 252 right = 0 rate = 4
// CHECK-DAG: %[[F:.*]] = sparse_attn.fixed stride = 128 columns = 8
// CHECK-DAG: %[[CAP:.*]] = sparse_attn.softcap
// CHECK-DAG: %[[N:.*]] = sparse_attn.union %[[W]], %[[D]]
// CHECK: sparse_attn.attention {{.*}} mask(%[[N]]) kv_len({{.*}}) modifiers(%[[CAP]])
// CHECK: sparse_attn.attention {{.*}} kv_len({{.*}}) modifiers(%[[CAP]])
func.func @widest_gap(%q: !qkv, %k: !qkv, %v: !qkv, %n: tensor<?xi32>) -> (!qkv, !lse) {
  %w = sparse_attn.window left = 7 right = 7
  %d = sparse_attn.dilated left = 252 right = 0 rate = 4
  %f = sparse_attn.fixed stride = 128 columns = 8
  %m = sparse_attn.union %w, %d, %f
  %cap = sparse_attn.softcap cap = 30.0
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) kv_len(%n : tensor<?xi32>)
      modifiers(%cap) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o, %l : !qkv, !lse
}

// -----

!qkv = tensor<?x?x?x64xf32>
!lse = tensor<?x?x?xf32>

// A kernel says what it wants.
// CHECK-LABEL: func.func @asks_for_split(
// CHECK-COUNT-2: sparse_attn.attention
// CHECK-NOT: block_plan.choose
// WHOLE-LABEL: func.func @asks_for_split(
// WHOLE-COUNT-2: sparse_attn.attention
func.func @asks_for_split(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !lse)
    attributes {block_plan.unions = #block_plan.unions<split>} {
  %w = sparse_attn.window left = 7 right = 7
  %d = sparse_attn.dilated left = 252 right = 0 rate = 4
  %m = sparse_attn.union %w, %d
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o, %l : !qkv, !lse
}

// -----

!qkv = tensor<?x?x?x64xf32>
!lse = tensor<?x?x?xf32>

// Nothing to gain: one period, or keys that have to be neighbours in any case.
// CHECK-LABEL: func.func @one_period(
// CHECK-COUNT-1: sparse_attn.attention
// CHECK-NEXT: return
func.func @one_period(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !lse) {
  %a = sparse_attn.strided stride = 64
  %b = sparse_attn.fixed stride = 64 columns = 2
  %m = sparse_attn.union %a, %b
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o, %l : !qkv, !lse
}

// CHECK-LABEL: func.func @biased(
// CHECK-COUNT-1: sparse_attn.attention
// CHECK-NEXT: return
func.func @biased(%q: !qkv, %k: !qkv, %v: !qkv, %bias: tensor<?x?x?x?xf32>) -> (!qkv, !lse) {
  %w = sparse_attn.window left = 7 right = 7
  %d = sparse_attn.dilated left = 252 right = 0 rate = 4
  %m = sparse_attn.union %w, %d
  %b = sparse_attn.bias %bias : tensor<?x?x?x?xf32>
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) modifiers(%b)
      : !qkv, !qkv, !qkv -> !qkv, !lse
  return %o, %l : !qkv, !lse
}

// CHECK-LABEL: func.func @pooled(
// CHECK-COUNT-1: sparse_attn.attention
// CHECK-NEXT: return
func.func @pooled(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !lse) {
  %w = sparse_attn.window left = 7 right = 7
  %d = sparse_attn.dilated left = 252 right = 0 rate = 4
  %m = sparse_attn.union %w, %d
  %pk = sparse_attn.pool %k : !qkv -> !sparse_attn.pooled<!qkv, 32>
  %pv = sparse_attn.pool %v : !qkv -> !sparse_attn.pooled<!qkv, 32>
  %o, %l = sparse_attn.attention %q, %pk, %pv mask(%m)
      : !qkv, !sparse_attn.pooled<!qkv, 32>, !sparse_attn.pooled<!qkv, 32> -> !qkv, !lse
  return %o, %l : !qkv, !lse
}
