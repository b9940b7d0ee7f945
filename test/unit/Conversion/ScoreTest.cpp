//===- ScoreTest.cpp - scores of key units against plain loops ------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every sa_score_fn of every level of this machine, on random states. The loops know
// abi.h alone: what the words of states and queries are.
//
//===----------------------------------------------------------------------===//

#include "GeneratedCode.h"
#include "llvm/ADT/bit.h"
#include "gtest/gtest.h"
#include <cmath>
#include <functional>
#include <optional>

using namespace sparse_attn;

namespace {

constexpr int64_t kLanes = SA_STATE_LANES;

/// One array of states: what is not a number of it lies past the last unit.
struct States {
  int32_t word;
  int64_t width;
  uint32_t limit; ///< of integers; 0: any

  int64_t bytes() const { return word == SA_WORD_U8 ? 1 : word == SA_WORD_U16 ? 2 : 4; }
};

/// Words of one unit and of the query, as 32 bits each.
struct Unit {
  std::vector<const uint8_t *> arrays;
  std::vector<States> states;
  const uint32_t *query;
  int64_t unit;

  uint32_t bits(int n, int64_t word) const {
    int64_t at = (unit / kLanes * states[n].width + word) * kLanes + unit % kLanes;
    const uint8_t *p = arrays[n] + at * states[n].bytes();
    uint32_t value = 0;
    std::memcpy(&value, p, states[n].bytes());
    return value;
  }
  double real(int n, int64_t word) const { return llvm::bit_cast<float>(bits(n, word)); }
  double q(int64_t word) const { return llvm::bit_cast<float>(query[word]); }
};

struct ScoreCase {
  std::string op;
  int64_t block;
  std::vector<States> states;
  int64_t queryWords;
  bool integerQuery;
  /// Calls its argument with every term, and returns by what their sum is multiplied.
  std::function<double(const Unit &, std::function<void(double)>)> terms;
  std::optional<uint32_t> lastQueryWord = std::nullopt; ///< nullopt: any
  bool areBounds = false; ///< words of the first state are at most those of the second
  int64_t bits = 0; ///< > 0: what is made are bytes, and the score is bits - 2 * byte
};

constexpr int64_t kHeadDim = 40;
constexpr uint32_t kNegativeZero = 0x80000000;

/// sum of q[w] s[w]
ScoreCase products(std::string op, int64_t block, int64_t width) {
  return {std::move(op),
          block,
          {{SA_WORD_F32, width, 0}},
          width,
          false,
          [=](const Unit &u, const std::function<void(double)> &add) {
            for (int64_t w = 0; w < width; ++w)
              add(u.q(w) * u.real(0, w));
            return 1.0;
          }};
}

/// Sums of which the query's last word tells the first that counts, and -0 does not.
ScoreCase antidiagonal(int64_t stride, int64_t block, int64_t rows,
                       int64_t headDim = kHeadDim) {
  int64_t residues = std::min(stride, block), width = residues * headDim;
  auto first = std::min(std::max<int64_t>(0, stride - rows), residues) * headDim;
  return {"antidiagonal stride = " + std::to_string(stride),
          block,
          {{SA_WORD_F32, width, 0}},
          width + 1,
          false,
          [=](const Unit &u, const std::function<void(double)> &add) {
            for (int64_t w = first; w < width; ++w)
              if (u.bits(0, w) != kNegativeZero)
                add(u.q(w) * u.real(0, w));
            return 1.0;
          },
          static_cast<uint32_t>(first)};
}

/// A byte tells up to 255 differing bits of one head apart.
ScoreCase hash(int64_t bits, const std::string &hidden = "", bool shared = false) {
  return {"hash %w, %w layers = [" + hidden + std::to_string(bits) +
              (shared ? "] share = group" : "]") + " : tensor<?x?xf32>, tensor<?x?xf32>",
          1,
          {{SA_WORD_I32, bits / 32, 0}},
          bits / 32,
          true,
          [=](const Unit &u, const std::function<void(double)> &add) {
            for (int64_t i = 0; i < bits; ++i)
              add((u.query[i / 32] >> i % 32 & 1) == (u.bits(0, i / 32) >> i % 32 & 1)
                      ? 1
                      : -1);
            return 1.0;
          },
          std::nullopt,
          /*areBounds=*/false,
          bits < 256 && !shared ? bits : 0};
}

ScoreCase pages(int64_t block) {
  return {"pages",
          block,
          {{SA_WORD_F32, kHeadDim, 0}, {SA_WORD_F32, kHeadDim, 0}},
          kHeadDim,
          false,
          [](const Unit &u, const std::function<void(double)> &add) {
            for (int64_t d = 0; d < kHeadDim; ++d)
              add(std::fmax(u.q(d) * u.real(0, d), u.q(d) * u.real(1, d)));
            return 1.0;
          },
          std::nullopt,
          /*areBounds=*/true};
}

ScoreCase quantizedChannels(int64_t count) {
  int64_t words = (count + 7) / 8;
  return {"channels %channels count = " + std::to_string(count) +
              " quantized = true : tensor<?x?xi32>",
          1,
          {{SA_WORD_I32, words, 0}, {SA_WORD_F32, 1, 0}, {SA_WORD_F32, 1, 0}},
          8 * words + 1,
          false,
          [=](const Unit &u, const std::function<void(double)> &add) {
            for (int64_t i = 0; i < 8 * words; ++i)
              add(u.q(i) * u.real(2, 0) * (u.bits(0, i / 8) >> 4 * (i % 8) & 15));
            add(u.q(8 * words) * u.real(1, 0));
            return 1.0;
          }};
}

ScoreCase tables(std::string op, int32_t word, int64_t count, int64_t size, bool norms) {
  std::vector<States> states = {{word, count, static_cast<uint32_t>(size)}};
  if (norms)
    states.push_back({SA_WORD_F32, 1, 0});
  return {std::move(op),
          1,
          states,
          count * size,
          false,
          [=](const Unit &u, const std::function<void(double)> &add) {
            for (int64_t t = 0; t < count; ++t)
              add(u.q(t * size + u.bits(0, t)));
            return norms ? u.real(1, 0) : 1.0;
          }};
}

ScoreCase pq(int64_t subvectors, int64_t codes) {
  return tables("pq %centroids subvectors = " + std::to_string(subvectors) +
                    " codes = " + std::to_string(codes) + " : tensor<?x?x?x?xf32>",
                codes <= 256 ? SA_WORD_U8 : SA_WORD_U16, subvectors, codes, false);
}
ScoreCase softHash(int64_t count, int64_t bits) {
  return tables("soft_hash %projections tables = " + std::to_string(count) + " bits = " +
                    std::to_string(bits) + " temperature = 0.3 : tensor<?x?x?xf32>",
                SA_WORD_U16, count, int64_t{1} << bits, true);
}

const std::vector<ScoreCase> &getCases() {
  const std::string channels = "channels %channels count = ";
  static const std::vector<ScoreCase> cases = {
      hash(32),
      hash(96),
      hash(256),
      hash(64, "8, "),
      hash(224),
      hash(32, "", /*shared=*/true),
      pages(1),
      pages(16),
      products(channels + "1 : tensor<?x?xi32>", 1, 1),
      products(channels + "11 : tensor<?x?xi32>", 1, 11),
      quantizedChannels(1),
      quantizedChannels(8),
      quantizedChannels(43),
      pq(1, 2),
      pq(4, 256),
      pq(5, 257),
      pq(2, 65536),
      softHash(1, 1),
      softHash(7, 10),
      softHash(2, 16),
      products("pooled", 16, kHeadDim),
      products("pooled query_gate(%gate : tensor<?x?x?xf32>) "
               "key_gate(%gate : tensor<?x?x?xf32>) width = 7",
               16, 7),
      antidiagonal(4, 16, 4),
      antidiagonal(4, 16, 3),
      antidiagonal(16, 3, 16),
      antidiagonal(16, 3, 13),
      antidiagonal(128, 256, 5)};
  return cases;
}

/// A kernel whose mask asks for `scores`, of units of `blocks` keys.
std::string makePlans(const std::vector<std::string> &scores,
                      const std::vector<int64_t> &blocks, const std::string &type) {
  std::string text = "func.func @kernel(%q: " + type + ", %k: " + type + ", %v: " + type +
                     R"(, %w: tensor<?x?xf32>, %channels: tensor<?x?xi32>,
      %centroids: tensor<?x?x?x?xf32>, %projections: tensor<?x?x?xf32>,
      %gate: tensor<?x?x?xf32>) {)";
  std::string names, types, sizes;
  for (size_t n = 0; n < scores.size(); ++n) {
    std::string name = "%s" + std::to_string(n), comma = n ? ", " : "";
    text += "\n  " + name + " = sparse_attn.score." + scores[n];
    names += comma + name;
    types += comma + "!sparse_attn.score";
    sizes += comma + std::to_string(blocks[n]);
  }
  text += "\n  %o, %l = block_plan.attention %q, %k, %v scores(" + names + " : " + types +
          R"() {binding = #block_plan<binding plan>, scale = 0.125 : f64,
       tile = array<i64: 1, 64>, key_block = 0 : i64, checks = [], tables = [],
       score_blocks = array<i64: )" +
          sizes + ">} : " + type + ", " + type + ", " + type + " -> " + type +
          R"(, tensor<?x?x?xf32> classify {
    ^bb0(%b: i32, %h: i32, %p0: i32, %p1: i32, %j0: i32, %j1: i32, %step: i32):
      %t = arith.constant true
      block_plan.yield %t, %t : i1, i1
  } predicate {
  } modify {
  }
  return
})";
  return text;
}

