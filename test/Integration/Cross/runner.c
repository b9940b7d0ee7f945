/*===- runner.c - runs kernels of another architecture --------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 *   runner LIBRARY.so < requests > answers
 *
 * A request is one line: a kernel, a number of threads, the shape, and a raw file
 * for each input and output, which the runner reads or writes:
 *
 *   longctx 2 1,4,2,150,200 q:1,4,150,64=/tmp/q k:...=... out:1,4,150,64=/tmp/o ...
 *
 * The answer is one line: "ok" and the instruction level, or the error. Types are
 * those of the kernel. test/reference/emulated.py writes the requests.
 *
 *===----------------------------------------------------------------------===*/

#define _POSIX_C_SOURCE 200809L

#include "sparse_attn/runtime.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kMostTensors = 32 };

typedef struct tensor {
  const char *name, *path;
  int64_t sizes[4], strides[4];
  size_t bytes;
  void *data;
  bool is_output;
  DLTensor view;
} tensor;

static void stop(const char *what, const char *detail) {
  printf("error: %s %s\n", what, detail);
  exit(1);
}

static int split_sizes(const char *text, int64_t *sizes, int most) {
  int count = 0;
  for (char *end; *text && count < most; text = *end ? end + 1 : end)
    sizes[count++] = strtoll(text, &end, 10);
  return count;
}

/* "name:sizes=path" */
static void parse_tensor(char *word, tensor *t) {
  memset(t, 0, sizeof(*t));
  char *sizes = strchr(word, ':'), *path = sizes ? strchr(sizes, '=') : NULL;
  if (!path)
    stop("not a tensor:", word);
  *sizes++ = 0;
  *path++ = 0;
  t->name = word;
  t->path = path;
  t->view.ndim = split_sizes(sizes, t->sizes, 4);
  t->view.device.device_type = kDLCPU;
  t->view.shape = t->sizes;
  t->view.strides = t->strides;
}

static void set_type(tensor *t, DLDataType type) {
  t->view.dtype = type;
  int64_t count = 1;
  for (int axis = t->view.ndim - 1; axis >= 0; --axis) {
    t->strides[axis] = count;
    count *= t->sizes[axis];
  }
  t->bytes = (size_t)count * type.bits / 8;
  t->data = malloc(t->bytes + 1);
  if (!t->data)
    stop("out of memory for", t->name);
  t->view.data = t->data;
}

static void transfer(tensor *t, bool reads) {
  FILE *file = fopen(t->path, reads ? "rb" : "wb");
  if (!file)
    stop("cannot open", t->path);
  size_t done =
      reads ? fread(t->data, 1, t->bytes, file) : fwrite(t->data, 1, t->bytes, file);
  if (done != t->bytes || fclose(file))
    stop("cannot read or write", t->path);
}

static tensor *find(tensor *tensors, int count, const char *name) {
  for (int i = 0; i < count; ++i)
    if (strcmp(tensors[i].name, name) == 0)
      return &tensors[i];
  stop("no file for", name);
  return NULL;
}

/* Reads the inputs, makes room for the outputs, and lists them in order. */
static void bind(const sparse_attn_kernel *kernel, tensor *tensors, int count,
                 DLTensor **layout, size_t *layout_count, DLTensor **inputs,
                 size_t *input_count, DLTensor **outputs, size_t *output_count) {
  sparse_attn_tensor_info info;
  for (size_t i = 0; i < sparse_attn_kernel_input_count(kernel); ++i) {
    sparse_attn_kernel_input_info(kernel, i, &info);
    tensor *t = find(tensors, count, info.name);
    set_type(t, info.dtype);
    transfer(t, true);
    if (info.layout)
      layout[(*layout_count)++] = &t->view;
    else
      inputs[(*input_count)++] = &t->view;
  }
  for (size_t i = 0; i < sparse_attn_kernel_output_count(kernel); ++i) {
    sparse_attn_kernel_output_info(kernel, i, &info);
    tensor *t = find(tensors, count, info.name);
    set_type(t, info.dtype);
    t->is_output = true;
    /* What a kernel does not write stays NaN. */
    memset(t->data, 0xff, t->bytes);
    outputs[(*output_count)++] = &t->view;
  }
}

static sparse_attn_status compute(const sparse_attn_kernel *kernel,
                                  const sparse_attn_shape *shape, int threads,
                                  tensor *tensors, int count) {
  DLTensor *layout[kMostTensors], *inputs[kMostTensors], *outputs[kMostTensors];
  size_t layouts = 0, ins = 0, outs = 0, bytes = 0;
  bind(kernel, tensors, count, layout, &layouts, inputs, &ins, outputs, &outs);
  sparse_attn_options options = {.threads = threads};
  sparse_attn_plan *plan = NULL;
  sparse_attn_status status = sparse_attn_plan_create(
      kernel, shape, (const DLTensor *const *)layout, layouts, &options, &plan);
  if (!status)
    status = sparse_attn_workspace_size(plan, &options, &bytes);
  if (!status) {
    void *workspace = aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (!workspace)
      stop("out of memory for", "the workspace");
    status = sparse_attn_run(plan, (const DLTensor *const *)inputs, ins, outputs, outs,
                             workspace, bytes, &options);
    free(workspace);
  }
  sparse_attn_plan_destroy(plan);
  return status;
}

/* Answers one request; `line` is cut into words. */
static sparse_attn_status answer(const sparse_attn_library *library, char *line) {
  tensor tensors[kMostTensors];
  int count = 0;
  char *state, *name = strtok_r(line, " \n", &state);
  const char *threads = strtok_r(NULL, " \n", &state);
  const char *sizes = strtok_r(NULL, " \n", &state);
  int64_t s[5];
  if (!name || !threads || !sizes || split_sizes(sizes, s, 5) != 5)
    stop("not a request:", name ? name : "");
  for (char *word; (word = strtok_r(NULL, " \n", &state)) && count < kMostTensors;)
    parse_tensor(word, &tensors[count++]);

  const sparse_attn_shape shape = {s[0], s[1], s[2], s[3], s[4]};
  const sparse_attn_kernel *kernel;
  sparse_attn_status status = sparse_attn_kernel_find(library, name, &kernel);
  if (!status)
    status = compute(kernel, &shape, atoi(threads), tensors, count);
  const char *level = status ? NULL : sparse_attn_kernel_level(kernel);
  for (int i = 0; i < count; ++i) {
    if (!status && tensors[i].is_output)
      transfer(&tensors[i], false);
    free(tensors[i].data);
  }
  if (status)
    printf("error: %s\n", sparse_attn_last_error());
  else
    printf("ok %s\n", level);
  return status;
}

int main(int argc, char **argv) {
  if (argc != 2)
    stop("usage:", "runner LIBRARY.so < requests");
  const sparse_attn_library *library;
  if (sparse_attn_library_open(argv[1], &library))
    stop(sparse_attn_last_error(), "");
  char *line = NULL;
  size_t room = 0;
  while (getline(&line, &room, stdin) > 0) {
    answer(library, line);
    fflush(stdout);
  }
  free(line);
  sparse_attn_library_close(library);
  return 0;
}
