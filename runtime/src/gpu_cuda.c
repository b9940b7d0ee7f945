/*===- gpu_cuda.c - CUDA's driver, loaded when it is needed ---------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Declares the dozen functions of CUDA's driver that the runtime calls, as the CUDA
 * Driver API's manual has them: neither its headers nor its libraries are needed to build
 * or to load the runtime. Devices are used by their primary context, which PyTorch and
 * CUDA's own runtime share.
 *
 *===----------------------------------------------------------------------===*/

/* dlopen, pthread. */
#define _POSIX_C_SOURCE 200809L

#include "internal.h"
#include "sparse_attn/gpu.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int cu_result; /* 0: done */
typedef uint64_t cu_memory;

enum {
  CU_SHARED_BYTES_OPTIN = 97, /* of attributes of a device */
  CU_MULTIPROCESSORS = 16,
  CU_MAJOR = 75,
  CU_MINOR = 76,
  CU_FUNCTION_SHARED_BYTES = 8 /* of attributes of a function */
};
enum { CU_NO_BINARY = 209 }; /* of results */

/* CUDA_MEMCPY2D. */
typedef struct cu_copy_2d {
  struct {
    size_t x, y;
    int type; /* of memory */
    const void *host;
    cu_memory device;
    void *array;
    size_t pitch; /* bytes from row to row */
  } from, to;
  size_t row_bytes, rows;
} cu_copy_2d;
enum { CU_MEMORY_DEVICE = 2 };

/* X(member, symbol, parameters) */
#define CUDA_FUNCTIONS(X)                                                                \
  X(init, "cuInit", (unsigned flags))                                                    \
  X(count, "cuDeviceGetCount", (int *count))                                             \
  X(device, "cuDeviceGet", (int *device, int number))                                    \
  X(device_name, "cuDeviceGetName", (char *name, int size, int device))                  \
  X(device_attribute, "cuDeviceGetAttribute", (int *value, int attribute, int device))   \
  X(retain, "cuDevicePrimaryCtxRetain", (void **context, int device))                    \
  X(drop, "cuDevicePrimaryCtxRelease_v2", (int device))                                  \
  X(push, "cuCtxPushCurrent_v2", (void *context))                                        \
  X(pop, "cuCtxPopCurrent_v2", (void **context))                                         \
  X(load, "cuModuleLoadDataEx",                                                          \
    (void **module, const void *image, unsigned count, int *options, void **values))     \
  X(unload, "cuModuleUnload", (void *module))                                            \
  X(function, "cuModuleGetFunction", (void **function, void *module, const char *name))  \
  X(set_attribute, "cuFuncSetAttribute", (void *function, int attribute, int value))     \
  X(allocate, "cuMemAlloc_v2", (cu_memory * memory, size_t bytes))                       \
  X(release, "cuMemFree_v2", (cu_memory memory))                                         \
  X(upload, "cuMemcpyHtoD_v2", (cu_memory to, const void *from, size_t bytes))           \
  X(download, "cuMemcpyDtoH_v2", (void *to, cu_memory from, size_t bytes))               \
  X(copy, "cuMemcpyDtoD_v2", (cu_memory to, cu_memory from, size_t bytes))               \
  X(copy_rows, "cuMemcpy2DUnaligned_v2", (const cu_copy_2d *copy))                       \
  X(launch, "cuLaunchKernel",                                                            \
    (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,                  \
     unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,        \
     void *stream, void **parameters, void **extra))                                     \
  X(wait_for_stream, "cuStreamSynchronize", (void *stream))                              \
  X(wait_for_all, "cuCtxSynchronize", (void))                                            \
  X(error_text, "cuGetErrorString", (cu_result result, const char **text))

/* Of the drivers since CUDA 12: cuTensorMapEncodeTiled, whose enumerations are ints. */
typedef cu_result (*encode_tiled)(void *map, int type, unsigned rank, void *address,
                                  const uint64_t *sizes, const uint64_t *strides,
                                  const uint32_t *box, const uint32_t *element_strides,
                                  int interleave, int swizzle, int promotion, int fill);
enum { CU_MAP_F16 = 6, CU_MAP_BF16 = 9, CU_SWIZZLE_128 = 3, CU_PROMOTE_256 = 3 };

#define DECLARE(member, symbol, parameters) cu_result(*member) parameters;
typedef struct cuda_functions {
  CUDA_FUNCTIONS(DECLARE)
} cuda_functions;
#undef DECLARE

enum { kMostDevices = 64 };

/* Guards what follows, but for functions once they are there. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static cuda_functions cuda;
static encode_tiled encode;
static bool ready;
static struct {
  void *context;
  int device, opened; /* how often */
  int major, minor;
} devices[kMostDevices];

static _Thread_local char message[256];

/*===--- Messages ---------------------------------------------------------===*/

static const char *say(const char *format, const char *detail) {
  snprintf(message, sizeof(message), format, detail);
  return message;
}

