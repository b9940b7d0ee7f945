/*===- gpu.h - plans and runs on a GPU ------------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * A plan for a GPU is made here like any other, only that its tiles have the size that
 * the GPU's kernels want. It then becomes items (gpu_abi.h) in the GPU's memory:
 *
 *   gpu_device.c   devices, and the modules that they have loaded
 *   gpu_plan.c     chooses kernels and the shape of their tiles
 *   gpu_operands.c layout operands that stay in the GPU's memory
 *   gpu_tables.c   what was found in graphs, for masks that the GPU lists
 *   gpu_hops.c     distances in a graph, for the pairs of tiles
 *   gpu_run.c      workspace and launches
 *   gpu_lists.c    lists that the GPU makes of such operands
 *   gpu_sample.c   tiles that it counts, for steps and ways to be chosen by
 *   gpu_items.c    tiles, lists and parts of an attention as items
 *
 *===----------------------------------------------------------------------===*/
#ifndef SPARSE_ATTN_RUNTIME_GPU_H
#define SPARSE_ATTN_RUNTIME_GPU_H

#include "cost.h"
#include "sparse_attn/gpu.h"

/* Of what lies in the device's memory, in bytes. */
enum { SA_GPU_ALIGNMENT = 256 };

/*===--- gpu_device.c -----------------------------------------------------===*/

typedef struct sa_gpu_device {
  const sparse_attn_gpu_driver *driver;
  int number;
  sparse_attn_gpu_facts facts;
} sa_gpu_device;

/* Fails with `error`, if there is one, in the words of the kernel and the device. */
sparse_attn_status sa_gpu_check(const sparse_attn_kernel *kernel,
                                const sa_gpu_device *device, const char *error);

/* A module that a device has loaded: once, whatever the number of plans. */
typedef struct sa_gpu_loaded sa_gpu_loaded;
sparse_attn_status sa_gpu_load(const sparse_attn_kernel *kernel,
                               const sa_gpu_device *device, const sa_gpu_module *module,
                               sa_gpu_loaded **loaded);
/* NULL is allowed. CUDA keeps the module, for other plans, until the library is
 * closed. */
void sa_gpu_unload(sa_gpu_loaded *loaded);
sparse_attn_status sa_gpu_find(const sparse_attn_kernel *kernel,
                               const sa_gpu_device *device, const sa_gpu_loaded *loaded,
                               const char *name, int32_t shared_bytes, void **function);
/* Unloads what no plan uses of `library`, which is about to be closed. */
void sa_gpu_forget(const sparse_attn_library *library);

/*===--- gpu_plan.c -------------------------------------------------------===*/

/* Items of a launch, in the plan's memory. */
typedef struct sa_gpu_items {
  size_t at; /* offset */
  int64_t count;
} sa_gpu_items;

/* The kernels of a step, ready to be launched. */
typedef struct sa_gpu_step {
  const sa_gpu_kernel *kernel;
  sa_gpu_loaded *loaded;
  void *run, *combine; /* functions */
} sa_gpu_step;

typedef struct sa_gpu_attention {
  const sa_gpu_kernel *kernel;
  int64_t stack; /* heads of a tile */
  /* The attention with the GPU's tiles, for the code that makes plans. */
  sa_attention code;
  sa_level level;
  sa_gpu_items items, combined;
  int64_t slots;
  size_t entries;    /* an offset in `memory` of the plan */
  size_t runs, bits; /* the same, or in `listed` if that is there */
  /* Where the GPU lists the tiles: its memory, and what it says of each query tile of
   * each plane whose mask may differ. */
  char *listed;
  size_t listed_bytes;
  sa_gpu_list *lists;
  int64_t batches, heads; /* such planes */
  char **tables; /* by number: sa_gpu_reach in its memory, while kernels ask; or NULL */
  size_t table_bytes, table_pointers; /* of these; an offset in `memory` of the plan */
  int32_t hop_table;                  /* of the distances that the kernel reads, or -1 */
  size_t hop_index, hops;             /* offsets */
} sa_gpu_attention;

typedef struct sa_gpu_plan {
  sa_gpu_device device;
  bool open;
  sa_gpu_step *steps;           /* as in the kernel */
  sa_gpu_attention *attentions; /* as in the plan */
  char *memory;                 /* of the device */
  size_t bytes;
  sa_view *views; /* by value id: layout operands in `memory`, or in their own */
  /* Operands that came in the GPU's memory and stay there; it lists the tiles that are
   * listed of them. */
  bool lists_tiles;
  void **operands; /* by value id: memory of those, or NULL */
  size_t operand_bytes;
  sa_gpu_list *sampled; /* by attention: see gpu_sample.c */
} sa_gpu_plan;

/* What is known of an attention of the plan. */
static inline sa_gpu_attention *sa_gpu_of(const sparse_attn_plan *plan,
                                          const sa_plan_attention *attention) {
  return &plan->gpu->attentions[attention - plan->attentions];
}
/* Whether the GPU has listed, or will list, its tiles. */
static inline bool sa_gpu_lists(const sparse_attn_plan *plan,
                                const sa_plan_attention *attention) {
  return plan->gpu && plan->gpu->lists_tiles && sa_has_table(attention);
}

