//===- Pipelines.h - from kernels to a compiled library --------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The stages of compilation, as tools call them:
//
//   lowerToPlan     sparse_attn           -> block_plan              --emit=plan
//   lowerToKernel   block_plan            -> vector, scf, memref     --emit=kernel
//   lowerToLLVM     vector, scf, memref   -> llvm                    --emit=llvm
//   compileLibrary  all of it, for every level, to objects in memory
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_PIPELINES_PIPELINES_H
#define SPARSE_ATTN_PIPELINES_PIPELINES_H

#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/IR/BuiltinOps.h"
#include "sparse_attn/Analysis/TileCosts.h"
#include "sparse_attn/Package/Artifact.h"
#include "sparse_attn/Target/CPULevel.h"
#include "sparse_attn/Target/GPUTarget.h"
#include "llvm/Support/raw_ostream.h"

namespace mlir {
class DialectRegistry;
class OpPassManager;
} // namespace mlir

namespace sparse_attn {

/// Everything that a tool's context needs: dialects and translations.
void registerDialects(mlir::DialectRegistry &registry);

/// Registers all passes and the pipelines below under their command-line names
/// (sparse-attn-to-plan, sparse-attn-to-kernel, sparse-attn-to-llvm).
void registerPasses();

/// What tiles are chosen for.
struct TileTarget {
  const CPULevel *level = nullptr; ///< whose registers; null: the best of all
  CacheSizes caches;
};

/// Canonicalises masks and splits unions: one attention for each that is planned.
void buildMaskPipeline(mlir::OpPassManager &manager);
void buildPlanPipeline(mlir::OpPassManager &manager, const TileTarget &target = {});
void buildKernelPipeline(mlir::OpPassManager &manager, const CPULevel &level);
void buildClassifierPipeline(mlir::OpPassManager &manager);
void buildLLVMPipeline(mlir::OpPassManager &manager);
void buildGPUPipeline(mlir::OpPassManager &manager, const GPUTarget &target);
void buildGPUToLLVMPipeline(mlir::OpPassManager &manager);

/// The attentions that are planned, in order.
mlir::LogicalResult lowerToMasks(mlir::ModuleOp module);
/// Canonicalises masks and plans their blocks.
mlir::LogicalResult lowerToPlan(mlir::ModuleOp module, const TileTarget &target = {});
/// Plans to the kernels of one level.
mlir::LogicalResult lowerToKernel(mlir::ModuleOp module, const CPULevel &level);
/// Plans to classifiers.
mlir::LogicalResult lowerToClassifier(mlir::ModuleOp module);
/// Kernels or classifiers to the llvm dialect.
mlir::LogicalResult lowerToLLVM(mlir::ModuleOp module);
/// Plans to the kernels of a GPU, and those to the llvm and nvvm dialects.
mlir::LogicalResult lowerToGPU(mlir::ModuleOp module, const GPUTarget &target);
mlir::LogicalResult lowerGPUToLLVM(mlir::ModuleOp module);

/// The kernels of a GPU as the very LLVM IR that its backend gets, and as PTX.
struct GPUModule {
  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::Module> module;
  std::string ptx;
};
/// Compiles a copy of a module of plans.
mlir::FailureOr<GPUModule> compileGPU(mlir::ModuleOp plans, const GPUTarget &target);

/// What a tool can print.
enum class Stage { Mlir, Plan, Kernel, Llvm, Asm, Obj };

/// The same for a GPU, whose assembly is PTX.
mlir::LogicalResult emitStage(mlir::ModuleOp module, Stage stage, const GPUTarget &target,
                              llvm::raw_ostream &os);

/// Compiles a copy of `module` up to `stage` for one level and prints it.
mlir::LogicalResult emitStage(mlir::ModuleOp module, Stage stage, const CPULevel &level,
                              const CacheSizes &caches, llvm::raw_ostream &os);

struct GPUOptions {
  llvm::SmallVector<const GPUTarget *> targets; ///< to compile for too, ascending
  bool keepCode = false; ///< keep the kernels' LLVM IR in the library, for the emulator
  std::string ptxas;     ///< the program that makes machine code; empty: PTX alone
};

struct CompileOptions {
  /// The library's name, a C identifier.
  std::string name;
  /// Levels of one architecture to compile for, ascending; at least one. A kernel is
  /// compiled once for levels that would give the same code.
  llvm::SmallVector<const CPULevel *> levels;
  /// Of the machine that tiles are chosen for, with the registers of the best level.
  CacheSizes caches;
  GPUOptions gpu = {};
};

/// What the tile of an attention depends on where it runs at `level`.
TileProblem getTileProblem(AttentionOp attention, const CPULevel &level);

/// Compiles every kernel of a copy of `module`. Reports errors as diagnostics.
mlir::FailureOr<CompiledLibrary> compileLibrary(mlir::ModuleOp module,
                                                const CompileOptions &options);

} // namespace sparse_attn

#endif // SPARSE_ATTN_PIPELINES_PIPELINES_H
