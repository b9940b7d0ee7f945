//===- InlineAsm.cpp - decoding the statements of inline PTX --------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "InlineAsm.h"
#include "ControlFlow.h"
#include "Conversions.h"
#include "Warp.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/InlineAsm.h"

using namespace llvm;
using namespace sparse_attn::emulator;

/// A register holds a scalar, or all bits of a small vector.
Error AsmContext::registerOf(Type *type, Operand &operand) {
  auto scalars = decoder.scalarsOf(type);
  if (!scalars)
    return scalars.takeError();
  operand.scalars = *scalars;
  operand.whole = (*scalars)[0];
  if (scalars->size() == 1)
    return Error::success();
  operand.whole.kind = Scalar::Integer;
  operand.whole.bits *= scalars->size();
  if (operand.whole.bits > 64)
    return decoder.unsupported("an operand of more than 64 bits");
  return Error::success();
}

Error AsmContext::setUp() {
  const auto *assembly = cast<InlineAsm>(call.getCalledOperand());
  SmallVector<Type *, 4> outputTypes;
  if (auto *structure = dyn_cast<StructType>(call.getType()))
    outputTypes.append(structure->element_begin(), structure->element_end());
  else if (!call.getType()->isVoidTy())
    outputTypes.push_back(call.getType());
  unsigned argument = 0;
  for (const InlineAsm::ConstraintInfo &constraint : assembly->ParseConstraints()) {
    switch (constraint.Type) {
    case InlineAsm::isOutput:
      if (constraint.isIndirect)
        return decoder.unsupported("outputs to memory are not known");
      outputs.emplace_back();
      if (Error error = registerOf(outputTypes[numOutputs++], outputs.back()))
        return error;
      arguments.push_back({std::nullopt, outputs.back().whole.isWide()});
      values.push_back(nullptr);
      tied.push_back(std::nullopt);
      break;
    case InlineAsm::isInput: {
      const Value *value = call.getArgOperand(argument++);
      Operand operand;
      if (Error error = registerOf(value->getType(), operand))
        return error;
      Expected<Slots> slots =
          emitBitcast(decoder, decoder.slotsOf(value), operand.scalars, {operand.whole});
      if (!slots)
        return slots.takeError();
      arguments.push_back({(*slots)[0], operand.whole.isWide()});
      values.push_back(value);
      // A number names the output that it shares a register with.
      unsigned match;
      bool isTied = !constraint.Codes.empty() &&
                    !StringRef(constraint.Codes[0]).getAsInteger(10, match);
      tied.push_back(isTied ? std::optional<unsigned>(match) : std::nullopt);
      break;
    }
    default:
      break; // Clobbers.
    }
  }
  // A tied output begins with the value of its input.
  for (unsigned i = 0; i < arguments.size(); ++i)
    if (tied[i])
      arguments[*tied[i]].slot = arguments[i].slot;
  return Error::success();
}

Error AsmContext::decode() {
  const auto *assembly = cast<InlineAsm>(call.getCalledOperand());
  Expected<std::vector<AsmStatement>> statements = parseAsm(assembly->getAsmString());
  if (!statements)
    return decoder.unsupported(toString(statements.takeError()));
  if (Error error = setUp())
    return error;
  for (const AsmStatement &statement : *statements)
    if (statement.kind == AsmStatement::Label)
      labels[statement.opcode] = decoder.newLabel();
  if (!labels.empty())
    for (unsigned i = 0; i < numOutputs; ++i) {
      Slot slot = decoder.newSlot(arguments[i].wide);
      if (arguments[i].slot)
        decoder.emit(arguments[i].wide ? executeMoveWide : executeMove,
                     InstructionKind::Move, {slot}, {*arguments[i].slot});
      arguments[i].slot = slot;
    }
  for (const AsmStatement &statement : *statements) {
    decoder.setStatement(statement.text);
    if (Error error = decodeStatement(statement)) {
      decoder.setStatement("");
      return error;
    }
  }
  decoder.setStatement("");
  Slots results;
  for (unsigned i = 0; i < numOutputs; ++i) {
    if (!arguments[i].slot) // Never written.
      arguments[i].slot = decoder.constant(0, arguments[i].wide);
    Expected<Slots> scalars = emitBitcast(decoder, {*arguments[i].slot},
                                          {outputs[i].whole}, outputs[i].scalars);
    if (!scalars)
      return scalars.takeError();
    results.append(*scalars);
  }
  if (numOutputs)
    decoder.alias(&call, results);
  return Error::success();
}

