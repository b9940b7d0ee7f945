//===- KernelValues.h - numbers and names of a kernel's values -*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Generated code finds a tensor by its value id. The numbering is the one of
// sparse_attn_kernel in the runtime's abi.h: inputs first, then the results of
// every step in order.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_CONVERSION_KERNELVALUES_H
#define SPARSE_ATTN_CONVERSION_KERNELVALUES_H

#include "dialect/BlockPlan/BlockPlan.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "sparse_attn/Target/CPULevel.h"
#include "llvm/ADT/DenseMap.h"

namespace sparse_attn {

/// On a module: the name of the library that its kernels go into.
inline constexpr llvm::StringLiteral kLibraryAttr = "sparse_attn.library";

class KernelValues {
public:
  explicit KernelValues(mlir::func::FuncOp kernel);

  /// The id of an argument or a step's result; -1 for null.
  int32_t id(mlir::Value value) const { return value ? ids.at(value) : -1; }
  int32_t count() const { return static_cast<int32_t>(ids.size()); }

private:
  llvm::DenseMap<mlir::Value, int32_t> ids;
};

/// "longctx_0_classify": the functions of attention `index` of a kernel.
std::string getClassifySymbol(mlir::func::FuncOp kernel, unsigned index);
/// Empty where the plan has no region about keys that are alike.
std::string getExtentSymbol(mlir::func::FuncOp kernel, unsigned index,
                            block_plan::AttentionOp plan);
/// The class of part `number` of a mask that a run decides.
std::string getStructureSymbol(mlir::func::FuncOp kernel, unsigned index,
                               unsigned number);
std::string getPackSymbol(mlir::func::FuncOp kernel, unsigned index,
                          const CPULevel &level);
std::string getAttendSymbol(mlir::func::FuncOp kernel, unsigned index,
                            const CPULevel &level);
std::string getCombineSymbol(mlir::func::FuncOp kernel, unsigned index,
                             const CPULevel &level);

/// Empty where there is none: the pairs of a compile-time mask are decided by the
/// kernel, and the runtime bisects for masks that canFill refuses.
std::string getFillSymbol(mlir::func::FuncOp kernel, unsigned index,
                          block_plan::AttentionOp plan, const CPULevel &level);

/// Of score number `score` of the attention.
std::string getScoreSymbol(mlir::func::FuncOp kernel, unsigned index, unsigned score,
                           const CPULevel &level);
/// Empty where no set of the plan's mask asks for the scores of listed keys.
std::string getKeyScoresSymbol(mlir::func::FuncOp kernel, unsigned index,
                               block_plan::AttentionOp plan, const CPULevel &level);
/// Empty where nothing is encoded by weights.
std::string getProjectSymbol(mlir::func::FuncOp kernel, unsigned index,
                             block_plan::AttentionOp plan, const CPULevel &level);

/// "longctx_0_attend": the GPU kernel of attention `index` that does `what`.
std::string getGPUSymbol(mlir::func::FuncOp kernel, unsigned index, llvm::StringRef what);

/// Whether the pairs of a plan's tiles can be decided a vector of keys at a time: the
/// mask is known at plan time, and its helpers are asked about the tile's own pairs.
bool canFill(block_plan::AttentionOp plan);

/// The kernels of a module: its public functions with a body.
llvm::SmallVector<mlir::func::FuncOp> getKernels(mlir::ModuleOp module);

} // namespace sparse_attn

#endif // SPARSE_ATTN_CONVERSION_KERNELVALUES_H
