/*===- gpu_items.c - an attention as the items of a launch ----------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * A query tile is cut into shares of its key tiles where there are too few query tiles
 * for the device, and every (b, h) that sees the same keys uses the same shares:
 *
 *   query tile    visits . . # # # # # # # . . .
 *   shares              [ 2 .. 5 )[ 5 .. 9 )      of key tiles, or of runs of a list
 *   items         one for each share of each (b, heads of a tile), longest first
 *
 * Longest first: blocks start in this order, so that they end together. Lists that a run
 * brings have no known length: their shares are equal parts.
 *
 *===----------------------------------------------------------------------===*/

#include "gpu.h"

#include <stdlib.h>
#include <string.h>

/* Below this share of the blocks that the device runs at once (in percent) the keys are
 * split; and the fewest key tiles that are worth a share: its state is written and read
 * again. */
enum { kFilledPercent = 80, kShareTiles = 4 };

/* What one block visits of a query tile. */
typedef struct share {
  int32_t first, end; /* as in sa_gpu_item; of lists a part and how many there are */
  int32_t tiles;
} share;

/* Query tiles, (planes) x row_tiles of them. */
typedef struct listing {
  const sparse_attn_plan *plan;
  const sa_plan_attention *attention;
  sa_gpu_attention *gpu;
  sa_gpu_image *image;
  int64_t batches, heads; /* planes whose masks may differ */
  int64_t *piece_bits;    /* of a table: the first bit tile of each piece, in the image */
  int64_t *share_begin;   /* [tiles + 1] into shares */
  sa_buffer shares;       /* share */
  sa_buffer visited;      /* sa_run: of one query tile */
  sa_buffer runs;         /* sa_run: those that go to the device */
  sa_gpu_hops hops;       /* with distances where the kernel reads some */
} listing;

static int64_t count_tiles(const listing *list) {
  return list->batches * list->heads * list->attention->row_tiles;
}

/* (b, stack of heads) that a mask is for. */
static int64_t count_copies(const listing *list) {
  return list->plan->shape.batch * (list->plan->shape.heads / list->gpu->stack);
}

/*===--- What a query tile visits -----------------------------------------===*/

static bool append_run(void *context, int32_t first, int32_t tiles,
                       sparse_attn_tile_class kind) {
  sa_run *run = sa_buffer_extend(context, sizeof(*run));
  if (!run)
    return false;
  *run = sa_run_of(first, tiles, kind);
  return true;
}

/* The runs of a plan's list, whose bits are those of the image. */
static bool copy_list(listing *list, int64_t b, int64_t h, int64_t row_tile,
                      int64_t number) {
  sa_run_list runs = sa_table_list(list->attention, b, h, row_tile);
  size_t bytes = (size_t)runs.count * sizeof(sa_run);
  sa_run *copy = sa_buffer_extend(&list->visited, bytes);
  if (!copy)
    return false;
  if (bytes)
    memcpy(copy, runs.runs, bytes);
  int64_t bits = list->piece_bits[number / list->attention->table.lists_per_piece];
  for (int64_t i = 0; i < runs.count; ++i)
    if (copy[i].mask >= 0)
      copy[i].mask += (int32_t)bits;
  return true;
}

static sa_tile_query query_of(const listing *list, int64_t number) {
  int64_t row_tiles = list->attention->row_tiles, plane = number / row_tiles;
  return sa_plan_query(list->plan, list->attention, plane / list->heads,
                       plane % list->heads, number % row_tiles);
}

/* Fills list->visited for query tile `number`. */
static bool find_visited(listing *list, int64_t number) {
  int64_t row_tiles = list->attention->row_tiles, plane = number / row_tiles;
  int64_t b = plane / list->heads, h = plane % list->heads;
  list->visited.size = 0;
  if (sa_has_table(list->attention))
    return copy_list(list, b, h, number % row_tiles, number);
  sa_tile_query query = query_of(list, number);
  return query.rows == 0 || sa_enumerate_tiles(&query, append_run, &list->visited);
}

