//===- Lower.cpp - pass pipelines -----------------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/BlockPlan/BlockPlan.h"
#include "dialect/SparseAttn/PatternLabels.h"
#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Func/Extensions/InlinerExtension.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/Passes.h"
#include "sparse_attn/Conversion/Passes.h"
#include "sparse_attn/Pipelines/Pipelines.h"
#include "sparse_attn/Target/CPUArchitecture.h"
#include "sparse_attn/Transforms/Passes.h"

using namespace mlir;
using namespace sparse_attn;

void sparse_attn::registerDialects(DialectRegistry &registry) {
  registry.insert<SparseAttnDialect, block_plan::BlockPlanDialect, arith::ArithDialect,
                  func::FuncDialect, LLVM::LLVMDialect, NVVM::NVVMDialect,
                  math::MathDialect, memref::MemRefDialect, scf::SCFDialect,
                  tensor::TensorDialect, vector::VectorDialect>();
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerNVVMDialectTranslation(registry);
}

//===----------------------------------------------------------------------===//
// Pipelines
//===----------------------------------------------------------------------===//

TileProblem sparse_attn::getTileProblem(AttentionOp attention, const CPULevel &level) {
  Type element = attention.getKeyTensorType().getElementType();
  return {attention.getHeadDim(),
          attention.getValueDim(),
          level.lanes,
          level.tileRows,
          level.tileVectors,
          level.bf16Dot && element.isBF16() ? 2 : 1};
}

static PlanBlocksPassOptions getPlanOptions(const TileTarget &target) {
  // Without a level, tiles are those of x86-64's best.
  const CPULevel &level =
      target.level ? *target.level : findArchitecture("x86_64")->levels.back();
  PlanBlocksPassOptions options;
  options.lanes = level.lanes;
  options.registerRows = level.tileRows;
  options.registerVectors = level.tileVectors;
  options.bf16Dot = level.bf16Dot;
  options.l1 = target.caches.l1;
  options.l2 = target.caches.l2;
  options.l3 = target.caches.l3;
  return options;
}

void sparse_attn::buildMaskPipeline(OpPassManager &manager) {
  manager.addPass(createCanonicalizerPass()); // the identities of the mask algebra
  manager.addPass(createCSEPass());           // a mask written twice is one mask
  manager.addPass(createSplitBindingsPass());
  manager.addPass(createWidenStatesPass());
  manager.addPass(createSplitUnionsPass());
  // The masks of halves. Each pass may leave work for the other, and the next one counts
  // on masks that do not change any more.
  manager.addPass(
      createCompositeFixedPointPass("simplify-masks", [](OpPassManager &passes) {
        passes.addPass(createCanonicalizerPass());
        passes.addPass(createCSEPass());
      }));
}

/// Plans name the parts of their masks, which stay as they are although fewer ops use
/// them.
static std::unique_ptr<Pass> createPlanCanonicalizerPass() {
  return createCanonicalizerPass(GreedyRewriteConfig(), {std::string(kOnlyUseLabel)});
}

void sparse_attn::buildPlanPipeline(OpPassManager &manager, const TileTarget &target) {
  buildMaskPipeline(manager);
  manager.addPass(createPlanBlocksPass(getPlanOptions(target)));
  manager.addPass(createPlanCanonicalizerPass()); // p0 == p1 in predicates
  manager.addPass(createCSEPass());
  manager.addPass(createPlanCanonicalizerPass()); // what CSE has made equal
}

