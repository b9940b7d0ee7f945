//===- ScoresOfTables.cpp - scores that read a digest of K ----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// channels, pq and soft_hash, in float64.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/Selecting.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>

using namespace mlir;
using namespace sparse_attn;

/// low <= value <= high; `what` says what it is a number of.
static LogicalResult verifyCount(Operation *op, StringRef name, uint64_t value,
                                 int64_t low, int64_t high, StringRef what) {
  auto number = static_cast<int64_t>(value);
  if (number >= low && number <= high)
    return success();
  return op->emitOpError() << name << " must be in [" << low << ", " << high << "], got "
                           << number << "; " << what;
}

//===----------------------------------------------------------------------===//
// score.channels
//===----------------------------------------------------------------------===//

LogicalResult ScoreChannelsOp::verify() {
  // (score_channels_c1); (score_channels_c2) is for the attention to ask
  return verifyCount(*this, "count", getCount(), 1, 256,
                     "it is the number of channels of a head");
}

SmallVector<WeightSize> ScoreChannelsOp::getWeightSizes(int64_t) {
  return {{*this, getChannels(), "channels", 1, static_cast<int64_t>(getCount()),
           "its count"}};
}

ArrayRef<TensorSpec> ScoreChannelsOp::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {
      {"channels", 32, false, false, 2, {Axis::HeadsOrOne, Axis::Free}}};
  return specs;
}

/// Rounds to the 16 numbers from the least to the largest of `label`.
static void quantize(std::vector<double> &label) {
  constexpr double kSteps = 15;
  double low = label.front(), high = label.front();
  for (double x : label)
    low = least(low, x), high = largest(high, x);
  double step = (high - low) / kSteps;
  for (double &x : label)
    x = step == 0 ? low : low + step * std::nearbyint((x - low) / step);
}

std::vector<double> ScoreChannelsOp::evaluate(const QueryUnit &row, int64_t,
                                              Evaluator &evaluator) {
  AttentionValues &values = evaluator.attention();
  ArrayRef<double> q = values.query(row.b, row.h, row.i0);
  std::vector<int64_t> channels;
  for (int64_t c = 0; c < static_cast<int64_t>(getCount()); ++c) {
    int64_t channel = evaluator.integer(getChannels(), {row.h, c});
    if (channel < 0 || channel >= static_cast<int64_t>(q.size())) {
      evaluator.fail("channel " + Twine(channel) + " of head " + Twine(row.h) +
                     " is not in [0, D)");
      channel = 0;
    }
    channels.push_back(channel);
  }
  std::vector<double> scores;
  for (int64_t j = 0; j < evaluator.keys(row.b); ++j) {
    ArrayRef<double> key = values.key(row.b, evaluator.keyHead(row.h), j);
    std::vector<double> label;
    for (int64_t channel : channels)
      label.push_back(key[channel]);
    if (getQuantized())
      quantize(label);
    double sum = 0;
    for (auto [channel, x] : llvm::zip_equal(channels, label))
      sum += q[channel] * x;
    scores.push_back(sum / std::sqrt(static_cast<double>(getCount())));
  }
  return scores;
}

//===----------------------------------------------------------------------===//
// score.pq
//===----------------------------------------------------------------------===//

LogicalResult ScorePqOp::verify() {
  // (score_pq_c1), (score_pq_c2); (score_pq_c3) and (score_pq_c4) are for the attention
  return failure(failed(verifyCount(*this, "subvectors", getSubvectors(), 1, 256,
                                    "a row of K is cut into so many pieces")) ||
                 failed(verifyCount(*this, "codes", getCodes(), 2, 65536,
                                    "one code tells nothing apart")));
}

int64_t ScorePqOp::getHeadDimMultiple() { return getSubvectors(); }

SmallVector<WeightSize> ScorePqOp::getWeightSizes(int64_t headDim) {
  auto subvectors = static_cast<int64_t>(getSubvectors());
  return {{*this, getCentroids(), "centroids", 1, subvectors, "its subvectors"},
          {*this, getCentroids(), "centroids", 2, static_cast<int64_t>(getCodes()),
           "its codes"},
          {*this, getCentroids(), "centroids", 3, headDim / subvectors,
           "the length of a subvector"}};
}

ArrayRef<TensorSpec> ScorePqOp::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {
      {"centroids",
       32,
       true,
       false,
       4,
       {Axis::KvHeads, Axis::Free, Axis::Free, Axis::Free}}};
  return specs;
}

