/*===- buffer.c - memory and arithmetic that can fail ---------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* Pointer differences must work inside any object. */
static const size_t kLargestObject = PTRDIFF_MAX;

bool sa_add(size_t a, size_t b, size_t *sum) {
  if (a > kLargestObject || b > kLargestObject - a)
    return false;
  *sum = a + b;
  return true;
}

bool sa_multiply(size_t a, size_t b, size_t *product) {
  if (b != 0 && a > kLargestObject / b)
    return false;
  *product = a * b;
  return true;
}

bool sa_align(size_t bytes, size_t *aligned) {
  if (!sa_add(bytes, SA_ALIGNMENT - 1, aligned))
    return false;
  *aligned -= *aligned % SA_ALIGNMENT;
  return true;
}

void *sa_allocate(size_t count, size_t size) {
  size_t bytes;
  if (!sa_multiply(count, size, &bytes))
    return NULL;
  return malloc(bytes ? bytes : 1);
}

void *sa_allocate_zeroed(size_t count, size_t size) {
  return count && size ? calloc(count, size) : calloc(1, 1);
}

void *sa_buffer_extend(sa_buffer *buffer, size_t bytes) {
  size_t needed;
  if (!sa_add(buffer->size, bytes, &needed))
    return NULL;
  if (needed > buffer->capacity || !buffer->data) {
    size_t capacity = buffer->capacity + buffer->capacity / 2;
    if (capacity < needed)
      capacity = needed;
    if (capacity < 256)
      capacity = 256;
    char *data = realloc(buffer->data, capacity);
    if (!data)
      return NULL;
    buffer->data = data;
    buffer->capacity = capacity;
  }
  void *room = buffer->data + buffer->size;
  buffer->size = needed;
  return room;
}

void sa_buffer_trim(sa_buffer *buffer) {
  if (buffer->size == buffer->capacity || buffer->size == 0)
    return;
  char *data = realloc(buffer->data, buffer->size);
  if (!data)
    return;
  buffer->data = data;
  buffer->capacity = buffer->size;
}

/* Bottom-up merge sort: qsort may allocate, and is allowed to be quadratic. */
void sa_sort(uint64_t *values, size_t count, uint64_t *scratch) {
  uint64_t *from = values, *to = scratch;
  for (size_t width = 1; width < count; width *= 2) {
    for (size_t begin = 0; begin < count; begin += 2 * width) {
      size_t middle = begin + width < count ? begin + width : count;
      size_t end = middle + width < count ? middle + width : count;
      size_t left = begin, right = middle;
      for (size_t i = begin; i < end; ++i)
        to[i] = left < middle && (right == end || from[left] <= from[right])
                    ? from[left++]
                    : from[right++];
    }
    uint64_t *swap = from;
    from = to;
    to = swap;
  }
  if (from != values)
    memcpy(values, from, count * sizeof(*values));
}
