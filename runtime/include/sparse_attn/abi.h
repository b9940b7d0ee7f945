/*===- abi.h - what generated code and the runtime know of each other -----===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * A library is constant data (a sparse_attn_library) that points at generated
 * functions. lib/Package writes the data, lib/Conversion the functions; both
 * mirror these structures field by field. Users need runtime.h alone.
 *
 * Any change here raises SPARSE_ATTN_ABI_VERSION.
 *
 *===----------------------------------------------------------------------===*/
#ifndef SPARSE_ATTN_ABI_H
#define SPARSE_ATTN_ABI_H

#include "sparse_attn/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* "SPARSATN" read as a little-endian word. */
#define SA_LIBRARY_MAGIC UINT64_C(0x4e54415352415053)

/* The symbol of a library's sparse_attn_library. */
#define SA_LIBRARY_SYMBOL "sparse_attn_library_descriptor"

/* gpu_abi.h */
typedef struct sa_gpu_kernel sa_gpu_kernel;

/* Every tensor reaches generated code as a rank-4 strided view, shorter ranks
 * padded with leading axes of size 1. An axis of size 1 has stride 0 (the
 * innermost too, where its size is 1), so that any index broadcasts. Same layout
 * as MLIR's descriptor of a rank-4 memref; strides in elements. */
typedef struct sa_view {
  void *allocated;
  void *data;
  int64_t offset; /* always 0 */
  int64_t size[4];
  int64_t stride[4];
} sa_view;

/* What a mask's classifier may read. */
typedef struct sa_mask_context {
  const sa_view *values;     /* by value id: layout operands are filled in */
  const void *const *tables; /* plan tables, by index in sa_attention::tables */
  int32_t keys;              /* n of this batch entry, in tokens (pooled keys too) */
  int32_t heads;             /* H */
} sa_mask_context;

/* 0 empty, 1 full, 2 partial or unknown, for positions p0, p0 + step, ..., p1 x keys
 * j0, j0 + step, ..., j1. The step is 1 or sa_attention::period. Decided (0 or 1) when
 * p0 == p1 and j0 == j1. Positions may be negative. For pooled keys j counts pooled
 * keys. */
typedef int32_t (*sa_classify_fn)(const sa_mask_context *context, int32_t b, int32_t h,
                                  int32_t p0, int32_t p1, int32_t j0, int32_t j1,
                                  int32_t step);

/* How many keys from j0 on are alike, of positions p0, p0 + step, ..., p1 x keys j0,
 * j0 + step, ..., j1: that is, kept by the same positions. The answer holds `stop`, at
 * most j1 + 1, where all of [j0, stop) are alike, and their tile class; with stop == j0
 * nothing is known of so many keys, and the class is 2. */
typedef uint32_t (*sa_extent_fn)(const sa_mask_context *context, int32_t b, int32_t h,
                                 int32_t p0, int32_t p1, int32_t j0, int32_t j1,
                                 int32_t step);
static inline uint32_t sa_pack_extent(int32_t stop, int32_t kind) {
  return (uint32_t)stop << 2 | (uint32_t)kind;
}

/* Rows and keys are walked by residue class modulo a `step`: row i of a query tile
 * is first_row + i * step, key k of a key tile first_key + k * step. Tiles are
 * numbered class by class: tile t is number t % class_tiles of class
 * t / class_tiles. With step 1 there is one class and tiles are plain intervals;
 * a larger one makes the tiles of a mask of that period dense. */

/* Decides every pair of one tile: positions first_position, first_position + step,
 * ... x keys first_key, first_key + step, ... Writes row after row of bits, the first
 * key in the lowest bit; bits past the last key are 0. Rows may go on after the last
 * word of 64 bits that has a key: what follows is another's. */
typedef struct sa_fill_args {
  const sa_mask_context *context;
  uint8_t *bits;
  int64_t row_bytes; /* tile_keys / 8 */
  int64_t b, h;
  int64_t first_position, rows;
  int64_t first_key, keys;
  int64_t step;
} sa_fill_args;
typedef void (*sa_fill_fn)(const sa_fill_args *args);

/* Packs `keys` keys and values of key/value head `kv_head`, from first_key on, into
 * one tile of sa_level::packed_bytes, whose layout the level chooses; missing keys
 * become zeros. */
