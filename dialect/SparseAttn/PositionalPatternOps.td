//===- PositionalPatternOps.td - closed forms of the position *- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_POSITIONAL_PATTERN_OPS_TD
#define SPARSE_ATTN_POSITIONAL_PATTERN_OPS_TD

include "dialect/SparseAttn/SparseAttnBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/CommonAttrConstraints.td"

def SparseAttn_CausalOp : SparseAttn_PatternOp<"causal", ["buildKeyExtent"]> {
  let summary = "keep keys at or before the query";
  let description = [{
    ```
    keep(p, j)  <=>  j <= p
    ```

    A token reads what came before it and itself. Positions are aligned at the
    end: with one query, the last token, every key is kept.

    ```
    j      0 1 2 3
    p = 0  x . . .
    p = 1  x x . .
    p = 2  x x x .
    p = 3  x x x x
    ```

    ```mlir
    %m = sparse_attn.causal
    ```

    Constraints: none; there is no parameter.
  }];
  let assemblyFormat = "attr-dict";
}

def SparseAttn_WindowOp : SparseAttn_PatternOp<"window", ["buildKeyExtent"]> {
  let summary = "keep keys at most `left` before and `right` after the query";
  let description = [{
    ```
    keep(p, j)  <=>  p - left <= j <= p + right
    ```

    Both ends are inclusive, and an end that is left out has no bound. A window of
    w tokens that ends with the query is `left = w - 1 right = 0`.

    ```
    left = 2, right = 1

    j      0 1 2 3 4 5
    p = 0  x x . . . .
    p = 1  x x x . . .
    p = 2  x x x x . .
    p = 3  . x x x x .
    p = 4  . . x x x x
    p = 5  . . . x x x
    ```

    ```mlir
    %m = sparse_attn.window left = 1023 right = 0
    ```

    Constraints:
    * (window_c1) 0 <= left < 2^30
    * (window_c2) 0 <= right < 2^30

    Invalid: `sparse_attn.window left = -1`, "left must be in [0, 2^30), got -1;
    leave it out for an end without a bound".
  }];
  let arguments = (ins OptionalAttr<I64Attr>:$left, OptionalAttr<I64Attr>:$right);
  let assemblyFormat = "(`left` `=` $left^)? (`right` `=` $right^)? attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_DilatedOp : SparseAttn_PatternOp<"dilated", ["buildKeyExtent", "getPeriod"]> {
  let summary = "keep every `rate`-th key of a window, counted from the query";
  let description = [{
    ```
    keep(p, j)  <=>  p - left <= j <= p + right  and  (p - j) mod rate == 0
    ```

    Reaches `rate` times as far as a window for the same number of keys. Counting
    starts at the query, so every query keeps itself.

    ```
    left = 4, right = 2, rate = 2

    j      0 1 2 3 4 5
    p = 0  x . x . . .
    p = 1  . x . x . .
    p = 2  x . x . x .
    p = 3  . x . x . x
    p = 4  x . x . x .
    p = 5  . x . x . x
    ```

    ```mlir
    %m = sparse_attn.dilated left = 255 right = 0 rate = 4
    ```

    Constraints:
    * (dilated_c1) 0 <= left < 2^30
    * (dilated_c2) 0 <= right < 2^30
    * (dilated_c3) 1 <= rate < 2^30

    Invalid: `sparse_attn.dilated rate = 0`, "rate must be in [1, 2^30), got 0; use
    sparse_attn.window to keep every key of the window".
  }];
  let arguments = (ins OptionalAttr<I64Attr>:$left, OptionalAttr<I64Attr>:$right, I64Attr:$rate);
  let assemblyFormat = "(`left` `=` $left^)? (`right` `=` $right^)? `rate` `=` $rate attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_SinkOp : SparseAttn_PatternOp<"sink", ["buildKeyExtent"]> {
  let summary = "keep the first `size` keys";
  let description = [{
    ```
    keep(p, j)  <=>  j < size
    ```

    The first tokens collect the weight that a row has no other use for; windows
    alone lose them. Unite it with a window, and intersect with `causal` for
    decoders.

    ```
    size = 2

    j      0 1 2 3
    p = 0  x x . .
    p = 1  x x . .
    p = 2  x x . .
    p = 3  x x . .
    ```

    ```mlir
    %m = sparse_attn.sink size = 4
    ```

    Constraints:
    * (sink_c1) 0 <= size < 2^30

    Invalid: `sparse_attn.sink size = -1`, "size must be in [0, 2^30), got -1; use
    sparse_attn.all to keep every key, sparse_attn.none to keep none".
  }];
  let arguments = (ins I64Attr:$size);
  let assemblyFormat = "`size` `=` $size attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_PrefixOp : SparseAttn_PatternOp<"prefix",
    ["buildKeyExtent", "getOwnBinding", "isPerBatch", "getPlanChecks", "getTensorSpecs"]> {
  let summary = "keep the first `length[b]` keys";
  let description = [{
    ```
    keep(p, j)  <=>  j < length[b]
    ```

    A prompt that every token reads, its length known at run time. United with
    `causal` it is the mask of a prefix language model.

    ```
    length[b] = 3

    j      0 1 2 3 4
    p = 0  x x x . .
    p = 1  x x x . .
    p = 2  x x x . .
    ```

    ```mlir
    %m = sparse_attn.prefix %length : tensor<?xi32>
    ```

    Constraints: the operand's type. A plan checks 0 <= length[b] <= N.

    Invalid: an operand of type `tensor<?x?xi32>`; give one length for each batch
    entry.
  }];
  let arguments = (ins 1DTensorOf<[I32]>:$length);
  let assemblyFormat = "$length `:` type($length) attr-dict";
}

def SparseAttn_GlobalOp : SparseAttn_PatternOp<"global",
    ["buildKeyExtent", "getOwnBinding", "isPerBatch", "getPeriod", "getPlanChecks",
     "getTensorSpecs"]> {
  let summary = "keep a pair where the query or the key is global";
  let description = [{
    ```
    keep(p, j)  <=>  global(j) or global(p)
    ```

    A global token is read by every token and reads every token: classification
    tokens, summaries of chunks. Exactly one operand or attribute says which
    positions x are global:

    * `positions`: x is in the list
    * `stride`: x mod stride == 0 (rounding down, so also for negative x)
    * `index`: x >= 0 is in index[b, :], padded with -1

    ```
    positions = [0, 3]

    j      0 1 2 3 4
    p = 0  x x x x x
    p = 1  x . . x .
    p = 2  x . . x .
    p = 3  x x x x x
    p = 4  x . . x .
    ```

    ```mlir
    %m0 = sparse_attn.global positions = [0, 3]
    %m1 = sparse_attn.global stride = 64
    %m2 = sparse_attn.global index(%summary : tensor<?x?xi32>)
    ```

    Constraints:
    * (global_c1) exactly one of positions, stride and index is given
    * (global_c2) positions has 1 to 256 entries, in any order
    * (global_c3) 0 <= position < 2^30
    * (global_c4) 1 <= stride < 2^30

    A plan checks -1 <= index[b, i] < N.

    Invalid: `sparse_attn.global positions = [0] stride = 4`, "needs exactly one of
    positions, stride and index, got 2; unite several sparse_attn.global masks to
    combine them".
  }];
  let arguments = (ins OptionalAttr<DenseI64ArrayAttr>:$positions, OptionalAttr<I64Attr>:$stride,
                       Optional<2DTensorOf<[I32]>>:$index);
  let assemblyFormat = [{
    (`positions` `=` $positions^)? (`stride` `=` $stride^)?
    (`index` `(` $index^ `:` type($index) `)`)? attr-dict
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_StridedOp : SparseAttn_PatternOp<"strided", ["getPeriod"]> {
  let summary = "keep keys at a multiple of `stride` from the query";
  let description = [{
    ```
    keep(p, j)  <=>  (p - j) mod stride == 0
    ```

    The far half of the strided Sparse Transformer: intersected with `causal` and
    united with a window of `stride` tokens, two layers reach every earlier token.

    ```
    stride = 3

    j      0 1 2 3 4 5 6
    p = 0  x . . x . . x
    p = 1  . x . . x . .
    p = 2  . . x . . x .
    p = 3  x . . x . . x
    p = 4  . x . . x . .
    ```

    ```mlir
    %m = sparse_attn.strided stride = 128
    ```

    Constraints:
    * (strided_c1) 1 <= stride < 2^30

    Invalid: `sparse_attn.strided stride = 0`, "stride must be in [1, 2^30), got 0;
    use sparse_attn.all to keep every key".
  }];
  let arguments = (ins I64Attr:$stride);
  let assemblyFormat = "`stride` `=` $stride attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_FixedOp : SparseAttn_PatternOp<"fixed", ["getPeriod"]> {
  let summary = "keep the last `columns` keys of every `stride`";
  let description = [{
    ```
    keep(p, j)  <=>  j mod stride >= stride - columns
    ```

    The far half of the fixed Sparse Transformer: the last `columns` tokens of
    every `stride` summarise it for all others.

    ```
    stride = 4, columns = 1

    j      0 1 2 3 4 5 6 7 8
    p = 0  . . . x . . . x .
    p = 1  . . . x . . . x .
    p = 2  . . . x . . . x .
    ```

    ```mlir
    %m = sparse_attn.fixed stride = 128 columns = 8
    ```

    Constraints:
    * (fixed_c1) 1 <= stride < 2^30
    * (fixed_c2) 0 <= columns <= stride

    Invalid: `sparse_attn.fixed stride = 4 columns = 5`, "columns must be in
    [0, stride] = [0, 4], got 5; use sparse_attn.all to keep every key".
  }];
  let arguments = (ins I64Attr:$stride, I64Attr:$columns);
  let assemblyFormat = "`stride` `=` $stride `columns` `=` $columns attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_BlockDiagonalOp : SparseAttn_PatternOp<"block_diagonal", ["buildKeyExtent"]> {
  let summary = "keep keys of the query's block of `size` positions";
  let description = [{
    ```
    keep(p, j)  <=>  floor(p / size) == floor(j / size)
    ```

    Attention within chunks of equal size. For chunks of any size use `segments`.

    ```
    size = 2

    j      0 1 2 3 4
    p = 0  x x . . .
    p = 1  x x . . .
    p = 2  . . x x .
    p = 3  . . x x .
    p = 4  . . . . x
    ```

    ```mlir
    %m = sparse_attn.block_diagonal size = 256
    ```

    Constraints:
    * (block_diagonal_c1) 1 <= size < 2^30

    Invalid: `sparse_attn.block_diagonal size = 0`, "size must be in [1, 2^30), got
    0; use sparse_attn.all for a single block of every token".
  }];
  let arguments = (ins I64Attr:$size);
  let assemblyFormat = "`size` `=` $size attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_DilatedSegmentOp : SparseAttn_PatternOp<"dilated_segment", ["isPerHead", "getPeriod"]> {
  let summary = "keep every `rate`-th pair of a segment, shifted by head (LongNet)";
  let description = [{
    ```
    keep(p, j)  <=>  floor(p / segment) == floor(j / segment)  and
                     (p mod segment) mod rate == offset  and
                     (j mod segment) mod rate == offset
    ```

    LongNet: dense attention within a segment from which every `rate`-th token is
    taken. Without `offset` it is h mod rate, so `rate` heads together keep every
    token. Rows that are not taken keep nothing; unite several of them, or a
    window, to give them keys.

    ```
    segment = 4, rate = 2        offset = 0           offset = 1

    j                            0 1 2 3 4 5 6        0 1 2 3 4 5 6
    p = 0                        x . x . . . .        . . . . . . .
    p = 1                        . . . . . . .        . x . x . . .
    p = 2                        x . x . . . .        . . . . . . .
    p = 3                        . . . . . . .        . x . x . . .
    p = 4                        . . . . x . x        . . . . . . .
    ```

    ```mlir
    %m = sparse_attn.dilated_segment segment = 2048 rate = 4
    ```

    Constraints:
    * (dilated_segment_c1) 1 <= segment < 2^30
    * (dilated_segment_c2) 1 <= rate < 2^30
    * (dilated_segment_c3) 0 <= offset < rate

    Invalid: `sparse_attn.dilated_segment segment = 8 rate = 2 offset = 2`, "offset
    must be in [0, rate) = [0, 2), got 2; leave it out to shift it by head".
  }];
  let arguments = (ins I64Attr:$segment, I64Attr:$rate, OptionalAttr<I64Attr>:$offset);
  let assemblyFormat = "`segment` `=` $segment `rate` `=` $rate (`offset` `=` $offset^)? attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SparseAttn_NeighborhoodOp : SparseAttn_PatternOp<"neighborhood", ["getPeriod"]> {
  let summary = "keep neighbours on a grid, windows shifted inside it (NATTEN)";
  let description = [{
    Tokens are the points of a grid in row-major order. With x_a the coordinate
    of token x on axis a, of length L and with radius r and dilation d there:

    ```
    keep(p, j)  <=>  on every axis  j_a mod d == p_a mod d  and
                     start <= floor(j_a / d) <= start + 2 r
    ```

    ```
    members = the number of coordinates c in [0, L) with c mod d == p_a mod d
    start   = clamp(floor(p_a / d) - r, 0, max(0, members - (2 r + 1)))
    ```

    NATTEN's neighbourhood attention for images and video: a window of 2 r + 1
    points around the query, shifted, not cut, where it would leave the grid. With
    dilation it slides over the points that share the query's residue. Where
    there are fewer such points than 2 r + 1, which NATTEN rejects, all of them
    are kept. A token past the grid keeps nothing and is kept by none.

    ```
    grid = [6], radius = [1]               grid = [2, 3], radius = [0, 1]

    j      0 1 2 3 4 5                     j      0 1 2 3 4 5
    p = 0  x x x . . .                     p = 0  x x x . . .
    p = 1  x x x . . .                     p = 1  x x x . . .
    p = 2  . x x x . .                     p = 2  x x x . . .
    p = 3  . . x x x .                     p = 3  . . . x x x
    p = 4  . . . x x x                     p = 4  . . . x x x
    p = 5  . . . x x x                     p = 5  . . . x x x
    ```

    ```mlir
    %image = sparse_attn.neighborhood grid = [64, 64] radius = [3, 3]
    %video = sparse_attn.neighborhood grid = [8, 32, 32] radius = [8, 3, 3] dilation = [1, 2, 2]
    ```

    Constraints:
    * (neighborhood_c1) the grid has 1 to 3 axes
    * (neighborhood_c2) 1 <= length of an axis < 2^30
    * (neighborhood_c3) the grid has fewer than 2^30 points
    * (neighborhood_c4) radius has one entry per axis
    * (neighborhood_c5) 0 <= radius < 2^30
    * (neighborhood_c6) dilation, if given, has one entry per axis
    * (neighborhood_c7) 1 <= dilation < 2^30

    Invalid: `sparse_attn.neighborhood grid = [8, 8] radius = [3]`, "radius must have
    one entry per axis, 2, got 1; use 0 for an axis without neighbours".
  }];
  let arguments = (ins DenseI64ArrayAttr:$grid, DenseI64ArrayAttr:$radius,
                       OptionalAttr<DenseI64ArrayAttr>:$dilation);
  let assemblyFormat = [{
    `grid` `=` $grid `radius` `=` $radius (`dilation` `=` $dilation^)? attr-dict
  }];
  let hasVerifier = 1;
}

#endif // SPARSE_ATTN_POSITIONAL_PATTERN_OPS_TD
