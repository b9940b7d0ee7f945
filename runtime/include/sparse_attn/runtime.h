/*===- runtime.h - run ahead-of-time compiled sparse attention ------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * The C interface of every library that sparse-attn-compile writes.
 *
 *   shape, layout operands --> sparse_attn_plan_create --> plan
 *   plan, Q, K, V          --> sparse_attn_run         --> O, LSE
 *
 * A plan is made once per layout and used for many runs, from many threads at
 * once: it is never written after its creation. For a mask that is a closed
 * form of the positions (compile-time binding) a plan holds no table.
 *
 * Nothing here aborts or throws. A call that fails returns a status other than
 * SPARSE_ATTN_OK and leaves a sentence for sparse_attn_last_error().
 *
 *===----------------------------------------------------------------------===*/
#ifndef SPARSE_ATTN_RUNTIME_H
#define SPARSE_ATTN_RUNTIME_H

#include <dlpack/dlpack.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define SPARSE_ATTN_API
#else
#define SPARSE_ATTN_API __attribute__((visibility("default")))
#endif

/* Version of this interface and of the structures in abi.h. A library compiled
 * for another version is refused with SPARSE_ATTN_ABI_MISMATCH. */
#define SPARSE_ATTN_ABI_VERSION 11

/*===--- Status -----------------------------------------------------------===*/

typedef enum sparse_attn_status {
  SPARSE_ATTN_OK = 0,
  SPARSE_ATTN_INVALID_ARGUMENT =
      1,                           /* shape, dtype, stride, device, null, operand value */
  SPARSE_ATTN_ABI_MISMATCH = 2,    /* the library was compiled for another version */
  SPARSE_ATTN_LOAD_FAILED = 3,     /* the file is not what it should be, or truncated */
  SPARSE_ATTN_UNSUPPORTED_CPU = 4, /* no instruction level of the library runs here */
  SPARSE_ATTN_OUT_OF_MEMORY = 5,   /* an allocation for a plan failed */
  SPARSE_ATTN_OVERFLOW = 6, /* sizes whose product does not fit the address space */
  SPARSE_ATTN_WORKSPACE_TOO_SMALL = 7,
  SPARSE_ATTN_NOT_FOUND = 8,   /* no kernel or tensor of that name */
  SPARSE_ATTN_SAVE_FAILED = 9, /* a file could not be written */
  SPARSE_ATTN_NO_GPU = 10,     /* no driver, no such device, or no kernel for it */
  SPARSE_ATTN_GPU_FAILED = 11  /* the driver of a GPU reports an error */
} sparse_attn_status;

/* The reason of this thread's last failure, "" if there was none. Valid until
 * this thread's next failing call. */
SPARSE_ATTN_API const char *sparse_attn_last_error(void);

/* "ok", "invalid argument", ... */
SPARSE_ATTN_API const char *sparse_attn_status_string(sparse_attn_status status);

/* SPARSE_ATTN_ABI_VERSION of the runtime that is linked in. */
SPARSE_ATTN_API uint32_t sparse_attn_abi_version(void);

/*===--- Libraries and kernels --------------------------------------------===*/

typedef struct sparse_attn_library sparse_attn_library; /* defined in abi.h */
typedef struct sparse_attn_kernel sparse_attn_kernel;   /* defined in abi.h */
typedef struct sparse_attn_plan sparse_attn_plan;

/* Loads `path` (a .so from sparse-attn-compile) and checks its ABI version.
 * Programs that link a library use the accessor of its header instead. */
SPARSE_ATTN_API sparse_attn_status
sparse_attn_library_open(const char *path, const sparse_attn_library **library);

/* Gives back what sparse_attn_library_open returned. Plans of its kernels must
 * be destroyed first. NULL is allowed. */
SPARSE_ATTN_API void sparse_attn_library_close(const sparse_attn_library *library);

/* The manifest: one JSON object as text (see docs/manifest.md). */
SPARSE_ATTN_API const char *
sparse_attn_library_manifest(const sparse_attn_library *library);

SPARSE_ATTN_API size_t sparse_attn_kernel_count(const sparse_attn_library *library);

/* Kernel `index`, NULL past the end. */
SPARSE_ATTN_API const sparse_attn_kernel *
sparse_attn_kernel_at(const sparse_attn_library *library, size_t index);

/* The kernel called `name`; SPARSE_ATTN_NOT_FOUND lists the names there are. */
SPARSE_ATTN_API sparse_attn_status
sparse_attn_kernel_find(const sparse_attn_library *library, const char *name,
                        const sparse_attn_kernel **kernel);

