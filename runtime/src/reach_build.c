/*===- reach_build.c - builds the table of graph_hop ----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * One breadth-first search for every node that owns a chunk, in time and memory
 * proportional to what it reaches:
 *
 *   node --BFS--> nodes within max_hops --chunks of each--> sort --> intervals
 *
 * Undirected and unbounded, all nodes of a component share the result of the first.
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

#include <stdlib.h>

/* What one build needs; arrays over nodes are cleared by touching only what a
 * search has touched. */
typedef struct builder {
  int64_t max_hops; /* -1: unbounded */
  bool directed, want_distances;
  int64_t nodes;
  const int32_t *indptr, *indices;
  int32_t *reverse_indptr, *reverse_indices; /* NULL if directed */

  int32_t *first_chunk; /* by node: head of the list of its chunks, or -1 */
  int32_t *next_chunk;  /* by chunk */
  int32_t *chunk_node;  /* by chunk that holds a token */
  int32_t *slot_of;     /* by node, or -1 */
  int32_t *queue;
  uint32_t *seen, search; /* seen[v] == search: found by this search */

  sa_buffer found; /* u64: chunk << 32 | distance; twice as long, to sort */
  sa_buffer slot_begin, first, end;
  sa_buffer hop_begin, hop_first, hop_end, hop_distance;
} builder;

static void release(builder *build) {
  free(build->reverse_indptr);
  free(build->reverse_indices);
  free(build->first_chunk);
  free(build->next_chunk);
  free(build->chunk_node);
  free(build->slot_of);
  free(build->queue);
  free(build->seen);
  free(build->found.data);
  free(build->slot_begin.data);
  free(build->first.data);
  free(build->end.data);
  free(build->hop_begin.data);
  free(build->hop_first.data);
  free(build->hop_end.data);
  free(build->hop_distance.data);
}

static bool push_i32(sa_buffer *buffer, int32_t value) {
  int32_t *room = sa_buffer_extend(buffer, sizeof(*room));
  if (room)
    *room = value;
  return room != NULL;
}

static bool push_i64(sa_buffer *buffer, int64_t value) {
  int64_t *room = sa_buffer_extend(buffer, sizeof(*room));
  if (room)
    *room = value;
  return room != NULL;
}

static bool push_u16(sa_buffer *buffer, uint16_t value) {
  uint16_t *room = sa_buffer_extend(buffer, sizeof(*room));
  if (room)
    *room = value;
  return room != NULL;
}

static int64_t length_i32(const sa_buffer *buffer) {
  return (int64_t)(buffer->size / sizeof(int32_t));
}

/* Every edge the other way round, as CSR again. */
static bool reverse_edges(builder *build) {
  int64_t nodes = build->nodes;
  int32_t begin = build->indptr[0], end = build->indptr[nodes];
  build->reverse_indptr =
      sa_allocate_zeroed((size_t)nodes + 2, sizeof(*build->reverse_indptr));
  build->reverse_indices =
      sa_allocate((size_t)(end - begin), sizeof(*build->reverse_indices));
  if (!build->reverse_indptr || !build->reverse_indices)
    return false;
  /* Counts two places up, so that filling leaves the starts one place up. */
  int32_t *at = build->reverse_indptr + 1;
  for (int32_t e = begin; e < end; ++e)
    ++at[build->indices[e] + 1];
  for (int64_t v = 0; v < nodes; ++v)
    at[v + 1] += at[v];
  for (int64_t v = 0; v < nodes; ++v)
    for (int32_t e = build->indptr[v]; e < build->indptr[v + 1]; ++e)
      build->reverse_indices[at[build->indices[e]]++] = (int32_t)v;
  return true;
}

static bool prepare(builder *build, const sa_table *table, const sa_view *values) {
  const sa_view *indptr = &values[table->inputs[2]];
  build->max_hops = table->parameters[0];
  build->directed = table->parameters[1] != 0;
  build->want_distances = table->parameters[2] != 0;
  build->nodes = indptr->size[3] - 1;
  build->indptr = indptr->data;
  build->indices = values[table->inputs[3]].data;

  size_t nodes = (size_t)build->nodes;
  size_t chunks = (size_t)values[table->inputs[0]].size[3] - 1;
  build->first_chunk = sa_allocate(nodes, sizeof(int32_t));
  build->slot_of = sa_allocate(nodes, sizeof(int32_t));
  build->queue = sa_allocate(nodes, sizeof(int32_t));
  build->seen = sa_allocate_zeroed(nodes, sizeof(uint32_t));
  build->next_chunk = sa_allocate(chunks, sizeof(int32_t));
  build->chunk_node = sa_allocate(chunks, sizeof(int32_t));
  if (!build->first_chunk || !build->slot_of || !build->queue || !build->seen ||
      !build->next_chunk || !build->chunk_node || !push_i64(&build->slot_begin, 0) ||
      !push_i64(&build->hop_begin, 0))
    return false;
  for (size_t v = 0; v < nodes; ++v)
    build->first_chunk[v] = build->slot_of[v] = -1;
  return build->directed || reverse_edges(build);
}

