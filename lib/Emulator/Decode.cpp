//===- Decode.cpp - values, slots and blocks of a kernel ------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ControlFlow.h"
#include "Decoder.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/Operator.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace sparse_attn::emulator;

Decoder::Decoder(const Module &module, Program &program, unsigned sm)
    : module(module), layout(module.getDataLayout()), program(program), sm(sm) {
  program.sources.emplace_back();
}

//===----------------------------------------------------------------------===//
// Slots
//===----------------------------------------------------------------------===//

static Error addScalars(const DataLayout &layout, Type *type, uint64_t offset,
                        SmallVectorImpl<Scalar> &result) {
  Scalar scalar;
  scalar.offset = offset;
  if (auto *structure = dyn_cast<StructType>(type)) {
    const StructLayout *where = layout.getStructLayout(structure);
    for (unsigned i = 0; i < structure->getNumElements(); ++i)
      if (Error error = addScalars(layout, structure->getElementType(i),
                                   offset + where->getElementOffset(i), result))
        return error;
    return Error::success();
  }
  if (auto *array = dyn_cast<ArrayType>(type)) {
    uint64_t step = layout.getTypeAllocSize(array->getElementType());
    for (uint64_t i = 0; i < array->getNumElements(); ++i)
      if (Error error =
              addScalars(layout, array->getElementType(), offset + i * step, result))
        return error;
    return Error::success();
  }
  if (auto *vector = dyn_cast<FixedVectorType>(type)) {
    uint64_t bits = layout.getTypeSizeInBits(vector->getElementType());
    // Elements of less than a byte have no offset of their own; loads refuse them.
    for (unsigned i = 0; i < vector->getNumElements(); ++i)
      if (Error error = addScalars(layout, vector->getElementType(),
                                   offset + i * (bits / 8), result))
        return error;
    return Error::success();
  }
  if (type->isPointerTy())
    scalar.kind = Scalar::Pointer, scalar.bits = 64;
  else if (type->isHalfTy())
    scalar.kind = Scalar::F16, scalar.bits = 16;
  else if (type->isBFloatTy())
    scalar.kind = Scalar::BF16, scalar.bits = 16;
  else if (type->isFloatTy())
    scalar.kind = Scalar::F32, scalar.bits = 32;
  else if (type->isDoubleTy())
    scalar.kind = Scalar::F64, scalar.bits = 64;
  else if (type->isIntegerTy() && type->getIntegerBitWidth() <= 64)
    scalar.kind = Scalar::Integer, scalar.bits = type->getIntegerBitWidth();
  else {
    std::string name;
    raw_string_ostream(name) << *type;
    return createStringError("the emulator has no type '" + name + "'");
  }
  result.push_back(scalar);
  return Error::success();
}

Expected<SmallVector<Scalar, 4>> Decoder::scalarsOf(Type *type) {
  SmallVector<Scalar, 4> result;
  if (type->isVoidTy())
    return result;
  if (Error error = addScalars(layout, type, 0, result))
    return std::move(error);
  return result;
}

bool Decoder::isWide(const Value *value) {
  Type *type = value->getType()->getScalarType();
  return type->isPointerTy() || type->isDoubleTy() ||
         (type->isIntegerTy() && type->getIntegerBitWidth() > 32);
}

Slot Decoder::newSlot(bool wide) {
  Slot slot = program.numSlots;
  program.numSlots += wide ? 2 : 1;
  return slot;
}

Slots Decoder::newSlots(ArrayRef<Scalar> scalars) {
  Slots result;
  for (const Scalar &scalar : scalars)
    result.push_back(newSlot(scalar.isWide()));
  return result;
}

Slot Decoder::constant(uint64_t value, bool wide) {
  auto [it, isNew] = constants.try_emplace({value, wide}, 0);
  if (isNew) {
    it->second = newSlot(wide);
    program.constants.push_back({it->second, wide, value});
  }
  return it->second;
}

