//===- Encodings.cpp - what the runtime keeps of keys, and compares -------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The states beside K, and how the runtime makes them and their counterpart of a query;
// sa_encoding in the runtime's abi.h has the parameters of each kind.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/Selecting.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sparse_attn;

template <typename T> static int64_t integer(T value) {
  return static_cast<int64_t>(value);
}

//===----------------------------------------------------------------------===//
// dot, pages, hash
//===----------------------------------------------------------------------===//

Encoding ScoreDotOp::getEncoding(int64_t headDim, int64_t, double scale) {
  return {Encoding::None, headDim, {}, {}, {scale}};
}

SmallVector<KeyState> ScorePagesOp::getKeyStates(int64_t headDim, int64_t,
                                                 int64_t block) {
  return {{"page_low", KeyState::OfKeys, headDim, block, /*perQueryHead=*/false},
          {"page_high", KeyState::OfKeys, headDim, block, /*perQueryHead=*/false}};
}
Encoding ScorePagesOp::getEncoding(int64_t headDim, int64_t, double) {
  return {Encoding::Pages, headDim, {}, {}, {}};
}

static constexpr int64_t kWordBits = 32;

SmallVector<KeyState> ScoreHashOp::getKeyStates(int64_t, int64_t, int64_t) {
  return {{"signatures", KeyState::I32, getLayers().back() / kWordBits, 1,
           /*perQueryHead=*/true}};
}
Encoding ScoreHashOp::getEncoding(int64_t, int64_t, double) {
  SmallVector<int64_t> parameters = {integer(getActivation())};
  llvm::append_range(parameters, getLayers());
  return {Encoding::Hash,
          getLayers().back() / kWordBits,
          {getQueryWeights(), getKeyWeights()},
          parameters,
          {}};
}

//===----------------------------------------------------------------------===//
// channels, pq, soft_hash
//===----------------------------------------------------------------------===//

static constexpr int64_t kLabelsPerWord = 8; // of 4 bits

SmallVector<KeyState> ScoreChannelsOp::getKeyStates(int64_t, int64_t, int64_t) {
  int64_t count = integer(getCount());
  if (!getQuantized())
    return {{"labels", KeyState::F32, count, 1, /*perQueryHead=*/true}};
  return {{"labels", KeyState::I32, integer(llvm::divideCeil(count, kLabelsPerWord)), 1,
           /*perQueryHead=*/true},
          {"label_low", KeyState::F32, 1, 1, /*perQueryHead=*/true},
          {"label_step", KeyState::F32, 1, 1, /*perQueryHead=*/true}};
}
Encoding ScoreChannelsOp::getEncoding(int64_t, int64_t, double) {
  // Quantized: whole words of labels, then the sum that the low end of a key meets.
  int64_t count = integer(getCount());
  int64_t words =
      getQuantized() ? integer(llvm::alignTo(count, kLabelsPerWord)) + 1 : count;
  return {Encoding::Channels, words, {getChannels()}, {count, getQuantized()}, {}};
}

SmallVector<KeyState> ScorePqOp::getKeyStates(int64_t, int64_t, int64_t) {
  constexpr int64_t kBytes = 256;
  return {{"codes", integer(getCodes()) <= kBytes ? KeyState::U8 : KeyState::U16,
           integer(getSubvectors()), 1, /*perQueryHead=*/false}};
}
Encoding ScorePqOp::getEncoding(int64_t, int64_t, double) {
  return {Encoding::Pq,
          integer(getSubvectors() * getCodes()),
          {getCentroids()},
          {integer(getSubvectors()), integer(getCodes())},
          {}};
}

SmallVector<KeyState> ScoreSoftHashOp::getKeyStates(int64_t, int64_t, int64_t) {
  return {{"buckets", KeyState::U16, integer(getTables()), 1, /*perQueryHead=*/false},
          {"value_norms", KeyState::F32, 1, 1, /*perQueryHead=*/false}};
}
Encoding ScoreSoftHashOp::getEncoding(int64_t, int64_t, double) {
  return {Encoding::SoftHash,
          integer(getTables()) << getBits(),
          {getProjections()},
          {integer(getTables()), integer(getBits())},
          {getTemperature().convertToDouble()}};
}

//===----------------------------------------------------------------------===//
// pooled, antidiagonal
//===----------------------------------------------------------------------===//

static int64_t getWidth(ScorePooledOp op, int64_t headDim) {
  return op.getWidth() ? integer(*op.getWidth()) : headDim;
}
SmallVector<KeyState> ScorePooledOp::getKeyStates(int64_t headDim, int64_t,
                                                  int64_t block) {
  return {{"pooled_keys", KeyState::F32, ::getWidth(*this, headDim), block,
           /*perQueryHead=*/false}};
}
Encoding ScorePooledOp::getEncoding(int64_t headDim, int64_t, double) {
  return {Encoding::Pooled,
          ::getWidth(*this, headDim),
          {getQueryGate(), getKeyGate()},
          {},
          {}};
}

/// Keys of a block are summed by their place modulo the stride.
static int64_t countResidues(ScoreAntidiagonalOp op, int64_t block) {
  return std::min(integer(op.getStride()), block);
}
SmallVector<KeyState> ScoreAntidiagonalOp::getKeyStates(int64_t headDim, int64_t,
                                                        int64_t block) {
  return {{"key_sums", KeyState::F32, countResidues(*this, block) * headDim, block,
           /*perQueryHead=*/false}};
}
Encoding ScoreAntidiagonalOp::getEncoding(int64_t headDim, int64_t block, double) {
  return {Encoding::Antidiagonal,
          countResidues(*this, block) * headDim + 1,
          {},
          {integer(getStride())},
          {}};
}

//===----------------------------------------------------------------------===//
// cluster, sample.lsh
//===----------------------------------------------------------------------===//

SmallVector<KeyState> ClusterOp::getKeyStates(int64_t, int64_t, int64_t) {
  return {{"buckets", KeyState::U16, integer(getRounds()), 1, /*perQueryHead=*/false}};
}
std::optional<Encoding> ClusterOp::getEncoding(int64_t) {
  return Encoding{Encoding::Cluster,
                  integer(getRounds()),
                  {getCentroids()},
                  {integer(getRounds()), integer(getBuckets().value_or(0)),
                   integer(getSeed().value_or(0))},
                  {}};
}

SmallVector<KeyState> SampleLshOp::getKeyStates(int64_t, int64_t, int64_t) {
  constexpr int64_t kShortBits = 16;
  return {{"hashes", integer(getBits()) <= kShortBits ? KeyState::U16 : KeyState::I32,
           integer(getTables()), 1, /*perQueryHead=*/false},
          {"key_norms", KeyState::F32, 1, 1, /*perQueryHead=*/false}};
}
std::optional<Encoding> SampleLshOp::getEncoding(int64_t) {
  return Encoding{Encoding::Lsh,
                  integer(getTables()),
                  {getMean()},
                  {integer(getTables()), integer(getBits()), integer(getCenter()),
                   integer(getNormalize()), integer(getSeed())},
                  {}};
}