/*===--- One search -------------------------------------------------------===*/

/* Adds the unseen among `count` neighbours to the queue. */
static int64_t enqueue(builder *build, const int32_t *neighbours, int64_t count,
                       int64_t tail) {
  for (int64_t i = 0; i < count; ++i) {
    int32_t v = neighbours[i];
    if (build->seen[v] == build->search)
      continue;
    build->seen[v] = build->search;
    build->queue[tail++] = v;
  }
  return tail;
}

/* Notes the chunks of node `v`. */
static bool note_chunks(builder *build, int32_t v, int64_t distance) {
  for (int32_t c = build->first_chunk[v]; c >= 0; c = build->next_chunk[c]) {
    uint64_t *room = sa_buffer_extend(&build->found, sizeof(*room));
    if (!room)
      return false;
    *room = (uint64_t)c << 32 | (uint64_t)sa_min(distance, 0xfffe);
  }
  return true;
}

/* Fills build->queue with the nodes within max_hops of `root`, and
 * build->found with their chunks. `*reached` is the number of nodes. */
static bool search(builder *build, int32_t root, int64_t *reached) {
  if (++build->search == 0) { /* 2^32 searches later: old marks are unreadable */
    for (int64_t v = 0; v < build->nodes; ++v)
      build->seen[v] = 0;
    build->search = 1;
  }
  build->found.size = 0;
  int64_t head = 0, tail = enqueue(build, &root, 1, 0);
  for (int64_t distance = 0; head < tail; ++distance) {
    bool expand = build->max_hops < 0 || distance < build->max_hops;
    for (int64_t level_end = tail; head < level_end; ++head) {
      int32_t v = build->queue[head];
      if (!note_chunks(build, v, distance))
        return false;
      if (!expand)
        continue;
      int32_t begin = build->indptr[v];
      tail = enqueue(build, build->indices + begin, build->indptr[v + 1] - begin, tail);
      if (build->directed)
        continue;
      begin = build->reverse_indptr[v];
      tail = enqueue(build, build->reverse_indices + begin,
                     build->reverse_indptr[v + 1] - begin, tail);
    }
  }
  *reached = tail;
  return true;
}

/* Turns build->found into intervals of tokens; neighbouring chunks merge. */
static bool append_slot(builder *build, const int32_t *start) {
  size_t count = build->found.size / sizeof(uint64_t);
  if (!sa_buffer_extend(&build->found, build->found.size))
    return false;
  uint64_t *found = (uint64_t *)build->found.data;
  sa_sort(found, count, found + count);

  int32_t last_end = -1, hop_end = -1;
  int64_t hop_distance = -1;
  for (size_t i = 0; i < count; ++i) {
    int64_t chunk = (int64_t)(found[i] >> 32);
    uint16_t distance = (uint16_t)found[i];
    int32_t first = start[chunk], end = start[chunk + 1];
    if (first != last_end &&
        (!push_i32(&build->first, first) || !push_i32(&build->end, end)))
      return false;
    ((int32_t *)build->end.data)[length_i32(&build->end) - 1] = last_end = end;
    if (!build->want_distances)
      continue;
    if ((first != hop_end || distance != hop_distance) &&
        (!push_i32(&build->hop_first, first) || !push_i32(&build->hop_end, end) ||
         !push_u16(&build->hop_distance, distance)))
      return false;
    ((int32_t *)build->hop_end.data)[length_i32(&build->hop_end) - 1] = hop_end = end;
    hop_distance = distance;
  }
  return push_i64(&build->slot_begin, length_i32(&build->first)) &&
         push_i64(&build->hop_begin, length_i32(&build->hop_first));
}

/*===--- One batch entry --------------------------------------------------===*/

/* Keeps the chunks with tokens: their starts in `start`, nodes in chunk_node. */
static int32_t compact_chunks(builder *build, const int32_t *offsets,
                              const int32_t *nodes, int64_t chunks, int32_t *start) {
  int32_t count = 0;
  for (int64_t c = 0; c < chunks; ++c) {
    if (offsets[c] == offsets[c + 1])
      continue;
    start[count] = offsets[c];
    build->chunk_node[count++] = nodes[c];
  }
  start[count] = offsets[chunks];
  return count;
}

