//===- SparseAttnOps.cpp - generated op classes and their assembly --------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The directives of the assembly formats. Nearly every mask is deterministic, so
// types are written only where one is not:
//
//   %a = sparse_attn.union %x, %y
//   %b = sparse_attn.union %x, %z : !sparse_attn.mask, !sparse_attn.mask<sampled>
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/OpImplementation.h"

using namespace mlir;
using namespace sparse_attn;

using UnresolvedOperands = ArrayRef<OpAsmParser::UnresolvedOperand>;

static bool isSampled(Type type) { return cast<MaskType>(type).getSampled(); }

static ParseResult parseMaskTypes(OpAsmParser &parser, UnresolvedOperands masks,
                                  SmallVectorImpl<Type> &types) {
  if (succeeded(parser.parseOptionalColon()))
    return parser.parseTypeList(types);
  types.assign(masks.size(), MaskType::get(parser.getContext(), /*sampled=*/false));
  return success();
}

static void printMaskTypes(OpAsmPrinter &printer, Operation *, OperandRange,
                           TypeRange types) {
  if (llvm::any_of(types, isSampled))
    printer << " : " << types;
}

static ParseResult parseMaskType(OpAsmParser &parser, Type &type) {
  if (succeeded(parser.parseOptionalColon()))
    return parser.parseType(type);
  type = MaskType::get(parser.getContext(), /*sampled=*/false);
  return success();
}

static void printMaskType(OpAsmPrinter &printer, Operation *, Type type) {
  if (isSampled(type))
    printer << " : " << type;
}

static ParseResult parseMaskTypePair(OpAsmParser &parser, Type &lhs, Type &rhs) {
  lhs = rhs = MaskType::get(parser.getContext(), /*sampled=*/false);
  if (failed(parser.parseOptionalColon()))
    return success();
  return failure(parser.parseType(lhs) || parser.parseComma() || parser.parseType(rhs));
}

static void printMaskTypePair(OpAsmPrinter &printer, Operation *, Type lhs, Type rhs) {
  if (isSampled(lhs) || isSampled(rhs))
    printer << " : " << lhs << ", " << rhs;
}

/// The states of a merge have the types of its results, which are written once:
/// `: tensor<?x?x?x64xf32>, tensor<?x?x?xf32>`. Where an out has another element
/// type, each has its own: `: (tensor<..xf16>, tensor<..xf32>), lse -> out`.
static ParseResult parseStateTypes(OpAsmParser &parser, UnresolvedOperands outs,
                                   SmallVectorImpl<Type> &outTypes,
                                   SmallVectorImpl<Type> &lseTypes, Type &out,
                                   Type &lse) {
  if (parser.parseColon())
    return failure();
  if (succeeded(parser.parseOptionalLParen())) {
    if (parser.parseTypeList(outTypes) || parser.parseRParen() || parser.parseComma() ||
        parser.parseType(lse) || parser.parseArrow() || parser.parseType(out))
      return failure();
  } else {
    if (parser.parseType(out) || parser.parseComma() || parser.parseType(lse))
      return failure();
    outTypes.assign(outs.size(), out);
  }
  lseTypes.assign(outs.size(), lse);
  return success();
}

static void printStateTypes(OpAsmPrinter &printer, Operation *, OperandRange,
                            TypeRange outTypes, TypeRange, Type out, Type lse) {
  if (llvm::all_of(outTypes, [&](Type type) { return type == out; }))
    printer << " : " << out << ", " << lse;
  else
    printer << " : (" << outTypes << "), " << lse << " -> " << out;
}

#define GET_OP_CLASSES
#include "dialect/SparseAttn/SparseAttnOps.cpp.inc"
