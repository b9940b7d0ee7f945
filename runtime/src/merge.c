/*===- merge.c - states over disjoint keys become one ---------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 *   LSE = log(sum_k exp(LSE_k)),   O = sum_k exp(LSE_k - LSE) O_k
 *
 * A state with LSE_k = -inf is empty and neutral: where all but one are, that one
 * is copied bit for bit; where all are, O = 0 and LSE = -inf. Each O_k has its own
 * type, and O is rounded to its own once.
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

typedef struct merging {
  const sa_run_state *state;
  const sa_step *step;
  const sa_view *out, *lse; /* lse: [1, B, H, M] */
  sa_real type;             /* of out */
  int64_t row_blocks;
  _Atomic int64_t next;
} merging;

/* A row of one plane. */
typedef struct row_index {
  int64_t b, h, i;
} row_index;

static sa_real input_type(const merging *merge, int32_t state) {
  return merge->state->plan->values[merge->step->inputs[2 * state]].type;
}

/* From column d0 on. */
static const void *input_out(const merging *merge, int32_t state, row_index at,
                             int64_t d0) {
  const sa_view *view = &merge->state->values[merge->step->inputs[2 * state]];
  return sa_at(view, (size_t)sa_real_bytes(input_type(merge, state)), at.b, at.h, at.i,
               d0);
}

static void *output_out(const merging *merge, row_index at, int64_t d0) {
  return sa_at(merge->out, (size_t)sa_real_bytes(merge->type), at.b, at.h, at.i, d0);
}

static float input_lse(const merging *merge, int32_t state, row_index at) {
  const sa_view *view = &merge->state->values[merge->step->inputs[2 * state + 1]];
  return *(const float *)sa_at(view, sizeof(float), 0, at.b, at.h, at.i);
}

/* Adds the states that are not empty, in double: the sum of two close to equal
 * and opposite outputs must not lose more than its inputs did. */
static void combine(const merging *merge, row_index at, double lse) {
  enum { kColumns = 64 };
  int64_t dim = merge->out->size[3];
  int32_t states = merge->step->input_count / 2;
  for (int64_t d0 = 0; d0 < dim; d0 += kColumns) {
    int64_t columns = sa_min(kColumns, dim - d0);
    double sums[kColumns] = {0};
    float part[kColumns];
    for (int32_t k = 0; k < states; ++k) {
      double weight = exp((double)input_lse(merge, k, at) - lse);
      if (weight == 0)
        continue;
      sa_read_reals(input_type(merge, k), input_out(merge, k, at, d0), columns, part);
      for (int64_t d = 0; d < columns; ++d)
        sums[d] += weight * (double)part[d];
    }
    sa_write_reals(merge->type, sums, columns, output_out(merge, at, d0));
  }
}

/* The only state of a row: bit for bit where the types are one. */
static void copy(const merging *merge, int32_t state, row_index at) {
  enum { kColumns = 64 };
  sa_real type = input_type(merge, state);
  int64_t dim = merge->out->size[3];
  if (type == merge->type) {
    memcpy(output_out(merge, at, 0), input_out(merge, state, at, 0),
           (size_t)dim * (size_t)sa_real_bytes(type));
    return;
  }
  for (int64_t d0 = 0; d0 < dim; d0 += kColumns) {
    int64_t columns = sa_min(kColumns, dim - d0);
    float part[kColumns];
    double wide[kColumns];
    sa_read_reals(type, input_out(merge, state, at, d0), columns, part);
    for (int64_t d = 0; d < columns; ++d)
      wide[d] = (double)part[d];
    sa_write_reals(merge->type, wide, columns, output_out(merge, at, d0));
  }
}

static void merge_row(const merging *merge, row_index at) {
  int32_t states = merge->step->input_count / 2, present = 0, last = 0;
  float largest = -INFINITY;
  for (int32_t k = 0; k < states; ++k) {
    float lse = input_lse(merge, k, at);
    if (lse == -INFINITY)
      continue;
    ++present;
    last = k;
    if (lse > largest || isnan(lse)) /* a NaN stays: it must reach the row */
      largest = lse;
  }
  float *lse = sa_at(merge->lse, sizeof(float), 0, at.b, at.h, at.i);
  if (present == 0) {
    memset(output_out(merge, at, 0), 0,
           (size_t)merge->out->size[3] * (size_t)sa_real_bytes(merge->type));
    *lse = -INFINITY;
    return;
  }
  if (present == 1) {
    copy(merge, last, at);
    *lse = input_lse(merge, last, at);
    return;
  }
  double sum = 0;
  for (int32_t k = 0; k < states; ++k)
    sum += exp((double)input_lse(merge, k, at) - (double)largest);
  double total = (double)largest + log(sum);
  combine(merge, at, total);
  *lse = (float)total;
}

enum { kRowsPerTask = 64 };

static void work(void *argument, int worker) {
  merging *merge = argument;
  int64_t heads = merge->out->size[1], rows = merge->out->size[2];
  int64_t tasks = merge->out->size[0] * heads * merge->row_blocks;
  (void)worker;
  for (;;) {
    int64_t task = atomic_fetch_add_explicit(&merge->next, 1, memory_order_relaxed);
    if (task >= tasks)
      return;
    int64_t plane = task / merge->row_blocks;
    int64_t first = task % merge->row_blocks * kRowsPerTask;
    row_index at = {plane / heads, plane % heads, first};
    for (; at.i < sa_min(first + kRowsPerTask, rows); ++at.i)
      merge_row(merge, at);
  }
}

void sa_run_merge(const sa_run_state *state, const sa_step *step) {
  merging merge = {.state = state,
                   .step = step,
                   .out = &state->values[step->first_result],
                   .lse = &state->values[step->first_result + 1],
                   .type = state->plan->values[step->first_result].type};
  merge.row_blocks = sa_ceil_div(merge.out->size[2], kRowsPerTask);
  sa_parallel(state->options, state->workers,
              merge.out->size[0] * merge.out->size[1] * merge.row_blocks, work, &merge);
}
