/*===- table.c - the tile lists of a plan-time mask -----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Workers take pieces (some neighbouring lists) and fill the piece's own buffers,
 * which the plan keeps as they are: nothing is copied together. Pieces do not
 * depend on the number of workers, and memory is proportional to the tiles kept.
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/*===--- Filling ----------------------------------------------------------===*/

typedef struct building {
  const sparse_attn_plan *plan;
  const sa_plan_attention *attention;
  const sa_reach *distances; /* for hop tiles, or NULL */
  size_t hops_bytes;         /* of a tile */
  sa_tile_table *table;
  _Atomic int64_t next;
  _Atomic int failed; /* a sparse_attn_status */
} building;

/* Bit and hop tiles are numbered by i32 in a run. */
static bool fits_i32(size_t bytes, size_t tile_bytes) {
  return bytes / tile_bytes < INT32_MAX;
}

static bool fail(building *build, sparse_attn_status status) {
  atomic_store_explicit(&build->failed, status, memory_order_relaxed);
  return false;
}

/* The distances of the pairs of `run`. */
static bool append_hops(building *build, sa_table_piece *piece,
                        const sa_tile_query *query, sa_run *run) {
  if (!fits_i32(piece->hops.size, build->hops_bytes))
    return fail(build, SPARSE_ATTN_OVERFLOW);
  run->hops = (int32_t)(piece->hops.size / build->hops_bytes);
  for (int32_t tile = run->first_tile; tile < run->first_tile + run->tiles; ++tile) {
    uint16_t *room = sa_buffer_extend(&piece->hops, build->hops_bytes);
    if (!room)
      return fail(build, SPARSE_ATTN_OUT_OF_MEMORY);
    int32_t rows = query->rows;
    int64_t j0 = (int64_t)tile * query->tile_keys;
    sa_reach_hops(build->distances, query->b, query->p0, rows, (int32_t)j0,
                  (int32_t)sa_min(query->keys - j0, query->tile_keys), query->tile_keys,
                  room);
    size_t filled = (size_t)rows * (size_t)query->tile_keys * sizeof(*room);
    memset((char *)room + filled, 0xff, build->hops_bytes - filled);
  }
  return true;
}

/* The distances of the runs from `begin` on, which are those of `query`. */
static bool append_list_hops(building *build, sa_table_piece *piece,
                             const sa_tile_query *query, size_t begin) {
  sa_run *runs = (sa_run *)piece->runs.data;
  for (size_t i = begin; i < piece->runs.size / sizeof(*runs); ++i)
    if (!append_hops(build, piece, query, &runs[i]))
      return false;
  return true;
}

static bool append_list(building *build, sa_table_piece *piece, int64_t list,
                        sa_lists *lists) {
  const sa_plan_attention *attention = build->attention;
  const sa_tile_table *table = build->table;
  int64_t plane = list / attention->row_tiles;
  size_t begin = piece->runs.size / sizeof(sa_run);
  table->list_begin[list] = (int64_t)begin;
  sa_tile_query query = sa_plan_query(build->plan, attention, plane / table->heads,
                                      plane % table->heads, list % attention->row_tiles);
  sparse_attn_status status = sa_list_tiles(&query, attention->code->tile_rows, lists);
  if (status)
    return fail(build, status);
  return !build->distances || append_list_hops(build, piece, &query, begin);
}

static bool fill_piece(building *build, int64_t index) {
  sa_tile_table *table = build->table;
  sa_table_piece *piece = &table->pieces[index];
  sa_lists lists = {.runs = &piece->runs, .bits = &piece->bits};
  int64_t list = index * table->lists_per_piece;
  int64_t end = sa_min(list + table->lists_per_piece, table->lists);
  for (; list < end; ++list)
    if (!append_list(build, piece, list, &lists))
      return false;
  sa_buffer_trim(&piece->runs);
  sa_buffer_trim(&piece->bits);
  sa_buffer_trim(&piece->hops);
  return true;
}