/* NULL where `result` is 0. */
static const char *check(cu_result result, const char *what) {
  const char *text = NULL;
  if (result == 0)
    return NULL;
  if (cuda.error_text(result, &text) || !text)
    text = "an unknown error";
  snprintf(message, sizeof(message), "%s: %s (CUDA error %d)", what, text, result);
  return message;
}

/*===--- The driver -------------------------------------------------------===*/

static const char *load_driver(void) {
  const char *name = getenv("SPARSE_ATTN_CUDA");
  if (!name || !*name)
    name = "libcuda.so.1";
  /* Never closed: other parts of the process may use it, too. */
  void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    return say("there is no CUDA driver on this machine (%s)", dlerror());
#define FIND(member, symbol, parameters)                                                 \
  *(void **)&cuda.member = dlsym(handle, symbol);                                        \
  if (!cuda.member)                                                                      \
    return say("the CUDA driver has no %s: it is too old", symbol);
  CUDA_FUNCTIONS(FIND)
#undef FIND
  *(void **)&encode = dlsym(handle, "cuTensorMapEncodeTiled");
  return check(cuda.init(0), "cuInit");
}

static const char *open_context(int number) {
  int count = 0;
  const char *error = check(cuda.count(&count), "cuDeviceGetCount");
  if (error)
    return error;
  if (number < 0 || number >= count || number >= kMostDevices) {
    snprintf(message, sizeof(message), "there is no device %d; this machine has %d",
             number, count);
    return message;
  }
  int device = 0;
  error = check(cuda.device(&device, number), "cuDeviceGet");
  if (!error)
    error = check(cuda.device_attribute(&devices[number].major, CU_MAJOR, device),
                  "cuDeviceGetAttribute");
  if (!error)
    error = check(cuda.device_attribute(&devices[number].minor, CU_MINOR, device),
                  "cuDeviceGetAttribute");
  if (!error)
    error =
        check(cuda.retain(&devices[number].context, device), "cuDevicePrimaryCtxRetain");
  if (!error)
    devices[number].device = device;
  return error;
}

static const char *read_facts(int number, sparse_attn_gpu_facts *facts) {
  int device = devices[number].device, shared_bytes = 0, multiprocessors = 0;
  memset(facts, 0, sizeof(*facts));
  const char *error = check(cuda.device_name(facts->name, sizeof(facts->name), device),
                            "cuDeviceGetName");
  if (!error)
    error = check(cuda.device_attribute(&shared_bytes, CU_SHARED_BYTES_OPTIN, device),
                  "cuDeviceGetAttribute");
  if (!error)
    error = check(cuda.device_attribute(&multiprocessors, CU_MULTIPROCESSORS, device),
                  "cuDeviceGetAttribute");
  facts->capability = 10 * devices[number].major + devices[number].minor;
  facts->multiprocessors = multiprocessors;
  facts->shared_bytes = shared_bytes;
  return error;
}

static void close_locked(int number) {
  if (--devices[number].opened == 0)
    cuda.drop(devices[number].device);
}

static const char *cuda_open(void *unused, int number, sparse_attn_gpu_facts *facts) {
  (void)unused;
  pthread_mutex_lock(&mutex);
  const char *error = NULL;
  if (!ready)
    error = load_driver();
  ready = !error;
  if (!error && (number < 0 || number >= kMostDevices || !devices[number].opened))
    error = open_context(number);
  if (!error) {
    ++devices[number].opened;
    error = read_facts(number, facts);
    if (error)
      close_locked(number);
  }
  pthread_mutex_unlock(&mutex);
  return error;
}

static void cuda_close(void *unused, int number) {
  (void)unused;
  pthread_mutex_lock(&mutex);
  close_locked(number);
  pthread_mutex_unlock(&mutex);
}

/*===--- Everything else, in the device's context -------------------------===*/

static const char *enter(int number) {
  return check(cuda.push(devices[number].context), "cuCtxPushCurrent");
}

static const char *leave(const char *error) {
  void *context;
  cuda.pop(&context);
  return error;
}

/* A cubin runs on devices of its major capability; that they are not older is known. */
static bool fits_cubin(const sa_gpu_module *module, int number) {
  return module->cubin && devices[number].major == module->capability / 10;
}

static const char *cuda_load(void *unused, int number, const sa_gpu_module *module,
                             void **loaded) {
  (void)unused;
  const char *error = enter(number);
  if (error)
    return error;
  cu_result result = CU_NO_BINARY;
  if (fits_cubin(module, number))
    result = cuda.load(loaded, module->cubin, 0, NULL, NULL);
  if (result == CU_NO_BINARY)
    result = cuda.load(loaded, module->ptx, 0, NULL, NULL);
  return leave(check(result, "cuModuleLoadDataEx"));
}

static void cuda_unload(void *unused, int number, void *loaded) {
  (void)unused;
  if (enter(number))
    return;
  cuda.unload(loaded);
  leave(NULL);
}