/* Whether `options` ask for a GPU. */
static inline bool sa_wants_gpu(const sparse_attn_options *options) {
  return options && options->device.device_type != 0 &&
         options->device.device_type != kDLCPU;
}

/* Blocks that the device runs at the same time, as far as their shared memory tells. */
int64_t sa_gpu_resident_blocks(const sparse_attn_plan *plan, const sa_gpu_kernel *kernel);

/* Opens the device, chooses kernels for it, and gives plan->attentions its tiles. */
sparse_attn_status sa_gpu_open(sparse_attn_plan *plan,
                               const sparse_attn_options *options);

/* Adds copies of the layout operands that came here; `views` get their places in the
 * image, and with sa_gpu_move_operands pointers. */
typedef struct sa_gpu_image sa_gpu_image;
bool sa_gpu_place_operands(const sparse_attn_plan *plan, sa_gpu_image *image,
                           sa_view *views);
void sa_gpu_move_operands(const sparse_attn_plan *plan, char *memory, sa_view *views);

/* Brings an image, if it has bytes, into memory of its own. */
sparse_attn_status sa_gpu_send(const sparse_attn_plan *plan, const sa_gpu_image *image,
                               char **memory);
/* Frees memory of a device; NULL is allowed. */
void sa_gpu_release(const sa_gpu_device *device, void *memory);

/* Brings what the finished plan knows into the device's memory. */
sparse_attn_status sa_gpu_upload(sparse_attn_plan *plan);

void sa_gpu_destroy(sparse_attn_plan *plan);

/*===--- gpu_operands.c ---------------------------------------------------===*/

/* A copy here of an operand in the GPU's memory (operands.c). */
sparse_attn_status sa_download_operand(const sparse_attn_plan *plan,
                                       const sa_tensor *spec, const sa_view *given,
                                       sa_view *copy);

/* Decides whether operands stay where they are: those that lists are made of, where
 * nothing but the GPU's kernels wants to read them. */
void sa_gpu_choose_place(const sparse_attn_plan *plan, const DLTensor *const *layout);

/* Whether layout operand `id` stays in the GPU's memory. */
bool sa_gpu_keeps_operand(const sparse_attn_plan *plan, int32_t id);

/* A copy of it in the GPU's memory; `*shape` gets its sizes, and no data. */
sparse_attn_status sa_gpu_copy_operand(const sparse_attn_plan *plan, int32_t id,
                                       const sa_view *given, sa_view *shape);

/* Copies here of all that stay there, for questions that are asked here: `views` are
 * those of the plan else. */
sparse_attn_status sa_gpu_bring_operands(const sparse_attn_plan *plan, sa_view *views);
/* Frees them, and the views; NULL is allowed. */
void sa_gpu_drop_operands(const sparse_attn_plan *plan, sa_view *views);

/*===--- gpu_items.c ------------------------------------------------------===*/

/* What the device's memory will hold, from its beginning on. */
struct sa_gpu_image {
  sa_buffer bytes;
};

/* Room for `bytes` at an aligned place at the end, and that place; NULL without
 * memory. */
void *sa_gpu_place(sa_gpu_image *image, size_t bytes, size_t *at);

/* Appends the items, lists and lengths of an attention. OUT_OF_MEMORY or OVERFLOW. */
sparse_attn_status sa_gpu_list_items(const sparse_attn_plan *plan,
                                     const sa_plan_attention *attention,
                                     sa_gpu_attention *gpu, sa_gpu_image *image);

/* The lengths of the batch entries. */
bool sa_gpu_place_entries(const sparse_attn_plan *plan,
                          const sa_plan_attention *attention, sa_gpu_image *image,
                          size_t *at);

/*===--- gpu_tables.c -----------------------------------------------------===*/

/* Brings the tables of an attention into the GPU's memory, if they are not there. They
 * stay until they are dropped, or the plan is. */
sparse_attn_status sa_gpu_send_tables(const sparse_attn_plan *plan,
                                      const sa_plan_attention *attention);
/* Appends the array that sa_gpu_args::tables points at. */
bool sa_gpu_place_tables(const sparse_attn_plan *plan, const sa_plan_attention *attention,
                         sa_gpu_image *image, size_t *at);
void sa_gpu_drop_tables(const sparse_attn_plan *plan, const sa_plan_attention *attention);

/*===--- gpu_lists.c ------------------------------------------------------===*/

/* Has the GPU check the operands that stay there. */
sparse_attn_status sa_gpu_check_operands(sparse_attn_plan *plan);

/* Finds a kernel of `attention` that checks, counts or lists, and starts it. */
sparse_attn_status sa_gpu_start_lister(const sparse_attn_plan *plan,
                                       const sa_plan_attention *attention,
                                       const char *name, const sa_view *values,
                                       const sa_gpu_args *args, int64_t blocks);
