/*===- checks.c - values of the layout operands ---------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* A check in progress. */
typedef struct checking {
  sparse_attn_plan *plan;
  const sa_check *check;
} checking;

static sparse_attn_status fail(const checking *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static sparse_attn_status fail(const checking *c, const char *format, ...) {
  char reason[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason, sizeof(reason), format, arguments);
  va_end(arguments);
  return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "kernel '%s': %s: %s",
                 c->plan->kernel->name, c->check->op, reason);
}

static bool has_input(const checking *c, int32_t index) {
  return index < c->check->input_count && c->check->inputs[index] >= 0;
}

static const sa_view *input(const checking *c, int32_t index) {
  return &c->plan->views[c->check->inputs[index]];
}

static const char *name(const checking *c, int32_t index) {
  return c->plan->kernel->inputs[c->check->inputs[index]].name;
}

/* Whether the host has its values; else the GPU that has them checks them, too. */
static bool is_here(const checking *c, int32_t index) { return input(c, index)->data; }

/* The innermost row of a contiguous i32 operand. */
static const int32_t *row(const sa_view *view, int64_t i1, int64_t i2) {
  return sa_at(view, sizeof(int32_t), 0, i1, i2, 0);
}

/* Input `index` holds [.., S + 1] starts: from 0 on, ascending, up to `limit`. */
static sparse_attn_status check_starts(const checking *c, int32_t index,
                                       const char *limit_name, int64_t limit) {
  const sa_view *view = input(c, index);
  if (view->size[3] == 0)
    return fail(c, "'%s' is empty on its last axis, expected at least one value",
                name(c, index));
  if (!is_here(c, index))
    return SPARSE_ATTN_OK;
  for (int64_t i1 = 0; i1 < view->size[1]; ++i1) {
    for (int64_t i2 = 0; i2 < view->size[2]; ++i2) {
      const int32_t *starts = row(view, i1, i2);
      int64_t last = view->size[3] - 1;
      if (starts[0] < 0)
        return fail(c, "'%s' starts at %d, expected at least 0", name(c, index),
                    (int)starts[0]);
      for (int64_t i = 1; i <= last; ++i)
        if (starts[i] < starts[i - 1])
          return fail(c,
                      "'%s' decreases from %d to %d at index %lld of its "
                      "last axis",
                      name(c, index), (int)starts[i - 1], (int)starts[i], (long long)i);
      if (starts[last] > limit)
        return fail(c, "'%s' ends at %d, past %s = %lld", name(c, index),
                    (int)starts[last], limit_name, (long long)limit);
    }
  }
  return SPARSE_ATTN_OK;
}

/* Every value of input `index` is in [low, limit). */
static sparse_attn_status check_range(const checking *c, int32_t index, int64_t low,
                                      int64_t limit) {
  const sa_view *view = input(c, index);
  int64_t count = view->size[0] * view->size[1] * view->size[2] * view->size[3];
  const int32_t *values = view->data;
  for (int64_t i = 0; i < count; ++i)
    if (values[i] < low || values[i] >= limit)
      return fail(c,
                  "'%s' holds %d at index %lld of its last axis, expected %lld "
                  "to %lld",
                  name(c, index), (int)values[i], (long long)(i % view->size[3]),
                  (long long)low, (long long)limit - 1);
  return SPARSE_ATTN_OK;
}

static sparse_attn_status check_length(const checking *c) {
  bool keys = c->check->parameters[0] == 1;
  int64_t limit = keys ? c->plan->shape.keys : c->plan->shape.queries;
  const sa_view *view = input(c, 0);
  const int32_t *values = view->data;
  for (int64_t b = 0; b < view->size[3]; ++b)
    if (values[b] < 0 || values[b] > limit)
      return fail(c, "'%s' is %d at batch entry %lld, expected 0 to %s = %lld",
                  name(c, 0), (int)values[b], (long long)b, keys ? "N" : "M",
                  (long long)limit);
  return SPARSE_ATTN_OK;
}

/* The classifier bisects, so the plan's copy becomes ascending. */
static sparse_attn_status sort_rows(const checking *c, const sa_view *view) {
  size_t count = (size_t)view->size[3];
  uint64_t *keys = sa_allocate(count, 2 * sizeof(*keys));
  if (!keys)
    return sa_fail(SPARSE_ATTN_OUT_OF_MEMORY, "kernel '%s': no memory to sort '%s'",
                   c->plan->kernel->name, name(c, 0));
  for (int64_t b = 0; b < view->size[2]; ++b) {
    int32_t *values = (int32_t *)view->data + b * view->stride[2];
    for (size_t i = 0; i < count; ++i)
      keys[i] = (uint64_t)((int64_t)values[i] + 1);
    sa_sort(keys, count, keys + count);
    for (size_t i = 0; i < count; ++i)
      values[i] = (int32_t)((int64_t)keys[i] - 1);
  }
  free(keys);
  return SPARSE_ATTN_OK;
}

static sparse_attn_status check_index(const checking *c) {
  sparse_attn_status status = check_range(c, 0, -1, c->plan->shape.keys);
  return status ? status : sort_rows(c, input(c, 0));
}

