//===- Passes.td - conversions ------------------------------*- tablegen -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SPARSE_ATTN_CONVERSION_PASSES_TD
#define SPARSE_ATTN_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertPlanToClassifierPass : Pass<"convert-plan-to-classifier", "::mlir::ModuleOp"> {
  let summary = "turn the classify regions of block plans into functions";
  let description = [{
    Replaces every kernel by one function `<kernel>_<i>_classify` for each of its
    attentions, with the signature of the runtime's sa_classify_fn, and one
    `<kernel>_<i>_extent`, an sa_extent_fn, for each that is planned.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::func::FuncDialect"];
}

def ConvertPlanToKernelPass : Pass<"convert-plan-to-kernel", "::mlir::ModuleOp"> {
  let summary = "turn block plans into vector code of one instruction level";
  let description = [{
    Replaces every kernel by functions `<kernel>_<i>_pack_<level>` and
    `<kernel>_<i>_attend_<level>` for each of its attentions, with the signatures
    of the runtime's sa_pack_fn and sa_attend_fn, over vector, scf and memref.

    Where a mask is decided by a run there are `<kernel>_<i>_score<n>_<level>`, an
    sa_score_fn, for each score that it asks for, `<kernel>_<i>_key_scores_<level>`, an
    sa_key_scores_fn, where it asks for the attention's own scores of listed keys, and
    `<kernel>_<i>_project_<level>`, an sa_project_fn, for what encodes keys and queries.
  }];
  let options = [
    Option<"level", "level", "std::string", "\"avx512\"", "Instruction level, such as avx2">,
  ];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::func::FuncDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect", "::mlir::math::MathDialect",
                           "::mlir::arith::ArithDialect"];
}

def ConvertPlanToGPUPass : Pass<"convert-plan-to-gpu", "::mlir::ModuleOp"> {
  let summary = "turn block plans into kernels of an NVIDIA GPU";
  let description = [{
    Replaces every kernel by a function `<kernel>_<i>_attend` for each of its
    attentions, a kernel of one sa_gpu_args (gpu_abi.h), whose blocks compute one
    sa_gpu_item each, over scf, arith, llvm and nvvm.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"sm_80\"", "GPU, such as sm_80">,
  ];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect", "::mlir::math::MathDialect",
                           "::mlir::arith::ArithDialect"];
}

#endif // SPARSE_ATTN_CONVERSION_PASSES_TD