static void fill_pieces(void *argument, int worker) {
  building *build = argument;
  (void)worker;
  for (;;) {
    int64_t taken = atomic_fetch_add_explicit(&build->next, 1, memory_order_relaxed);
    /* The last rows keep most keys where a mask is causal, so they come first. */
    int64_t index = build->table->piece_count - 1 - taken;
    if (index < 0 || atomic_load_explicit(&build->failed, memory_order_relaxed) ||
        !fill_piece(build, index))
      return;
  }
}

static sparse_attn_status fill_table(building *build, const sparse_attn_options *options,
                                     int workers) {
  /* Enough pieces to balance, few enough that lists share bits. */
  enum { kPieces = 32, kMostLists = 64 };
  sa_tile_table *table = build->table;
  table->lists_per_piece = sa_max(1, sa_min(kMostLists, table->lists / kPieces));
  table->piece_count = sa_ceil_div(table->lists, table->lists_per_piece);
  table->pieces = sa_allocate_zeroed((size_t)table->piece_count, sizeof(*table->pieces));
  if (!table->pieces)
    return SPARSE_ATTN_OUT_OF_MEMORY;
  sa_parallel(options, workers, table->piece_count, fill_pieces, build);
  table->bytes += (size_t)table->piece_count * sizeof(*table->pieces);
  for (int64_t i = 0; i < table->piece_count; ++i) {
    const sa_table_piece *piece = &table->pieces[i];
    table->bytes += piece->runs.size + piece->bits.size + piece->hops.size;
  }
  return (sparse_attn_status)atomic_load(&build->failed);
}

sa_run_list sa_table_list(const sa_plan_attention *attention, int64_t b, int64_t h,
                          int64_t row_tile) {
  const sa_tile_table *table = &attention->table;
  int64_t plane =
      (table->batches > 1 ? b : 0) * table->heads + (table->heads > 1 ? h : 0);
  int64_t list = plane * attention->row_tiles + row_tile;
  const sa_table_piece *piece = &table->pieces[list / table->lists_per_piece];
  bool last = (list + 1) % table->lists_per_piece == 0 || list + 1 == table->lists;
  int64_t begin = table->list_begin[list];
  int64_t end =
      last ? (int64_t)(piece->runs.size / sizeof(sa_run)) : table->list_begin[list + 1];
  sa_run_list result = {NULL, end - begin, (const uint8_t *)piece->bits.data,
                        (const uint16_t *)piece->hops.data};
  if (begin < end)
    result.runs = (const sa_run *)piece->runs.data + begin;
  return result;
}

/*===--- Order and visited tiles ------------------------------------------===*/

/* Sorts `count` indices by size, largest first, equal ones by index. */
static void order_by_size(uint64_t *keys, size_t count, uint32_t *order) {
  for (size_t i = 0; i < count; ++i)
    keys[i] = (UINT64_C(0xffffffff) - keys[i]) << 32 | i;
  sa_sort(keys, count, keys + count);
  for (size_t i = 0; i < count; ++i)
    order[i] = (uint32_t)keys[i];
}

/* Fills list_order and visited of one section; returns its longest list. */
static uint64_t order_section(const sa_plan_attention *attention, sa_tile_table *table,
                              int64_t section, int64_t group, uint64_t *keys) {
  int64_t b = section / table->kv_heads;
  int64_t first_head = section % table->kv_heads * group;
  int64_t row_tiles = attention->row_tiles;
  uint8_t *visited = table->visited + section * attention->key_tiles;
  uint64_t longest = 0;
  for (int64_t i = 0; i < group * row_tiles; ++i) {
    sa_run_list list = sa_table_list(attention, b, first_head + i % group, i / group);
    keys[i] = 0;
    for (int64_t r = 0; r < list.count; ++r) {
      keys[i] += (uint64_t)list.runs[r].tiles;
      memset(visited + list.runs[r].first_tile, 1, (size_t)list.runs[r].tiles);
    }
    longest = keys[i] > longest ? keys[i] : longest;
  }
  order_by_size(keys, (size_t)(group * row_tiles),
                table->list_order + section * group * row_tiles);
  return longest;
}

