// RUN: sparse-attn-opt %s --verify-roundtrip | FileCheck %s

// CHECK-LABEL: func.func @modifiers(
func.func @modifiers(%slopes: tensor<?xf32>, %bias: tensor<?x1x?x?xf32>, %table: tensor<1x9xf32>) {
  // CHECK: sparse_attn.softcap cap = 3.000000e+01
  %softcap = sparse_attn.softcap cap = 30.0
  // CHECK: sparse_attn.alibi %{{.*}} : tensor<?xf32>
  %alibi = sparse_attn.alibi %slopes : tensor<?xf32>
  // CHECK: sparse_attn.bias %{{.*}} : tensor<?x1x?x?xf32>
  %added = sparse_attn.bias %bias : tensor<?x1x?x?xf32>
  // CHECK: sparse_attn.relative_bias %{{.*}} : tensor<1x9xf32>
  %relative = sparse_attn.relative_bias %table : tensor<1x9xf32>
  return
}

// CHECK-LABEL: func.func @hop_decay(
func.func @hop_decay(%offsets: tensor<?x?xi32>, %node: tensor<1x?xi32>,
                     %indptr: tensor<?xi32>, %indices: tensor<?xi32>) {
  // CHECK: sparse_attn.hop_decay %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} max_hops = 2 temperature = 5.000000e-01 : tensor<?x?xi32>, tensor<1x?xi32>, tensor<?xi32>, tensor<?xi32>
  %m0 = sparse_attn.hop_decay %offsets, %node, %indptr, %indices max_hops = 2 temperature = 0.5
      : tensor<?x?xi32>, tensor<1x?xi32>, tensor<?xi32>, tensor<?xi32>
  // CHECK: sparse_attn.hop_decay {{.*}} max_hops = 0 temperature = 1.000000e+00 directed = true :
  %m1 = sparse_attn.hop_decay %offsets, %node, %indptr, %indices max_hops = 0 temperature = 1.0
      directed = true : tensor<?x?xi32>, tensor<1x?xi32>, tensor<?xi32>, tensor<?xi32>
  return
}

// CHECK-LABEL: func.func @custom_score(
func.func @custom_score() {
  // CHECK: sparse_attn.custom_score {
  // CHECK-NEXT: ^bb0(%[[S:.*]]: f32, %{{.*}}: index, %{{.*}}: index, %[[P:.*]]: index, %[[J:.*]]: index):
  // CHECK: arith.select %{{.*}}, %[[S]], %{{.*}} : f32
  // CHECK-NEXT: sparse_attn.yield %{{.*}} : f32
  %m = sparse_attn.custom_score {
  ^bb0(%s: f32, %b: index, %h: index, %p: index, %j: index):
    %half = arith.constant 0.5 : f32
    %less = arith.mulf %s, %half : f32
    %past = arith.cmpi sle, %j, %p : index
    %r = arith.select %past, %s, %less : f32
    sparse_attn.yield %r : f32
  }
  return
}

// Every float op that a region may hold.
// CHECK-LABEL: func.func @custom_score_c3_all(
func.func @custom_score_c3_all() {
  // CHECK: sparse_attn.custom_score
  %m = sparse_attn.custom_score {
  ^bb0(%s: f32, %b: index, %h: index, %p: index, %j: index):
    %one = arith.constant 1.0 : f32
    %0 = arith.addf %s, %one : f32
    %1 = arith.subf %0, %one : f32
    %2 = arith.mulf %1, %one : f32
    %3 = arith.divf %2, %one : f32
    %4 = arith.negf %3 : f32
    %5 = arith.minimumf %4, %one : f32
    %6 = arith.maximumf %5, %one : f32
    %7 = arith.minnumf %6, %one : f32
    %8 = arith.maxnumf %7, %one : f32
    %9 = math.absf %8 : f32
    %10 = math.ceil %9 : f32
    %11 = math.copysign %10, %s : f32
    %12 = math.cos %11 : f32
    %13 = math.erf %12 : f32
    %14 = math.exp %13 : f32
    %15 = math.exp2 %14 : f32
    %16 = math.expm1 %15 : f32
    %17 = math.floor %16 : f32
    %18 = math.fma %17, %one, %s : f32
    %19 = math.log %18 : f32
    %20 = math.log1p %19 : f32
    %21 = math.log2 %20 : f32
    %22 = math.powf %21, %one : f32
    %23 = math.rsqrt %22 : f32
    %24 = math.sin %23 : f32
    %25 = math.sqrt %24 : f32
    %26 = math.tanh %25 : f32
    %27 = math.trunc %26 : f32
    %x = arith.index_cast %h : index to i32
    %28 = arith.sitofp %x : i32 to f32
    %29 = arith.uitofp %x : i32 to f32
    %c = arith.cmpf olt, %28, %29 : f32
    %r = arith.select %c, %27, %s : f32
    sparse_attn.yield %r : f32
  }
  return
}