/// Every byte is 0xff: floats are NaN, codes past any table.
constexpr int kNothing = 0xff;
constexpr float kUntouched = 12345;

/// Runs one function on `units` random units and compares with the case's terms.
void check(sa_score_fn function, const ScoreCase &c, int64_t units, Numbers &numbers) {
  int64_t room = (units + kLanes - 1) / kLanes * kLanes;
  std::vector<std::unique_ptr<GuardedMemory>> memory;
  std::vector<const void *> pointers;
  Unit unit = {{}, c.states, nullptr, 0};
  for (const States &states : c.states) {
    memory.push_back(
        std::make_unique<GuardedMemory>(room * states.width * states.bytes()));
    auto *words = memory.back()->as<uint8_t>();
    std::memset(words, kNothing, room * states.width * states.bytes());
    for (int64_t u = 0; u < units; ++u)
      for (int64_t w = 0; w < states.width; ++w) {
        uint32_t value = states.limit ? numbers.bits() % states.limit : numbers.bits();
        if (states.word == SA_WORD_F32)
          value = llvm::bit_cast<uint32_t>(numbers.real());
        int64_t at = (u / kLanes * states.width + w) * kLanes + u % kLanes;
        std::memcpy(words + at * states.bytes(), &value, states.bytes());
      }
    pointers.push_back(words);
    unit.arrays.push_back(words);
  }
  for (int64_t i = 0; c.areBounds && i < room * c.states[0].width; ++i) {
    float &low = memory[0]->as<float>()[i], &high = memory[1]->as<float>()[i];
    if (low > high)
      std::swap(low, high);
  }
  GuardedMemory query(c.queryWords * sizeof(float));
  for (int64_t w = 0; w < c.queryWords; ++w)
    query.as<uint32_t>()[w] =
        c.integerQuery ? numbers.bits() : llvm::bit_cast<uint32_t>(numbers.real());
  if (c.lastQueryWord)
    query.as<uint32_t>()[c.queryWords - 1] = *c.lastQueryWord;
  unit.query = query.as<uint32_t>();
  GuardedMemory scores(room * (c.bits ? sizeof(uint8_t) : sizeof(float)));
  if (!c.bits)
    std::fill_n(scores.as<float>(), room, kUntouched);
  sa_score_args args = {
      pointers.data(), unit.query, scores.as<uint8_t>(), units, nullptr, 0, 0};
  function(&args);
  for (unit.unit = 0; unit.unit < units; ++unit.unit) {
    double sum = 0, magnitude = 0;
    double factor = c.terms(unit, [&](double term) {
      sum += term;
      magnitude += std::abs(term);
    });
    double score = c.bits ? c.bits - 2.0 * scores.as<uint8_t>()[unit.unit]
                          : scores.as<float>()[unit.unit];
    ASSERT_NEAR(score, sum * factor, 1e-6 * std::abs(magnitude * factor))
        << "unit " << unit.unit << " of " << units;
  }
}

