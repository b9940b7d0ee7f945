/*===- gpu_lists.c - lists of tiles that a GPU makes ----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 *   check    are the values of operands allowed?     here come: a word of each block
 *   count    tiles, runs and bit tiles of each list              32 bytes of each list
 *   (here)   where each of them begins, and its shares
 *   list     decides again, and writes runs and bits             8 bytes of each share
 *
 * So nothing comes here that grows faster than the number of query tiles, and no pair is
 * decided here. Items stay here: they are sorted by length.
 *
 *===----------------------------------------------------------------------===*/

#include "gpu.h"

#include <stdlib.h>
#include <string.h>

static sparse_attn_status no_memory(const sparse_attn_plan *plan) {
  return sa_fail(SPARSE_ATTN_OUT_OF_MEMORY, "kernel '%s': no memory for a plan",
                 plan->kernel->name);
}

sparse_attn_status sa_gpu_download(const sparse_attn_plan *plan, void *to,
                                   const void *from, size_t bytes) {
  const sa_gpu_device *device = &plan->gpu->device;
  const sparse_attn_gpu_driver *driver = device->driver;
  return sa_gpu_check(
      plan->kernel, device,
      bytes ? driver->download(driver->context, device->number, to, from, bytes) : NULL);
}

/* The step that makes `attention`. */
static const sa_gpu_step *find_step(const sparse_attn_plan *plan,
                                    const sa_plan_attention *attention) {
  int32_t number = (int32_t)(attention - plan->attentions), step = 0;
  for (;; ++step)
    if (plan->kernel->steps[step].kind == SA_STEP_ATTENTION && number-- == 0)
      return &plan->gpu->steps[step];
}

sparse_attn_status sa_gpu_start_lister(const sparse_attn_plan *plan,
                                       const sa_plan_attention *attention,
                                       const char *name, const sa_view *values,
                                       const sa_gpu_args *args, int64_t blocks) {
  const sa_gpu_step *step = find_step(plan, attention);
  const sa_gpu_kernel *kernel = step->kernel;
  void *function;
  sparse_attn_status status = sa_gpu_find(plan->kernel, &plan->gpu->device, step->loaded,
                                          name, kernel->list_shared_bytes, &function);
  if (status)
    return status;
  sa_gpu_arguments arguments;
  arguments.args = *args;
  sparse_attn_gpu_launch request = {.function = function,
                                    .blocks = blocks,
                                    .threads = kernel->list_threads,
                                    .shared_bytes = kernel->list_shared_bytes};
  return sa_gpu_launch(plan, values, &arguments, NULL, request);
}

/*===--- Checks -----------------------------------------------------------===*/

/* The words for what is wrong are those of the host, which looks for it once more. */
static sparse_attn_status explain_fault(sparse_attn_plan *plan,
                                        const sa_attention *code) {
  sa_view *own = plan->views;
  sa_view *views = sa_allocate_zeroed((size_t)plan->kernel->value_count, sizeof(*views));
  if (!views)
    return no_memory(plan);
  sparse_attn_status status = sa_gpu_bring_operands(plan, views);
  if (!status) {
    plan->views = views;
    status = sa_check_operands(plan, code);
    plan->views = own;
  }
  sa_gpu_drop_operands(plan, views);
  return status ? status
                : sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                          "kernel '%s': a layout operand has changed while a plan was "
                          "made of it",
                          plan->kernel->name);
}

/* Whether values of its operands are there, and were not checked here. */
static bool keeps_operands(const sparse_attn_plan *plan, const sa_attention *code) {
  for (int32_t i = 0; i < code->check_count; ++i)
    for (int32_t k = 0; k < code->checks[i].input_count; ++k)
      if (code->checks[i].inputs[k] >= 0 &&
          sa_gpu_keeps_operand(plan, code->checks[i].inputs[k]))
        return true;
  return false;
}

sparse_attn_status sa_gpu_check_operands(sparse_attn_plan *plan) {
  enum { kBlocks = 64 };
  const sa_gpu_device *device = &plan->gpu->device;
  const sparse_attn_gpu_driver *driver = device->driver;
  size_t words = (size_t)plan->attention_count * kBlocks;
  bool needed = false;
  for (int32_t i = 0; i < plan->attention_count; ++i)
    needed = needed || keeps_operands(plan, plan->attentions[i].code);
  if (!needed)
    return SPARSE_ATTN_OK;
  int32_t *memory = NULL, *faults = sa_allocate_zeroed(words, sizeof(*faults));
  if (!faults)
    return no_memory(plan);
  sparse_attn_status status =
      sa_gpu_check(plan->kernel, device,
                   driver->allocate(driver->context, device->number,
                                    words * sizeof(*faults), (void **)&memory));
  for (int32_t i = 0; !status && i < plan->attention_count; ++i) {
    const sa_plan_attention *attention = &plan->attentions[i];
    sa_gpu_args args = {.tokens = (int32_t)plan->shape.keys,
                        .faults = memory + (size_t)i * kBlocks};
    if (keeps_operands(plan, attention->code)) /* else nobody writes its words */
      status =
          sa_gpu_start_lister(plan, attention, sa_gpu_of(plan, attention)->kernel->check,
                              plan->gpu->views, &args, kBlocks);
  }
  if (!status)
    status = sa_gpu_download(plan, faults, memory, words * sizeof(*faults));
  sa_gpu_release(device, memory);
  for (int32_t i = 0; !status && i < plan->attention_count; ++i) {
    bool any = false;
    for (int word = 0; word < kBlocks; ++word)
      any = any || faults[i * kBlocks + word];
    if (any && keeps_operands(plan, plan->attentions[i].code))
      status = explain_fault(plan, plan->attentions[i].code);
  }
  free(faults);
  return status;
}

