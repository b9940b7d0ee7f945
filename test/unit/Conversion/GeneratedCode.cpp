//===- GeneratedCode.cpp - generated functions in tests -------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GeneratedCode.h"
#include "lib/Pipelines/Emit.h"
#include "mlir/Parser/Parser.h"
#include "sparse_attn/Conversion/KernelShape.h"
#include "sparse_attn/Pipelines/Pipelines.h"
#include "sparse_attn/Target/CPUArchitecture.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/TargetSelect.h"
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;
using namespace sparse_attn;

std::vector<const CPULevel *> sparse_attn::getLevelsHere() {
  std::vector<const CPULevel *> levels;
  for (const CPULevel &level : findHostArchitecture()->levels) {
    bool runs = level.lanes <= 8 ? __builtin_cpu_supports("x86-64-v3")
                : level.bf16Dot  ? __builtin_cpu_supports("avx512bf16")
                                 : __builtin_cpu_supports("x86-64-v4");
    if (runs)
      levels.push_back(&level);
  }
  return levels;
}

GeneratedCode::GeneratedCode(const std::string &plans, const CPULevel &level)
    : level(level.name.str()) {
  DialectRegistry registry;
  registerDialects(registry);
  MLIRContext mlir(registry);
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(plans, &mlir);
  if (!module)
    llvm::report_fatal_error("the plans of a test do not parse");
  module->walk([&](block_plan::AttentionOp plan) {
    scratchBytes = KernelShape(plan, level).scratchBytes;
  });
  const CPUArchitecture &architecture = *findHostArchitecture();
  auto machine = createMachineOrReport(*module, architecture, level.cpu, level.features);
  llvm::LLVMContext context;
  if (failed(lowerToKernel(*module, level)) || failed(lowerToLLVM(*module)))
    llvm::report_fatal_error("the plans of a test cannot be lowered");
  auto code = translateAndOptimise(*module, context, *machine);
  auto bytes =
      llvm::cantFail(emitCode(*code, *machine, llvm::CodeGenFileType::ObjectFile));
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  jit = llvm::cantFail(llvm::orc::LLJITBuilder().create());
  llvm::cantFail(jit->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(
      llvm::StringRef(reinterpret_cast<const char *>(bytes.data()), bytes.size()))));
}

void *GeneratedCode::find(const std::string &symbol) {
  return llvm::cantFail(jit->lookup(symbol)).toPtr<void *>();
}

GuardedMemory::GuardedMemory(size_t bytes, size_t alignment) {
  constexpr size_t kGuard = 4 << 20;
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t room = llvm::alignTo(bytes, page);
  mapped = room + kGuard;
  mapping = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED ||
      (room && mprotect(mapping, room, PROT_READ | PROT_WRITE) != 0))
    llvm::report_fatal_error("no memory");
  data = static_cast<char *>(mapping) + (room - llvm::alignTo(bytes, alignment));
}
GuardedMemory::~GuardedMemory() { munmap(mapping, mapped); }
