//===- Listed.cpp - masks that operands list ------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PatternSupport.h"

using namespace mlir;
using namespace sparse_attn;

static constexpr int64_t kMostRows = 1024; // of a query tile

LogicalResult ListedOp::inferReturnTypes(MLIRContext *context, std::optional<Location>,
                                         Adaptor adaptor,
                                         SmallVectorImpl<Type> &inferred) {
  inferred.push_back(MaskType::get(context, /*sampled=*/bool(adaptor.getProbability())));
  return success();
}

LogicalResult ListedOp::verify() {
  // (listed_c1) 1 <= block_q <= 1024
  int64_t rows = getBlockQ();
  if (rows < 1 || rows > kMostRows)
    return emitOpError() << "block_q must be in [1, " << kMostRows << "], got " << rows
                         << "; rows of a block share a list, one row at least";
  return success();
}

double ListedOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  ArrayRef<int64_t> shape = evaluator.shape(getIndices());
  // The head axis counts query heads, key/value heads or nothing.
  int64_t b = shape[0] == 1 ? 0 : pair.b, g = pair.h * shape[1] / evaluator.heads();
  int64_t unit = pair.i / static_cast<int64_t>(getBlockQ());
  for (int64_t k = 0; k < shape[3]; ++k) {
    if (evaluator.integer(getIndices(), {b, g, unit, k}) != pair.j)
      continue;
    double probability =
        getProbability() ? evaluator.at(getProbability(), {b, g, unit, k}) : 1;
    if (probability > 0)
      return probability;
  }
  return 0;
}

/// A run may list any key.
TileClass ListedOp::buildTileClass(TileBuilder &builder) {
  return {builder.truth(true), builder.truth(false)};
}

Binding ListedOp::getOwnBinding() { return Binding::Run; }
bool ListedOp::isPerHead() { return !getShareGroup(); }
bool ListedOp::isPerBatch() { return variesAlong(getIndices(), 0); }

ArrayRef<TensorSpec> ListedOp::getTensorSpecs() {
  // Lists of a head or of a key/value head: a run checks which.
  static constexpr TensorSpec specs[] = {
      {"indices",
       32,
       false,
       false,
       4,
       {Axis::BatchOrOne, Axis::Free, Axis::Free, Axis::Free}},
      {"probability",
       32,
       true,
       true,
       4,
       {Axis::BatchOrOne, Axis::Free, Axis::Free, Axis::Free}}};
  return specs;
}
