//===- sparse-attn-reduce.cpp - makes a failing input small ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/MLIRContext.h"
#include "mlir/Tools/mlir-reduce/MlirReduceMain.h"
#include "sparse_attn/Pipelines/Pipelines.h"

int main(int argc, char **argv) {
  sparse_attn::registerPasses();
  mlir::DialectRegistry registry;
  sparse_attn::registerDialects(registry);
  mlir::MLIRContext context(registry);
  return mlir::failed(mlir::mlirReduceMain(argc, argv, context));
}