/*===--- Counting ---------------------------------------------------------===*/

sa_gpu_item sa_gpu_list_item(const sa_plan_attention *attention, int64_t b, int64_t h,
                             int64_t row_tile) {
  sa_entry entry = sa_plan_entry(attention, b);
  sa_tile_span rows = sa_row_span(attention, row_tile, entry.rows);
  return (sa_gpu_item){.b = (int32_t)b,
                       .h = (int32_t)h,
                       .first_row = (int32_t)rows.first,
                       .rows = (int32_t)rows.count,
                       .end = rows.count ? (int32_t)attention->key_tiles : 0};
}

sa_gpu_args sa_gpu_list_args(const sparse_attn_plan *plan,
                             const sa_plan_attention *attention) {
  return (sa_gpu_args){.heads = (int32_t)plan->shape.heads,
                       .group = 1,
                       .stack = 1,
                       .step = attention->step,
                       .class_tiles = (int32_t)attention->class_key_tiles,
                       .bit_rows = attention->code->tile_rows};
}

/* The query tiles of all planes. */
static bool place_items(sa_gpu_lister *lister, sa_gpu_image *image) {
  const sa_plan_attention *attention = lister->attention;
  sa_gpu_item *items =
      sa_gpu_place(image, (size_t)lister->count * sizeof(*items), &lister->items);
  for (int64_t i = 0; items && i < lister->count; ++i) {
    int64_t plane = i / attention->row_tiles, heads = lister->gpu->heads;
    items[i] = sa_gpu_list_item(attention, plane / heads, plane % heads,
                                i % attention->row_tiles);
  }
  return items != NULL;
}

static bool fill_image(sa_gpu_lister *lister, sa_gpu_image *image) {
  size_t bytes = (size_t)lister->count * sizeof(sa_gpu_list);
  void *lists = NULL;
  if (!sa_gpu_place_operands(lister->plan, image, lister->values) ||
      !sa_gpu_place_entries(lister->plan, lister->attention, image, &lister->entries) ||
      !place_items(lister, image) ||
      !sa_gpu_place_tables(lister->plan, lister->attention, image,
                           &lister->table_pointers) ||
      !(lists = sa_gpu_place(image, bytes, &lister->lists)))
    return false;
  memcpy(lists, lister->gpu->lists, bytes);
  return true;
}

static sa_gpu_args describe(const sa_gpu_lister *lister) {
  char *memory = lister->memory;
  sa_gpu_args args = sa_gpu_list_args(lister->plan, lister->attention);
  args.items = (const sa_gpu_item *)(memory + lister->items);
  args.entries = (const sa_gpu_entry *)(memory + lister->entries);
  args.tables = (const sa_gpu_reach *const *)(memory + lister->table_pointers);
  args.lists = (sa_gpu_list *)(memory + lister->lists);
  return args;
}

static sparse_attn_status start(const sa_gpu_lister *lister, const char *name,
                                const sa_gpu_args *args) {
  return sa_gpu_start_lister(lister->plan, lister->attention, name, lister->values, args,
                             lister->count);
}

sparse_attn_status sa_gpu_count_lists(const sparse_attn_plan *plan,
                                      const sa_plan_attention *attention,
                                      sa_gpu_attention *gpu, sa_gpu_lister *lister) {
  *lister = (sa_gpu_lister){.plan = plan,
                            .attention = attention,
                            .gpu = gpu,
                            .count = gpu->batches * gpu->heads * attention->row_tiles};
  size_t values = (size_t)plan->kernel->value_count;
  lister->values = sa_allocate(values, sizeof(*lister->values));
  gpu->lists = sa_allocate_zeroed((size_t)lister->count, sizeof(*gpu->lists));
  if (!lister->values || !gpu->lists)
    return SPARSE_ATTN_OUT_OF_MEMORY;
  memcpy(lister->values, plan->gpu->views, values * sizeof(*lister->values));
  for (int64_t i = 0; i < lister->count; ++i)
    gpu->lists[i].shares = 1;
  sparse_attn_status status = sa_gpu_send_tables(plan, attention);
  if (status)
    return status;
  sa_gpu_image image = {{NULL, 0, 0}};
  status = fill_image(lister, &image) ? sa_gpu_send(plan, &image, &lister->memory)
                                      : SPARSE_ATTN_OUT_OF_MEMORY;
  free(image.bytes.data);
  if (status)
    return status;
  sa_gpu_move_operands(plan, lister->memory, lister->values);
  sa_gpu_args args = describe(lister);
  status = start(lister, gpu->kernel->count, &args);
  return status ? status
                : sa_gpu_download(plan, gpu->lists, args.lists,
                                  (size_t)lister->count * sizeof(*gpu->lists));
}