/* Appends the distances of query tile `number`, and tells what is visited of them. */
static sparse_attn_status add_hops(listing *list, int64_t number) {
  if (!list->hops.distances)
    return SPARSE_ATTN_OK;
  sa_tile_query query = query_of(list, number);
  return sa_gpu_append_hops(&list->hops, &query, list->attention->code->tile_rows,
                            (sa_run *)list->visited.data,
                            (int64_t)(list->visited.size / sizeof(sa_run)));
}

static int64_t count_visited(const listing *list) {
  const sa_run *runs = (const sa_run *)list->visited.data;
  int64_t tiles = 0;
  for (size_t i = 0; i < list->visited.size / sizeof(*runs); ++i)
    tiles += runs[i].tiles;
  return tiles;
}

/*===--- Shares -----------------------------------------------------------===*/

/* Appends share `part` of `parts` of what the query tile visits. */
static bool append_share(listing *list, int64_t part, int64_t parts) {
  int64_t count = (int64_t)(list->visited.size / sizeof(sa_run));
  share *own = sa_buffer_extend(&list->shares, sizeof(*own));
  size_t begin = list->runs.size;
  sa_run *runs = sa_buffer_extend(&list->runs, (size_t)count * sizeof(*runs));
  if (!own || !runs)
    return false;
  count = sa_cut_runs((const sa_run *)list->visited.data, count, part, parts, runs);
  *own = (share){0, 0, 0};
  for (int64_t i = 0; i < count; ++i)
    own->tiles += runs[i].tiles;
  if (!list->gpu->kernel->finds_tiles) {
    own->first = (int32_t)(begin / sizeof(*runs));
    own->end = own->first + (int32_t)count;
    list->runs.size = begin + (size_t)count * sizeof(*runs);
    return true;
  }
  if (count) {
    own->first = runs[0].first_tile;
    own->end = runs[count - 1].first_tile + runs[count - 1].tiles;
  }
  list->runs.size = begin; /* the kernel finds them itself */
  return true;
}

/* Whether items that are whole query tiles occupy a device of `wanted` blocks. */
static bool fills_device(const listing *list, int64_t wanted) {
  int64_t items = count_copies(list) * list->attention->row_tiles;
  return items * 100 >= wanted * kFilledPercent;
}

/* The most tiles of a share; false without memory. */
static bool choose_share_tiles(listing *list, int64_t *most) {
  int64_t tiles = count_tiles(list), copies = count_copies(list);
  int64_t wanted = sa_gpu_resident_blocks(list->plan, list->gpu->kernel);
  *most = INT64_MAX;
  if (fills_device(list, wanted))
    return true;
  int64_t visited = 0;
  for (int64_t number = 0; number < tiles; ++number) {
    const sa_gpu_list *counted = list->gpu->lists;
    if (!counted && !find_visited(list, number))
      return false;
    visited += counted ? counted[number].tiles : count_visited(list);
  }
  visited *= copies / (list->batches * list->heads);
  *most = sa_max(kShareTiles, sa_ceil_div(visited, sa_max(1, wanted)));
  return true;
}

/* Parts of the lists of a query tile, however long they are. */
static int64_t choose_parts(const listing *list) {
  const sa_plan_attention *attention = list->attention;
  int64_t items = count_copies(list) * attention->row_tiles;
  int64_t wanted = sa_gpu_resident_blocks(list->plan, list->gpu->kernel);
  if (items == 0 || fills_device(list, wanted))
    return 1;
  int64_t tiles = sa_ceil_div(attention->key_capacity, attention->code->tile_keys);
  return sa_max(1, sa_min(wanted / items, tiles / kShareTiles));
}

/* Share number i of a query tile is part i of its list. */
static sparse_attn_status share_lists(listing *list) {
  int64_t tiles = count_tiles(list), parts = choose_parts(list);
  for (int64_t number = 0; number <= tiles; ++number)
    list->share_begin[number] = number * parts;
  for (int64_t i = 0; i < tiles * parts; ++i) {
    share *own = sa_buffer_extend(&list->shares, sizeof(*own));
    if (!own)
      return SPARSE_ATTN_OUT_OF_MEMORY;
    *own = (share){(int32_t)(i % parts), (int32_t)parts, 1};
  }
  return SPARSE_ATTN_OK;
}

