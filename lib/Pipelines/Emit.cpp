//===- Emit.cpp - LLVM IR, assembly and objects ---------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emit.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/Passes/PassBuilder.h"

using namespace mlir;
using namespace sparse_attn;

std::unique_ptr<llvm::TargetMachine>
sparse_attn::createMachineOrReport(ModuleOp module, const CPUArchitecture &architecture,
                                   StringRef cpu, StringRef features) {
  auto machine = createMachine(architecture, cpu, features);
  if (machine)
    return std::move(*machine);
  module.emitError() << llvm::toString(machine.takeError());
  return nullptr;
}

std::unique_ptr<llvm::Module>
sparse_attn::translateAndOptimise(ModuleOp module, llvm::LLVMContext &context,
                                  llvm::TargetMachine &machine, StringRef passes) {
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
  llvm::ModulePassManager manager;
  if (llvm::Error error = builder.parsePassPipeline(manager, passes)) {
    module.emitError() << llvm::toString(std::move(error));
    return nullptr;
  }
  manager.run(*llvmModule, modules);
  return llvmModule;
}

LogicalResult sparse_attn::emitStage(ModuleOp original, Stage stage,
                                     const CPULevel &level, const CacheSizes &caches,
                                     llvm::raw_ostream &os) {
  OwningOpRef<ModuleOp> module = original.clone();
  if (stage == Stage::Mlir) {
    module->print(os);
    return success();
  }
  if (failed(lowerToPlan(*module, {&level, caches})))
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
  auto machine =
      createMachineOrReport(*module, getArchitecture(level), level.cpu, level.features);
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
  auto bytes = emitCode(*llvmModule, *machine,
                        stage == Stage::Asm ? llvm::CodeGenFileType::AssemblyFile
                                            : llvm::CodeGenFileType::ObjectFile);
  if (!bytes)
    return original.emitError() << llvm::toString(bytes.takeError());
  os.write(bytes->data(), bytes->size());
  return success();
}