typedef struct sa_pack_args {
  const sa_view *values;
  void *packed; /* 64-byte aligned */
  int64_t b, kv_head, first_key, keys, step;
} sa_pack_args;
typedef void (*sa_pack_fn)(const sa_pack_args *args);

/* A run of key tiles of one query tile. */
#define SA_RUN_FULL (-1)      /* every pair of every tile is kept */
#define SA_RUN_PREDICATE (-2) /* ask the generated predicate for every pair */
/* >= 0: the run's tiles use the bit tiles mask, mask + 1, ... of the arguments */
typedef struct sa_run {
  int32_t first_tile;
  int32_t tiles;
  int32_t mask;
  int32_t hops; /* first hop tile of the run, -1 where the kernel needs none */
} sa_run;

#define SA_LIST_MARGIN 64

/* One query tile of the heads h, ..., h + stack - 1 of a group, which see the same
 * keys: rows * stack rows in all, at most sa_level::stack_rows.
 *
 * Where the keys are split over several calls, each leaves the state of its rows
 * (row by row, head by head, sa_level::state_bytes each) and sa_level::combine
 * makes the result of them; sinks count there. */
typedef struct sa_attend_args {
  const sa_view *values; /* by value id */
  /* Tile t of (b, kv_head) is at packed + t * packed_bytes; NULL: the keys are read
   * once, from where they are. */
  const void *packed;
  const sa_run *runs; /* ascending */
  int64_t run_count;
  const uint8_t *bits;  /* bit tiles: tile_rows x tile_keys / 8 bytes, LSB first */
  const uint16_t *hops; /* hop tiles: tile_rows x tile_keys, 0xffff = unreachable */
  void *scratch;        /* sa_level::scratch_bytes, 64-byte aligned */
  void *states;         /* attend: NULL, or where to leave the state; 64-byte aligned */
  int64_t state_count;  /* combine: states one after another */
  int64_t b, h, kv_head, stack;
  int64_t first_row, rows;
  int64_t first_position; /* p of first_row */
  int64_t step, class_tiles;
  int64_t keys;   /* keys of this batch entry (pooled: pooled keys); of the list */
  int64_t tokens; /* n of this batch entry, in tokens */
  int64_t heads;  /* H */
  /* Attentions over listed keys alone: tile t holds elements [t * tile_keys, ...) of
   * `list`, which SA_LIST_MARGIN more keys follow that may be asked for and never count;
   * `list_weights` has one over the probability of each, for whole tiles. */
  const int32_t *list;
  const float *list_weights;
} sa_attend_args;
typedef void (*sa_attend_fn)(const sa_attend_args *args);

/*===--- Masks that a run decides -----------------------------------------===*
 * What the runtime keeps of keys beside K, scores of key units made from it, and the
 * sets of keys that a mask consists of. */

/* State words lie in groups of units: word w of unit u of a (b, head) is element
 *   [u / SA_STATE_LANES][w][u % SA_STATE_LANES]
 * on every instruction level, so that a saved state can be read anywhere. */
#define SA_STATE_LANES 16

enum {
  SA_WORD_F32 = 1,
  SA_WORD_I32 = 2,
  SA_WORD_U16 = 3,
  SA_WORD_U8 = 4,
  SA_WORD_F16 = 5,
  SA_WORD_BF16 = 6
};

/* An array that is kept beside K: `width` words for every `block` keys. */
typedef struct sa_key_state {
  const char *name; /* "signatures" */
  int32_t word;     /* SA_WORD_* */
  int32_t width;
  int32_t block;
  int32_t per_query_head; /* 1: one for each query head, 0: for each key/value head */
} sa_key_state;

/* How keys become states, and query rows the words that a score compares them with
 * (docs/semantics.md, sections 4 to 6). States are listed with their widths, where G is
 * the number of keys of a block. */
