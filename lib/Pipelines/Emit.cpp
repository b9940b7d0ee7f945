//===- Emit.cpp - LLVM IR, assembly and objects ---------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emit.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Triple.h"
#include <mutex>

using namespace mlir;
using namespace sparse_attn;

std::unique_ptr<llvm::TargetMachine>
sparse_attn::createTargetMachine(ModuleOp module, StringRef cpu, StringRef features) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
  });
  llvm::Triple triple("x86_64-unknown-linux-gnu");
  std::string error;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target) {
    module.emitError() << "LLVM has no x86-64 backend: " << error;
    return nullptr;
  }
  llvm::TargetOptions options;
  return std::unique_ptr<llvm::TargetMachine>(
      target->createTargetMachine(triple, cpu, features, options, llvm::Reloc::PIC_,
                                  std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

std::unique_ptr<llvm::Module>
sparse_attn::translateAndOptimise(ModuleOp module, llvm::LLVMContext &context,
                                  llvm::TargetMachine &machine) {
  std::unique_ptr<llvm::Module> llvmModule = translateModuleToLLVMIR(module, context);
  if (!llvmModule)
    return nullptr;
  llvmModule->setTargetTriple(machine.getTargetTriple());
  llvmModule->setDataLayout(machine.createDataLayout());
  for (llvm::Function &function : *llvmModule) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", machine.getTargetCPU());
    function.addFnAttr("target-features", machine.getTargetFeatureString());
    // The widest registers of the level are meant.
    function.addFnAttr("prefer-vector-width", "512");
    function.addFnAttr(llvm::Attribute::NoUnwind);
  }
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graphs;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graphs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graphs, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2)
      .run(*llvmModule, modules);
  return llvmModule;
}

LogicalResult sparse_attn::emitMachineCode(llvm::Module &module,
                                           llvm::TargetMachine &machine, bool assembly,
                                           llvm::raw_pwrite_stream &os) {
  llvm::legacy::PassManager passes;
  auto type =
      assembly ? llvm::CodeGenFileType::AssemblyFile : llvm::CodeGenFileType::ObjectFile;
  if (machine.addPassesToEmitFile(passes, os, nullptr, type))
    return failure();
  passes.run(module);
  return success();
}

LogicalResult sparse_attn::emitStage(ModuleOp original, Stage stage,
                                     const CPULevel &level, llvm::raw_ostream &os) {
  OwningOpRef<ModuleOp> module = original.clone();
  if (stage == Stage::Mlir) {
    module->print(os);
    return success();
  }
  if (failed(lowerToPlan(*module)))
    return failure();
  if (stage == Stage::Plan) {
    module->print(os);
    return success();
  }
  if (failed(lowerToKernel(*module, level)))
    return failure();
  if (stage == Stage::Kernel) {
    module->print(os);
    return success();
  }
  auto machine = createTargetMachine(*module, level.cpu, level.features);
  llvm::LLVMContext context;
  if (!machine || failed(lowerToLLVM(*module)))
    return failure();
  auto llvmModule = translateAndOptimise(*module, context, *machine);
  if (!llvmModule)
    return failure();
  if (stage == Stage::Llvm) {
    llvmModule->print(os, nullptr);
    return success();
  }
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  if (failed(emitMachineCode(*llvmModule, *machine, stage == Stage::Asm, stream)))
    return original.emitError("LLVM cannot write this kind of file");
  os.write(bytes.data(), bytes.size());
  return success();
}