TEST(Score, everyScoreOfStates) {
  std::vector<std::string> ops;
  std::vector<int64_t> blocks;
  for (const ScoreCase &c : getCases())
    ops.push_back(c.op), blocks.push_back(c.block);
  std::string plans = makePlans(ops, blocks, "tensor<?x?x?x40xf32>");
  for (const CPULevel *level : getLevelsHere()) {
    GeneratedCode code(plans, *level);
    Numbers numbers(1);
    for (size_t n = 0; n < ops.size(); ++n) {
      SCOPED_TRACE(level->name.str() + ": " + ops[n]);
      sa_score_fn function = code.get<sa_score_fn>("score" + std::to_string(n));
      for (int64_t units : {0, 1, 15, 16, 17, 63, 64, 65, 1000})
        check(function, getCases()[n], units, numbers);
    }
  }
}

// Words are summed some at a time, and those from the first one that counts need not be a
// multiple of that.
TEST(Score, antidiagonalOfAnOddWidth) {
  constexpr int64_t kOdd = 33;
  for (const CPULevel *level : getLevelsHere()) {
    GeneratedCode code(
        makePlans({"antidiagonal stride = 4"}, {16}, "tensor<?x?x?x33xf32>"), *level);
    Numbers numbers(3);
    for (int64_t rows : {1, 2, 3, 4})
      for (int64_t units : {1, 17, 65}) {
        SCOPED_TRACE(level->name.str() + ", rows " + std::to_string(rows));
        check(code.get<sa_score_fn>("score0"), antidiagonal(4, 16, rows, kOdd), units,
              numbers);
      }
  }
}

