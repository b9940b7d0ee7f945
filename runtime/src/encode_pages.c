/*===- encode_pages.c - bounds of pages, and queries as they are ----------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encode.h"

/*===--- dot: nothing beside K --------------------------------------------===*/

static bool is_none_well_formed(const sa_encoding *code) {
  return code->query_words == code->head_dim;
}

static void encode_scaled_query(const sa_encoder *encoder, int64_t b, int64_t h,
                                int64_t i0, int64_t i1, void *query, float *scratch) {
  float *q = query;
  (void)i1, (void)scratch;
  sa_read_row(encoder, encoder->q, b, h, i0, encoder->code->head_dim, q);
  for (int32_t d = 0; d < encoder->code->head_dim; ++d)
    q[d] = (float)((double)q[d] * encoder->code->reals[0]);
}

static size_t no_floats(const sa_encoding *code) {
  (void)code;
  return 0;
}

const sa_encoding_kind sa_encode_none = {.reals = 1,
                                         .is_well_formed = is_none_well_formed,
                                         .scratch_floats = no_floats,
                                         .encode_query = encode_scaled_query};

/*===--- pages: least and largest numbers ---------------------------------===*/

static bool are_pages_well_formed(const sa_encoding *code) {
  int32_t word = code->states[0].word;
  return (word == SA_WORD_F32 || word == SA_WORD_F16 || word == SA_WORD_BF16) &&
         sa_is_state(code, 0, word, code->head_dim) &&
         sa_is_state(code, 1, word, code->head_dim) &&
         code->query_words == code->head_dim;
}

static size_t page_floats(const sa_encoding *code) { return 3 * (size_t)code->head_dim; }

static void encode_page_keys(const sa_encoder *encoder, int64_t b, int64_t head,
                             int64_t first, int64_t end, void *const *planes,
                             float *scratch) {
  const sa_encoding *code = encoder->code;
  const sa_key_state *lows = &code->states[0], *highs = &code->states[1];
  int64_t dim = code->head_dim, block = lows->block;
  float *key = scratch, *low = key + dim, *high = low + dim;
  for (int64_t j = first; j < end;) {
    int64_t page = j / block, page_end = sa_min((page + 1) * block, end);
    if (j % block == 0) {
      sa_read_row(encoder, code->k, b, head, j++, dim, low);
      memcpy(high, low, (size_t)dim * sizeof(float));
    } else {
      sa_get_reals(lows, planes[0], page, low);
      sa_get_reals(highs, planes[1], page, high);
    }
    for (; j < page_end; ++j) {
      sa_read_row(encoder, code->k, b, head, j, dim, key);
      for (int64_t d = 0; d < dim; ++d) {
        low[d] = sa_least(low[d], key[d]);
        high[d] = sa_largest(high[d], key[d]);
      }
    }
    sa_put_reals(lows, planes[0], page, low);
    sa_put_reals(highs, planes[1], page, high);
  }
}

static void encode_plain_query(const sa_encoder *encoder, int64_t b, int64_t h,
                               int64_t i0, int64_t i1, void *query, float *scratch) {
  (void)i1, (void)scratch;
  sa_read_row(encoder, encoder->q, b, h, i0, encoder->code->head_dim, query);
}

const sa_encoding_kind sa_encode_pages = {.states = 2,
                                          .is_well_formed = are_pages_well_formed,
                                          .scratch_floats = page_floats,
                                          .encode_keys = encode_page_keys,
                                          .encode_query = encode_plain_query};
