//===- ChooseKeysTest.cpp - the units that a selection takes --------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Against a sort of the candidates: small cases exhaustively, and large ones in
// which the runtime samples, for scores that tempt it to do too much or to guess wrong.
//
//===----------------------------------------------------------------------===//

extern "C" {
#include "choose_keys.h"
#include "score_pass.h"
}

#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

using Set = std::vector<bool>;

/// One choice: scores, candidates, and the room that the runtime asks for.
class Choice {
public:
  Choice(std::vector<float> scores, Set candidates)
      : scores(std::move(scores)), candidates(std::move(candidates)),
        words(pack(this->candidates)) {
    for (size_t u = 0; u < this->scores.size(); ++u)
      if (this->candidates[u])
        order.push_back(u);
    std::sort(order.begin(), order.end(), [this](size_t a, size_t b) {
      float x = this->scores[a], y = this->scores[b];
      if (std::isnan(x) != std::isnan(y))
        return std::isnan(y);
      return x > y || (!(x < y) && a < b);
    });
  }

  /// The candidates from the best to the worst.
  const std::vector<size_t> &ranked() const { return order; }

  Set topK(int64_t k) {
    return choose([&](void *room, uint64_t *chosen) {
      sa_choose_top_k(scores.data(), words.data(), units(), k, room, chosen);
    });
  }
  /// Of scores 0, -1, ..., -255: their levels are bytes, in whole words.
  Set topKLevels(int64_t k) {
    constexpr uint8_t kNothing = 0;
    std::vector<uint8_t> levels(words.size() * 64, kNothing);
    for (size_t u = 0; u < scores.size(); ++u)
      levels[u] = static_cast<uint8_t>(-scores[u]);
    return choose([&](void *, uint64_t *chosen) {
      sa_choose_top_k_levels(levels.data(), words.data(), units(), k, chosen);
    });
  }
  Set topP(double p) {
    return choose([&](void *room, uint64_t *chosen) {
      sa_choose_top_p(scores.data(), words.data(), units(), p, room, chosen);
    });
  }
  Set threshold(double least) {
    return choose([&](void *, uint64_t *chosen) {
      sa_choose_threshold(scores.data(), words.data(), units(), least, chosen);
    });
  }

  Set expectedTopK(int64_t k) const {
    Set chosen(scores.size());
    for (int64_t i = 0; i < k && i < static_cast<int64_t>(order.size()); ++i)
      chosen[order[i]] = true;
    return chosen;
  }
  /// False in `isClear` where what decides is within rounding.
  Set expectedTopP(double p, bool &isClear) const {
    auto massOf = [&](size_t u) {
      double best = scores[order.front()], score = scores[u];
      return std::isnan(score) ? 0 : score == best ? 1 : std::exp(score - best);
    };
    double total = 0, mass = 0;
    for (size_t u : order)
      total += massOf(u);
    Set chosen(scores.size());
    isClear = true;
    for (size_t rank = 0; rank < order.size(); ++rank) {
      bool isTie = rank > 0 && scores[order[rank]] == scores[order[rank - 1]];
      isClear &= isTie || rank == 0 || p == 1 || total == 0 ||
                 std::abs(mass - p * total) > 1e-12 * total;
      if (mass > p * total && !isTie)
        break;
      chosen[order[rank]] = true;
      mass += massOf(order[rank]);
    }
    return chosen;
  }
  Set expectedThreshold(double least) const {
    Set chosen(scores.size());
    for (size_t u : order)
      chosen[u] = static_cast<double>(scores[u]) >= least;
    return chosen;
  }

private:
  int64_t units() const { return static_cast<int64_t>(scores.size()); }

  static std::vector<uint64_t> pack(const Set &set) {
    std::vector<uint64_t> words((set.size() + 63) / 64);
    for (size_t u = 0; u < set.size(); ++u)
      words[u / 64] |= uint64_t(set[u]) << u % 64;
    return words;
  }

