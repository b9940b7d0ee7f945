// RUN: sparse-attn-opt %s -split-input-file -verify-diagnostics

func.func @softcap_c1() {
  // expected-error @below {{'sparse_attn.softcap' op cap must be > 0 and an ordinary f32 number (2^-126 to 2^126); leave softcap out to have no cap}}
  %m = sparse_attn.softcap cap = 0.0
  return
}

// -----

func.func @softcap_c1_not_a_number() {
  // expected-error @below {{'sparse_attn.softcap' op cap must be > 0 and an ordinary f32 number (2^-126 to 2^126); leave softcap out to have no cap}}
  %m = sparse_attn.softcap cap = 0x7FF8000000000000
  return
}

// -----

func.func @relative_bias_c1(%table: tensor<?x4xf32>) {
  // expected-error @below {{'sparse_attn.relative_bias' op table must have an odd number of columns, 2 R + 1 for the distances -R to R, got 4}}
  %m = sparse_attn.relative_bias %table : tensor<?x4xf32>
  return
}

// -----

func.func @hop_decay_c1(%o: tensor<?x?xi32>, %n: tensor<?x?xi32>, %p: tensor<?xi32>, %i: tensor<?xi32>) {
  // expected-error @below {{'sparse_attn.hop_decay' op max_hops must be in [0, 2^30), got -1; 0 lets the score decay from the first edge on}}
  %m = sparse_attn.hop_decay %o, %n, %p, %i max_hops = -1 temperature = 1.0 : tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @hop_decay_c2(%o: tensor<?x?xi32>, %n: tensor<?x?xi32>, %p: tensor<?xi32>, %i: tensor<?xi32>) {
  // expected-error @below {{'sparse_attn.hop_decay' op temperature must be > 0 and an ordinary f32 number (2^-126 to 2^126); use sparse_attn.graph_hop for a sharp limit}}
  %m = sparse_attn.hop_decay %o, %n, %p, %i max_hops = 1 temperature = 0.0 : tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @hop_decay_c3(%o: tensor<?x5xi32>, %n: tensor<?x5xi32>, %p: tensor<?xi32>, %i: tensor<?xi32>) {
  // expected-error @below {{'sparse_attn.hop_decay' op chunk_node must have one entry per chunk, 4 for 5 offsets, got 5; offsets hold the start of every chunk and the end of the last}}
  %m = sparse_attn.hop_decay %o, %n, %p, %i max_hops = 1 temperature = 1.0 : tensor<?x5xi32>, tensor<?x5xi32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @custom_score_c1() {
  // expected-error @below {{'sparse_attn.custom_score' op the region must take (s, b, h, p, j): f32, then index}}
  %m = sparse_attn.custom_score {
  ^bb0(%b: index, %h: index, %p: index, %j: index):
    %s = arith.constant 0.0 : f32
    sparse_attn.yield %s : f32
  }
  return
}

// -----

func.func @custom_score_c2() {
  // expected-error @below {{'sparse_attn.custom_score' op the region must end with sparse_attn.yield of one 'f32'}}
  %m = sparse_attn.custom_score {
  ^bb0(%s: f32, %b: index, %h: index, %p: index, %j: index):
    sparse_attn.yield %p : index
  }
  return
}

// -----

func.func @custom_score_c3() {
  // expected-error @below {{'sparse_attn.custom_score' op 'arith.fptosi' is not allowed in the region; use elementwise arith and math ops on f32, and arith integer ops and math.absi on index, i1, i32 and i64}}
  %m = sparse_attn.custom_score {
  ^bb0(%s: f32, %b: index, %h: index, %p: index, %j: index):
    %x = arith.fptosi %s : f32 to i32
    %r = arith.sitofp %x : i32 to f32
    sparse_attn.yield %r : f32
  }
  return
}

// -----

func.func @custom_score_c4() {
  // expected-error @below {{'sparse_attn.custom_score' op 'arith.index_cast' in the region has the type 'i16'; use f32, index, i1, i32 or i64}}
  %m = sparse_attn.custom_score {
  ^bb0(%s: f32, %b: index, %h: index, %p: index, %j: index):
    %x = arith.index_cast %p : index to i16
    %r = arith.sitofp %x : i16 to f32
    sparse_attn.yield %r : f32
  }
  return
}

// -----

func.func @custom_score_c5(%factor: f32) {
  // expected-error @below {{'sparse_attn.custom_score' op the region uses a value from outside that is not a constant; a region sees its arguments and constants alone}}
  %m = sparse_attn.custom_score {
  ^bb0(%s: f32, %b: index, %h: index, %p: index, %j: index):
    %r = arith.mulf %s, %factor : f32
    sparse_attn.yield %r : f32
  }
  return
}

// -----

func.func @custom_score_c6() {
  // expected-error @below {{'sparse_attn.custom_score' op the divisor of 'arith.floordivsi' must be a constant >= 1, so that every pair is defined; divide by the positive number and negate the result}}
  %m = sparse_attn.custom_score {
  ^bb0(%s: f32, %b: index, %h: index, %p: index, %j: index):
    %q = arith.floordivsi %p, %h : index
    %x = arith.index_cast %q : index to i32
    %r = arith.sitofp %x : i32 to f32
    sparse_attn.yield %r : f32
  }
  return
}