static sparse_attn_status make_shares(listing *list) {
  int64_t tiles = count_tiles(list), most;
  if (!choose_share_tiles(list, &most))
    return SPARSE_ATTN_OUT_OF_MEMORY;
  for (int64_t number = 0; number < tiles; ++number) {
    list->share_begin[number] = (int64_t)(list->shares.size / sizeof(share));
    if (!find_visited(list, number))
      return SPARSE_ATTN_OUT_OF_MEMORY;
    sparse_attn_status status = add_hops(list, number);
    if (status)
      return status;
    int64_t parts = sa_max(1, sa_ceil_div(count_visited(list), most));
    for (int64_t part = 0; part < parts; ++part)
      if (!append_share(list, part, parts))
        return SPARSE_ATTN_OUT_OF_MEMORY;
    if (list->runs.size / sizeof(sa_run) > INT32_MAX)
      return SPARSE_ATTN_OVERFLOW;
  }
  list->share_begin[tiles] = (int64_t)(list->shares.size / sizeof(share));
  return SPARSE_ATTN_OK;
}

/* The same of lists that the device has counted: gives each its place. */
static sparse_attn_status place_shares(listing *list, int64_t most, int64_t *runs,
                                       int64_t *bits) {
  int64_t tiles = count_tiles(list), shares = 0;
  *runs = *bits = 0;
  for (int64_t number = 0; number < tiles; ++number) {
    sa_gpu_list *own = &list->gpu->lists[number];
    int64_t parts = sa_max(1, sa_ceil_div(own->tiles, most));
    list->share_begin[number] = shares;
    own->first_run = (int32_t)*runs;
    own->first_bits = (int32_t)*bits;
    own->first_share = (int32_t)shares;
    own->shares = (int32_t)parts;
    for (int64_t part = 0; part < parts; ++part) {
      share *room = sa_buffer_extend(&list->shares, sizeof(*room));
      if (!room)
        return SPARSE_ATTN_OUT_OF_MEMORY;
      int64_t begin = own->tiles * part / parts, end = own->tiles * (part + 1) / parts;
      *room = (share){0, 0, (int32_t)(end - begin)};
    }
    shares += parts;
    *runs += own->runs + parts - 1; /* a cut may make one more */
    *bits += own->bits;
    if (*runs > INT32_MAX || *bits > INT32_MAX || shares > INT32_MAX)
      return SPARSE_ATTN_OVERFLOW;
  }
  list->share_begin[tiles] = shares;
  return SPARSE_ATTN_OK;
}

static sparse_attn_status write_shares(listing *list, sa_gpu_lister *lister) {
  int64_t most, runs, bits;
  if (!choose_share_tiles(list, &most))
    return SPARSE_ATTN_OUT_OF_MEMORY;
  sparse_attn_status status = place_shares(list, most, &runs, &bits);
  if (status)
    return status;
  int64_t count = (int64_t)(list->shares.size / sizeof(share));
  sa_gpu_share *written = sa_allocate_zeroed((size_t)count, sizeof(*written));
  status = written ? sa_gpu_write_lists(lister, runs, bits, written, count)
                   : SPARSE_ATTN_OUT_OF_MEMORY;
  for (int64_t i = 0; !status && i < count; ++i) {
    share *own = (share *)list->shares.data + i;
    own->first = written[i].first;
    own->end = written[i].end;
  }
  free(written);
  return status;
}

static sparse_attn_status make_shares_there(listing *list) {
  sa_gpu_lister lister;
  sparse_attn_status status =
      sa_gpu_count_lists(list->plan, list->attention, list->gpu, &lister);
  if (!status)
    status = write_shares(list, &lister);
  sa_gpu_close_lister(&lister);
  return status;
}

/*===--- Items ------------------------------------------------------------===*/

/* Items with their lengths, before they are sorted. */
typedef struct item_list {
  sa_gpu_item *items;
  uint64_t *keys; /* length and number; as many again for sorting */
  int64_t count;
} item_list;

static bool open_items(item_list *list, int64_t most) {
  size_t count = (size_t)most;
  list->items = sa_allocate(count, sizeof(*list->items));
  list->keys = sa_allocate(count, 2 * sizeof(*list->keys));
  return list->items && list->keys;
}

static void close_items(item_list *list) {
  free(list->items);
  free(list->keys);
}

