//===- DecodeGlobals.cpp - memory of a kernel: parameters, variables, constants -===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/Operator.h"
#include "llvm/Support/raw_ostream.h"
#include <cstring>

using namespace llvm;
using namespace sparse_attn::emulator;

/// The shared-memory variables and others that code reachable from `function` uses.
static void collectGlobals(const Function &function, DenseSet<const Function *> &visited,
                           SetVector<const GlobalVariable *> &globals) {
  if (!visited.insert(&function).second)
    return;
  SmallVector<const Value *, 32> work;
  DenseSet<const Value *> seen;
  for (const BasicBlock &block : function)
    for (const llvm::Instruction &instruction : block)
      for (const Value *operand : instruction.operands())
        work.push_back(operand);
  while (!work.empty()) {
    const Value *value = work.pop_back_val();
    if (!isa<Constant>(value) || !seen.insert(value).second)
      continue;
    if (const auto *callee = dyn_cast<Function>(value))
      collectGlobals(*callee, visited, globals);
    else if (const auto *global = dyn_cast<GlobalVariable>(value)) {
      globals.insert(global);
      if (global->hasInitializer())
        work.push_back(global->getInitializer());
    } else {
      for (const Value *operand : cast<Constant>(value)->operands())
        work.push_back(operand);
    }
  }
}

Error Decoder::layOutGlobals(const Function &kernel) {
  DenseSet<const Function *> visited;
  SetVector<const GlobalVariable *> globals;
  collectGlobals(kernel, visited, globals);
  uint64_t shared = 0;
  SmallVector<const GlobalVariable *, 4> dynamic;
  for (const GlobalVariable *global : globals) {
    uint64_t bytes = layout.getTypeAllocSize(global->getValueType());
    Align align = layout.getPreferredAlign(global);
    if (global->getAddressSpace() == 3) {
      if (global->isDeclaration() || bytes == 0) {
        dynamic.push_back(global);
        continue;
      }
      shared = alignTo(shared, align);
      addresses[global] = kSharedBase + shared;
      shared += bytes;
      continue;
    }
    if (global->isDeclaration())
      return createStringError("the emulator needs a definition of '@" +
                               global->getName() + "'");
    // Images are aligned as device memory is.
    auto words = std::make_unique<uint64_t[]>(bytes / 8 + 33);
    auto address = alignTo(reinterpret_cast<uint64_t>(words.get()), 128);
    addresses[global] = address;
    program.globals.push_back({std::move(words), bytes, global->isConstant()});
    program.globals.back().bytes = bytes;
  }
  // All extern arrays name the same memory, after what is declared. Hardware gives them
  // the beginning where nothing else is; the alignment is what they ask for.
  Align most(16);
  for (const GlobalVariable *global : dynamic)
    most = std::max(most, layout.getPreferredAlign(global));
  shared = dynamic.empty() ? shared : alignTo(shared, most);
  for (const GlobalVariable *global : dynamic)
    addresses[global] = kSharedBase + shared;
  program.staticSharedBytes = shared;
  for (const GlobalVariable *global : globals)
    if (global->getAddressSpace() != 3)
      if (Error error =
              writeInitializer(global->getInitializer(),
                               reinterpret_cast<unsigned char *>(addresses[global])))
        return error;
  return Error::success();
}

Error Decoder::writeInitializer(const Constant *value, unsigned char *to) {
  Expected<SmallVector<Scalar, 4>> scalars = scalarsOf(value->getType());
  if (!scalars)
    return scalars.takeError();
  Expected<SmallVector<uint64_t, 4>> values = evaluate(value);
  if (!values)
    return values.takeError();
  for (auto [scalar, bits] : zip(*scalars, *values))
    std::memcpy(to + scalar.offset, &bits, scalar.bytes());
  return Error::success();
}

