//===- BlockPlan.td - the block-sparse plan as IR -----------*- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef BLOCK_PLAN_TD
#define BLOCK_PLAN_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/CommonAttrConstraints.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def BlockPlan_Dialect : Dialect {
  let name = "block_plan";
  let cppNamespace = "::block_plan";
  let summary = "Attention as tiles of queries x keys";
  let description = [{
    What `--plan-blocks` makes of an attention: its mask is no longer a value but
    small regions of scalar arithmetic, which say how a rectangle of pairs
    is classified, whether one pair is kept, and how one score is modified.

    ```
                 key tiles ->
       query     . . . . . . .      .  empty: never touched
       tiles     # # . . . . .      #  full: no predicate
         |       + # + . . . .      +  partial: predicate or bits
         v       . + # + . . .      runs: maximal sequences of # or + in a row
    ```

    A plan lists, for each query tile, its runs. With `compile` binding the runs
    are found while running, by bisection with `classify`, and no table exists;
    with `plan` binding they are found once per layout and kept.

    A kernel may say how large its tiles are, in query rows and keys; without it they
    follow from the machine (`lib/Analysis/TileCosts.h`):

    ```
    func.func @kernel(...) attributes {block_plan.tile = array<i64: 64, 128>} { ... }
    ```

    It may also say what becomes of a union of masks with different periods (see
    `--split-unions`): `choose`, the default, lets each plan choose, `whole` leaves it
    whole, and `split` always splits it:

    ```
    func.func @kernel(...) attributes {block_plan.unions = #block_plan.unions<whole>} { ... }
    ```
  }];
  let usePropertiesForAttributes = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
}

def BlockPlan_Binding : I32EnumAttr<"PlanBinding", "when the tiles are known", [
    I32EnumAttrCase<"Compile", 0, "compile">, I32EnumAttrCase<"Plan", 1, "plan">]> {
  let cppNamespace = "::block_plan";
  let genSpecializedAttr = 0;
}
def BlockPlan_BindingAttr : EnumAttr<BlockPlan_Dialect, BlockPlan_Binding, "binding">;

def BlockPlan_Unions : I32EnumAttr<"Unions", "what becomes of unions of different periods", [
    I32EnumAttrCase<"Choose", 0, "choose">, I32EnumAttrCase<"Whole", 1, "whole">,
    I32EnumAttrCase<"Split", 2, "split">]> {
  let cppNamespace = "::block_plan";
  let genSpecializedAttr = 0;
}
def BlockPlan_UnionsAttr : EnumAttr<BlockPlan_Dialect, BlockPlan_Unions, "unions"> {
  let assemblyFormat = "`<` $value `>`";
}

def BlockPlan_Size : I32EnumAttr<"PlanSize", "a run-time size", [
    I32EnumAttrCase<"Keys", 0, "keys">, I32EnumAttrCase<"Heads", 1, "heads">]> {
  let cppNamespace = "::block_plan";
  let genSpecializedAttr = 0;
}
def BlockPlan_SizeAttr : EnumAttr<BlockPlan_Dialect, BlockPlan_Size, "size_of">;

def BlockPlan_NeedAttr : AttrDef<BlockPlan_Dialect, "Need"> {
  let mnemonic = "need";
  let summary = "a check of layout operands, or a table made from them";
  let description = [{
    `kind` is a value of sa_check::kind or sa_table::kind of the runtime, `inputs`
    index the attention's `layout` operands (-1: absent), and `op` names the mask
    in messages.
  }];
  let parameters = (ins "int32_t":$kind, OptionalArrayRefParameter<"int64_t">:$inputs,
                        OptionalArrayRefParameter<"int64_t">:$parameters, "::mlir::StringAttr":$op);
  let assemblyFormat = "`<` $op `,` $kind `,` `[` (`]`) : ($inputs^ `]`)? `,` `[` (`]`) : ($parameters^ `]`)? `>`";
}

class BlockPlan_Op<string mnemonic, list<Trait> traits = []>
    : Op<BlockPlan_Dialect, mnemonic, traits>;