static bool build_slots(builder *build, const int32_t *start, int32_t count,
                        int32_t *slot) {
  bool shared = !build->directed && build->max_hops < 0 && !build->want_distances;
  for (int32_t c = count - 1; c >= 0; --c) {
    int32_t v = build->chunk_node[c];
    build->next_chunk[c] = build->first_chunk[v];
    build->first_chunk[v] = c;
  }
  for (int32_t c = 0; c < count; ++c) {
    int32_t v = build->chunk_node[c];
    if (build->slot_of[v] < 0) {
      int64_t next = (int64_t)(build->slot_begin.size / sizeof(int64_t)) - 1;
      int64_t reached;
      if (next == INT32_MAX || !search(build, v, &reached) || !append_slot(build, start))
        return false;
      for (int64_t i = 0; shared && i < reached; ++i)
        if (build->first_chunk[build->queue[i]] >= 0)
          build->slot_of[build->queue[i]] = (int32_t)next;
      build->slot_of[v] = (int32_t)next;
    }
    slot[c] = build->slot_of[v];
  }
  for (int32_t c = 0; c < count; ++c) /* for the next batch entry */
    build->first_chunk[build->chunk_node[c]] = build->slot_of[build->chunk_node[c]] = -1;
  return true;
}

static const int32_t *row(const sa_view *view, int64_t b) {
  return (const int32_t *)view->data + b * view->stride[2];
}

static bool build_batches(builder *build, const sa_table *table, const sa_view *values,
                          sa_reach *reach) {
  const sa_view *offsets = &values[table->inputs[0]];
  const sa_view *chunk_node = &values[table->inputs[1]];
  int64_t chunks = offsets->size[3] - 1;
  int64_t count = sa_max(offsets->size[2], chunk_node->size[2]);
  sa_reach_batch *batches = sa_allocate_zeroed((size_t)count, sizeof(*batches));
  if (!batches)
    return false;
  reach->batches = batches;
  reach->batch_count = count;
  for (int64_t b = 0; b < count; ++b) {
    int32_t *start = sa_allocate((size_t)chunks + 1, sizeof(*start));
    int32_t *slot = sa_allocate((size_t)chunks, sizeof(*slot));
    batches[b].start = start;
    batches[b].slot = slot;
    if (!start || !slot)
      return false;
    batches[b].chunk_count =
        compact_chunks(build, row(offsets, b), row(chunk_node, b), chunks, start);
    if (!build_slots(build, start, batches[b].chunk_count, slot))
      return false;
    reach->bytes += (size_t)(2 * chunks + 1) * sizeof(int32_t) + sizeof(*batches);
  }
  return true;
}

/* Hands a buffer's memory to the table. */
static const void *take(sa_buffer *buffer, size_t *bytes) {
  sa_buffer_trim(buffer);
  const void *data = buffer->data;
  *bytes += buffer->size;
  buffer->data = NULL;
  return data;
}

sparse_attn_status sa_reach_create(const sparse_attn_kernel *kernel,
                                   const sa_table *table, const sa_view *values,
                                   sa_reach **result) {
  builder build = {0};
  sa_reach *reach = sa_allocate_zeroed(1, sizeof(*reach));
  *result = reach;
  if (!reach || !prepare(&build, table, values) ||
      !build_batches(&build, table, values, reach)) {
    release(&build);
    sa_reach_destroy(reach);
    *result = NULL;
    return sa_fail(SPARSE_ATTN_OUT_OF_MEMORY,
                   "kernel '%s': no memory for the table of a graph", kernel->name);
  }
  reach->bytes += sizeof(*reach);
  reach->slots = (int64_t)(build.slot_begin.size / sizeof(int64_t)) - 1;
  reach->slot_begin = take(&build.slot_begin, &reach->bytes);
  reach->interval_first = take(&build.first, &reach->bytes);
  reach->interval_end = take(&build.end, &reach->bytes);
  if (build.want_distances) {
    reach->hop_begin = take(&build.hop_begin, &reach->bytes);
    reach->hop_first = take(&build.hop_first, &reach->bytes);
    reach->hop_end = take(&build.hop_end, &reach->bytes);
    reach->hop_distance = take(&build.hop_distance, &reach->bytes);
  }
  release(&build);
  return SPARSE_ATTN_OK;
}

void sa_reach_destroy(sa_reach *reach) {
  if (!reach)
    return;
  for (int64_t b = 0; reach->batches && b < reach->batch_count; ++b) {
    free((void *)reach->batches[b].start);
    free((void *)reach->batches[b].slot);
  }
  free((void *)reach->batches);
  free((void *)reach->slot_begin);
  free((void *)reach->interval_first);
  free((void *)reach->interval_end);
  free((void *)reach->hop_begin);
  free((void *)reach->hop_first);
  free((void *)reach->hop_end);
  free((void *)reach->hop_distance);
  free(reach);
}
