//===- EmulatorTesting.cpp - kernels as text, launched on the emulator ----===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EmulatorTesting.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace sparse_attn::emulator;

static constexpr const char *kTarget =
    "target datalayout = "
    "\"e-p6:32:32-i64:64-i128:128-i256:256-v16:16-v32:32-n16:32:64\"\n"
    "target triple = \"nvptx64-nvidia-cuda\"\n";

static void replaceAll(std::string &text, const std::string &from,
                       const std::string &to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

std::string
sparse_attn::emulator::substitute(std::string text,
                                  ArrayRef<std::pair<std::string, std::string>> values) {
  for (const auto &[name, value] : values)
    replaceAll(text, "$" + name, value);
  return text;
}

std::string sparse_attn::emulator::repeat(unsigned count, const std::string &text) {
  std::string result;
  for (unsigned i = 0; i < count; ++i)
    result += substitute(text, {{"i", std::to_string(i)}, {"j", std::to_string(i + 1)}});
  return result;
}

void EmulatorTest::parse(const std::string &text) {
  SMDiagnostic diagnostic;
  module = parseAssemblyString(kTarget + text, diagnostic, context);
  std::string message;
  raw_string_ostream stream(message);
  if (!module) {
    diagnostic.print("kernel", stream);
    FAIL() << message;
  }
  ASSERT_FALSE(verifyModule(*module, &stream)) << message;
}

std::string EmulatorTest::loadError() {
  Expected<Kernel> kernel = device.load(*module, "k");
  if (kernel)
    return "";
  return toString(kernel.takeError());
}

void EmulatorTest::checkFault(Expected<Statistics> done, ArrayRef<FaultKind> kinds,
                              const std::string &message) {
  ASSERT_FALSE(static_cast<bool>(done))
      << "no fault; expected " << nameOf(kinds[0]).str();
  Error error = handleErrors(done.takeError(), [&](const Fault &fault) {
    raw_string_ostream stream(faultText);
    faultText.clear();
    fault.log(stream);
    EXPECT_TRUE(is_contained(kinds, fault.kind)) << faultText;
    EXPECT_NE(faultText.find(message), std::string::npos) << faultText;
  });
  if (error)
    ADD_FAILURE() << toString(std::move(error));
}
