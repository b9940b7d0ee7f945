//===- SparseAttnBase.td - dialect, types, op classes -------*- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_BASE_TD
#define SPARSE_ATTN_BASE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/CommonAttrConstraints.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "dialect/SparseAttn/SparseAttnEnums.td"
include "dialect/SparseAttn/SparseAttnInterfaces.td"

def SparseAttn_Dialect : Dialect {
  let name = "sparse_attn";
  let cppNamespace = "::sparse_attn";
  let summary = "Attention masks as an algebra";
  let description = [{
    A mask says, for batch entry `b`, head `h`, the query at position `p` and the
    key at position `j`, with which probability the pair takes part in
    attention. Masks are values: patterns make them, an algebra combines them,
    and `attention` consumes one. What every op means is in `docs/semantics.md`.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 0;
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::tensor::TensorDialect"];
}

//===--- Types ------------------------------------------------------------===//

class SparseAttn_Type<string name, string typeMnemonic> : TypeDef<SparseAttn_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def SparseAttn_MaskType : SparseAttn_Type<"Mask", "mask"> {
  let summary = "an inclusion probability for every (b, h, p, j)";
  let description = [{
    `!sparse_attn.mask` is deterministic: every probability is 0 or 1.
    `!sparse_attn.mask<sampled>` may hold any probability in [0, 1]; `difference`
    and `complement` do not take it as the operand that they negate.
  }];
  let parameters = (ins DefaultValuedParameter<"bool", "false">:$sampled);
  let hasCustomAssemblyFormat = 1;
}

def SparseAttn_ModifierType : SparseAttn_Type<"Modifier", "modifier"> {
  let summary = "a change of the score s of every (b, h, p, j)";
}

def SparseAttn_ScoreType : SparseAttn_Type<"Score", "score"> {
  let summary = "a number for every query unit and key unit of every (b, h)";
  let description = [{
    What a selection goes by. A query unit is a row or a tile of `block_q` rows, a key
    unit a key or a block of `block_k` keys; the selection that uses the score says
    which.
  }];
}

def SparseAttn_PooledType : SparseAttn_Type<"Pooled", "pooled"> {
  let summary = "block means of a key or value tensor";
  let description = [{
    `!sparse_attn.pooled<tensor<?x?x?x64xf32>, 32>`: row `j` is the mean of tokens
    `[32 j, 32 j + 32)`. The value knows how many tokens it was made from, and its
    keys take the position of their last token.
  }];
  let parameters = (ins "::mlir::RankedTensorType":$tensor, "int64_t":$block);
  let assemblyFormat = "`<` $tensor `,` $block `>`";
  let genVerifyDecl = 1;
}

// A deterministic mask, the type of every structural pattern.
def SparseAttn_Certain : Type<
    And<[SparseAttn_MaskType.predicate,
         CPred<"!::llvm::cast<::sparse_attn::MaskType>($_self).getSampled()">]>,
    "deterministic mask", "::sparse_attn::MaskType">,
    BuildableType<"::sparse_attn::MaskType::get($_builder.getContext(), false)">;

// What sampling ops make.
def SparseAttn_Sampled : Type<
    And<[SparseAttn_MaskType.predicate,
         CPred<"::llvm::cast<::sparse_attn::MaskType>($_self).getSampled()">]>,
    "sampled mask", "::sparse_attn::MaskType">,
    BuildableType<"::sparse_attn::MaskType::get($_builder.getContext(), true)">;

def SparseAttn_Score : Type<SparseAttn_ScoreType.predicate, "score",
                            "::sparse_attn::ScoreType">,
    BuildableType<"::sparse_attn::ScoreType::get($_builder.getContext())">;

def SparseAttn_Modifier : Type<SparseAttn_ModifierType.predicate, "score modifier",
                               "::sparse_attn::ModifierType">,
    BuildableType<"::sparse_attn::ModifierType::get($_builder.getContext())">;

//===--- Attributes -------------------------------------------------------===//

// The attribute that holds a word; an op gives `DefaultValuedAttr<..., "...::None">`.
class SparseAttn_EnumAttr<EnumInfo words, string mnemonic>
    : EnumAttr<SparseAttn_Dialect, words, mnemonic>;

def SparseAttn_ShareAttr : SparseAttn_EnumAttr<SparseAttn_Sharing, "share">;
def SparseAttn_CenterAttr : SparseAttn_EnumAttr<SparseAttn_Center, "center">;
def SparseAttn_NormalizeAttr : SparseAttn_EnumAttr<SparseAttn_Normalize, "normalize">;
def SparseAttn_TailAttr : SparseAttn_EnumAttr<SparseAttn_Tail, "tail">;
def SparseAttn_ActivationAttr : SparseAttn_EnumAttr<SparseAttn_Activation, "activation">;

//===--- Op classes -------------------------------------------------------===//

// The words of an attribute that is an enum, and its mnemonic; else nothing.
class SparseAttn_Words<Constraint constraint> {
  Constraint base = !if(!isa<DefaultValuedAttr>(constraint),
                        !cast<Constraint>(!cast<Attr>(constraint).baseAttr), constraint);
  bit isWord = !isa<EnumAttr>(base);
  string mnemonic = !if(isWord, !cast<EnumAttr>(base).mnemonic, "");
  string words = !if(isWord, !interleave(!foreach(case,
      !cast<EnumAttr>(base).enum.enumerants, case.str), " "), "");
}

// What an attribute is where it is left out, as an expression writes it.
class SparseAttn_Otherwise<Constraint constraint> {
  Constraint base = SparseAttn_Words<constraint>.base;
  string value = !if(!isa<DefaultValuedAttr>(constraint),
                     !cast<Attr>(constraint).defaultValue, "");
  // "::sparse_attn::Sharing::None" is the case of the symbol None.
  list<EnumCase> cases = !if(!and(!isa<EnumAttr>(base), !isa<DefaultValuedAttr>(constraint)),
                             !cast<EnumAttr>(base).enum.enumerants, []<EnumCase>);
  string text = !foldl(value, cases, found, case,
      !if(!eq(!find(value # ";", "::" # case.symbol # ";"), -1), found, case.str));
}

// C++ text of the ParameterSpec of one operand or attribute.
class SparseAttn_ParameterText<string parameter, Constraint constraint> {
  // MLIR spells " ::mlir::BoolAttr " with blanks.
  string cppType = !subst(" ", "", !if(!isa<Attr>(constraint),
                                       !cast<Attr>(constraint).storageType,
                                       !cast<TypeConstraint>(constraint).cppType));
  string kind = !cond(!eq(cppType, "::mlir::IntegerAttr") : "Integer",
                      !eq(cppType, "::mlir::FloatAttr") : "Real",
                      !eq(cppType, "::mlir::BoolAttr") : "Boolean",
                      !eq(cppType, "::mlir::DenseI64ArrayAttr") : "IntegerList",
                      !eq(cppType, "::sparse_attn::MaskType") : "Mask",
                      !eq(cppType, "::sparse_attn::ScoreType") : "Score",
                      SparseAttn_Words<constraint>.isWord : "Word",
                      !isa<TypeConstraint>(constraint) : "Tensor");
  bit optional = !if(!isa<Attr>(constraint),
                     !or(!cast<Attr>(constraint).isOptional,
                         !isa<DefaultValuedAttr>(constraint)),
                     !isa<Optional>(constraint));
  string text = "{\"" # parameter # "\", ::sparse_attn::ParameterSpec::" # kind # ", "
                # !if(optional, "true", "false") # ", "
                # !if(!isa<Variadic>(constraint), "true", "false") # ", \""
                # SparseAttn_Words<constraint>.mnemonic # "\", \""
                # SparseAttn_Words<constraint>.words # "\", \""
                # SparseAttn_Otherwise<constraint>.text # "\"}";
}

// ODS sorts attribute names; an expression (`window(1023, 0)`) needs the order in
// which `arguments` declares them, so every op tells it. An op that declares more
// appends: `let extraClassDeclaration = parameterDeclaration # [{ ... }];`
class SparseAttn_Op<string mnemonic, list<Trait> traits = []>
    : Op<SparseAttn_Dialect, mnemonic, traits> {
  string parameterTexts = !interleave(!foreach(i, !range(!size(arguments)),
      SparseAttn_ParameterText<!getdagname(arguments, i),
                               !getdagarg<Constraint>(arguments, i)>.text), ", ");
  string parameterDeclaration =
      "static ::llvm::ArrayRef<::sparse_attn::ParameterSpec> getParameters() {"
      # !if(!empty(parameterTexts), " return {}; }\n",
            "\n  static constexpr ::sparse_attn::ParameterSpec parameters[] = {"
            # parameterTexts # "};\n  return parameters;\n}\n");
  let extraClassDeclaration = parameterDeclaration;
}

// A pattern of the positions: one deterministic mask.
class SparseAttn_PatternOp<string mnemonic, list<string> methods = [], list<Trait> traits = []>
    : SparseAttn_Op<mnemonic, !listconcat([Pure, DeclareOpInterfaceMethods<MaskOpInterface,
        !listconcat(["evaluate", "buildTileClass"], methods)>], traits)> {
  let results = (outs SparseAttn_Certain:$result);
}

#endif // SPARSE_ATTN_BASE_TD
