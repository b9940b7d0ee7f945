//===- AsmSync.cpp - barriers, mbarriers and fences in inline PTX ---------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Barriers.h"
#include "InlineAsm.h"
#include "Intrinsics.h"
#include "Mbarriers.h"
#include "Wgmma.h"

using namespace llvm;
using namespace sparse_attn::emulator;

using Operands = SmallVector<AsmOperand, 4>;

/// bar.sync, barrier.cta.arrive and so on.
static Expected<bool> decodeBarrier(AsmContext &context, const AsmStatement &statement) {
  if (statement.has("warp")) {
    if (Error error = context.emit(executeWarpSync, InstructionKind::Barrier, {},
                                   statement.operands))
      return std::move(error);
    return true;
  }
  if (statement.has("cluster")) {
    Handler handler = statement.has("arrive") ? executeClusterArrive : executeClusterWait;
    if (Error error = context.emit(handler, InstructionKind::Barrier, {}, {}))
      return std::move(error);
    return true;
  }
  bool isArrive = statement.has("arrive");
  if (!isArrive && !statement.has("sync"))
    return false;
  if (statement.operands.empty() || statement.operands.size() > 2)
    return context.decoder.unsupported("one or two operands are expected");
  uint64_t mode = (statement.operands.size() == 2 ? kBarrierCount : 0) |
                  (isArrive ? kBarrierArrive : 0);
  if (Error error = context.emit(executeBarrier, InstructionKind::Barrier, {},
                                 statement.operands, mode))
    return std::move(error);
  return true;
}

static Expected<bool> decodeMbarrier(AsmContext &context, const AsmStatement &statement) {
  StringRef what = statement.parts[1];
  ArrayRef<AsmOperand> operands = statement.operands;
  auto emit = [&](Handler handler, ArrayRef<AsmOperand> outputs,
                  ArrayRef<AsmOperand> inputs, uint64_t mode = 0) -> Expected<bool> {
    if (Error error =
            context.emit(handler, InstructionKind::Mbarrier, outputs, inputs, mode))
      return std::move(error);
    return true;
  };
  bool relaxed = statement.has("relaxed");
  if (what == "init" && operands.size() == 2)
    return emit(executeMbarrierInit, {}, operands);
  if (what == "inval" && operands.size() == 1)
    return emit(executeMbarrierInvalidate, {}, operands);
  if (what == "expect_tx" && operands.size() == 2)
    return emit(executeMbarrierExpect, {}, operands);
  if (what == "complete_tx" && operands.size() == 2)
    return emit(executeMbarrierComplete, {}, operands);
  if (what == "arrive" || what == "arrive_drop") {
    // The state comes first, unless the address does.
    bool hasState = operands[0].kind != AsmOperand::Address;
    ArrayRef<AsmOperand> outputs = operands.take_front(hasState);
    ArrayRef<AsmOperand> inputs = operands.drop_front(hasState);
    if (!outputs.empty() && outputs[0].kind == AsmOperand::Sink)
      outputs = {};
    uint64_t mode = (what == "arrive_drop" ? kArriveDrop : 0) |
                    (relaxed ? kArriveRelaxed : 0) |
                    (statement.has("noComplete") ? kArriveNoComplete : 0);
    if (statement.has("expect_tx"))
      mode |= kArriveExpect;
    else if (inputs.size() == 2)
      mode |= kArriveCount;
    return emit(executeMbarrierArrive, outputs, inputs, mode);
  }
  if ((what == "try_wait" || what == "test_wait") && operands.size() >= 3) {
    uint64_t mode = (what == "try_wait" ? kWaitBlocking : 0) |
                    (statement.has("parity") ? kWaitParity : 0) |
                    (relaxed ? kWaitRelaxed : 0);
    // A time limit does not matter.
    return emit(executeMbarrierWait, operands.take_front(1), operands.slice(1, 2), mode);
  }
  return false;
}

Expected<bool> sparse_attn::emulator::decodeAsmSync(AsmContext &context,
                                                    const AsmStatement &statement) {
  StringRef name = statement.parts[0];
  auto emit = [&](Handler handler, InstructionKind kind,
                  uint64_t immediate = 0) -> Expected<bool> {
    if (Error error = context.emit(handler, kind, {}, {}, immediate))
      return std::move(error);
    return true;
  };
  if (name == "bar" || name == "barrier")
    return decodeBarrier(context, statement);
  if (name == "mbarrier")
    return decodeMbarrier(context, statement);
  if (name == "fence") {
    bool isProxy = statement.has("mbarrier_init") ||
                   (statement.has("proxy") && statement.has("async")) ||
                   StringRef(statement.opcode).starts_with("fence.proxy.async");
    if (statement.has("proxy") && !isProxy)
      return false;
    return emit(isProxy ? executeProxyFence : executeNothing, InstructionKind::Fence);
  }
  if (name == "membar" || name == "griddepcontrol" || name == "nanosleep" ||
      name == "prefetch" || name == "prefetchu")
    return emit(executeNothing, InstructionKind::Fence);
  if (name == "setmaxnreg") {
    if (Error error = context.emit(executeSetMaxRegisters, InstructionKind::Special, {},
                                   statement.operands))
      return std::move(error);
    return true;
  }
  if (name == "elect" && statement.operands.size() == 2 &&
      statement.operands[0].parts.size() == 1) {
    const auto *elect = IntrinsicTable::get().findPlain("llvm.nvvm.elect.sync");
    AsmOperand leader = statement.operands[0], predicate = leader.parts[0];
    leader.parts.clear();
    if (Error error = context.emit(elect->handler, elect->kind, {leader, predicate},
                                   {statement.operands[1]}))
      return std::move(error);
    return true;
  }
  if (name == "wgmma" && statement.parts[1] == "fence")
    return emit(executeWgmmaFence, InstructionKind::Wgmma);
  if (name == "wgmma" && statement.parts[1] == "commit_group")
    return emit(executeWgmmaCommit, InstructionKind::Wgmma);
  if (name == "wgmma" && statement.parts[1] == "wait_group" &&
      statement.operands.size() == 1) {
    Expected<uint64_t> left = context.constant(statement.operands[0]);
    if (!left)
      return left.takeError();
    return emit(executeWgmmaWait, InstructionKind::Wgmma, *left);
  }
  return false;
}