const Slots &Decoder::slotsOf(const Value *value) {
  auto it = scope->values.find(value);
  if (it != scope->values.end())
    return it->second;
  Slots slots;
  Expected<SmallVector<Scalar, 4>> scalars = scalarsOf(value->getType());
  if (!scalars) {
    delayed = joinErrors(std::move(delayed), scalars.takeError());
    slots.push_back(constant(0, true));
  } else if (const auto *fixed = dyn_cast<Constant>(value)) {
    Expected<SmallVector<uint64_t, 4>> values = evaluate(fixed);
    if (!values) {
      delayed = joinErrors(std::move(delayed), values.takeError());
      values = SmallVector<uint64_t, 4>(scalars->size(), 0);
    }
    for (auto [scalar, bits] : zip(*scalars, *values))
      slots.push_back(constant(bits, scalar.isWide()));
  } else {
    slots = newSlots(*scalars);
  }
  return scope->values[value] = std::move(slots);
}

void Decoder::alias(const Value *value, Slots slots) {
  auto it = scope->values.find(value);
  // A phi has met the value before: it keeps its slots.
  assert(it == scope->values.end() && "phis are resolved last");
  (void)it;
  scope->values[value] = std::move(slots);
}

Expected<uint64_t> Decoder::constantOperand(const Value *value) {
  if (const auto *integer = dyn_cast<ConstantInt>(value))
    return integer->getZExtValue();
  return unsupported("an operand has to be a constant");
}

//===----------------------------------------------------------------------===//
// Instructions
//===----------------------------------------------------------------------===//

WarpInstruction &Decoder::emit(Handler handler, InstructionKind kind,
                               ArrayRef<Slot> results, ArrayRef<Slot> operands,
                               uint64_t immediate, const void *data) {
  if (sm < 90 && isFromSm90(handler))
    delayed = joinErrors(std::move(delayed), unsupported("it needs sm_90"));
  if (sourceOf != current) {
    sourceOf = current;
    currentSource = program.sources.size();
    program.sources.push_back({current, statement});
  }
  auto *slots = program.arena.Allocate<Slot>(results.size() + operands.size() + 1);
  llvm::copy(results, slots);
  llvm::copy(operands, slots + results.size());
  WarpInstruction &instruction = program.code.emplace_back();
  instruction.handler = handler;
  instruction.slots = slots;
  instruction.immediate = immediate;
  instruction.data = data;
  instruction.source = currentSource;
  instruction.numResults = results.size();
  instruction.numOperands = operands.size();
  instruction.kind = kind;
  return instruction;
}

void Decoder::setStatement(std::string text) {
  statement = std::move(text);
  sourceOf = nullptr;
}

Error Decoder::unsupported(const Twine &why) {
  std::string text;
  raw_string_ostream stream(text);
  if (!statement.empty())
    stream << statement;
  else if (current)
    current->print(stream);
  return createStringError("the emulator cannot execute '" + StringRef(text).trim() +
                           "': " + why);
}

uint32_t Decoder::newLabel() {
  labelBlock.push_back(~0u);
  return labelBlock.size() - 1;
}

void Decoder::startBlock(uint32_t label) {
  labelBlock[label] = program.blockStart.size();
  program.blockStart.push_back(program.code.size());
}

Terminator *Decoder::emitTerminator(Handler handler, ArrayRef<Slot> operands,
                                    ArrayRef<uint32_t> labels) {
  Terminator *terminator =
      program.terminators.emplace_back(std::make_unique<Terminator>()).get();
  for (uint32_t label : labels)
    terminator->edges.push_back({label, {}});
  emit(handler, InstructionKind::Branch, {}, operands, 0, terminator);
  return terminator;
}

void Decoder::emitBranch(uint32_t label) { emitTerminator(executeBranch, {}, {label}); }

