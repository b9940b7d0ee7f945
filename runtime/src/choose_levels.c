/*===- choose_levels.c - the units of the best levels ----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * top_k of scores that are one of at most 256 numbers. A sample of the candidates tells
 * the level of the k-th one; a pass counts how many are at that level and before it, and
 * another marks them. Where the sample has misled, further passes count at other levels.
 *
 *===----------------------------------------------------------------------===*/

#include "choose_keys.h"
#include "internal.h"
#include "score_pass.h"

enum { kLevels = 256, kLastLevel = kLevels - 1, kSample = 1024 };

typedef uint8_t level_lanes __attribute__((vector_size(16)));

/* Which of 16 levels are at most `most`, as bits. */
static inline uint64_t mark_lanes(const uint8_t *levels, level_lanes most) {
  level_lanes own;
  memcpy(&own, levels, sizeof(own));
  level_lanes are = (level_lanes)(own <= most);
#ifdef __SSE2__
  typedef char byte_lanes __attribute__((vector_size(16)));
  return (uint64_t)(uint32_t)__builtin_ia32_pmovmskb128((byte_lanes)are);
#else
  /* Each byte to a bit of its own, and the sum of eight to the highest byte. */
  typedef uint64_t half_lanes __attribute__((vector_size(16)));
  half_lanes halves = (half_lanes)are & UINT64_C(0x8040201008040201);
  const uint64_t sum = UINT64_C(0x0101010101010101);
  return halves[0] * sum >> 56 | halves[1] * sum >> 56 << 8;
#endif
}

/* Which of 64 levels are at most `most`; < 0: none. */
static inline uint64_t mark_levels(const uint8_t *levels, int most) {
  uint8_t x = (uint8_t)most;
  level_lanes lanes = {x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
  uint64_t marked = 0;
#pragma GCC unroll 4
  for (int part = 0; part < 4; ++part)
    marked |= mark_lanes(levels + 16 * part, lanes) << 16 * part;
  return most < 0 ? 0 : marked;
}

/* How many candidates have a level below `level`, and up to it. */
typedef struct level_count {
  int64_t below, up_to;
} level_count;

static level_count count_level(const uint8_t *levels, const uint64_t *candidates,
                               int64_t words, int level) {
  level_count count = {0, 0};
  for (int64_t w = 0; w < words; ++w) {
    const uint8_t *of_word = levels + w * SA_WORD_BITS;
    count.below += sa_count_bits(candidates[w] & mark_levels(of_word, level - 1));
    count.up_to += sa_count_bits(candidates[w] & mark_levels(of_word, level));
  }
  return count;
}

/* The level that the k-th of `count` candidates has in a sample of them. */
static int guess_level(const uint8_t *levels, const uint64_t *candidates, int64_t units,
                       int64_t count, int64_t k) {
  uint32_t counts[kLevels] = {0};
  int64_t drawn = 0;
  for (uint32_t i = 0; i < kSample; ++i) {
    int64_t unit = sa_sample_unit(i, units);
    uint32_t is_candidate = candidates[unit / SA_WORD_BITS] >> unit % SA_WORD_BITS & 1;
    counts[levels[unit]] += is_candidate;
    drawn += is_candidate;
  }
  int64_t before = (int64_t)((double)k / (double)count * (double)drawn);
  int level = 0;
  while (level < kLastLevel && before >= counts[level])
    before -= counts[level++];
  return level;
}

void sa_choose_top_k_levels(const uint8_t *levels, const uint64_t *candidates,
                            int64_t units, int64_t k, uint64_t *chosen) {
  int64_t words = sa_word_count(units), count = sa_count_elements(candidates, words);
  if (k <= 0 || k >= count) {
    for (int64_t w = 0; w < words; ++w)
      chosen[w] = k > 0 ? candidates[w] : 0;
    return;
  }
  /* The k-th is in [low, high]. A wrong guess is rarely far off: one step, then halves.
   */
  int low = 0, high = kLastLevel;
  int level = guess_level(levels, candidates, units, count, k);
  level_count at = count_level(levels, candidates, words, level);
  for (bool is_first = true; at.below >= k || at.up_to < k; is_first = false) {
    bool is_lower = at.below >= k;
    low = is_lower ? low : level + 1;
    high = is_lower ? level - 1 : high;
    level = !is_first ? (low + high) / 2 : is_lower ? high : low;
    at = count_level(levels, candidates, words, level);
  }
  int64_t ties = k - at.below;
  for (int64_t w = 0; w < words; ++w) {
    const uint8_t *of_word = levels + w * SA_WORD_BITS;
    uint64_t better = candidates[w] & mark_levels(of_word, level - 1);
    uint64_t equal = candidates[w] & mark_levels(of_word, level) & ~better;
    if (ties < SA_WORD_BITS)
      equal = sa_lowest_bits(equal, ties);
    ties -= sa_count_bits(equal);
    chosen[w] = better | equal;
  }
}
