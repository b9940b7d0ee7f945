/*===- numbering.c - the elements of a set by number ----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "numbering.h"

#include <stdbool.h>

size_t sa_numbering_room_bytes(int64_t elements) {
  return 2 * ((size_t)sa_word_count(elements) + 1) * sizeof(uint32_t);
}

/* The first of the elements where they are neighbours, else -1. */
static int64_t find_first(const uint64_t *set, int64_t words, int64_t count) {
  int64_t low = 0, high = words - 1;
  while (low <= high && !set[low])
    ++low;
  while (low < high && !set[high])
    --high;
  if (low > high)
    return 0;
  int64_t first = low * SA_WORD_BITS + sa_lowest_bit(set[low]);
  int64_t last = high * SA_WORD_BITS + SA_WORD_BITS - 1 - __builtin_clzll(set[high]);
  return last - first + 1 == count ? first : -1;
}

sa_numbering sa_number_elements(const uint64_t *set, int64_t elements, void *room) {
  int64_t words = sa_word_count(elements);
  uint32_t *before = room, *start = before + words + 1, count = 0;
  for (int64_t w = 0; w < words; ++w) {
    before[w] = count;
    /* The last word to say so has number 64 i, or there is none. */
    start[(count + SA_WORD_BITS - 1) / SA_WORD_BITS] = (uint32_t)w;
    count += (uint32_t)sa_count_bits(set[w]);
  }
  sa_numbering numbering = {set,    words, count, find_first(set, words, count),
                            before, start};
  return numbering;
}

static const uint64_t kBytes = UINT64_C(0x0101010101010101);

/* How many of the bytes, each at most 64, are at most `most`, below 128. */
static int count_bytes_up_to(uint64_t bytes, uint64_t most) {
  uint64_t upper = kBytes << 7;
  uint64_t are = ((most * kBytes | upper) - bytes) & upper;
  return (int)((are >> 7) * kBytes >> 56);
}

/* Which bit of `word` is the `number`-th, from 0, that is set. */
static int64_t find_bit(uint64_t word, int64_t number) {
  if (word == UINT64_MAX)
    return number;
  uint64_t sums = sa_count_byte_bits(word) * kBytes; /* of each byte and those below */
  int byte = 8 * count_bytes_up_to(sums, (uint64_t)number);
  uint64_t rest = (uint64_t)number - ((sums << 8) >> byte & 0xff);
  /* The bits of that byte as bytes of their own, 0 or 1. */
  uint64_t bits = (word >> byte & 0xff) * kBytes & UINT64_C(0x8040201008040201);
  bits = (bits + (kBytes << 7) - kBytes) >> 7 & kBytes;
  return byte + count_bytes_up_to(bits * kBytes, rest);
}

int64_t sa_element(const sa_numbering *numbering, int64_t number) {
  if (numbering->first >= 0)
    return numbering->first + number;
  int64_t i = number / SA_WORD_BITS;
  int64_t low = numbering->start[i], high = numbering->words - 1;
  if ((i + 1) * SA_WORD_BITS < numbering->count)
    high = numbering->start[i + 1];
  while (low < high) {
    int64_t middle = low + (high - low + 1) / 2;
    bool is_below = numbering->before[middle] <= number;
    low = is_below ? middle : low;
    high = is_below ? high : middle - 1;
  }
  return low * SA_WORD_BITS +
         find_bit(numbering->set[low], number - numbering->before[low]);
}
