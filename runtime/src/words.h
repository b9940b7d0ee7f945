/*===- words.h - sets as words of 64 bits ---------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Element u of a set is bit u % 64 of word u / 64; the bits past the last element are 0.
 *
 *===----------------------------------------------------------------------===*/

#ifndef SPARSE_ATTN_RUNTIME_WORDS_H
#define SPARSE_ATTN_RUNTIME_WORDS_H

#include <stdint.h>

enum { SA_WORD_BITS = 64 };

/* Words of a set of `elements`. */
static inline int64_t sa_word_count(int64_t elements) {
  return (elements + SA_WORD_BITS - 1) / SA_WORD_BITS;
}

/* How many bits of each byte are set. */
static inline uint64_t sa_count_byte_bits(uint64_t word) {
  word -= word >> 1 & UINT64_C(0x5555555555555555);
  word =
      (word & UINT64_C(0x3333333333333333)) + (word >> 2 & UINT64_C(0x3333333333333333));
  return (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
}

/* How many bits are set. The builtin would be a call where x86-64 promises no popcnt. */
static inline int64_t sa_count_bits(uint64_t word) {
#if defined(__POPCNT__) || defined(__aarch64__)
  return __builtin_popcountll(word);
#else
  return (int64_t)(sa_count_byte_bits(word) * UINT64_C(0x0101010101010101) >> 56);
#endif
}

/* Which bit is the lowest that is set; `word` is not 0. */
static inline int64_t sa_lowest_bit(uint64_t word) { return __builtin_ctzll(word); }

/* The lowest `count` of the bits that are set, or all. */
static inline uint64_t sa_lowest_bits(uint64_t word, int64_t count) {
  uint64_t rest = word;
  for (; count > 0 && rest; --count)
    rest &= rest - 1;
  return word & ~rest;
}

/* Lists the elements of a word, whose first one would be `first`, and returns how many
 * they are. Some at a time, and then again: where a loop ends after a few elements, no
 * processor foresees. Up to SA_LIST_MORE elements behind the last one are overwritten. */
enum { SA_LIST_MORE = 7 };
static inline int64_t sa_list_word(uint64_t word, int64_t first, int32_t *list) {
  for (uint64_t rest = word; rest; list += SA_LIST_MORE + 1)
    for (int i = 0; i <= SA_LIST_MORE; ++i, rest &= rest - 1)
      list[i] = (int32_t)(first + __builtin_ctzll(rest | UINT64_C(1) << 63));
  return sa_count_bits(word);
}

/* How many elements a set of `words` words has. */
static inline int64_t sa_count_elements(const uint64_t *set, int64_t words) {
  int64_t count = 0;
  for (int64_t w = 0; w < words; ++w)
    count += set[w] == UINT64_MAX ? SA_WORD_BITS : set[w] ? sa_count_bits(set[w]) : 0;
  return count;
}

#endif /* SPARSE_ATTN_RUNTIME_WORDS_H */
