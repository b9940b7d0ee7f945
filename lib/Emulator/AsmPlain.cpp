//===- AsmPlain.cpp - arithmetic, moves, conversions in inline PTX --------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ControlFlow.h"
#include "ConversionIntrinsics.h"
#include "Conversions.h"
#include "InlineAsm.h"
#include "Intrinsics.h"
#include "Memory.h"
#include "Operations.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/Instructions.h"

using namespace llvm;
using namespace sparse_attn::emulator;

/// The type at the end of an opcode such as "add.s32".
static std::optional<Scalar> typeOf(StringRef name) {
  Scalar scalar;
  if (name == "pred") {
    scalar.bits = 1;
    return scalar;
  }
  if (name.size() < 2 || name.drop_front().getAsInteger(10, scalar.bits))
    return std::nullopt;
  switch (name.front()) {
  case 'f':
    scalar.kind = scalar.bits == 16   ? Scalar::F16
                  : scalar.bits == 32 ? Scalar::F32
                                      : Scalar::F64;
    return scalar;
  case 'b':
  case 'u':
  case 's':
    return scalar;
  default:
    return std::nullopt;
  }
}

static bool isSigned(const AsmStatement &statement) {
  return statement.parts.back().front() == 's';
}

/// mov, with `{a, b}` on one side too.
static Expected<bool> decodeMove(AsmContext &context, const AsmStatement &statement,
                                 Scalar type) {
  if (statement.operands.size() != 2)
    return context.decoder.unsupported("mov has two operands");
  const AsmOperand &to = statement.operands[0], &from = statement.operands[1];
  if (to.kind != AsmOperand::List && from.kind != AsmOperand::List) {
    Expected<Slot> source = context.read(from, type.isWide());
    if (!source)
      return source.takeError();
    Expected<Slot> target = context.write(to, type.isWide());
    if (!target)
      return target.takeError();
    context.decoder.emit(type.isWide() ? executeMoveWide : executeMove,
                         InstructionKind::Integer, {*target}, {*source});
    return true;
  }
  auto fromParts = AsmContext::elements(from), toParts = AsmContext::elements(to);
  Slots sources;
  for (const AsmOperand &part : fromParts) {
    Expected<Slot> slot = context.read(part);
    if (!slot)
      return slot.takeError();
    sources.push_back(*slot);
  }
  auto scalars = [&](size_t count) {
    Scalar part = type;
    part.kind = Scalar::Integer;
    part.bits = type.bits / count;
    return SmallVector<Scalar, 4>(count, part);
  };
  Expected<Slots> results = emitBitcast(
      context.decoder, sources, scalars(fromParts.size()), scalars(toParts.size()));
  if (!results)
    return results.takeError();
  for (auto [part, slot] : zip(toParts, *results)) {
    if (part.kind == AsmOperand::Sink)
      continue;
    bool wide = scalars(toParts.size())[0].isWide();
    Expected<Slot> target = context.write(part, wide);
    if (!target)
      return target.takeError();
    context.decoder.emit(wide ? executeMoveWide : executeMove, InstructionKind::Integer,
                         {*target}, {slot});
  }
  return true;
}

/// Emits `handler` for the operands: the first is written, the others are read.
static Expected<bool> emitPlain(AsmContext &context, const AsmStatement &statement,
                                Handler handler, InstructionKind kind, bool wide,
                                uint64_t immediate) {
  if (statement.operands.size() < 2)
    return context.decoder.unsupported("too few operands");
  Slots operands;
  for (const AsmOperand &operand : ArrayRef(statement.operands).drop_front()) {
    Expected<Slot> slot = context.read(operand, wide);
    if (!slot)
      return slot.takeError();
    operands.push_back(*slot);
  }
  Expected<Slot> result = context.write(statement.operands[0], wide);
  if (!result)
    return result.takeError();
  context.decoder.emit(handler, kind, {*result}, operands, immediate);
  return true;
}

