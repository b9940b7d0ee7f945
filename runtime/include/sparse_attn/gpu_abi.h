/*===- gpu_abi.h - what GPU kernels and the runtime know of each other ----===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * A GPU kernel takes one sa_gpu_args by value; what it points at lies in the memory of
 * the device. lib/Conversion/PlanToGPU mirrors these structures field by field.
 *
 *===----------------------------------------------------------------------===*/
#ifndef SPARSE_ATTN_GPU_ABI_H
#define SPARSE_ATTN_GPU_ABI_H

#include "sparse_attn/abi.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The kernels of a library for one GPU architecture. */
typedef struct sa_gpu_module {
  const char *target; /* "sm_80" */
  int32_t capability; /* of devices that run it: 80 for 8.0, and newer */
  int32_t exact;      /* 1: devices of this capability alone */
  const char *ptx;
  const void *cubin; /* made of `ptx`, or NULL */
  int64_t cubin_bytes;
  const void *bitcode; /* LLVM's, that `ptx` was made of, or NULL */
  int64_t bitcode_bytes;
} sa_gpu_module;

/* The kernels of a step, in a module. */
struct sa_gpu_kernel {
  const sa_gpu_module *module;
  /* Of an attention: items are query tiles, or parts of their keys. Of a merge: there are
   * no items, and a block merges tile_rows of the B * H * M rows. Of a pool: a thread
   * makes one of the means; the entries are those of an attention that reads them. */
  const char *run;
  const char *combine; /* items are query tiles, the slots [first, end) their parts; NULL
                        * of others */
  int32_t threads, shared_bytes; /* of a block; combine needs no shared memory */
  int32_t tile_rows, tile_keys;
  int32_t finds_tiles; /* 1: items name key tiles; 0: runs */
  int32_t has_maps;    /* 1: see SA_GPU_MAPPED */
  /* Kernels that check operands and make a plan's lists, and blocks of theirs; NULL: the
   * host does. See sa_gpu_list. */
  const char *check, *count, *list;
  int32_t list_threads, list_shared_bytes;
};

/* What thread block number i of a launch works at: a tile of query rows and the tiles of
 * keys, or the runs of them, from `first` up to `end`. Where an operand of the run lists
 * keys, part `first` of `end` equal parts of the list that the rows share.
 *
 * Row r < rows of the tile is row first_row + (r / stack) * step of head h + r % stack:
 * the heads of a group lie side by side, so that few queries fill a tile too. */
typedef struct sa_gpu_item {
  int32_t b, h;
  int32_t first_row, rows;
  int32_t first, end; /* tiles of keys; with a plan, elements of sa_gpu_args::runs; of
                       * lists, the number of a part and of all */
  int32_t slot;       /* -1: write O and LSE; else leave the state in this slot */
  int32_t hops;       /* first element of sa_gpu_args::hop_index for the tile */
} sa_gpu_item;

/* Keys are looked at in groups of so many (cost.c). */
enum { SA_KEY_GROUP = 16 };

/* The list of a query tile, which a plan makes where its operands lie. A launch of
 * `count` and then one of `list` have an item for each query tile of each plane whose
 * mask may differ: stack is 1, and [first, end) all key tiles. In between, the host adds
 * up.
 *
 * `count` writes tiles, runs, bits and bit_keys. `list` writes the runs from first_run
 * on, cut where a share ends, and how many that makes, at most shares - 1 more. Bit tiles
 * follow one another from first_bits on. */
typedef struct sa_gpu_list {
  int32_t tiles, runs, bits; /* how many of them */
  int32_t first_run, first_bits;
  int32_t first_share, shares; /* into sa_gpu_args::shares */
  int32_t bit_keys;            /* of the bit tiles, rounded up to SA_KEY_GROUP in each */
} sa_gpu_list;

/* Runs of a share of a list: share s of n of t tiles is [t * s / n, t * (s + 1) / n). */
typedef struct sa_gpu_share {
  int32_t first, end;
} sa_gpu_share;

/* A batch entry: its real lengths, and p of row 0. Rows from `rows` on are padding, of
 * which O is 0 and LSE -inf. */
typedef struct sa_gpu_entry {
  int32_t rows, keys, tokens, first_position;
} sa_gpu_entry;

