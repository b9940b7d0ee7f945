/*===- inspect.c - looking into a plan ------------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encoded.h"
#include "gpu.h"

#include <stdlib.h>

static sparse_attn_status find_attention(const sparse_attn_plan *plan, size_t index,
                                         const sa_plan_attention **attention) {
  if (!plan)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "plan is null");
  size_t count = 0;
  for (int32_t i = 0; i < plan->attention_count; ++i) {
    if (!sa_is_attention_needed(plan, &plan->attentions[i]))
      continue;
    if (count++ == index) {
      *attention = &plan->attentions[i];
      return SPARSE_ATTN_OK;
    }
  }
  return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                 "kernel '%s' has no attention %zu, only %zu", plan->kernel->name, index,
                 count);
}

/* Whether `value` is in [0, limit). */
static sparse_attn_status check_index(const sparse_attn_plan *plan, const char *name,
                                      int64_t value, int64_t limit) {
  if (value >= 0 && value < limit)
    return SPARSE_ATTN_OK;
  return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                 "kernel '%s': %s is %lld, expected 0 to %lld", plan->kernel->name, name,
                 (long long)value, (long long)limit - 1);
}

static sparse_attn_status check_plane(const sparse_attn_plan *plan, int64_t b,
                                      int64_t h) {
  sparse_attn_status status = check_index(plan, "b", b, plan->shape.batch);
  return status ? status : check_index(plan, "h", h, plan->shape.heads);
}

/* The attention whose plane (b, h) is asked about. */
static sparse_attn_status find_plane(const sparse_attn_plan *plan, size_t index,
                                     int64_t b, int64_t h,
                                     const sa_plan_attention **attention) {
  sparse_attn_status status = find_attention(plan, index, attention);
  return status ? status : check_plane(plan, b, h);
}

size_t sparse_attn_plan_attention_count(const sparse_attn_plan *plan) {
  size_t count = 0;
  for (int32_t i = 0; plan && i < plan->attention_count; ++i)
    count += sa_is_attention_needed(plan, &plan->attentions[i]);
  return count;
}

sparse_attn_status sparse_attn_plan_grid(const sparse_attn_plan *plan, size_t index,
                                         sparse_attn_grid *grid) {
  const sa_plan_attention *attention = NULL;
  sparse_attn_status status = find_attention(plan, index, &attention);
  if (status)
    return status;
  if (!grid)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "grid is null");
  grid->batch = plan->shape.batch;
  grid->heads = plan->shape.heads;
  grid->queries = plan->shape.queries;
  grid->keys = attention->key_capacity;
  grid->tile_rows = attention->code->tile_rows;
  grid->tile_keys = attention->code->tile_keys;
  grid->row_tiles = attention->row_tiles;
  grid->key_tiles = attention->key_tiles;
  grid->step = attention->step;
  grid->class_row_tiles = attention->class_row_tiles;
  grid->class_key_tiles = attention->class_key_tiles;
  grid->plan_time = attention->code->binding == SA_BINDING_PLAN;
  grid->number = (int)(attention - plan->attentions);
  return SPARSE_ATTN_OK;
}

sparse_attn_status sparse_attn_plan_extent(const sparse_attn_plan *plan, size_t index,
                                           int64_t b, sparse_attn_extent *extent) {
  const sa_plan_attention *attention = NULL;
  sparse_attn_status status = find_attention(plan, index, &attention);
  if (!status)
    status = check_index(plan, "b", b, plan->shape.batch);
  if (status)
    return status;
  if (!extent)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "extent is null");
  sa_entry entry = sa_plan_entry(attention, b);
  extent->queries = entry.rows;
  extent->keys = entry.keys;
  extent->first_position = entry.first_position;
  return SPARSE_ATTN_OK;
}

