// RUN: sparse-attn-opt %s --verify-roundtrip | FileCheck %s

// CHECK-LABEL: func.func @bounds(
func.func @bounds() {
  // CHECK: sparse_attn.all
  %all = sparse_attn.all
  // CHECK: sparse_attn.none
  %none = sparse_attn.none
  return
}

// CHECK-LABEL: func.func @distances(
func.func @distances() {
  // CHECK: sparse_attn.causal
  %causal = sparse_attn.causal
  // CHECK: sparse_attn.window left = 3 right = 0
  %window = sparse_attn.window left = 3 right = 0
  // CHECK: sparse_attn.window right = 1073741823
  %noLeft = sparse_attn.window right = 1073741823
  // CHECK: sparse_attn.window{{$}}
  %unbounded = sparse_attn.window
  // CHECK: sparse_attn.dilated left = 8 rate = 2
  %dilated = sparse_attn.dilated left = 8 rate = 2
  // CHECK: sparse_attn.strided stride = 128
  %strided = sparse_attn.strided stride = 128
  return
}

// CHECK-LABEL: func.func @columns(
func.func @columns(%length: tensor<?xi32>, %index: tensor<1x?xi32>) {
  // CHECK: sparse_attn.sink size = 4
  %sink = sparse_attn.sink size = 4
  // CHECK: sparse_attn.prefix %{{.*}} : tensor<?xi32>
  %prefix = sparse_attn.prefix %length : tensor<?xi32>
  // CHECK: sparse_attn.fixed stride = 64 columns = 8
  %fixed = sparse_attn.fixed stride = 64 columns = 8
  // CHECK: sparse_attn.global positions = [7, 0, 7]
  %listed = sparse_attn.global positions = [7, 0, 7]
  // CHECK: sparse_attn.global stride = 16
  %regular = sparse_attn.global stride = 16
  // CHECK: sparse_attn.global index(%{{.*}} : tensor<1x?xi32>)
  %indexed = sparse_attn.global index(%index : tensor<1x?xi32>)
  return
}

// CHECK-LABEL: func.func @grids(
func.func @grids() {
  // CHECK: sparse_attn.block_diagonal size = 256
  %blocks = sparse_attn.block_diagonal size = 256
  // CHECK: sparse_attn.dilated_segment segment = 2048 rate = 4{{$}}
  %shifted = sparse_attn.dilated_segment segment = 2048 rate = 4
  // CHECK: sparse_attn.dilated_segment segment = 2048 rate = 4 offset = 3
  %fixed = sparse_attn.dilated_segment segment = 2048 rate = 4 offset = 3
  // CHECK: sparse_attn.neighborhood grid = [64, 64] radius = [3, 3]{{$}}
  %image = sparse_attn.neighborhood grid = [64, 64] radius = [3, 3]
  // CHECK: sparse_attn.neighborhood grid = [8, 32, 32] radius = [8, 3, 3] dilation = [1, 2, 2]
  %video = sparse_attn.neighborhood grid = [8, 32, 32] radius = [8, 3, 3] dilation = [1, 2, 2]
  return
}

// CHECK-LABEL: func.func @random(
func.func @random() {
  // CHECK: sparse_attn.random_blocks block = 64 count = 3 seed = -1
  %random = sparse_attn.random_blocks block = 64 count = 3 seed = -1
  return
}

// CHECK-LABEL: func.func @lists(
func.func @lists(%indptr: tensor<?x?x?xi32>, %indices: tensor<1x1x?xi32>,
                 %bits: tensor<1x?x4x2xi8>, %offsets: tensor<?x?xi32>) {
  // CHECK: sparse_attn.block_mask %{{.*}}, %{{.*}} block = 64 x 128 :
  // CHECK-SAME: tensor<?x?x?xi32>, tensor<1x1x?xi32>
  %whole = sparse_attn.block_mask %indptr, %indices block = 64 x 128
      : tensor<?x?x?xi32>, tensor<1x1x?xi32>
  // CHECK: sparse_attn.block_mask %{{.*}}, %{{.*}} bits(%{{.*}} : tensor<1x?x4x2xi8>) block = 4 x 9 :
  %partial = sparse_attn.block_mask %indptr, %indices bits(%bits : tensor<1x?x4x2xi8>)
      block = 4 x 9 : tensor<?x?x?xi32>, tensor<1x1x?xi32>
  // CHECK: sparse_attn.segments %{{.*}} : tensor<?x?xi32>
  %segments = sparse_attn.segments %offsets : tensor<?x?xi32>
  return
}

// CHECK-LABEL: func.func @graph(
func.func @graph(%offsets: tensor<1x5xi32>, %nodes: tensor<1x4xi32>, %indptr: tensor<?xi32>,
                 %indices: tensor<?xi32>) {
  // CHECK: sparse_attn.graph_hop %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} max_hops = 2 :
  %near = sparse_attn.graph_hop %offsets, %nodes, %indptr, %indices max_hops = 2
      : tensor<1x5xi32>, tensor<1x4xi32>, tensor<?xi32>, tensor<?xi32>
  // CHECK: sparse_attn.graph_hop %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} directed = true :
  %ancestors = sparse_attn.graph_hop %offsets, %nodes, %indptr, %indices directed = true
      : tensor<1x5xi32>, tensor<1x4xi32>, tensor<?xi32>, tensor<?xi32>
  return
}

// CHECK-LABEL: func.func @listed(
func.func @listed(%indices: tensor<?x?x?x?xi32>, %pi: tensor<?x?x?x?xf32>) {
  // CHECK: sparse_attn.listed %{{.*}} : tensor<?x?x?x?xi32>
  %each = sparse_attn.listed %indices : tensor<?x?x?x?xi32>
  // CHECK: sparse_attn.listed %{{.*}} probability(%{{.*}} : tensor<?x?x?x?xf32>) block_q = 16 share_group = true : tensor<?x?x?x?xi32>
  %sample = sparse_attn.listed %indices probability(%pi : tensor<?x?x?x?xf32>) block_q = 16
      share_group = true : tensor<?x?x?x?xi32>
  // CHECK: sparse_attn.union %{{.*}}, %{{.*}} : !sparse_attn.mask, !sparse_attn.mask<sampled>
  %both = sparse_attn.union %each, %sample : !sparse_attn.mask, !sparse_attn.mask<sampled>
  return
}