SPARSE_ATTN_API const char *sparse_attn_kernel_name(const sparse_attn_kernel *kernel);

/* What one tensor of a kernel has to be. */
typedef struct sparse_attn_tensor_info {
  const char *name;
  int layout; /* 1: given to plan_create; 0: given to run */
  DLDataType dtype;
  int rank;
  int64_t dims[4]; /* size of an axis, or -1 where it is a run-time value */
} sparse_attn_tensor_info;

/* Inputs in the order of the kernel's arguments, and outputs. `plan_create`
 * takes the inputs with layout = 1 and `run` those with layout = 0, each in
 * this order. Past the end: SPARSE_ATTN_NOT_FOUND. */
SPARSE_ATTN_API size_t sparse_attn_kernel_input_count(const sparse_attn_kernel *kernel);
SPARSE_ATTN_API size_t sparse_attn_kernel_output_count(const sparse_attn_kernel *kernel);
SPARSE_ATTN_API sparse_attn_status sparse_attn_kernel_input_info(
    const sparse_attn_kernel *kernel, size_t index, sparse_attn_tensor_info *info);
SPARSE_ATTN_API sparse_attn_status sparse_attn_kernel_output_info(
    const sparse_attn_kernel *kernel, size_t index, sparse_attn_tensor_info *info);

/*===--- Plans ------------------------------------------------------------===*/

/* Run-time sizes. All may be 0 (the result is then empty), kv_heads must divide
 * heads, and queries and keys are below 2^30. */
typedef struct sparse_attn_shape {
  int64_t batch;    /* B */
  int64_t heads;    /* H */
  int64_t kv_heads; /* Hkv */
  int64_t queries;  /* M */
  int64_t keys;     /* N */
} sparse_attn_shape;

/* Host threads. `parallel` calls work(argument, w) once for every worker w in
 * [0, workers), on any threads and in any order, and returns when all have
 * returned. */
typedef struct sparse_attn_executor {
  void (*parallel)(void *context, int workers, void (*work)(void *argument, int worker),
                   void *argument);
  void *context;
} sparse_attn_executor;

/* What a kernel keeps beside K and V; see below. */
typedef struct sparse_attn_states sparse_attn_states;

/* How a GPU is reached; see gpu.h. */
typedef struct sparse_attn_gpu_driver sparse_attn_gpu_driver;

/* How a plan is built or run. Zero-initialise for the defaults. */
typedef struct sparse_attn_options {
  int threads;                          /* 0: OpenMP's default (OMP_NUM_THREADS) */
  const sparse_attn_executor *executor; /* NULL: OpenMP */
  /* For sparse_attn_run and the size of its workspace: the states of the run's keys.
   * NULL: a run makes them itself, of all keys, in its workspace. */
  const sparse_attn_states *states;
  /* For sparse_attn_plan_create: where runs of the plan compute. All zero, or kDLCPU:
   * here. {kDLCUDA, i}: on GPU i, for which the library must hold kernels
   * (sparse-attn-compile --target=cpu,sm_80). */
  DLDevice device;
  /* For sparse_attn_run on a GPU: its CUstream. NULL: the default stream. */
  void *stream;
  /* For sparse_attn_plan_create: how the GPU is reached. NULL: by CUDA's driver. It must
   * outlive the plan. */
  const sparse_attn_gpu_driver *driver;
} sparse_attn_options;

/* Builds the plan of `kernel` for `shape` and for the values of the layout
 * operands (in the order of sparse_attn_kernel_input_info). The operands are
 * read now and not kept. `options` may be NULL.
 *
 * A plan for a GPU takes memory of that GPU, and loads kernels once for all plans:
 * making it waits for the GPU. Its layout operands may lie there or here. */
SPARSE_ATTN_API sparse_attn_status
sparse_attn_plan_create(const sparse_attn_kernel *kernel, const sparse_attn_shape *shape,
                        const DLTensor *const *layout, size_t layout_count,
                        const sparse_attn_options *options, sparse_attn_plan **plan);

/* NULL is allowed. */
SPARSE_ATTN_API void sparse_attn_plan_destroy(sparse_attn_plan *plan);

/* Bytes that the plan holds, its tables included. */
SPARSE_ATTN_API size_t sparse_attn_plan_bytes(const sparse_attn_plan *plan);

/* Bytes of workspace that a run with `options` needs (may depend on the number
 * of threads; on a GPU, memory of that GPU). SPARSE_ATTN_OVERFLOW where it does not fit
 * size_t. */
