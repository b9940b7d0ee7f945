/*===- means.c - block means of keys or values ----------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "means.h"

#include <stdatomic.h>

/* Columns whose sums are added at once, rows that are read together, columns of a panel,
 * whose sums stay in the nearest cache, and how many rows ahead memory is asked: the
 * additions of a row are longer than what processors look ahead. */
enum { kGroup = 16, kRows = 4, kPanel = 256, kRowsAhead = 16 };

/* sums[d] += element d of each of `count` rows, in their order. With `type` and
 * `columns` known, compilers make vectors of it. */
static inline void add_columns(sa_real type, const char *rows, int64_t stride,
                               int64_t count, int64_t columns, double *sums) {
  for (; count > 0; --count, rows += stride) {
    float row[kGroup];
    __builtin_prefetch(
        (const char *)((uintptr_t)rows + (uintptr_t)(kRowsAhead * stride)));
    sa_read_reals(type, rows, columns, row);
    for (int64_t d = 0; d < columns; ++d)
      sums[d] += (double)row[d];
  }
}

static inline void add_rows(sa_real type, const char *rows, int64_t stride, int64_t count,
                            int64_t columns, double *sums) {
  int64_t d = 0, bytes = sa_real_bytes(type);
  for (; d + kGroup <= columns; d += kGroup)
    add_columns(type, rows + d * bytes, stride, count, kGroup, sums + d);
  if (d < columns)
    add_columns(type, rows + d * bytes, stride, count, columns - d, sums + d);
}

/* Adds rows [first, end) of columns [d0, d0 + columns), a few rows at a time, so that
 * memory is read in its order. */
static void add_panel(const sa_means_job *job, int64_t b, int64_t h, int64_t first,
                      int64_t end, int64_t d0, int64_t columns, double *sums) {
  size_t element_bytes = (size_t)sa_real_bytes(job->type);
  int64_t stride = job->tokens->stride[2] * (int64_t)element_bytes;
  for (int64_t j = first; j < end; j += kRows) {
    const char *rows = sa_at(job->tokens, element_bytes, b, h, j, d0);
    int64_t count = sa_min(kRows, end - j);
    if (job->type == SA_F32)
      add_rows(SA_F32, rows, stride, count, columns, sums);
    else if (job->type == SA_BF16)
      add_rows(SA_BF16, rows, stride, count, columns, sums);
    else
      add_rows(SA_F16, rows, stride, count, columns, sums);
  }
}

/* The mean of the block that tokens [first, end) end. Its tokens before them are in the
 * sums that are kept, and where it is not full, so are these then. Sums in the order of
 * the tokens, in double: the mean does not depend on how many were added at a time. */
static void average(const sa_means_job *job, int64_t b, int64_t h, int64_t first,
                    int64_t end) {
  size_t element_bytes = (size_t)sa_real_bytes(job->type);
  int64_t dim = job->means->size[3], index = first / job->block;
  int64_t start = index * job->block;
  double *kept = job->sums ? job->sums + (b * job->means->size[1] + h) * dim : NULL;
  for (int64_t d0 = 0; d0 < dim; d0 += kPanel) {
    int64_t columns = sa_min(kPanel, dim - d0);
    double sums[kPanel] = {0};
    if (first > start)
      memcpy(sums, kept + d0, (size_t)columns * sizeof(*sums));
    add_panel(job, b, h, first, end, d0, columns, sums);
    if (kept && end < start + job->block)
      memcpy(kept + d0, sums, (size_t)columns * sizeof(*sums));
    for (int64_t d = 0; d < columns; ++d)
      sums[d] /= (double)(end - start);
    sa_write_reals(job->type, sums, columns,
                   sa_at(job->means, element_bytes, b, h, index, d0));
  }
}

/* One pass: the blocks that are begun, or those that begin. A task is one block of one
 * plane. */
typedef struct pass {
  const sa_means_job *job;
  bool begun;
  int64_t blocks; /* of each plane */
  _Atomic int64_t next;
} pass;

static void work(void *argument, int worker) {
  pass *pass = argument;
  const sa_means_job *job = pass->job;
  int64_t heads = job->means->size[1];
  int64_t tasks = job->means->size[0] * heads * pass->blocks;
  (void)worker;
  for (;;) {
    int64_t task = atomic_fetch_add_explicit(&pass->next, 1, memory_order_relaxed);
    if (task >= tasks)
      return;
    int64_t index = task % pass->blocks, plane = task / pass->blocks;
    int64_t b = plane / heads, h = plane % heads;
    sa_key_range range = job->range(job->context, b);
    int64_t whole = sa_ceil_div(range.first, job->block) * job->block;
    int64_t first = pass->begun ? range.first : whole + index * job->block;
    int64_t stop = pass->begun ? whole : first + job->block;
    int64_t end = sa_min(stop, range.end);
    if (first < end)
      average(job, b, h, first, end);
  }
}

/* A plane has room for the sums of one block, which the block that is begun reads before
 * the last one writes them. */
void sa_find_means(const sa_means_job *job, const sparse_attn_options *options,
                   int workers) {
  int64_t planes = job->means->size[0] * job->means->size[1];
  pass begun = {.job = job, .begun = true};
  pass whole = {.job = job};
  for (int64_t b = 0; b < job->means->size[0]; ++b) {
    sa_key_range range = job->range(job->context, b);
    int64_t blocks = sa_ceil_div(range.end, job->block);
    if (range.first % job->block && range.first < range.end)
      begun.blocks = 1;
    whole.blocks = sa_max(whole.blocks, blocks - sa_ceil_div(range.first, job->block));
  }
  sa_parallel(options, workers, planes * begun.blocks, work, &begun);
  sa_parallel(options, workers, planes * whole.blocks, work, &whole);
}