Expected<SmallVector<uint64_t, 4>> Decoder::evaluate(const Constant *value) {
  using Values = SmallVector<uint64_t, 4>;
  auto no = [&]() -> Error {
    std::string text;
    raw_string_ostream(text) << *value;
    return createStringError("the emulator has no constant '" + text + "'");
  };
  Type *type = value->getType();
  if (isa<UndefValue>(value) || value->isNullValue()) {
    Expected<SmallVector<Scalar, 4>> scalars = scalarsOf(type);
    if (!scalars)
      return scalars.takeError();
    return Values(scalars->size(), 0);
  }
  // Splats of vector type may be ConstantInt and ConstantFP themselves.
  if (auto *vector = dyn_cast<FixedVectorType>(type))
    if (const Constant *splat = value->getSplatValue()) {
      Expected<Values> one = evaluate(splat);
      if (!one)
        return one.takeError();
      return Values(vector->getNumElements(), (*one)[0]);
    }
  if (const auto *integer = dyn_cast<ConstantInt>(value))
    return Values{integer->getZExtValue()};
  if (const auto *number = dyn_cast<ConstantFP>(value))
    return Values{number->getValueAPF().bitcastToAPInt().getZExtValue()};
  if (const auto *global = dyn_cast<GlobalVariable>(value)) {
    auto it = addresses.find(global);
    if (it == addresses.end())
      return no();
    return Values{it->second};
  }
  if (isa<ConstantAggregate, ConstantDataSequential>(value)) {
    Values result;
    for (unsigned i = 0; const Constant *element = value->getAggregateElement(i); ++i) {
      Expected<Values> part = evaluate(element);
      if (!part)
        return part.takeError();
      result.append(*part);
    }
    return result;
  }
  const auto *expression = dyn_cast<ConstantExpr>(value);
  if (!expression)
    return no();
  SmallVector<Values, 4> operands;
  if (expression->getOpcode() != llvm::Instruction::GetElementPtr)
    for (const Use &operand : expression->operands()) {
      Expected<Values> part = evaluate(cast<Constant>(operand.get()));
      if (!part)
        return part.takeError();
      operands.push_back(*part);
    }
  auto clip = [&](uint64_t bits) {
    unsigned width = type->isIntegerTy() ? type->getIntegerBitWidth() : 64;
    return Values{width < 64 ? bits & ((1ull << width) - 1) : bits};
  };
  switch (expression->getOpcode()) {
  case llvm::Instruction::GetElementPtr: {
    const auto *gep = cast<GEPOperator>(expression);
    Expected<Values> base = evaluate(cast<Constant>(gep->getPointerOperand()));
    if (!base)
      return base.takeError();
    APInt offset(layout.getIndexTypeSizeInBits(gep->getType()), 0);
    if (!gep->accumulateConstantOffset(layout, offset))
      return no();
    return Values{(*base)[0] + uint64_t(offset.getSExtValue())};
  }
  case llvm::Instruction::PtrToInt:
  case llvm::Instruction::PtrToAddr:
  case llvm::Instruction::IntToPtr:
  case llvm::Instruction::Trunc:
    return clip(operands[0][0]);
  case llvm::Instruction::Add:
    return clip(operands[0][0] + operands[1][0]);
  case llvm::Instruction::Sub:
    return clip(operands[0][0] - operands[1][0]);
  case llvm::Instruction::Xor:
    return clip(operands[0][0] ^ operands[1][0]);
  case llvm::Instruction::AddrSpaceCast: {
    unsigned from = expression->getOperand(0)->getType()->getPointerAddressSpace();
    unsigned to = type->getPointerAddressSpace();
    uint64_t address = operands[0][0];
    if (to == 0 && (from == 3 || from == 7))
      address |= kSharedWindow;
    if (from == 0 && to != 0)
      address &= ~kWindowMask;
    return Values{address};
  }
  default:
    return no();
  }
}

Error Decoder::decodeParameters(const Function &kernel) {
  for (const Argument &argument : kernel.args()) {
    Parameter &parameter = program.parameters.emplace_back();
    Type *type = argument.getType();
    if (argument.hasByValAttr()) {
      parameter.byValue = true;
      parameter.addressSpace = type->getPointerAddressSpace();
      parameter.align = argument.getParamAlign().valueOrOne().value();
      type = argument.getParamByValType();
    }
    parameter.bytes = layout.getTypeAllocSize(type);
    program.parameterSizes.push_back(parameter.bytes);
    Expected<SmallVector<Scalar, 4>> scalars = scalarsOf(argument.getType());
    if (!scalars)
      return scalars.takeError();
    const Slots &slots = slotsOf(&argument);
    for (unsigned i = 0; i < slots.size(); ++i)
      parameter.parts.push_back(
          {slots[i], unsigned((*scalars)[i].offset), (*scalars)[i].bytes()});
  }
  return Error::success();
}

/// The numbers of an attribute such as "128,1,1".
static void readNumbers(const Function &kernel, StringRef name,
                        MutableArrayRef<unsigned> numbers) {
  if (!kernel.hasFnAttribute(name))
    return;
  SmallVector<StringRef, 3> parts;
  kernel.getFnAttribute(name).getValueAsString().split(parts, ',');
  for (unsigned i = 0; i < parts.size() && i < numbers.size(); ++i)
    (void)parts[i].trim().getAsInteger(10, numbers[i]);
}

Error Decoder::decodeAttributes(const Function &kernel) {
  // An absent dimension is 1.
  if (kernel.hasFnAttribute("nvvm.reqntid")) {
    std::fill_n(program.requiredThreads, 3, 1u);
    readNumbers(kernel, "nvvm.reqntid", program.requiredThreads);
  }
  unsigned most[3] = {0, 1, 1};
  readNumbers(kernel, "nvvm.maxntid", most);
  program.maxThreads = most[0] * most[1] * most[2];
  unsigned cluster[3] = {1, 1, 1};
  readNumbers(kernel, "nvvm.cluster_dim", cluster);
  if (cluster[0] * cluster[1] * cluster[2] > 1)
    return createStringError("the emulator cannot execute '" + kernel.getName() +
                             "': clusters of several blocks are not known");
  return Error::success();
}
