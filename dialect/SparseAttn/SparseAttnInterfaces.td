//===- SparseAttnInterfaces.td - what passes ask of ops -----*- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_INTERFACES_TD
#define SPARSE_ATTN_INTERFACES_TD

include "mlir/IR/OpBase.td"

// What masks and modifiers both tell about the layout operands they read.
class SparseAttn_OperandInterface<string name> : OpInterface<name> {
  let cppNamespace = "::sparse_attn";
}

def MaskOpInterface : SparseAttn_OperandInterface<"MaskOpInterface"> {
  let description = [{
    Everything that a pass asks of a mask op.

    The law, tested for every op that implements it: for all positions
    p0, p0 + step, ..., p1 and keys j0, j0 + step, ..., j1

      must  =>  evaluate(p, j) == 1 for every pair
      !may  =>  evaluate(p, j) == 0 for every pair
      p0 == p1 and j0 == j1  =>  may == must

    and for the keys from j0 on that `buildKeyExtent` calls alike

      j0 <= stop <= j1 + 1
      evaluate(p, j) == evaluate(p, j0) for every key j in [j0, stop)
      stop > j0  =>  its class follows the law of [p0, p1] x [j0, stop)

    "unknown" (may and not must) is otherwise always legal, so an op may answer
    for all of [p0, p1] x [j0, j1] whatever the step. The last line makes `must`
    of a single pair the mask's predicate.

    A mask that is bound at run time (`getOwnBinding`) keeps the first two lines
    alone: before the run, its class tells what it may keep whatever Q and K are.
  }];
  let methods = [
    InterfaceMethod<"The inclusion probability of one pair: the meaning of the op.",
      "double", "evaluate", (ins "const ::sparse_attn::Pair &":$pair,
                                 "::sparse_attn::Evaluator &":$evaluator)>,
    InterfaceMethod<[{Whether this run keeps the pair: a sampled mask gives a
      probability to pairs that it has not drawn, too.}],
      "bool", "isDrawn", (ins "const ::sparse_attn::Pair &":$pair,
                              "::sparse_attn::Evaluator &":$evaluator), "",
      [{ return $_op.evaluate(pair, evaluator) > 0; }]>,
    InterfaceMethod<"Emits the class of a rectangle of pairs.",
      "::sparse_attn::TileClass", "buildTileClass", (ins "::sparse_attn::TileBuilder &":$builder)>,
    InterfaceMethod<[{Emits how many keys from j0 on are alike: kept by the same ones of
      the positions, with their class. By default all are where the class of the
      rectangle is decided; an op that knows better spares a plan most of its
      questions.}],
      "::sparse_attn::KeyExtent", "buildKeyExtent",
      (ins "::sparse_attn::TileBuilder &":$builder), "",
      [{ return builder.alikeIfDecided(builder.classOf($_op->getResult(0))); }]>,
    InterfaceMethod<[{When the op itself, without the masks it combines, can be
      decided: a closed form of (p, j, h, n) at compile time, else at plan time; what
      depends on the values of Q and K, or is drawn for each row, at run time.}],
      "::sparse_attn::Binding", "getOwnBinding", (ins), "",
      [{ return ::sparse_attn::Binding::Compile; }]>,
    InterfaceMethod<[{A number of tokens after which the op itself, without the masks
      it combines, decides alike: it answers precisely about positions and keys that
      are a multiple of it apart. 1 where there is none.}],
      "int64_t", "getPeriod", (ins), "", [{ return 1; }]>,
    InterfaceMethod<[{Masks whose union this is, the mask itself where it is none; built
      before the builder's insertion point where they are no operands.}],
      "::llvm::SmallVector<::mlir::Value>", "buildParts", (ins "::mlir::OpBuilder &":$builder), "",
      [{ return {$_op->getResult(0)}; }]>,
    InterfaceMethod<"Whether the op itself distinguishes heads.",
      "bool", "isPerHead", (ins), "", [{ return false; }]>,
    InterfaceMethod<"Whether the op itself distinguishes batch entries.",
      "bool", "isPerBatch", (ins), "", [{ return false; }]>,
    InterfaceMethod<"The layout operands and what their values must satisfy.",
      "::llvm::SmallVector<::sparse_attn::PlanCheck>", "getPlanChecks", (ins), "",
      [{ return {}; }]>,
    InterfaceMethod<"The table that the runtime derives from the operands, if any.",
      "::std::optional<::sparse_attn::PlanTable>", "getPlanTable", (ins), "",
      [{ return std::nullopt; }]>,
    InterfaceMethod<[{How a run makes the keys of a row where the op, or a mask that it
      combines, is bound at run time; nothing where it never is.}],
      "::std::optional<::sparse_attn::KeySet>", "getKeySet", (ins), "",
      [{ return ::std::nullopt; }]>,
    StaticInterfaceMethod<"The tensor operands in order: names, ranks, axes.",
      "::llvm::ArrayRef<::sparse_attn::TensorSpec>", "getTensorSpecs", (ins), "",
      [{ return {}; }]>,
    StaticInterfaceMethod<"The operands and attributes in the order declared, by TableGen.",
      "::llvm::ArrayRef<::sparse_attn::ParameterSpec>", "getParameters", (ins), "",
      [{ return {}; }]>,
  ];
}

def ScoreOpInterface : SparseAttn_OperandInterface<"ScoreOpInterface"> {
  let description = [{
    Everything that a selection, or a pass, asks of a score. A selection forms the
    score of its units from what `evaluate` gives, as `getGranularity` says.
  }];
  let methods = [
    InterfaceMethod<"Of how many queries and keys one number is.",
      "::sparse_attn::Granularity", "getGranularity", (ins), "",
      [{ return ::sparse_attn::Granularity::Key; }]>,
    InterfaceMethod<[{The scores of `rows` in float64: one for each unit of `block` keys
      below n, in order. `rows` is one row, and `block` is 1, where the granularity has
      no more. Every number is of this head alone, whatever `share` says.}],
      "::std::vector<double>", "evaluate", (ins "const ::sparse_attn::QueryUnit &":$rows,
          "int64_t":$block, "::sparse_attn::Evaluator &":$evaluator)>,
    InterfaceMethod<"Whether the scores of the query heads of a group are summed.",
      "::sparse_attn::Sharing", "getShare", (ins), "",
      [{ return ::sparse_attn::Sharing::None; }]>,
    InterfaceMethod<[{What is kept beside the KV cache for D, Dv and blocks of `block`
      keys, extended as keys are appended; nothing where K itself is read.}],
      "::llvm::SmallVector<::sparse_attn::KeyState>", "getKeyStates",
      (ins "int64_t":$headDim, "int64_t":$valueDim, "int64_t":$block), "",
      [{ return {}; }]>,
    InterfaceMethod<[{How the runtime encodes keys, and queries, for D, blocks of `block`
      keys and the attention's scale.}],
      "::sparse_attn::Encoding", "getEncoding",
      (ins "int64_t":$headDim, "int64_t":$block, "double":$scale)>,
    InterfaceMethod<[{Emits the scores of key units from the states and an encoded query:
      the meaning again, in f32, after what the encoding has done already.}],
      "void", "buildScore", (ins "::sparse_attn::UnitScoreBuilder &":$builder)>,
    InterfaceMethod<"Which scores of one head there are, where these are few.",
      "::std::optional<::sparse_attn::ScoreLevels>", "getLevels", (ins), "",
      [{ return ::std::nullopt; }]>,
    InterfaceMethod<[{The sizes of weights that follow from D: an error when compiling
      where the type says otherwise, and for a run where the tensor has another size.}],
      "::llvm::SmallVector<::sparse_attn::WeightSize>", "getWeightSizes",
      (ins "int64_t":$headDim), "", [{ return {}; }]>,
    InterfaceMethod<"D has to be a multiple of this.",
      "int64_t", "getHeadDimMultiple", (ins), "", [{ return 1; }]>,
    StaticInterfaceMethod<"The weights in order: names, ranks, axes.",
      "::llvm::ArrayRef<::sparse_attn::TensorSpec>", "getTensorSpecs", (ins), "",
      [{ return {}; }]>,
    StaticInterfaceMethod<"The operands and attributes in the order declared, by TableGen.",
      "::llvm::ArrayRef<::sparse_attn::ParameterSpec>", "getParameters", (ins), "",
      [{ return {}; }]>,
  ];
  let extraSharedClassDeclaration = [{
    /// The levels of the scores where a byte holds one, and no sum of heads is asked for:
    /// then a generated function makes bytes of them.
    ::std::optional<::sparse_attn::ScoreLevels> getByteLevels() {
      auto levels = $_op.getLevels();
      bool fits = levels && levels->count <= 256 &&
                  $_op.getShare() == ::sparse_attn::Sharing::None;
      return fits ? levels : ::std::nullopt;
    }
  }];
}

def SelectionOpInterface : SparseAttn_OperandInterface<"SelectionOpInterface"> {
  let description = [{
    What the masks that are bound at run time tell beside MaskOpInterface: which pairs
    they choose from, in which units, and by what. A selection keeps pairs of its
    candidates alone. One without a score is drawn or asks Q and K itself.
  }];
  let methods = [
    InterfaceMethod<"The score that it goes by, or null.",
      "::mlir::Value", "getScore", (ins), "", [{ return {}; }]>,
    InterfaceMethod<"The deterministic mask that it chooses from.",
      "::mlir::Value", "getCandidates", (ins)>,
    InterfaceMethod<"Rows of a query unit: rows i with the same i / block_q choose together.",
      "uint64_t", "getBlockQ", (ins), "", [{ return 1; }]>,
    InterfaceMethod<"Keys of a key unit: keys j with the same j / block_k are chosen together.",
      "uint64_t", "getBlockK", (ins), "", [{ return 1; }]>,
    InterfaceMethod<"Whether it draws by the attention's own scores.",
      "bool", "readsAttentionScores", (ins), "", [{ return false; }]>,
    InterfaceMethod<"Whether what it keeps differs between query heads of one group.",
      "::sparse_attn::Sharing", "getSharing", (ins), "",
      [{ return ::sparse_attn::Sharing::None; }]>,
    InterfaceMethod<"What is kept beside the KV cache, as for scores.",
      "::llvm::SmallVector<::sparse_attn::KeyState>", "getKeyStates",
      (ins "int64_t":$headDim, "int64_t":$valueDim, "int64_t":$block), "",
      [{ return {}; }]>,
    InterfaceMethod<"How the runtime encodes keys, and queries, where it keeps anything.",
      "::std::optional<::sparse_attn::Encoding>", "getEncoding", (ins "int64_t":$headDim), "",
      [{ return ::std::nullopt; }]>,
    InterfaceMethod<"The sizes of its own tensor operands that follow from D, as for scores.",
      "::llvm::SmallVector<::sparse_attn::WeightSize>", "getWeightSizes",
      (ins "int64_t":$headDim), "", [{ return {}; }]>,
  ];
}

def ModifierOpInterface : SparseAttn_OperandInterface<"ModifierOpInterface"> {
  let description = [{
    Everything that a pass asks of a score modifier. `evaluate` is the meaning in
    float64, `buildScore` emits the same on one f32 score.
  }];
  let methods = [
    InterfaceMethod<[{Whether the modifier takes one pair out of attention, whatever
      the other modifiers make of its score. `buildTileClass` emits the same.}],
      "bool", "excludes", (ins "const ::sparse_attn::Pair &":$pair,
                               "::sparse_attn::Evaluator &":$evaluator), "",
      [{ return false; }]>,
    InterfaceMethod<"The new score of one pair; a final score of -infinity has no weight.",
      "double", "evaluate", (ins "double":$score, "const ::sparse_attn::Pair &":$pair,
                                 "::sparse_attn::Evaluator &":$evaluator)>,
    InterfaceMethod<"Emits the new score from the old.",
      "::mlir::Value", "buildScore", (ins "::mlir::Value":$score,
                                          "::sparse_attn::ScoreBuilder &":$builder)>,
    InterfaceMethod<[{Emits the class of a rectangle of pairs where the modifier
      excludes pairs itself; by default it excludes none.}],
      "::std::optional<::sparse_attn::TileClass>", "buildTileClass",
      (ins "::sparse_attn::TileBuilder &":$builder), "", [{ return std::nullopt; }]>,
    InterfaceMethod<[{Whether it reads an operand at the key, so that the keys that are
      computed together have to be neighbours.}],
      "bool", "readsAlongKeys", (ins), "", [{ return false; }]>,
    InterfaceMethod<"As for masks.", "::llvm::SmallVector<::sparse_attn::PlanCheck>",
      "getPlanChecks", (ins), "", [{ return {}; }]>,
    InterfaceMethod<"As for masks; a reach table with distances fills ScoreBuilder::hops.",
      "::std::optional<::sparse_attn::PlanTable>", "getPlanTable", (ins), "",
      [{ return std::nullopt; }]>,
    StaticInterfaceMethod<"The tensor operands in order: names, ranks, axes.",
      "::llvm::ArrayRef<::sparse_attn::TensorSpec>", "getTensorSpecs", (ins), "",
      [{ return {}; }]>,
    StaticInterfaceMethod<"The operands and attributes in the order declared, by TableGen.",
      "::llvm::ArrayRef<::sparse_attn::ParameterSpec>", "getParameters", (ins), "",
      [{ return {}; }]>,
  ];
}

#endif // SPARSE_ATTN_INTERFACES_TD
