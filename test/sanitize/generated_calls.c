/*===- generated_calls.c - kernels at the edge of memory ------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Generated code is not instrumented. So every tensor and the workspace end where
 * a page without access begins: a load or a store past the end stops the program.
 * The runtime around the calls runs under the sanitizers.
 *
 *===----------------------------------------------------------------------===*/
#define _GNU_SOURCE
#include "banded.h"
#include "chosen.h"
#include "drawn.h"
#include "packed.h"
#include "tiled.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEADS = 4, KV_HEADS = 2, BATCH = 2, LIST_ROWS = 4, LISTED = 5 };

static void fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static void check(sparse_attn_status status) {
  if (status != SPARSE_ATTN_OK)
    fail(sparse_attn_last_error());
}

/*===--- Memory that ends at a guard --------------------------------------===*/

typedef struct guarded {
  char *pages;
  size_t page_bytes; /* without the guard */
  void *data;        /* the last bytes before the guard */
} guarded;

static guarded guarded_make(size_t bytes) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  guarded memory;
  memory.page_bytes = (bytes + page - 1) / page * page;
  memory.pages = mmap(NULL, memory.page_bytes + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory.pages == MAP_FAILED ||
      mprotect(memory.pages + memory.page_bytes, page, PROT_NONE) != 0)
    fail("cannot map memory");
  memory.data = memory.pages + memory.page_bytes - bytes;
  return memory;
}

static void guarded_free(guarded *memory) {
  munmap(memory->pages, memory->page_bytes + (size_t)sysconf(_SC_PAGESIZE));
}

/*===--- Tensors ----------------------------------------------------------===*/

typedef struct tensor {
  guarded memory;
  size_t count;
  int64_t sizes[4];
  DLTensor view;
} tensor;

static void tensor_make(tensor *t, uint8_t code, int rank, const int64_t *sizes) {
  memset(t, 0, sizeof *t);
  t->count = 1;
  for (int axis = 0; axis < rank; ++axis) {
    t->sizes[axis] = sizes[axis];
    t->count *= (size_t)sizes[axis];
  }
  t->memory = guarded_make(t->count * 4);
  t->view.data = t->memory.data;
  t->view.device.device_type = kDLCPU;
  t->view.ndim = rank;
  t->view.dtype.code = code;
  t->view.dtype.bits = 32;
  t->view.dtype.lanes = 1;
  t->view.shape = t->sizes;
}

static void tensor_fill(tensor *t, uint32_t seed) {
  float *data = t->memory.data;
  for (size_t i = 0; i < t->count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    data[i] = (float)(seed >> 8) / (float)(1 << 23) - 1.0f;
  }
}

/*===--- Runs -------------------------------------------------------------===*/

/* Runs `kernel` on `threads` threads; `offsets` is NULL without layout operands. Of
 * `inputs` the fourth is for kernels that have one. */
static void run(const sparse_attn_kernel *kernel, const sparse_attn_shape *shape,
                const DLTensor *offsets, tensor *inputs, tensor *outputs, int threads) {
  sparse_attn_options options = {0};
  options.threads = threads;
  sparse_attn_plan *plan = NULL;
  check(
      sparse_attn_plan_create(kernel, shape, &offsets, offsets ? 1 : 0, &options, &plan));
  size_t bytes = 0;
  check(sparse_attn_workspace_size(plan, &options, &bytes));
  guarded workspace = guarded_make(bytes);
  const DLTensor *in[] = {&inputs[0].view, &inputs[1].view, &inputs[2].view,
                          &inputs[3].view};
  const size_t given = sparse_attn_kernel_input_count(kernel) - (offsets ? 1 : 0);
  DLTensor *out[] = {&outputs[0].view, &outputs[1].view};
  check(sparse_attn_run(plan, in, given, out, 2, workspace.data, bytes, &options));
  guarded_free(&workspace);
  sparse_attn_plan_destroy(plan);
}

