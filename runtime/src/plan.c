/*===- plan.c - making and destroying plans -------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encoded.h"
#include "gpu.h"

#include <stdlib.h>
#include <string.h>

sparse_attn_status sa_check_shape(const sparse_attn_kernel *kernel,
                                  const sparse_attn_shape *shape) {
  const struct {
    const char *name;
    int64_t size;
  } sizes[] = {{"B", shape->batch},
               {"H", shape->heads},
               {"Hkv", shape->kv_heads},
               {"M", shape->queries},
               {"N", shape->keys}};
  for (int i = 0; i < 5; ++i)
    if (sizes[i].size < 0)
      return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                     "kernel '%s': %s is %lld, expected at least 0", kernel->name,
                     sizes[i].name, (long long)sizes[i].size);
  for (int i = 3; i < 5; ++i)
    if (sizes[i].size >= SA_POSITION_LIMIT)
      return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                     "kernel '%s': %s is %lld, expected less than 2^30", kernel->name,
                     sizes[i].name, (long long)sizes[i].size);
  if (shape->kv_heads ? shape->heads % shape->kv_heads : shape->heads)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                   "kernel '%s': H = %lld is not a multiple of Hkv = %lld", kernel->name,
                   (long long)shape->heads, (long long)shape->kv_heads);
  size_t planes;
  if (!sa_multiply((size_t)shape->batch, (size_t)shape->heads, &planes) ||
      planes > INT32_MAX || shape->batch > INT32_MAX || shape->heads > INT32_MAX ||
      shape->kv_heads > INT32_MAX)
    return sa_fail(SPARSE_ATTN_OVERFLOW,
                   "kernel '%s': B = %lld times H = %lld does not fit 31 bits",
                   kernel->name, (long long)shape->batch, (long long)shape->heads);
  return SPARSE_ATTN_OK;
}

sa_tile_query sa_plan_query(const sparse_attn_plan *plan,
                            const sa_plan_attention *attention, int64_t b, int64_t h,
                            int64_t row_tile) {
  const sa_attention *code = attention->code;
  sa_entry entry = sa_plan_entry(attention, b);
  sa_tile_span rows = sa_row_span(attention, row_tile, entry.rows);
  sa_tile_query query;
  query.classify = code->classify;
  query.extent = code->extent;
  query.fill = attention->level->fill;
  query.context.values = plan->views;
  query.context.tables = (const void *const *)attention->tables;
  query.context.keys = entry.tokens;
  query.context.heads = (int32_t)plan->shape.heads;
  query.b = (int32_t)b;
  query.h = (int32_t)h;
  query.p0 = (int32_t)(entry.first_position + rows.first);
  query.rows = (int32_t)rows.count;
  query.keys = entry.keys;
  query.tile_keys = code->tile_keys;
  query.class_tiles = (int32_t)attention->class_key_tiles;
  query.step = attention->step;
  return query;
}

static bool is_reach_well_formed(const sparse_attn_plan *plan, const sa_table *table) {
  if (table->kind != SA_TABLE_REACH || table->input_count != 4 ||
      table->parameter_count != 3)
    return false;
  for (int32_t i = 0; i < 4; ++i)
    if (table->inputs[i] < 0 || table->inputs[i] >= plan->kernel->input_count ||
        !plan->kernel->inputs[table->inputs[i]].layout)
      return false;
  return true;
}

static bool is_same_table(const sa_table *a, const sa_table *b) {
  return a->kind == b->kind && a->input_count == b->input_count &&
         a->parameter_count == b->parameter_count &&
         !memcmp(a->inputs, b->inputs, (size_t)a->input_count * sizeof(*a->inputs)) &&
         !memcmp(a->parameters, b->parameters,
                 (size_t)a->parameter_count * sizeof(*a->parameters));
}

/* The same table of an attention before `attention`: ways of a choice share them. */
static void *find_table(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                        const sa_table *table) {
  for (const sa_plan_attention *other = plan->attentions; other < attention; ++other)
    for (int32_t t = 0; other->tables && t < other->code->table_count; ++t)
      if (is_same_table(&other->code->tables[t], table))
        return other->tables[t];
  return NULL;
}

bool sa_owns_table(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                   int32_t table) {
  return find_table(plan, attention, &attention->code->tables[table]) !=
         attention->tables[table];
}

static sparse_attn_status build_tables(const sparse_attn_plan *plan,
                                       sa_plan_attention *attention) {
  const sa_attention *code = attention->code;
  if (code->table_count == 0)
    return SPARSE_ATTN_OK;
  attention->tables =
      sa_allocate_zeroed((size_t)code->table_count, sizeof(*attention->tables));
  if (!attention->tables)
    return sa_fail(SPARSE_ATTN_OUT_OF_MEMORY, "kernel '%s': no memory for a plan",
                   plan->kernel->name);
  for (int32_t i = 0; i < code->table_count; ++i) {
    if (!is_reach_well_formed(plan, &code->tables[i]))
      return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                     "kernel '%s' is malformed: this runtime does not know its "
                     "table %d; compile it again",
                     plan->kernel->name, (int)i);
    attention->tables[i] = find_table(plan, attention, &code->tables[i]);
    if (attention->tables[i])
      continue;
    sa_reach *reach;
    sparse_attn_status status =
        sa_reach_create(plan->kernel, &code->tables[i], plan->views, &reach);
    if (status)
      return status;
    attention->tables[i] = reach;
  }
  return SPARSE_ATTN_OK;
}