// A NaN of either bound, and of either product, is in the score: 0 * inf, as
// docs/semantics.md has it.
TEST(Score, pagesKeepNaN) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const CPULevel *level : getLevelsHere()) {
    GeneratedCode code(makePlans({"pages"}, {16}, "tensor<?x?x?x40xf32>"), *level);
    GuardedMemory low(kHeadDim * kLanes * sizeof(float)), query(kHeadDim * sizeof(float)),
        high(kHeadDim * kLanes * sizeof(float)), scores(kLanes * sizeof(float));
    low.as<float>()[0] = -kInfinity; // times 0: NaN
    high.as<float>()[1] = kInfinity; // times 0: NaN
    high.as<float>()[kLanes + 2] = std::nanf("");
    low.as<float>()[kLanes + 3] = -kInfinity; // times 2: below 0
    query.as<float>()[1] = 2;
    const void *states[] = {low.as<float>(), high.as<float>()};
    sa_score_args args = {states, query.as<float>(), scores.as<float>(), 4, nullptr, 0,
                          0};
    code.get<sa_score_fn>("score0")(&args);
    EXPECT_TRUE(std::isnan(scores.as<float>()[0]));
    EXPECT_TRUE(std::isnan(scores.as<float>()[1]));
    EXPECT_TRUE(std::isnan(scores.as<float>()[2]));
    EXPECT_EQ(scores.as<float>()[3], 0);
  }
}

// What no row, or no key, meets is not in the score, whatever the other side holds: 0 *
// NaN would be NaN.
TEST(Score, antidiagonalLeavesOut) {
  constexpr int64_t kStride = 4, kWidth = kStride * kHeadDim, kRows = 3;
  const float kNaN = std::nanf("");
  for (const CPULevel *level : getLevelsHere()) {
    GeneratedCode code(
        makePlans({"antidiagonal stride = 4"}, {16}, "tensor<?x?x?x40xf32>"), *level);
    GuardedMemory sums(kWidth * kLanes * sizeof(float)),
        query((kWidth + 1) * sizeof(float)), scores(kLanes * sizeof(float));
    auto sum = [&](int64_t residue, int64_t unit) -> float & {
      return sums.as<float>()[residue * kHeadDim * kLanes + unit];
    };
    std::fill_n(sums.as<float>(), kWidth * kLanes, 1.0F);
    std::fill_n(query.as<float>(), kWidth, 1.0F);
    query.as<uint32_t>()[kWidth] = (kStride - kRows) * kHeadDim;
    sum(0, 1) = kNaN; // that no row meets
    sum(2, 2) = kNaN;
    query.as<float>()[3 * kHeadDim] = kNaN;
    for (int64_t unit : {0, 1, 2})
      sum(3, unit) = -0.0F; // no key
    const void *states[] = {sums.as<float>()};
    sa_score_args args = {states, query.as<float>(), scores.as<float>(), 4, nullptr, 0,
                          0};
    code.get<sa_score_fn>("score0")(&args);
    EXPECT_EQ(scores.as<float>()[0], kRows * kHeadDim - 1);
    EXPECT_EQ(scores.as<float>()[1], kRows * kHeadDim - 1);
    EXPECT_TRUE(std::isnan(scores.as<float>()[2]));
    EXPECT_TRUE(std::isnan(scores.as<float>()[3]));
  }
}