size_t sparse_attn_plan_bytes(const sparse_attn_plan *plan) {
  if (!plan)
    return 0;
  const sparse_attn_kernel *kernel = plan->kernel;
  size_t bytes = sizeof(*plan) + (size_t)kernel->value_count *
                                     (sizeof(*plan->values) + sizeof(*plan->views));
  for (int32_t i = 0; i < kernel->input_count; ++i) {
    const sa_view *view = &plan->views[i];
    if (view->data)
      bytes += sa_view_elements(view) * (size_t)plan->values[i].element_bytes;
  }
  if (plan->gpu)
    bytes += plan->gpu->bytes + plan->gpu->operand_bytes;
  /* Directions are shared with all plans and states that draw the same. */
  for (int32_t i = 0; i < kernel->encoding_count; ++i)
    bytes += sizeof(*plan->encodings) + sa_directions_bytes(&kernel->encodings[i]);
  for (int32_t i = 0; i < plan->attention_count; ++i) {
    const sa_plan_attention *attention = &plan->attentions[i];
    bytes += sizeof(*attention) + attention->table.bytes;
    if (plan->gpu)
      bytes += sa_gpu_of(plan, attention)->listed_bytes +
               sa_gpu_of(plan, attention)->table_bytes;
    if (attention->entries)
      bytes += (size_t)plan->shape.batch * sizeof(*attention->entries);
    for (int32_t t = 0; t < attention->code->table_count; ++t)
      bytes += sizeof(void *) + (sa_owns_table(plan, attention, t)
                                     ? ((const sa_reach *)attention->tables[t])->bytes
                                     : 0);
  }
  return bytes;
}

/*===--- Visiting tiles ---------------------------------------------------===*/

/* A plan whose masks can be asked here: it has copies of operands that stay in a GPU's
 * memory. */
typedef struct asked_plan {
  sparse_attn_plan plan;
  sa_view *views; /* those, or NULL */
} asked_plan;

/* Close it in any case. */
static sparse_attn_status open_asked(const sparse_attn_plan *plan, asked_plan *asked) {
  *asked = (asked_plan){*plan, NULL};
  if (!plan->gpu || !plan->gpu->lists_tiles)
    return SPARSE_ATTN_OK;
  size_t values = (size_t)plan->kernel->value_count;
  asked->plan.views = asked->views = sa_allocate_zeroed(values, sizeof(*asked->views));
  return asked->views ? sa_gpu_bring_operands(plan, asked->views)
                      : sa_fail(SPARSE_ATTN_OUT_OF_MEMORY, "kernel '%s': no memory",
                                plan->kernel->name);
}

static void close_asked(asked_plan *asked) {
  sa_gpu_drop_operands(&asked->plan, asked->views);
}

typedef struct visitor {
  void (*visit)(void *context, int64_t first_tile, int64_t tiles,
                sparse_attn_tile_class kind);
  void *context;
} visitor;

static bool pass_on(void *context, int32_t first, int32_t tiles,
                    sparse_attn_tile_class kind) {
  const visitor *to = context;
  to->visit(to->context, first, tiles, kind);
  return true;
}

/* A list in the memory of the plan's GPU, whose runs may be cut where blocks share it. */
static sparse_attn_status visit_fetched(const sparse_attn_plan *plan,
                                        const sa_plan_attention *attention, int64_t b,
                                        int64_t h, int64_t row_tile, visitor *to) {
  sa_buffer runs = {NULL, 0, 0};
  sparse_attn_status status =
      sa_gpu_fetch_runs(plan, attention, b, h, row_tile, 1, &runs);
  if (!status) {
    sa_run_list list =
        sa_gpu_fetched_list(plan, attention, b, h, row_tile, row_tile, &runs);
    sa_run_joiner joiner = {.sink = pass_on, .context = to};
    for (int64_t i = 0; i < list.count; ++i)
      sa_join_run(&joiner, list.runs[i].first_tile, list.runs[i].tiles,
                  list.runs[i].mask == SA_RUN_FULL ? SPARSE_ATTN_TILE_FULL
                                                   : SPARSE_ATTN_TILE_PARTIAL);
    sa_flush_run(&joiner);
  }
  free(runs.data);
  return status;
}