/// setp.ne.b32 p, a, b.
static Expected<bool> decodeCompare(AsmContext &context, const AsmStatement &statement,
                                    Scalar type) {
  static const std::pair<StringRef, CmpInst::Predicate> unsignedOnes[] = {
      {"eq", CmpInst::ICMP_EQ},  {"ne", CmpInst::ICMP_NE},  {"lt", CmpInst::ICMP_ULT},
      {"le", CmpInst::ICMP_ULE}, {"gt", CmpInst::ICMP_UGT}, {"ge", CmpInst::ICMP_UGE}};
  for (auto [name, predicate] : unsignedOnes) {
    if (statement.parts[1] != name || type.kind != Scalar::Integer)
      continue;
    if (isSigned(statement) && ICmpInst::isUnsigned(predicate))
      predicate = ICmpInst::getSignedPredicate(predicate);
    IntegerHandlers handlers = integerComparison(predicate);
    return emitPlain(context, statement, type.isWide() ? handlers.wide : handlers.narrow,
                     InstructionKind::Integer, type.isWide(), type.bits);
  }
  return false;
}

static std::optional<unsigned> integerOpcode(const AsmStatement &statement) {
  using Ir = llvm::Instruction;
  StringRef name = statement.parts[0];
  bool isSign = isSigned(statement);
  if (name == "mul")
    return statement.parts[1] == "lo" ? std::optional<unsigned>(Ir::Mul) : std::nullopt;
  return StringSwitch<std::optional<unsigned>>(name)
      .Case("add", Ir::Add)
      .Case("sub", Ir::Sub)
      .Case("and", Ir::And)
      .Case("or", Ir::Or)
      .Case("xor", Ir::Xor)
      .Case("shl", Ir::Shl)
      .Case("shr", isSign ? Ir::AShr : Ir::LShr)
      .Default(std::nullopt);
}

/// selp.b32 d, a, b, p.
static Expected<bool> decodeSelect(AsmContext &context, const AsmStatement &statement,
                                   bool wide) {
  ArrayRef<AsmOperand> operands = statement.operands;
  if (operands.size() != 4)
    return context.decoder.unsupported("four operands are expected");
  Expected<Slot> predicate = context.read(operands[3]);
  Expected<Slot> a = context.read(operands[1], wide), b = context.read(operands[2], wide);
  for (Expected<Slot> *slot : {&predicate, &a, &b})
    if (!*slot)
      return slot->takeError();
  Expected<Slot> result = context.write(operands[0], wide);
  if (!result)
    return result.takeError();
  IntegerHandlers handlers = selectHandlers();
  context.decoder.emit(wide ? handlers.wide : handlers.narrow, InstructionKind::Integer,
                       {*result}, {*predicate, *a, *b});
  return true;
}

/// The intrinsic that a statement such as "ex2.approx.ftz.f32" is.
static const IntrinsicTable::Plain *findIntrinsic(const AsmStatement &statement) {
  SmallVector<StringRef, 6> parts;
  for (const std::string &part : statement.parts)
    parts.push_back(part);
  if (parts.back() == "f32")
    parts.back() = "f";
  bool isMinMax = parts[0] == "min" || parts[0] == "max";
  std::string name = "llvm.nvvm." + std::string(isMinMax ? "f" : "");
  bool isSimple = parts[0] == "add" || parts[0] == "mul" || parts[0] == "fma";
  if (isSimple && parts[1] != "rn")
    parts.insert(parts.begin() + 1, "rn");
  return IntrinsicTable::get().findPlain(name + join(parts, "."));
}