def BlockPlan_AttentionOp : BlockPlan_Op<"attention",
    [AttrSizedOperandSegments, RecursiveMemoryEffects]> {
  let summary = "attention over the kept tiles of a plan";
  let description = [{
    `classify` answers for positions p0, p0 + step, ..., p1 x keys j0, j0 + step,
    ..., j1 whether some (`may`) and whether all (`must`) pairs are kept; the step
    is 1 or `period`, and the tiles of a plan hold rows and keys that are one step
    apart. `extent`, with `plan` binding, answers how many keys from j0 on are kept
    by the same positions: (may, must) of keys [j0, stop), and stop, which is j0
    where nothing is known. `predicate` decides one pair; it is there with `compile` binding alone,
    since plans of `plan` binding hold bits for partial tiles. `modify`, where
    there is one, maps the scaled score `s` of a pair at `hops` edges to the score
    used.

    Keys of a pooled attention (`key_block` > 0) are counted in pooled keys.

    With a `choice`, the keys of a query tile are those that this mask keeps, which a run
    makes as the ops of the mask say (`getKeySet`). Its parts that are `known` before
    have a region of `structures` each, with the arguments and results of `classify`.
    Kept keys are `gathered`: tiles are of neighbours in the list of them; else tiles are
    those of the keys. The mask asks for `scores`, each of units of so many keys as
    `score_blocks` says. With `key_scores` it asks for the attention's own scores of
    listed keys too, and with `project` for products with weights, which scores ask
    for anyway.

    Constraints:
    * (plan_attention_c1) a tile has at least one row, and a multiple of 8 keys
    * (plan_attention_c2) q, k and v are rank-4 tensors
    * (plan_attention_c3) there is a predicate with `compile` binding alone
    * (plan_attention_c4) period >= 1
    * (plan_attention_c5) regions take and yield what the above says
    * (plan_attention_c6) each of `scores` is one, and has a block of at least one key
    * (plan_attention_c7) each mask that is `known` has a region of `structures`
  }];
  let arguments = (ins AnyType:$q, AnyType:$k, AnyType:$v,
                       Optional<AnyType>:$kv_len, Optional<AnyType>:$q_len,
                       Optional<AnyType>:$q_offset, Optional<AnyType>:$sinks,
                       Variadic<AnyType>:$layout, Optional<AnyType>:$choice,
                       Variadic<AnyType>:$known, Variadic<AnyType>:$scores,
                       BlockPlan_BindingAttr:$binding, F64Attr:$scale,
                       DenseI64ArrayAttr:$tile, DefaultValuedAttr<I64Attr, "1">:$period,
                       I64Attr:$key_block,
                       UnitAttr:$per_batch, UnitAttr:$per_head, UnitAttr:$gathered,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$score_blocks,
                       UnitAttr:$key_scores, UnitAttr:$project,
                       TypedArrayAttrBase<BlockPlan_NeedAttr, "checks">:$checks,
                       TypedArrayAttrBase<BlockPlan_NeedAttr, "tables">:$tables,
                       OptionalAttr<I64Attr>:$hop_table);
  let results = (outs AnyType:$out, AnyType:$lse);
  let regions = (region SizedRegion<1>:$classify, MaxSizedRegion<1>:$extent,
                        MaxSizedRegion<1>:$predicate, MaxSizedRegion<1>:$modify,
                        VariadicRegion<SizedRegion<1>>:$structures);
  let assemblyFormat = [{
    $q `,` $k `,` $v (`kv_len` `(` $kv_len^ `:` type($kv_len) `)`)?
    (`q_len` `(` $q_len^ `:` type($q_len) `)`)?
    (`q_offset` `(` $q_offset^ `:` type($q_offset) `)`)?
    (`sinks` `(` $sinks^ `:` type($sinks) `)`)?
    (`layout` `(` $layout^ `:` type($layout) `)`)?
    (`choice` `(` $choice^ `:` type($choice) `)`)?
    (`known` `(` $known^ `:` type($known) `)`)?
    (`scores` `(` $scores^ `:` type($scores) `)`)? attr-dict
    `:` type($q) `,` type($k) `,` type($v) `->` type($out) `,` type($lse)
    `classify` $classify (`extent` $extent^)? `predicate` $predicate `modify` $modify
    (`structures` $structures^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t getTileRows() { return getTile()[0]; }
    int64_t getTileKeys() { return getTile()[1]; }
    /// Whether kept keys have probabilities.
    bool isSampled();
    ::mlir::RankedTensorType getKeyTensorType();
    ::mlir::RankedTensorType getValueTensorType();
    int64_t getHeadDim() { return getKeyTensorType().getDimSize(3); }
    int64_t getValueDim() { return getValueTensorType().getDimSize(3); }
  }];
}

def BlockPlan_ChooseOp : BlockPlan_Op<"choose", [Pure, SameVariadicOperandSize]> {
  let summary = "one of several ways to the same state";
  let description = [{
    Every way has the same (O, LSE) up to rounding. A plan takes the cheapest, by the
    tiles that each visits for its shape and layout, and leaves out the steps that
    nothing else reads.

    ```
    attention(A | B) ------------------------------+
                                                   +-- choose -- out, lse
    attention(A - B) --+                           |
                       +-- sparse_attn.merge ------+
    attention(B) ------+
    ```

    Constraints:
    * (choose_c1) there is at least one way
    * (choose_c2) every way has the types of the results
  }];
  let arguments = (ins Variadic<AnyType>:$outs, Variadic<AnyType>:$lses);
  let results = (outs AnyType:$out, AnyType:$lse);
  let assemblyFormat = [{
    $outs `lse` $lses attr-dict `:` `(` type($outs) `)` `,` `(` type($lses) `)`
    `->` type($out) `,` type($lse)
  }];
  let hasVerifier = 1;
}

def BlockPlan_SizeOp : BlockPlan_Op<"size", [Pure]> {
  let summary = "n of the batch entry, in tokens, or the number of heads";
  let arguments = (ins BlockPlan_SizeAttr:$of);
  let results = (outs I32:$result);
  let assemblyFormat = "$of attr-dict";
}

def BlockPlan_HelperOp : BlockPlan_Op<"helper", [Pure]> {
  let summary = "a tile class from a function of the runtime";
  let description = [{
    Calls `callee` with the arguments in order: tensors as pointers to their
    views, null at the `absent` places, and first of all the plan table `table`
    where there is one. The result is 0 (empty), 1 (full) or 2 (unknown); in an
    `extent` region its upper 30 bits are the key where that ends.
  }];
  let arguments = (ins StrAttr:$callee, Variadic<AnyType>:$arguments,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$absent,
                       OptionalAttr<I64Attr>:$table);
  let results = (outs I32:$result);
  let assemblyFormat = [{
    $callee `(` $arguments `)` (`table` `=` $table^)? attr-dict `:` `(` type($arguments) `)`
  }];
}

def BlockPlan_YieldOp : BlockPlan_Op<"yield", [Pure, Terminator, ParentOneOf<["AttentionOp"]>]> {
  let summary = "the answer of a region";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "$values attr-dict `:` type($values)";
}

#endif // BLOCK_PLAN_TD
