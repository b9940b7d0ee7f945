// RUN: sparse-attn-opt %s -split-input-file -verify-diagnostics

func.func @window_c1() {
  // expected-error @below {{'sparse_attn.window' op left must be in [0, 2^30), got -1; leave it out for an end without a bound}}
  %m = sparse_attn.window left = -1
  return
}

// -----

func.func @window_c2() {
  // expected-error @below {{'sparse_attn.window' op right must be in [0, 2^30), got 1073741824; leave it out for an end without a bound}}
  %m = sparse_attn.window left = 1 right = 1073741824
  return
}

// -----

func.func @dilated_c1() {
  // expected-error @below {{'sparse_attn.dilated' op left must be in [0, 2^30), got -3; leave it out for an end without a bound}}
  %m = sparse_attn.dilated left = -3 rate = 2
  return
}

// -----

func.func @dilated_c2() {
  // expected-error @below {{'sparse_attn.dilated' op right must be in [0, 2^30), got -1; leave it out for an end without a bound}}
  %m = sparse_attn.dilated right = -1 rate = 2
  return
}

// -----

func.func @dilated_c3() {
  // expected-error @below {{'sparse_attn.dilated' op rate must be in [1, 2^30), got 0; use sparse_attn.window to keep every key of the window}}
  %m = sparse_attn.dilated left = 4 rate = 0
  return
}

// -----

func.func @sink_c1() {
  // expected-error @below {{'sparse_attn.sink' op size must be in [0, 2^30), got -1; use sparse_attn.all to keep every key, sparse_attn.none to keep none}}
  %m = sparse_attn.sink size = -1
  return
}

// -----

func.func @global_c1() {
  // expected-error @below {{'sparse_attn.global' op needs exactly one of positions, stride and index, got 2; unite several sparse_attn.global masks to combine them}}
  %m = sparse_attn.global positions = [0] stride = 4
  return
}

// -----

func.func @global_c1_missing() {
  // expected-error @below {{'sparse_attn.global' op needs exactly one of positions, stride and index, got 0; unite several sparse_attn.global masks to combine them}}
  %m = sparse_attn.global
  return
}

// -----

func.func @global_c2() {
  // expected-error @below {{'sparse_attn.global' op positions must not be empty; use sparse_attn.none to keep nothing}}
  %m = sparse_attn.global positions = []
  return
}

// -----

func.func @global_c2_long() {
  // expected-error @below {{'sparse_attn.global' op positions must list at most 256 entries, got 257; pass longer lists at run time with index(...)}}
  %m = sparse_attn.global positions = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
  return
}

// -----

func.func @global_c3() {
  // expected-error @below {{'sparse_attn.global' op a position must be in [0, 2^30), got -1; positions count from the first key}}
  %m = sparse_attn.global positions = [3, -1]
  return
}

// -----

func.func @global_c4() {
  // expected-error @below {{'sparse_attn.global' op stride must be in [1, 2^30), got 0; use sparse_attn.all to make every position global}}
  %m = sparse_attn.global stride = 0
  return
}

// -----

func.func @strided_c1() {
  // expected-error @below {{'sparse_attn.strided' op stride must be in [1, 2^30), got 0; use sparse_attn.all to keep every key}}
  %m = sparse_attn.strided stride = 0
  return
}

// -----

func.func @fixed_c1() {
  // expected-error @below {{'sparse_attn.fixed' op stride must be in [1, 2^30), got 0; use sparse_attn.all to keep every key}}
  %m = sparse_attn.fixed stride = 0 columns = 0
  return
}

// -----

func.func @fixed_c2() {
  // expected-error @below {{'sparse_attn.fixed' op columns must be in [0, stride] = [0, 4], got 5; use sparse_attn.all to keep every key}}
  %m = sparse_attn.fixed stride = 4 columns = 5
  return
}

// -----

func.func @block_diagonal_c1() {
  // expected-error @below {{'sparse_attn.block_diagonal' op size must be in [1, 2^30), got 0; use sparse_attn.all for a single block of every token}}
  %m = sparse_attn.block_diagonal size = 0
  return
}

// -----

func.func @dilated_segment_c1() {
  // expected-error @below {{'sparse_attn.dilated_segment' op segment must be in [1, 2^30), got 0; use sparse_attn.strided for a segment of every token}}
  %m = sparse_attn.dilated_segment segment = 0 rate = 2
  return
}

// -----

func.func @dilated_segment_c2() {
  // expected-error @below {{'sparse_attn.dilated_segment' op rate must be in [1, 2^30), got 0; use sparse_attn.block_diagonal to keep whole segments}}
  %m = sparse_attn.dilated_segment segment = 8 rate = 0
  return
}

// -----

func.func @dilated_segment_c3() {
  // expected-error @below {{'sparse_attn.dilated_segment' op offset must be in [0, rate) = [0, 2), got 2; leave it out to shift it by head}}
  %m = sparse_attn.dilated_segment segment = 8 rate = 2 offset = 2
  return
}

// -----

func.func @neighborhood_c1() {
  // expected-error @below {{'sparse_attn.neighborhood' op grid must have 1 to 3 axes, got 4; merge axes that are kept whole into one}}
  %m = sparse_attn.neighborhood grid = [2, 2, 2, 2] radius = [1, 1, 1, 1]
  return
}

