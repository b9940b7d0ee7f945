//===- Compile.cpp - every kernel and level to objects --------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Describe.h"
#include "Emit.h"
#include "dialect/BlockPlan/BlockPlan.h"
#include "sparse_attn/Conversion/KernelValues.h"

using namespace mlir;
using namespace sparse_attn;

/// Lowers `module` (kernels or classifiers) to an object for `cpu`.
static FailureOr<ObjectFile> compileObject(ModuleOp module, const Twine &name,
                                           const CPUArchitecture &architecture,
                                           StringRef cpu, StringRef features) {
  auto machine = createMachineOrReport(module, architecture, cpu, features);
  llvm::LLVMContext context;
  if (!machine || failed(lowerToLLVM(module)))
    return failure();
  auto llvmModule = translateAndOptimise(module, context, *machine);
  if (!llvmModule)
    return failure();
  auto bytes = emitCode(*llvmModule, *machine, llvm::CodeGenFileType::ObjectFile);
  if (!bytes)
    return module.emitError() << llvm::toString(bytes.takeError());
  ObjectFile object;
  object.name = name.str();
  object.bytes = std::move(*bytes);
  return object;
}

/// Whether `level` has faster instructions than `lower` for kernels on `element`.
static bool differs(const CPULevel &level, const CPULevel &lower, Type element) {
  return level.lanes != lower.lanes ||
         (element.isBF16() && level.bf16Dot != lower.bf16Dot);
}

/// Those of `levels`, ascending, that a library holds for `kernel`: one that would
/// only repeat the code of the level before it is left out.
static SmallVector<const CPULevel *> getHeldLevels(func::FuncOp kernel,
                                                   ArrayRef<const CPULevel *> levels) {
  SmallVector<const CPULevel *> held;
  auto plans = kernel.getBody().getOps<block_plan::AttentionOp>();
  for (const CPULevel *level : levels)
    if (held.empty() || llvm::any_of(plans, [&](block_plan::AttentionOp plan) {
          return differs(*level, *held.back(), plan.getKeyTensorType().getElementType());
        }))
      held.push_back(level);
  return held;
}

static LogicalResult compileObjects(ModuleOp plans, ArrayRef<const CPULevel *> levels,
                                    CompiledLibrary &library) {
  OwningOpRef<ModuleOp> classifiers = plans.clone();
  if (failed(lowerToClassifier(*classifiers)))
    return failure();
  // Plans are made on any processor of the architecture.
  const CPUArchitecture &architecture = *library.architecture;
  FailureOr<ObjectFile> object = compileObject(
      *classifiers, library.name + ".plan.o", architecture, architecture.baselineCpu, "");
  if (failed(object))
    return failure();
  library.objects.push_back(std::move(*object));
  for (const CPULevel *level : levels) {
    OwningOpRef<ModuleOp> kernels = plans.clone();
    for (func::FuncOp kernel : getKernels(*kernels))
      if (!llvm::is_contained(getHeldLevels(kernel, levels), level))
        kernel.erase();
    if (getKernels(*kernels).empty())
      continue;
    if (failed(lowerToKernel(*kernels, *level)))
      return failure();
    object = compileObject(*kernels, library.name + "." + level->name + ".o",
                           architecture, level->cpu, level->features);
    if (failed(object))
      return failure();
    library.objects.push_back(std::move(*object));
  }
  return success();
}

FailureOr<CompiledLibrary> sparse_attn::compileLibrary(ModuleOp original,
                                                       const CompileOptions &options) {
  OwningOpRef<ModuleOp> module = original.clone();
  (*module)->setAttr(kLibraryAttr, StringAttr::get(module->getContext(), options.name));
  assert(!options.levels.empty() && "a library holds at least one level");
  ArrayRef<const CPULevel *> levels = options.levels;
  CompiledLibrary library;
  library.name = options.name;
  library.architecture = &getArchitecture(*levels.front());
  for (func::FuncOp kernel : getKernels(*module)) {
    FailureOr<CompiledKernel> desc = describeInterface(kernel);
    if (failed(desc))
      return failure();
    library.kernels.push_back(std::move(*desc));
  }
  if (library.kernels.empty())
    return original.emitError(
        "has no kernel; a kernel is a public func.func with a body");
  if (failed(lowerToPlan(*module, {levels.back(), options.caches})))
    return failure();
  for (auto [kernel, planned] : llvm::zip_equal(library.kernels, getKernels(*module)))
    describeSteps(planned, getHeldLevels(planned, levels), kernel);
  if (failed(compileObjects(*module, levels, library)) ||
      failed(compileGPUs(*module, options.gpu, library)))
    return failure();
  return library;
}
