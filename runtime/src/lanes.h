/*===- lanes.h - four scores at a time ------------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Vectors that gcc and clang know on every processor: 16 bytes, which SSE2 and NEON
 * have.
 *
 *===----------------------------------------------------------------------===*/

#ifndef SPARSE_ATTN_RUNTIME_LANES_H
#define SPARSE_ATTN_RUNTIME_LANES_H

#include "words.h"

#include <math.h>
#include <string.h>

typedef float sa_lanes __attribute__((vector_size(16)));
typedef uint32_t sa_lane_bits __attribute__((vector_size(16)));
typedef uint64_t sa_lane_words __attribute__((vector_size(16)));

static inline sa_lanes sa_load_lanes(const float *from) {
  sa_lanes lanes;
  memcpy(&lanes, from, sizeof(lanes));
  return lanes;
}

static inline sa_lanes sa_fill_lanes(float value) {
  return (sa_lanes){value, value, value, value};
}

/* The scores of word w of a set of units: in place, or in `tail` where some of the 64 do
 * not exist. */
static inline const float *sa_word_scores(const float *scores, int64_t units, int64_t w,
                                          float tail[SA_WORD_BITS]) {
  int64_t first = w * SA_WORD_BITS, count = units - first;
  if (count >= SA_WORD_BITS)
    return scores + first;
  for (int64_t i = 0; i < SA_WORD_BITS; ++i)
    tail[i] = i < count ? scores[first + i] : NAN;
  return tail;
}

#endif /* SPARSE_ATTN_RUNTIME_LANES_H */