Error Decoder::decodeKernel(const Function &kernel) {
  program.name = kernel.getName();
  scope = &scopes.emplace_back();
  scope->function = &kernel;
  if (Error error = layOutGlobals(kernel))
    return error;
  if (Error error = decodeAttributes(kernel))
    return error;
  if (Error error = decodeParameters(kernel))
    return error;
  if (Error error = decodeBody(*scope))
    return error;
  if (Error error = resolvePhis())
    return error;
  markWgmmaRegisters();
  for (std::unique_ptr<Terminator> &terminator : program.terminators)
    for (Edge &edge : terminator->edges)
      edge.target = labelBlock[edge.target];
  return std::move(delayed);
}

/// Finds the instructions whose order with wgmma.fence matters.
void Decoder::markWgmmaRegisters() {
  DenseSet<Slot> read;
  for (const WarpInstruction &instruction : program.code)
    if (instruction.kind == InstructionKind::Wgmma)
      for (unsigned i = 0; i < instruction.numOperands; ++i)
        read.insert(instruction.operand(i));
  program.hasWgmma = !read.empty();
  // And what reaches them through phis.
  for (size_t before = 0; before != read.size();) {
    before = read.size();
    for (const std::unique_ptr<Terminator> &terminator : program.terminators)
      for (const Edge &edge : terminator->edges)
        for (const Copy &copy : llvm::reverse(edge.copies))
          if (read.contains(copy.to))
            read.insert(copy.from);
  }
  for (WarpInstruction &instruction : program.code)
    if (instruction.kind != InstructionKind::Wgmma)
      for (unsigned i = 0; i < instruction.numResults; ++i)
        instruction.stamps |= read.contains(instruction.result(i));
}

Error Decoder::decodeBody(Scope &body) {
  Scope *outer = scope;
  scope = &body;
  std::vector<const BasicBlock *> order = orderBlocks(*body.function);
  for (const BasicBlock *block : order)
    body.labels[block] = newLabel();
  for (const BasicBlock *block : order) {
    startBlock(body.labels[block]);
    for (const llvm::Instruction &instruction : *block) {
      scope = &body;
      current = &instruction;
      if (Error error = decodeInstruction(instruction))
        return joinErrors(std::move(error), std::move(delayed));
    }
  }
  scope = outer;
  return Error::success();
}

Error Decoder::decodeInstruction(const llvm::Instruction &instruction) {
  if (isa<PHINode>(instruction)) {
    slotsOf(&instruction);
    return Error::success();
  }
  if (instruction.isTerminator() && !isa<CallBase>(instruction))
    return decodeTerminator(instruction);
  if (const auto *call = dyn_cast<CallBase>(&instruction))
    return decodeCall(*call);
  if (isa<ExtractValueInst, InsertValueInst, ExtractElementInst, InsertElementInst,
          ShuffleVectorInst, FreezeInst>(instruction))
    return decodeAggregate(instruction);
  if (isa<AllocaInst>(instruction))
    return decodeAlloca(instruction);
  for (auto decode : {decodeScalar, decodeMemory}) {
    Expected<bool> done = decode(*this, instruction);
    if (!done)
      return done.takeError();
    if (*done)
      return Error::success();
  }
  return unsupported("no such instruction");
}

