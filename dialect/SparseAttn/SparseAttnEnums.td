//===- SparseAttnEnums.td - words that parameters take ------*- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_ENUMS_TD
#define SPARSE_ATTN_ENUMS_TD

include "mlir/IR/EnumAttr.td"

// A choice between words, `share = group` in IR and in expressions.
class SparseAttn_Enum<string name, string summary, list<string> words>
    : I32EnumAttr<name, summary, !foreach(i, !range(!size(words)),
        I32EnumAttrCase<snakeCaseToCamelCase<words[i]>.ret, i, words[i]>)> {
  let cppNamespace = "::sparse_attn";
  let genSpecializedAttr = 0;
}

def SparseAttn_Sharing : SparseAttn_Enum<"Sharing",
    "whether the query heads of a key/value head use their scores apart, or summed",
    ["none", "group"]>;

def SparseAttn_Activation : SparseAttn_Enum<"Activation",
    "what stands between the dense layers of a network",
    ["relu", "silu", "gelu", "tanh"]>;

def SparseAttn_Center : SparseAttn_Enum<"Center",
    "what the mean key is subtracted from: keys, keys and queries, or nothing",
    ["keys", "both", "none"]>;

def SparseAttn_Normalize : SparseAttn_Enum<"Normalize",
    "how vectors become directions that are hashed",
    ["cosine", "simple_lsh"]>;

def SparseAttn_Tail : SparseAttn_Enum<"Tail",
    "which errors a bound is for: both together, or each for itself",
    ["two_sided", "one_sided"]>;

#endif // SPARSE_ATTN_ENUMS_TD