SPARSE_ATTN_API sparse_attn_status sparse_attn_workspace_size(
    const sparse_attn_plan *plan, const sparse_attn_options *options, size_t *bytes);

/*===--- Runs -------------------------------------------------------------===*/

/* Computes the kernel's outputs. `inputs` are those with layout = 0. Tensors
 * are on the CPU with a unit innermost stride; other strides are free.
 * `workspace` is at least sparse_attn_workspace_size bytes and belongs to this
 * run until it returns; the run allocates nothing. The result does not depend
 * on the number of threads, bit for bit.
 *
 * With a plan for a GPU, tensors and workspace are in that GPU's memory, and belong to
 * the run until the stream has done it: the call starts kernels and returns. It neither
 * allocates nor waits, and can be captured in a CUDA graph. */
SPARSE_ATTN_API sparse_attn_status sparse_attn_run(
    const sparse_attn_plan *plan, const DLTensor *const *inputs, size_t input_count,
    DLTensor *const *outputs, size_t output_count, void *workspace,
    size_t workspace_bytes, const sparse_attn_options *options);

/* The instruction level that runs here, e.g. "avx512". The environment variable
 * SPARSE_ATTN_LEVEL=NAME asks for a lower one, which the library must hold: a
 * kernel has avx512_bf16 only where bf16 makes it differ from avx512. NULL and a
 * message where none runs. */
SPARSE_ATTN_API const char *sparse_attn_kernel_level(const sparse_attn_kernel *kernel);

/*===--- States beside the keys -------------------------------------------===*/

/* Scores and hashes of keys (sparse_attn.score.*, cluster, sample.lsh) read a digest of
 * K: signatures, page bounds, codes, ... And attention to pooled keys (pool) reads the
 * means of blocks of K and V. In a decode loop they are kept like K itself:
 *
 *   keys appended to K --> sparse_attn_states_extend --> options.states of a run
 *
 * One object holds the states of all scores and pools of a kernel, for `capacity` keys of
 * every batch entry. Any number of runs may read it at once, but not while it is changed.
 * Other kernels whose scores and pools are the same may read it, too. Means that a kernel
 * returns are no states: every run makes them. docs/states.md has the sizes. */

/* States of no keys yet. Of `shape`, keys is the capacity and queries is not read. Where
 * a state of one key would depend on all others, this fails and says what to do. */
SPARSE_ATTN_API sparse_attn_status
sparse_attn_states_create(const sparse_attn_kernel *kernel,
                          const sparse_attn_shape *shape, sparse_attn_states **states);

/* NULL is allowed. */
SPARSE_ATTN_API void sparse_attn_states_destroy(sparse_attn_states *states);

/* Bytes that the states hold, for the whole capacity. */
SPARSE_ATTN_API size_t sparse_attn_states_bytes(const sparse_attn_states *states);

/* Bytes of one key of one batch entry, all heads together. */
SPARSE_ATTN_API double sparse_attn_states_bytes_per_key(const sparse_attn_states *states);

/* Keys of batch entry `b` that have states; 0 where there is no such entry. */
SPARSE_ATTN_API int64_t sparse_attn_states_length(const sparse_attn_states *states,
                                                  int64_t b);

/* Makes the states of keys up to lengths[b] of every batch entry b, which is at least
 * sparse_attn_states_length. `inputs` are those of a run; of them only keys, values and
 * weights that states are made of are read, and the others may be NULL. K and V may have
 * any N that holds the lengths. Work is proportional to the new keys; a block of keys (a
 * page) that was begun before may be read from its first key on. On failure nothing
 * has changed. */
SPARSE_ATTN_API sparse_attn_status sparse_attn_states_extend(
    sparse_attn_states *states, const DLTensor *const *inputs, size_t input_count,
    const int64_t *lengths, const sparse_attn_options *options);

/* Forgets the keys of batch entry `b` from `length` on. Where that is within a block, the
 * next sparse_attn_states_extend makes the block anew, and must come before a run; it may
 * ask for no more keys. */
SPARSE_ATTN_API sparse_attn_status sparse_attn_states_rollback(sparse_attn_states *states,
                                                               int64_t b, int64_t length);

/* Writes the states to a file, and makes states of one: for the same scores on any
 * processor of this byte order. A file of other states or of another version, and one
 * that was cut or changed, is refused with SPARSE_ATTN_LOAD_FAILED. Weights are not in
 * the file: load it for those that the states were made with. */
