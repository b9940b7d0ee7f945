//===- ListedOps.td - masks that operands list --------------*- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_LISTED_OPS_TD
#define SPARSE_ATTN_LISTED_OPS_TD

include "dialect/SparseAttn/SparseAttnBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/CommonAttrConstraints.td"

def SparseAttn_ListedOp : SparseAttn_Op<"listed", [Pure, InferTypeOpAdaptor,
    DeclareOpInterfaceMethods<MaskOpInterface, ["evaluate", "buildTileClass",
        "getOwnBinding", "isPerHead", "isPerBatch", "getKeySet", "getTensorSpecs"]>]> {
  let summary = "keep the keys that a run's operand lists for each query";
  let description = [{
    ```
    keep(i, j)  <=>  j is in indices[b, g, floor(i / block_q), :]
    ```

    What something else has selected: a retriever, an indexer, a model's own top-k. The
    lists are values of a run, as Q and K are, and cost no plan: only listed keys are
    read. A list is a set; its order does not matter, a key named twice counts once, and
    -1 is padding. Rows of a block of `block_q` share a list. It has a head axis g = h, or
    with `share_group` one of key/value heads, g = h / G: then the heads of a group read
    their keys together.

    With `probability` of the same shape the lists are a sample: a listed key counts with
    weight exp(s) / probability, one of probability 0 does not count, and of a key named
    twice the first mention does.

    ```
    indices[b, g] = [[0, -1], [1, 0], [2, 2]]

    j      0 1 2
    i = 0  x . .
    i = 1  x x .
    i = 2  . . x
    ```

    ```mlir
    %m = sparse_attn.listed %indices : tensor<?x?x?x?xi32>
    %s = sparse_attn.listed %indices probability(%pi : tensor<?x?x?x?xf32>)
        share_group = true : tensor<?x?x?x?xi32>
    ```

    Constraints:
    * (listed_c1) 1 <= block_q <= 1024

    A run checks that the third axis has ceil(M / block_q) entries, and on a processor that
    keys are below N and probabilities in [0, 1]; a GPU leaves out those that are not.

    Invalid: `block_q = 0`, "block_q must be in [1, 1024], got 0; rows of a block share a
    list, one row at least".
  }];
  let arguments = (ins 4DTensorOf<[I32]>:$indices,
                       Optional<4DTensorOf<[F32]>>:$probability,
                       DefaultValuedAttr<I64Attr, "1">:$block_q, DefaultValuedAttr<BoolAttr, "false">:$share_group);
  let results = (outs SparseAttn_MaskType:$result);
  let assemblyFormat = [{
    $indices (`probability` `(` $probability^ `:` type($probability) `)`)?
    (`block_q` `=` $block_q^)? (`share_group` `=` $share_group^)? `:` type($indices) attr-dict
  }];
  let hasVerifier = 1;
}

#endif // SPARSE_ATTN_LISTED_OPS_TD
