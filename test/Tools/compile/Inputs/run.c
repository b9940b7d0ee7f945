/*===- run.c - calls the kernels of library.mlir --------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Queries are 0, so a row is the mean of the values that it attends to: with
 * V = identity, 1 / (number of keys) for every kept key and 0 for every other.
 *
 *===----------------------------------------------------------------------===*/
#include "library.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 8 };

static DLTensor tensor(void *data, int rank, int64_t *shape, DLDataTypeCode code) {
  DLTensor result;
  memset(&result, 0, sizeof result);
  result.data = data;
  result.device.device_type = kDLCPU;
  result.ndim = rank;
  result.dtype.code = (uint8_t)code;
  result.dtype.bits = 32;
  result.dtype.lanes = 1;
  result.shape = shape;
  return result;
}

static void demand(int holds, const char *what) {
  if (holds)
    return;
  fprintf(stderr, "%s: %s\n", what, sparse_attn_last_error());
  exit(1);
}

/* The file's text is the manifest of the library. */
static void compare_manifest(const char *path) {
  static char text[1 << 16];
  FILE *file = fopen(path, "r");
  demand(file != NULL, path);
  text[fread(text, 1, sizeof text - 1, file)] = 0;
  fclose(file);
  demand(strcmp(text, sparse_attn_library_manifest(library_library())) == 0, "manifest");
}

int main(int argc, char **argv) {
  static float q[N][N], k[N][N], v[N][N], out[N][N], lse[N];
  int32_t ends[] = {0, 3, N};
  int64_t matrix[] = {1, 1, N, N}, rows[] = {1, 1, N}, offsets_shape[] = {1, 3};
  sparse_attn_shape shape = {1, 1, 1, N, N};
  DLTensor tq = tensor(q, 4, matrix, kDLFloat), tk = tensor(k, 4, matrix, kDLFloat);
  DLTensor tv = tensor(v, 4, matrix, kDLFloat), to = tensor(out, 4, matrix, kDLFloat);
  DLTensor tl = tensor(lse, 3, rows, kDLFloat);
  DLTensor offsets = tensor(ends, 2, offsets_shape, kDLInt);
  int kernel, i, j;

  demand(argc == 2, "usage: run MANIFEST");
  compare_manifest(argv[1]);
  for (i = 0; i < N; ++i)
    v[i][i] = 1;
  for (kernel = 0; kernel < 2; ++kernel) {
    sparse_attn_plan *plan = NULL;
    size_t bytes = 0;
    void *workspace;
    sparse_attn_status status =
        kernel == 0 ? library_dense_plan(&shape, NULL, &plan)
                    : library_documents_plan(&shape, &offsets, NULL, &plan);
    demand(status == SPARSE_ATTN_OK, "plan");
    demand(sparse_attn_workspace_size(plan, NULL, &bytes) == SPARSE_ATTN_OK, "size");
    workspace = malloc(bytes + 64);
    demand(workspace != NULL, "malloc");
    status = kernel == 0 ? library_dense_run(plan, &tq, &tk, &tv, &to, &tl, workspace,
                                             bytes + 64, NULL)
                         : library_documents_run(plan, &tq, &tk, &tv, &to, &tl, workspace,
                                                 bytes + 64, NULL);
    demand(status == SPARSE_ATTN_OK, "run");
    for (i = 0; i < N; ++i)
      for (j = 0; j < N; ++j) {
        int kept = kernel == 0 || (i < 3) == (j < 3);
        int keys = kernel == 0 ? N : i < 3 ? 3 : N - 3;
        demand(fabs(out[i][j] - (kept ? 1.0 / keys : 0.0)) < 1e-6, "out");
        demand(fabs(lse[i] - log((double)keys)) < 1e-5, "lse");
      }
    free(workspace);
    sparse_attn_plan_destroy(plan);
  }
  return 0;
}
