/*===- executor.c - workers on OpenMP or on the host's threads ------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

/* What `#pragma omp parallel` calls, called by hand: any C compiler can then make
 * the runtime for any architecture, also one whose compiler has no OpenMP. GCC's
 * libgomp has these functions, and LLVM's libomp has them too. */
void GOMP_parallel(void (*work)(void *argument), void *argument, unsigned threads,
                   unsigned flags);
int omp_get_max_threads(void);
int omp_get_num_threads(void);
int omp_get_thread_num(void);

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

typedef struct team {
  void (*work)(void *argument, int worker);
  void *argument;
  int workers;
} team;

/* A loop over workers and not over threads: OpenMP may give fewer threads than
 * asked for, and every worker has to be called. */
static void work_as_thread(void *argument) {
  const team *t = argument;
  for (int worker = omp_get_thread_num(); worker < t->workers;
       worker += omp_get_num_threads())
    t->work(t->argument, worker);
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
  team t = {work, argument, workers};
  GOMP_parallel(work_as_thread, &t, (unsigned)workers, 0);
}
