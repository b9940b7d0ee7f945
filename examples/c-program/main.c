/*===- main.c - packed documents from C -----------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Three documents of 300, 400 and 324 tokens in one sequence. The program makes
 * one plan, runs it, and compares one row with a plain loop.
 *
 *===----------------------------------------------------------------------===*/
#include "packed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADS = 4, KV_HEADS = 2, TOKENS = 1024, DIM = 64 };

static const int32_t offsets[] = {0, 300, 700, 1024};

/* Stops at the first call that fails; the runtime says why it did. */
static void check(sparse_attn_status status) {
  if (status == SPARSE_ATTN_OK)
    return;
  fprintf(stderr, "%s: %s\n", sparse_attn_status_string(status),
          sparse_attn_last_error());
  exit(1);
}

static void *allocate(size_t bytes) {
  /* Sizes for aligned_alloc are multiples of the alignment. */
  void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (memory == NULL) {
    fprintf(stderr, "out of memory\n");
    exit(1);
  }
  return memory;
}

/* A dense tensor on the CPU: no strides means row-major. */
static DLTensor make_tensor(void *data, uint8_t code, int rank, int64_t *sizes) {
  DLTensor tensor = {0};
  tensor.data = data;
  tensor.device.device_type = kDLCPU;
  tensor.ndim = rank;
  tensor.dtype.code = code;
  tensor.dtype.bits = 32;
  tensor.dtype.lanes = 1;
  tensor.shape = sizes;
  return tensor;
}

/* Values in [-1, 1), the same on every machine. */
static void fill(float *data, size_t count, uint32_t seed) {
  for (size_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    data[i] = (float)(seed >> 8) / (float)(1 << 23) - 1.0f;
  }
}

/* O of one row in double precision, keys [first, row] of its document. */
static void attend_row(const float *q, const float *k, const float *v, int first, int row,
                       double *out) {
  double sum = 0.0;
  for (int d = 0; d < DIM; ++d)
    out[d] = 0.0;
  for (int j = first; j <= row; ++j) {
    double score = 0.0;
    for (int d = 0; d < DIM; ++d)
      score += (double)q[row * DIM + d] * k[j * DIM + d];
    double weight = exp(score / sqrt(DIM));
    sum += weight;
    for (int d = 0; d < DIM; ++d)
      out[d] += weight * v[j * DIM + d];
  }
  for (int d = 0; d < DIM; ++d)
    out[d] /= sum;
}

static void print_inputs(const sparse_attn_kernel *kernel) {
  printf("kernel %s:", sparse_attn_kernel_name(kernel));
  sparse_attn_tensor_info info;
  for (size_t i = 0; i < sparse_attn_kernel_input_count(kernel); ++i) {
    check(sparse_attn_kernel_input_info(kernel, i, &info));
    printf(" %s (%s)", info.name, info.layout ? "plan" : "run");
  }
  printf("\n");
}

int main(void) {
  const size_t rows = (size_t)HEADS * TOKENS, kv_rows = (size_t)KV_HEADS * TOKENS;
  float *q = allocate(rows * DIM * sizeof(float));
  float *k = allocate(kv_rows * DIM * sizeof(float));
  float *v = allocate(kv_rows * DIM * sizeof(float));
  float *o = allocate(rows * DIM * sizeof(float));
  float *lse = allocate(rows * sizeof(float));
  fill(q, rows * DIM, 1);
  fill(k, kv_rows * DIM, 2);
  fill(v, kv_rows * DIM, 3);

  int64_t q_sizes[] = {1, HEADS, TOKENS, DIM};
  int64_t kv_sizes[] = {1, KV_HEADS, TOKENS, DIM};
  int64_t offsets_sizes[] = {1, 4};
  DLTensor q_tensor = make_tensor(q, kDLFloat, 4, q_sizes);
  DLTensor k_tensor = make_tensor(k, kDLFloat, 4, kv_sizes);
  DLTensor v_tensor = make_tensor(v, kDLFloat, 4, kv_sizes);
  DLTensor o_tensor = make_tensor(o, kDLFloat, 4, q_sizes);
  DLTensor lse_tensor = make_tensor(lse, kDLFloat, 3, q_sizes);
  DLTensor offsets_tensor = make_tensor((void *)offsets, kDLInt, 2, offsets_sizes);

  /* Once for a layout ... */
  sparse_attn_shape shape = {1, HEADS, KV_HEADS, TOKENS, TOKENS};
  sparse_attn_plan *plan = NULL;
  check(packed_plan(&shape, &offsets_tensor, NULL, &plan));

  /* ... and then as often as there are values: a run allocates nothing. */
  size_t workspace_bytes = 0;
  check(sparse_attn_workspace_size(plan, NULL, &workspace_bytes));
  void *workspace = allocate(workspace_bytes);
  check(packed_run(plan, &q_tensor, &k_tensor, &v_tensor, &o_tensor, &lse_tensor,
                   workspace, workspace_bytes, NULL));

  /* Token 650 of head 3 lies in the second document; head 3 reads kv head 1. */
  const int row = 650, head = 3, kv_head = head / (HEADS / KV_HEADS);
  const size_t kv_plane = (size_t)kv_head * TOKENS * DIM;
  double expected[DIM], difference = 0.0;
  attend_row(q + (size_t)head * TOKENS * DIM, k + kv_plane, v + kv_plane, offsets[1], row,
             expected);
  for (int d = 0; d < DIM; ++d)
    difference = fmax(difference, fabs(expected[d] - o[(head * TOKENS + row) * DIM + d]));
  print_inputs(packed_kernel());
  printf("row %d of head %d %s a plain loop over its document\n", row, head,
         difference < 1e-5 ? "agrees with" : "DIFFERS from");

  /* Offsets that decrease are refused, with a reason. */
  int32_t bad_offsets[] = {0, 700, 300, 1024};
  offsets_tensor.data = bad_offsets;
  sparse_attn_plan *bad_plan = NULL;
  if (packed_plan(&shape, &offsets_tensor, NULL, &bad_plan) != SPARSE_ATTN_OK)
    printf("refused: %s\n", sparse_attn_last_error());

  sparse_attn_plan_destroy(plan);
  free(workspace);
  free(lse);
  free(o);
  free(v);
  free(k);
  free(q);
  return difference < 1e-5 ? 0 : 1;
}
