// RUN: sparse-attn-opt %s -split-input-file -verify-diagnostics

func.func @union_c1() {
  // expected-error @below {{'sparse_attn.union' op needs at least one operand; use sparse_attn.none to keep nothing}}
  %m = "sparse_attn.union"() : () -> !sparse_attn.mask
  return
}

// -----

func.func @union_c2(%a: !sparse_attn.mask) {
  // expected-error @below {{'sparse_attn.union' op a mask must be the result of a mask op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %m = sparse_attn.union %a
  return
}

// -----

// No mask is made of itself, not even where dominance would let it be.
module @union_c2_cycle {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.union' op uses a mask that is not defined before it; define it earlier in the same block}}
  %m = sparse_attn.union %m, %c
}

// -----

// The type of a combination follows from its operands.
func.func @union_type() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.union' op failed to infer returned types}}
  // expected-error @below {{'sparse_attn.union' op inferred type(s) '!sparse_attn.mask' are incompatible with return type(s) of operation '!sparse_attn.mask<sampled>'}}
  %m = "sparse_attn.union"(%c) : (!sparse_attn.mask) -> !sparse_attn.mask<sampled>
  return
}

// -----

func.func @intersect_c1() {
  // expected-error @below {{'sparse_attn.intersect' op needs at least one operand; use sparse_attn.all to keep everything}}
  %m = "sparse_attn.intersect"() : () -> !sparse_attn.mask
  return
}

// -----

func.func @intersect_c2(%t: i1) {
  %c = sparse_attn.causal
  %w = sparse_attn.window left = 1
  %either = arith.select %t, %c, %w : !sparse_attn.mask
  // expected-error @below {{'sparse_attn.intersect' op a mask must be the result of a mask op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %m = sparse_attn.intersect %c, %either
  return
}

// -----

func.func @difference_c1(%drawn: !sparse_attn.mask<sampled>) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.difference' op the second operand must be deterministic; exclude from the candidates of the sampled mask instead}}
  %m = sparse_attn.difference %c, %drawn : !sparse_attn.mask, !sparse_attn.mask<sampled>
  return
}

// -----

func.func @difference_c2(%a: !sparse_attn.mask) {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.difference' op a mask must be the result of a mask op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %m = sparse_attn.difference %c, %a
  return
}

// -----

func.func @complement_c1(%drawn: !sparse_attn.mask<sampled>) {
  // expected-error @below {{'sparse_attn.complement' op operand #0 must be deterministic mask, but got '!sparse_attn.mask<sampled>'}}
  %m = "sparse_attn.complement"(%drawn) : (!sparse_attn.mask<sampled>) -> !sparse_attn.mask
  return
}

// -----

func.func @complement_c2(%a: !sparse_attn.mask) {
  // expected-error @below {{'sparse_attn.complement' op a mask must be the result of a mask op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %m = sparse_attn.complement %a
  return
}

// -----

func.func @per_head_c1() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.per_head' op table must name a mask for at least one head}}
  %m = sparse_attn.per_head %c table = []
  return
}

// -----

func.func @per_head_c2() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.per_head' op table gives head 1 the mask number 1; there are 1 masks, numbered from 0}}
  %m = sparse_attn.per_head %c table = [0, 1]
  return
}

// -----

func.func @per_head_c2_negative() {
  %c = sparse_attn.causal
  // expected-error @below {{'sparse_attn.per_head' op table gives head 0 the mask number -1; there are 1 masks, numbered from 0}}
  %m = sparse_attn.per_head %c table = [-1]
  return
}

// -----

func.func @per_head_c3(%a: !sparse_attn.mask) {
  // expected-error @below {{'sparse_attn.per_head' op a mask must be the result of a mask op, not an argument or a result of another op; build it from sparse_attn ops in the same function}}
  %m = sparse_attn.per_head %a table = [0]
  return
}

// -----

func.func @custom_c1() {
  // expected-error @below {{'sparse_attn.custom' op the region must take (b, h, p, j), all index}}
  %m = sparse_attn.custom {
  ^bb0(%p: index, %j: index):
    %keep = arith.cmpi sle, %j, %p : index
    sparse_attn.yield %keep : i1
  }
  return
}