enum {
  /* No state. Query: q * scale [D]. reals: scale */
  SA_ENCODE_NONE = 0,
  /* page_low [D], page_high [D] of a block, of the keys' own type. Query: q [D] */
  SA_ENCODE_PAGES = 1,
  /* signatures [bits / 32], bit i of the signature in bit i % 32 of word i / 32, 1 for a
   * sign of +1. Query: the same. inputs: query weights, key weights; parameters:
   * activation (0 relu, 1 silu, 2 gelu, 3 tanh), the widths of the layers */
  SA_ENCODE_HASH = 2,
  /* labels [count]. Query: q of the channels, over sqrt(count) [count]. Quantized: labels
   * [ceil(count / 8)], label i in the 4 bits from 4 (i % 8) on of word i / 8, label_low
   * [1], label_step [1]. Query: as before, zeros up to whole words of labels, then the
   * sum of them. inputs: channels; parameters: count, quantized */
  SA_ENCODE_CHANNELS = 3,
  /* codes [subvectors]. Query: <q[s], centroid c of s> [subvectors][codes]. inputs:
   * centroids; parameters: subvectors, codes */
  SA_ENCODE_PQ = 4,
  /* buckets [tables], bit i of a bucket 1 for a sign of +1; value_norms [1]. Query: p of
   * each bucket [tables][2^bits]. inputs: projections; parameters: tables, bits; reals:
   * temperature */
  SA_ENCODE_SOFT_HASH = 5,
  /* pooled_keys [D or width] of a block. Query: the mean of the rows [D or width].
   * inputs: query gate, key gate or -1 */
  SA_ENCODE_POOLED = 6,
  /* key_sums [r][D], r = min(stride, G), of a block: sum a of the keys with (j - j0) mod
   * stride = a, -0 where there is none, and never else. Query: sum a of the rows with
   * (i - i0) mod stride = stride - 1 - a [r][D]; then the first word of a sum that has
   * rows, as those from there on have. parameters: stride */
  SA_ENCODE_ANTIDIAGONAL = 7,
  /* buckets [rounds], 0xffff for none. Query: the same, 32-bit words. inputs: centroids
   * or -1; parameters: rounds, buckets, seed */
  SA_ENCODE_CLUSTER = 8,
  /* hashes [tables], bit k of a hash 1 where <x, direction> >= 0; key_norms [1], of the
   * vector that is hashed. Query: hashes, 32-bit words. inputs: mean or -1; parameters:
   * tables, bits, center (0 keys, 1 both, 2 none), normalize (0 cosine, 1 simple_lsh),
   * seed */
  SA_ENCODE_LSH = 9
};
typedef struct sa_encoding {
  int32_t kind;
  int32_t k, v; /* value ids */
  int32_t head_dim, value_dim;
  int32_t query_words; /* 32-bit words of an encoded query */
  int32_t state_count, input_count, parameter_count, real_count;
  const sa_key_state *states;
  const int32_t *inputs; /* value ids of the weights, -1 where absent */
  const int64_t *parameters;
  const double *reals;
} sa_encoding;

/* The scores of units [0, units) of one head, from the states of its (b, head) or, where
 * there are none, from K. */
typedef struct sa_score_args {
  const void *const *states; /* by number in sa_encoding::states; 64-byte aligned */
  const void *query;         /* encoded, 64-byte aligned */
  void *scores; /* f32, or levels of a byte; room for whole groups of SA_STATE_LANES */
  int64_t units;
  const sa_view *values;
  int64_t b, kv_head;
} sa_score_args;
typedef void (*sa_score_fn)(const sa_score_args *args);

typedef struct sa_score {
  int32_t encoding;    /* index in sparse_attn_kernel::encodings */
  int32_t granularity; /* of one number: 0 a row and a key, 1 a row and a block, 2 a
                        * tile of rows and a block */
  int32_t share_group; /* 1: summed over the query heads of a group */
  int32_t block;       /* keys of a unit */
  /* 0: scores are f32. Else a score is one of so many numbers, at most 256, and what is
   * made of a unit is a byte: the score is best - step * byte, with step > 0. */
  int32_t levels, reserved;
  double best, step;
} sa_score;

/* A set of keys for each row. `operands` are sets before it. A selection's first operand
 * is its candidates, and so is a draw's. */