Error Decoder::decodeTerminator(const llvm::Instruction &instruction) {
  auto label = [&](unsigned i) {
    return scope->labels.lookup(instruction.getSuccessor(i));
  };
  Terminator *terminator = nullptr;
  if (const auto *branch = dyn_cast<BranchInst>(&instruction)) {
    if (branch->isUnconditional())
      terminator = emitTerminator(executeBranch, {}, {label(0)});
    else
      terminator = emitTerminator(executeCondBranch, {slotOf(branch->getCondition())},
                                  {label(0), label(1)});
  } else if (const auto *choice = dyn_cast<SwitchInst>(&instruction)) {
    SmallVector<uint32_t, 8> labels;
    for (unsigned i = 0; i < choice->getNumSuccessors(); ++i)
      labels.push_back(label(i));
    terminator = emitTerminator(executeSwitch, {slotOf(choice->getCondition())}, labels);
    for (auto &option : choice->cases())
      terminator->cases.push_back(option.getCaseValue()->getZExtValue());
    terminator->wideCondition = isWide(choice->getCondition());
  } else if (const auto *ret = dyn_cast<ReturnInst>(&instruction)) {
    if (!scope->continuation) {
      emit(executeExit, InstructionKind::Branch, {}, {});
      return Error::success();
    }
    terminator = emitTerminator(executeBranch, {}, {*scope->continuation});
    if (const Value *value = ret->getReturnValue()) {
      SmallVector<Copy, 4> copies;
      Slots from = slotsOf(value);
      Expected<SmallVector<Scalar, 4>> scalars = scalarsOf(value->getType());
      if (!scalars)
        return scalars.takeError();
      for (unsigned i = 0; i < from.size(); ++i)
        copies.push_back({scope->results[i], from[i], (*scalars)[i].isWide()});
      return addCopies(terminator->edges[0], copies);
    }
    return Error::success();
  } else if (isa<UnreachableInst>(instruction)) {
    emit(executeUnreachable, InstructionKind::Branch, {}, {});
    return Error::success();
  } else {
    return unsupported("no such terminator");
  }
  for (unsigned i = 0; i < instruction.getNumSuccessors(); ++i)
    phiEdges.push_back(
        {scope, terminator, i, instruction.getParent(), instruction.getSuccessor(i)});
  return Error::success();
}

Error Decoder::resolvePhis() {
  for (const PhiEdge &edge : phiEdges) {
    scope = edge.scope;
    SmallVector<Copy, 8> copies;
    for (const PHINode &phi : edge.to->phis()) {
      Expected<SmallVector<Scalar, 4>> scalars = scalarsOf(phi.getType());
      if (!scalars)
        return scalars.takeError();
      Slots to = slotsOf(&phi);
      Slots from = slotsOf(phi.getIncomingValueForBlock(edge.from));
      for (unsigned i = 0; i < to.size(); ++i)
        if (to[i] != from[i])
          copies.push_back({to[i], from[i], (*scalars)[i].isWide()});
    }
    if (Error error = addCopies(edge.terminator->edges[edge.edge], copies))
      return error;
  }
  return Error::success();
}

