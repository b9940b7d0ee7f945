//===- Cluster.cpp - tokens that share a bucket ---------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/Selecting.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace sparse_attn;

LogicalResult ClusterOp::verify() {
  // (cluster_c1)
  if (getCentroids() ? getBuckets() || getSeed() : !getBuckets() || !getSeed())
    return emitOpError("needs either centroids, or buckets and a seed to draw directions "
                       "from");
  // (cluster_c2)
  constexpr uint64_t kBucketEnd = 1 << 16;
  if (getBuckets() &&
      (*getBuckets() < 2 || *getBuckets() >= kBucketEnd || *getBuckets() % 2 != 0))
    return emitOpError("buckets must be even and in [2, 2^16), got ")
           << static_cast<int64_t>(*getBuckets())
           << "; a direction and its opposite are two buckets";
  // (cluster_c3)
  constexpr uint64_t kMostRounds = 64;
  if (getRounds() < 1 || getRounds() > kMostRounds ||
      (getCentroids() && getRounds() != 1))
    return emitOpError("rounds must be in [1, 64], and 1 with centroids, got ")
           << static_cast<int64_t>(getRounds())
           << "; a round draws directions of its own";
  // (cluster_c4), (cluster_c5), (cluster_c7); (cluster_c6) is for the attention to ask
  return failure(failed(verifyBlockQ(*this)) || failed(verifyBlockK(*this)) ||
                 failed(verifyMaskOperands(*this)));
}

SmallVector<WeightSize> ClusterOp::getWeightSizes(int64_t headDim) {
  if (!getCentroids())
    return {};
  return {{*this, getCentroids(), "centroids", 2, headDim, "the numbers of a row"}};
}

ArrayRef<TensorSpec> ClusterOp::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {
      {"centroids", 32, true, true, 3, {Axis::KvHeads, Axis::Free, Axis::Free}}};
  return specs;
}

//===----------------------------------------------------------------------===//
// Meaning
//===----------------------------------------------------------------------===//

/// The index of the largest number, the lowest of equal ones; -1 where all are NaN.
static int64_t findLargest(ArrayRef<double> values) {
  int64_t best = -1;
  for (auto [index, value] : llvm::enumerate(values))
    if (value == value && (best < 0 || value > values[best]))
      best = index;
  return best;
}

/// The bucket of `x` in every round, -1 for none.
static std::vector<int64_t> computeBuckets(ClusterOp op, ArrayRef<double> x,
                                           int64_t keyHead, Evaluator &evaluator) {
  std::vector<int64_t> buckets;
  if (Value centroids = op.getCentroids()) {
    std::vector<double> products;
    for (int64_t c = 0; c < evaluator.shape(centroids)[1]; ++c) {
      std::vector<double> centroid;
      for (size_t d = 0; d < x.size(); ++d)
        centroid.push_back(
            evaluator.at(centroids, {keyHead, c, static_cast<int64_t>(d)}));
      products.push_back(dot(x, centroid));
    }
    return {findLargest(products)};
  }
  int64_t half = *op.getBuckets() / 2, rounds = op.getRounds();
  const auto &directions =
      evaluator.derived<std::vector<std::vector<double>>>(op, -1, [&] {
        return drawDirections(*op.getSeed(), rounds * half, x.size(), Stream::Cluster);
      });
  for (int64_t round = 0; round < rounds; ++round) {
    std::vector<double> products(2 * half);
    for (int64_t c = 0; c < half; ++c) {
      products[c] = dot(x, directions[round * half + c]);
      products[half + c] = -products[c];
    }
    buckets.push_back(findLargest(products));
  }
  return buckets;
}

double ClusterOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  AttentionValues &values = evaluator.attention();
  int64_t keyHead = evaluator.keyHead(pair.h);
  int64_t plane = pair.b * values.keyHeads() + keyHead;
  using Buckets = std::vector<std::vector<int64_t>>;
  const Buckets &keys = evaluator.derived<Buckets>(*this, plane, [&] {
    Buckets keys;
    for (int64_t j = 0; j < evaluator.keys(pair.b); ++j)
      keys.push_back(
          computeBuckets(*this, values.key(pair.b, keyHead, j), keyHead, evaluator));
    return keys;
  });
  auto meet = [](ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
    return llvm::any_of(llvm::zip_equal(a, b), [](auto round) {
      return std::get<0>(round) == std::get<1>(round) && std::get<0>(round) >= 0;
    });
  };
  return isChosen(*this, pair, evaluator, [&](const QueryUnit &unit) {
    int64_t count = evaluator.keys(unit.b), block = getBlockK();
    llvm::BitVector chosen(llvm::divideCeil(count, block));
    for (int64_t i = unit.i0; i < unit.i1; ++i) {
      std::vector<int64_t> query =
          computeBuckets(*this, values.query(unit.b, unit.h, i), keyHead, evaluator);
      Pair other{unit.b, unit.h, i, i + values.shift(unit.b), 0};
      for (other.j = 0; other.j < count; ++other.j)
        if (meet(query, keys[other.j]) && evaluator.evaluate(getCandidates(), other) == 1)
          chosen.set(other.j / block);
    }
    return chosen;
  });
}

TileClass ClusterOp::buildTileClass(TileBuilder &builder) {
  return buildCandidateClass(getCandidates(), builder);
}
Binding ClusterOp::getOwnBinding() { return Binding::Run; }
bool ClusterOp::isPerHead() { return true; }
bool ClusterOp::isPerBatch() { return true; }
Sharing ClusterOp::getSharing() { return Sharing::None; }
