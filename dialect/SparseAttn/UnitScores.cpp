//===- UnitScores.cpp - the scores of key units, emitted ------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What one word of the states (Encodings.cpp) adds to a score. sa_encoding in the
// runtime's abi.h tells what the words of an encoded query are.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/SparseAttn.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sparse_attn;

UnitScoreBuilder::~UnitScoreBuilder() = default;

void ScoreDotOp::buildScore(UnitScoreBuilder &b) { b.dotKeys(); }

/// The largest products with any key of the page, channel by channel.
void ScorePagesOp::buildScore(UnitScoreBuilder &b) {
  b.sumWords(
      [&](Value channel, Lanes sum) { return b.addLargerProduct(channel, 0, 1, sum); });
}

/// agreeing - differing = bits - 2 differing
std::optional<ScoreLevels> ScoreHashOp::getLevels() {
  int64_t bits = getLayers().back();
  return ScoreLevels{bits + 1, static_cast<double>(bits), 2};
}
void ScoreHashOp::buildScore(UnitScoreBuilder &b) {
  b.sumLevels([&](Value word, Lanes differing) {
    return b.addInts(differing,
                     b.popcount(b.bitXor(b.queryBits(word), b.state(0, word))));
  });
}

/// sum of q l, or of q (low + step l) = low (sum of q) + step (sum of q l)
void ScoreChannelsOp::buildScore(UnitScoreBuilder &b) {
  constexpr int64_t kLabelBits = 4, kLabels = 32 / kLabelBits; // in a word
  if (!getQuantized())
    return b.sumWords([&](Value channel, Lanes sum) {
      return b.fma(b.query(channel), b.state(0, channel), sum);
    });
  b.sumWords(
      [&](Value word, Lanes sum) {
        Lanes labels = b.state(0, word);
        for (int64_t i = 0; i < kLabels; ++i) {
          Lanes label = b.toReal(b.bits(labels, i * kLabelBits, kLabelBits));
          sum = b.fma(b.query(b.place(word, kLabels, i)), label, sum);
        }
        return sum;
      },
      [&](Lanes sum) {
        Value only = b.place(0);
        int64_t total = llvm::alignTo(static_cast<int64_t>(getCount()), kLabels);
        Lanes low = b.mul(b.query(b.place(total)), b.state(1, only));
        return b.fma(b.state(2, only), sum, low);
      });
}

void ScorePqOp::buildScore(UnitScoreBuilder &b) {
  auto codes = static_cast<int64_t>(getCodes());
  b.sumWords([&](Value subvector, Lanes sum) {
    return b.add(sum, b.lookup(b.place(subvector, codes), b.state(0, subvector)));
  });
}

void ScoreSoftHashOp::buildScore(UnitScoreBuilder &b) {
  int64_t buckets = int64_t{1} << getBits();
  b.sumWords(
      [&](Value table, Lanes sum) {
        return b.add(sum, b.lookup(b.place(table, buckets), b.state(0, table)));
      },
      [&](Lanes sum) { return b.mul(sum, b.state(1, b.place(0))); });
}

void ScorePooledOp::buildScore(UnitScoreBuilder &b) {
  b.sumWords([&](Value channel, Lanes sum) {
    return b.fma(b.query(channel), b.state(0, channel), sum);
  });
}

/// Sums that no row meets come before the first word, and those of no key are -0: a NaN
/// of the other side is not to meet them.
void ScoreAntidiagonalOp::buildScore(UnitScoreBuilder &b) {
  b.sumLastWords([&](Value word, Lanes sum) {
    Lanes keys = b.state(0, word);
    return b.ifNegativeZero(keys, sum, b.fma(b.query(word), keys, sum));
  });
}
