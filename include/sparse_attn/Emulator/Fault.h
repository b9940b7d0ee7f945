//===- Fault.h - what a kernel did wrong ------------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A fault ends the launch that met it. It says where: kernel, block, warp, lane, the
// LLVM instruction and its debug location; where two accesses meet, both.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_EMULATOR_FAULT_H
#define SPARSE_ATTN_EMULATOR_FAULT_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <array>
#include <optional>
#include <string>

namespace sparse_attn::emulator {

enum class FaultKind {
  /// Two accesses to the same bytes of shared memory, at least one of them a write,
  /// that no barrier orders.
  SharedRace,
  /// Lanes of one instruction that write different values to the same bytes.
  LaneConflict,
  /// A read of shared memory that nobody has written.
  UninitialisedShared,
  /// An access outside shared memory, local memory or every allocation.
  OutOfBounds,
  /// An address that is not a multiple of what the instruction asks for.
  Misaligned,
  /// A barrier with a wrong count, number or set of lanes.
  BarrierMisuse,
  /// An mbarrier that is not initialised, overflows, or whose phase was missed.
  MbarrierMisuse,
  /// An instruction for several lanes that some of them do not execute.
  MissingLanes,
  /// No warp can go on.
  Deadlock,
  /// An asynchronous operation reads what ordinary stores wrote without a proxy fence.
  MissingProxyFence,
  /// Memory or registers of an asynchronous operation touched before its wait.
  AsyncInFlight,
  /// Operands that an instruction does not take, such as a malformed descriptor.
  BadOperand,
  /// What LLVM or PTX leave undefined: division by zero, `unreachable`.
  Undefined,
  /// More instructions than the limit of the launch.
  InstructionLimit,
};

/// The name of a kind in messages, such as "data race on shared memory".
llvm::StringRef nameOf(FaultKind kind);

/// Where an instruction was executed. `lane` is -1 where all lanes took part.
struct FaultPlace {
  unsigned warp = 0;
  int lane = -1;
  std::string instruction;
  /// `file:line:column`, empty without debug information.
  std::string location;
};

/// Carried by the llvm::Error that Device::launch returns.
class Fault : public llvm::ErrorInfo<Fault> {
public:
  static char ID;

  FaultKind kind;
  std::string kernel;
  std::array<unsigned, 3> block = {0, 0, 0};
  FaultPlace place;
  std::string message;
  /// The other access, of faults that are between two.
  std::optional<FaultPlace> other;

  Fault(FaultKind kind, std::string message) : kind(kind), message(std::move(message)) {}

  void log(llvm::raw_ostream &stream) const override;
  std::error_code convertToErrorCode() const override;
};

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_EMULATOR_FAULT_H