/// The pass reports a level that it does not know.
static void addKernelPasses(OpPassManager &manager, StringRef level) {
  ConvertPlanToKernelPassOptions options;
  options.level = level.str();
  manager.addPass(createConvertPlanToKernelPass(options));
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

void sparse_attn::buildKernelPipeline(OpPassManager &manager, const CPULevel &level) {
  addKernelPasses(manager, level.name);
}

void sparse_attn::buildClassifierPipeline(OpPassManager &manager) {
  manager.addPass(createConvertPlanToClassifierPass());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

namespace {
/// math.log, math.tanh, ... as polynomials: upstream has the patterns, and a test
/// pass only.
struct ExpandMath : PassWrapper<ExpandMath, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ExpandMath)
  StringRef getArgument() const override { return "sparse-attn-expand-math"; }
  StringRef getDescription() const override {
    return "approximate transcendental functions by polynomials";
  }
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    populateMathPolynomialApproximationPatterns(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace

/// `hasBf16`: the target converts bf16 by itself.
static void addLLVMPasses(OpPassManager &manager, bool hasBf16) {
  manager.addPass(std::make_unique<ExpandMath>());
  arith::ArithExpandOpsPassOptions expand; // floordivsi and the like
  expand.includeBf16 = !hasBf16;
  manager.addPass(arith::createArithExpandOpsPass(expand));
  manager.addPass(memref::createExpandStridedMetadataPass());
  manager.addPass(createConvertVectorToLLVMPass());
  manager.addPass(createSCFToControlFlowPass());
  manager.addPass(createFinalizeMemRefToLLVMConversionPass());
  manager.addPass(createConvertMathToLLVMPass());
  manager.addPass(createArithToLLVMConversionPass());
  manager.addPass(createConvertFuncToLLVMPass());
  manager.addPass(createConvertControlFlowToLLVMPass());
  manager.addPass(createReconcileUnrealizedCastsPass());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

void sparse_attn::buildLLVMPipeline(OpPassManager &manager) {
  addLLVMPasses(manager, /*hasBf16=*/false);
}

void sparse_attn::buildGPUPipeline(OpPassManager &manager, const GPUTarget &target) {
  ConvertPlanToGPUPassOptions options;
  options.target = target.name.str();
  manager.addPass(createConvertPlanToGPUPass(options));
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

void sparse_attn::buildGPUToLLVMPipeline(OpPassManager &manager) {
  addLLVMPasses(manager, /*hasBf16=*/true);
}

static LogicalResult run(ModuleOp module, function_ref<void(OpPassManager &)> build) {
  PassManager manager(module.getContext(), module.getOperationName());
  build(manager);
  return manager.run(module);
}

LogicalResult sparse_attn::lowerToMasks(ModuleOp module) {
  return run(module, buildMaskPipeline);
}
LogicalResult sparse_attn::lowerToPlan(ModuleOp module, const TileTarget &target) {
  return run(module, [&](OpPassManager &manager) { buildPlanPipeline(manager, target); });
}
LogicalResult sparse_attn::lowerToKernel(ModuleOp module, const CPULevel &level) {
  return run(module,
             [&](OpPassManager &manager) { buildKernelPipeline(manager, level); });
}
LogicalResult sparse_attn::lowerToClassifier(ModuleOp module) {
  return run(module, buildClassifierPipeline);
}
LogicalResult sparse_attn::lowerToLLVM(ModuleOp module) {
  return run(module, buildLLVMPipeline);
}

LogicalResult sparse_attn::lowerToGPU(ModuleOp module, const GPUTarget &target) {
  return run(module, [&](OpPassManager &manager) { buildGPUPipeline(manager, target); });
}
LogicalResult sparse_attn::lowerGPUToLLVM(ModuleOp module) {
  return run(module, buildGPUToLLVMPipeline);
}

//===----------------------------------------------------------------------===//
// Registration
//===----------------------------------------------------------------------===//

namespace {
struct KernelPipelineOptions : PassPipelineOptions<KernelPipelineOptions> {
  Option<std::string> level{*this, "level", llvm::cl::desc("Instruction level"),
                            llvm::cl::init("avx512")};
};
} // namespace

void sparse_attn::registerPasses() {
  registerTransformsPasses();
  registerSparseAttnTransformsPasses();
  registerSparseAttnConversionPasses();
  PassRegistration<ExpandMath>();
  PassPipelineRegistration<>("sparse-attn-to-plan", "Masks to block plans",
                             [](OpPassManager &manager) { buildPlanPipeline(manager); });
  PassPipelineRegistration<KernelPipelineOptions>(
      "sparse-attn-to-kernel", "Masks to the kernels of one instruction level",
      [](OpPassManager &manager, const KernelPipelineOptions &options) {
        buildPlanPipeline(manager, {findLevel(options.level), {}});
        addKernelPasses(manager, options.level);
      });
  PassPipelineRegistration<>("sparse-attn-to-llvm",
                             "Kernels (vector, scf, memref) to the llvm dialect",
                             buildLLVMPipeline);
}
