//===- Fault.cpp - what a kernel did wrong --------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Emulator/Fault.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace sparse_attn::emulator;

char Fault::ID = 0;

StringRef sparse_attn::emulator::nameOf(FaultKind kind) {
  switch (kind) {
  case FaultKind::SharedRace:
    return "data race on shared memory";
  case FaultKind::LaneConflict:
    return "lanes write different values to the same bytes";
  case FaultKind::UninitialisedShared:
    return "read of uninitialised shared memory";
  case FaultKind::OutOfBounds:
    return "access out of bounds";
  case FaultKind::Misaligned:
    return "misaligned access";
  case FaultKind::BarrierMisuse:
    return "misused barrier";
  case FaultKind::MbarrierMisuse:
    return "misused mbarrier";
  case FaultKind::MissingLanes:
    return "missing lanes";
  case FaultKind::Deadlock:
    return "deadlock";
  case FaultKind::MissingProxyFence:
    return "missing proxy fence";
  case FaultKind::AsyncInFlight:
    return "asynchronous operation in flight";
  case FaultKind::BadOperand:
    return "bad operand";
  case FaultKind::Undefined:
    return "undefined behaviour";
  case FaultKind::InstructionLimit:
    return "instruction limit";
  }
  return "fault";
}

static void print(raw_ostream &stream, const FaultPlace &place) {
  stream << "warp " << place.warp;
  if (place.lane >= 0)
    stream << " lane " << place.lane;
  if (!place.instruction.empty())
    stream << " at '" << place.instruction << "'";
  if (!place.location.empty())
    stream << " (" << place.location << ")";
}

void Fault::log(raw_ostream &stream) const {
  stream << nameOf(kind) << " in kernel '" << kernel << "', block (" << block[0] << ", "
         << block[1] << ", " << block[2] << "), ";
  print(stream, place);
  stream << ": " << message;
  if (other) {
    stream << "; the other access: ";
    print(stream, *other);
  }
}

std::error_code Fault::convertToErrorCode() const { return inconvertibleErrorCode(); }