  /// What `run` writes; neither its room nor its result may be touched outside.
  template <typename Run> Set choose(Run run) {
    constexpr uint64_t kGuard = 0x5a5a5a5a5a5a5a5a;
    std::vector<uint64_t> room(sa_choose_room_bytes(units()) / 8 + 2, kGuard);
    std::vector<uint64_t> chosen(words.size() + 1, kGuard);
    run(room.data(), chosen.data());
    EXPECT_EQ(room.back(), kGuard);
    EXPECT_EQ(chosen.back(), kGuard);
    Set set(scores.size());
    for (size_t u = 0; u < set.size(); ++u) {
      set[u] = chosen[u / 64] >> u % 64 & 1;
      chosen[u / 64] &= ~(uint64_t(1) << u % 64);
    }
    for (size_t w = 0; w < words.size(); ++w)
      EXPECT_EQ(chosen[w], 0u) << "past the last unit";
    return set;
  }

  std::vector<float> scores;
  Set candidates;
  std::vector<uint64_t> words;
  std::vector<size_t> order;
};

/// Calls `check` with every pattern of `alphabet` over `units` units, and every set of
/// candidates.
template <typename Check>
void forEveryCase(const std::vector<float> &alphabet, int units, Check check) {
  size_t patterns = 1;
  for (int u = 0; u < units; ++u)
    patterns *= alphabet.size();
  for (size_t pattern = 0; pattern < patterns; ++pattern) {
    std::vector<float> scores;
    for (size_t rest = pattern; scores.size() < static_cast<size_t>(units);
         rest /= alphabet.size())
      scores.push_back(alphabet[rest % alphabet.size()]);
    for (int bits = 0; bits < 1 << units; ++bits) {
      Set candidates(units);
      for (int u = 0; u < units; ++u)
        candidates[u] = bits >> u & 1;
      Choice choice(scores, candidates);
      check(choice, units);
      if (testing::Test::HasFailure())
        return;
    }
  }
}

const std::vector<float> kAll = {-kInfinity, -1.0f, -0.0f, 0.0f, 1.0f, kInfinity, kNan};
const std::vector<float> kFew = {-0.0f, 0.0f, 1.0f, kNan};

TEST(ChooseTopK, everySmallCase) {
  auto check = [](Choice &choice, int units) {
    for (int k = 0; k <= units + 1; ++k)
      ASSERT_EQ(choice.topK(k), choice.expectedTopK(k)) << k;
  };
  for (int units = 0; units <= 4; ++units)
    forEveryCase(kAll, units, check);
  forEveryCase(kFew, 6, check);
}

TEST(ChooseThreshold, everySmallCase) {
  forEveryCase(kAll, 4, [](Choice &choice, int) {
    for (double least : {double(-kInfinity), -1e300, -1.0, -1e-300, -0.0, 0.0, 1e-300,
                         0.5, 1.0, 1 + 1e-12, 1e300, double(kInfinity)})
      ASSERT_EQ(choice.threshold(least), choice.expectedThreshold(least)) << least;
  });
}

/// Scores of large cases.
using Draw = float (*)(std::mt19937 &, size_t unit);

