//===- CompileGPU.cpp - block plans to PTX --------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emit.h"
#include "sparse_attn/Conversion/GPUShape.h"
#include "sparse_attn/Conversion/KernelValues.h"
#include "llvm/Bitcode/BitcodeWriter.h"
#include "llvm/Transforms/Utils/Cloning.h"

using namespace mlir;
using namespace sparse_attn;

// Without loop-invariant code motion: hundreds of addresses that differ by a constant
// would wait in registers.
static constexpr llvm::StringLiteral kPasses =
    "function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,"
    "infer-address-spaces,instcombine<no-verify-fixpoint>,gvn,adce,simplifycfg,early-"
    "cse)";

/// `kernels` are those of a GPU.
static FailureOr<GPUModule> compileKernels(ModuleOp kernels, const GPUTarget &target) {
  auto machine = createMachine(target);
  if (!machine)
    return kernels.emitError() << llvm::toString(machine.takeError());
  if (failed(lowerGPUToLLVM(kernels)))
    return failure();
  GPUModule result;
  result.context = std::make_unique<llvm::LLVMContext>();
  result.module = translateAndOptimise(kernels, *result.context, **machine, kPasses);
  if (!result.module)
    return failure();
  // The backend changes what it gets.
  std::unique_ptr<llvm::Module> copy = llvm::CloneModule(*result.module);
  auto ptx = emitCode(*copy, **machine, llvm::CodeGenFileType::AssemblyFile);
  if (!ptx)
    return kernels.emitError() << llvm::toString(ptx.takeError());
  result.ptx.assign(ptx->begin(), ptx->end());
  return result;
}

FailureOr<GPUModule> sparse_attn::compileGPU(ModuleOp plans, const GPUTarget &target) {
  OwningOpRef<ModuleOp> module = plans.clone();
  if (failed(lowerToGPU(*module, target)))
    return failure();
  return compileKernels(*module, target);
}

static GPUKernelDesc describeAttention(func::FuncOp kernel, block_plan::AttentionOp plan,
                                       unsigned index, const GPUTarget &target) {
  GPUShape shape(plan, target);
  GPUKernelDesc desc;
  desc.run = getGPUSymbol(kernel, index, "attend");
  desc.combine = getGPUSymbol(kernel, index, "combine");
  desc.threads = shape.threads;
  desc.sharedBytes = shape.sharedBytes;
  desc.tileRows = shape.rows;
  desc.tileKeys = shape.keys;
  desc.findsTiles = findsTilesOnGPU(plan);
  desc.hasMaps = shape.warpgroups;
  if (checksOperandsOnGPU(plan)) {
    desc.check = getGPUSymbol(kernel, index, "check");
    desc.listThreads = kListThreads;
  }
  if (listsTilesOnGPU(plan)) {
    desc.count = getGPUSymbol(kernel, index, "count");
    desc.list = getGPUSymbol(kernel, index, "list");
    desc.listSharedBytes = shape.rows * shape.keys / 8;
  }
  return desc;
}

static GPUKernelDesc describeMerge(func::FuncOp kernel, unsigned index) {
  GPUKernelDesc desc;
  desc.run = getGPUSymbol(kernel, index, "merge");
  desc.threads = kMergeThreads;
  desc.tileRows = kMergeRows;
  return desc;
}

static GPUKernelDesc describeMeans(func::FuncOp kernel, unsigned index) {
  GPUKernelDesc desc;
  desc.run = getGPUSymbol(kernel, index, "pool");
  desc.threads = kMeansThreads;
  return desc;
}

/// Adds the kernels of the library's last module to the steps that they belong to.
static void describeKernels(ModuleOp plans, const GPUTarget &target,
                            CompiledLibrary &library) {
  for (auto [desc, kernel] : llvm::zip_equal(library.kernels, getKernels(plans))) {
    auto plans = kernel.getBody().getOps<block_plan::AttentionOp>();
    auto plan = plans.begin();
    unsigned attentions = 0, merges = 0, pools = 0;
    auto add = [&](StepDesc &step, GPUKernelDesc own) {
      own.module = library.gpuModules.size() - 1;
      step.gpus.push_back(std::move(own));
    };
    for (StepDesc &step : desc.steps)
      if (step.kind == StepDesc::Attention)
        add(step, describeAttention(kernel, *plan++, attentions++, target));
      else if (step.kind == StepDesc::Merge)
        add(step, describeMerge(kernel, merges++));
      else if (step.kind == StepDesc::Pool)
        add(step, describeMeans(kernel, pools++));
  }
}

LogicalResult sparse_attn::compileGPUs(ModuleOp plans, const GPUOptions &options,
                                       CompiledLibrary &library) {
  for (const GPUTarget *target : options.targets) {
    FailureOr<GPUModule> compiled = compileGPU(plans, *target);
    if (failed(compiled))
      return failure();
    GPUModuleDesc desc;
    desc.target = target->name;
    desc.capability = target->capability;
    desc.exact = target->exact;
    desc.ptx = std::move(compiled->ptx);
    if (!options.ptxas.empty()) {
      auto cubin = assemble(desc.ptx, *target, options.ptxas);
      if (!cubin)
        return plans.emitError() << llvm::toString(cubin.takeError());
      desc.cubin = std::move(*cubin);
    }
    if (options.keepCode) {
      llvm::raw_string_ostream stream(desc.bitcode);
      llvm::WriteBitcodeToFile(*compiled->module, stream);
    }
    library.gpuModules.push_back(std::move(desc));
    describeKernels(plans, *target, library);
  }
  return success();
}

LogicalResult sparse_attn::emitStage(ModuleOp original, Stage stage,
                                     const GPUTarget &target, llvm::raw_ostream &os) {
  OwningOpRef<ModuleOp> module = original.clone();
  if (stage != Stage::Mlir && failed(lowerToPlan(*module)))
    return failure();
  if (stage == Stage::Kernel && failed(lowerToGPU(*module, target)))
    return failure();
  if (stage == Stage::Mlir || stage == Stage::Plan || stage == Stage::Kernel) {
    module->print(os);
    return success();
  }
  if (stage == Stage::Obj)
    return original.emitError()
           << "there are no object files of " << target.name << "; --emit=asm prints PTX";
  FailureOr<GPUModule> compiled = compileGPU(*module, target);
  if (failed(compiled))
    return failure();
  if (stage == Stage::Llvm)
    compiled->module->print(os, nullptr);
  else
    os << compiled->ptx;
  return success();
}
