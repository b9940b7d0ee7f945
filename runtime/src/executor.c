/*===- executor.c - workers on OpenMP or on the host's threads ------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

#include <omp.h>

/* More workers than this is a mistake, and would make the workspace huge. */
enum { kMostWorkers = 1 << 16 };

sparse_attn_status sa_worker_count(const sparse_attn_options *options, int *workers) {
  *workers = 1;
  int threads = options ? options->threads : 0;
  if (threads < 0 || threads > kMostWorkers)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                   "options: threads is %d, expected 1 to %d, or 0 for OpenMP's "
                   "default",
                   threads, kMostWorkers);
  if (options && options->executor && !options->executor->parallel)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                   "options: executor has no `parallel` function; pass a NULL "
                   "executor to use OpenMP");
  *workers = threads ? threads : omp_get_max_threads();
  if (*workers > kMostWorkers)
    *workers = kMostWorkers;
  return SPARSE_ATTN_OK;
}

void sa_parallel(const sparse_attn_options *options, int workers, int64_t tasks,
                 void (*work)(void *argument, int worker), void *argument) {
  if (tasks <= 0)
    return;
  if (workers > tasks)
    workers = (int)tasks;
  if (options && options->executor) {
    const sparse_attn_executor *executor = options->executor;
    executor->parallel(executor->context, workers, work, argument);
    return;
  }
  if (workers == 1) {
    work(argument, 0);
    return;
  }
  /* A loop over workers and not over threads: OpenMP may give fewer threads
   * than asked for, and every worker has to be called. */
#pragma omp parallel for schedule(static, 1) num_threads(workers)
  for (int worker = 0; worker < workers; ++worker)
    work(argument, worker);
}