enum {
  SA_SET_STRUCTURE = 1, /* classify */
  SA_SET_LIST = 2,      /* inputs: keys, probability or -1; parameters: share_group */
  SA_SET_UNION = 3,
  SA_SET_INTERSECT = 4,
  SA_SET_DIFFERENCE = 5, /* of two */
  SA_SET_HEADS = 6,      /* parameters: the operand of each head */
  SA_SET_TOP_K = 7,      /* parameters: k or -1; reals: fraction */
  SA_SET_TOP_P = 8,      /* reals: p */
  SA_SET_THRESHOLD = 9,  /* reals: t */
  SA_SET_CLUSTER = 10,   /* encoding */
  SA_SET_RANDOM = 11,   /* parameters: seed, stream, count or -1, weighted; reals: rate */
  SA_SET_LSH = 12,      /* encoding; parameters: tables, bits, min_matches */
  SA_SET_ADAPTIVE = 13, /* operands: candidates, beside; parameters: seed, base_count or
                         * -1, finite_population; reals: base_rate, epsilon, the normal
                         * quantile of delta */
  SA_SET_COMPLEMENT = 14
};
typedef struct sa_set {
  int32_t kind;
  int32_t operand_count, input_count, parameter_count, real_count;
  int32_t score;            /* index in sa_attention::scores, or -1 */
  int32_t encoding;         /* index in sparse_attn_kernel::encodings, or -1 */
  int32_t block_q, block_k; /* rows and keys that are chosen together */
  int32_t sampled;          /* 1: keys have probabilities */
  const int32_t *operands;
  const int32_t *inputs; /* value ids */
  const int64_t *parameters;
  const double *reals;
  sa_classify_fn classify;
} sa_set;

/* Instruction levels: those of x86-64, those of AArch64, each with the best last. A
 * library holds levels of one architecture. */
enum {
  SA_LEVEL_AVX2 = 1,
  SA_LEVEL_AVX512 = 2,
  SA_LEVEL_AVX512_BF16 = 3,
  SA_LEVEL_NEON = 101
};

/* The attention's own scores, after its modifiers, of one row and the listed keys:
 * scores[i] for key args->list[i], i < args->keys. args->runs is not read, and
 * args->hops, where modifiers ask, has the distance of each of the keys and
 * SA_LIST_MARGIN more. */
typedef void (*sa_key_scores_fn)(const sa_attend_args *args, float *scores);

/* out[o] = sum over i of x[i] * w[i * outs + o], i < ins, o < outs, in f32. */
typedef void (*sa_project_fn)(const float *x, const float *w, float *out, int64_t ins,
                              int64_t outs);

typedef struct sa_level {
  int32_t level;
  int32_t reserved;
  const char *name;      /* "avx2", "neon", ... */
  int64_t scratch_bytes; /* of one worker */
  int64_t packed_bytes;  /* of one key tile, a multiple of 64 */
  int64_t stack_rows;    /* rows that a call takes, at least tile_rows */
  int64_t state_bytes;   /* of one row, a multiple of 64 */
  sa_pack_fn pack;
  sa_attend_fn attend;
  sa_attend_fn combine;        /* reads no runs and no keys */
  sa_fill_fn fill;             /* NULL: bisect with the classifier */
  const sa_score_fn *scores;   /* by number in sa_attention::scores */
  sa_key_scores_fn key_scores; /* NULL where no set asks */
  sa_project_fn project;       /* NULL where no encoding asks */
} sa_level;

/* Tables that a mask needs beside its operands; built by the runtime when a
 * plan is created. */
enum {
  /* inputs: offsets [B?, C+1], chunk_node [B?, C], indptr [V+1], indices [E];
   * parameters: max_hops (-1 unbounded), directed, want_distances. */
  SA_TABLE_REACH = 1
};
typedef struct sa_table {
  int32_t kind;
  int32_t input_count;
  const int32_t *inputs; /* value ids, -1 where absent */
  int32_t parameter_count;
  int32_t reserved;
  const int64_t *parameters;
} sa_table;

/* Checks of layout operands, done when a plan is created. */
enum {
  SA_CHECK_OFFSETS = 1, /* inputs: [B?, S+1]; starts >= 0, never decreases, ends <= N */
  SA_CHECK_LENGTH = 2,  /* inputs: [B]; parameters: {axis}: 0 <= x <= M (0) or N (1) */
  SA_CHECK_INDEX = 3,   /* inputs: [B?, g]; parameters: {bound}: 0 <= x < N (0); -1 =
                         * padding.   The plan's copy becomes ascending. */
  SA_CHECK_BSR = 4,     /* inputs: indptr, indices, bits?; parameters: R, C */
  SA_CHECK_GRAPH = 5,   /* inputs as SA_TABLE_REACH */
  SA_CHECK_HEADS = 6    /* parameters: {heads}: H must be this */
};
typedef struct sa_check {
  int32_t kind;
  int32_t input_count;
  const int32_t *inputs;
  int32_t parameter_count;
  int32_t reserved;
  const int64_t *parameters;
  const char *op; /* the op that asks, for the message: "segments" */
} sa_check;