SPARSE_ATTN_API sparse_attn_status
sparse_attn_states_save(const sparse_attn_states *states, const char *path);
SPARSE_ATTN_API sparse_attn_status sparse_attn_states_load(
    const sparse_attn_kernel *kernel, const char *path, sparse_attn_states **states);

/*===--- Looking into a plan ----------------------------------------------===*/

typedef enum sparse_attn_tile_class {
  SPARSE_ATTN_TILE_EMPTY = 0,
  SPARSE_ATTN_TILE_FULL = 1,
  SPARSE_ATTN_TILE_PARTIAL = 2 /* or unknown */
} sparse_attn_tile_class;

/* Sizes of one attention of a plan. A kernel may merge several, and may have more than
 * one way to the same result, of which a plan takes the cheapest: its attentions are
 * those that run, in order, and `number` says which of the kernel's each is.
 *
 * The rows of a tile, and its keys, are `step` apart: 1, or the period of a mask that
 * keeps no neighbours (dilated, strided). Tiles are numbered class by class: key tile
 * t holds the keys
 *
 *   t / class_key_tiles + step * (t % class_key_tiles * tile_keys + [0, tile_keys))
 *
 * as far as there are such keys, and query tile t rows in the same way. */
typedef struct sparse_attn_grid {
  int64_t batch, heads;         /* (b, h) planes */
  int64_t queries, keys;        /* M, and N or the number of pooled keys */
  int64_t tile_rows, tile_keys; /* size of a tile */
  int64_t row_tiles, key_tiles; /* tiles in all */
  int64_t step;
  int64_t class_row_tiles, class_key_tiles; /* tiles of rows or keys that are alike
                                             * modulo step */
  int plan_time;                            /* 1: tiles are kept in the plan */
  int number;                               /* among the attentions of the manifest */
} sparse_attn_grid;

SPARSE_ATTN_API size_t sparse_attn_plan_attention_count(const sparse_attn_plan *plan);
SPARSE_ATTN_API sparse_attn_status sparse_attn_plan_grid(const sparse_attn_plan *plan,
                                                         size_t attention,
                                                         sparse_attn_grid *grid);

/* What batch entry `b` of an attention covers: its rows are [0, queries), of
 * which row i is at position first_position + i, and its keys are [0, keys). */
typedef struct sparse_attn_extent {
  int64_t queries, keys; /* keys: pooled ones where K is pooled */
  int64_t first_position;
} sparse_attn_extent;

SPARSE_ATTN_API sparse_attn_status sparse_attn_plan_extent(const sparse_attn_plan *plan,
                                                           size_t attention, int64_t b,
                                                           sparse_attn_extent *extent);

/* Calls visit(context, first_tile, tiles, kind) for every run of kept key tiles
 * of query tile `row_tile` of plane (b, h), in ascending order: what a run of
 * the kernel visits. Tiles are numbered as sparse_attn_grid says. */
SPARSE_ATTN_API sparse_attn_status
sparse_attn_plan_visit(const sparse_attn_plan *plan, size_t attention, int64_t b,
                       int64_t h, int64_t row_tile,
                       void (*visit)(void *context, int64_t first_tile, int64_t tiles,
                                     sparse_attn_tile_class kind),
                       void *context);

/* The same walk by keys: calls visit(context, first_tile, tiles, kind) for every run of
 * query tiles that key tile `key_tile` of plane (b, h) has kept pairs with, in ascending
 * order. With a plan-time mask these are exactly the query tiles whose visits name the
 * key tile, with their kinds. With a closed form, which is asked about other rectangles
 * here, a tile that it cannot decide may be partial in one walk, and be left out or full
 * in the other. */
SPARSE_ATTN_API sparse_attn_status
sparse_attn_plan_visit_keys(const sparse_attn_plan *plan, size_t attention, int64_t b,
                            int64_t h, int64_t key_tile,
                            void (*visit)(void *context, int64_t first_tile,
                                          int64_t tiles, sparse_attn_tile_class kind),
                            void *context);

/* The class of positions [p0, p1] x keys [j0, j1] (both ends inclusive), as the
 * generated code answers it. PARTIAL also means "not known". */
SPARSE_ATTN_API sparse_attn_status sparse_attn_plan_classify(
    const sparse_attn_plan *plan, size_t attention, int64_t b, int64_t h, int64_t p0,
    int64_t p1, int64_t j0, int64_t j1, sparse_attn_tile_class *kind);

#ifdef __cplusplus
}
#endif
#endif /* SPARSE_ATTN_RUNTIME_H */