float drawNormal(std::mt19937 &random, size_t) {
  return std::normal_distribution<float>()(random);
}
float drawNegative(std::mt19937 &random, size_t) {
  return -std::exp(std::normal_distribution<float>(0, 20)(random));
}
float drawAscending(std::mt19937 &, size_t unit) { return static_cast<float>(unit); }
float drawDescending(std::mt19937 &, size_t unit) { return -static_cast<float>(unit); }
float drawEqual(std::mt19937 &, size_t) { return 2; }
float drawTwo(std::mt19937 &random, size_t) { return random() % 10 == 0; }
float drawSigns(std::mt19937 &random, size_t) {
  int bits = 0;
  for (int i = 0; i < 32; ++i)
    bits += random() >> 13 & 1;
  return static_cast<float>(bits - 16);
}
float drawTies(std::mt19937 &random, size_t unit) {
  return random() % 2 ? 0.25f : drawNormal(random, unit);
}
float drawNans(std::mt19937 &random, size_t unit) {
  return random() % 8 ? kNan : drawNormal(random, unit);
}
float drawNan(std::mt19937 &, size_t) { return kNan; }
float drawInfinities(std::mt19937 &random, size_t unit) {
  uint32_t kind = random() % 4;
  return kind == 0 ? kInfinity : kind == 1 ? -kInfinity : drawNormal(random, unit);
}
float drawZeros(std::mt19937 &random, size_t) { return random() % 2 ? 0.0f : -0.0f; }
// A few thousand neighbours.
float drawSteps(std::mt19937 &random, size_t) {
  return 1 + static_cast<float>(random() % 4096) * std::numeric_limits<float>::epsilon();
}
float drawBits(std::mt19937 &random, size_t) {
  uint32_t bits = random();
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

constexpr Draw kDraws[] = {drawNormal, drawNegative, drawAscending,  drawDescending,
                           drawEqual,  drawTwo,      drawSigns,      drawTies,
                           drawNans,   drawNan,      drawInfinities, drawZeros,
                           drawSteps,  drawBits};

Choice makeLarge(Draw draw, size_t units, double share, std::mt19937 &random) {
  std::vector<float> scores;
  Set candidates;
  for (size_t u = 0; u < units; ++u) {
    scores.push_back(draw(random, u));
    candidates.push_back(share == 1 ||
                         std::uniform_real_distribution<double>()(random) < share);
  }
  return {std::move(scores), std::move(candidates)};
}

/// Calls `check` with large cases of all kinds.
template <typename Check> void forLargeCases(Check check) {
  std::mt19937 random(3);
  for (size_t draw = 0; draw < std::size(kDraws); ++draw)
    for (size_t units : {63, 64, 65, 1000, 4095, 4096, 4097, 20000})
      for (double share : {1.0, 0.98, 0.5, 0.14, 0.05}) {
        SCOPED_TRACE(testing::Message()
                     << "kind " << draw << ", " << units << " units, share " << share);
        Choice choice = makeLarge(kDraws[draw], units, share, random);
        check(choice);
        if (testing::Test::HasFailure())
          return;
      }
}

TEST(ChooseTopK, everyLargeCase) {
  forLargeCases([](Choice &choice) {
    auto count = static_cast<int64_t>(choice.ranked().size());
    for (int64_t k : {int64_t(1), int64_t(2), int64_t(64), count / 100, count / 10,
                      count / 8, count / 2, count - 1, count, count + 1})
      ASSERT_EQ(choice.topK(k), choice.expectedTopK(k)) << k;
  });
}

//===----------------------------------------------------------------------===//
// Levels
//===----------------------------------------------------------------------===//

TEST(ChooseTopKLevels, everySmallCase) {
  forEveryCase({0.0f, -1.0f, -254.0f, -255.0f}, 5, [](Choice &choice, int units) {
    for (int k = 0; k <= units + 1; ++k)
      ASSERT_EQ(choice.topKLevels(k), choice.expectedTopK(k)) << k;
  });
}

float drawSignLevels(std::mt19937 &random, size_t unit) {
  return drawSigns(random, unit) - 16;
}
float drawBytes(std::mt19937 &random, size_t) {
  return -static_cast<float>(random() >> 24);
}
float drawBest(std::mt19937 &, size_t) { return 0; }
float drawWorst(std::mt19937 &, size_t) { return -255; }
float drawEnds(std::mt19937 &random, size_t) { return random() % 10 ? -255 : 0; }
constexpr Draw kLevelDraws[] = {drawSignLevels, drawBytes, drawBest, drawWorst, drawEnds};

TEST(ChooseTopKLevels, everyLargeCase) {
  std::mt19937 random(9);
  for (Draw draw : kLevelDraws)
    for (size_t units : {63, 64, 65, 1000, 20000})
      for (double share : {1.0, 0.5, 0.05}) {
        Choice choice = makeLarge(draw, units, share, random);
        auto count = static_cast<int64_t>(choice.ranked().size());
        for (int64_t k :
             {int64_t(1), int64_t(2), count / 10, count / 2, count - 1, count, count + 1})
          ASSERT_EQ(choice.topKLevels(k), choice.expectedTopK(k))
              << units << " units, share " << share << ", k " << k;
      }
}

/// Those that the runtime looks at to guess where the best ones end, and some more.
Set sampleUnits(size_t units) {
  Set sampled(units);
  for (int i = 0; i < 1100; ++i)
    sampled[sa_sample_unit(i, static_cast<int64_t>(units))] = true;
  return sampled;
}

/// Scores that are `seen` where the runtime samples.
std::vector<float> drawMisleading(const Set &sampled, float seen, Draw draw,
                                  std::mt19937 &random) {
  std::vector<float> scores;
  for (size_t u = 0; u < sampled.size(); ++u)
    scores.push_back(sampled[u] ? seen : draw(random, u));
  return scores;
}

// What the runtime samples has one level, the rest others, on either side of it.
TEST(ChooseTopKLevels, aMisleadingSample) {
  constexpr size_t kUnits = 20000;
  std::mt19937 random(10);
  Set sampled = sampleUnits(kUnits);
  for (float seen : {0.0f, -1.0f, -100.0f, -255.0f})
    for (Draw draw : kLevelDraws) {
      std::vector<float> scores = drawMisleading(sampled, seen, draw, random);
      Choice choice(std::move(scores), Set(kUnits, true));
      for (int64_t k : {1, 700, 2000, 9000, 19000, 19999})
        ASSERT_EQ(choice.topKLevels(k), choice.expectedTopK(k)) << seen << ", k " << k;
    }
}

constexpr double kShares[] = {0, 1e-9, 0.1, 0.35, 0.5, 0.75, 0.9, 0.999, 1};

TEST(ChooseTopP, everySmallCase) {
  auto check = [](Choice &choice, int) {
    for (double p : kShares) {
      bool isClear;
      Set expected = choice.expectedTopP(p, isClear);
      ASSERT_EQ(choice.topP(p), expected) << p;
      ASSERT_TRUE(isClear);
    }
  };
  for (int units = 0; units <= 4; ++units)
    forEveryCase(kAll, units, check);
  forEveryCase({0.0f, -0.0f, 3.0f, 3.5f, kNan}, 5, check);
}

// Section 10 of docs/semantics.md.
TEST(ChooseTopP, workedCase) {
  std::vector<float> scores;
  for (double mass : {0.1, 0.3, 0.2, 0.4})
    scores.push_back(static_cast<float>(std::log(mass) + 50));
  Choice choice(scores, Set(4, true));
  EXPECT_EQ(choice.topP(0.35), (Set{false, false, false, true}));
  EXPECT_EQ(choice.topP(0.6), (Set{false, true, false, true}));
  EXPECT_EQ(choice.topP(0.75), (Set{false, true, true, true}));
}

void expectTopP(Choice &choice) {
  int clear = 0;
  for (double p : kShares) {
    bool isClear;
    Set expected = choice.expectedTopP(p, isClear);
    clear += isClear;
    if (isClear)
      ASSERT_EQ(choice.topP(p), expected) << p;
  }
  EXPECT_GE(clear, 6);
}

TEST(ChooseTopP, everyLargeCase) { forLargeCases(expectTopP); }

// All scores in one bucket of the masses, at its ends, and further away than the last.
TEST(ChooseTopP, everyScale) {
  constexpr int kUnits = 2999; // no share of it is a whole number
  std::mt19937 random(6);
  for (float scale : {1e-30f, 1e-6f, 1e-3f, 1.0f / 64, 1.0f / 32, 0.1f, 1.0f, 8.0f, 40.0f,
                      1e10f, 1e37f})
    for (float shift : {0.0f, 1.0f, -300.0f}) {
      std::vector<float> scores, steps;
      for (int u = 0; u < kUnits; ++u) {
        scores.push_back(drawNormal(random, u) * scale + shift);
        steps.push_back(static_cast<float>(static_cast<int>(random() % 64)) * scale +
                        shift);
      }
      for (std::vector<float> *list : {&scores, &steps}) {
        SCOPED_TRACE(testing::Message() << scale << " + " << shift);
        Choice choice(std::move(*list), Set(kUnits, true));
        expectTopP(choice);
      }
    }
}

// Shares that end just before and just after a unit: masses are as good as that.
TEST(ChooseTopP, theShareOfAUnit) {
  std::mt19937 random(8);
  for (float scale : {0.001f, 0.3f, 1.0f, 4.0f}) {
    std::vector<float> scores;
    for (int u = 0; u < 5000; ++u)
      scores.push_back(scale * drawNormal(random, u));
    Choice choice(scores, Set(5000, true));
    const std::vector<size_t> &ranked = choice.ranked();
    double total = 0, mass = 0;
    auto massOf = [&](size_t u) {
      return std::exp(double(scores[u]) - scores[ranked[0]]);
    };
    for (size_t u : ranked)
      total += massOf(u);
    for (size_t rank = 0; rank < 2000; mass += massOf(ranked[rank++]))
      if (rank % 97 == 1)
        for (double error : {-5e-12, 5e-12}) {
          bool isClear;
          double p = mass / total + error;
          Set expected = choice.expectedTopP(p, isClear);
          if (isClear)
            ASSERT_EQ(choice.topP(p), expected) << scale << ", " << rank;
        }
  }
}

// Many scores of little mass make up what the few heavy ones leave.
TEST(ChooseTopP, aLongTail) {
  std::mt19937 random(7);
  std::vector<float> scores(200000);
  for (float &score : scores)
    score = -12 + 0.5f * drawNormal(random, 0);
  for (int needle = 0; needle < 10; ++needle)
    scores[random() % scores.size()] = 0.1f * static_cast<float>(needle);
  Choice choice(std::move(scores), Set(200000, true));
  expectTopP(choice);
}

TEST(ChooseThreshold, everyLargeCase) {
  forLargeCases([](Choice &choice) {
    for (double least : {-1.0, 0.0, 0.25, 0.3, 2.0})
      ASSERT_EQ(choice.threshold(least), choice.expectedThreshold(least)) << least;
  });
}

TEST(ChooseTopK, everyRankOfSomeRows) {
  std::mt19937 random(4);
  for (Draw draw : {drawNormal, drawTies, drawSigns, drawSteps}) {
    Choice choice = makeLarge(draw, 5000, 0.9, random);
    Set expected(5000);
    for (size_t k = 1; k <= choice.ranked().size(); ++k) {
      expected[choice.ranked()[k - 1]] = true;
      ASSERT_EQ(choice.topK(static_cast<int64_t>(k)), expected) << k;
    }
  }
}

// The units that the runtime samples have other scores than the rest.
TEST(ChooseTopK, aMisleadingSample) {
  constexpr size_t kUnits = 60000;
  std::mt19937 random(5);
  Set sampled = sampleUnits(kUnits);
  int64_t rest = std::count(sampled.begin(), sampled.end(), false);
  float step = std::numeric_limits<float>::epsilon();
  for (float seen : {kNan, -kInfinity, 0.0f, 1 - step, 1.0f, 1 + step, 2.0f, kInfinity})
    for (Draw draw :
         {drawNormal, drawSteps, drawTwo, drawNans, drawInfinities, drawNan}) {
      std::vector<float> scores = drawMisleading(sampled, seen, draw, random);
      std::vector<int64_t> counts = {1, 60, 2000, rest / 3, rest - 300, rest, rest + 300};
      // Where the best ones end at what was seen, or at one of its neighbours.
      for (float value : {seen - step, seen, seen + step})
        for (int more : {0, 1})
          counts.push_back(more + std::count_if(scores.begin(), scores.end(),
                                                [=](float s) { return s > value; }));
      Choice choice(std::move(scores), Set(kUnits, true));
      for (int64_t k : counts)
        ASSERT_EQ(choice.topK(k), choice.expectedTopK(k)) << seen << ", k " << k;
    }
}

} // namespace