/* What it has to know of the attention, and of a query tile. */
sa_gpu_args sa_gpu_list_args(const sparse_attn_plan *plan,
                             const sa_plan_attention *attention);
sa_gpu_item sa_gpu_list_item(const sa_plan_attention *attention, int64_t b, int64_t h,
                             int64_t row_tile);

sparse_attn_status sa_gpu_download(const sparse_attn_plan *plan, void *to,
                                   const void *from, size_t bytes);

/* Lists in the making. */
typedef struct sa_gpu_lister {
  const sparse_attn_plan *plan;
  const sa_plan_attention *attention;
  sa_gpu_attention *gpu;
  char *memory; /* of the GPU, while lists are made */
  size_t entries, items, lists, table_pointers;
  sa_view *values;
  int64_t count; /* of lists */
} sa_gpu_lister;

/* Allocates gpu->lists and has them counted: tiles, runs and bits of each. Close it in
 * any case. */
sparse_attn_status sa_gpu_count_lists(const sparse_attn_plan *plan,
                                      const sa_plan_attention *attention,
                                      sa_gpu_attention *gpu, sa_gpu_lister *lister);

/* Writes the lists, of so many runs and bits in all, into gpu->listed, where gpu->lists
 * say; fills `shares`. */
sparse_attn_status sa_gpu_write_lists(sa_gpu_lister *lister, int64_t runs, int64_t bits,
                                      sa_gpu_share *shares, int64_t share_count);
void sa_gpu_close_lister(sa_gpu_lister *lister);

/* Fetches the runs of `count` lists of plane (b, h) from query tile `row_tile` on. */
sparse_attn_status sa_gpu_fetch_runs(const sparse_attn_plan *plan,
                                     const sa_plan_attention *attention, int64_t b,
                                     int64_t h, int64_t row_tile, int64_t count,
                                     sa_buffer *runs);
/* List number `row_tile` of them, which begin with number `first`. */
sa_run_list sa_gpu_fetched_list(const sparse_attn_plan *plan,
                                const sa_plan_attention *attention, int64_t b, int64_t h,
                                int64_t first, int64_t row_tile, const sa_buffer *runs);

/*===--- gpu_sample.c -----------------------------------------------------===*/

/* Has the GPU count what the sampled query tiles (cost.c) of the attentions that it lists
 * visit, with each step that there is to choose from. */
sparse_attn_status sa_gpu_sample(sparse_attn_plan *plan);

/* What it has counted of sampled query tile number `sample` of an attention with the step
 * that it has now. */
sa_visited_tiles sa_gpu_sampled(const sparse_attn_plan *plan,
                                const sa_plan_attention *attention, int64_t sample);

/*===--- gpu_hops.c -------------------------------------------------------===*/

/* Distances of an attention's pairs, as sa_gpu_args has them. */
typedef struct sa_gpu_hops {
  const sa_reach *distances;
  sa_buffer index; /* int32_t */
  sa_buffer rows;  /* uint16_t */
} sa_gpu_hops;

/* Elements of a query tile in the index. */
static inline int64_t sa_gpu_hop_elements(int32_t tile_rows) {
  return 2 + (int64_t)tile_rows;
}

/* Appends those of the query tile after the last one, which visits `runs`, and numbers
 * its tiles in them. OUT_OF_MEMORY or OVERFLOW. */
sparse_attn_status sa_gpu_append_hops(sa_gpu_hops *hops, const sa_tile_query *query,
                                      int32_t tile_rows, sa_run *runs, int64_t count);

/*===--- gpu_run.c --------------------------------------------------------===*/

/* Of a kernel's parameters CUDA takes 4 KB, maps among them: so many values have views in
 * them. */
enum {
  SA_GPU_ARGUMENT_BYTES = 4096 - 2 * sizeof(sparse_attn_gpu_map) - 64,
  SA_GPU_MOST_VALUES =
      (SA_GPU_ARGUMENT_BYTES - sizeof(struct sa_gpu_args)) / sizeof(sa_view)
};

typedef union sa_gpu_arguments {
  sa_gpu_args args;
  char bytes[SA_GPU_ARGUMENT_BYTES];
} sa_gpu_arguments;

/* Starts a kernel, whose arguments get `values`; `maps` are those of K and V, or NULL.
 * `request` has no parameters yet. */
sparse_attn_status sa_gpu_launch(const sparse_attn_plan *plan, const sa_view *values,
                                 sa_gpu_arguments *arguments, sparse_attn_gpu_map *maps,
                                 sparse_attn_gpu_launch request);

sparse_attn_status sa_gpu_workspace_size(const sparse_attn_plan *plan, size_t *bytes);

/* Makes the views of temporaries in a workspace, and returns where the states of shares
 * are. */
char *sa_gpu_open_workspace(const sparse_attn_plan *plan, char *workspace,
                            sa_view *values);

/* Starts the kernels of a plan. */
sparse_attn_status sa_gpu_run(const sparse_attn_plan *plan, const sa_view *values,
                              char *states, void *stream);

#endif /* SPARSE_ATTN_RUNTIME_GPU_H */
