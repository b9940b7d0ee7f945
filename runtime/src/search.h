/*===- search.h - binary searches in sorted i32 arrays --------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#ifndef SPARSE_ATTN_RUNTIME_SEARCH_H
#define SPARSE_ATTN_RUNTIME_SEARCH_H

#include <stdint.h>

/* How many of the ascending values[0, count) are <= x. The step is a
 * conditional move: these searches decide tiles, and a branch on data that is
 * as good as random would cost more than the loads. */
static inline int64_t sa_count_up_to(const int32_t *values, int64_t count, int32_t x) {
  const int32_t *base = values;
  while (count > 1) {
    int64_t half = count / 2;
    base += base[half - 1] <= x ? half : 0;
    count -= half;
  }
  return (base - values) + (count == 1 && *base <= x);
}

/* How many of the ascending values[0, count) are < x. */
static inline int64_t sa_count_below(const int32_t *values, int64_t count, int32_t x) {
  const int32_t *base = values;
  while (count > 1) {
    int64_t half = count / 2;
    base += base[half - 1] < x ? half : 0;
    count -= half;
  }
  return (base - values) + (count == 1 && *base < x);
}

#endif /* SPARSE_ATTN_RUNTIME_SEARCH_H */