enum { SA_BINDING_COMPILE = 0, SA_BINDING_PLAN = 1 };

typedef struct sa_attention {
  int32_t head_dim, value_dim;
  int32_t tile_rows, tile_keys;
  int32_t binding;
  int32_t per_batch; /* the mask differs by batch entry */
  int32_t per_head;  /* the mask differs by head */
  int32_t key_block; /* 0: keys are tokens; else each key is a mean of key_block tokens */
  /* value ids, -1 where absent */
  int32_t q, k, v, kv_len, q_len, q_offset, sinks, out, lse;
  int32_t hop_table; /* index into tables of the distances for hop tiles, or -1 */
  /* A mask that a run decides: its sets, of which the last one is the mask. Then
   * `classify` tells what may be kept. Kept keys are gathered, or tiles are those of
   * neighbouring keys. */
  int32_t gathered, reserved;
  int32_t set_count, score_count;
  const sa_set *sets;
  const sa_score *scores;
  int32_t table_count, check_count;
  const sa_table *tables;
  const sa_check *checks;
  sa_classify_fn classify; /* NULL: every pair is kept */
  sa_extent_fn extent;     /* of a plan-time mask; NULL: classify alone tells */
  int32_t level_count;
  int32_t period; /* >= 1: tiles may hold rows and keys that are this far apart */
  const sa_level *levels;
} sa_attention;

/* The program of a kernel: its steps in order. Values are numbered: inputs
 * first, then every step's results in order. A choice has several ways to make the
 * same state: a plan takes the cheapest and leaves the steps of the others out. */
enum { SA_STEP_ATTENTION = 1, SA_STEP_POOL = 2, SA_STEP_MERGE = 3, SA_STEP_CHOOSE = 4 };
typedef struct sa_step {
  int32_t kind;
  int32_t input_count; /* pool: 1; merge, choose: O0, LSE0, O1, LSE1, ...; attention: 0 */
  const int32_t *inputs;
  int32_t first_result; /* pool: 1 value; others: O then LSE */
  int32_t block;        /* pool: tokens per pooled key */
  int32_t type_code;    /* of O or of the means, as DLDataType; LSE is f32 */
  int32_t type_bits;
  const sa_attention *attention;
  const sa_gpu_kernel *gpus; /* of all but a choice: one for each GPU target,
                              * ascending */
  int32_t gpu_count, reserved;
} sa_step;

typedef struct sa_tensor {
  const char *name;
  int32_t layout; /* 1: operand of plan_create */
  int32_t rank;
  int32_t type_code, type_bits; /* as DLDataType, lanes = 1 */
  int64_t dims[4];              /* [0, rank), not padded; -1 where free */
  /* Which run-time size an axis must have: 0 free, 1 B, 2 H, 3 Hkv, 4 M, 5 N, 6 odd,
   * 16 + x: either 1 or x. */
  int32_t axis[4];
  int32_t value; /* value id: its index for an input; any for an output */
  int32_t reserved;
} sa_tensor;

struct sparse_attn_kernel {
  const char *name;
  int32_t input_count, output_count;
  const sa_tensor *inputs;
  const sa_tensor *outputs;
  int32_t value_count;
  int32_t step_count;
  const sa_step *steps;
  int32_t encoding_count;
  int32_t reserved;
  const sa_encoding *encodings;
};

struct sparse_attn_library {
  uint64_t magic;
  uint32_t abi_version;
  uint32_t kernel_count;
  const sparse_attn_kernel *kernels;
  const char *manifest;
};

/*===--- Helpers that generated classifiers call --------------------------===*
 * All return a tile class (0, 1, 2) of positions [p0, p1] x keys [j0, j1] and
 * follow sa_classify_fn: what holds there holds in steps. */

/* segments: offsets [.., B?, S+1]. A token before the first or from the last
 * offset on is in no segment, and neither sees nor is seen. */
SPARSE_ATTN_API int32_t sa_classify_segments(const sa_view *offsets, int32_t b,
                                             int32_t p0, int32_t p1, int32_t j0,
                                             int32_t j1);

