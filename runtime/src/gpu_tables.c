/*===- gpu_tables.c - tables of a plan in a GPU's memory -------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * What was found here in a graph (reach_build.c) is small beside the lists that are made
 * of it. It goes up in one piece: offsets in the place of pointers, so that it is filled
 * before there is memory for it.
 *
 *===----------------------------------------------------------------------===*/

#include "gpu.h"

#include <stdlib.h>
#include <string.h>

/* Appends an array; `*at` gets its offset. */
static bool place_array(sa_gpu_image *image, const void *data, size_t bytes,
                        int64_t *at) {
  size_t offset;
  void *room = sa_gpu_place(image, bytes, &offset);
  if (!room)
    return false;
  if (bytes)
    memcpy(room, data, bytes);
  *at = (int64_t)offset;
  return true;
}

/* `entries` are those of `table`, and both go to the beginning. */
static bool place_reach(sa_gpu_image *image, const sa_reach *reach, sa_gpu_reach *table,
                        sa_gpu_reach_batch *entries) {
  size_t entry_bytes = (size_t)reach->batch_count * sizeof(*entries), beginning;
  size_t intervals = (size_t)reach->slot_begin[reach->slots];
  table->batch_count = (int32_t)reach->batch_count;
  bool placed = sa_gpu_place(image, sizeof(*table) + entry_bytes, &beginning) &&
                place_array(image, reach->slot_begin,
                            ((size_t)reach->slots + 1) * sizeof(*reach->slot_begin),
                            &table->slot_begin) &&
                place_array(image, reach->interval_first,
                            intervals * sizeof(*reach->interval_first), &table->first) &&
                place_array(image, reach->interval_end,
                            intervals * sizeof(*reach->interval_end), &table->end);
  for (int64_t b = 0; placed && b < reach->batch_count; ++b) {
    const sa_reach_batch *batch = &reach->batches[b];
    size_t chunks = (size_t)batch->chunk_count;
    entries[b].chunk_count = batch->chunk_count;
    placed =
        place_array(image, batch->start, (chunks + 1) * sizeof(*batch->start),
                    &entries[b].start) &&
        place_array(image, batch->slot, chunks * sizeof(*batch->slot), &entries[b].slot);
  }
  if (placed) {
    memcpy(image->bytes.data, table, sizeof(*table));
    memcpy(image->bytes.data + sizeof(*table), entries, entry_bytes);
  }
  return placed;
}

/* Adds its bytes. */
static sparse_attn_status send_reach(const sparse_attn_plan *plan, const sa_reach *reach,
                                     char **memory, size_t *bytes) {
  sa_gpu_image image = {{NULL, 0, 0}};
  sa_gpu_reach table = {.batch_count = 0};
  sa_gpu_reach_batch *entries =
      sa_allocate_zeroed((size_t)reach->batch_count, sizeof(*entries));
  sparse_attn_status status = entries && place_reach(&image, reach, &table, entries)
                                  ? sa_gpu_send(plan, &image, memory)
                                  : SPARSE_ATTN_OUT_OF_MEMORY;
  *bytes += image.bytes.size;
  free(image.bytes.data);
  free(entries);
  return status;
}

sparse_attn_status sa_gpu_send_tables(const sparse_attn_plan *plan,
                                      const sa_plan_attention *attention) {
  sa_gpu_attention *gpu = sa_gpu_of(plan, attention);
  int32_t count = attention->code->table_count;
  if (count == 0 || gpu->tables)
    return SPARSE_ATTN_OK;
  gpu->tables = sa_allocate_zeroed((size_t)count, sizeof(*gpu->tables));
  sparse_attn_status status = gpu->tables ? SPARSE_ATTN_OK : SPARSE_ATTN_OUT_OF_MEMORY;
  for (int32_t i = 0; !status && i < count; ++i)
    status = send_reach(plan, attention->tables[i], &gpu->tables[i], &gpu->table_bytes);
  return status;
}

bool sa_gpu_place_tables(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                         sa_gpu_image *image, size_t *at) {
  const sa_gpu_attention *gpu = sa_gpu_of(plan, attention);
  size_t bytes = (size_t)attention->code->table_count * sizeof(*gpu->tables);
  void *room = sa_gpu_place(image, bytes, at);
  if (room && bytes)
    memcpy(room, gpu->tables, bytes);
  return room != NULL;
}

void sa_gpu_drop_tables(const sparse_attn_plan *plan,
                        const sa_plan_attention *attention) {
  sa_gpu_attention *gpu = sa_gpu_of(plan, attention);
  for (int32_t i = 0; gpu->tables && i < attention->code->table_count; ++i)
    sa_gpu_release(&plan->gpu->device, gpu->tables[i]);
  free(gpu->tables);
  gpu->tables = NULL;
  gpu->table_bytes = 0;
}
