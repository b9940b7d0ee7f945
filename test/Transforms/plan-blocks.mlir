// RUN: sparse-attn-opt %s -split-input-file --plan-blocks --canonicalize --cse | FileCheck %s

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

// A closed form of the positions: compile binding, a classifier and a predicate,
// neither with a load or a call.
// CHECK-LABEL: func.func @causal(
// CHECK:         block_plan.attention
// CHECK-SAME:      binding = #block_plan<binding compile>
// CHECK-SAME:      key_block = 0
// CHECK-SAME:      scale = 1.250000e-01
// CHECK-SAME:      tile = array<i64: 64, 128>
// CHECK:         classify {
// CHECK:         ^bb0(%[[B:.*]]: i32, %[[H:.*]]: i32, %[[P0:.*]]: i32, %[[P1:.*]]: i32, %[[J0:.*]]: i32, %[[J1:.*]]: i32, %{{.*}}: i32):
// CHECK-DAG:       %[[MAY:.*]] = arith.cmpi sle, %[[J0]], %[[P1]]
// CHECK-DAG:       %[[MUST:.*]] = arith.cmpi sle, %[[J1]], %[[P0]]
// CHECK:           block_plan.yield %[[MAY]], %[[MUST]]
// CHECK:         } predicate {
// CHECK:         ^bb0(%{{.*}}: i32, %{{.*}}: i32, %[[P:.*]]: i32, %[[J:.*]]: i32):
// CHECK:           %[[KEEP:.*]] = arith.cmpi sle, %[[J]], %[[P]]
// CHECK:           block_plan.yield %[[KEEP]]
// CHECK-NOT:     sparse_attn
func.func @causal(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %m = sparse_attn.causal
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %l : !qkv, !state
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

// A layout operand: plan binding, so the classifier calls the runtime, and so does what
// tells keys apart; partial tiles are kept as bits and there is no predicate.
// CHECK-LABEL: func.func @segments(
// CHECK-SAME:      %[[OFFSETS:[^:]*]]: tensor<?x?xi32>)
// CHECK:         block_plan.attention
// CHECK-SAME:      layout(%[[OFFSETS]]
// CHECK-SAME:      binding = #block_plan<binding plan>
// CHECK-SAME:      checks = [#block_plan.need<"segments", 1, [0], []>]
// CHECK-SAME:      per_batch
// CHECK:         %[[CLASS:.*]] = block_plan.helper "sa_classify_segments"(%[[OFFSETS]],
// CHECK-DAG:     arith.cmpi ne, %[[CLASS]]
// CHECK-DAG:     arith.cmpi eq, %[[CLASS]]
// CHECK:         } extent {
// CHECK:         %[[ANSWER:.*]] = block_plan.helper "sa_extent_segments"(%[[OFFSETS]],
// CHECK-DAG:     arith.andi %[[ANSWER]], %c3_i32
// CHECK-DAG:     %[[STOP:.*]] = arith.shrui %[[ANSWER]], %c2_i32
// CHECK:         block_plan.yield %{{.*}}, %{{.*}}, %[[STOP]]
// CHECK:         predicate {
// CHECK-NEXT:    } modify {
// CHECK-NEXT:    }
func.func @segments(%q: !qkv, %k: !qkv, %v: !qkv, %offsets: tensor<?x?xi32>) -> (!qkv, !state) {
  %m = sparse_attn.segments %offsets : tensor<?x?xi32>
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %l : !qkv, !state
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

// Modifiers become one region, in the order written.
// CHECK-LABEL: func.func @modifiers(
// CHECK-SAME:      %[[SLOPES:[^:]*]]: tensor<?xf32>)
// CHECK:         modify {
// CHECK:         ^bb0(%[[S:.*]]: f32, %{{.*}}: f32, %{{.*}}: i32, %[[H:.*]]: i32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32):
// CHECK:           math.tanh
// CHECK:           tensor.extract %[[SLOPES]]
// CHECK:           block_plan.yield
func.func @modifiers(%q: !qkv, %k: !qkv, %v: !qkv, %slopes: tensor<?xf32>) -> (!qkv, !state) {
  %m = sparse_attn.all
  %c = sparse_attn.softcap cap = 30.0
  %a = sparse_attn.alibi %slopes : tensor<?xf32>
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) modifiers(%c, %a) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %l : !qkv, !state
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>
!pooled = !sparse_attn.pooled<tensor<?x?x?x64xf32>, 32>

// A pooled key stands where its last token stands: min(32 (j + 1), n) - 1.
// CHECK-LABEL: func.func @pooled(
// CHECK:         block_plan.attention
// CHECK-SAME:      key_block = 32
// CHECK:         predicate {
// CHECK:         ^bb0(%{{.*}}: i32, %{{.*}}: i32, %[[P:.*]]: i32, %[[J:.*]]: i32):
// CHECK:           %[[NEXT:.*]] = arith.addi %[[J]],
// CHECK:           %[[END:.*]] = arith.muli %[[NEXT]],
// CHECK:           %[[N:.*]] = block_plan.size keys
// CHECK:           %[[LAST:.*]] = arith.minsi %[[END]], %[[N]]
func.func @pooled(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %m = sparse_attn.causal
  %pk = sparse_attn.pool %k : !qkv -> !pooled
  %pv = sparse_attn.pool %v : !qkv -> !pooled
  %o, %l = sparse_attn.attention %q, %pk, %pv mask(%m) : !qkv, !pooled, !pooled -> !qkv, !state
  return %o, %l : !qkv, !state
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

// Positions and keys that are a multiple of the rate apart are alike: where the step
// is the period, the distance of one pair decides, and of a pair no step is asked.
// CHECK-LABEL: func.func @dilated(
// CHECK-SAME:    , %[[BIAS:[^:]*]]: tensor<1x?x?x?xf32>)
// CHECK:         block_plan.attention
// CHECK-SAME:      period = 4
// CHECK:         classify {
// CHECK-NEXT:    ^bb0(%{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32, %[[STEP:.*]]: i32):
// CHECK:           %[[ALIKE:.*]] = arith.cmpi eq, %[[STEP]], %c4_i32
// CHECK:           arith.andi %{{.*}}, %[[ALIKE]]
// CHECK:         predicate {
// CHECK-NOT:       %c4_i32
// CHECK:         modify {
// A modifier that reads the elements of neighbouring keys keeps them together.
// CHECK:         block_plan.attention
// CHECK-NOT:       period
// CHECK:         classify {
// CHECK-NEXT:    ^bb0({{.*}}, %[[UNUSED:[a-z0-9]*]]: i32):
// CHECK-NOT:       %[[UNUSED]]
// CHECK:         } predicate {
// CHECK:         tensor.extract %[[BIAS]]
func.func @dilated(%q: !qkv, %k: !qkv, %v: !qkv, %bias: tensor<1x?x?x?xf32>) -> (!qkv, !state, !qkv, !state) {
  %m = sparse_attn.dilated left = 4095 right = 0 rate = 4
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !qkv, !qkv, !qkv -> !qkv, !state
  %b = sparse_attn.bias %bias : tensor<1x?x?x?xf32>
  %p, %s = sparse_attn.attention %q, %k, %v mask(%m) modifiers(%b) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %l, %p, %s : !qkv, !state, !qkv, !state
}

// -----

!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>

// A combination has the least common multiple of what it combines; a period that
// leaves too few keys to a tile does not count.
// CHECK-LABEL: func.func @combined(
// CHECK:         block_plan.attention
// CHECK-SAME:      period = 12
func.func @combined(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !state) {
  %d = sparse_attn.dilated rate = 4
  %s = sparse_attn.dilated_segment segment = 600 rate = 6
  %t = sparse_attn.strided stride = 4097
  %c = sparse_attn.causal
  %u = sparse_attn.union %d, %s, %t
  %m = sparse_attn.intersect %c, %u
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %l : !qkv, !state
}
