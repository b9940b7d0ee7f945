//===- sparse-attn-eval.cpp - the C++ reference, for tests ----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   sparse-attn-eval kernels.mlir FOLDER
//
// For every kernel @NAME of the file, in whatever module: reads
// FOLDER/NAME/<argument>.npy, writes FOLDER/NAME/result<r>.npy for every result (f64) and
// FOLDER/NAME/mask<a>.npy, the inclusion probabilities [B, H, M, N] of every attention
// (f64).
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "sparse_attn/Reference/Reference.h"
#include "sparse_attn/Support/Npy.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace sparse_attn;
using llvm::Error;
using llvm::Expected;

/// Reshapes rows [B * H * M, ..] to [B, H, M, ..] and writes them.
static Error writeRows(const Reference &reference, StringRef path, const Array &rows) {
  SmallVector<int64_t> shape = {reference.batch(), reference.heads(),
                                reference.queries()};
  if (rows.rank() == 2)
    shape.push_back(rows.shape()[1]);
  Expected<Array> array = Array::create(ElementKind::F64, shape);
  if (!array)
    return array.takeError();
  std::copy_n(rows.as<double>(), rows.elements(), array->as<double>());
  return writeNpy(path, *array);
}

static Error writeMasks(Reference &reference, const std::string &folder) {
  for (size_t a = 0; a < reference.attentions(); ++a) {
    std::vector<Row> rows = reference.allRows();
    Expected<Array> mask = Array::create(
        ElementKind::F64, {static_cast<int64_t>(rows.size()), reference.keys(a)});
    if (!mask)
      return mask.takeError();
    double *next = mask->as<double>();
    for (Row row : rows) {
      Expected<std::vector<double>> kept = reference.membership(row, a);
      if (!kept)
        return kept.takeError();
      next = llvm::copy(*kept, next);
    }
    if (Error error =
            writeRows(reference, folder + "/mask" + std::to_string(a) + ".npy", *mask))
      return error;
  }
  return Error::success();
}

static Error evaluate(func::FuncOp kernel, const std::string &folder) {
  llvm::StringMap<Array> arguments;
  for (unsigned i = 0; i < kernel.getNumArguments(); ++i) {
    auto name = kernel.getArgAttrOfType<StringAttr>(i, kNameAttr);
    if (!name)
      return llvm::createStringError("argument " + Twine(i) + " has no name");
    Expected<Array> array = readNpy(folder + "/" + name.str() + ".npy");
    if (!array)
      return array.takeError();
    arguments[name] = std::move(*array);
  }
  auto reference = Reference::create(kernel, std::move(arguments));
  if (!reference)
    return reference.takeError();
  Expected<std::vector<Array>> results = (*reference)->evaluate((*reference)->allRows());
  if (!results)
    return results.takeError();
  for (auto [r, rows] : llvm::enumerate(*results))
    if (Error error =
            writeRows(**reference, folder + "/result" + std::to_string(r) + ".npy", rows))
      return error;
  return writeMasks(**reference, folder);
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  if (argc != 3) {
    llvm::errs() << "usage: sparse-attn-eval kernels.mlir FOLDER\n";
    return 1;
  }
  DialectRegistry registry;
  registry.insert<SparseAttnDialect, func::FuncDialect, arith::ArithDialect,
                  math::MathDialect, tensor::TensorDialect>();
  MLIRContext context(registry);
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(argv[1], &context);
  if (!module)
    return 1;
  bool failed = false;
  module->walk([&](func::FuncOp kernel) {
    if (Error error =
            evaluate(kernel, std::string(argv[2]) + "/" + kernel.getName().str())) {
      llvm::errs() << "sparse-attn-eval: @" << kernel.getName() << ": "
                   << toString(std::move(error)) << "\n";
      failed = true;
    }
  });
  return failed;
}