std::vector<double> ScorePqOp::evaluate(const QueryUnit &row, int64_t,
                                        Evaluator &evaluator) {
  AttentionValues &values = evaluator.attention();
  int64_t keyHead = evaluator.keyHead(row.h), subvectors = getSubvectors();
  ArrayRef<double> q = values.query(row.b, row.h, row.i0);
  int64_t length = static_cast<int64_t>(q.size()) / subvectors;
  auto centroidOf = [&](int64_t s, int64_t code, int64_t d) {
    return evaluator.at(getCentroids(), {keyHead, s, code, d});
  };
  // codes[j][s]
  using Codes = std::vector<std::vector<int64_t>>;
  int64_t plane = row.b * values.keyHeads() + keyHead;
  const Codes &codes = evaluator.derived<Codes>(*this, plane, [&] {
    Codes codes;
    for (int64_t j = 0; j < evaluator.keys(row.b); ++j) {
      ArrayRef<double> key = values.key(row.b, keyHead, j);
      std::vector<int64_t> &code = codes.emplace_back();
      for (int64_t s = 0; s < subvectors; ++s) {
        auto distanceTo = [&](int64_t c) {
          double sum = 0;
          for (int64_t d = 0; d < length; ++d) {
            double difference = key[s * length + d] - centroidOf(s, c, d);
            sum += difference * difference;
          }
          return sum;
        };
        int64_t nearest = 0;
        double shortest = distanceTo(0);
        for (int64_t c = 1; c < static_cast<int64_t>(getCodes()); ++c)
          if (double distance = distanceTo(c); distance < shortest)
            nearest = c, shortest = distance;
        code.push_back(nearest);
      }
    }
    return codes;
  });
  std::vector<double> scores;
  for (const std::vector<int64_t> &code : codes) {
    double sum = 0;
    for (int64_t s = 0; s < subvectors; ++s)
      for (int64_t d = 0; d < length; ++d)
        sum += q[s * length + d] * centroidOf(s, code[s], d);
    scores.push_back(sum);
  }
  return scores;
}

//===----------------------------------------------------------------------===//
// score.soft_hash
//===----------------------------------------------------------------------===//

LogicalResult ScoreSoftHashOp::verify() {
  // (score_soft_hash_c1), (score_soft_hash_c2)
  if (failed(verifyCount(*this, "tables", getTables(), 1, 4096,
                         "it is the number of hash tables")) ||
      failed(verifyCount(*this, "bits", getBits(), 1, 16, "a table has 2^bits buckets")))
    return failure();
  // (score_soft_hash_c3); (score_soft_hash_c4) is for the attention to ask
  double temperature = getTemperature().convertToDouble();
  if (!(temperature >= 0x1p-126 && temperature <= 0x1p126))
    return emitOpError("temperature must be > 0 and an ordinary f32 number (2^-126 to "
                       "2^126), got ")
           << formatReal(temperature) << "; use score.hash for hard buckets";
  return success();
}

SmallVector<WeightSize> ScoreSoftHashOp::getWeightSizes(int64_t headDim) {
  return {{*this, getProjections(), "projections", 0, static_cast<int64_t>(getTables()),
           "its tables"},
          {*this, getProjections(), "projections", 1, headDim, "the numbers of a row"},
          {*this, getProjections(), "projections", 2, static_cast<int64_t>(getBits()),
           "its bits"}};
}

ArrayRef<TensorSpec> ScoreSoftHashOp::getTensorSpecs() {
  static constexpr TensorSpec specs[] = {
      {"projections", 32, true, false, 3, {Axis::Free, Axis::Free, Axis::Free}}};
  return specs;
}

namespace {
/// The keys of one key/value head: the signs of all bits of all tables, and |v|.
struct SoftKeys {
  std::vector<std::vector<int>> signs;
  std::vector<double> norms;
};
} // namespace

static double norm(ArrayRef<double> x) {
  double sum = 0;
  for (double value : x)
    sum += value * value;
  return std::sqrt(sum);
}

/// x W of every table, one after the other.
static std::vector<double> project(ScoreSoftHashOp op, ArrayRef<double> x,
                                   Evaluator &evaluator) {
  std::vector<double> result;
  for (int64_t table = 0; table < static_cast<int64_t>(op.getTables()); ++table)
    for (int64_t bit = 0; bit < static_cast<int64_t>(op.getBits()); ++bit) {
      double sum = 0;
      for (auto [d, value] : llvm::enumerate(x))
        sum += value *
               evaluator.at(op.getProjections(), {table, static_cast<int64_t>(d), bit});
      result.push_back(sum);
    }
  return result;
}

/// A softmax over corners is a product of one factor for each bit: the probability
/// 1 / (1 + exp(-2 u c)) of its sign c, where u = tanh(q W) / (sqrt(D) temperature).
std::vector<double> ScoreSoftHashOp::evaluate(const QueryUnit &row, int64_t,
                                              Evaluator &evaluator) {
  AttentionValues &values = evaluator.attention();
  int64_t keyHead = evaluator.keyHead(row.h);
  int64_t plane = row.b * values.keyHeads() + keyHead;
  const SoftKeys &keys = evaluator.derived<SoftKeys>(*this, plane, [&] {
    SoftKeys keys;
    for (int64_t j = 0; j < evaluator.keys(row.b); ++j) {
      std::vector<int> &signs = keys.signs.emplace_back();
      for (double x : project(*this, values.key(row.b, keyHead, j), evaluator))
        signs.push_back(x < 0 ? -1 : 1);
      keys.norms.push_back(norm(values.value(row.b, keyHead, j)));
    }
    return keys;
  });
  ArrayRef<double> q = values.query(row.b, row.h, row.i0);
  std::vector<double> soft = project(*this, q, evaluator);
  double heat =
      std::sqrt(static_cast<double>(q.size())) * getTemperature().convertToDouble();
  for (double &u : soft)
    u = std::tanh(u) / heat;
  std::vector<double> scores;
  for (auto [signs, length] : llvm::zip_equal(keys.signs, keys.norms)) {
    double sum = 0;
    for (size_t first = 0; first < soft.size(); first += getBits()) {
      double probability = 1;
      for (size_t bit = first; bit < first + getBits(); ++bit)
        probability /= 1 + std::exp(-2 * soft[bit] * signs[bit]);
      sum += probability;
    }
    scores.push_back(sum * length);
  }
  return scores;
}
