//===- MaskTesting.h - evaluating and emitting in tests --------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_MASKTESTING_H
#define SPARSE_ATTN_TEST_UNIT_MASKTESTING_H

#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include <gtest/gtest.h>
#include <vector>

namespace sparse_attn::testing {

/// Values of a tensor, row by row.
struct Tensor {
  std::vector<int64_t> shape;
  std::vector<double> values;
};

/// Reads tensors by the number of the function argument that they are.
class TensorEvaluator : public Evaluator {
public:
  std::vector<Tensor> arguments;
  int64_t n = 0, headCount = 1;

  const Tensor &get(mlir::Value tensor) {
    return arguments[mlir::cast<mlir::BlockArgument>(tensor).getArgNumber()];
  }
  double at(mlir::Value value, llvm::ArrayRef<int64_t> index) override {
    const Tensor &tensor = get(value);
    int64_t position = 0;
    for (auto [axis, i] : llvm::enumerate(index)) {
      int64_t size = tensor.shape[axis];
      bool broadcasts = axis == 0 && size == 1;
      EXPECT_TRUE(broadcasts || (i >= 0 && i < size)) << "index out of range";
      position = position * size + (broadcasts ? 0 : i);
    }
    return tensor.values[position];
  }
  llvm::ArrayRef<int64_t> shape(mlir::Value tensor) override { return get(tensor).shape; }
  int64_t keys(int64_t) override { return n; }
  int64_t heads() override { return headCount; }
};

/// Values of a block's ops when its arguments are these, by MLIR's own constant
/// folding; a null attribute where an op does not fold. Each op is folded as a copy
/// on constants, because folders look at, and change, what is around an op.
inline llvm::DenseMap<mlir::Value, mlir::Attribute>
foldBlock(mlir::Block &block, llvm::ArrayRef<mlir::Attribute> arguments) {
  llvm::DenseMap<mlir::Value, mlir::Attribute> values;
  for (auto [argument, attribute] : llvm::zip_equal(block.getArguments(), arguments))
    values[argument] = attribute;
  for (mlir::Operation &op : block) {
    if (op.getNumResults() != 1)
      continue; // a terminator
    mlir::Block scratch;
    mlir::OpBuilder builder(op.getContext());
    builder.setInsertionPointToStart(&scratch);
    mlir::IRMapping mapping;
    llvm::SmallVector<mlir::Attribute> operands;
    for (mlir::Value operand : op.getOperands()) {
      auto attribute = mlir::dyn_cast_or_null<mlir::TypedAttr>(values.lookup(operand));
      if (!attribute)
        return values;
      mapping.map(operand,
                  mlir::arith::ConstantOp::create(builder, op.getLoc(), attribute));
      operands.push_back(attribute);
    }
    mlir::Operation *copy = builder.clone(op, mapping);
    llvm::SmallVector<mlir::OpFoldResult> results;
    // A fold in place, such as moving a constant to the right, is not the last.
    while (succeeded(copy->fold(operands, results)) && results.empty()) {
      operands.clear();
      for (mlir::Value operand : copy->getOperands())
        mlir::matchPattern(operand, mlir::m_Constant(&operands.emplace_back()));
    }
    if (results.empty())
      continue;
    if (auto attribute = mlir::dyn_cast<mlir::Attribute>(results[0]))
      values[op.getResult(0)] = attribute;
    else
      mlir::matchPattern(mlir::cast<mlir::Value>(results[0]),
                         mlir::m_Constant(&values[op.getResult(0)]));
  }
  return values;
}

} // namespace sparse_attn::testing

#endif // SPARSE_ATTN_TEST_UNIT_MASKTESTING_H
