//===- LayoutPatternOps.td - patterns that operands describe *- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_LAYOUT_PATTERN_OPS_TD
#define SPARSE_ATTN_LAYOUT_PATTERN_OPS_TD

include "dialect/SparseAttn/SparseAttnBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/CommonAttrConstraints.td"

def SparseAttn_RandomBlocksOp : SparseAttn_PatternOp<"random_blocks",
    ["buildKeyExtent", "getOwnBinding", "isPerHead", "isPerBatch"]> {
  let summary = "keep `count` random key blocks for each query block (BigBird)";
  let description = [{
    ```
    keep(p, j)  <=>  floor(j / block) is drawn for floor(p / block)
    ```

    The random part of BigBird: `count` distinct blocks of the
    ceil(n / block) key blocks, or all of them if there are no more. Draws come
    from Philox 4x32-10 with key `seed`, so they are the same on every target,
    with any number of threads: with Q = floor(p / block) as u32 and t from
    total - count to total - 1 (Floyd's algorithm),

    ```
    i = t - (total - count)
    r = high 32 bits of philox(seed, [b H + h, Q, i, 0])[0] * (t + 1)
    draw t if r is drawn already, else r
    ```

    ```
    block = 2, count = 1, seed = 3, n = 6, b = h = 0

    j      0 1 2 3 4 5
    p = 0  . . . . x x
    p = 1  . . . . x x
    p = 2  . . x x . .
    p = 3  . . x x . .
    p = 4  x x . . . .
    p = 5  x x . . . .
    ```

    ```mlir
    %m = sparse_attn.random_blocks block = 64 count = 3 seed = 17
    ```

    Constraints:
    * (random_blocks_c1) 1 <= block < 2^30
    * (random_blocks_c2) 1 <= count < 2^30

    Invalid: `sparse_attn.random_blocks block = 64 count = 0 seed = 1`, "count must be
    in [1, 2^30), got 0; use sparse_attn.none to keep no key, sparse_attn.all every
    key".
  }];
  let arguments = (ins I64Attr:$block, I64Attr:$count, I64Attr:$seed);
  let assemblyFormat = "`block` `=` $block `count` `=` $count `seed` `=` $seed attr-dict";
  let hasVerifier = 1;
}

def SparseAttn_BlockMaskOp : SparseAttn_PatternOp<"block_mask",
    ["buildKeyExtent", "getOwnBinding", "isPerHead", "isPerBatch", "getPlanChecks",
     "getTensorSpecs"]> {
  let summary = "keep the blocks that block-sparse rows list";
  let description = [{
    ```
    keep(p, j)  <=>  for some k in [indptr[b, h, r], indptr[b, h, r + 1]):
                     indices[b, h, k] == floor(j / C)  and
                     bit j mod C of bits[b, k, p mod R, :] is set
                     where r = floor(p / R)
    ```

    Any mask known at run time, as block-sparse rows of R x C blocks. Without
    `bits` listed blocks are kept whole; with it, a byte holds eight keys, lowest
    bit first. Axes of batch entries and heads may have size 1. Rows without an
    entry in `indptr`, and negative positions, keep nothing.

    ```
    block = 2 x 3, indptr = [0, 1, 3], indices = [1, 0, 2]

    j      0 1 2 3 4 5 6 7
    p = 0  . . . x x x . .
    p = 1  . . . x x x . .
    p = 2  x x x . . . x x
    p = 3  x x x . . . x x
    p = 4  . . . . . . . .
    ```

    ```mlir
    %m0 = sparse_attn.block_mask %indptr, %indices block = 64 x 128
        : tensor<?x?x?xi32>, tensor<?x?x?xi32>
    %m1 = sparse_attn.block_mask %indptr, %indices bits(%bits : tensor<?x?x4x1xi8>)
        block = 4 x 8 : tensor<?x?x?xi32>, tensor<?x?x?xi32>
    ```

    Constraints:
    * (block_mask_c1) 1 <= R < 2^30
    * (block_mask_c2) 1 <= C < 2^30
    * (block_mask_c3) bits has shape [B or 1, blocks, R, ceil(C / 8)]

    A plan checks that `indptr` does not decrease or pass the end of `indices`, and
    that indices ascend in a row and lie in [0, ceil(N / C)).

    Invalid: bits of type `tensor<?x?x4x2xi8>` with `block = 4 x 8`, "bits must have
    shape [B or 1, blocks, 4, 1] for blocks of 4 x 8, got 'tensor<?x?x4x2xi8>'; pack
    8 keys to a byte, lowest bit first".
  }];
  let arguments = (ins 3DTensorOf<[I32]>:$indptr, 3DTensorOf<[I32]>:$indices,
                       Optional<4DTensorOf<[I8]>>:$bits, I64Attr:$rows, I64Attr:$columns);
  let assemblyFormat = [{
    $indptr `,` $indices (`bits` `(` $bits^ `:` type($bits) `)`)?
    `block` `=` $rows `x` $columns `:` type($indptr) `,` type($indices) attr-dict
  }];
  let hasVerifier = 1;
}

def SparseAttn_SegmentsOp : SparseAttn_PatternOp<"segments",
    ["buildKeyExtent", "getOwnBinding", "isPerBatch", "getPlanChecks", "getTensorSpecs"]> {
  let summary = "keep keys of the query's segment (packed documents)";
  let description = [{
    ```
    keep(p, j)  <=>  for some s:  offsets[b, s] <= p < offsets[b, s + 1]  and
                                  offsets[b, s] <= j < offsets[b, s + 1]
    ```

    Documents packed one after the other do not see each other. A token before
    the first offset or from the last one on keeps nothing, not even itself.
    Segments may be empty.

    ```
    offsets[b] = [0, 3, 5]

    j      0 1 2 3 4 5
    p = 0  x x x . . .
    p = 1  x x x . . .
    p = 2  x x x . . .
    p = 3  . . . x x .
    p = 4  . . . x x .
    p = 5  . . . . . .
    ```

    ```mlir
    %m = sparse_attn.segments %offsets : tensor<?x?xi32>
    ```

    Constraints: the operand's type. A plan checks that offsets start at 0 or
    later, do not decrease, and do not pass N.

    Invalid: an operand of type `tensor<?xi32>`; offsets are [batch or 1, segments + 1].
  }];
  let arguments = (ins 2DTensorOf<[I32]>:$offsets);
  let assemblyFormat = "$offsets `:` type($offsets) attr-dict";
}

def SparseAttn_GraphHopOp : SparseAttn_PatternOp<"graph_hop",
    ["buildKeyExtent", "getOwnBinding", "isPerBatch", "getPlanChecks", "getPlanTable",
     "getTensorSpecs"]> {
  let summary = "keep keys whose node is at most `max_hops` edges away";
  let description = [{
    ```
    keep(p, j)  <=>  distance(node(p), node(j)) <= max_hops, or
                     p == j where p is in no chunk
    ```

    Token x is in chunk c with offsets[b, c] <= x < offsets[b, c + 1], and
    node(x) = chunk_node[b, c]. The edges of node v go to
    indices[indptr[v]], ..., indices[indptr[v + 1] - 1]. Distance counts edges on
    a shortest path; it is 0 within a node. Without `max_hops` every path will do.
    By default an edge counts both ways; with `directed` it points from a node to
    what that node may read. Cycles are legal.

    Documents that link to each other read each other, and nothing else: code and
    its includes, a tree of drafts for speculative decoding, a thread of messages.

    ```
    offsets[b] = [1, 3, 4, 6], chunk_node[b] = [0, 2, 1], edges 0 -> 1 -> 2

    max_hops = 1                 directed, max_hops = 1

    j      0 1 2 3 4 5 6         j      0 1 2 3 4 5 6
    p = 0  x . . . . . .         p = 0  x . . . . . .
    p = 1  . x x . x x .         p = 1  . x x . x x .
    p = 2  . x x . x x .         p = 2  . x x . x x .
    p = 3  . . . x x x .         p = 3  . . . x . . .
    p = 4  . x x x x x .         p = 4  . . . x x x .
    p = 5  . x x x x x .         p = 5  . . . x x x .
    p = 6  . . . . . . x         p = 6  . . . . . . x
    ```

    ```mlir
    %m = sparse_attn.graph_hop %offsets, %chunk_node, %indptr, %indices max_hops = 2
        : tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>
    ```

    Constraints:
    * (graph_hop_c1) 0 <= max_hops < 2^30
    * (graph_hop_c2) offsets has one entry more than chunk_node

    A plan checks the offsets as for `segments`, that `indptr` does not decrease or
    pass the end of `indices`, and that nodes are in range.

    Invalid: `max_hops = -1`, "max_hops must be in [0, 2^30), got -1; leave it out to
    reach every node that has a path".
  }];
  let arguments = (ins 2DTensorOf<[I32]>:$offsets, 2DTensorOf<[I32]>:$chunk_node,
                       1DTensorOf<[I32]>:$indptr, 1DTensorOf<[I32]>:$indices,
                       OptionalAttr<I64Attr>:$max_hops,
                       DefaultValuedAttr<BoolAttr, "false">:$directed);
  let assemblyFormat = [{
    $offsets `,` $chunk_node `,` $indptr `,` $indices (`max_hops` `=` $max_hops^)?
    (`directed` `=` $directed^)?
    `:` type($offsets) `,` type($chunk_node) `,` type($indptr) `,` type($indices) attr-dict
  }];
  let hasVerifier = 1;
}

#endif // SPARSE_ATTN_LAYOUT_PATTERN_OPS_TD