static Expected<bool> decodeConvert(AsmContext &context, const AsmStatement &statement) {
  uint64_t relu = statement.has("relu") ? 2 : 0;
  if (statement.has("rn") && statement.has("bf16x2"))
    return emitPlain(context, statement, executePackHalves, InstructionKind::Convert,
                     false, 1 | relu);
  if (statement.has("rn") && statement.has("f16x2"))
    return emitPlain(context, statement, executePackHalves, InstructionKind::Convert,
                     false, relu);
  if (statement.has("rna") && statement.has("tf32"))
    return emitPlain(context, statement, executeToTf32, InstructionKind::Convert, false,
                     0);
  if (statement.parts.size() == 4 && statement.parts[1] == "rn" &&
      statement.parts[3] == "f32" && !relu)
    for (auto [name, kind] : {std::pair("bf16", Scalar::BF16), {"f16", Scalar::F16}})
      if (statement.parts[2] == name)
        return emitPlain(context, statement, floatConversion(Scalar::F32, kind),
                         InstructionKind::Convert, false, 0);
  if (statement.parts.size() == 3 && statement.parts[1] == "f32")
    for (auto [name, kind] : {std::pair("bf16", Scalar::BF16), {"f16", Scalar::F16}})
      if (statement.parts[2] == name)
        return emitPlain(context, statement, floatConversion(kind, Scalar::F32),
                         InstructionKind::Convert, false, 0);
  return false;
}

/// ld and st of shared and global memory, up to four numbers.
static Expected<bool> decodeAccess(AsmContext &context, const AsmStatement &statement,
                                   Scalar type) {
  bool isStore = statement.parts[0] == "st";
  if (statement.operands.size() != 2 || type.bits < 8)
    return false;
  const AsmOperand &address = statement.operands[isStore ? 0 : 1];
  const AsmOperand &values = statement.operands[isStore ? 1 : 0];
  Access access;
  for (const std::string &part : ArrayRef<std::string>(statement.parts).drop_front()) {
    if (StringRef(part).starts_with("shared"))
      access.space = 3;
    else if (StringRef(part).starts_with("global"))
      access.space = 1;
    else if (part == "param" || part == "local" || part == "const")
      return false;
  }
  auto parts = AsmContext::elements(values);
  access.bytes = parts.size() * type.bits / 8;
  access.align = access.bytes;
  for (unsigned i = 0; i < parts.size(); ++i)
    access.parts.push_back({i * type.bits / 8, type.bits / 8, type.isWide()});
  Expected<Slot> at = context.readAddress(address);
  if (!at)
    return at.takeError();
  Slots operands = {*at}, results;
  for (const AsmOperand &part : parts) {
    Expected<Slot> slot =
        isStore ? context.read(part, type.isWide()) : context.write(part, type.isWide());
    if (!slot)
      return slot.takeError();
    (isStore ? operands : results).push_back(*slot);
  }
  emitAccess(context.decoder, isStore, results, operands, std::move(access));
  return true;
}

Expected<bool> sparse_attn::emulator::decodeAsmPlain(AsmContext &context,
                                                     const AsmStatement &statement) {
  StringRef name = statement.parts[0];
  if (name == "cvt")
    return decodeConvert(context, statement);
  std::optional<Scalar> type = typeOf(statement.parts.back());
  if (!type)
    return false;
  if (name == "mov")
    return decodeMove(context, statement, *type);
  if (name == "setp" && statement.parts.size() == 3)
    return decodeCompare(context, statement, *type);
  if (name == "selp")
    return decodeSelect(context, statement, type->isWide());
  if (name == "ld" || name == "st")
    return decodeAccess(context, statement, *type);
  if (type->kind == Scalar::Integer) {
    std::optional<unsigned> opcode = integerOpcode(statement);
    if (!opcode || (name != "mul" && statement.parts.size() != 2))
      return false;
    IntegerHandlers handlers = integerOf(*opcode);
    return emitPlain(context, statement, type->isWide() ? handlers.wide : handlers.narrow,
                     InstructionKind::Integer, type->isWide(), type->bits);
  }
  if (const IntrinsicTable::Plain *plain = findIntrinsic(statement))
    return emitPlain(context, statement, plain->handler, plain->kind, type->isWide(),
                     plain->immediate);
  return false;
}
