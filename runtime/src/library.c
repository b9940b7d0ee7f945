/*===- library.c - loading libraries and listing their kernels ------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

/* dlopen, pthread. */
#define _POSIX_C_SOURCE 200809L

#include "gpu.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*===--- Loading ----------------------------------------------------------===*/

/* Libraries that sparse_attn_library_open gave out: close needs their handle. */
typedef struct opened_library {
  const sparse_attn_library *library;
  void *handle;
  struct opened_library *next;
} opened_library;

static pthread_mutex_t opened_mutex = PTHREAD_MUTEX_INITIALIZER;
static opened_library *opened;

/* The architecture that this runtime is compiled for, as ELF numbers it. */
#if defined(__x86_64__)
enum { kMachine = EM_X86_64 };
#elif defined(__aarch64__)
enum { kMachine = EM_AARCH64 };
#else
enum { kMachine = EM_NONE }; /* dlopen decides */
#endif

/* "AArch64" */
static const char *name_machine(int machine, char *number, size_t size) {
  if (machine == EM_X86_64)
    return "x86-64";
  if (machine == EM_AARCH64)
    return "AArch64";
  snprintf(number, size, "architecture %d of ELF", machine);
  return number;
}

static bool is_inside(uint64_t offset, uint64_t bytes, uint64_t file_bytes) {
  return offset <= file_bytes && bytes <= file_bytes - offset;
}

/* Reads the headers of an open file and finds what dlopen would only notice by
 * a bus error: segments that are not in the file. */
static sparse_attn_status check_elf(const char *path, FILE *file) {
  Elf64_Ehdr header;
  if (fread(&header, 1, sizeof(header), file) != sizeof(header))
    return sa_fail(SPARSE_ATTN_LOAD_FAILED,
                   ferror(file) ? "cannot read '%s'"
                                : "'%s' is too short to be a shared library",
                   path);
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_type != ET_DYN)
    return sa_fail(SPARSE_ATTN_LOAD_FAILED, "'%s' is not a 64-bit shared library", path);
  if (kMachine != EM_NONE && header.e_machine != kMachine) {
    char theirs[48], ours[48];
    return sa_fail(SPARSE_ATTN_LOAD_FAILED,
                   "'%s' was compiled for %s, and this is %s; compile it again with the "
                   "--target of this machine",
                   path, name_machine(header.e_machine, theirs, sizeof(theirs)),
                   name_machine(kMachine, ours, sizeof(ours)));
  }

  long end = fseek(file, 0, SEEK_END) ? -1 : ftell(file);
  if (end < 0)
    return sa_fail(SPARSE_ATTN_LOAD_FAILED, "cannot read '%s'", path);
  uint64_t bytes = (uint64_t)end;
  bool whole =
      header.e_phentsize == sizeof(Elf64_Phdr) &&
      is_inside(header.e_phoff, (uint64_t)header.e_phnum * sizeof(Elf64_Phdr), bytes) &&
      is_inside(header.e_shoff, (uint64_t)header.e_shnum * header.e_shentsize, bytes);
  for (unsigned i = 0; whole && i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    long at = (long)(header.e_phoff + i * sizeof(segment));
    whole = !fseek(file, at, SEEK_SET) &&
            fread(&segment, 1, sizeof(segment), file) == sizeof(segment) &&
            (segment.p_type == PT_NULL ||
             is_inside(segment.p_offset, segment.p_filesz, bytes));
  }
  if (!whole)
    return sa_fail(SPARSE_ATTN_LOAD_FAILED,
                   "'%s' is truncated: its headers name bytes past its end", path);
  return SPARSE_ATTN_OK;
}

static sparse_attn_status check_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file)
    return sa_fail(SPARSE_ATTN_LOAD_FAILED, "cannot open '%s': %s", path,
                   strerror(errno));
  sparse_attn_status status = check_elf(path, file);
  fclose(file);
  return status;
}

/* dlopen looks a bare name up in the system's folders: name the file itself. */
static void *open_handle(const char *path) {
  if (strchr(path, '/'))
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
  size_t bytes = strlen(path) + sizeof("./");
  char *here = malloc(bytes);
  if (!here)
    return NULL;
  snprintf(here, bytes, "./%s", path);
  void *handle = dlopen(here, RTLD_NOW | RTLD_LOCAL);
  free(here);
  return handle;
}

/* Checks what SA_LIBRARY_SYMBOL points at. `name` is for the message. */
static sparse_attn_status check_library(const sparse_attn_library *library,
                                        const char *name) {
  if (!library)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "library is null");
  if (library->magic != SA_LIBRARY_MAGIC)
    return sa_fail(SPARSE_ATTN_LOAD_FAILED,
                   "%s is not a sparse-attn library: its descriptor has no "
                   "magic word",
                   name);
  if (library->abi_version != SPARSE_ATTN_ABI_VERSION)
    return sa_fail(SPARSE_ATTN_ABI_MISMATCH,
                   "%s was compiled for interface version %u, this runtime has "
                   "version %u; compile it again with the matching "
                   "sparse-attn-compile",
                   name, (unsigned)library->abi_version,
                   (unsigned)SPARSE_ATTN_ABI_VERSION);
  return SPARSE_ATTN_OK;
}

static sparse_attn_status open_checked(const char *path, opened_library *entry) {
  entry->handle = open_handle(path);
  if (!entry->handle) {
    const char *reason = dlerror();
    return sa_fail(SPARSE_ATTN_LOAD_FAILED, "cannot load '%s': %s", path,
                   reason ? reason : "out of memory");
  }
  entry->library = dlsym(entry->handle, SA_LIBRARY_SYMBOL);
  if (!entry->library)
    return sa_fail(SPARSE_ATTN_LOAD_FAILED,
                   "'%s' is not a sparse-attn library: it has no symbol "
                   "'" SA_LIBRARY_SYMBOL "'",
                   path);
  char name[512];
  snprintf(name, sizeof(name), "'%s'", path);
  return check_library(entry->library, name);
}

