//===- DrawTest.cpp - keys drawn without replacement ----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Numbers, permutations and draws against their definitions; that the dialect draws the
// same is for test/unit/dialect to see.
//
//===----------------------------------------------------------------------===//

extern "C" {
#include "draw.h"
}

#include "gtest/gtest.h"

#include <cmath>
#include <random>
#include <vector>

namespace {

using Words = std::vector<uint64_t>;

/// A set, the numbering of its elements, and the room for that.
class Numbered {
public:
  explicit Numbered(const std::vector<bool> &set)
      : words(sa_word_count(static_cast<int64_t>(set.size()))),
        room(sa_numbering_room_bytes(static_cast<int64_t>(set.size())) / 4 + 1, kGuard) {
    for (size_t u = 0; u < set.size(); ++u)
      if (set[u]) {
        words[u / 64] |= uint64_t(1) << u % 64;
        elements.push_back(static_cast<int64_t>(u));
      }
    numbering =
        sa_number_elements(words.data(), static_cast<int64_t>(set.size()), room.data());
    EXPECT_EQ(room.back(), kGuard);
  }

  Words draw(const sa_permutation &permutation, int64_t draws) const {
    Words drawn(words.size() + 1, ~uint64_t(0));
    sa_draw(&permutation, &numbering, draws, drawn.data());
    EXPECT_EQ(drawn.back(), ~uint64_t(0));
    drawn.pop_back();
    return drawn;
  }