static sparse_attn_status read_attention(sparse_attn_plan *plan,
                                         sa_plan_attention *attention) {
  sparse_attn_status status = sa_check_operands(plan, attention->code);
  if (!status)
    status = sa_read_lengths(plan, attention);
  return status ? status : build_tables(plan, attention);
}

/* Takes the cheapest steps and ways. Tiles whose operands lie on a GPU are counted
 * there. */
static sparse_attn_status choose(sparse_attn_plan *plan) {
  bool there = plan->gpu && plan->gpu->lists_tiles;
  sparse_attn_status status = there ? sa_gpu_check_operands(plan) : SPARSE_ATTN_OK;
  if (!status && there)
    status = sa_gpu_sample(plan);
  if (status)
    return status;
  for (int32_t i = 0; i < plan->attention_count; ++i) {
    sa_plan_attention *attention = &plan->attentions[i];
    sa_choose_step(plan, attention);
    attention->schedule = sa_make_schedule(plan, attention);
  }
  sa_choose_ways(plan);
  return SPARSE_ATTN_OK;
}

DLDevice sa_plan_device(const sparse_attn_plan *plan) {
  DLDevice gpu = {kDLCUDA, plan->gpu ? plan->gpu->device.number : 0};
  return plan->gpu ? gpu : kCPU;
}

static sparse_attn_status allocate_plan(const sparse_attn_kernel *kernel,
                                        const sparse_attn_shape *shape,
                                        sparse_attn_plan **result) {
  int32_t attentions = 0;
  for (int32_t i = 0; i < kernel->step_count; ++i)
    attentions += kernel->steps[i].kind == SA_STEP_ATTENTION;
  sparse_attn_plan *plan = sa_allocate_zeroed(1, sizeof(*plan));
  *result = plan;
  if (plan) {
    size_t values = (size_t)sa_max(kernel->value_count, 0);
    plan->kernel = kernel;
    plan->shape = *shape;
    plan->attention_count = attentions;
    plan->values = sa_allocate_zeroed(values, sizeof(*plan->values));
    plan->views = sa_allocate_zeroed(values, sizeof(*plan->views));
    plan->attentions = sa_allocate_zeroed((size_t)attentions, sizeof(*plan->attentions));
    plan->encodings =
        sa_allocate_zeroed((size_t)kernel->encoding_count, sizeof(*plan->encodings));
  }
  if (!plan || !plan->values || !plan->views || !plan->attentions || !plan->encodings)
    return sa_fail(SPARSE_ATTN_OUT_OF_MEMORY, "kernel '%s': no memory for a plan",
                   kernel->name);
  return SPARSE_ATTN_OK;
}

sparse_attn_status
sparse_attn_plan_create(const sparse_attn_kernel *kernel, const sparse_attn_shape *shape,
                        const DLTensor *const *layout, size_t layout_count,
                        const sparse_attn_options *options, sparse_attn_plan **result) {
  if (!result)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "plan is null");
  *result = NULL;
  if (!kernel || !shape)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "%s is null",
                   kernel ? "shape" : "kernel");
  int workers;
  sparse_attn_status status = sa_worker_count(options, &workers);
  if (!status)
    status = sa_check_shape(kernel, shape);
  if (status)
    return status;

  sparse_attn_plan *plan;
  status = allocate_plan(kernel, shape, &plan);
  if (!status)
    status = sa_check_program(plan);
  if (!status && sa_wants_gpu(options))
    status = sa_gpu_open(plan, options);
  if (!status)
    status = sa_copy_operands(plan, layout, layout_count);
  for (int32_t i = 0; !status && i < plan->attention_count; ++i)
    status = read_attention(plan, &plan->attentions[i]);
  if (!status)
    status = choose(plan);
  if (!status)
    status = sa_plan_encodings(plan);
  for (int32_t i = 0; !status && i < plan->attention_count; ++i) {
    sa_plan_attention *attention = &plan->attentions[i];
    if (sa_has_table(attention) && !sa_gpu_lists(plan, attention) &&
        sa_is_attention_needed(plan, attention))
      status = sa_table_create(plan, attention, options, workers);
  }
  if (!status && plan->gpu)
    status = sa_gpu_upload(plan);
  if (status) {
    sparse_attn_plan_destroy(plan);
    return status;
  }
  *result = plan;
  return SPARSE_ATTN_OK;
}

void sparse_attn_plan_destroy(sparse_attn_plan *plan) {
  if (!plan)
    return;
  for (int32_t i = 0; plan->views && i < plan->kernel->value_count; ++i)
    free(plan->views[i].allocated);
  /* Backwards: a shared table belongs to the first that has it. */
  for (int32_t i = plan->attention_count; plan->attentions && i-- > 0;) {
    sa_plan_attention *attention = &plan->attentions[i];
    free(attention->entries);
    for (int32_t t = 0; attention->tables && t < attention->code->table_count; ++t)
      if (sa_owns_table(plan, attention, t))
        sa_reach_destroy(attention->tables[t]);
    free(attention->tables);
    sa_table_destroy(&attention->table);
  }
  sa_release_encodings(plan);
  sa_gpu_destroy(plan); /* has the attentions' code for its device, which they name */
  free(plan->attentions);
  free(plan->views);
  free(plan->values);
  free(plan);
}