sparse_attn_status sparse_attn_library_open(const char *path,
                                            const sparse_attn_library **library) {
  if (!library)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "library is null");
  *library = NULL;
  if (!path)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "path is null");
  sparse_attn_status status = check_file(path);
  if (status)
    return status;

  opened_library *entry = sa_allocate_zeroed(1, sizeof(*entry));
  if (!entry)
    return sa_fail(SPARSE_ATTN_OUT_OF_MEMORY, "out of memory to load '%s'", path);
  status = open_checked(path, entry);
  if (status) {
    if (entry->handle)
      dlclose(entry->handle);
    free(entry);
    return status;
  }
  *library = entry->library;
  pthread_mutex_lock(&opened_mutex);
  entry->next = opened;
  opened = entry;
  pthread_mutex_unlock(&opened_mutex);
  return SPARSE_ATTN_OK;
}

void sparse_attn_library_close(const sparse_attn_library *library) {
  opened_library *entry = NULL;
  pthread_mutex_lock(&opened_mutex);
  for (opened_library **at = &opened; *at; at = &(*at)->next) {
    if ((*at)->library != library)
      continue;
    entry = *at;
    *at = entry->next;
    break;
  }
  pthread_mutex_unlock(&opened_mutex);
  /* Not in the list: NULL, or linked into the program. */
  if (!entry)
    return;
  sa_gpu_forget(library);
  dlclose(entry->handle);
  free(entry);
}

/*===--- Listing ----------------------------------------------------------===*/

const char *sparse_attn_library_manifest(const sparse_attn_library *library) {
  return check_library(library, "the library") ? NULL : library->manifest;
}

size_t sparse_attn_kernel_count(const sparse_attn_library *library) {
  return check_library(library, "the library") ? 0 : library->kernel_count;
}

const sparse_attn_kernel *sparse_attn_kernel_at(const sparse_attn_library *library,
                                                size_t index) {
  if (check_library(library, "the library"))
    return NULL;
  if (index < library->kernel_count)
    return &library->kernels[index];
  sa_fail(SPARSE_ATTN_NOT_FOUND, "no kernel %zu: the library holds %u", index,
          (unsigned)library->kernel_count);
  return NULL;
}

sparse_attn_status sparse_attn_kernel_find(const sparse_attn_library *library,
                                           const char *name,
                                           const sparse_attn_kernel **kernel) {
  if (!kernel)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "kernel is null");
  *kernel = NULL;
  sparse_attn_status status = check_library(library, "the library");
  if (status)
    return status;
  if (!name)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "name is null");
  for (uint32_t i = 0; i < library->kernel_count; ++i) {
    if (strcmp(library->kernels[i].name, name) == 0) {
      *kernel = &library->kernels[i];
      return SPARSE_ATTN_OK;
    }
  }
  char names[512] = "";
  size_t used = 0;
  for (uint32_t i = 0; i < library->kernel_count && used < sizeof(names); ++i)
    used += (size_t)snprintf(names + used, sizeof(names) - used, "%s'%s'", i ? ", " : "",
                             library->kernels[i].name);
  return sa_fail(SPARSE_ATTN_NOT_FOUND, "no kernel '%s'; the library holds %s", name,
                 *names ? names : "none");
}

const char *sparse_attn_kernel_name(const sparse_attn_kernel *kernel) {
  if (kernel)
    return kernel->name;
  sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "kernel is null");
  return NULL;
}

size_t sparse_attn_kernel_input_count(const sparse_attn_kernel *kernel) {
  return kernel ? (size_t)kernel->input_count : 0;
}

size_t sparse_attn_kernel_output_count(const sparse_attn_kernel *kernel) {
  return kernel ? (size_t)kernel->output_count : 0;
}

static sparse_attn_status describe(const sparse_attn_kernel *kernel,
                                   const sa_tensor *tensors, int32_t count,
                                   const char *kind, size_t index,
                                   sparse_attn_tensor_info *info) {
  if (index >= (size_t)count)
    return sa_fail(SPARSE_ATTN_NOT_FOUND, "kernel '%s' has no %s %zu, only %d",
                   kernel->name, kind, index, (int)count);
  const sa_tensor *tensor = &tensors[index];
  info->name = tensor->name;
  info->layout = tensor->layout;
  info->dtype.code = (uint8_t)tensor->type_code;
  info->dtype.bits = (uint8_t)tensor->type_bits;
  info->dtype.lanes = 1;
  info->rank = tensor->rank;
  for (int i = 0; i < 4; ++i)
    info->dims[i] = i < tensor->rank ? tensor->dims[i] : -1;
  return SPARSE_ATTN_OK;
}

sparse_attn_status sparse_attn_kernel_input_info(const sparse_attn_kernel *kernel,
                                                 size_t index,
                                                 sparse_attn_tensor_info *info) {
  if (!kernel || !info)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "%s is null",
                   kernel ? "info" : "kernel");
  return describe(kernel, kernel->inputs, kernel->input_count, "input", index, info);
}

sparse_attn_status sparse_attn_kernel_output_info(const sparse_attn_kernel *kernel,
                                                  size_t index,
                                                  sparse_attn_tensor_info *info) {
  if (!kernel || !info)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "%s is null",
                   kernel ? "info" : "kernel");
  return describe(kernel, kernel->outputs, kernel->output_count, "output", index, info);
}
