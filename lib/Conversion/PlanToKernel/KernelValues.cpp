//===- KernelValues.cpp - numbers and names of a kernel's values ----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Conversion/KernelValues.h"
#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace sparse_attn;

KernelValues::KernelValues(func::FuncOp kernel) {
  int32_t next = 0;
  for (BlockArgument argument : kernel.getArguments())
    ids[argument] = next++;
  for (Operation &op : kernel.getBody().front())
    for (Value result : op.getResults())
      if (isa<TensorType, PooledType>(result.getType()))
        ids[result] = next++;
}

/// Symbols start with the library's name, so that two libraries can be linked
/// into one program; a '.', which no name of C has, keeps the two parts apart.
static std::string getSymbol(func::FuncOp kernel, unsigned index, StringRef role) {
  std::string prefix;
  auto library =
      kernel->getParentOfType<ModuleOp>()->getAttrOfType<StringAttr>(kLibraryAttr);
  if (library)
    prefix = (library.getValue() + ".").str();
  return (prefix + kernel.getSymName() + "_" + Twine(index) + "_" + role).str();
}
std::string sparse_attn::getClassifySymbol(func::FuncOp kernel, unsigned index) {
  return getSymbol(kernel, index, "classify");
}
std::string sparse_attn::getExtentSymbol(func::FuncOp kernel, unsigned index,
                                         block_plan::AttentionOp plan) {
  return plan.getExtent().empty() ? "" : getSymbol(kernel, index, "extent");
}
std::string sparse_attn::getStructureSymbol(func::FuncOp kernel, unsigned index,
                                            unsigned number) {
  return getSymbol(kernel, index, ("structure" + Twine(number)).str());
}
std::string sparse_attn::getPackSymbol(func::FuncOp kernel, unsigned index,
                                       const CPULevel &level) {
  return getSymbol(kernel, index, ("pack_" + level.name).str());
}
std::string sparse_attn::getAttendSymbol(func::FuncOp kernel, unsigned index,
                                         const CPULevel &level) {
  return getSymbol(kernel, index, ("attend_" + level.name).str());
}
std::string sparse_attn::getCombineSymbol(func::FuncOp kernel, unsigned index,
                                          const CPULevel &level) {
  return getSymbol(kernel, index, ("combine_" + level.name).str());
}

std::string sparse_attn::getFillSymbol(func::FuncOp kernel, unsigned index,
                                       block_plan::AttentionOp plan,
                                       const CPULevel &level) {
  return canFill(plan) ? getSymbol(kernel, index, ("fill_" + level.name).str()) : "";
}

std::string sparse_attn::getScoreSymbol(func::FuncOp kernel, unsigned index,
                                        unsigned score, const CPULevel &level) {
  return getSymbol(kernel, index, ("score" + Twine(score) + "_" + level.name).str());
}
std::string sparse_attn::getKeyScoresSymbol(func::FuncOp kernel, unsigned index,
                                            block_plan::AttentionOp plan,
                                            const CPULevel &level) {
  return plan.getKeyScores()
             ? getSymbol(kernel, index, ("key_scores_" + level.name).str())
             : "";
}
std::string sparse_attn::getProjectSymbol(func::FuncOp kernel, unsigned index,
                                          block_plan::AttentionOp plan,
                                          const CPULevel &level) {
  bool asks = plan.getProject() || !plan.getScores().empty();
  return asks ? getSymbol(kernel, index, ("project_" + level.name).str()) : "";
}

std::string sparse_attn::getGPUSymbol(func::FuncOp kernel, unsigned index,
                                      StringRef what) {
  // Modules of a GPU do not share names.
  return (kernel.getSymName() + "_" + Twine(index) + "_" + what).str();
}

SmallVector<func::FuncOp> sparse_attn::getKernels(ModuleOp module) {
  SmallVector<func::FuncOp> kernels;
  for (auto func : module.getOps<func::FuncOp>())
    if (func.isPublic() && !func.isExternal())
      kernels.push_back(func);
  return kernels;
}