static void add_item(item_list *list, const sa_gpu_item *item, int64_t length) {
  list->items[list->count] = *item;
  list->keys[list->count] = (UINT32_MAX - (uint64_t)length) << 32 | (uint64_t)list->count;
  ++list->count;
}

/* Appends the items to the image, longest first. */
static bool write_items(const item_list *list, sa_gpu_image *image, sa_gpu_items *items) {
  sa_gpu_item *sorted =
      sa_gpu_place(image, (size_t)list->count * sizeof(*sorted), &items->at);
  if (!sorted)
    return false;
  items->count = list->count;
  sa_sort(list->keys, (size_t)list->count, list->keys + list->count);
  for (int64_t i = 0; i < list->count; ++i)
    sorted[i] = list->items[list->keys[i] & UINT32_MAX];
  return true;
}

/* The items of query tile `row_tile` of batch entry `b` and the heads from `h` on. */
static void add_tile(listing *list, int64_t b, int64_t h, int64_t row_tile,
                     item_list *attend, item_list *combine) {
  const sa_plan_attention *attention = list->attention;
  int64_t plane = (list->batches > 1 ? b : 0) * list->heads + (list->heads > 1 ? h : 0);
  int64_t number = plane * attention->row_tiles + row_tile;
  int64_t begin = list->share_begin[number], end = list->share_begin[number + 1];
  /* Padding is written too. */
  sa_tile_span rows = sa_row_span(attention, row_tile, list->plan->shape.queries);
  sa_gpu_item item = {.b = (int32_t)b,
                      .h = (int32_t)h,
                      .first_row = (int32_t)rows.first,
                      .rows = (int32_t)(rows.count * list->gpu->stack),
                      .slot = -1};
  if (list->hops.distances)
    item.hops = (int32_t)(number * sa_gpu_hop_elements(attention->code->tile_rows));
  if (rows.count == 0)
    return;
  int64_t first_slot = list->gpu->slots;
  for (int64_t i = begin; i < end; ++i) {
    const share *own = (const share *)list->shares.data + i;
    item.first = own->first;
    item.end = own->end;
    if (end - begin > 1)
      item.slot = (int32_t)list->gpu->slots++;
    add_item(attend, &item, own->tiles);
  }
  if (end - begin == 1)
    return;
  item.slot = -1;
  item.first = (int32_t)first_slot;
  item.end = (int32_t)list->gpu->slots;
  add_item(combine, &item, end - begin);
}

static bool make_items(listing *list, item_list *attend, item_list *combine) {
  const sparse_attn_shape *shape = &list->plan->shape;
  for (int64_t b = 0; b < shape->batch; ++b)
    for (int64_t h = 0; h < shape->heads; h += list->gpu->stack)
      for (int64_t tile = 0; tile < list->attention->row_tiles; ++tile)
        add_tile(list, b, h, tile, attend, combine);
  return write_items(attend, list->image, &list->gpu->items) &&
         write_items(combine, list->image, &list->gpu->combined);
}

static sparse_attn_status list_items(listing *list) {
  int64_t shares = list->share_begin[count_tiles(list)];
  int64_t copies = count_copies(list) / (list->batches * list->heads); /* of a plane */
  size_t most;
  if (!sa_multiply((size_t)copies, (size_t)shares, &most) || most > INT32_MAX)
    return SPARSE_ATTN_OVERFLOW;
  item_list attend = {NULL, NULL, 0}, combine = {NULL, NULL, 0};
  int64_t count = (int64_t)most;
  bool made = open_items(&attend, count) && open_items(&combine, count) &&
              make_items(list, &attend, &combine);
  close_items(&attend);
  close_items(&combine);
  return made ? SPARSE_ATTN_OK : SPARSE_ATTN_OUT_OF_MEMORY;
}

/*===--- Lists and lengths ------------------------------------------------===*/

