//===- Oracle.cpp - the reference of a library's kernel -------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Oracle.h"
#include "dialect/BlockPlan/BlockPlan.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"

using namespace mlir;
using namespace sparse_attn;
using namespace sparse_attn::run;
using llvm::createStringError;
using llvm::Expected;

static DialectRegistry getDialects() {
  DialectRegistry registry;
  registry.insert<SparseAttnDialect, block_plan::BlockPlanDialect, func::FuncDialect,
                  arith::ArithDialect, math::MathDialect, tensor::TensorDialect>();
  return registry;
}

Oracle::Oracle() : context(getDialects(), MLIRContext::Threading::DISABLED) {}

static Expected<OwningOpRef<ModuleOp>> parseSource(const std::string &source,
                                                   MLIRContext &context) {
  std::string reason;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    if (reason.empty())
      reason = diagnostic.str();
  });
  auto module = parseSourceString<ModuleOp>(source, &context);
  if (!module)
    return createStringError("the kernel's source in the manifest does not parse: " +
                             reason);
  return module;
}

double run::getOutBound(ElementKind type) {
  if (type == ElementKind::BF16)
    return 4e-3;
  return type == ElementKind::F16 ? 1e-3 : 2e-6;
}

Expected<std::unique_ptr<Oracle>> Oracle::create(const std::string &source,
                                                 StringRef kernel,
                                                 llvm::StringMap<Array> inputs) {
  std::unique_ptr<Oracle> oracle(new Oracle());
  Expected<OwningOpRef<ModuleOp>> module = parseSource(source, oracle->context);
  if (!module)
    return module.takeError();
  oracle->module = std::move(*module);
  auto function = oracle->module->lookupSymbol<func::FuncOp>(kernel);
  if (!function)
    return createStringError("the kernel's source in the manifest has no function @" +
                             kernel);
  for (const auto &input : inputs)
    oracle->bound = std::max(oracle->bound, getOutBound(input.second.type()));
  auto reference = Reference::create(function, std::move(inputs));
  if (!reference)
    return reference.takeError();
  oracle->evaluator = std::move(*reference);
  return oracle;
}
