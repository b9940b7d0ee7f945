//===- Atomics.cpp - atomicrmw, cmpxchg, fence ----------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Memory.h"
#include "Operations.h"
#include "llvm/IR/Instructions.h"
#include <cstring>

using namespace llvm;
using namespace sparse_attn::emulator;

namespace {

/// What an atomic instruction does to one number.
struct AtomicAccess {
  /// An AtomicRMWInst::BinOp; none for cmpxchg.
  std::optional<AtomicRMWInst::BinOp> operation;
  Scalar scalar;
  unsigned space;
};

} // namespace

template <typename Format> static uint64_t addFloats(uint64_t old, uint64_t operand) {
  using Lane = typename Format::Lane;
  Lane a, b;
  std::memcpy(&a, &old, sizeof(Lane));
  std::memcpy(&b, &operand, sizeof(Lane));
  Lane sum = Format::put(Format::get(a) + Format::get(b));
  uint64_t result = 0;
  std::memcpy(&result, &sum, sizeof(Lane));
  return result;
}

static uint64_t apply(const AtomicAccess &access, uint64_t old, uint64_t operand) {
  unsigned width = access.scalar.bits;
  switch (*access.operation) {
  case AtomicRMWInst::Xchg:
    return operand;
  case AtomicRMWInst::Add:
    return old + operand;
  case AtomicRMWInst::Sub:
    return old - operand;
  case AtomicRMWInst::And:
    return old & operand;
  case AtomicRMWInst::Or:
    return old | operand;
  case AtomicRMWInst::Xor:
    return old ^ operand;
  case AtomicRMWInst::Max:
    return signExtend(old, width) > signExtend(operand, width) ? old : operand;
  case AtomicRMWInst::Min:
    return signExtend(old, width) < signExtend(operand, width) ? old : operand;
  case AtomicRMWInst::UMax:
    return std::max(old, operand);
  case AtomicRMWInst::UMin:
    return std::min(old, operand);
  case AtomicRMWInst::UIncWrap:
    return old >= operand ? 0 : old + 1;
  case AtomicRMWInst::UDecWrap:
    return old == 0 || old > operand ? operand : old - 1;
  case AtomicRMWInst::FAdd:
    switch (access.scalar.kind) {
    case Scalar::F16:
      return addFloats<F16Format>(old, operand);
    case Scalar::BF16:
      return addFloats<BF16Format>(old, operand);
    case Scalar::F32:
      return addFloats<F32Format>(old, operand);
    default:
      return addFloats<F64Format>(old, operand);
    }
  default:
    return old; // decodeAtomic refuses others.
  }
}

static void executeAtomic(Warp &warp, const WarpInstruction &instruction) {
  const auto &access = *static_cast<const AtomicAccess *>(instruction.data);
  const auto *addresses = warp.lanes<uint64_t>(instruction.operand(0));
  unsigned bytes = access.scalar.bytes();
  bool wide = access.scalar.isWide();
  auto operand = [&](unsigned i, unsigned lane) -> uint64_t {
    return wide ? warp.lanes<uint64_t>(instruction.operand(i))[lane]
                : warp.lanes<uint32_t>(instruction.operand(i))[lane];
  };
  bool anyShared = false;
  for (uint32_t rest = warp.mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    Space space = spaceOf(access.space, addresses[lane]);
    Accessor by{warp, instruction, int(lane), false, true};
    unsigned char *at;
    std::optional<uint64_t> offset;
    SharedMemory &shared = warp.block.shared;
    if (space == Space::Shared) {
      anyShared = true;
      offset = shared.locate(by, addresses[lane], bytes, bytes);
      if (!offset || !shared.read(by, *offset, bytes))
        return;
      at = shared.data() + *offset;
    } else {
      at = resolve(warp, instruction, lane, space, addresses[lane], bytes, bytes, true);
      if (!at)
        return;
    }
    uint64_t old = 0;
    std::memcpy(&old, at, bytes);
    uint64_t next;
    bool success = true;
    if (access.operation) {
      next = apply(access, old, operand(1, lane));
    } else {
      success = old == operand(1, lane);
      next = success ? operand(2, lane) : old;
      warp.lanes<uint32_t>(instruction.result(1))[lane] = success;
    }
    if (offset) {
      if (!shared.write(by, *offset, bytes, &next, 0))
        return;
    } else {
      std::memcpy(at, &next, bytes);
    }
    if (wide)
      warp.lanes<uint64_t>(instruction.result())[lane] = old;
    else
      warp.lanes<uint32_t>(instruction.result())[lane] = uint32_t(old);
  }
  warp.block.notify();
  if (anyShared)
    warp.tick();
}

/// Memory is sequentially consistent here.
static void executeFence(Warp &, const WarpInstruction &) {}

Expected<bool> sparse_attn::emulator::decodeAtomic(Decoder &decoder,
                                                   const llvm::Instruction &instruction) {
  if (isa<FenceInst>(instruction)) {
    decoder.emit(executeFence, InstructionKind::Fence, {}, {});
    return true;
  }
  AtomicAccess access;
  const auto *rmw = dyn_cast<AtomicRMWInst>(&instruction);
  const auto *exchange = dyn_cast<AtomicCmpXchgInst>(&instruction);
  if (!rmw && !exchange)
    return false;
  const Value *pointer = instruction.getOperand(0);
  access.space = pointer->getType()->getPointerAddressSpace();
  auto scalars = decoder.scalarsOf(instruction.getOperand(1)->getType());
  if (!scalars)
    return scalars.takeError();
  if (scalars->size() != 1)
    return decoder.unsupported("atomics of vectors are not known");
  access.scalar = (*scalars)[0];
  Slots operands = {decoder.slotOf(pointer), decoder.slotOf(instruction.getOperand(1))};
  if (rmw) {
    using Rmw = AtomicRMWInst;
    static constexpr Rmw::BinOp known[] = {
        Rmw::Xchg, Rmw::Add,  Rmw::Sub,  Rmw::And,  Rmw::Or,       Rmw::Xor,     Rmw::Max,
        Rmw::Min,  Rmw::UMax, Rmw::UMin, Rmw::FAdd, Rmw::UIncWrap, Rmw::UDecWrap};
    if (!is_contained(known, rmw->getOperation()))
      return decoder.unsupported("no such atomic operation");
    access.operation = rmw->getOperation();
  } else {
    operands.push_back(decoder.slotOf(exchange->getNewValOperand()));
  }
  decoder.emit(executeAtomic, InstructionKind::Atomic, decoder.slotsOf(&instruction),
               operands, 0, decoder.own(std::move(access)));
  return true;
}