// -----

func.func @custom_c2() {
  // expected-error @below {{'sparse_attn.custom' op the region must end with sparse_attn.yield of one 'i1'}}
  %m = sparse_attn.custom {
  ^bb0(%b: index, %h: index, %p: index, %j: index):
    sparse_attn.yield %j : index
  }
  return
}

// -----

func.func @custom_c3() {
  // expected-error @below {{'sparse_attn.custom' op 'math.ctpop' is not allowed in the region; use arith integer ops and math.absi on index, i1, i32 and i64}}
  %m = sparse_attn.custom {
  ^bb0(%b: index, %h: index, %p: index, %j: index):
    %bits = math.ctpop %j : index
    %keep = arith.cmpi sle, %bits, %p : index
    sparse_attn.yield %keep : i1
  }
  return
}

// -----

func.func @custom_c3_effects(%memory: memref<4xindex>) {
  // expected-error @below {{'sparse_attn.custom' op 'memref.load' is not allowed in the region; use arith integer ops and math.absi on index, i1, i32 and i64}}
  %m = sparse_attn.custom {
  ^bb0(%b: index, %h: index, %p: index, %j: index):
    %x = memref.load %memory[%j] : memref<4xindex>
    %keep = arith.cmpi sle, %x, %p : index
    sparse_attn.yield %keep : i1
  }
  return
}

// -----

func.func @custom_c4() {
  // expected-error @below {{'sparse_attn.custom' op 'arith.index_cast' in the region has the type 'i16'; use index, i1, i32 or i64}}
  %m = sparse_attn.custom {
  ^bb0(%b: index, %h: index, %p: index, %j: index):
    %x = arith.index_cast %p : index to i16
    %y = arith.index_cast %j : index to i16
    %keep = arith.cmpi sle, %y, %x : i16
    sparse_attn.yield %keep : i1
  }
  return
}

// -----

func.func @custom_c5(%limit: index) {
  // expected-error @below {{'sparse_attn.custom' op the region uses a value from outside that is not a constant; a region sees its arguments and constants alone}}
  %m = sparse_attn.custom {
  ^bb0(%b: index, %h: index, %p: index, %j: index):
    %keep = arith.cmpi sle, %j, %limit : index
    sparse_attn.yield %keep : i1
  }
  return
}

// -----

func.func @custom_c6_divisor() {
  // expected-error @below {{'sparse_attn.custom' op the divisor of 'arith.divsi' must be a constant >= 1, so that every pair is defined; divide by the positive number and negate the result}}
  %m = sparse_attn.custom {
  ^bb0(%b: index, %h: index, %p: index, %j: index):
    %q = arith.divsi %p, %j : index
    %keep = arith.cmpi sle, %q, %j : index
    sparse_attn.yield %keep : i1
  }
  return
}

// -----

func.func @custom_c6_zero() {
  // expected-error @below {{'sparse_attn.custom' op the divisor of 'arith.remui' must be a constant >= 1, so that every pair is defined; divide by the positive number and negate the result}}
  %m = sparse_attn.custom {
  ^bb0(%b: index, %h: index, %p: index, %j: index):
    %zero = arith.constant 0 : index
    %q = arith.remui %p, %zero : index
    %keep = arith.cmpi sle, %q, %j : index
    sparse_attn.yield %keep : i1
  }
  return
}

// -----

func.func @custom_c6_shift() {
  // expected-error @below {{'sparse_attn.custom' op the shift of 'arith.shli' must be a constant >= 0 and below the width 32, so that every pair is defined}}
  %m = sparse_attn.custom {
  ^bb0(%b: index, %h: index, %p: index, %j: index):
    %x = arith.index_cast %p : index to i32
    %amount = arith.constant 32 : i32
    %y = arith.shli %x, %amount : i32
    %z = arith.constant 0 : i32
    %keep = arith.cmpi sle, %y, %z : i32
    sparse_attn.yield %keep : i1
  }
  return
}

// -----

func.func @yield_outside(%t: i1) {
  // expected-error @below {{'sparse_attn.yield' op expects parent op to be one of 'sparse_attn.custom, sparse_attn.custom_score'}}
  sparse_attn.yield %t : i1
}
