//===- ReferenceDetail.h - computing rows ----------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_REFERENCE_REFERENCEDETAIL_H
#define SPARSE_ATTN_LIB_REFERENCE_REFERENCEDETAIL_H

#include "sparse_attn/Reference/Reference.h"

namespace sparse_attn {

struct Reference::Inputs {
  AttentionOp op;
  const Array *sinks = nullptr;
  Array q, k, v;                          ///< f64; k and v pooled as the op says
  llvm::SmallVector<int64_t> n, m, shift; ///< per batch entry; p = i + shift
  int64_t block = 0;                      ///< tokens a key stands for, 0: one

  /// Keys of batch entry b, pooled ones where K is pooled.
  int64_t keys(int64_t b) const { return block ? llvm::divideCeil(n[b], block) : n[b]; }
  /// The position of key t: that of its last token.
  int64_t position(int64_t b, int64_t t) const {
    return block ? std::min((t + 1) * block, n[b]) - 1 : t;
  }
};

/// Computes rows on one thread.
class Reference::Worker {
public:
  explicit Worker(const Reference &reference);
  ~Worker();

  /// The state of an attention or merge op for a row. Valid until the next row.
  const RowState &stateOf(mlir::Operation *op, Row row);
  std::vector<double> membership(const Inputs &inputs, Row row, mlir::Value mask);

  /// An op read an operand outside its shape: results mean nothing.
  bool failed() const { return !reason.empty(); }
  const std::string &failure() const { return reason; }

private:
  /// The run-time values of one attention. Each attention has its own since ops
  /// may keep what they derive from n.
  class Values;

  Values &valuesOf(const Inputs &inputs);
  RowState attend(const Inputs &inputs, Row row);
  RowState merge(MergeOp op, Row row);
  double elementOf(mlir::Value tensor, Row row);

  const Reference &reference;
  llvm::DenseMap<const Inputs *, std::unique_ptr<Values>> values;
  llvm::DenseMap<mlir::Operation *, RowState> states; ///< of `current`
  Row current = {-1, -1, -1};
  std::string reason;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_REFERENCE_REFERENCEDETAIL_H
