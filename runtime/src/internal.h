/*===- internal.h - what the runtime's files share ------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Layers, each of which uses those above it:
 *
 *   status, buffer, executor, level, philox,
 *   real                                        small services
 *   words, lanes, score_pass, choose_rank,
 *   choose_keys, choose_levels, choose_mass     which units a selection takes
 *   numbering, draw, sample                     which keys are drawn
 *   tensor, program, operands, checks           what a caller or library gave
 *   means                                       block means of keys or values
 *   classify, extent, random_blocks, reach      answers for generated classifiers
 *   step, tiles, bits                           the tiles of a query tile
 *   list, table                                 plan tables
 *   directions, encode, encode_*, lsh_center    keys as states, queries as words
 *   cost, choose (cost.h), plan, columns,
 *   inspect                                     the plan
 *   kept, kept_pools, hash_index, states,
 *   states_extend, states_file                  states that a caller keeps
 *   encoded, schedule, workspace, pack          a run
 *   choice_room, sets, scored, selections,
 *   drawn, listed, decide                       what a run decides (sets.h)
 *   attend, pool, merge                         steps of a run
 *   gpu_cuda, gpu_device, gpu_items, gpu_plan,
 *   gpu_lists, gpu_sample, gpu_run              plans and runs on a GPU (gpu.h)
 *   run
 *
 *===----------------------------------------------------------------------===*/
#ifndef SPARSE_ATTN_RUNTIME_INTERNAL_H
#define SPARSE_ATTN_RUNTIME_INTERNAL_H

#include "real.h"
#include "sparse_attn/abi.h"

#include <stdbool.h>
#include <string.h>

/* Positions and key indices are i32 below this in magnitude, so that sums of
 * two of them never overflow in generated code. */
#define SA_POSITION_LIMIT (INT64_C(1) << 30)

#define SA_ALIGNMENT 64

/*===--- status.c ---------------------------------------------------------===*/

