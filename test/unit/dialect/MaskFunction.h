//===- MaskFunction.h - masks of tests and their operands ------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_DIALECT_MASKFUNCTION_H
#define SPARSE_ATTN_TEST_UNIT_DIALECT_MASKFUNCTION_H

#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace sparse_attn {

/// An integer operand of a mask: %a is the first, %b the second, ...
struct Tensor {
  std::vector<int64_t> shape;
  std::vector<int64_t> values;
  const char *element = "i32";
};

inline constexpr int64_t kTestHeads = 4;

class TensorEvaluator : public Evaluator {
public:
  explicit TensorEvaluator(int64_t keyCount) : keyCount(keyCount) {}
  llvm::DenseMap<mlir::Value, const Tensor *> tensors;

  double at(mlir::Value value, llvm::ArrayRef<int64_t> index) override {
    const Tensor &tensor = *tensors.lookup(value);
    EXPECT_EQ(index.size(), tensor.shape.size());
    int64_t offset = 0;
    for (auto [axis, size] : llvm::enumerate(tensor.shape)) {
      int64_t i = axis == 0 && size == 1 && tensor.shape.size() > 1 ? 0 : index[axis];
      EXPECT_TRUE(i >= 0 && i < size) << "index " << i << " of axis " << axis;
      offset = offset * size + i;
    }
    return tensor.values[offset];
  }
  llvm::ArrayRef<int64_t> shape(mlir::Value value) override {
    return tensors.lookup(value)->shape;
  }
  int64_t keys(int64_t) override { return keyCount; }
  int64_t heads() override { return kTestHeads; }

private:
  int64_t keyCount;
};

/// A function whose first op is `sparse_attn.` + op, with %a, %b, ... as arguments.
inline mlir::OwningOpRef<mlir::ModuleOp> parseMask(const std::string &op,
                                                   const std::vector<Tensor> &tensors,
                                                   mlir::MLIRContext *context) {
  std::string text = "func.func @mask(";
  for (auto [i, tensor] : llvm::enumerate(tensors)) {
    text += std::string(i ? ", %" : "%") + static_cast<char>('a' + i) + ": tensor<";
    for (size_t axis = 0; axis != tensor.shape.size(); ++axis)
      text += "?x";
    text += std::string(tensor.element) + ">";
  }
  text += ") {\n  %mask = sparse_attn." + op + "\n  return\n}\n";
  return mlir::parseSourceString<mlir::ModuleOp>(text, context);
}

/// The mask of parseMask, its operands given to `evaluator`.
inline mlir::Value bindMask(mlir::ModuleOp module, const std::vector<Tensor> &tensors,
                            TensorEvaluator &evaluator) {
  auto function = llvm::cast<mlir::func::FuncOp>(module.getBody()->front());
  for (auto [argument, tensor] : llvm::zip(function.getArguments(), tensors))
    evaluator.tensors[argument] = &tensor;
  return function.getBody().front().front().getResult(0);
}

} // namespace sparse_attn

#endif // SPARSE_ATTN_TEST_UNIT_DIALECT_MASKFUNCTION_H