/// Before a statement behind a predicate, a register that it may write moves to a slot
/// that may be written: lanes without the predicate keep the value.
void AsmContext::keepValue(const AsmOperand &operand) {
  for (const AsmOperand &part : operand.parts)
    keepValue(part);
  bool isLocal = operand.kind == AsmOperand::Name && registers.contains(operand.name);
  bool isOutput = operand.kind == AsmOperand::Argument && operand.number < numOutputs;
  if (!labels.empty() || !(isLocal || isOutput))
    return;
  Register &target = isLocal ? registers[operand.name] : arguments[operand.number];
  Slot slot = decoder.newSlot(target.wide);
  if (target.slot)
    decoder.emit(target.wide ? executeMoveWide : executeMove, InstructionKind::Move,
                 {slot}, {*target.slot});
  target.slot = slot;
}

Error AsmContext::decodeStatement(const AsmStatement &statement) {
  if (statement.kind == AsmStatement::Register) {
    bool wide = StringRef(statement.opcode).ends_with("64");
    Register &added = registers[statement.text];
    added.wide = wide;
    if (!labels.empty())
      added.slot = decoder.newSlot(wide);
    return Error::success();
  }
  if (statement.kind == AsmStatement::Label) {
    uint32_t label = labels[statement.opcode];
    decoder.emitBranch(label);
    decoder.startBlock(label);
    return Error::success();
  }
  if (statement.parts[0] == "bra")
    return decodeBranch(statement);
  if (statement.guard.empty())
    return decodeAsmInstruction(*this, statement);
  Expected<Slot> guard = read(statement.guard[0]);
  if (!guard)
    return guard.takeError();
  for (const AsmOperand &operand : statement.operands)
    keepValue(operand);
  size_t before = decoder.program.code.size();
  decoder.emit(executePredicateOn, InstructionKind::Move, {}, {*guard},
               statement.guard[0].negated);
  guarded = true;
  Error error = decodeAsmInstruction(*this, statement);
  guarded = false;
  decoder.emit(executePredicateOff, InstructionKind::Move, {}, {});
  decoder.program.code[before].immediate |= (decoder.program.code.size() - before - 1)
                                            << 1;
  return error;
}

