/*===- numbering.h - the elements of a set by number ----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * The elements of a set of words.h are numbered from 0 in ascending order. A directory
 * in the caller's room, a sixteenth of a word for each element that there may be, gives
 * the element of a number in a search of the words between two multiples of 64 numbers.
 *
 *===----------------------------------------------------------------------===*/

#ifndef SPARSE_ATTN_RUNTIME_NUMBERING_H
#define SPARSE_ATTN_RUNTIME_NUMBERING_H

#include "words.h"

#include <stddef.h>

typedef struct sa_numbering {
  const uint64_t *set;
  int64_t words, count;   /* of the set; how many elements it has */
  int64_t first;          /* of the elements where they are neighbours, else -1 */
  const uint32_t *before; /* [words] elements of the words before */
  const uint32_t *start;  /* [count / 64 + 1] the word of every 64th number */
} sa_numbering;

/* What sa_number_elements needs, aligned for an int, for a set of `elements`, below
 * 2^31. */
size_t sa_numbering_room_bytes(int64_t elements);

/* The numbering refers to `set` and `room`. */
sa_numbering sa_number_elements(const uint64_t *set, int64_t elements, void *room);

/* The element of a number in [0, numbering->count). */
int64_t sa_element(const sa_numbering *numbering, int64_t number);

#endif /* SPARSE_ATTN_RUNTIME_NUMBERING_H */
