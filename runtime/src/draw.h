/*===- draw.h - keys drawn without replacement ----------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * docs/semantics.md, section 6: draw d of n candidates is number permute(d) of them,
 * where the permutation of [0, n) follows from (seed, plane, row, stream) alone. Nothing
 * here fails or allocates.
 *
 *===----------------------------------------------------------------------===*/

#ifndef SPARSE_ATTN_RUNTIME_DRAW_H
#define SPARSE_ATTN_RUNTIME_DRAW_H

#include "numbering.h"

/* What words are drawn for; 0 is random_blocks. */
enum {
  SA_STREAM_RANDOM_KEYS = 1,
  SA_STREAM_UNIFORM = 2,
  SA_STREAM_ADAPTIVE_BASE = 3,
  SA_STREAM_ADAPTIVE = 4,
  SA_STREAM_LSH = 5,
  SA_STREAM_CLUSTER = 6
};

typedef struct sa_permutation {
  uint32_t size;
  int high_bits, low_bits;
  uint32_t keys[8];
} sa_permutation;

/* Of [0, size), below 2^31. `plane` is b * H + h, `row` the position as u32. */
sa_permutation sa_make_permutation(int64_t seed, uint32_t plane, uint32_t row,
                                   uint32_t stream, int64_t size);

/* How many of `candidates` are drawn: at most `count`, or where that is below 0,
 * floor(rate * candidates). */
int64_t sa_count_draws(int64_t count, double rate, int64_t candidates);

/* Sets in `drawn`, sa_word_count words that are not the candidates', draws 0, 1, ... of
 * the numbered candidates, `draws` of them and at most all. The permutation is one of
 * candidates->count. */
void sa_draw(const sa_permutation *permutation, const sa_numbering *candidates,
             int64_t draws, uint64_t *drawn);

#endif /* SPARSE_ATTN_RUNTIME_DRAW_H */
