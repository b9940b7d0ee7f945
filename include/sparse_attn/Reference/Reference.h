//===- Reference.h - what a kernel computes, in float64 --------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The slow oracle: docs/semantics.md, one pair at a time, on the IR of a kernel
// as the user wrote it. It asks ops for their meaning (`evaluate`) and shares
// nothing with the lowering.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_REFERENCE_REFERENCE_H
#define SPARSE_ATTN_REFERENCE_REFERENCE_H

#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "sparse_attn/Support/Array.h"
#include "llvm/ADT/StringMap.h"
#include <functional>
#include <memory>
#include <vector>

namespace sparse_attn {

/// Row i of head h of batch entry b.
struct Row {
  int64_t b = 0, h = 0, i = 0;
};

/// One row of an attention state: O (Dv values) and LSE.
struct RowState {
  std::vector<double> out;
  double lse = 0;
};

/// Called now and then, from one thread at a time, with the rows done so far.
using RowProgress = std::function<void(int64_t done, int64_t total)>;

class Reference {
public:
  /// Takes the values of the kernel's arguments by name and checks that they
  /// fit: type, rank, sizes, lengths. `kernel` must outlive the result.
  static llvm::Expected<std::unique_ptr<Reference>>
  create(mlir::func::FuncOp kernel, llvm::StringMap<Array> arguments);
  ~Reference();

  int64_t batch() const { return batchSize; }
  int64_t heads() const { return headCount; }
  int64_t keyHeads() const { return kvHeadCount; }
  int64_t queries() const { return queryCount; }
  int64_t keys() const { return keyCount; }
  /// Keys of one attention: N, or the number of pooled keys.
  int64_t keys(size_t attention) const;
  /// What one attention has of batch entry b: rows, keys, and the position of row 0.
  struct Extent {
    int64_t queries, keys, firstPosition;
  };
  Extent extent(size_t attention, int64_t b) const;
  AttentionOp op(size_t attention) const;
  /// Attention ops of the kernel, in order.
  size_t attentions() const { return attentionOps.size(); }
  /// Pairs that computing every row looks at.
  double pairs() const;
  /// Every row, in order.
  std::vector<Row> allRows() const;

  /// Every result of the kernel for the given rows: an f64 array [rows, Dv] for
  /// an O and [rows] for an LSE. `threads` 0 is one per core.
  llvm::Expected<std::vector<Array>> evaluate(llvm::ArrayRef<Row> rows,
                                              unsigned threads = 0,
                                              const RowProgress &progress = nullptr);

  /// The inclusion probability of every key of one row, 0 where it is not drawn;
  /// padding has 0. Pooled keys count as keys.
  llvm::Expected<std::vector<double>> membership(Row row, size_t attention = 0);
  /// The same for any mask of the kernel, as that attention would see it.
  llvm::Expected<std::vector<double>> membership(Row row, size_t attention,
                                                 mlir::Value mask);

private:
  class Worker;
  /// What an attention op reads, looked up once.
  struct Inputs;

  explicit Reference(mlir::func::FuncOp kernel);
  llvm::Error takeArguments(llvm::StringMap<Array> named);
  llvm::Error readBody();
  llvm::Error addAttention(AttentionOp op);
  llvm::Error checkStates(MergeOp op);
  llvm::Error checkOperands(mlir::Operation *op, llvm::ArrayRef<TensorSpec> specs);
  llvm::Error checkWeights(AttentionOp op);
  llvm::Error checkSize(mlir::Value argument, unsigned axis, Axis wanted);
  std::string nameOf(mlir::Value argument) const;
  const Array &valueOf(mlir::Value argument) const;

  mlir::func::FuncOp kernel;
  std::vector<Array> arguments; ///< by argument number
  std::vector<std::unique_ptr<Inputs>> attentionOps;
  std::unique_ptr<Worker> single; ///< of membership: keeps what ops derive from K
  llvm::DenseMap<mlir::Operation *, Inputs *> inputsOf;
  int64_t batchSize = -1, headCount = -1, kvHeadCount = -1, queryCount = -1,
          keyCount = -1;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_REFERENCE_REFERENCE_H
