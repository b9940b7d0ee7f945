/*===- draw.c - keys drawn without replacement ----------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "draw.h"
#include "internal.h"
#include "lanes.h"

/*===--- The permutation --------------------------------------------------===*/

sa_permutation sa_make_permutation(int64_t seed, uint32_t plane, uint32_t row,
                                   uint32_t stream, int64_t size) {
  sa_permutation permutation = {.size = (uint32_t)size};
  int bits = 8; /* a network on fewer permutes visibly out of balance */
  while (size > INT64_C(1) << bits)
    ++bits;
  permutation.low_bits = bits / 2;
  permutation.high_bits = bits - bits / 2;
  for (uint32_t half = 0; half < 2; ++half) {
    uint32_t words[4] = {plane, row, half, stream};
    sa_philox(words, (uint64_t)seed);
    memcpy(permutation.keys + 4 * half, words, sizeof(words));
  }
  return permutation;
}

static inline sa_lane_bits mix(sa_lane_bits x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ x >> 16;
}

/* A Feistel network on the bits of size - 1, or eight, for four draws. */
static inline sa_lane_bits turn(const sa_permutation *permutation, sa_lane_bits x) {
  uint32_t high_mask = (1u << permutation->high_bits) - 1;
  uint32_t low_mask = (1u << permutation->low_bits) - 1;
  sa_lane_bits high = x >> permutation->low_bits, low = x & low_mask;
#pragma GCC unroll 4
  for (int key = 0; key < 8; key += 2) {
    high ^= mix(low ^ permutation->keys[key]) & high_mask;
    low ^= mix(high ^ permutation->keys[key + 1]) & low_mask;
  }
  return high << permutation->low_bits | low;
}

/*===--- Draws ------------------------------------------------------------===*/

int64_t sa_count_draws(int64_t count, double rate, int64_t candidates) {
  return count >= 0 ? sa_min(count, candidates) : (int64_t)(rate * (double)candidates);
}

/* Draws that walk at once: one alone ends at a branch that nothing predicts. */
enum { kBatch = 128 };

/* The numbers of draws [first, first + count), in some order; count <= kBatch. Each walks
 * until it is back below the size: the cycle through it comes back there at last, since
 * it began there. */
static void permute_batch(const sa_permutation *permutation, int64_t first, int64_t count,
                          uint32_t *numbers) {
  uint32_t walking[kBatch] = {0};
  for (int64_t i = 0; i < count; ++i)
    walking[i] = (uint32_t)(first + i);
  for (int64_t done = 0, left = count; left > 0;) {
    for (int64_t i = 0; i < left; i += 4) {
      sa_lane_bits four;
      memcpy(&four, walking + i, sizeof(four));
      four = turn(permutation, four);
      memcpy(walking + i, &four, sizeof(four));
    }
    int64_t still = 0;
    for (int64_t i = 0; i < left; ++i) {
      uint32_t x = walking[i];
      bool is_back = x < permutation->size;
      numbers[done] = walking[still] = x;
      done += is_back;
      still += !is_back;
    }
    left = still;
  }
}

void sa_draw(const sa_permutation *permutation, const sa_numbering *candidates,
             int64_t draws, uint64_t *drawn) {
  /* What is drawn is set, or what is not is taken out. */
  bool is_most = draws > candidates->count / 2;
  int64_t first = is_most ? draws : 0, end = is_most ? candidates->count : draws;
  for (int64_t w = 0; w < candidates->words; ++w)
    drawn[w] = is_most ? candidates->set[w] : 0;
  for (int64_t draw = first; draw < end; draw += kBatch) {
    uint32_t numbers[kBatch];
    int64_t count = sa_min(kBatch, end - draw);
    permute_batch(permutation, draw, count, numbers);
    for (int64_t i = 0; i < count; ++i) {
      int64_t key = sa_element(candidates, numbers[i]);
      drawn[key / SA_WORD_BITS] ^= UINT64_C(1) << key % SA_WORD_BITS;
    }
  }
}