/*===--- Writing ----------------------------------------------------------===*/

sparse_attn_status sa_gpu_write_lists(sa_gpu_lister *lister, int64_t runs, int64_t bits,
                                      sa_gpu_share *shares, int64_t share_count) {
  const sparse_attn_plan *plan = lister->plan;
  const sa_gpu_device *device = &plan->gpu->device;
  const sparse_attn_gpu_driver *driver = device->driver;
  sa_gpu_attention *gpu = lister->gpu;
  size_t list_bytes = (size_t)lister->count * sizeof(*gpu->lists);
  size_t share_bytes = (size_t)share_count * sizeof(*shares);
  size_t bit_bytes =
      (size_t)bits * (size_t)gpu->code.tile_rows * (size_t)gpu->code.tile_keys / 8;
  gpu->runs = 0;
  gpu->bits = (size_t)sa_ceil_div(runs * (int64_t)sizeof(sa_run), SA_GPU_ALIGNMENT) *
              SA_GPU_ALIGNMENT;
  gpu->listed_bytes = gpu->bits + bit_bytes;
  if (lister->count == 0)
    return SPARSE_ATTN_OK;
  sa_gpu_args args = describe(lister);
  void *memory = NULL;
  const char *error =
      driver->upload(driver->context, device->number, args.lists, gpu->lists, list_bytes);
  if (!error)
    error = driver->allocate(driver->context, device->number,
                             gpu->listed_bytes ? gpu->listed_bytes : 1,
                             (void **)&gpu->listed);
  if (!error)
    error = driver->allocate(driver->context, device->number, share_bytes, &memory);
  sparse_attn_status status = sa_gpu_check(plan->kernel, device, error);
  args.runs = (const sa_run *)gpu->listed;
  args.bits = (const uint8_t *)gpu->listed + gpu->bits;
  args.shares = memory;
  if (!status)
    status = start(lister, gpu->kernel->list, &args);
  if (!status)
    status = sa_gpu_download(plan, shares, memory, share_bytes);
  if (!status)
    status = sa_gpu_download(plan, gpu->lists, args.lists, list_bytes);
  sa_gpu_release(device, memory);
  return status;
}

void sa_gpu_close_lister(sa_gpu_lister *lister) {
  sa_gpu_release(&lister->plan->gpu->device, lister->memory);
  sa_gpu_drop_tables(lister->plan, lister->attention);
  free(lister->values);
}

/*===--- Looking into lists -----------------------------------------------===*/

static const sa_gpu_list *lists_of(const sparse_attn_plan *plan,
                                   const sa_plan_attention *attention, int64_t b,
                                   int64_t h) {
  const sa_gpu_attention *gpu = sa_gpu_of(plan, attention);
  int64_t plane = (gpu->batches > 1 ? b : 0) * gpu->heads + (gpu->heads > 1 ? h : 0);
  return gpu->lists + plane * attention->row_tiles;
}

sparse_attn_status sa_gpu_fetch_runs(const sparse_attn_plan *plan,
                                     const sa_plan_attention *attention, int64_t b,
                                     int64_t h, int64_t row_tile, int64_t count,
                                     sa_buffer *runs) {
  if (count == 0)
    return SPARSE_ATTN_OK;
  const sa_gpu_attention *gpu = sa_gpu_of(plan, attention);
  const sa_gpu_list *first = lists_of(plan, attention, b, h) + row_tile;
  const sa_gpu_list *last = first + count - 1;
  size_t bytes =
      (size_t)(last->first_run + last->runs - first->first_run) * sizeof(sa_run);
  void *room = sa_buffer_extend(runs, bytes);
  if (!room)
    return no_memory(plan);
  return sa_gpu_download(
      plan, room, gpu->listed + gpu->runs + (size_t)first->first_run * sizeof(sa_run),
      bytes);
}

sa_run_list sa_gpu_fetched_list(const sparse_attn_plan *plan,
                                const sa_plan_attention *attention, int64_t b, int64_t h,
                                int64_t first, int64_t row_tile, const sa_buffer *runs) {
  const sa_gpu_list *lists = lists_of(plan, attention, b, h);
  sa_run_list list = {NULL, lists[row_tile].runs, NULL, NULL};
  if (list.count)
    list.runs =
        (const sa_run *)runs->data + lists[row_tile].first_run - lists[first].first_run;
  return list;
}
