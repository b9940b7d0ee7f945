/*===- choose_keys.h - which units a selection takes ----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * The choices of docs/semantics.md, section 5, from the scores of `units` units, below
 * 2^31, of which `candidates` are to choose from (words.h). Descending scores, equal
 * ones (-0 = 0) in ascending order of the unit, NaNs after all numbers.
 *
 * scores[u] is read for any u in [0, units) and means nothing where u is no candidate.
 * `chosen` is written, sa_word_count(units) words; it is not `candidates`. `room` has
 * sa_choose_room_bytes(units), aligned for a double; what it holds before and after
 * means nothing. Nothing fails, nothing is allocated, and the time is linear in
 * `units` whatever the scores.
 *
 *===----------------------------------------------------------------------===*/

#ifndef SPARSE_ATTN_RUNTIME_CHOOSE_KEYS_H
#define SPARSE_ATTN_RUNTIME_CHOOSE_KEYS_H

#include <stddef.h>
#include <stdint.h>

size_t sa_choose_room_bytes(int64_t units);

/* The k best candidates; all where there are no more. k <= 0 chooses none. */
void sa_choose_top_k(const float *scores, const uint64_t *candidates, int64_t units,
                     int64_t k, void *room, uint64_t *chosen);

/* The same where levels[u], a byte, is how far unit u is from the best: no scores, and no
 * NaNs. Whole words of levels are read. */
void sa_choose_top_k_levels(const uint8_t *levels, const uint64_t *candidates,
                            int64_t units, int64_t k, uint64_t *chosen);

/* Candidates in the order of their scores while those before have at most the share p,
 * in [0, 1], of the softmax over all, and the ties of the last one. Masses are in
 * double. */
void sa_choose_top_p(const float *scores, const uint64_t *candidates, int64_t units,
                     double p, void *room, uint64_t *chosen);

/* Candidates that score at least `least`, which is no NaN. */
void sa_choose_threshold(const float *scores, const uint64_t *candidates, int64_t units,
                         double least, uint64_t *chosen);

#endif /* SPARSE_ATTN_RUNTIME_CHOOSE_KEYS_H */
