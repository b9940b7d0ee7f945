//===- KeySets.cpp - how a run makes the keys of a row --------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the runtime does in place of a mask op where something that it combines is known
// only to a run; sa_set in the runtime's abi.h has the parameters of each kind.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/Sampling.h"
#include "dialect/SparseAttn/Selecting.h"

using namespace mlir;
using namespace sparse_attn;

static constexpr int64_t kAbsent = -1;

static int64_t getOr(std::optional<uint64_t> value, int64_t otherwise) {
  return value ? static_cast<int64_t>(*value) : otherwise;
}
static double getOr(std::optional<APFloat> value, double otherwise) {
  return value ? value->convertToDouble() : otherwise;
}

//===----------------------------------------------------------------------===//
// The algebra
//===----------------------------------------------------------------------===//

std::optional<KeySet> UnionOp::getKeySet() {
  return KeySet{KeySet::Union, llvm::to_vector(getMasks()), {}, {}, {}};
}
std::optional<KeySet> IntersectOp::getKeySet() {
  return KeySet{KeySet::Intersect, llvm::to_vector(getMasks()), {}, {}, {}};
}
std::optional<KeySet> DifferenceOp::getKeySet() {
  return KeySet{KeySet::Difference, {getLhs(), getRhs()}, {}, {}, {}};
}
std::optional<KeySet> ComplementOp::getKeySet() {
  return KeySet{KeySet::Complement, {getMask()}, {}, {}, {}};
}
std::optional<KeySet> PerHeadOp::getKeySet() {
  return KeySet{
      KeySet::Heads, llvm::to_vector(getMasks()), {}, llvm::to_vector(getTable()), {}};
}

//===----------------------------------------------------------------------===//
// Lists and selections
//===----------------------------------------------------------------------===//

std::optional<KeySet> ListedOp::getKeySet() {
  return KeySet{KeySet::List,      {}, {getIndices(), getProbability()},
                {getShareGroup()}, {}, static_cast<int64_t>(getBlockQ())};
}
std::optional<KeySet> TopKOp::getKeySet() {
  return KeySet{KeySet::TopK,
                {getCandidates()},
                {},
                {getOr(getK(), kAbsent)},
                {getOr(getFraction(), 0)},
                static_cast<int64_t>(getBlockQ())};
}
std::optional<KeySet> TopPOp::getKeySet() {
  return KeySet{
      KeySet::TopP, {getCandidates()},          {},
      {},           {getP().convertToDouble()}, static_cast<int64_t>(getBlockQ())};
}
std::optional<KeySet> ThresholdOp::getKeySet() {
  return KeySet{KeySet::Threshold,
                {getCandidates()},
                {},
                {},
                {getT().convertToDouble()},
                static_cast<int64_t>(getBlockQ())};
}
std::optional<KeySet> ClusterOp::getKeySet() {
  return KeySet{
      KeySet::Cluster, {getCandidates()}, {}, {}, {}, static_cast<int64_t>(getBlockQ())};
}

//===----------------------------------------------------------------------===//
// Draws
//===----------------------------------------------------------------------===//

/// random_keys and sample.uniform differ by their stream and weights alone.
template <typename Op> static KeySet getDraws(Op op, Stream stream, bool weighted) {
  return {KeySet::Random,
          {op.getCandidates()},
          {},
          {static_cast<int64_t>(op.getSeed()), static_cast<int64_t>(stream),
           getOr(op.getCount(), kAbsent), weighted},
          {getOr(op.getRate(), 0)}};
}

std::optional<KeySet> RandomKeysOp::getKeySet() {
  return getDraws(*this, Stream::RandomKeys, /*weighted=*/false);
}
std::optional<KeySet> SampleUniformOp::getKeySet() {
  return getDraws(*this, Stream::Uniform, /*weighted=*/true);
}
std::optional<KeySet> SampleLshOp::getKeySet() {
  return KeySet{KeySet::Lsh,
                {getCandidates()},
                {getMean()},
                {static_cast<int64_t>(getTables()), static_cast<int64_t>(getBits()),
                 static_cast<int64_t>(getMinMatches())},
                {}};
}
bool SampleAdaptiveOp::readsAttentionScores() { return true; }

std::optional<KeySet> SampleAdaptiveOp::getKeySet() {
  AdaptiveRule rule =
      makeAdaptiveRule(getEpsilon().convertToDouble(), getDelta().convertToDouble(),
                       getTail() == Tail::OneSided, getFinitePopulation());
  return KeySet{KeySet::Adaptive,
                {getCandidates(), getBeside()},
                {},
                {static_cast<int64_t>(getSeed()), getOr(getBaseCount(), kAbsent),
                 rule.finitePopulation},
                {getOr(getBaseRate(), 0), rule.epsilon, rule.z}};
}
