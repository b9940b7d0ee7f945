//===- AsmMatrix.cpp - matrix instructions in inline PTX ------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "InlineAsm.h"
#include "Matrix.h"
#include "Wgmma.h"
#include "llvm/ADT/StringSwitch.h"

using namespace llvm;
using namespace sparse_attn::emulator;

using Operands = SmallVector<AsmOperand, 8>;

static std::optional<MatrixElement> elementOf(StringRef name) {
  return StringSwitch<std::optional<MatrixElement>>(name)
      .Case("f16", MatrixElement::F16)
      .Case("bf16", MatrixElement::BF16)
      .Case("tf32", MatrixElement::TF32)
      .Default(std::nullopt);
}

/// The numbers of "m64n128k16".
static bool readShape(StringRef name, unsigned &m, unsigned &n, unsigned &k) {
  return name.consume_front("m") && !name.consumeInteger(10, m) &&
         name.consume_front("n") && !name.consumeInteger(10, n) &&
         name.consume_front("k") && !name.consumeInteger(10, k) && name.empty();
}

/// wgmma.mma_async.sync.aligned.m64nNkK.D.A.B d, a, b, scale-d, imm-scale-a, imm-scale-b
/// and, for 16-bit elements, whether the matrices in shared memory are transposed.
static Error decodeWgmma(AsmContext &context, const AsmStatement &statement) {
  Decoder &decoder = context.decoder;
  ArrayRef<std::string> parts = statement.parts;
  ArrayRef<AsmOperand> operands = statement.operands;
  WgmmaShape shape;
  unsigned m = 0;
  if (parts.size() != 8 || !readShape(parts[4], m, shape.n, shape.k) ||
      operands.size() < 6)
    return decoder.unsupported("no such wgmma");
  std::optional<MatrixElement> element = elementOf(parts[6]);
  if (!element || parts[6] != parts[7] || (parts[5] != "f32" && parts[5] != "f16"))
    return decoder.unsupported("no such types of a wgmma");
  shape.element = *element;
  shape.halfAccumulator = parts[5] == "f16";
  if (m != 64 || shape.n % 8 || shape.n == 0 || shape.n > 256 ||
      shape.k * bitsOf(*element) != 256)
    return decoder.unsupported("no such shape of a wgmma");
  auto accumulators = AsmContext::elements(operands[0]);
  if (accumulators.size() != shape.numAccumulators())
    return decoder.unsupported(Twine(shape.numAccumulators()) +
                               " accumulators are expected");
  shape.registerA = operands[1].kind == AsmOperand::List;
  auto sources = AsmContext::elements(operands[1]);
  if (shape.registerA && sources.size() != 4)
    return decoder.unsupported("A has four registers");
  Operands inputs(accumulators.begin(), accumulators.end());
  llvm::append_range(inputs, sources);
  inputs.push_back(operands[2]);
  inputs.push_back(operands[3]);
  shape.negateScale = operands[3].negated;
  SmallVector<int32_t, 4> immediates;
  for (const AsmOperand &operand : operands.drop_front(4)) {
    Expected<uint64_t> value = context.constant(operand);
    if (!value)
      return value.takeError();
    immediates.push_back(int32_t(*value));
  }
  for (int32_t scale : ArrayRef(immediates).take_front(2))
    if (scale != 1 && scale != -1)
      return decoder.unsupported("scales of A and B are 1 or -1");
  shape.negateA = immediates[0] < 0;
  shape.negateB = immediates[1] < 0;
  unsigned numTransposes = bitsOf(*element) == 32 ? 0 : shape.registerA ? 1 : 2;
  // Older forms leave them out.
  if (immediates.size() != 2 && immediates.size() != 2 + numTransposes)
    return decoder.unsupported("a wrong number of immediate operands");
  if (immediates.size() == 4)
    shape.transposeA = immediates[2];
  if (immediates.size() > 2)
    shape.transposeB = immediates.back();
  // The accumulators are results, too.
  return context.emit(executeWgmma, InstructionKind::Wgmma, accumulators, inputs, 0,
                      decoder.own(shape));
}

/// mma.sync.aligned.m16n8kK.row.col.D.A.B.C d, a, b, c.
static Error decodeMma(AsmContext &context, const AsmStatement &statement) {
  Decoder &decoder = context.decoder;
  ArrayRef<std::string> parts = statement.parts;
  unsigned m = 0, n = 0;
  MmaShape shape;
  if (parts.size() != 10 || statement.operands.size() != 4 ||
      !readShape(parts[3], m, n, shape.k) || m != 16 || n != 8 || parts[4] != "row" ||
      parts[5] != "col")
    return decoder.unsupported("no such mma");
  std::optional<MatrixElement> element = elementOf(parts[7]);
  if (!element || parts[7] != parts[8] || parts[6] != parts[9] ||
      (parts[6] != "f32" && parts[6] != "f16"))
    return decoder.unsupported("no such types of an mma");
  shape.element = *element;
  unsigned bits = bitsOf(*element) * shape.k;
  if (bits != 256 && bits != 128)
    return decoder.unsupported("no such shape of an mma");
  shape.halfAccumulator = shape.packedAccumulator = parts[6] == "f16";
  Operands inputs;
  for (const AsmOperand &operand : ArrayRef(statement.operands).drop_front())
    llvm::append_range(inputs, AsmContext::elements(operand));
  unsigned accumulators = shape.packedAccumulator ? 2 : 4;
  if (inputs.size() != bits / 64 + bits / 128 + accumulators ||
      AsmContext::elements(statement.operands[0]).size() != accumulators)
    return decoder.unsupported("a wrong number of registers");
  return context.emit(executeMma, InstructionKind::Mma,
                      AsmContext::elements(statement.operands[0]), inputs, 0,
                      decoder.own(shape));
}

/// ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {d}, [address]; stmatrix the other way.
static Error decodeMove(AsmContext &context, const AsmStatement &statement) {
  bool isLoad = statement.parts[0] == "ldmatrix";
  unsigned count = statement.has("x4") ? 4 : statement.has("x2") ? 2 : 1;
  if (!statement.has("m8n8") || !statement.has("b16") || statement.operands.size() != 2)
    return context.decoder.unsupported("no such shape");
  uint64_t immediate = count | (statement.has("trans") ? kTransposed : 0);
  auto registers = AsmContext::elements(statement.operands[isLoad ? 0 : 1]);
  if (registers.size() != count)
    return context.decoder.unsupported("a wrong number of registers");
  if (isLoad)
    return context.emit(executeLoadMatrix, InstructionKind::LoadMatrix, registers,
                        {statement.operands[1]}, immediate);
  Operands inputs = {statement.operands[0]};
  llvm::append_range(inputs, registers);
  return context.emit(executeStoreMatrix, InstructionKind::StoreMatrix, {}, inputs,
                      immediate);
}

Expected<bool> sparse_attn::emulator::decodeAsmMatrix(AsmContext &context,
                                                      const AsmStatement &statement) {
  auto done = [](Error error) -> Expected<bool> {
    if (error)
      return std::move(error);
    return true;
  };
  StringRef name = statement.parts[0];
  if (name == "wgmma" && statement.has("mma_async"))
    return done(decodeWgmma(context, statement));
  if (name == "mma" && statement.has("sync"))
    return done(decodeMma(context, statement));
  if (name == "ldmatrix" || name == "stmatrix")
    return done(decodeMove(context, statement));
  return false;
}