static sparse_attn_status order_table(const sparse_attn_plan *plan,
                                      sa_plan_attention *attention) {
  sa_tile_table *table = &attention->table;
  bool by_head = table->heads > 1;
  table->kv_heads = by_head ? plan->shape.kv_heads : 1;
  int64_t group = by_head ? plan->shape.heads / plan->shape.kv_heads : 1;
  size_t sections = (size_t)(table->batches * table->kv_heads);
  size_t lists = (size_t)(group * attention->row_tiles);
  size_t tiles = (size_t)attention->key_tiles, keys_count;
  if (lists > UINT32_MAX || sections > UINT32_MAX ||
      !sa_multiply(sections > lists ? sections : lists, 2, &keys_count))
    return SPARSE_ATTN_OVERFLOW;
  uint64_t *keys = sa_allocate(keys_count, sizeof(*keys));
  uint64_t *longest = sa_allocate(sections, 2 * sizeof(*longest));
  size_t visited_bytes;
  table->visited = sa_multiply(sections, tiles, &visited_bytes)
                       ? sa_allocate_zeroed(1, visited_bytes)
                       : NULL;
  table->list_order = sa_allocate(sections * lists, sizeof(uint32_t));
  table->section_order = sa_allocate(sections, sizeof(uint32_t));
  sparse_attn_status status = SPARSE_ATTN_OUT_OF_MEMORY;
  if (keys && longest && table->visited && table->list_order && table->section_order) {
    for (size_t s = 0; s < sections; ++s)
      longest[s] = order_section(attention, table, (int64_t)s, group, keys);
    order_by_size(longest, sections, table->section_order);
    table->bytes += visited_bytes + sections * (lists + 1) * sizeof(uint32_t);
    status = SPARSE_ATTN_OK;
  }
  free(keys);
  free(longest);
  return status;
}

/*===--- The table --------------------------------------------------------===*/

static sparse_attn_status build_table(const sparse_attn_plan *plan,
                                      sa_plan_attention *attention,
                                      const sparse_attn_options *options, int workers) {
  const sa_attention *code = attention->code;
  sa_tile_table *table = &attention->table;
  /* Lengths that differ move the positions, whatever the mask reads. */
  table->batches = code->per_batch || attention->entries ? plan->shape.batch : 1;
  table->heads = code->per_head ? plan->shape.heads : 1;
  if (plan->shape.batch == 0 || plan->shape.heads == 0)
    table->batches = 0;

  building build = {.plan = plan, .attention = attention, .table = table};
  size_t lists;
  if (!sa_multiply((size_t)table->batches, (size_t)table->heads, &lists) ||
      !sa_multiply(lists, (size_t)attention->row_tiles, &lists))
    return SPARSE_ATTN_OVERFLOW;
  table->lists = (int64_t)lists;
  if (code->hop_table >= 0 && code->hop_table < code->table_count)
    build.distances = attention->tables[code->hop_table];
  size_t pairs = (size_t)code->tile_rows * (size_t)code->tile_keys;
  build.hops_bytes = pairs * sizeof(uint16_t);
  table->list_begin = sa_allocate(lists, sizeof(int64_t));
  if (!table->list_begin)
    return SPARSE_ATTN_OUT_OF_MEMORY;
  table->bytes = lists * sizeof(int64_t);
  sparse_attn_status status = fill_table(&build, options, workers);
  if (status)
    return status;
  return order_table(plan, attention);
}

sparse_attn_status sa_table_create(const sparse_attn_plan *plan,
                                   sa_plan_attention *attention,
                                   const sparse_attn_options *options, int workers) {
  sparse_attn_status status = build_table(plan, attention, options, workers);
  if (status == SPARSE_ATTN_OUT_OF_MEMORY)
    return sa_fail(status, "kernel '%s': no memory for the tiles of a plan",
                   plan->kernel->name);
  if (status == SPARSE_ATTN_OVERFLOW)
    return sa_fail(status,
                   "kernel '%s': the plan would have more tiles than fit it; "
                   "plan fewer batch entries or heads at a time",
                   plan->kernel->name);
  return status;
}

void sa_table_destroy(sa_tile_table *table) {
  for (int64_t i = 0; table->pieces && i < table->piece_count; ++i) {
    free(table->pieces[i].runs.data);
    free(table->pieces[i].bits.data);
    free(table->pieces[i].hops.data);
  }
  free(table->pieces);
  free(table->list_begin);
  free(table->visited);
  free(table->section_order);
  free(table->list_order);
}
