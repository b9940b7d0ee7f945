//===- MatrixTesting.cpp - kernels with matrix products as text -----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixTesting.h"

using namespace sparse_attn::emulator;

uint16_t sparse_attn::emulator::encode(float value, const llvm::fltSemantics &format) {
  llvm::APFloat number(value);
  bool lossy;
  number.convert(format, llvm::APFloat::rmNearestTiesToEven, &lossy);
  return uint16_t(number.bitcastToAPInt().getZExtValue());
}

float sparse_attn::emulator::decode(uint16_t bits, const llvm::fltSemantics &format) {
  llvm::APFloat number(format, llvm::APInt(16, bits));
  bool lossy;
  number.convert(llvm::APFloat::IEEEsingle(), llvm::APFloat::rmNearestTiesToEven, &lossy);
  return number.convertToFloat();
}

std::string sparse_attn::emulator::structOf(unsigned n) {
  std::string text = "{ ";
  for (unsigned i = 0; i < n; ++i)
    text += i ? ", float" : "float";
  return text + " }";
}

std::string sparse_attn::emulator::wgmma(const std::string &result,
                                         const std::string &from, unsigned n,
                                         const std::string &shape, const std::string &a,
                                         const std::string &b, const std::string &scale,
                                         const std::string &tail) {
  unsigned count = n / 2;
  bool inRegisters = a.find(',') != std::string::npos;
  unsigned numA = inRegisters ? 4 : 1;
  std::string text, arguments, accumulators, constraints, sources;
  std::string type = structOf(count);
  for (unsigned i = 0; i < count; ++i) {
    std::string number = std::to_string(i), name = "%" + result + "." + number;
    text += name + " = extractvalue " + type + " %" + from + ", " + number + "\n";
    arguments += "float " + name + ", ";
    accumulators += (i ? ", $" : "$") + number;
    constraints += "=f,";
  }
  for (unsigned i = 0; i < count; ++i)
    constraints += std::to_string(i) + ",";
  for (unsigned i = 0; i < numA; ++i)
    sources += (i ? ", $" : "$") + std::to_string(2 * count + i);
  if (inRegisters)
    sources = "{" + sources + "}";
  std::string next = std::to_string(2 * count + numA);
  std::string last = std::to_string(2 * count + numA + 1);
  constraints += (inRegisters ? "r,r,r,r," : "l,") + std::string("l,r");
  text += "%" + result + " = call " + type +
          " asm sideeffect \"{\\0A.reg .pred p;\\0Asetp.ne.b32 p, $" + last +
          ", 0;\\0Awgmma.mma_async.sync.aligned." + shape + " {" + accumulators + "}, " +
          sources + ", $" + next + tail + ";\\0A}\", \"" + constraints + "\"(" +
          arguments + a + ", i64 " + b + ", i32 " + scale + ")\n";
  return text;
}

std::string sparse_attn::emulator::storeAccumulators(const std::string &from,
                                                     unsigned n) {
  std::string text = R"(
  %st.l = and i32 %t, 31
  %st.g = lshr i32 %st.l, 2
  %st.w = lshr i32 %t, 5
  %st.w16 = shl i32 %st.w, 4
  %st.row = add i32 %st.g, %st.w16
  %st.th = and i32 %st.l, 3
  %st.col = shl i32 %st.th, 1
  %st.ro = mul i32 %st.row, $n
  %st.o = add i32 %st.ro, %st.col
  %st.p = getelementptr float, ptr addrspace(1) %c, i32 %st.o
)";
  text = substitute(text, {{"n", std::to_string(n)}});
  for (unsigned i = 0; i < n / 2; ++i) {
    unsigned offset = i / 4 * 8 + i % 2 + (i % 4 / 2) * 8 * n;
    std::string number = std::to_string(i);
    text += "%st.v" + number + " = extractvalue " + structOf(n / 2) + " %" + from + ", " +
            number + "\n%st.p" + number +
            " = getelementptr float, ptr addrspace(1) %st.p, i32 " +
            std::to_string(offset) + "\nstore float %st.v" + number +
            ", ptr addrspace(1) %st.p" + number + "\n";
  }
  return text;
}