/* global: index [.., B?, g], ascending (SA_CHECK_INDEX sorts); entries of -1 are
 * padding. */
SPARSE_ATTN_API int32_t sa_classify_global(const sa_view *index, int32_t b, int32_t p0,
                                           int32_t p1, int32_t j0, int32_t j1);

/* block_mask: indptr [B?, H?, rows + 1], indices [B?, H?, blocks], ascending in a
 * row; bits [B?, blocks, R, ceil(C / 8)] bytes or NULL. Axes of size 1 broadcast. */
SPARSE_ATTN_API int32_t sa_classify_block_mask(const sa_view *indptr,
                                               const sa_view *indices,
                                               const sa_view *bits, int32_t block_rows,
                                               int32_t block_keys, int32_t b, int32_t h,
                                               int32_t p0, int32_t p1, int32_t j0,
                                               int32_t j1);

/* random_blocks: `count` of the ceil(keys / block) key blocks, drawn for query
 * block floor(p / block) by Philox 4x32-10 (docs/semantics.md, sections 3 and 6;
 * src/random_blocks.c has the drawing). */
SPARSE_ATTN_API int32_t sa_classify_random_blocks(int32_t block, int32_t count,
                                                  int64_t seed, int32_t plane,
                                                  int32_t keys, int32_t p0, int32_t p1,
                                                  int32_t j0, int32_t j1);

/* graph_hop and hop_decay: `table` as built for SA_TABLE_REACH. */
SPARSE_ATTN_API int32_t sa_classify_reach(const void *table, int32_t b, int32_t p0,
                                          int32_t p1, int32_t j0, int32_t j1);

/*===--- Helpers that generated extent functions call ---------------------===*
 * sa_extent_X follows sa_extent_fn for what sa_classify_X answers about, and takes the
 * same arguments.                                                            */

SPARSE_ATTN_API uint32_t sa_extent_segments(const sa_view *offsets, int32_t b, int32_t p0,
                                            int32_t p1, int32_t j0, int32_t j1);
SPARSE_ATTN_API uint32_t sa_extent_global(const sa_view *index, int32_t b, int32_t p0,
                                          int32_t p1, int32_t j0, int32_t j1);
SPARSE_ATTN_API uint32_t sa_extent_block_mask(const sa_view *indptr,
                                              const sa_view *indices, const sa_view *bits,
                                              int32_t block_rows, int32_t block_keys,
                                              int32_t b, int32_t h, int32_t p0,
                                              int32_t p1, int32_t j0, int32_t j1);
SPARSE_ATTN_API uint32_t sa_extent_random_blocks(int32_t block, int32_t count,
                                                 int64_t seed, int32_t plane,
                                                 int32_t keys, int32_t p0, int32_t p1,
                                                 int32_t j0, int32_t j1);
SPARSE_ATTN_API uint32_t sa_extent_reach(const void *table, int32_t b, int32_t p0,
                                         int32_t p1, int32_t j0, int32_t j1);

/*===--- Helpers that generated fill functions call -----------------------===*
 * sa_fill_X decides every pair of `pairs` as sa_classify_X does, but writes to
 * `bits`; pairs->context and pairs->bits are not read. It takes the arguments of
 * sa_classify_X but p0, p1, j0 and j1, then these two.                       */

SPARSE_ATTN_API void sa_fill_segments(const sa_view *offsets, int32_t b,
                                      const sa_fill_args *pairs, uint8_t *bits);
SPARSE_ATTN_API void sa_fill_global(const sa_view *index, int32_t b,
                                    const sa_fill_args *pairs, uint8_t *bits);
SPARSE_ATTN_API void sa_fill_block_mask(const sa_view *indptr, const sa_view *indices,
                                        const sa_view *blocks, int32_t block_rows,
                                        int32_t block_keys, int32_t b, int32_t h,
                                        const sa_fill_args *pairs, uint8_t *bits);
SPARSE_ATTN_API void sa_fill_random_blocks(int32_t block, int32_t count, int64_t seed,
                                           int32_t plane, int32_t keys,
                                           const sa_fill_args *pairs, uint8_t *bits);
SPARSE_ATTN_API void sa_fill_reach(const void *table, int32_t b,
                                   const sa_fill_args *pairs, uint8_t *bits);

#ifdef __cplusplus
}
#endif
#endif /* SPARSE_ATTN_ABI_H */
