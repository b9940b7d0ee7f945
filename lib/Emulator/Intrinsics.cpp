//===- Intrinsics.cpp - a table from names to what decodes them -----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Intrinsics.h"
#include "Barriers.h"
#include "BulkCopy.h"
#include "Matrix.h"
#include "Mbarriers.h"
#include "Wgmma.h"
#include "llvm/IR/Intrinsics.h"

using namespace llvm;
using namespace sparse_attn::emulator;

bool sparse_attn::emulator::isFromSm90(Handler handler) {
  static const Handler handlers[] = {
      executeTensorLoad,     executeTensorStore,     executeBulkLoad,
      executeBulkStore,      executeBulkCommit,      executeBulkWait,
      executeMbarrierExpect, executeStoreMatrix,     executeSetMaxRegisters,
      executeClusterArrive,  executeClusterWait,     executeWgmma,
      executeWgmmaFence,     executeWgmmaCommit,     executeWgmmaWait,
      executeProxyFence,     executeMbarrierComplete};
  return is_contained(handlers, handler);
}

IntrinsicTable::IntrinsicTable() {
  for (const char *name : {"llvm.assume",
                           "llvm.lifetime.start",
                           "llvm.lifetime.end",
                           "llvm.dbg.value",
                           "llvm.dbg.declare",
                           "llvm.dbg.label",
                           "llvm.dbg.assign",
                           "llvm.invariant.start",
                           "llvm.invariant.end",
                           "llvm.experimental.noalias.scope.decl",
                           "llvm.donothing",
                           "llvm.sideeffect",
                           "llvm.pseudoprobe",
                           "llvm.prefetch",
                           "llvm.fake.use",
                           "llvm.nvvm.prefetch.L1",
                           "llvm.nvvm.prefetch.L2",
                           "llvm.nvvm.prefetch.global.L1",
                           "llvm.nvvm.prefetch.global.L2",
                           "llvm.nvvm.prefetch.tensormap",
                           "llvm.nvvm.prefetch.global.L2.evict.last",
                           "llvm.nvvm.prefetch.global.L2.evict.normal",
                           "llvm.nvvm.prefetchu.L1",
                           "llvm.nvvm.cp.async.bulk.prefetch.L2",
                           "llvm.nvvm.nanosleep",
                           "llvm.nvvm.pmevent.mask"})
    ignore(name);
  addMemoryIntrinsics(*this);
  addVectorIntrinsics(*this);
  addMathIntrinsics(*this);
  addIntegerIntrinsics(*this);
  addConversionIntrinsics(*this);
  addSpecialRegisters(*this);
  addBarrierIntrinsics(*this);
  addMbarrierIntrinsics(*this);
  addCollectiveIntrinsics(*this);
  addMatrixIntrinsics(*this);
  addLoadMatrixIntrinsics(*this);
  addAsyncCopyIntrinsics(*this);
  addBulkCopyIntrinsics(*this);
  addWgmmaIntrinsics(*this);
}

const IntrinsicTable &IntrinsicTable::get() {
  static const IntrinsicTable table;
  return table;
}

void sparse_attn::emulator::emitCall(Decoder &decoder, const CallBase &call,
                                     Handler handler, InstructionKind kind,
                                     uint64_t immediate, unsigned numOperands,
                                     const void *data) {
  Slots operands;
  for (unsigned i = 0; i < std::min(numOperands, call.arg_size()); ++i)
    operands.append(decoder.slotsOf(call.getArgOperand(i)));
  Slots results;
  if (!call.getType()->isVoidTy())
    results = decoder.slotsOf(&call);
  decoder.emit(handler, kind, results, operands, immediate, data);
}

void IntrinsicTable::add(const Twine &name, Handler handler, InstructionKind kind,
                         uint64_t immediate) {
  plain[name.str()] = {handler, kind, immediate};
  add(name, [=](Decoder &decoder, const CallBase &call) {
    emitCall(decoder, call, handler, kind, immediate);
    return Error::success();
  });
}

void IntrinsicTable::ignore(const Twine &name) {
  add(name, [](Decoder &, const CallBase &) { return Error::success(); });
}

const IntrinsicTable::Plain *IntrinsicTable::findPlain(StringRef name) const {
  auto it = plain.find(name);
  return it == plain.end() ? nullptr : &it->second;
}

const DecodeCall *IntrinsicTable::find(StringRef name) const {
  auto it = entries.find(name);
  return it == entries.end() ? nullptr : &it->second;
}

Error sparse_attn::emulator::decodeIntrinsic(Decoder &decoder, const CallBase &call) {
  const Function *callee = call.getCalledFunction();
  if (!callee->isIntrinsic())
    return decoder.unsupported("'" + callee->getName() + "' is not defined");
  const DecodeCall *decode =
      IntrinsicTable::get().find(Intrinsic::getBaseName(callee->getIntrinsicID()));
  if (!decode)
    return decoder.unsupported("no such intrinsic");
  return (*decode)(decoder, call);
}