  Words words;
  std::vector<int64_t> elements;
  sa_numbering numbering;

private:
  static constexpr uint32_t kGuard = 0x5a5a5a5a;
  std::vector<uint32_t> room;
};

/// Sets with their elements here and there: dense, sparse, in clusters, neighbours.
std::vector<std::vector<bool>> makeSets() {
  std::mt19937 random(1);
  std::vector<std::vector<bool>> sets;
  for (int bits = 0; bits < 1 << 9; ++bits) {
    std::vector<bool> set(9);
    for (int u = 0; u < 9; ++u)
      set[u] = bits >> u & 1;
    sets.push_back(set);
  }
  for (size_t size : {1, 63, 64, 65, 127, 128, 129, 700, 5000}) {
    for (double share : {0.0, 0.01, 0.1, 0.5, 0.95, 1.0}) {
      std::vector<bool> set(size), clusters(size), neighbours(size);
      bool inside = false;
      for (size_t u = 0; u < size; ++u) {
        set[u] = std::uniform_real_distribution<double>()(random) < share;
        if (random() % 150 == 0)
          inside = !inside;
        clusters[u] = inside && set[u];
        neighbours[u] = u >= size / 3 && u < size / 3 + size * share / 2;
      }
      sets.insert(sets.end(), {set, clusters, neighbours});
    }
  }
  return sets;
}

TEST(Numbering, everyElementHasItsNumber) {
  for (const std::vector<bool> &set : makeSets()) {
    Numbered numbered(set);
    ASSERT_EQ(numbered.numbering.count, static_cast<int64_t>(numbered.elements.size()));
    for (size_t i = 0; i < numbered.elements.size(); ++i)
      ASSERT_EQ(sa_element(&numbered.numbering, static_cast<int64_t>(i)),
                numbered.elements[i])
          << i << " of " << numbered.elements.size() << " among " << set.size();
  }
}

/// One draw after the other: a Feistel network of eight rounds, walked until the number
/// is back below the size.
uint32_t permute(const sa_permutation &permutation, uint32_t x) {
  auto mix = [](uint32_t x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
  };
  uint32_t bits[] = {(1u << permutation.low_bits) - 1, (1u << permutation.high_bits) - 1};
  do {
    uint32_t half[] = {x & bits[0], x >> permutation.low_bits};
    for (int round = 0; round < 8; ++round) {
      int own = round % 2 == 0, other = 1 - own;
      half[own] ^= mix(half[other] ^ permutation.keys[round]) & bits[own];
    }
    x = half[1] << permutation.low_bits | half[0];
  } while (x >= permutation.size);
  return x;
}

TEST(Permutation, knownDraws) {
  auto draws = [](sa_permutation permutation) {
    std::vector<uint32_t> numbers;
    for (uint32_t draw = 0; draw < 4; ++draw)
      numbers.push_back(permute(permutation, draw));
    return numbers;
  };
  EXPECT_EQ(draws(sa_make_permutation(7, 0, 4, SA_STREAM_RANDOM_KEYS, 5)),
            (std::vector<uint32_t>{2, 1, 4, 0}));
  EXPECT_EQ(draws(sa_make_permutation(-1, 9, 0xffffffff, SA_STREAM_ADAPTIVE, 100000)),
            (std::vector<uint32_t>{85573, 99973, 39197, 21650}));
}

/// Sizes below, at and above each power of two.
std::vector<int64_t> makeSizes() {
  std::vector<int64_t> sizes;
  for (int bits = 0; bits < 31; ++bits)
    for (int64_t size : {-1, 0, 1})
      if (((int64_t(1) << bits) + size) > 0)
        sizes.push_back((int64_t(1) << bits) + size);
  return sizes;
}

TEST(Permutation, everySizePermutes) {
  for (int64_t size : makeSizes()) {
    sa_permutation permutation = sa_make_permutation(size, 3, 5, 2, size);
    bool isSmall = size < 1 << 14;
    std::vector<bool> seen(isSmall ? size : 0);
    for (int64_t i = 0; i < std::min<int64_t>(size, 1 << 14); ++i) {
      auto draw = static_cast<uint32_t>(size - 1 - i);
      uint32_t number = permute(permutation, draw);
      ASSERT_LT(number, size);
      if (isSmall) {
        ASSERT_FALSE(seen[number]) << number << " of " << size;
        seen[number] = true;
      }
    }
  }
}

TEST(Draws, countOrRate) {
  EXPECT_EQ(sa_count_draws(5, 0, 4), 4);
  EXPECT_EQ(sa_count_draws(5, 0, 6), 5);
  EXPECT_EQ(sa_count_draws(0, 0.5, 6), 0);
  EXPECT_EQ(sa_count_draws(-1, 0.5, 7), 3);
  EXPECT_EQ(sa_count_draws(-1, 1, 7), 7);
  EXPECT_EQ(sa_count_draws(-1, 0.29, 100), 28); // 0.29 is less than 29 / 100
  EXPECT_EQ(sa_count_draws(-1, 0.07, 100), 7);  // the product rounds up
}

void expectDraws(const Numbered &numbered, const sa_permutation &permutation,
                 int64_t draws) {
  Words expected(numbered.words.size());
  for (int64_t d = 0; d < draws; ++d) {
    int64_t key = numbered.elements[permute(permutation, static_cast<uint32_t>(d))];
    expected[key / 64] |= uint64_t(1) << key % 64;
  }
  ASSERT_EQ(numbered.draw(permutation, draws), expected)
      << draws << " of " << numbered.elements.size();
}

TEST(Draws, theFirstOfThePermutation) {
  int64_t row = 0;
  for (const std::vector<bool> &set : makeSets()) {
    Numbered numbered(set);
    int64_t count = numbered.numbering.count;
    sa_permutation permutation = sa_make_permutation(11, 2, ++row, 2, count);
    for (int64_t draws :
         {int64_t(0), int64_t(1), count / 10, count / 2, count / 2 + 1, count - 1, count})
      if (draws >= 0 && draws <= count)
        expectDraws(numbered, permutation, draws);
  }
}

// Every number of candidates where the network gets another bit.
TEST(Draws, everyCountAroundPowersOfTwo) {
  for (int bits = 6; bits < 13; ++bits)
    for (int64_t count = (1 << bits) - 3; count <= (1 << bits) + 3; ++count) {
      Numbered numbered(std::vector<bool>(count, true));
      sa_permutation permutation = sa_make_permutation(count, 0, 1, 4, count);
      for (int64_t draws : {count / 3, count - count / 3})
        expectDraws(numbered, permutation, draws);
    }
}

} // namespace
