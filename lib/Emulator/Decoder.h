//===- Decoder.h - from LLVM IR to a Program --------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Calls of functions that the module defines are decoded in place, with fresh slots.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_DECODER_H
#define SPARSE_ATTN_LIB_EMULATOR_DECODER_H

#include "Program.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/IR/DataLayout.h"
#include "llvm/IR/Function.h"
#include "llvm/IR/GlobalVariable.h"
#include "llvm/IR/InstrTypes.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"
#include <deque>

namespace sparse_attn::emulator {

/// One scalar of a type.
struct Scalar {
  enum Kind : uint8_t { Integer, F16, BF16, F32, F64, Pointer } kind = Integer;
  /// Bits of the value; 64 for pointers.
  unsigned bits = 32;
  /// Where it lies in memory, from the beginning of the outermost type.
  uint64_t offset = 0;

  bool isWide() const { return bits > 32; }
  unsigned bytes() const { return (bits + 7) / 8; }
};

using Slots = llvm::SmallVector<Slot, 4>;

/// The order in which a function's blocks are decoded: a block comes after all that
/// dominate it, and after all from which it is reached but by back edges; the blocks of a
/// loop are neighbours.
std::vector<const llvm::BasicBlock *> orderBlocks(const llvm::Function &function);

class Decoder {
public:
  Decoder(const llvm::Module &module, Program &program, unsigned sm);

  llvm::Error decodeKernel(const llvm::Function &kernel);

  // What the files that decode groups of instructions use.

  /// Emits an instruction of `current`.
  WarpInstruction &emit(Handler handler, InstructionKind kind,
                        llvm::ArrayRef<Slot> results, llvm::ArrayRef<Slot> operands,
                        uint64_t immediate = 0, const void *data = nullptr);

  /// The slots of a value, one for each scalar; allocated where it has none yet.
  const Slots &slotsOf(const llvm::Value *value);
  Slot slotOf(const llvm::Value *value) { return slotsOf(value)[0]; }
  /// Lets `value` have the slots of something else.
  void alias(const llvm::Value *value, Slots slots);

  Slot constant(uint64_t value, bool wide);
  Slot newSlot(bool wide);
  Slots newSlots(llvm::ArrayRef<Scalar> scalars);
  /// The scalars of a type in order; an error where one is not supported.
  llvm::Expected<llvm::SmallVector<Scalar, 4>> scalarsOf(llvm::Type *type);
  bool isWide(const llvm::Value *value);

  /// The value of an integer operand that has to be a constant.
  llvm::Expected<uint64_t> constantOperand(const llvm::Value *value);

  /// Makes something that lives as long as the program.
  template <typename T> T *own(T value) {
    auto shared = std::make_shared<T>(std::move(value));
    program.owned.push_back(shared);
    return shared.get();
  }

  uint32_t newLabel();
  /// From here on, instructions are in the block of `label`.
  void startBlock(uint32_t label);
  /// Ends a block.
  Terminator *emitTerminator(Handler handler, llvm::ArrayRef<Slot> operands,
                             llvm::ArrayRef<uint32_t> labels);
  void emitBranch(uint32_t label);

  /// An error that names `current`.
  llvm::Error unsupported(const llvm::Twine &why);

  /// Statements of inline assembly: instructions emitted until the next call belong to
  /// this statement.
  void setStatement(std::string statement);

  const llvm::Module &module;
  const llvm::DataLayout &layout;
  Program &program;
  unsigned sm;
  const llvm::Instruction *current = nullptr;

private:
  struct Scope {
    const llvm::Function *function;
    llvm::DenseMap<const llvm::Value *, Slots> values;
    llvm::DenseMap<const llvm::BasicBlock *, uint32_t> labels;
    /// Of functions decoded in place: where to go on, and what receives the result.
    std::optional<uint32_t> continuation;
    Slots results;
    Scope *caller = nullptr;
  };
  struct PhiEdge {
    Scope *scope;
    Terminator *terminator;
    unsigned edge;
    const llvm::BasicBlock *from, *to;
  };

  llvm::Error decodeParameters(const llvm::Function &kernel);
  llvm::Error decodeAttributes(const llvm::Function &kernel);
  llvm::Error layOutGlobals(const llvm::Function &kernel);
  llvm::Error writeInitializer(const llvm::Constant *value, unsigned char *to);
  llvm::Error decodeBody(Scope &callee);
  llvm::Error decodeInstruction(const llvm::Instruction &instruction);
  llvm::Error decodeTerminator(const llvm::Instruction &instruction);
  llvm::Error decodeAggregate(const llvm::Instruction &instruction);
  llvm::Error decodeCall(const llvm::CallBase &call);
  llvm::Error decodeCallOf(const llvm::CallBase &call, const llvm::Function &callee);
  llvm::Error decodeAlloca(const llvm::Instruction &instruction);
  llvm::Error resolvePhis();
  void markWgmmaRegisters();
  llvm::Error addCopies(Edge &edge, llvm::ArrayRef<Copy> copies);
  llvm::Expected<llvm::SmallVector<uint64_t, 4>> evaluate(const llvm::Constant *value);

  std::deque<Scope> scopes;
  Scope *scope = nullptr;
  std::vector<PhiEdge> phiEdges;
  llvm::DenseMap<std::pair<uint64_t, unsigned>, Slot> constants;
  llvm::DenseMap<const llvm::GlobalVariable *, uint64_t> addresses;
  std::vector<uint32_t> labelBlock;
  uint32_t currentSource = 0;
  const llvm::Instruction *sourceOf = nullptr;
  std::string statement;
  llvm::Error delayed = llvm::Error::success();
};

/// Whether sm_80 lacks what the handler executes.
bool isFromSm90(Handler handler);

// One function for each group of instructions. Each emits what executes
// `decoder.current`.

/// Arithmetic, comparisons, conversions, select; false where the opcode is another.
llvm::Expected<bool> decodeScalar(Decoder &decoder, const llvm::Instruction &instruction);
/// getelementptr, load, store, atomics.
llvm::Expected<bool> decodeMemory(Decoder &decoder, const llvm::Instruction &instruction);
/// Calls of intrinsics and of declarations; an error where there is no such.
llvm::Error decodeIntrinsic(Decoder &decoder, const llvm::CallBase &call);
/// Calls of inline assembly.
llvm::Error decodeInlineAsm(Decoder &decoder, const llvm::CallBase &call);

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_DECODER_H