static sparse_attn_status place_bits(listing *list) {
  const sa_tile_table *table = &list->attention->table;
  const sa_attention *code = list->attention->code;
  size_t tile_bytes = (size_t)code->tile_rows * (size_t)code->tile_keys / 8, all = 0;
  list->piece_bits = sa_allocate((size_t)table->piece_count, sizeof(*list->piece_bits));
  if (!list->piece_bits)
    return SPARSE_ATTN_OUT_OF_MEMORY;
  for (int64_t i = 0; i < table->piece_count; ++i) {
    list->piece_bits[i] = (int64_t)(all / tile_bytes);
    all += table->pieces[i].bits.size;
  }
  if (all / tile_bytes > INT32_MAX)
    return SPARSE_ATTN_OVERFLOW;
  char *room = sa_gpu_place(list->image, all, &list->gpu->bits);
  if (!room)
    return SPARSE_ATTN_OUT_OF_MEMORY;
  for (int64_t i = 0; i < table->piece_count; ++i) {
    const sa_buffer *bits = &table->pieces[i].bits;
    if (bits->size)
      memcpy(room, bits->data, bits->size);
    room += bits->size;
  }
  return SPARSE_ATTN_OK;
}

static bool place_buffer(listing *list, const sa_buffer *buffer, size_t *at) {
  void *room = sa_gpu_place(list->image, buffer->size, at);
  if (room && buffer->size)
    memcpy(room, buffer->data, buffer->size);
  return room != NULL;
}

static bool place_lists(listing *list) {
  sa_gpu_attention *gpu = list->gpu;
  return place_buffer(list, &list->runs, &gpu->runs) &&
         place_buffer(list, &list->hops.index, &gpu->hop_index) &&
         place_buffer(list, &list->hops.rows, &gpu->hops);
}

static sparse_attn_status keep_tables(listing *list) {
  sparse_attn_status status = sa_gpu_send_tables(list->plan, list->attention);
  if (!status && !sa_gpu_place_tables(list->plan, list->attention, list->image,
                                      &list->gpu->table_pointers))
    status = SPARSE_ATTN_OUT_OF_MEMORY;
  return status;
}

bool sa_gpu_place_entries(const sparse_attn_plan *plan,
                          const sa_plan_attention *attention, sa_gpu_image *image,
                          size_t *at) {
  int64_t batch = plan->shape.batch;
  sa_gpu_entry *entries = sa_gpu_place(image, (size_t)batch * sizeof(*entries), at);
  for (int64_t b = 0; entries && b < batch; ++b) {
    sa_entry entry = sa_plan_entry(attention, b);
    entries[b] = (sa_gpu_entry){.rows = entry.rows,
                                .keys = entry.keys,
                                .tokens = entry.tokens,
                                .first_position = entry.first_position};
  }
  return entries != NULL;
}

sparse_attn_status sa_gpu_list_items(const sparse_attn_plan *plan,
                                     const sa_plan_attention *attention,
                                     sa_gpu_attention *gpu, sa_gpu_image *image) {
  const sa_attention *code = attention->code;
  bool by_batch = code->per_batch || attention->entries;
  bool there = sa_gpu_lists(plan, attention);
  listing list = {.plan = plan,
                  .attention = attention,
                  .gpu = gpu,
                  .image = image,
                  .batches = by_batch ? plan->shape.batch : 1,
                  .heads = code->per_head ? plan->shape.heads : 1};
  if (gpu->hop_table >= 0)
    list.hops.distances = attention->tables[gpu->hop_table];
  size_t tiles = (size_t)count_tiles(&list);
  gpu->batches = list.batches;
  gpu->heads = list.heads;
  sparse_attn_status status = SPARSE_ATTN_OK;
  list.share_begin = sa_allocate(tiles + 1, sizeof(*list.share_begin));
  if (!list.share_begin)
    status = SPARSE_ATTN_OUT_OF_MEMORY;
  if (!status && sa_has_table(attention) && !there)
    status = place_bits(&list);
  if (!status)
    status = code->set_count ? share_lists(&list)
             : there         ? make_shares_there(&list)
                             : make_shares(&list);
  if (!status)
    status = list_items(&list);
  if (!status && ((!there && !place_lists(&list)) ||
                  !sa_gpu_place_entries(plan, attention, image, &gpu->entries)))
    status = SPARSE_ATTN_OUT_OF_MEMORY;
  /* Kernels of lists that a run brings ask about pairs. */
  if (!status && code->set_count)
    status = keep_tables(&list);
  free(list.piece_bits);
  free(list.share_begin);
  free(list.shares.data);
  free(list.visited.data);
  free(list.runs.data);
  free(list.hops.index.data);
  free(list.hops.rows.data);
  return status;
}