/// Copies that happen at once: what one writes and a later one reads goes through a
/// temporary.
Error Decoder::addCopies(Edge &edge, ArrayRef<Copy> copies) {
  DenseSet<Slot> written;
  SmallVector<Copy, 8> before, after;
  DenseSet<Slot> allWritten;
  for (const Copy &copy : copies)
    allWritten.insert(copy.to);
  for (const Copy &copy : copies) {
    if (!allWritten.contains(copy.from)) {
      after.push_back(copy);
      continue;
    }
    Slot temporary = newSlot(copy.wide);
    before.push_back({temporary, copy.from, copy.wide});
    after.push_back({copy.to, temporary, copy.wide});
  }
  edge.copies.append(before.begin(), before.end());
  edge.copies.append(after.begin(), after.end());
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Renaming
//===----------------------------------------------------------------------===//

/// The first scalar of a member of an aggregate.
static unsigned firstScalar(Decoder &decoder, Type *type, ArrayRef<unsigned> indices) {
  unsigned first = 0;
  for (unsigned index : indices) {
    for (unsigned i = 0; i < index; ++i) {
      Type *member = ExtractValueInst::getIndexedType(type, i);
      first += cantFail(decoder.scalarsOf(member)).size();
    }
    type = ExtractValueInst::getIndexedType(type, index);
  }
  return first;
}

Error Decoder::decodeAggregate(const llvm::Instruction &instruction) {
  Expected<SmallVector<Scalar, 4>> scalars = scalarsOf(instruction.getType());
  if (!scalars)
    return scalars.takeError();
  Slots from = slotsOf(instruction.getOperand(0));
  if (const auto *extract = dyn_cast<ExtractValueInst>(&instruction)) {
    Type *type = extract->getAggregateOperand()->getType();
    unsigned first = firstScalar(*this, type, extract->getIndices());
    alias(&instruction,
          Slots(from.begin() + first, from.begin() + first + scalars->size()));
    return Error::success();
  }
  if (const auto *insert = dyn_cast<InsertValueInst>(&instruction)) {
    unsigned first = firstScalar(*this, insert->getType(), insert->getIndices());
    llvm::copy(slotsOf(insert->getInsertedValueOperand()), from.begin() + first);
    alias(&instruction, from);
    return Error::success();
  }
  if (isa<FreezeInst>(instruction)) {
    alias(&instruction, from);
    return Error::success();
  }
  if (const auto *shuffle = dyn_cast<ShuffleVectorInst>(&instruction)) {
    Slots all = from, result;
    all.append(slotsOf(shuffle->getOperand(1)));
    for (int index : shuffle->getShuffleMask())
      result.push_back(index < 0 ? constant(0, (*scalars)[0].isWide()) : all[index]);
    alias(&instruction, result);
    return Error::success();
  }
  bool isExtract = isa<ExtractElementInst>(instruction);
  const Value *position = instruction.getOperand(isExtract ? 1 : 2);
  bool wide = (*scalars)[0].isWide();
  if (const auto *fixed = dyn_cast<ConstantInt>(position)) {
    uint64_t index = fixed->getZExtValue();
    if (index >= from.size())
      return unsupported("the index is outside the vector");
    if (isExtract) {
      alias(&instruction, {from[index]});
    } else {
      from[index] = slotOf(instruction.getOperand(1));
      alias(&instruction, from);
    }
    return Error::success();
  }
  Slots operands = {slotOf(position)};
  if (!isExtract)
    operands.push_back(slotOf(instruction.getOperand(1)));
  operands.append(from);
  Handler handler = isExtract ? (wide ? executeExtractWide : executeExtract)
                              : (wide ? executeInsertWide : executeInsert);
  emit(handler, InstructionKind::Move, slotsOf(&instruction), operands, isWide(position));
  return Error::success();
}

Error Decoder::decodeAlloca(const llvm::Instruction &instruction) {
  const auto &variable = cast<AllocaInst>(instruction);
  if (!variable.isStaticAlloca() || scope->caller)
    return unsupported("only allocas of constant size in the entry block of a kernel");
  uint64_t bytes = *variable.getAllocationSize(layout);
  uint64_t offset = alignTo(program.localBytes, variable.getAlign());
  program.localBytes = offset + bytes;
  // Address 0 stays unused, as null.
  uint64_t window = variable.getAddressSpace() == 5 ? 0 : kLocalWindow;
  alias(&instruction, {constant(window + kSharedBase + offset, true)});
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

Error Decoder::decodeCall(const CallBase &call) {
  if (call.isInlineAsm())
    return decodeInlineAsm(*this, call);
  const Function *callee = call.getCalledFunction();
  if (!callee)
    return unsupported("calls through pointers are not known");
  if (callee->isDeclaration())
    return decodeIntrinsic(*this, call);
  return decodeCallOf(call, *callee);
}

Error Decoder::decodeCallOf(const CallBase &call, const Function &callee) {
  for (const Scope *outer = scope; outer; outer = outer->caller)
    if (outer->function == &callee)
      return unsupported("recursion is not known");
  Scope &body = scopes.emplace_back();
  body.function = &callee;
  body.caller = scope;
  if (callee.isVarArg())
    return unsupported("variable arguments are not known");
  for (const Argument &argument : callee.args()) {
    if (argument.hasByValAttr())
      return unsupported("device functions take no byval arguments");
    body.values[&argument] = slotsOf(call.getArgOperand(argument.getArgNo()));
  }
  body.continuation = newLabel();
  body.results = slotsOf(&call);
  emitBranch(*body.continuation);
  // The branch goes to the callee's entry, which decodeBody labels.
  Terminator *enter = program.terminators.back().get();
  uint32_t entry = labelBlock.size();
  enter->edges[0].target = entry;
  Scope *outer = scope;
  if (Error error = decodeBody(body))
    return error;
  scope = outer;
  current = &call;
  startBlock(*body.continuation);
  return Error::success();
}
