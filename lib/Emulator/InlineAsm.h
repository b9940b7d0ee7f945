//===- InlineAsm.h - decoding the statements of inline PTX ------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_INLINEASM_H
#define SPARSE_ATTN_LIB_EMULATOR_INLINEASM_H

#include "AsmParser.h"
#include "Decoder.h"
#include "llvm/ADT/StringMap.h"

namespace sparse_attn::emulator {

/// The registers of one call of inline assembly. A register that is written gets a new
/// slot, so that accumulators tied to results are not copied; where the assembly has
/// labels each register keeps one slot.
class AsmContext {
public:
  AsmContext(Decoder &decoder, const llvm::CallBase &call)
      : decoder(decoder), call(call) {}

  /// Decodes all statements and gives the call its results.
  llvm::Error decode();

  /// The slot that holds an operand's value; coordinates and addresses are operands.
  llvm::Expected<Slot> read(const AsmOperand &operand, bool wide = false);
  /// The slot of the base of an address; its offset is added.
  llvm::Expected<Slot> readAddress(const AsmOperand &operand);
  /// A slot for a new value of a register.
  llvm::Expected<Slot> write(const AsmOperand &operand, bool wide = false);
  /// The value of an operand that is a constant.
  llvm::Expected<uint64_t> constant(const AsmOperand &operand);
  /// All parts of a list, or the operand itself.
  static llvm::ArrayRef<AsmOperand> elements(const AsmOperand &operand) {
    return operand.kind == AsmOperand::List ? llvm::ArrayRef(operand.parts)
                                            : llvm::ArrayRef(operand);
  }
  /// Emits an instruction that reads `inputs` and writes `outputs`.
  llvm::Error emit(Handler handler, InstructionKind kind,
                   llvm::ArrayRef<AsmOperand> outputs, llvm::ArrayRef<AsmOperand> inputs,
                   uint64_t immediate = 0, const void *data = nullptr);

  Decoder &decoder;

private:
  struct Register {
    std::optional<Slot> slot;
    bool wide = false;
  };

  /// How an operand's type fills a register.
  struct Operand {
    llvm::SmallVector<Scalar, 4> scalars;
    Scalar whole;
  };

  llvm::Error setUp();
  llvm::Error registerOf(llvm::Type *type, Operand &operand);
  llvm::Error decodeStatement(const AsmStatement &statement);
  void keepValue(const AsmOperand &operand);
  llvm::Error decodeBranch(const AsmStatement &statement);
  llvm::Expected<Register *> find(const AsmOperand &operand);

  const llvm::CallBase &call;
  /// Operands of the call by number: outputs, then inputs.
  std::vector<Register> arguments;
  std::vector<const llvm::Value *> values;
  std::vector<std::optional<unsigned>> tied;
  std::vector<Operand> outputs;
  unsigned numOutputs = 0;
  llvm::StringMap<Register> registers;
  llvm::StringMap<uint32_t> labels;
  bool guarded = false;
};

/// Decodes a statement; an error where no rule knows it.
llvm::Error decodeAsmInstruction(AsmContext &context, const AsmStatement &statement);

// Parts of decodeAsmInstruction; false where the statement is of another group.
llvm::Expected<bool> decodeAsmPlain(AsmContext &context, const AsmStatement &statement);
llvm::Expected<bool> decodeAsmSync(AsmContext &context, const AsmStatement &statement);
llvm::Expected<bool> decodeAsmCopy(AsmContext &context, const AsmStatement &statement);
llvm::Expected<bool> decodeAsmMatrix(AsmContext &context, const AsmStatement &statement);

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_INLINEASM_H
