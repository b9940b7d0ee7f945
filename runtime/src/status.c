/*===- status.c - status codes and the last message -----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

#include <stdarg.h>
#include <stdio.h>

/* Fixed size, so that reporting that memory is short needs no memory. */
static _Thread_local char last_error[1024];

sparse_attn_status sa_fail(sparse_attn_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(last_error, sizeof(last_error), format, arguments);
  va_end(arguments);
  return status;
}

const char *sparse_attn_last_error(void) { return last_error; }

const char *sparse_attn_status_string(sparse_attn_status status) {
  switch (status) {
  case SPARSE_ATTN_OK:
    return "ok";
  case SPARSE_ATTN_INVALID_ARGUMENT:
    return "invalid argument";
  case SPARSE_ATTN_ABI_MISMATCH:
    return "ABI mismatch";
  case SPARSE_ATTN_LOAD_FAILED:
    return "load failed";
  case SPARSE_ATTN_UNSUPPORTED_CPU:
    return "unsupported CPU";
  case SPARSE_ATTN_OUT_OF_MEMORY:
    return "out of memory";
  case SPARSE_ATTN_OVERFLOW:
    return "overflow";
  case SPARSE_ATTN_WORKSPACE_TOO_SMALL:
    return "workspace too small";
  case SPARSE_ATTN_NOT_FOUND:
    return "not found";
  case SPARSE_ATTN_SAVE_FAILED:
    return "save failed";
  case SPARSE_ATTN_NO_GPU:
    return "no GPU";
  case SPARSE_ATTN_GPU_FAILED:
    return "GPU failed";
  }
  return "unknown status";
}

uint32_t sparse_attn_abi_version(void) { return SPARSE_ATTN_ABI_VERSION; }
