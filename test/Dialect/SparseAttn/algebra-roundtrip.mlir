// RUN: sparse-attn-opt %s --verify-roundtrip | FileCheck %s

// CHECK-LABEL: func.func @combinations(
func.func @combinations() {
  %causal = sparse_attn.causal
  %window = sparse_attn.window left = 3 right = 0
  %sink = sparse_attn.sink size = 2
  // CHECK: sparse_attn.union %[[CAUSAL:.*]], %[[WINDOW:.*]], %[[SINK:[a-z0-9]+]]{{$}}
  %any = sparse_attn.union %causal, %window, %sink
  // CHECK: sparse_attn.intersect %[[CAUSAL]], %[[WINDOW]]{{$}}
  %every = sparse_attn.intersect %causal, %window
  // CHECK: sparse_attn.union %[[SINK]]{{$}}
  %one = sparse_attn.union %sink
  // CHECK: sparse_attn.difference %[[CAUSAL]], %[[WINDOW]]{{$}}
  %rest = sparse_attn.difference %causal, %window
  // CHECK: sparse_attn.complement %[[WINDOW]]{{$}}
  %outside = sparse_attn.complement %window
  return
}

// CHECK-LABEL: func.func @heads(
func.func @heads() {
  %causal = sparse_attn.causal
  %window = sparse_attn.window left = 3 right = 0
  // CHECK: sparse_attn.per_head %{{.*}}, %{{.*}} table = [1, 0, 1]{{$}}
  %heads = sparse_attn.per_head %causal, %window table = [1, 0, 1]
  return
}

// CHECK-LABEL: func.func @custom(
func.func @custom() {
  // A constant may lie outside.
  %three = arith.constant 3 : index
  // CHECK: sparse_attn.custom {
  // CHECK-NEXT: ^bb0(%{{.*}}: index, %{{.*}}: index, %[[P:.*]]: index, %[[J:.*]]: index):
  // CHECK-NEXT: %[[SUM:.*]] = arith.addi %[[P]], %[[J]] : index
  // CHECK-NEXT: %[[KEEP:.*]] = arith.cmpi sle, %[[SUM]], %{{.*}} : index
  // CHECK-NEXT: sparse_attn.yield %[[KEEP]] : i1
  %triangle = sparse_attn.custom {
  ^bb0(%b: index, %h: index, %p: index, %j: index):
    %sum = arith.addi %p, %j : index
    %keep = arith.cmpi sle, %sum, %three : index
    sparse_attn.yield %keep : i1
  }
  return
}

// Every op that a region may hold.
// CHECK-LABEL: func.func @custom_c3_all(
func.func @custom_c3_all() {
  // CHECK: sparse_attn.custom
  %m = sparse_attn.custom {
  ^bb0(%b: index, %h: index, %p: index, %j: index):
    %two = arith.constant 2 : index
    %0 = arith.addi %p, %j : index
    %1 = arith.subi %0, %h : index
    %2 = arith.muli %1, %b : index
    %3 = arith.divsi %2, %two : index
    %4 = arith.divui %3, %two : index
    %5 = arith.remsi %4, %two : index
    %6 = arith.remui %5, %two : index
    %7 = arith.floordivsi %6, %two : index
    %8 = arith.ceildivsi %7, %two : index
    %9 = arith.ceildivui %8, %two : index
    %10 = arith.andi %9, %p : index
    %11 = arith.ori %10, %p : index
    %12 = arith.xori %11, %p : index
    %13 = arith.shli %12, %two : index
    %14 = arith.shrsi %13, %two : index
    %15 = arith.shrui %14, %two : index
    %16 = arith.minsi %15, %p : index
    %17 = arith.maxsi %16, %p : index
    %18 = arith.minui %17, %p : index
    %19 = arith.maxui %18, %p : index
    %20 = math.absi %19 : index
    %21 = arith.index_cast %20 : index to i32
    %22 = arith.extsi %21 : i32 to i64
    %23 = arith.extui %21 : i32 to i64
    %24 = arith.cmpi slt, %22, %23 : i64
    %25 = arith.index_castui %20 : index to i64
    %26 = arith.trunci %25 : i64 to i1
    %27 = arith.select %24, %24, %26 : i1
    sparse_attn.yield %27 : i1
  }
  return
}