sparse_attn_status sparse_attn_plan_visit(const sparse_attn_plan *plan, size_t index,
                                          int64_t b, int64_t h, int64_t row_tile,
                                          void (*visit)(void *context, int64_t first_tile,
                                                        int64_t tiles,
                                                        sparse_attn_tile_class kind),
                                          void *context) {
  const sa_plan_attention *attention = NULL;
  sparse_attn_status status = find_plane(plan, index, b, h, &attention);
  if (!status)
    status = check_index(plan, "row_tile", row_tile, attention->row_tiles);
  if (status)
    return status;
  if (!visit)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "visit is null");
  visitor to = {visit, context};
  if (sa_gpu_lists(plan, attention))
    return visit_fetched(plan, attention, b, h, row_tile, &to);
  if (!sa_has_table(attention)) {
    asked_plan asked;
    status = open_asked(plan, &asked);
    if (!status) {
      sa_tile_query query = sa_plan_query(&asked.plan, attention, b, h, row_tile);
      sa_enumerate_tiles(&query, pass_on, &to);
    }
    close_asked(&asked);
    return status;
  }
  sa_run_list list = sa_table_list(attention, b, h, row_tile);
  for (int64_t i = 0; i < list.count; ++i)
    visit(context, list.runs[i].first_tile, list.runs[i].tiles,
          list.runs[i].mask == SA_RUN_FULL ? SPARSE_ATTN_TILE_FULL
                                           : SPARSE_ATTN_TILE_PARTIAL);
  return SPARSE_ATTN_OK;
}

sparse_attn_status
sparse_attn_plan_visit_keys(const sparse_attn_plan *plan, size_t index, int64_t b,
                            int64_t h, int64_t key_tile,
                            void (*visit)(void *context, int64_t first_tile,
                                          int64_t tiles, sparse_attn_tile_class kind),
                            void *context) {
  const sa_plan_attention *attention = NULL;
  sparse_attn_status status = find_plane(plan, index, b, h, &attention);
  if (!status)
    status = check_index(plan, "key_tile", key_tile, attention->key_tiles);
  if (status)
    return status;
  if (!visit)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "visit is null");
  visitor to = {visit, context};
  if (sa_has_table(attention))
    return sa_enumerate_rows(plan, attention, b, h, key_tile, pass_on, &to);
  asked_plan asked;
  status = open_asked(plan, &asked);
  if (!status)
    status = sa_enumerate_rows(&asked.plan, attention, b, h, key_tile, pass_on, &to);
  close_asked(&asked);
  return status;
}

sparse_attn_status sparse_attn_plan_classify(const sparse_attn_plan *plan, size_t index,
                                             int64_t b, int64_t h, int64_t p0, int64_t p1,
                                             int64_t j0, int64_t j1,
                                             sparse_attn_tile_class *kind) {
  const sa_plan_attention *attention = NULL;
  sparse_attn_status status = find_plane(plan, index, b, h, &attention);
  if (status)
    return status;
  if (!kind)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "kind is null");
  if (p0 > p1 || p0 <= -SA_POSITION_LIMIT || p1 >= SA_POSITION_LIMIT || j0 > j1 ||
      j0 < 0 || j1 >= SA_POSITION_LIMIT)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                   "positions [%lld, %lld] x keys [%lld, %lld] are no rectangle "
                   "within -2^30 to 2^30 and 0 to 2^30",
                   (long long)p0, (long long)p1, (long long)j0, (long long)j1);
  asked_plan asked;
  status = open_asked(plan, &asked);
  if (!status) {
    sa_tile_query query = sa_plan_query(&asked.plan, attention, b, h, 0);
    query.step = 1;
    *kind = (sparse_attn_tile_class)sa_classify(&query, (int32_t)p0, (int32_t)p1,
                                                (int32_t)j0, (int32_t)j1);
  }
  close_asked(&asked);
  return status;
}
