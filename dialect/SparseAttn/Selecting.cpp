//===- Selecting.cpp - what masks bound at run time share -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/Selecting.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// Units and their scores
//===----------------------------------------------------------------------===//

QueryUnit sparse_attn::getQueryUnit(SelectionOpInterface op, const Pair &pair,
                                    Evaluator &evaluator) {
  int64_t block = op.getBlockQ(), first = pair.i / block * block;
  int64_t end = std::min(first + block, evaluator.attention().queries(pair.b));
  return {pair.b, pair.h, first, end};
}

/// The scores of one head, or their sums over the heads of its group.
static std::vector<double> computeScores(ScoreOpInterface score, QueryUnit rows,
                                         int64_t block, Evaluator &evaluator) {
  if (score.getShare() == Sharing::None)
    return score.evaluate(rows, block, evaluator);
  int64_t group = evaluator.heads() / evaluator.attention().keyHeads();
  int64_t first = rows.h / group * group;
  std::vector<double> sums;
  for (rows.h = first; rows.h < first + group; ++rows.h) {
    std::vector<double> scores = score.evaluate(rows, block, evaluator);
    sums.resize(scores.size());
    for (auto [sum, value] : llvm::zip_equal(sums, scores))
      sum += value;
  }
  return sums;
}

/// The larger one; a NaN is less than any number.
static double larger(double a, double b) { return std::isnan(a) || b > a ? b : a; }

UnitScores sparse_attn::computeUnitScores(SelectionOpInterface op, const QueryUnit &unit,
                                          Evaluator &evaluator) {
  auto score = cast<ScoreOpInterface>(op.getScore().getDefiningOp());
  int64_t block = op.getBlockK(), keys = evaluator.keys(unit.b);
  int64_t count = llvm::divideCeil(keys, block);
  UnitScores units{llvm::BitVector(count),
                   std::vector<double>(count, std::numeric_limits<double>::quiet_NaN())};
  Granularity granularity = score.getGranularity();
  std::vector<double> scores;
  if (granularity == Granularity::Tile)
    scores = computeScores(score, unit, block, evaluator);
  for (int64_t i = unit.i0; i < unit.i1; ++i) {
    QueryUnit row{unit.b, unit.h, i, i + 1};
    if (granularity != Granularity::Tile)
      scores = computeScores(score, row, granularity == Granularity::Key ? 1 : block,
                             evaluator);
    Pair pair{unit.b, unit.h, i, i + evaluator.attention().shift(unit.b), 0};
    for (pair.j = 0; pair.j < keys; ++pair.j) {
      if (evaluator.evaluate(op.getCandidates(), pair) != 1)
        continue;
      int64_t u = pair.j / block;
      units.candidate.set(u);
      double value = scores[granularity == Granularity::Key ? pair.j : u];
      units.score[u] = larger(units.score[u], value);
    }
  }
  return units;
}

std::vector<int64_t> sparse_attn::rankUnits(const UnitScores &units) {
  std::vector<int64_t> order;
  for (unsigned u : units.candidate.set_bits())
    order.push_back(u);
  llvm::sort(order, [&](int64_t a, int64_t b) {
    double x = units.score[a], y = units.score[b];
    if (std::isnan(x) != std::isnan(y))
      return std::isnan(y);
    return x > y || (!(x < y) && a < b);
  });
  return order;
}

//===----------------------------------------------------------------------===//
// Draws
//===----------------------------------------------------------------------===//

/// A bijection of 32-bit words in which every bit of the input moves about half of the
/// output's: the hash of each round.
static uint32_t mix(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352d;
  x ^= x >> 15;
  x *= 0x846ca68b;
  return x ^ x >> 16;
}

KeyedPermutation::KeyedPermutation(int64_t seed, uint32_t plane, uint32_t row,
                                   Stream stream, uint32_t size)
    : size(size) {
  // A network on fewer bits permutes visibly out of balance.
  constexpr unsigned kFewestBits = 8;
  unsigned bits = std::max(kFewestBits, 32u - llvm::countl_zero(std::max(size, 1u) - 1));
  lowBits = bits / 2, highBits = bits - lowBits;
  for (uint32_t draw : {0, 1}) {
    std::array<uint32_t, 4> words = philox4x32(
        static_cast<uint64_t>(seed), {plane, row, draw, static_cast<uint32_t>(stream)});
    llvm::copy(words, keys.begin() + 4 * draw);
  }
}

