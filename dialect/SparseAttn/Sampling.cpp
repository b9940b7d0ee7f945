//===- Sampling.cpp - what the draws keep ---------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// random_keys and sample.uniform: draws that no score guides.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/Selecting.h"

using namespace mlir;
using namespace sparse_attn;

namespace {
/// The draws of one row.
struct Drawn {
  double probability = 0; ///< of each candidate
  llvm::BitVector keys;
};
} // namespace

/// The draws of the pair's row, of which op.getCount() or op.getRate() says how many.
template <typename Op>
static const Drawn &draw(Op op, const Pair &pair, Stream stream, Evaluator &evaluator) {
  int64_t plane = pair.b * evaluator.heads() + pair.h;
  return evaluator.latest<Drawn>(op, getRowKey(plane, pair.i), [&] {
    std::vector<int64_t> candidates = listCandidates(op.getCandidates(), pair, evaluator);
    int64_t count = candidates.size(), b = countDraws(op.getCount(), op.getRate(), count);
    Drawn drawn{count ? static_cast<double>(b) / count : 0,
                llvm::BitVector(evaluator.keys(pair.b))};
    KeyedPermutation permute(op.getSeed(), plane, pair.p, stream, count);
    for (int64_t d = 0; d < b; ++d)
      drawn.keys.set(candidates[permute(d)]);
    return drawn;
  });
}

//===----------------------------------------------------------------------===//
// random_keys
//===----------------------------------------------------------------------===//

LogicalResult RandomKeysOp::verify() {
  // (random_keys_c1), (random_keys_c2), (random_keys_c3), (random_keys_c4)
  return failure(failed(verifyDraws(*this, getCount(), getRate())) ||
                 failed(verifyMaskOperands(*this)));
}

double RandomKeysOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  return draw(*this, pair, Stream::RandomKeys, evaluator).keys[pair.j];
}

TileClass RandomKeysOp::buildTileClass(TileBuilder &builder) {
  return buildCandidateClass(getCandidates(), builder);
}
Binding RandomKeysOp::getOwnBinding() { return Binding::Run; }
bool RandomKeysOp::isPerHead() { return true; }
bool RandomKeysOp::isPerBatch() { return true; }

//===----------------------------------------------------------------------===//
// sample.uniform
//===----------------------------------------------------------------------===//

LogicalResult SampleUniformOp::verify() {
  // (sample_uniform_c1), (sample_uniform_c2), (sample_uniform_c3), (sample_uniform_c4)
  return failure(failed(verifyDraws(*this, getCount(), getRate())) ||
                 failed(verifyMaskOperands(*this)));
}

double SampleUniformOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  if (evaluator.evaluate(getCandidates(), pair) != 1)
    return 0;
  return draw(*this, pair, Stream::Uniform, evaluator).probability;
}

bool SampleUniformOp::isDrawn(const Pair &pair, Evaluator &evaluator) {
  return draw(*this, pair, Stream::Uniform, evaluator).keys[pair.j];
}

TileClass SampleUniformOp::buildTileClass(TileBuilder &builder) {
  return buildCandidateClass(getCandidates(), builder);
}
Binding SampleUniformOp::getOwnBinding() { return Binding::Run; }
bool SampleUniformOp::isPerHead() { return true; }
bool SampleUniformOp::isPerBatch() { return true; }
