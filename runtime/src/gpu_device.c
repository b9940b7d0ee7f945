/*===- gpu_device.c - devices and the modules that they have loaded -------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Loading PTX compiles it, which takes longer than most plans: CUDA keeps what it has
 * loaded until the library that holds the module is closed. Other drivers may go before
 * that, so theirs is unloaded with the last plan that uses it.
 *
 *===----------------------------------------------------------------------===*/

/* pthread. */
#define _POSIX_C_SOURCE 200809L

#include "gpu.h"

#include <pthread.h>
#include <stdlib.h>

struct sa_gpu_loaded {
  sa_gpu_device device;
  const sa_gpu_module *module;
  void *loaded;
  int users;
  sa_gpu_loaded *next;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static sa_gpu_loaded *modules;

sparse_attn_status sa_gpu_check(const sparse_attn_kernel *kernel,
                                const sa_gpu_device *device, const char *error) {
  return error ? sa_fail(SPARSE_ATTN_GPU_FAILED, "kernel '%s': %s device %d: %s",
                         kernel->name, device->driver->name, device->number, error)
               : SPARSE_ATTN_OK;
}

static sa_gpu_loaded *find_loaded(const sa_gpu_device *device,
                                  const sa_gpu_module *module) {
  for (sa_gpu_loaded *each = modules; each; each = each->next)
    if (each->module == module && each->device.driver == device->driver &&
        each->device.number == device->number)
      return each;
  return NULL;
}

/* A module keeps its device open. */
static const char *load(const sa_gpu_device *device, const sa_gpu_module *module,
                        sa_gpu_loaded *made) {
  const sparse_attn_gpu_driver *driver = device->driver;
  made->device = *device;
  made->module = module;
  const char *error = driver->open(driver->context, device->number, &made->device.facts);
  if (error)
    return error;
  error = driver->load(driver->context, device->number, module, &made->loaded);
  if (error)
    driver->close(driver->context, device->number);
  return error;
}

sparse_attn_status sa_gpu_load(const sparse_attn_kernel *kernel,
                               const sa_gpu_device *device, const sa_gpu_module *module,
                               sa_gpu_loaded **loaded) {
  pthread_mutex_lock(&mutex);
  sa_gpu_loaded *found = find_loaded(device, module);
  sparse_attn_status status = SPARSE_ATTN_OK;
  if (!found) {
    found = sa_allocate_zeroed(1, sizeof(*found));
    status = found ? sa_gpu_check(kernel, device, load(device, module, found))
                   : sa_fail(SPARSE_ATTN_OUT_OF_MEMORY,
                             "kernel '%s': no memory for a plan", kernel->name);
    if (status) {
      free(found);
      found = NULL;
    } else {
      found->next = modules;
      modules = found;
    }
  }
  if (found)
    ++found->users;
  *loaded = found;
  pthread_mutex_unlock(&mutex);
  return status;
}

/* Unloads the module that `link` points to. */
static void unload(sa_gpu_loaded **link) {
  sa_gpu_loaded *gone = *link;
  const sparse_attn_gpu_driver *driver = gone->device.driver;
  *link = gone->next;
  driver->unload(driver->context, gone->device.number, gone->loaded);
  driver->close(driver->context, gone->device.number);
  free(gone);
}

void sa_gpu_unload(sa_gpu_loaded *loaded) {
  if (!loaded)
    return;
  pthread_mutex_lock(&mutex);
  if (--loaded->users == 0 && loaded->device.driver != sparse_attn_cuda_driver()) {
    sa_gpu_loaded **link = &modules;
    while (*link != loaded)
      link = &(*link)->next;
    unload(link);
  }
  pthread_mutex_unlock(&mutex);
}

sparse_attn_status sa_gpu_find(const sparse_attn_kernel *kernel,
                               const sa_gpu_device *device, const sa_gpu_loaded *loaded,
                               const char *name, int32_t shared_bytes, void **function) {
  const sparse_attn_gpu_driver *driver = device->driver;
  return sa_gpu_check(kernel, device,
                      driver->find(driver->context, device->number, loaded->loaded, name,
                                   shared_bytes, function));
}

static bool is_of(const sparse_attn_library *library, const sa_gpu_module *module) {
  for (uint32_t k = 0; k < library->kernel_count; ++k)
    for (int32_t s = 0; s < library->kernels[k].step_count; ++s) {
      const sa_step *step = &library->kernels[k].steps[s];
      for (int32_t g = 0; g < step->gpu_count; ++g)
        if (step->gpus[g].module == module)
          return true;
    }
  return false;
}

void sa_gpu_forget(const sparse_attn_library *library) {
  pthread_mutex_lock(&mutex);
  for (sa_gpu_loaded **link = &modules; *link;)
    if ((*link)->users == 0 && is_of(library, (*link)->module))
      unload(link);
    else
      link = &(*link)->next;
  pthread_mutex_unlock(&mutex);
}