// -----

func.func @neighborhood_c2() {
  // expected-error @below {{'sparse_attn.neighborhood' op a length of the grid must be in [1, 2^30), got 0; leave the axis out where it has a single point}}
  %m = sparse_attn.neighborhood grid = [4, 0] radius = [1, 1]
  return
}

// -----

func.func @neighborhood_c3() {
  // expected-error @below {{'sparse_attn.neighborhood' op grid must have fewer than 2^30 points; use a smaller grid for each batch entry}}
  %m = sparse_attn.neighborhood grid = [32768, 32768] radius = [1, 1]
  return
}

// -----

func.func @neighborhood_c4() {
  // expected-error @below {{'sparse_attn.neighborhood' op radius must have one entry per axis, 2, got 1; use 0 for an axis without neighbours}}
  %m = sparse_attn.neighborhood grid = [8, 8] radius = [3]
  return
}

// -----

func.func @neighborhood_c5() {
  // expected-error @below {{'sparse_attn.neighborhood' op a radius must be in [0, 2^30), got -1; use the length of the axis to keep it whole}}
  %m = sparse_attn.neighborhood grid = [8] radius = [-1]
  return
}

// -----

func.func @neighborhood_c6() {
  // expected-error @below {{'sparse_attn.neighborhood' op dilation must have one entry per axis, 2, got 1; use 1 for an axis without dilation}}
  %m = sparse_attn.neighborhood grid = [8, 8] radius = [1, 1] dilation = [2]
  return
}

// -----

func.func @neighborhood_c7() {
  // expected-error @below {{'sparse_attn.neighborhood' op a dilation must be in [1, 2^30), got 0; use 1 for an axis without dilation}}
  %m = sparse_attn.neighborhood grid = [8] radius = [1] dilation = [0]
  return
}

// -----

func.func @random_blocks_c1() {
  // expected-error @below {{'sparse_attn.random_blocks' op block must be in [1, 2^30), got 0; use block = 1 to draw single keys for single queries}}
  %m = sparse_attn.random_blocks block = 0 count = 1 seed = 0
  return
}

// -----

func.func @random_blocks_c2() {
  // expected-error @below {{'sparse_attn.random_blocks' op count must be in [1, 2^30), got 0; use sparse_attn.none to keep no key, sparse_attn.all every key}}
  %m = sparse_attn.random_blocks block = 64 count = 0 seed = 1
  return
}

// -----

func.func @block_mask_c1(%indptr: tensor<?x?x?xi32>, %indices: tensor<?x?x?xi32>) {
  // expected-error @below {{'sparse_attn.block_mask' op rows of a block must be in [1, 2^30), got 0; write the block as `block = R x C`, one position at least}}
  %m = sparse_attn.block_mask %indptr, %indices block = 0 x 8 : tensor<?x?x?xi32>,
      tensor<?x?x?xi32>
  return
}

// -----

func.func @block_mask_c2(%indptr: tensor<?x?x?xi32>, %indices: tensor<?x?x?xi32>) {
  // expected-error @below {{'sparse_attn.block_mask' op columns of a block must be in [1, 2^30), got -1; write the block as `block = R x C`, one key at least}}
  %m = sparse_attn.block_mask %indptr, %indices block = 4 x -1 : tensor<?x?x?xi32>,
      tensor<?x?x?xi32>
  return
}

// -----

func.func @block_mask_c3(%indptr: tensor<?x?x?xi32>, %indices: tensor<?x?x?xi32>, %bits: tensor<?x?x4x2xi8>) {
  // expected-error @below {{'sparse_attn.block_mask' op bits must have shape [B or 1, blocks, 4, 1] for blocks of 4 x 8, got 'tensor<?x?x4x2xi8>'; pack 8 keys to a byte, lowest bit first}}
  %m = sparse_attn.block_mask %indptr, %indices bits(%bits : tensor<?x?x4x2xi8>) block =
      4 x 8 : tensor<?x?x?xi32>, tensor<?x?x?xi32>
  return
}

// -----

func.func @graph_hop_c1(%offsets: tensor<?x5xi32>, %nodes: tensor<?x5xi32>, %indptr: tensor<?xi32>) {
  // expected-error @below {{'sparse_attn.graph_hop' op max_hops must be in [0, 2^30), got -1; leave it out to reach every node that has a path}}
  %m = sparse_attn.graph_hop %offsets, %nodes, %indptr, %indptr max_hops = -1 :
      tensor<?x5xi32>, tensor<?x5xi32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @graph_hop_c2(%offsets: tensor<?x5xi32>, %nodes: tensor<?x5xi32>, %indptr: tensor<?xi32>) {
  // expected-error @below {{'sparse_attn.graph_hop' op chunk_node must have one entry per chunk, 4 for 5 offsets, got 5; offsets hold the start of every chunk and the end of the last}}
  %m = sparse_attn.graph_hop %offsets, %nodes, %indptr, %indptr max_hops = 1 :
      tensor<?x5xi32>, tensor<?x5xi32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @listed_c1(%i: tensor<?x?x?x?xi32>) {
  // expected-error @below {{'sparse_attn.listed' op block_q must be in [1, 1024], got 0; rows of a block share a list, one row at least}}
  %m = sparse_attn.listed %i block_q = 0 : tensor<?x?x?x?xi32>
  return
}
