//===- VectorIntrinsics.cpp - reductions of vectors, classes of numbers, traps -===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Intrinsics.h"
#include "Operations.h"
#include "llvm/IR/InstrTypes.h"
#include "llvm/IR/Instructions.h"

using namespace llvm;
using namespace sparse_attn::emulator;

/// Folds the elements from the first to the last with the handler of another intrinsic or
/// opcode, after a start value where there is one.
static Error fold(Decoder &decoder, const CallBase &call, Handler handler,
                  uint64_t width) {
  Slots elements;
  for (const Value *operand : call.args())
    elements.append(decoder.slotsOf(operand));
  bool wide = decoder.isWide(&call);
  Slot sum = elements[0];
  for (Slot element : ArrayRef(elements).drop_front()) {
    Slot next = decoder.newSlot(wide);
    decoder.emit(handler, InstructionKind::Float, {next}, {sum, element}, width);
    sum = next;
  }
  decoder.alias(&call, {sum});
  return Error::success();
}

static void addFloatReduction(IntrinsicTable &table, const char *name,
                              FloatHandlers handlers) {
  table.add(Twine("llvm.vector.reduce.") + name,
            [=](Decoder &decoder, const CallBase &call) -> Error {
              auto scalars = decoder.scalarsOf(call.getType());
              if (!scalars)
                return scalars.takeError();
              return fold(decoder, call, handlers.of((*scalars)[0].kind), 0);
            });
}

static void addIntegerReduction(IntrinsicTable &table, const char *name,
                                IntegerHandlers handlers) {
  table.add(Twine("llvm.vector.reduce.") + name,
            [=](Decoder &decoder, const CallBase &call) -> Error {
              auto scalars = decoder.scalarsOf(call.getType());
              if (!scalars)
                return scalars.takeError();
              return fold(decoder, call,
                          (*scalars)[0].isWide() ? handlers.wide : handlers.narrow,
                          (*scalars)[0].bits);
            });
}

/// The immediate holds the classes of llvm.is.fpclass.
template <typename Format>
static void executeIsClass(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<uint32_t>(instruction.result());
  const auto *a = warp.lanes<typename Format::Lane>(instruction.operand(0));
  uint64_t asked = instruction.immediate;
  warp.forLanes([&](unsigned lane) {
    auto value = Format::get(a[lane]);
    bool negative = std::signbit(value);
    uint64_t of = 0;
    switch (std::fpclassify(value)) {
    case FP_NAN: // Signalling or quiet: machines make quiet ones.
      of = 3;
      break;
    case FP_INFINITE:
      of = negative ? 1 << 2 : 1 << 9;
      break;
    case FP_NORMAL:
      of = negative ? 1 << 3 : 1 << 8;
      break;
    case FP_SUBNORMAL:
      of = negative ? 1 << 4 : 1 << 7;
      break;
    default:
      of = negative ? 1 << 5 : 1 << 6;
    }
    result[lane] = (asked & of) != 0;
  });
}

static void executeTrap(Warp &warp, const WarpInstruction &instruction) {
  warp.fault(instruction, FaultKind::Undefined, "reaches a trap", warp.firstLane());
}

void sparse_attn::emulator::addVectorIntrinsics(IntrinsicTable &table) {
  using Ir = llvm::Instruction;
  for (auto [name, opcode] : {std::pair("add", unsigned(Ir::Add)),
                              {"mul", unsigned(Ir::Mul)},
                              {"and", unsigned(Ir::And)},
                              {"or", unsigned(Ir::Or)},
                              {"xor", unsigned(Ir::Xor)}})
    addIntegerReduction(table, name, integerOf(opcode));
  for (const char *name : {"smin", "smax", "umin", "umax"})
    addIntegerReduction(table, name, integerFunction(name));
  addFloatReduction(table, "fadd", floatFunction("fadd"));
  addFloatReduction(table, "fmul", floatFunction("fmul"));
  for (const char *name : {"fmin", "fmax", "fminimum", "fmaximum"})
    addFloatReduction(table, name, floatFunction(name));
  table.add("llvm.is.fpclass", [](Decoder &decoder, const CallBase &call) -> Error {
    Expected<uint64_t> asked = decoder.constantOperand(call.getArgOperand(1));
    if (!asked)
      return asked.takeError();
    auto scalars = decoder.scalarsOf(call.getArgOperand(0)->getType());
    if (!scalars)
      return scalars.takeError();
    FloatHandlers handlers = {executeIsClass<F16Format>, executeIsClass<BF16Format>,
                              executeIsClass<F32Format>, executeIsClass<F64Format>};
    Slots operands = decoder.slotsOf(call.getArgOperand(0));
    Slots results = decoder.slotsOf(&call);
    for (unsigned i = 0; i < results.size(); ++i)
      decoder.emit(handlers.of((*scalars)[0].kind), InstructionKind::Float, {results[i]},
                   {operands[i]}, *asked);
    return Error::success();
  });
  for (const char *name : {"llvm.expect", "llvm.expect.with.probability",
                           "llvm.launder.invariant.group", "llvm.ssa.copy"})
    table.add(name, [](Decoder &decoder, const CallBase &call) -> Error {
      decoder.alias(&call, decoder.slotsOf(call.getArgOperand(0)));
      return Error::success();
    });
  for (const char *name : {"llvm.trap", "llvm.debugtrap", "llvm.ubsantrap"})
    table.add(name, executeTrap, InstructionKind::Special);
}