static const char *cuda_find(void *unused, int number, void *loaded, const char *name,
                             int32_t shared_bytes, void **function) {
  (void)unused;
  const char *error = enter(number);
  if (error)
    return error;
  error = check(cuda.function(function, loaded, name), "cuModuleGetFunction");
  if (!error)
    error = check(cuda.set_attribute(*function, CU_FUNCTION_SHARED_BYTES, shared_bytes),
                  "cuFuncSetAttribute");
  return leave(error);
}

static const char *cuda_allocate(void *unused, int number, size_t bytes, void **memory) {
  (void)unused;
  const char *error = enter(number);
  if (error)
    return error;
  cu_memory address = 0;
  error = check(cuda.allocate(&address, bytes), "cuMemAlloc");
  *memory = (void *)(uintptr_t)address;
  return leave(error);
}

static void cuda_release(void *unused, int number, void *memory) {
  (void)unused;
  if (enter(number))
    return;
  cuda.release((uintptr_t)memory);
  leave(NULL);
}

static const char *cuda_upload(void *unused, int number, void *to, const void *from,
                               size_t bytes) {
  (void)unused;
  const char *error = enter(number);
  if (error)
    return error;
  error = check(cuda.upload((uintptr_t)to, from, bytes), "cuMemcpyHtoD");
  /* The copy may only have read `from`: streams that do not wait for the default one
   * would not see it. */
  if (!error)
    error = check(cuda.wait_for_stream(NULL), "cuStreamSynchronize");
  return leave(error);
}

/* Enters a device once that has done all that it was told; with an error it is left. */
static const char *enter_idle(int number) {
  const char *error = enter(number);
  if (!error && (error = check(cuda.wait_for_all(), "cuCtxSynchronize")))
    leave(error);
  return error;
}

/* Any stream may have been told to write what is copied. */
static const char *cuda_download(void *unused, int number, void *to, const void *from,
                                 size_t bytes) {
  (void)unused;
  const char *error = enter_idle(number);
  return error ? error
               : leave(check(cuda.download(to, (uintptr_t)from, bytes), "cuMemcpyDtoH"));
}

static const char *cuda_copy(void *unused, int number, void *to, const void *from,
                             int64_t rows, size_t bytes, int64_t stride) {
  (void)unused;
  const char *error = enter_idle(number);
  if (error)
    return error;
  /* One row has no limit to its bytes. */
  if (rows == 1)
    return leave(check(cuda.copy((uintptr_t)to, (uintptr_t)from, bytes), "cuMemcpyDtoD"));
  cu_copy_2d copy = {
      .from = {.type = CU_MEMORY_DEVICE,
               .device = (uintptr_t)from,
               .pitch = (size_t)stride},
      .to = {.type = CU_MEMORY_DEVICE, .device = (uintptr_t)to, .pitch = bytes},
      .row_bytes = bytes,
      .rows = (size_t)rows};
  return leave(check(cuda.copy_rows(&copy), "cuMemcpy2DUnaligned"));
}

static const char *cuda_wait(void *unused, int number) {
  (void)unused;
  const char *error = enter_idle(number);
  return error ? error : leave(NULL);
}

static const char *cuda_launch(void *unused, int number,
                               const sparse_attn_gpu_launch *launch) {
  (void)unused;
  const char *error = enter(number);
  if (error)
    return error;
  return leave(
      check(cuda.launch(launch->function, (unsigned)launch->blocks, 1, 1,
                        (unsigned)launch->threads, 1, 1, (unsigned)launch->shared_bytes,
                        launch->stream, launch->parameters, NULL),
            "cuLaunchKernel"));
}

static const char *cuda_map(void *unused, int number,
                            const sparse_attn_gpu_tensor *tensor,
                            sparse_attn_gpu_map *map) {
  (void)unused;
  if (!encode)
    return say("the CUDA driver has no %s: it is too old", "cuTensorMapEncodeTiled");
  const uint32_t ones[4] = {1, 1, 1, 1};
  const char *error = enter(number);
  if (error)
    return error;
  return leave(check(encode(map, tensor->is_bf16 ? CU_MAP_BF16 : CU_MAP_F16, 4,
                            tensor->data, tensor->sizes, tensor->strides, tensor->box,
                            ones, 0, CU_SWIZZLE_128, CU_PROMOTE_256, 0),
                     "cuTensorMapEncodeTiled"));
}

const sparse_attn_gpu_driver *sparse_attn_cuda_driver(void) {
  static const sparse_attn_gpu_driver driver = {.name = "CUDA",
                                                .open = cuda_open,
                                                .close = cuda_close,
                                                .load = cuda_load,
                                                .unload = cuda_unload,
                                                .find = cuda_find,
                                                .allocate = cuda_allocate,
                                                .release = cuda_release,
                                                .upload = cuda_upload,
                                                .download = cuda_download,
                                                .copy = cuda_copy,
                                                .map = cuda_map,
                                                .wait = cuda_wait,
                                                .launch = cuda_launch};
  return &driver;
}
