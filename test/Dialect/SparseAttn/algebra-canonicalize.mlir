// RUN: sparse-attn-opt %s --canonicalize | FileCheck %s

//===----------------------------------------------------------------------===//
// Neutral and absorbing elements, idempotence
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func.func @union_none(
// CHECK-NEXT: %[[SINK:.*]] = sparse_attn.sink size = 4
// CHECK-NEXT: return %[[SINK]]
func.func @union_none() -> !sparse_attn.mask {
  %sink = sparse_attn.sink size = 4
  %none = sparse_attn.none
  %m = sparse_attn.union %none, %sink
  return %m : !sparse_attn.mask
}

// CHECK-LABEL: func.func @union_all(
// CHECK-NEXT: %[[ALL:.*]] = sparse_attn.all
// CHECK-NEXT: return %[[ALL]]
func.func @union_all() -> !sparse_attn.mask {
  %sink = sparse_attn.sink size = 4
  %all = sparse_attn.all
  %m = sparse_attn.union %sink, %all
  return %m : !sparse_attn.mask
}

// CHECK-LABEL: func.func @intersect_all(
// CHECK-NEXT: %[[SINK:.*]] = sparse_attn.sink size = 4
// CHECK-NEXT: return %[[SINK]]
func.func @intersect_all() -> !sparse_attn.mask {
  %sink = sparse_attn.sink size = 4
  %all = sparse_attn.all
  %m = sparse_attn.intersect %all, %sink
  return %m : !sparse_attn.mask
}

// CHECK-LABEL: func.func @intersect_none(
// CHECK-NEXT: %[[NONE:.*]] = sparse_attn.none
// CHECK-NEXT: return %[[NONE]]
func.func @intersect_none() -> !sparse_attn.mask {
  %sink = sparse_attn.sink size = 4
  %none = sparse_attn.none
  %m = sparse_attn.intersect %sink, %none
  return %m : !sparse_attn.mask
}

// Two graphs written twice are one.
// CHECK-LABEL: func.func @idempotence(
// CHECK-NEXT: %[[GRAPH:.*]] = sparse_attn.graph_hop
// CHECK-NEXT: return %[[GRAPH]]
func.func @idempotence(%o: tensor<?x?xi32>, %n: tensor<?x?xi32>, %p: tensor<?xi32>, %i: tensor<?xi32>) -> !sparse_attn.mask {
  %g = sparse_attn.graph_hop %o, %n, %p, %i max_hops = 2 : tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>
  %h = sparse_attn.graph_hop %o, %n, %p, %i max_hops = 2 : tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>
  %m = sparse_attn.union %g, %h, %g
  return %m : !sparse_attn.mask
}

//===----------------------------------------------------------------------===//
// Flattening, absorption
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func.func @flatten(
// CHECK-DAG: %[[CAUSAL:.*]] = sparse_attn.causal
// CHECK-DAG: %[[SINK:.*]] = sparse_attn.sink size = 4
// CHECK-DAG: %[[FIXED:.*]] = sparse_attn.fixed
// CHECK: %[[UNION:.*]] = sparse_attn.union %[[CAUSAL]], %[[SINK]], %[[FIXED]]
// CHECK-NEXT: return %[[UNION]]
func.func @flatten() -> !sparse_attn.mask {
  %causal = sparse_attn.causal
  %sink = sparse_attn.sink size = 4
  %fixed = sparse_attn.fixed stride = 8 columns = 1
  %inner = sparse_attn.union %sink, %fixed
  %m = sparse_attn.union %causal, %inner
  return %m : !sparse_attn.mask
}

// a | (a & b) = a
// CHECK-LABEL: func.func @absorption(
// CHECK-NEXT: %[[SINK:.*]] = sparse_attn.sink size = 4
// CHECK-NEXT: return %[[SINK]]
func.func @absorption() -> !sparse_attn.mask {
  %sink = sparse_attn.sink size = 4
  %causal = sparse_attn.causal
  %inner = sparse_attn.intersect %sink, %causal
  %m = sparse_attn.union %inner, %sink
  return %m : !sparse_attn.mask
}

// a & (a | b) = a
// CHECK-LABEL: func.func @dual_absorption(
// CHECK-NEXT: %[[SINK:.*]] = sparse_attn.sink size = 4
// CHECK-NEXT: return %[[SINK]]
func.func @dual_absorption() -> !sparse_attn.mask {
  %sink = sparse_attn.sink size = 4
  %causal = sparse_attn.causal
  %inner = sparse_attn.union %sink, %causal
  %m = sparse_attn.intersect %inner, %sink
  return %m : !sparse_attn.mask
}

//===----------------------------------------------------------------------===//
// Complements
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func.func @double_complement(
// CHECK-NEXT: %[[SINK:.*]] = sparse_attn.sink size = 4
// CHECK-NEXT: return %[[SINK]]
func.func @double_complement() -> !sparse_attn.mask {
  %sink = sparse_attn.sink size = 4
  %not = sparse_attn.complement %sink
  %m = sparse_attn.complement %not
  return %m : !sparse_attn.mask
}

// CHECK-LABEL: func.func @complement_none(
// CHECK-NEXT: %[[ALL:.*]] = sparse_attn.all
// CHECK-NEXT: return %[[ALL]]
func.func @complement_none() -> !sparse_attn.mask {
  %none = sparse_attn.none
  %m = sparse_attn.complement %none
  return %m : !sparse_attn.mask
}

// CHECK-LABEL: func.func @de_morgan(
// CHECK-DAG: %[[SINK:.*]] = sparse_attn.sink size = 4
// CHECK-DAG: %[[FIXED:.*]] = sparse_attn.fixed
// CHECK-DAG: %[[NOT_SINK:.*]] = sparse_attn.complement %[[SINK]]
// CHECK-DAG: %[[NOT_FIXED:.*]] = sparse_attn.complement %[[FIXED]]
// CHECK: %[[BOTH:.*]] = sparse_attn.intersect %[[NOT_SINK]], %[[NOT_FIXED]]
// CHECK-NEXT: return %[[BOTH]]
func.func @de_morgan() -> !sparse_attn.mask {
  %sink = sparse_attn.sink size = 4
  %fixed = sparse_attn.fixed stride = 8 columns = 1
  %either = sparse_attn.union %sink, %fixed
  %m = sparse_attn.complement %either
  return %m : !sparse_attn.mask
}

// Where the union is needed anyway, its complement is one operation more.
// CHECK-LABEL: func.func @de_morgan_shared(
// CHECK: %[[EITHER:.*]] = sparse_attn.union
// CHECK-NEXT: %[[NOT:.*]] = sparse_attn.complement %[[EITHER]]
// CHECK-NEXT: return %[[NOT]], %[[EITHER]]
func.func @de_morgan_shared() -> (!sparse_attn.mask, !sparse_attn.mask) {
  %sink = sparse_attn.sink size = 4
  %fixed = sparse_attn.fixed stride = 8 columns = 1
  %either = sparse_attn.union %sink, %fixed
  %m = sparse_attn.complement %either
  return %m, %either : !sparse_attn.mask, !sparse_attn.mask
}

// CHECK-LABEL: func.func @excluded_middle(
// CHECK-NEXT: %[[ALL:.*]] = sparse_attn.all
// CHECK-NEXT: return %[[ALL]]
func.func @excluded_middle() -> !sparse_attn.mask {
  %sink = sparse_attn.sink size = 4
  %causal = sparse_attn.causal
  %not = sparse_attn.complement %sink
  %m = sparse_attn.union %sink, %causal, %not
  return %m : !sparse_attn.mask
}

// Nothing of a window is ahead of its causal part.
// CHECK-LABEL: func.func @contradiction(
// CHECK-NEXT: %[[NONE:.*]] = sparse_attn.none
// CHECK-NEXT: return %[[NONE]]
func.func @contradiction() -> !sparse_attn.mask {
  %window = sparse_attn.window left = 8 right = 0
  %causal = sparse_attn.causal
  %m = sparse_attn.difference %window, %causal
  return %m : !sparse_attn.mask
}

// CHECK-LABEL: func.func @difference(
// CHECK-DAG: %[[CAUSAL:.*]] = sparse_attn.causal
// CHECK-DAG: %[[SINK:.*]] = sparse_attn.sink size = 4
// CHECK-DAG: %[[NOT:.*]] = sparse_attn.complement %[[SINK]]
// CHECK: %[[REST:.*]] = sparse_attn.intersect %[[CAUSAL]], %[[NOT]]
// CHECK-NEXT: return %[[REST]]
func.func @difference() -> !sparse_attn.mask {
  %causal = sparse_attn.causal
  %sink = sparse_attn.sink size = 4
  %m = sparse_attn.difference %causal, %sink
  return %m : !sparse_attn.mask
}

// What is added to a base need not exclude it: b | (a - b) = a | b, here a.
// CHECK-LABEL: func.func @base_and_rest(
// CHECK-NEXT: %[[CAUSAL:.*]] = sparse_attn.causal
// CHECK-NEXT: return %[[CAUSAL]]
func.func @base_and_rest() -> !sparse_attn.mask {
  %causal = sparse_attn.causal
  %base = sparse_attn.window left = 8 right = 0
  %rest = sparse_attn.difference %causal, %base
  %m = sparse_attn.union %base, %rest
  return %m : !sparse_attn.mask
}

//===----------------------------------------------------------------------===//
// Bands
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func.func @window_in_causal(
// CHECK-NEXT: %[[WINDOW:.*]] = sparse_attn.window left = 8 right = 0
// CHECK-NEXT: return %[[WINDOW]]
func.func @window_in_causal() -> !sparse_attn.mask {
  %causal = sparse_attn.causal
  %window = sparse_attn.window left = 8 right = 4
  %m = sparse_attn.intersect %causal, %window
  return %m : !sparse_attn.mask
}

// CHECK-LABEL: func.func @windows_unite(
// CHECK-NEXT: %[[WINDOW:.*]] = sparse_attn.window left = 8 right = 4
// CHECK-NEXT: return %[[WINDOW]]
func.func @windows_unite() -> !sparse_attn.mask {
  %past = sparse_attn.window left = 8 right = 0
  %ahead = sparse_attn.window left = 0 right = 4
  %m = sparse_attn.union %past, %ahead
  return %m : !sparse_attn.mask
}

// CHECK-LABEL: func.func @past_and_future(
// CHECK-NEXT: %[[ALL:.*]] = sparse_attn.all
// CHECK-NEXT: return %[[ALL]]
func.func @past_and_future() -> !sparse_attn.mask {
  %past = sparse_attn.causal
  %ahead = sparse_attn.window left = 0
  %m = sparse_attn.union %past, %ahead
  return %m : !sparse_attn.mask
}

// CHECK-LABEL: func.func @unbounded_window(
// CHECK-NEXT: %[[ALL:.*]] = sparse_attn.all
// CHECK-NEXT: %[[CAUSAL:.*]] = sparse_attn.causal
// CHECK-NEXT: return %[[ALL]], %[[CAUSAL]]
func.func @unbounded_window() -> (!sparse_attn.mask, !sparse_attn.mask) {
  %all = sparse_attn.window
  %causal = sparse_attn.window right = 0
  return %all, %causal : !sparse_attn.mask, !sparse_attn.mask
}

// Ends go to the last key that is kept.
// CHECK-LABEL: func.func @dilated(
// CHECK-NEXT: %[[A:.*]] = sparse_attn.dilated left = 6 right = 3 rate = 3
// CHECK-NEXT: %[[B:.*]] = sparse_attn.window left = 0 right = 0
// CHECK-NEXT: %[[C:.*]] = sparse_attn.window left = 7 right = 1
// CHECK-NEXT: %[[D:.*]] = sparse_attn.strided stride = 3
// CHECK-NEXT: return %[[A]], %[[B]], %[[C]], %[[D]]
func.func @dilated() -> (!sparse_attn.mask, !sparse_attn.mask, !sparse_attn.mask, !sparse_attn.mask) {
  %a = sparse_attn.dilated left = 8 right = 3 rate = 3
  %b = sparse_attn.dilated left = 2 right = 1 rate = 3
  %c = sparse_attn.dilated left = 7 right = 1 rate = 1
  %d = sparse_attn.dilated rate = 3
  return %a, %b, %c, %d : !sparse_attn.mask, !sparse_attn.mask, !sparse_attn.mask, !sparse_attn.mask
}

// Distances that are multiples of 4 and of 6 are multiples of 12.
// CHECK-LABEL: func.func @rates_intersect(
// CHECK-NEXT: %[[DILATED:.*]] = sparse_attn.dilated left = 24 right = 0 rate = 12
// CHECK-NEXT: return %[[DILATED]]
func.func @rates_intersect() -> !sparse_attn.mask {
  %strided = sparse_attn.strided stride = 4
  %dilated = sparse_attn.dilated left = 30 right = 6 rate = 6
  %causal = sparse_attn.causal
  %m = sparse_attn.intersect %strided, %dilated, %causal
  return %m : !sparse_attn.mask
}

// Rates that differ do not unite.
// CHECK-LABEL: func.func @rates_do_not_unite(
// CHECK: sparse_attn.union
func.func @rates_do_not_unite() -> !sparse_attn.mask {
  %a = sparse_attn.dilated left = 8 right = 0 rate = 2
  %b = sparse_attn.dilated left = 9 right = 0 rate = 3
  %m = sparse_attn.union %a, %b
  return %m : !sparse_attn.mask
}

//===----------------------------------------------------------------------===//
// Other patterns
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func.func @sinks(
// CHECK-NEXT: %[[LARGE:.*]] = sparse_attn.sink size = 4
// CHECK-NEXT: %[[SMALL:.*]] = sparse_attn.sink size = 2
// CHECK-NEXT: return %[[LARGE]], %[[SMALL]]
func.func @sinks() -> (!sparse_attn.mask, !sparse_attn.mask) {
  %large = sparse_attn.sink size = 4
  %small = sparse_attn.sink size = 2
  %either = sparse_attn.union %large, %small
  %both = sparse_attn.intersect %large, %small
  return %either, %both : !sparse_attn.mask, !sparse_attn.mask
}

// A query before token 3 does not have the whole sink behind it, and there may be
// such queries at any length.
// CHECK-LABEL: func.func @sink_is_not_causal(
// CHECK: sparse_attn.intersect
func.func @sink_is_not_causal() -> !sparse_attn.mask {
  %causal = sparse_attn.causal
  %sink = sparse_attn.sink size = 4
  %m = sparse_attn.intersect %causal, %sink
  return %m : !sparse_attn.mask
}

// CHECK-LABEL: func.func @constant_patterns(
// CHECK-NEXT: %[[A:.*]] = sparse_attn.none
// CHECK-NEXT: %[[B:.*]] = sparse_attn.none
// CHECK-NEXT: %[[C:.*]] = sparse_attn.all
// CHECK-NEXT: %[[D:.*]] = sparse_attn.all
// CHECK-NEXT: %[[E:.*]] = sparse_attn.all
// CHECK-NEXT: return %[[A]], %[[B]], %[[C]], %[[D]], %[[E]]
func.func @constant_patterns() -> (!sparse_attn.mask, !sparse_attn.mask, !sparse_attn.mask, !sparse_attn.mask, !sparse_attn.mask) {
  %a = sparse_attn.sink size = 0
  %b = sparse_attn.fixed stride = 4 columns = 0
  %c = sparse_attn.fixed stride = 4 columns = 4
  %d = sparse_attn.strided stride = 1
  %e = sparse_attn.global stride = 1
  return %a, %b, %c, %d, %e : !sparse_attn.mask, !sparse_attn.mask, !sparse_attn.mask, !sparse_attn.mask, !sparse_attn.mask
}

// CHECK-LABEL: func.func @blocks(
// CHECK-DAG: %[[LARGE:.*]] = sparse_attn.block_diagonal size = 64
// CHECK-DAG: %[[SMALL:.*]] = sparse_attn.block_diagonal size = 16
// CHECK-DAG: %[[ONE:.*]] = sparse_attn.window left = 0 right = 0
// CHECK-DAG: %[[SEGMENT:.*]] = sparse_attn.block_diagonal size = 8
// CHECK: return %[[LARGE]], %[[SMALL]], %[[ONE]], %[[SEGMENT]]
func.func @blocks() -> (!sparse_attn.mask, !sparse_attn.mask, !sparse_attn.mask, !sparse_attn.mask) {
  %large = sparse_attn.block_diagonal size = 64
  %small = sparse_attn.block_diagonal size = 16
  %either = sparse_attn.union %large, %small
  %both = sparse_attn.intersect %large, %small
  %one = sparse_attn.block_diagonal size = 1
  %segment = sparse_attn.dilated_segment segment = 8 rate = 1
  return %either, %both, %one, %segment : !sparse_attn.mask, !sparse_attn.mask, !sparse_attn.mask, !sparse_attn.mask
}

// Fewer hops reach less.
// CHECK-LABEL: func.func @hops(
// CHECK-NEXT: %[[FAR:.*]] = sparse_attn.graph_hop {{.*}} max_hops = 3
// CHECK-NEXT: return %[[FAR]]
func.func @hops(%o: tensor<?x?xi32>, %n: tensor<?x?xi32>, %p: tensor<?xi32>, %i: tensor<?xi32>) -> !sparse_attn.mask {
  %near = sparse_attn.graph_hop %o, %n, %p, %i max_hops = 2 : tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>
  %far = sparse_attn.graph_hop %o, %n, %p, %i max_hops = 3 : tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>
  %m = sparse_attn.union %near, %far
  return %m : !sparse_attn.mask
}

//===----------------------------------------------------------------------===//
// Heads
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func.func @equal_heads(
// CHECK-NEXT: %[[CAUSAL:.*]] = sparse_attn.causal
// CHECK-NEXT: return %[[CAUSAL]]
func.func @equal_heads() -> !sparse_attn.mask {
  %a = sparse_attn.causal
  %b = sparse_attn.window right = 0
  %unused = sparse_attn.sink size = 4
  %m = sparse_attn.per_head %a, %unused, %b table = [0, 2, 2]
  return %m : !sparse_attn.mask
}

// CHECK-LABEL: func.func @renumber(
// CHECK-DAG: %[[CAUSAL:.*]] = sparse_attn.causal
// CHECK-DAG: %[[SINK:.*]] = sparse_attn.sink size = 4
// CHECK: %[[HEADS:.*]] = sparse_attn.per_head %[[SINK]], %[[CAUSAL]] table = [0, 1, 0]
// CHECK-NEXT: return %[[HEADS]]
func.func @renumber() -> !sparse_attn.mask {
  %causal = sparse_attn.causal
  %unused = sparse_attn.window left = 4
  %sink = sparse_attn.sink size = 4
  %again = sparse_attn.sink size = 4
  %m = sparse_attn.per_head %causal, %unused, %sink, %again table = [2, 0, 3]
  return %m : !sparse_attn.mask
}