/* A table of a plan (SA_TABLE_REACH) in one piece of the device's memory, where arrays
 * are so many bytes from its beginning. A batch entry has chunks that hold tokens: the
 * first token of each, and the slot of its node; a slot the tokens that it reaches, as
 * sorted intervals. */
typedef struct sa_gpu_reach_batch {
  int32_t chunk_count, reserved;
  int64_t start; /* i32 [chunk_count + 1] */
  int64_t slot;  /* i32 [chunk_count] */
} sa_gpu_reach_batch;
typedef struct sa_gpu_reach {
  int32_t batch_count, reserved; /* 1: all entries alike */
  int64_t slot_begin;            /* i64 [slots + 1], into the intervals */
  int64_t first, end;            /* i32 */
  sa_gpu_reach_batch batches[];
} sa_gpu_reach;

/* Rows of a tensor that may be copied 16 bytes at a time: aligned, with such strides; and
 * whether the tensor maps of K and V are given. */
enum {
  SA_GPU_ALIGNED_Q = 1,
  SA_GPU_ALIGNED_K = 2,
  SA_GPU_ALIGNED_V = 4,
  SA_GPU_MAPPED = 8
};

/* A kernel that `has_maps` takes two parameters after its sa_gpu_args: the tensor maps
 * (CUtensorMap, 128 bytes each, by value) of K and V. They are read where SA_GPU_MAPPED
 * is set, which asks that K and V both be aligned, and that they have the batch entries
 * of the launch and heads / group heads. As cuTensorMapEncodeTiled takes them, of a view
 * v:
 *
 *   data type             BFLOAT16 or FLOAT16     rank                 4
 *   globalAddress         v.data
 *   globalDim             v.size[3], v.size[2], v.size[1], v.size[0]
 *   globalStrides         v.stride[2], v.stride[1], v.stride[0], in bytes; where
 * v.size[i] is 1, any multiple of 16 (the tensor's row, say) boxDim                64,
 * tile_keys, 1, 1     elementStrides       1, 1, 1, 1 interleave            NONE swizzle
 * 128B l2Promotion           L2_256B                 oobFill              NONE
 *
 * Such a kernel goes on with item i + blocks of the launch (alternating with the mirrored
 * order, so that blocks get long and short items alike), so that no more blocks need be
 * launched than are resident at once. */

/* The states of a slot, tile_rows rows of each: m in units of log2, l, and O as the sum
 * of weights times values. */
typedef struct sa_gpu_args {
  const sa_gpu_item *items;
  const sa_gpu_entry *entries; /* by batch entry */
  const sa_run *runs;          /* of plans; ascending for each item */
  const uint8_t *bits;         /* bit tiles as in sa_attend_args */
  /* Of kernels that read distances in a graph. A query tile has in hop_index: its first
   * row of distances, the number of rows that a key tile has, and of each of its rows
   * which of these. Tile t of a run has those from (run.hops + t) * number on. */
  const int32_t *hop_index;
  const uint16_t *hops;      /* rows of tile_keys; 0xffff = unreachable */
  float *states;             /* by slot: [tile_rows][value_dim], then m, then l */
  int32_t heads;             /* H */
  int32_t group;             /* query heads of a key/value head */
  int32_t stack;             /* heads of a tile */
  int32_t step, class_tiles; /* as in sa_attend_args */
  int32_t aligned;           /* SA_GPU_ALIGNED_*, SA_GPU_MAPPED */
  int32_t item_count;        /* read by kernels that have maps */
  int32_t bit_rows;          /* of a bit tile */
  int32_t tokens;            /* N; read by `check` */
  int32_t by_class;          /* of `count`, 1: tiles are full or partial as their class
                              * says, and no pair is decided */
  sa_gpu_list *lists;        /* of `count` and `list`: by item */
  sa_gpu_share *shares;      /* of `list` */
  int32_t *faults;           /* of `check`: by block, 1 where it has found a value that a
                              * layout operand must not have, else 0 */
  /* Of kernels that ask about a graph: by number of the table in sa_attention. */
  const sa_gpu_reach *const *tables;
  sa_view values[]; /* by value id */
} sa_gpu_args;

#ifdef __cplusplus
}
#endif
#endif /* SPARSE_ATTN_GPU_ABI_H */
