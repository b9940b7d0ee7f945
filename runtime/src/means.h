/*===- means.h - block means of keys or values -----------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/
#ifndef SPARSE_ATTN_RUNTIME_MEANS_H
#define SPARSE_ATTN_RUNTIME_MEANS_H

#include "internal.h"

/* Keys of a batch entry. */
typedef struct sa_key_range {
  int64_t first, end;
} sa_key_range;

/* Blocks of rows of `tokens` become rows of `means`; a block that tokens do not fill is
 * one of those that it has. */
typedef struct sa_means_job {
  const sa_view *tokens, *means;
  sa_real type; /* of both */
  int32_t block;
  /* The tokens of batch entry b that are not in its means yet. */
  sa_key_range (*range)(const void *context, int64_t b);
  const void *context;
  /* [B][Hkv][D]: the sums of a last block that is not full, for a range that goes on with
   * it. NULL: ranges begin with a block. */
  double *sums;
} sa_means_job;
void sa_find_means(const sa_means_job *job, const sparse_attn_options *options,
                   int workers);

/*===--- program.c --------------------------------------------------------===*/

/* Whether a pool step is one that this runtime can do, whatever the shape. */
sparse_attn_status sa_check_pool(const sparse_attn_kernel *kernel, const sa_step *step);

#endif /* SPARSE_ATTN_RUNTIME_MEANS_H */