/// A Feistel network on the bits of size - 1, or eight, walked until it is back below
/// `size`: the cycle through `index` comes back there at last, since it began there.
uint32_t KeyedPermutation::operator()(uint32_t index) const {
  uint32_t highMask = (1u << highBits) - 1, lowMask = (1u << lowBits) - 1;
  do {
    uint32_t high = index >> lowBits, low = index & lowMask;
    for (size_t round = 0; round < keys.size(); round += 2) {
      high ^= mix(low ^ keys[round]) & highMask;
      low ^= mix(high ^ keys[round + 1]) & lowMask;
    }
    index = high << lowBits | low;
  } while (index >= size);
  return index;
}

/// An odd number of [-97 * 2^32, 97 * 2^32], symmetric around 0, as f32 in units of
/// 2^33: the bits of three words are counted and the fourth lies between two counts.
static double drawComponent(int64_t seed, int64_t direction, int64_t coordinate,
                            Stream stream) {
  constexpr int64_t kCounts = 97;
  std::array<uint32_t, 4> words =
      philox4x32(static_cast<uint64_t>(seed),
                 {static_cast<uint32_t>(direction), static_cast<uint32_t>(coordinate), 0,
                  static_cast<uint32_t>(stream)});
  int64_t bits =
      llvm::popcount(words[0]) + llvm::popcount(words[1]) + llvm::popcount(words[2]);
  int64_t odd = 2 * ((bits << 32) + words[3]) + 1 - (kCounts << 32);
  return static_cast<double>(static_cast<float>(odd)) * 0x1p-33;
}

std::vector<std::vector<double>>
sparse_attn::drawDirections(int64_t seed, int64_t count, int64_t width, Stream stream) {
  std::vector<std::vector<double>> directions(count);
  for (auto [index, direction] : llvm::enumerate(directions))
    for (int64_t d = 0; d < width; ++d)
      direction.push_back(drawComponent(seed, index, d, stream));
  return directions;
}

std::vector<int64_t> sparse_attn::listCandidates(Value candidates, const Pair &pair,
                                                 Evaluator &evaluator) {
  std::vector<int64_t> list;
  Pair other = pair;
  for (other.j = 0; other.j < evaluator.keys(pair.b); ++other.j)
    if (evaluator.evaluate(candidates, other) == 1)
      list.push_back(other.j);
  return list;
}

LogicalResult sparse_attn::verifyDraws(Operation *op, std::optional<uint64_t> count,
                                       std::optional<APFloat> rate, StringRef prefix) {
  std::string countName = (prefix + "count").str(), rateName = (prefix + "rate").str();
  int given = count.has_value() + rate.has_value();
  if (given != 1)
    return op->emitOpError("needs exactly one of ")
           << countName << " and " << rateName << ", got " << given << "; write "
           << countName << " = 64 for a number of keys, " << rateName
           << " = 0.1 for a tenth";
  constexpr StringLiteral kInstead = "use sparse_attn.none to draw nothing";
  if (count)
    return verifyParameter(op, countName, static_cast<int64_t>(*count), 1, kInstead);
  return verifyShare(op, rateName, *rate, /*withZero=*/false, kInstead);
}

int64_t sparse_attn::countDraws(std::optional<uint64_t> count,
                                std::optional<APFloat> rate, int64_t candidates) {
  if (count)
    return std::min<int64_t>(*count, candidates);
  return static_cast<int64_t>(rate->convertToDouble() * static_cast<double>(candidates));
}

//===----------------------------------------------------------------------===//
// Verifiers
//===----------------------------------------------------------------------===//

std::string sparse_attn::formatReal(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%g", value);
  return text;
}

LogicalResult sparse_attn::verifyBlockQ(SelectionOpInterface op) {
  return verifyParameter(op, "block_q", static_cast<int64_t>(op.getBlockQ()), 1,
                         "leave it out to choose for every row");
}

LogicalResult sparse_attn::verifyBlockK(SelectionOpInterface op) {
  return verifyParameter(op, "block_k", static_cast<int64_t>(op.getBlockK()), 1,
                         "leave it out to choose single keys");
}

LogicalResult sparse_attn::verifyShare(Operation *op, StringRef name,
                                       const APFloat &value, bool withZero,
                                       StringRef instead) {
  double number = value.convertToDouble();
  if ((number > 0 || (withZero && number == 0)) && number <= 1)
    return success();
  return op->emitOpError() << name << " must be in " << (withZero ? "[" : "(")
                           << "0, 1], got " << formatReal(number) << "; " << instead;
}