/* Leaves the sentence for sparse_attn_last_error and returns `status`. */
sparse_attn_status sa_fail(sparse_attn_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*===--- buffer.c: memory and arithmetic that can fail --------------------===*/

/* Both return false where the result exceeds PTRDIFF_MAX. */
bool sa_add(size_t a, size_t b, size_t *sum);
bool sa_multiply(size_t a, size_t b, size_t *product);

/* `bytes` rounded up to SA_ALIGNMENT. */
bool sa_align(size_t bytes, size_t *aligned);

/* malloc and calloc of count * size bytes, at least one. NULL on overflow. */
void *sa_allocate(size_t count, size_t size);
void *sa_allocate_zeroed(size_t count, size_t size);

/* A growing array. Zero-initialise; free `data`. */
typedef struct sa_buffer {
  char *data;
  size_t size, capacity; /* bytes */
} sa_buffer;

/* Room for `bytes` more at the end, or NULL. */
void *sa_buffer_extend(sa_buffer *buffer, size_t bytes);

/* Gives unused room back, as far as that works. */
void sa_buffer_trim(sa_buffer *buffer);

/* Sorts ascending; `scratch` has room for `count`. Allocates nothing. */
void sa_sort(uint64_t *values, size_t count, uint64_t *scratch);

static inline int64_t sa_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t sa_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t sa_ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

/*===--- executor.c -------------------------------------------------------===*/

/* Checks `options` and gives the number of workers it asks for. */
sparse_attn_status sa_worker_count(const sparse_attn_options *options, int *workers);

/* Calls work(argument, w) for w in [0, min(workers, tasks)). */
void sa_parallel(const sparse_attn_options *options, int workers, int64_t tasks,
                 void (*work)(void *argument, int worker), void *argument);

/*===--- level.c ----------------------------------------------------------===*/

/* The level of `attention` to run here. */
sparse_attn_status sa_select_level(const sparse_attn_kernel *kernel,
                                   const sa_attention *attention, const sa_level **level);

/*===--- philox.c ---------------------------------------------------------===*/

/* Philox 4x32-10: replaces `counter` by its random words. */
void sa_philox(uint32_t counter[4], uint64_t key);

/*===--- tensor.c ---------------------------------------------------------===*/

/* Size of the axis that `code` (sa_tensor::axis without the 16) names. */
int64_t sa_axis_size(const sparse_attn_shape *shape, int32_t code);

static const DLDevice kCPU = {kDLCPU, 0};

/* Whether a tensor on `is` may be used where one on `wanted` is asked for. */
bool sa_is_on(DLDevice is, DLDevice wanted);

/* Checks `tensor`, which has to be on `device`, against `spec` and makes its view. */
sparse_attn_status sa_bind_tensor(const sparse_attn_kernel *kernel, const sa_tensor *spec,
                                  bool output, const DLTensor *tensor, DLDevice device,
                                  const sparse_attn_shape *shape, sa_view *view);

/* A contiguous view of `data`. */
sa_view sa_contiguous_view(void *data, const int64_t size[4]);
size_t sa_view_elements(const sa_view *view);

/* Checks that `count` tensors were given for the inputs with this `layout`. */
sparse_attn_status sa_check_input_count(const sparse_attn_kernel *kernel, int32_t layout,
                                        const void *list, size_t count);

static inline void *sa_at(const sa_view *view, size_t element_bytes, int64_t i0,
                          int64_t i1, int64_t i2, int64_t i3) {
  return (char *)view->data + (i0 * view->stride[0] + i1 * view->stride[1] +
                               i2 * view->stride[2] + i3 * view->stride[3]) *
                                  (int64_t)element_bytes;
}

/* The innermost row (i1, i2) of an operand whose axes of size 1 broadcast. */
static inline const int32_t *sa_operand_row(const sa_view *view, int64_t i1, int64_t i2) {
  return (const int32_t *)view->data + (view->size[1] > 1 ? i1 : 0) * view->stride[1] +
         (view->size[2] > 1 ? i2 : 0) * view->stride[2];
}

/*===--- program.c --------------------------------------------------------===*/

/* What the runtime derives of a value (an input or a step's result). */
typedef struct sa_value {
  int64_t size[4];
  sa_real type; /* of what a step made */
  int32_t element_bytes;
  int32_t output; /* index of the output that is this value, or -1 */
  int32_t pool;   /* index of the pool step that made it, or -1 */
  int32_t made;   /* 1: by a step */
  int32_t place;  /* the choice's result that this value was chosen for, or -1 */
  bool needed;    /* some step that runs, or the caller, reads it */
} sa_value;

typedef struct sa_plan_attention sa_plan_attention;

/* Checks the steps of plan->kernel for plan->shape; fills plan->values and
 * plan->attentions (code, level and sizes). */
sparse_attn_status sa_check_program(sparse_attn_plan *plan);

/*===--- reach_build.c, reach.c -------------------------------------------===*/

/* A table for SA_TABLE_REACH. Every node that owns a chunk has a slot: the
 * tokens that it reaches, as sorted intervals. This structure is read by
 * sa_classify_reach of another library when that library was loaded through
 * sparse_attn_library_open, so a change raises SPARSE_ATTN_ABI_VERSION. */
typedef struct sa_reach_batch {
  int32_t chunk_count;  /* chunks that hold a token */
  const int32_t *start; /* [chunk_count + 1] first token of each */
  const int32_t *slot;  /* [chunk_count] */
} sa_reach_batch;

typedef struct sa_reach {
  int64_t batch_count; /* 1: all entries alike */
  const sa_reach_batch *batches;
  int64_t slots;
  const int64_t *slot_begin; /* [slots + 1] into interval_* */
  const int32_t *interval_first, *interval_end;
  /* The same split where the distance changes; NULL unless wanted. */
  const int64_t *hop_begin;
  const int32_t *hop_first, *hop_end;
  const uint16_t *hop_distance;
  size_t bytes;
} sa_reach;

sparse_attn_status sa_reach_create(const sparse_attn_kernel *kernel,
                                   const sa_table *table, const sa_view *values,
                                   sa_reach **reach);
void sa_reach_destroy(sa_reach *reach);
int32_t sa_reach_slot(const sa_reach *reach, int32_t b, int32_t p); /* -1: no chunk */
/* Distances of positions [p0, p0 + rows) to keys [j0, j0 + keys) into a tile
 * with `tile_keys` columns; 0xffff where unreachable and past `keys`. */
void sa_reach_hops(const sa_reach *reach, int32_t b, int32_t p0, int32_t rows, int32_t j0,
                   int32_t keys, int32_t tile_keys, uint16_t *tile);

/*===--- step.c -----------------------------------------------------------===*/

/* Rows or keys first, first + step, ... of a tile. */
typedef struct sa_tile_span {
  int64_t first, count;
} sa_tile_span;

/* What tile `tile` of `size` elements holds of `total` rows or keys, where each
 * residue class has `class_tiles` tiles. */
sa_tile_span sa_span(int64_t tile, int64_t class_tiles, int64_t step, int64_t size,
                     int64_t total);

/* Lays out the tiles of `attention`. */
void sa_set_step(sa_plan_attention *attention, const sparse_attn_shape *shape,
                 int32_t step);

/* Steps by the mask's period where that is less work. */
void sa_choose_step(const sparse_attn_plan *plan, sa_plan_attention *attention);

/*===--- tiles.c, bits.c --------------------------------------------------===*/

/* The real rows of one query tile and the keys it may see. */
typedef struct sa_tile_query {
  sa_classify_fn classify; /* NULL: every pair is kept */
  sa_extent_fn extent;     /* how many keys are alike; NULL: ask classify */
  sa_fill_fn fill;         /* decides the pairs of a tile; NULL: bisect them */
  sa_mask_context context;
  int32_t b, h;
  int32_t p0, rows; /* positions p0, p0 + step, ...; rows is 0 where there is none */
  int32_t keys;
  int32_t tile_keys, class_tiles; /* keys of a tile, tiles of a residue class */
  int32_t step;
} sa_tile_query;

/* Positions p0 to p1 x keys j0 to j1, in steps. */
static inline int32_t sa_classify(const sa_tile_query *query, int32_t p0, int32_t p1,
                                  int32_t j0, int32_t j1) {
  return query->classify ? query->classify(&query->context, query->b, query->h, p0, p1,
                                           j0, j1, query->step)
                         : SPARSE_ATTN_TILE_FULL;
}

/* `rows` positions from p on x `keys` keys from j on, in steps. */
static inline int32_t sa_classify_box(const sa_tile_query *query, int32_t p, int32_t rows,
                                      int32_t j, int32_t keys) {
  return sa_classify(query, p, p + query->step * (rows - 1), j,
                     j + query->step * (keys - 1));
}

/* Takes one run of tiles of one kind; returns false to stop. */
typedef bool (*sa_tile_sink)(void *context, int32_t first, int32_t tiles,
                             sparse_attn_tile_class kind);

/* What a sink gets as a run, whose pairs the kernel decides. */
static inline sa_run sa_run_of(int32_t first, int32_t tiles,
                               sparse_attn_tile_class kind) {
  int32_t mask = kind == SPARSE_ATTN_TILE_FULL ? SA_RUN_FULL : SA_RUN_PREDICATE;
  sa_run run = {first, tiles, mask, -1};
  return run;
}

/* A sink that gets neighbours of one kind as one run: the run that may still grow;
 * `tiles` is 0 where there is none. */
typedef struct sa_run_joiner {
  sa_tile_sink sink;
  void *context;
  int32_t first, tiles;
  sparse_attn_tile_class kind;
} sa_run_joiner;

/* Both return false where the sink stopped. Flush after the last run. */
bool sa_join_run(sa_run_joiner *joiner, int32_t first, int32_t tiles,
                 sparse_attn_tile_class kind);
bool sa_flush_run(sa_run_joiner *joiner);

/* Gives the kept tiles of `query` to `sink`, ascending, neighbours of one kind
 * as one run. Returns false where the sink stopped it. */
bool sa_enumerate_tiles(const sa_tile_query *query, sa_tile_sink sink, void *context);

/* Bytes of a bit tile of `tile_rows` rows. */
static inline size_t sa_bits_bytes(const sa_tile_query *query, int32_t tile_rows) {
  return (size_t)tile_rows * (size_t)query->tile_keys / 8;
}

/* Decides keys j0, j0 + step, ..., `keys` of them, for all rows of `query`. Rows of
 * `bits` are those of a bit tile; whole words of 64 keys are written. */
void sa_fill_bits(const sa_tile_query *query, int32_t j0, int32_t keys, uint8_t *bits);

/* What the bits of some whole rows hold. */
sparse_attn_tile_class sa_inspect_bits(const uint8_t *bits, size_t bytes);

/* Sets bits [first, first + count) of a row. */
void sa_set_bits(uint8_t *row, int32_t first, int32_t count);

/* Sets keys [first, end) of rows [row, row_end) of `bits`; all in absolute terms,
 * and as far as they are among `pairs`. */
void sa_set_pairs(const sa_fill_args *pairs, uint8_t *bits, int64_t row, int64_t row_end,
                  int64_t first, int64_t end);

/* One past the last position, and the last key, of `pairs`. */
static inline int64_t sa_position_end(const sa_fill_args *pairs) {
  return pairs->first_position + pairs->step * (pairs->rows - 1) + 1;
}
static inline int64_t sa_key_end(const sa_fill_args *pairs) {
  return pairs->first_key + pairs->step * (pairs->keys - 1) + 1;
}

static inline void sa_clear_pairs(const sa_fill_args *pairs, uint8_t *bits) {
  memset(bits, 0, (size_t)(pairs->rows * pairs->row_bytes));
}

/*===--- list.c -----------------------------------------------------------===*/

/* A bit tile that may occur again: one less than `end`, 0 where there is none. The
 * hash is of all its bits where rows is 0, else of the bits that each of so many rows
 * has. */
typedef struct sa_kept_bits {
  uint64_t hash;
  int32_t end, rows;
} sa_kept_bits;

enum { SA_KEPT_BITS = 512 };

/* Where lists go. */
typedef struct sa_lists {
  sa_buffer *runs; /* sa_run, without hops */
  sa_buffer *bits;
  sa_kept_bits kept[SA_KEPT_BITS]; /* tiles of `bits`; zero them for another buffer */
  sparse_attn_status status;
} sa_lists;

/* Appends the list of `query` to lists->runs, and the bit tiles that it needs and that
 * are not there yet. OUT_OF_MEMORY, or OVERFLOW where there are more bit tiles than a
 * run can number. */
sparse_attn_status sa_list_tiles(const sa_tile_query *query, int32_t tile_rows,
                                 sa_lists *lists);

/*===--- plan.c, table.c --------------------------------------------------===*/

sparse_attn_status sa_check_shape(const sparse_attn_kernel *kernel,
                                  const sparse_attn_shape *shape);

/* What one batch entry of an attention covers. */
typedef struct sa_entry {
  int32_t tokens;         /* n */
  int32_t keys;           /* n, or its pooled keys */
  int32_t rows;           /* m */
  int32_t first_position; /* p of row 0 */
} sa_entry;

/* Some neighbouring lists: their runs, and the tiles that these name. */
typedef struct sa_table_piece {
  sa_buffer runs, bits, hops;
} sa_table_piece;

/* The runs of one query tile. */
typedef struct sa_run_list {
  const sa_run *runs;
  int64_t count;
  const uint8_t *bits; /* bit tile 0 of the runs' masks */
  const uint16_t *hops;
} sa_run_list;

/* The kept tiles of a plan-time mask. List (b, h, t) holds the runs of query
 * tile t; b and h are 0 where all entries or heads are alike. */
typedef struct sa_tile_table {
  int64_t batches, heads, lists;
  int64_t *list_begin; /* [lists] into the runs of the list's piece */
  int64_t lists_per_piece, piece_count;
  sa_table_piece *pieces;
  /* Sections are (b, kv_head): the lists that read the same keys. */
  int64_t kv_heads;        /* 1 where heads is 1 */
  uint8_t *visited;        /* [sections][key_tiles]: some list of it reads the tile */
  uint32_t *section_order; /* longest list first */
  uint32_t *list_order;    /* [sections][lists]: tile * group + head, longest first */
  size_t bytes;
} sa_tile_table;

/* How an attention is cut into calls of generated code; see schedule.c. */
typedef struct sa_schedule {
  int64_t group;  /* query heads of a key/value head */
  int64_t rows;   /* most rows of a head in a call */
  int64_t stack;  /* most heads of a call */
  int64_t stacks; /* calls for the heads of a group */
  int64_t calls;  /* in all */
  int64_t parts;  /* shares of a call's keys */
  bool packed;    /* keys are packed first: some tile is read by several calls */
  bool in_place;  /* a call reads its keys where they are; else it packs them itself */
} sa_schedule;

struct sa_plan_attention {
  const sa_attention *code;
  const sa_level *level;
  int64_t row_tiles, key_tiles, key_capacity; /* of the whole shape */
  int32_t step;                               /* between rows, and keys, of a tile */
  int64_t class_row_tiles, class_key_tiles;   /* tiles of one residue class */
  sa_schedule schedule;
  bool pooled;
  sa_entry entry;    /* of every batch entry, if entries is NULL */
  sa_entry *entries; /* [B] */
  void **tables;     /* [code->table_count] sa_reach */
  sa_tile_table table;
};

/* encoded.h */
typedef struct sa_plan_encoding sa_plan_encoding;

struct sparse_attn_plan {
  const sparse_attn_kernel *kernel;
  sparse_attn_shape shape;
  sa_value *values;
  sa_view *views; /* by value id: copies of the layout operands */
  sa_plan_attention *attentions;
  int32_t attention_count;
  sa_plan_encoding *encodings; /* [kernel->encoding_count] */
  uint64_t encodings_print;    /* sa_fingerprint */
  size_t centers_bytes, encoded_bytes;
  size_t encoder_bytes;    /* scratch of a worker that encodes */
  bool empty;              /* no output has an element */
  struct sa_gpu_plan *gpu; /* NULL: runs compute here */
};

/* Where tensors of a run have to be. */
DLDevice sa_plan_device(const sparse_attn_plan *plan);

/* Whether the plan holds the runs of every query tile. */
static inline bool sa_has_table(const sa_plan_attention *attention) {
  return attention->code->binding == SA_BINDING_PLAN && attention->code->set_count == 0;
}

static inline sa_entry sa_plan_entry(const sa_plan_attention *attention, int64_t b) {
  return attention->entries ? attention->entries[b] : attention->entry;
}

/* The rows of query tile `row_tile` that are below `rows`. */
static inline sa_tile_span sa_row_span(const sa_plan_attention *attention,
                                       int64_t row_tile, int64_t rows) {
  return sa_span(row_tile, attention->class_row_tiles, attention->step,
                 attention->code->tile_rows, rows);
}

/* The keys of key tile `tile` that are below `keys`. */
static inline sa_tile_span sa_key_span(const sa_plan_attention *attention, int64_t tile,
                                       int64_t keys) {
  return sa_span(tile, attention->class_key_tiles, attention->step,
                 attention->code->tile_keys, keys);
}

/* The query that lists the tiles of a query tile. */
sa_tile_query sa_plan_query(const sparse_attn_plan *plan,
                            const sa_plan_attention *attention, int64_t b, int64_t h,
                            int64_t row_tile);

/* Whether table number `table` is of this attention, not of one before it. */
bool sa_owns_table(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                   int32_t table);

/* Builds attention->table. */
sparse_attn_status sa_table_create(const sparse_attn_plan *plan,
                                   sa_plan_attention *attention,
                                   const sparse_attn_options *options, int workers);
void sa_table_destroy(sa_tile_table *table);

/* The runs of query tile `row_tile` of plane (b, h). */
sa_run_list sa_table_list(const sa_plan_attention *attention, int64_t b, int64_t h,
                          int64_t row_tile);

/*===--- columns.c --------------------------------------------------------===*/

/* Gives the query tiles of plane (b, h) that key tile `key_tile` has kept pairs with to
 * `sink`, ascending, neighbours of one kind as one run, until that stops it. Fails only
 * where lists have to be fetched from a GPU. */
sparse_attn_status sa_enumerate_rows(const sparse_attn_plan *plan,
                                     const sa_plan_attention *attention, int64_t b,
                                     int64_t h, int64_t key_tile, sa_tile_sink sink,
                                     void *context);

/*===--- operands.c, checks.c ---------------------------------------------===*/

/* Copies the layout operands into plan->views. */
sparse_attn_status sa_copy_operands(sparse_attn_plan *plan, const DLTensor *const *layout,
                                    size_t layout_count);

/* Reads kv_len, q_len and q_offset. */
sparse_attn_status sa_read_lengths(sparse_attn_plan *plan, sa_plan_attention *attention);

/* Does the checks that the operands of `attention` ask for. */
sparse_attn_status sa_check_operands(sparse_attn_plan *plan,
                                     const sa_attention *attention);

/*===--- choose.c ---------------------------------------------------------===*/

/* Whether `step` runs. */
static inline bool sa_is_needed(const sparse_attn_plan *plan, const sa_step *step) {
  return step->kind != SA_STEP_CHOOSE && plan->values[step->first_result].needed;
}
static inline bool sa_is_attention_needed(const sparse_attn_plan *plan,
                                          const sa_plan_attention *attention) {
  return plan->values[attention->code->out].needed;
}

/*===--- schedule.c -------------------------------------------------------===*/

sa_schedule sa_make_schedule(const sparse_attn_plan *plan,
                             const sa_plan_attention *attention);

/* One call: query tile `row_tile` of heads [h, h + heads) of a group. */
typedef struct sa_call {
  int64_t index; /* its number */
  int64_t b, kv_head, stack;
  int64_t h, heads;
  int64_t row_tile;
} sa_call;

/* Call `index` in the order of work: the longest of a (b, kv_head) first. */
sa_call sa_schedule_call(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                         int64_t index);

/* Share `part` of `parts` of the tiles of `runs`, as runs; may be in place. Returns
 * their number. */
int64_t sa_cut_runs(const sa_run *runs, int64_t count, int64_t part, int64_t parts,
                    sa_run *to);

/*===--- workspace.c, pack.c, listed.c, attend.c, pool.c, merge.c, run.c --===*/

/* Where things lie in an aligned workspace. */
typedef struct sa_workspace {
  size_t values;  /* plan->kernel->value_count views; temporaries follow */
  size_t centers; /* of encodings */
  size_t encoded; /* states that the run makes */
  size_t packed;  /* tiles of the step that runs */
  size_t states;  /* of its calls, where keys are split */
  size_t lists;   /* of what its calls keep, where a run decides and keys are split */
  size_t workers; /* scratch, then the run list or the choice, of each worker */
  size_t scratch_bytes, worker_bytes;
  size_t bytes; /* with room for aligning the caller's pointer */
} sa_workspace;

/* Lays out a workspace for `workers`; fills the views of temporaries from
 * `base` if `views` is not NULL. */
sparse_attn_status sa_plan_workspace(const sparse_attn_plan *plan,
                                     const sparse_attn_options *options, int workers,
                                     char *base, sa_view *views, sa_workspace *workspace);

/* Bytes between the packed tiles of two (b, kv_head). */
size_t sa_packed_plane_bytes(const sa_plan_attention *attention);

/* Bytes between the states of two calls. The last SA_ALIGNMENT of them begin with the
 * number of parts that are not done. */
size_t sa_call_state_bytes(const sa_plan_attention *attention);

/* A run in progress. */
typedef struct sa_run_state {
  const sparse_attn_plan *plan;
  const sparse_attn_options *options;
  int workers;
  char *base;
  sa_workspace workspace;
  sa_view *values;
} sa_run_state;

/* Packs the tiles that some call reads. */
void sa_pack(const sa_run_state *state, const sa_plan_attention *attention);

/* Where the packed tiles of (b, kv_head) lie. */
char *sa_packed_plane(const sa_run_state *state, const sa_plan_attention *attention,
                      int64_t b, int64_t kv_head);

/* What a run keeps for a call: keys, ascending, as runs over tiles of them, or runs of
 * key tiles. */
typedef struct sa_key_list {
  const int32_t *keys;  /* NULL: runs are of key tiles */
  const float *weights; /* NULL: all are 1 */
  int64_t count;
  sa_run_list runs;
  int32_t sets; /* how many were made */
} sa_key_list;

/* Checks the sizes of the lists that a run gives. */
sparse_attn_status sa_check_lists(const sa_run_state *state,
                                  const sa_plan_attention *attention);

/* What all parts of a call have in common; `room` is the scratch. `rows` is 0 where all
 * are padding. */
sa_attend_args sa_describe_call(const sa_run_state *state,
                                const sa_plan_attention *attention, const sa_call *call,
                                char *room);

sparse_attn_status sa_run_attention(const sa_run_state *state,
                                    const sa_plan_attention *attention);
void sa_run_pool(const sa_run_state *state, const sa_step *step);
void sa_run_merge(const sa_run_state *state, const sa_step *step);

#endif /* SPARSE_ATTN_RUNTIME_INTERNAL_H */