static sparse_attn_status check_block_lists(const checking *c, int64_t block_count) {
  const sa_view *indptr = input(c, 0), *indices = input(c, 1);
  for (int64_t b = 0; b < sa_max(indptr->size[1], indices->size[1]); ++b) {
    for (int64_t h = 0; h < sa_max(indptr->size[2], indices->size[2]); ++h) {
      const int32_t *begin = row(indptr, b, h), *block = row(indices, b, h);
      for (int64_t r = 0; r + 1 < indptr->size[3]; ++r) {
        for (int32_t i = begin[r]; i < begin[r + 1]; ++i) {
          if (block[i] < 0 || block[i] >= block_count)
            return fail(c,
                        "'%s' lists key block %d for block row %lld, expected "
                        "0 to %lld",
                        name(c, 1), (int)block[i], (long long)r,
                        (long long)block_count - 1);
          if (i > begin[r] && block[i] <= block[i - 1])
            return fail(c,
                        "'%s' lists key block %d after %d for block row "
                        "%lld; blocks of a row must ascend",
                        name(c, 1), (int)block[i], (int)block[i - 1], (long long)r);
        }
      }
    }
  }
  return SPARSE_ATTN_OK;
}

static sparse_attn_status check_bsr(const checking *c) {
  int64_t block_rows = c->check->parameters[0];
  int64_t block_keys = c->check->parameters[1];
  const sa_view *indices = input(c, 1);
  sparse_attn_status status =
      check_starts(c, 0, "the number of blocks in indices", indices->size[3]);
  if (!status && is_here(c, 1))
    status = check_block_lists(c, sa_ceil_div(c->plan->shape.keys, block_keys));
  if (status || !has_input(c, 2))
    return status;
  const sa_view *bits = input(c, 2);
  int64_t bytes = sa_ceil_div(block_keys, 8);
  if (bits->size[1] != indices->size[3] || bits->size[2] != block_rows ||
      bits->size[3] != bytes)
    return fail(c,
                "'%s' has %lld blocks of %lld rows and %lld bytes, expected "
                "%lld blocks of %lld rows and %lld bytes",
                name(c, 2), (long long)bits->size[1], (long long)bits->size[2],
                (long long)bits->size[3], (long long)indices->size[3],
                (long long)block_rows, (long long)bytes);
  return SPARSE_ATTN_OK;
}

static sparse_attn_status check_graph(const checking *c) {
  const sa_view *offsets = input(c, 0), *chunk_node = input(c, 1);
  const sa_view *indptr = input(c, 2), *indices = input(c, 3);
  sparse_attn_status status = check_starts(c, 0, "N", c->plan->shape.keys);
  if (status)
    return status;
  if (chunk_node->size[3] != offsets->size[3] - 1)
    return fail(c, "'%s' has %lld chunks, but '%s' has %lld", name(c, 1),
                (long long)chunk_node->size[3], name(c, 0),
                (long long)offsets->size[3] - 1);
  status = check_starts(c, 2, "the number of edges in indices", indices->size[3]);
  if (status)
    return status;
  int64_t nodes = indptr->size[3] - 1;
  status = check_range(c, 1, 0, nodes);
  return status ? status : check_range(c, 3, 0, nodes);
}

static sparse_attn_status check_heads(const checking *c) {
  int64_t heads = c->check->parameters[0];
  if (c->plan->shape.heads == heads || c->plan->shape.heads == 0)
    return SPARSE_ATTN_OK;
  return fail(c, "it is written for H = %lld, the shape has H = %lld", (long long)heads,
              (long long)c->plan->shape.heads);
}

static sparse_attn_status do_check(const checking *c) {
  switch (c->check->kind) {
  case SA_CHECK_OFFSETS:
    return check_starts(c, 0, "N", c->plan->shape.keys);
  case SA_CHECK_LENGTH:
    return check_length(c);
  case SA_CHECK_INDEX:
    return check_index(c);
  case SA_CHECK_BSR:
    return check_bsr(c);
  case SA_CHECK_GRAPH:
    return check_graph(c);
  case SA_CHECK_HEADS:
    return check_heads(c);
  }
  return fail(c, "this runtime does not know check %d; compile the kernel again",
              (int)c->check->kind);
}

/* Operands and parameters that each kind of check reads, by kind. */
static bool is_well_formed(const checking *c) {
  static const struct {
    int32_t inputs, parameters;
  } needs[] = {{0, 0}, {1, 0}, {1, 1}, {1, 1}, {2, 2}, {4, 0}, {0, 1}};
  int32_t kind = c->check->kind;
  if (kind < 1 || kind > SA_CHECK_HEADS)
    return true; /* do_check says so */
  if (c->check->parameter_count < needs[kind].parameters)
    return false;
  for (int32_t i = 0; i < needs[kind].inputs; ++i)
    if (!has_input(c, i))
      return false;
  for (int32_t i = 0; i < c->check->input_count; ++i) {
    int32_t id = c->check->inputs[i];
    if (id == -1)
      continue;
    if (id < 0 || id >= c->plan->kernel->input_count)
      return false;
    const sa_tensor *spec = &c->plan->kernel->inputs[id];
    bool bits = kind == SA_CHECK_BSR && i == 2;
    if (!spec->layout || (!bits && (spec->type_code != kDLInt || spec->type_bits != 32)))
      return false;
  }
  return kind != SA_CHECK_BSR ||
         (c->check->parameters[0] > 0 && c->check->parameters[1] > 0);
}

sparse_attn_status sa_check_operands(sparse_attn_plan *plan,
                                     const sa_attention *attention) {
  for (int32_t i = 0; i < attention->check_count; ++i) {
    checking c = {plan, &attention->checks[i]};
    sparse_attn_status status =
        is_well_formed(&c) ? do_check(&c)
                           : fail(&c, "a check is malformed; compile the kernel again");
    if (status)
      return status;
  }
  return SPARSE_ATTN_OK;
}