/* One shape, on one thread and on three: finite and the same, bit for bit. */
static void test(const sparse_attn_kernel *kernel, int64_t batch, int64_t queries,
                 int64_t keys, const int32_t *offsets, int64_t offsets_count, int64_t dim,
                 int64_t value_dim) {
  const int64_t q_sizes[] = {batch, HEADS, queries, dim};
  const int64_t k_sizes[] = {batch, KV_HEADS, keys, dim};
  const int64_t v_sizes[] = {batch, KV_HEADS, keys, value_dim};
  const int64_t o_sizes[] = {batch, HEADS, queries, value_dim};
  const int64_t offsets_sizes[] = {1, offsets_count};
  const int64_t list_sizes[] = {1, 1, (queries + LIST_ROWS - 1) / LIST_ROWS, LISTED};
  tensor inputs[4], outputs[2][2], layout;
  tensor_make(&inputs[0], kDLFloat, 4, q_sizes);
  tensor_make(&inputs[1], kDLFloat, 4, k_sizes);
  tensor_make(&inputs[2], kDLFloat, 4, v_sizes);
  for (int i = 0; i < 3; ++i)
    tensor_fill(&inputs[i], (uint32_t)i);
  tensor_make(&inputs[3], kDLInt, 4, list_sizes);
  int32_t *list = inputs[3].memory.data;
  for (size_t i = 0; i < inputs[3].count; ++i)
    list[i] = (int32_t)((int64_t)(i * 7919) % (keys + 1)) - 1;
  if (offsets) {
    tensor_make(&layout, kDLInt, 2, offsets_sizes);
    memcpy(layout.memory.data, offsets, (size_t)offsets_count * sizeof *offsets);
  }

  const sparse_attn_shape shape = {batch, HEADS, KV_HEADS, queries, keys};
  for (int i = 0; i < 2; ++i) {
    tensor_make(&outputs[i][0], kDLFloat, 4, o_sizes);
    tensor_make(&outputs[i][1], kDLFloat, 3, o_sizes);
    run(kernel, &shape, offsets ? &layout.view : NULL, inputs, outputs[i],
        i == 0 ? 1 : 3);
  }
  const float *o = outputs[0][0].memory.data;
  for (size_t i = 0; i < outputs[0][0].count; ++i)
    if (!isfinite(o[i]))
      fail("an output is not finite");
  for (int i = 0; i < 2; ++i)
    if (memcmp(outputs[0][i].memory.data, outputs[1][i].memory.data,
               outputs[0][i].count * 4) != 0)
      fail("one thread and three give different results");

  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 2; ++j)
      guarded_free(&outputs[i][j].memory);
  for (int i = 0; i < 4; ++i)
    guarded_free(&inputs[i].memory);
  if (offsets)
    guarded_free(&layout.memory);
}

int main(void) {
  static const int64_t sizes[] = {1, 63, 64, 65, 128, 129, 200, 301};
  int runs = 0;
  for (size_t m = 0; m < sizeof sizes / sizeof *sizes; ++m)
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; ++n) {
      const int32_t end = (int32_t)sizes[n];
      const int32_t offsets[] = {0, end / 3, end / 3, end};
      test(banded_kernel(), BATCH, sizes[m], sizes[n], NULL, 0, 40, 40);
      test(packed_kernel(), BATCH, sizes[m], sizes[n], offsets, 4, 72, 24);
      test(chosen_kernel(), BATCH, sizes[m], sizes[n], NULL, 0, 24, 40);
      test(tiled_kernel(), BATCH, sizes[m], sizes[n], NULL, 0, 40, 24);
      test(drawn_kernel(), BATCH, sizes[m], sizes[n], NULL, 0, 20, 16);
      runs += 10;
    }
  /* Few heads of many keys: several workers decide and attend. */
  for (int64_t keys = 1000; keys < 1800; keys += 111) {
    test(chosen_kernel(), 1, 1, keys, NULL, 0, 24, 40);
    test(tiled_kernel(), 1, 1, keys, NULL, 0, 40, 24);
    test(drawn_kernel(), 1, 1, keys, NULL, 0, 20, 16);
    runs += 6;
  }
  printf("%d runs, nothing read or written past an end\n", runs);
  return 0;
}
