/*===- gpu_sample.c - tiles that a GPU counts for a choice ----------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Steps and ways are chosen by costs (cost.c), for which the tiles of some query tiles
 * are counted. Where a mask's operands lie in the GPU's memory, that counts them, before
 * anything is listed: of the same query tiles, by the same classes, and without deciding
 * a pair, so that both choose alike. All questions go there in one copy, are a launch of
 * some blocks each, and their answers come here in one copy.
 *
 *===----------------------------------------------------------------------===*/

#include "gpu.h"

#include <stdlib.h>
#include <string.h>

/* An attention with a step. */
typedef struct question {
  sa_plan_attention *attention;
  int32_t step;
  int64_t tiles;                 /* query tiles that are sampled */
  size_t entries, items, tables; /* offsets */
} question;

/* Of what is counted of a query tile. An attention has room for two steps. */
static size_t first_list(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                         int32_t step) {
  return ((size_t)(attention - plan->attentions) * 2 + (step != 1)) * SA_SAMPLES;
}

static bool has_choice(const sparse_attn_kernel *kernel) {
  for (int32_t i = 0; i < kernel->step_count; ++i)
    if (kernel->steps[i].kind == SA_STEP_CHOOSE)
      return true;
  return false;
}

/* Fills `questions`, at most two for each attention. */
static int32_t find_questions(const sparse_attn_plan *plan, question *questions) {
  int32_t count = 0;
  for (int32_t i = 0; i < plan->attention_count; ++i) {
    sa_plan_attention *attention = &plan->attentions[i];
    int32_t period = attention->code->period;
    if (!sa_gpu_lists(plan, attention))
      continue;
    if (period != 1 || has_choice(plan->kernel))
      questions[count++] = (question){.attention = attention, .step = 1};
    if (period != 1)
      questions[count++] = (question){.attention = attention, .step = period};
  }
  return count;
}

static bool place_question(const sparse_attn_plan *plan, question *own,
                           sa_gpu_image *image) {
  sa_sampled_tile sampled[SA_SAMPLES];
  sa_set_step(own->attention, &plan->shape, own->step);
  own->tiles = sa_sample_tiles(plan, own->attention, sampled);
  sa_gpu_item *items =
      sa_gpu_place(image, (size_t)own->tiles * sizeof(*items), &own->items);
  for (int64_t i = 0; items && i < own->tiles; ++i)
    items[i] =
        sa_gpu_list_item(own->attention, sampled[i].b, sampled[i].h, sampled[i].row_tile);
  return items && sa_gpu_place_entries(plan, own->attention, image, &own->entries) &&
         sa_gpu_place_tables(plan, own->attention, image, &own->tables);
}

static sparse_attn_status ask(const sparse_attn_plan *plan, const question *own,
                              const char *memory, sa_gpu_list *lists,
                              const sa_view *values) {
  sa_set_step(own->attention, &plan->shape, own->step);
  sa_gpu_args args = sa_gpu_list_args(plan, own->attention);
  args.items = (const sa_gpu_item *)(memory + own->items);
  args.entries = (const sa_gpu_entry *)(memory + own->entries);
  args.tables = (const sa_gpu_reach *const *)(memory + own->tables);
  args.lists = lists + first_list(plan, own->attention, own->step);
  args.by_class = 1;
  return sa_gpu_start_lister(plan, own->attention,
                             sa_gpu_of(plan, own->attention)->kernel->count, values,
                             &args, own->tiles);
}

/* Asks all questions; `values` has room for views. */
static sparse_attn_status ask_all(sparse_attn_plan *plan, question *questions,
                                  int32_t count, sa_view *values) {
  sa_gpu_plan *gpu = plan->gpu;
  size_t bytes = (size_t)plan->attention_count * 2 * SA_SAMPLES * sizeof(*gpu->sampled);
  size_t lists = 0;
  sparse_attn_status status = SPARSE_ATTN_OK;
  for (int32_t i = 0; !status && i < count; ++i)
    status = sa_gpu_send_tables(plan, questions[i].attention);
  if (status)
    return status;
  sa_gpu_image image = {{NULL, 0, 0}};
  void *room = sa_gpu_place(&image, bytes, &lists);
  if (room)
    memset(room, 0, bytes);
  bool placed = room && sa_gpu_place_operands(plan, &image, values);
  for (int32_t i = 0; placed && i < count; ++i)
    placed = place_question(plan, &questions[i], &image);
  char *memory = NULL;
  status = placed ? sa_gpu_send(plan, &image, &memory) : SPARSE_ATTN_OUT_OF_MEMORY;
  free(image.bytes.data);
  if (!status)
    sa_gpu_move_operands(plan, memory, values);
  for (int32_t i = 0; !status && i < count; ++i)
    status = ask(plan, &questions[i], memory, (sa_gpu_list *)(memory + lists), values);
  if (!status)
    status = sa_gpu_download(plan, gpu->sampled, memory + lists, bytes);
  sa_gpu_release(&gpu->device, memory);
  for (int32_t i = 0; i < count; ++i)
    sa_set_step(questions[i].attention, &plan->shape, 1);
  return status;
}

sparse_attn_status sa_gpu_sample(sparse_attn_plan *plan) {
  sa_gpu_plan *gpu = plan->gpu;
  size_t attentions = (size_t)plan->attention_count;
  size_t value_count = (size_t)plan->kernel->value_count;
  question *questions = sa_allocate(attentions, 2 * sizeof(*questions));
  sa_view *values = sa_allocate(value_count, sizeof(*values));
  gpu->sampled = sa_allocate_zeroed(attentions, 2 * SA_SAMPLES * sizeof(*gpu->sampled));
  sparse_attn_status status = SPARSE_ATTN_OUT_OF_MEMORY;
  if (questions && values && gpu->sampled) {
    memcpy(values, gpu->views, value_count * sizeof(*values));
    int32_t count = find_questions(plan, questions);
    status = count ? ask_all(plan, questions, count, values) : SPARSE_ATTN_OK;
  }
  free(questions);
  free(values);
  return status == SPARSE_ATTN_OUT_OF_MEMORY
             ? sa_fail(status, "kernel '%s': no memory for a plan", plan->kernel->name)
             : status;
}

sa_visited_tiles sa_gpu_sampled(const sparse_attn_plan *plan,
                                const sa_plan_attention *attention, int64_t sample) {
  const sa_gpu_list *list =
      &plan->gpu->sampled[first_list(plan, attention, attention->step) + (size_t)sample];
  return (sa_visited_tiles){list->tiles, list->bits, list->bit_keys};
}
