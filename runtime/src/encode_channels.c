/*===- encode_channels.c - the heaviest channels of keys -------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encode.h"

enum { kCount, kQuantized, kParameters };
enum { kLabels, kLow, kStep };
enum { kLabelBits = 4, kLabelsPerWord = 8, kSteps = 15, kMostChannels = 256 };

static int64_t word_count(const sa_encoding *code) {
  return sa_ceil_div(code->parameters[kCount], kLabelsPerWord);
}

static bool is_count_known(const sa_encoding *code) {
  return code->parameters[kCount] >= 1 && code->parameters[kCount] <= kMostChannels &&
         code->inputs[0] >= 0 && code->states[0].block == 1;
}

static bool is_plain_well_formed(const sa_encoding *code) {
  int64_t count = code->parameters[kCount];
  return is_count_known(code) && sa_is_state(code, kLabels, SA_WORD_F32, count) &&
         code->query_words == count;
}

static bool is_quantized_well_formed(const sa_encoding *code) {
  return is_count_known(code) &&
         sa_is_state(code, kLabels, SA_WORD_I32, word_count(code)) &&
         sa_is_state(code, kLow, SA_WORD_F32, 1) &&
         sa_is_state(code, kStep, SA_WORD_F32, 1) &&
         code->query_words == word_count(code) * kLabelsPerWord + 1;
}

static const int32_t *channels_of(const sa_encoder *encoder, int64_t h) {
  return (const int32_t *)sa_weights(encoder, 0, 0, 0, h);
}

static sparse_attn_status check_channels(const sparse_attn_kernel *kernel,
                                         const sa_encoder *encoder) {
  const sa_encoding *code = encoder->code;
  int64_t count = code->parameters[kCount];
  sparse_attn_status status = sa_check_weight(kernel, encoder, 0, 3, count, "its count");
  int64_t heads = encoder->values[code->inputs[0]].size[2];
  for (int64_t h = 0; !status && h < heads; ++h)
    for (int64_t c = 0; c < count; ++c) {
      int32_t channel = channels_of(encoder, h)[c];
      if (channel < 0 || channel >= code->head_dim)
        return sa_fail(
            SPARSE_ATTN_INVALID_ARGUMENT,
            "kernel '%s': '%s' has channel %d for head %lld, expected 0 to D - "
            "1 = %d",
            kernel->name, kernel->inputs[code->inputs[0]].name, (int)channel,
            (long long)h, (int)code->head_dim - 1);
    }
  return status;
}

static size_t scratch_floats(const sa_encoding *code) {
  return (size_t)(code->head_dim + code->parameters[kCount]);
}

/* The channels of head `h` of row (b, row_head, i). */
static void gather(const sa_encoder *encoder, int32_t id, int64_t b, int64_t row_head,
                   int64_t i, int64_t h, float *label, float *row) {
  const int32_t *channels = channels_of(encoder, h);
  sa_read_row(encoder, id, b, row_head, i, encoder->code->head_dim, row);
  for (int64_t c = 0; c < encoder->code->parameters[kCount]; ++c)
    label[c] = row[channels[c]];
}

/*===--- Labels as they are -----------------------------------------------===*/

static void encode_plain_keys(const sa_encoder *encoder, int64_t b, int64_t head,
                              int64_t first, int64_t end, void *const *planes,
                              float *scratch) {
  const sa_encoding *code = encoder->code;
  int64_t kv_head = sa_encoder_kv_head(encoder, head);
  float *row = scratch, *label = row + code->head_dim;
  for (int64_t j = first; j < end; ++j) {
    gather(encoder, code->k, b, kv_head, j, head, label, row);
    sa_put_floats(&code->states[kLabels], planes[kLabels], j, label);
  }
}

static void encode_plain_query(const sa_encoder *encoder, int64_t b, int64_t h,
                               int64_t i0, int64_t i1, void *query, float *scratch) {
  float *q = query;
  int64_t count = encoder->code->parameters[kCount];
  (void)i1;
  gather(encoder, encoder->q, b, h, i0, h, q, scratch);
  for (int64_t c = 0; c < count; ++c)
    q[c] = (float)((double)q[c] / sqrt((double)count));
}

const sa_encoding_kind sa_encode_channels = {.inputs = 1,
                                             .states = 1,
                                             .parameters = kParameters,
                                             .is_well_formed = is_plain_well_formed,
                                             .check_weights = check_channels,
                                             .scratch_floats = scratch_floats,
                                             .encode_keys = encode_plain_keys,
                                             .encode_query = encode_plain_query};

/*===--- Labels of 4 bits -------------------------------------------------===*/

/* Codes of a label whose least number is `low`, `step` apart. A label that has no codes,
 * because of a NaN or an infinity, gets a step of NaN, which makes its score one. */
static double quantize(const float *label, int64_t count, float *low, uint32_t *words) {
  float least = label[0], largest = label[0];
  for (int64_t c = 1; c < count; ++c) {
    least = sa_least(least, label[c]);
    largest = sa_largest(largest, label[c]);
  }
  double step = ((double)largest - (double)least) / kSteps;
  memset(words, 0, (size_t)sa_ceil_div(count, kLabelsPerWord) * sizeof(*words));
  *low = least;
  if (!(step < INFINITY))
    return NAN;
  for (int64_t c = 0; step > 0 && c < count; ++c) {
    double code = nearbyint(((double)label[c] - (double)least) / step);
    words[c / kLabelsPerWord] |= (uint32_t)code << kLabelBits * (c % kLabelsPerWord);
  }
  return step;
}

static void encode_quantized_keys(const sa_encoder *encoder, int64_t b, int64_t head,
                                  int64_t first, int64_t end, void *const *planes,
                                  float *scratch) {
  const sa_encoding *code = encoder->code;
  int64_t kv_head = sa_encoder_kv_head(encoder, head), count = code->parameters[kCount];
  float *row = scratch, *label = row + code->head_dim;
  uint32_t words[kMostChannels / kLabelsPerWord];
  for (int64_t j = first; j < end; ++j) {
    float low;
    gather(encoder, code->k, b, kv_head, j, head, label, row);
    float step = (float)quantize(label, count, &low, words);
    sa_put_ints(&code->states[kLabels], planes[kLabels], j, words);
    sa_put_floats(&code->states[kLow], planes[kLow], j, &low);
    sa_put_floats(&code->states[kStep], planes[kStep], j, &step);
  }
}

static void encode_quantized_query(const sa_encoder *encoder, int64_t b, int64_t h,
                                   int64_t i0, int64_t i1, void *query, float *scratch) {
  float *q = query;
  int64_t count = encoder->code->parameters[kCount];
  int64_t padded = word_count(encoder->code) * kLabelsPerWord;
  double sum = 0;
  encode_plain_query(encoder, b, h, i0, i1, query, scratch);
  for (int64_t c = 0; c < count; ++c)
    sum += (double)q[c];
  for (int64_t c = count; c < padded; ++c)
    q[c] = 0;
  q[padded] = (float)sum;
}

const sa_encoding_kind sa_encode_labels = {.inputs = 1,
                                           .states = 3,
                                           .parameters = kParameters,
                                           .is_well_formed = is_quantized_well_formed,
                                           .check_weights = check_channels,
                                           .scratch_floats = scratch_floats,
                                           .encode_keys = encode_quantized_keys,
                                           .encode_query = encode_quantized_query};
