//===- Program.h - a kernel decoded for the warp interpreter ----*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every scalar of an SSA value, such as one element of a vector or one member of a
// structure, has a slot of the warp's frame: an array of 32 lanes. Scalars of up to 32
// bits take one slot of 128 bytes, wider ones two. Integers are kept zero-extended, f16
// and bf16 as their bits. Since SSA values never change, instructions that only rename
// scalars (extractvalue, shufflevector with constant masks) cost nothing: the result
// names the slots of the operand. Phis are parallel copies on edges, which keeps that
// sound in loops.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_PROGRAM_H
#define SPARSE_ATTN_LIB_EMULATOR_PROGRAM_H

#include "sparse_attn/Emulator/Statistics.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/IR/Instruction.h"
#include "llvm/Support/Allocator.h"
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace sparse_attn::emulator {

class Warp;
struct WarpInstruction;

/// Executes one instruction for the active lanes of a warp.
using Handler = void (*)(Warp &warp, const WarpInstruction &instruction);

/// The index of 128 bytes in the frame of a warp.
using Slot = uint32_t;
inline constexpr size_t kSlotBytes = 128;

struct WarpInstruction {
  Handler handler = nullptr;
  /// Results, then operands.
  const Slot *slots = nullptr;
  uint64_t immediate = 0;
  /// What the handler needs beyond; owned by the program.
  const void *data = nullptr;
  /// Index into Program::sources.
  uint32_t source = 0;
  uint16_t numResults = 0;
  uint16_t numOperands = 0;
  InstructionKind kind = InstructionKind::Move;
  /// Writes a register that a wgmma reads: remember when.
  bool stamps = false;

  Slot result(unsigned i = 0) const { return slots[i]; }
  Slot operand(unsigned i) const { return slots[numResults + i]; }
};

/// A phi's part of an edge: copy one scalar.
struct Copy {
  Slot to, from;
  bool wide;
};

struct Edge {
  /// The number of a block; while decoding, of a label.
  uint32_t target = 0;
  llvm::SmallVector<Copy, 2> copies;
};

struct Terminator {
  llvm::SmallVector<Edge, 2> edges;
  /// Of a switch: the values of edges 1, 2, ...; edge 0 is the default.
  llvm::SmallVector<uint64_t, 0> cases;
  bool wideCondition = false;
};

struct Source {
  const llvm::Instruction *instruction = nullptr;
  /// The statement of an inline assembly string; empty for others.
  std::string statement;
};

struct ConstantSlot {
  Slot slot;
  bool wide;
  uint64_t value;
};

struct Parameter {
  unsigned bytes = 0;
  unsigned align = 1;
  /// The argument is a pointer to a copy of the value.
  bool byValue = false;
  unsigned addressSpace = 0;
  struct Part {
    Slot slot;
    unsigned offset;
    unsigned bytes;
  };
  /// Of values passed directly: where their scalars lie and go.
  llvm::SmallVector<Part, 1> parts;
};

/// Memory of a global variable outside shared memory.
struct GlobalImage {
  std::unique_ptr<uint64_t[]> words;
  size_t bytes;
  bool isConstant;
};

struct Program {
  std::string name;
  std::vector<WarpInstruction> code;
  /// Where in `code` each block begins.
  std::vector<uint32_t> blockStart;
  std::vector<Source> sources;
  std::vector<ConstantSlot> constants;
  std::vector<Parameter> parameters;
  llvm::SmallVector<unsigned, 8> parameterSizes;
  std::vector<GlobalImage> globals;
  std::vector<std::unique_ptr<Terminator>> terminators;
  llvm::BumpPtrAllocator arena;
  /// Things that instructions point to, freed with the program.
  std::vector<std::shared_ptr<void>> owned;
  uint32_t numSlots = 0;
  bool hasWgmma = false;
  /// Shared memory: declared bytes, and where the dynamic part begins.
  unsigned staticSharedBytes = 0;
  /// Local memory of one lane.
  unsigned localBytes = 0;
  /// From the function's attributes; 0 where absent.
  unsigned requiredThreads[3] = {0, 0, 0};
  unsigned maxThreads = 0;
};

// How addresses of memory spaces look as generic 64-bit pointers. Global memory is host
// memory, whose addresses end below 2^47.
inline constexpr uint64_t kSharedWindow = 1ull << 56;
inline constexpr uint64_t kLocalWindow = 2ull << 56;
inline constexpr uint64_t kWindowMask = 0xffull << 56;
/// The address where shared memory begins. Not 0, so that a null pointer is none.
inline constexpr uint64_t kSharedBase = 1024;

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_PROGRAM_H