Error AsmContext::decodeBranch(const AsmStatement &statement) {
  auto target = statement.operands.size() == 1 ? labels.find(statement.operands[0].name)
                                               : labels.end();
  if (target == labels.end())
    return decoder.unsupported("the label is not in this assembly");
  uint32_t next = decoder.newLabel();
  if (statement.guard.empty()) {
    decoder.emitBranch(target->second);
  } else {
    Expected<Slot> guard = read(statement.guard[0]);
    if (!guard)
      return guard.takeError();
    SmallVector<uint32_t, 2> edges = {target->second, next};
    if (statement.guard[0].negated)
      std::swap(edges[0], edges[1]);
    decoder.emitTerminator(executeCondBranch, {*guard}, edges);
  }
  decoder.startBlock(next);
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

Expected<AsmContext::Register *> AsmContext::find(const AsmOperand &operand) {
  if (operand.kind == AsmOperand::Argument) {
    if (operand.number >= arguments.size())
      return decoder.unsupported("there is no operand $" + Twine(operand.number));
    return &arguments[operand.number];
  }
  auto it = registers.find(operand.name);
  if (operand.kind != AsmOperand::Name || it == registers.end())
    return decoder.unsupported("no register '" + operand.name + "'");
  return &it->second;
}

Expected<Slot> AsmContext::read(const AsmOperand &operand, bool wide) {
  if (operand.kind == AsmOperand::Immediate)
    return decoder.constant(wide ? operand.number : uint32_t(operand.number), wide);
  if (operand.kind == AsmOperand::Address)
    return readAddress(operand);
  Expected<Register *> found = find(operand);
  if (!found)
    return found.takeError();
  if (!(*found)->slot)
    return decoder.unsupported("'" + operand.name + "' is read before it is written");
  return *(*found)->slot;
}

static void addOffset(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<uint64_t>(instruction.result());
  const auto *base = warp.lanes<uint64_t>(instruction.operand(0));
  warp.forLanes(
      [&](unsigned lane) { result[lane] = base[lane] + instruction.immediate; });
}

/// Addresses in 32 bits are of shared memory.
static void widenAddress(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<uint64_t>(instruction.result());
  const auto *base = warp.lanes<uint32_t>(instruction.operand(0));
  warp.forLanes(
      [&](unsigned lane) { result[lane] = base[lane] + instruction.immediate; });
}

Expected<Slot> AsmContext::readAddress(const AsmOperand &operand) {
  if (operand.kind != AsmOperand::Address)
    return decoder.unsupported("an address in brackets is expected");
  Expected<Register *> base = find(operand.parts[0]);
  if (!base)
    return base.takeError();
  if (!(*base)->slot)
    return decoder.unsupported("the address is read before it is written");
  Slot slot = *(*base)->slot;
  if ((*base)->wide && operand.number == 0)
    return slot;
  Slot result = decoder.newSlot(true);
  decoder.emit((*base)->wide ? addOffset : widenAddress, InstructionKind::Move, {result},
               {slot}, operand.number);
  return result;
}

Expected<Slot> AsmContext::write(const AsmOperand &operand, bool wide) {
  if (operand.kind == AsmOperand::Sink)
    return decoder.newSlot(wide);
  Expected<Register *> found = find(operand);
  if (!found)
    return found.takeError();
  Register &target = **found;
  if (operand.kind == AsmOperand::Argument && operand.number >= numOutputs)
    return decoder.unsupported("writes to an input");
  if (!labels.empty())
    return *target.slot;
  if (!guarded)
    target.slot = decoder.newSlot(target.wide);
  return *target.slot;
}

Expected<uint64_t> AsmContext::constant(const AsmOperand &operand) {
  if (operand.kind == AsmOperand::Immediate)
    return operand.number;
  if (operand.kind == AsmOperand::Argument && operand.number < values.size() &&
      values[operand.number])
    if (const auto *integer = dyn_cast<ConstantInt>(values[operand.number]))
      return integer->getSExtValue();
  return decoder.unsupported("an operand has to be a constant");
}

Error AsmContext::emit(Handler handler, InstructionKind kind,
                       ArrayRef<AsmOperand> outputs, ArrayRef<AsmOperand> inputs,
                       uint64_t immediate, const void *data) {
  Slots results, operands;
  for (const AsmOperand &input : inputs) {
    Expected<Slot> slot = read(input);
    if (!slot)
      return slot.takeError();
    operands.push_back(*slot);
  }
  for (const AsmOperand &output : outputs) {
    Expected<Slot> slot = write(output);
    if (!slot)
      return slot.takeError();
    results.push_back(*slot);
  }
  decoder.emit(handler, kind, results, operands, immediate, data);
  return Error::success();
}

Error sparse_attn::emulator::decodeAsmInstruction(AsmContext &context,
                                                  const AsmStatement &statement) {
  for (auto decode : {decodeAsmPlain, decodeAsmSync, decodeAsmCopy, decodeAsmMatrix}) {
    Expected<bool> done = decode(context, statement);
    if (!done)
      return done.takeError();
    if (*done)
      return Error::success();
  }
  return context.decoder.unsupported("no such instruction");
}

Error sparse_attn::emulator::decodeInlineAsm(Decoder &decoder, const CallBase &call) {
  return AsmContext(decoder, call).decode();
}