//===----------------------------------------------------------------------===//
// score.dot
//===----------------------------------------------------------------------===//

/// Bits of a number of `type` that is near x, and the number.
std::pair<uint32_t, float> roundTo(const std::string &type, float x) {
  if (type == "f32")
    return {llvm::bit_cast<uint32_t>(x), x};
  if (type == "bf16") {
    uint32_t bits = llvm::bit_cast<uint32_t>(x) & 0xffff0000;
    return {bits >> 16, llvm::bit_cast<float>(bits)};
  }
  // A multiple of 2^-8 in (-1, 1) is a number of f16.
  float multiple = std::nearbyint(x * 256) / 256;
  if (multiple == 0)
    return {0, 0};
  int exponent = std::ilogb(multiple);
  auto fraction =
      static_cast<uint32_t>(std::ldexp(std::abs(multiple), 10 - exponent)) & 0x3ff;
  uint32_t sign = multiple < 0 ? 0x8000 : 0;
  return {sign | static_cast<uint32_t>(exponent + 15) << 10 | fraction, multiple};
}

TEST(Score, dotReadsStridedKeys) {
  constexpr int64_t kGap = 3, kKvHeads = 2, kBatches = 2;
  for (const CPULevel *level : getLevelsHere())
    for (std::string type : {"f32", "bf16", "f16"})
      for (int64_t dim : {1, 8, 72, 128}) {
        std::string tensor = "tensor<?x?x?x" + std::to_string(dim) + "x" + type + ">";
        SCOPED_TRACE(level->name.str() + ", " + tensor);
        GeneratedCode code(makePlans({"dot"}, {1}, tensor), *level);
        int64_t bytes = type == "f32" ? 4 : 2;
        Numbers numbers(2);
        for (int64_t units : {0, 1, 7, 8, 9, 15, 16, 17, 1000}) {
          // The last key of the last head ends where memory does.
          int64_t stride = dim + kGap, head = units * stride;
          int64_t size = std::max<int64_t>(kBatches * kKvHeads * head - kGap, 0);
          GuardedMemory keys(size * bytes, bytes), query(dim * sizeof(float), 4),
              scores((units + kLanes - 1) / kLanes * kLanes * sizeof(float));
          std::vector<float> rounded(size);
          for (int64_t i = 0; i < size; ++i) {
            auto [bits, value] = roundTo(type, numbers.real());
            std::memcpy(keys.as<uint8_t>() + i * bytes, &bits, bytes);
            rounded[i] = value;
          }
          for (int64_t d = 0; d < dim; ++d)
            query.as<float>()[d] = numbers.real();
          sa_view values[3] = {};
          values[1] = {keys.as<void>(),
                       keys.as<void>(),
                       0,
                       {kBatches, kKvHeads, units, dim},
                       {kKvHeads * head, head, stride, 1}};
          sa_score_args args = {nullptr, query.as<float>(), scores.as<float>(), units,
                                values,  kBatches - 1,      kKvHeads - 1};
          code.get<sa_score_fn>("score0")(&args);
          for (int64_t u = 0; u < units; ++u) {
            const float *key = &rounded[(kBatches * kKvHeads - 1) * head + u * stride];
            double sum = 0, magnitude = 0;
            for (int64_t d = 0; d < dim; ++d) {
              double term = static_cast<double>(query.as<float>()[d]) * key[d];
              sum += term;
              magnitude += std::abs(term);
            }
            ASSERT_NEAR(scores.as<float>()[u], sum, 1e-6 * magnitude)
                << "key " << u << " of " << units;
          }
        }
      }
}

} // namespace
