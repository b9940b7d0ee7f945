//===- AsmParser.h - the text of inline PTX ---------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_ASMPARSER_H
#define SPARSE_ATTN_LIB_EMULATOR_ASMPARSER_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace sparse_attn::emulator {

/// An operand of a PTX statement.
struct AsmOperand {
  enum Kind {
    /// `$3`: an operand of the call; `number` says which.
    Argument,
    /// A register, a predicate or a label, by name.
    Name,
    /// A number.
    Immediate,
    /// `[base + offset]`, or `[base, {coordinates}]`.
    Address,
    /// `{a, b}`.
    List,
    /// `_`.
    Sink,
  } kind = Sink;
  uint64_t number = 0;
  std::string name;
  /// `!p`.
  bool negated = false;
  /// Of an address the base and, in a list, the coordinates; of a list its elements; of
  /// `d|p` the second part.
  std::vector<AsmOperand> parts;
};

struct AsmStatement {
  enum Kind { Instruction, Label, Register } kind = Instruction;
  /// `wgmma.wait_group.sync.aligned`, the label, or the type of registers such as "pred".
  std::string opcode;
  /// What is between dots.
  llvm::SmallVector<std::string, 8> parts;
  std::vector<AsmOperand> operands;
  /// `@p`, `@!p`: operand and whether it is negated.
  std::vector<AsmOperand> guard;
  /// As written, for messages.
  std::string text;

  bool has(llvm::StringRef part) const {
    for (const std::string &one : parts)
      if (part == one)
        return true;
    return false;
  }
};

/// Parses an assembly string of LLVM's: `$0`, `${0}` are operands, `$$` is a dollar.
llvm::Expected<std::vector<AsmStatement>> parseAsm(llvm::StringRef text);

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_ASMPARSER_H
