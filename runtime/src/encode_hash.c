/*===- encode_hash.c - signatures by small networks -----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encode.h"
#include "lanes.h"

enum { kQueryWeights, kKeyWeights };                 /* inputs */
enum { kActivation, kLayers };                       /* parameters */
enum { kRelu, kSilu, kGelu, kTanh, kActivationEnd }; /* activations */
enum { kWordBits = 32, kWidthEnd = 1 << 16 };

static int64_t layer_count(const sa_encoding *code) {
  return code->parameter_count - kLayers;
}

static bool is_well_formed(const sa_encoding *code) {
  for (int64_t i = 0; i < layer_count(code); ++i)
    if (code->parameters[kLayers + i] < 1 || code->parameters[kLayers + i] >= kWidthEnd)
      return false;
  int64_t bits = code->parameters[code->parameter_count - 1];
  return code->parameters[kActivation] >= 0 &&
         code->parameters[kActivation] < kActivationEnd && code->inputs[0] >= 0 &&
         code->inputs[1] >= 0 && code->states[0].block == 1 && bits % kWordBits == 0 &&
         sa_is_state(code, 0, SA_WORD_I32, bits / kWordBits) &&
         code->query_words == bits / kWordBits;
}

static sparse_attn_status check_weights(const sparse_attn_kernel *kernel,
                                        const sa_encoder *encoder) {
  const sa_encoding *code = encoder->code;
  int64_t count = 0, ins = code->head_dim;
  for (int64_t i = 0; i < layer_count(code); ++i) {
    int64_t outs = code->parameters[kLayers + i];
    count += (ins + 1) * outs;
    ins = outs;
  }
  const char *what = "the weights and offsets of all layers";
  sparse_attn_status status =
      sa_check_weight(kernel, encoder, kQueryWeights, 3, count, what);
  return status ? status : sa_check_weight(kernel, encoder, kKeyWeights, 3, count, what);
}

static int64_t widest_layer(const sa_encoding *code) {
  int64_t widest = code->head_dim;
  for (int64_t i = 0; i < layer_count(code); ++i)
    widest = sa_max(widest, code->parameters[kLayers + i]);
  return widest;
}
static size_t scratch_floats(const sa_encoding *code) {
  return 2 * (size_t)widest_layer(code);
}

/* exp(x), relative error below 3e-7 where that is an ordinary number; infinity from
 * 2^127.5 on. A NaN stays. */
static inline sa_lanes exponential(sa_lanes x) {
  const float most = 89, least = -87, log2_e = 1.44269504f;
  const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  const float round = 0x1.8p23f; /* adding it rounds to an integer, which the bits are */
  sa_lane_bits above = (sa_lane_bits)(x > most), below = (sa_lane_bits)(x < least);
  x = (sa_lanes)((above & (sa_lane_bits)sa_fill_lanes(most)) |
                 (below & (sa_lane_bits)sa_fill_lanes(least)) |
                 (~(above | below) & (sa_lane_bits)x));
  sa_lanes shifted = x * log2_e + round, power = shifted - round;
  sa_lanes r = x - power * ln2_high - power * ln2_low; /* |r| <= ln(2) / 2 */
  sa_lanes sum = r * (1.0f / 5040) + 1.0f / 720;
  sum = sum * r + 1.0f / 120;
  sum = sum * r + 1.0f / 24;
  sum = sum * r + 1.0f / 6;
  sum = sum * r + 0.5f;
  sum = sum * r + 1.0f;
  sum = sum * r + 1.0f;
  return sum * (sa_lanes)(((sa_lane_bits)shifted + 127) << 23);
}

static inline sa_lanes silu(sa_lanes x) { return x / (1.0f + exponential(-x)); }

static void apply_silu(float *x, int64_t count) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    sa_lanes four = silu(sa_load_lanes(x + i));
    memcpy(x + i, &four, sizeof(four));
  }
  for (; i < count; ++i)
    x[i] = silu(sa_fill_lanes(x[i]))[0];
}

static void activate(int64_t activation, float *x, int64_t count) {
  switch (activation) {
  case kRelu:
    for (int64_t i = 0; i < count; ++i)
      x[i] = x[i] > 0 ? x[i] : x[i] * 0; /* NaN stays */
    return;
  case kSilu:
    apply_silu(x, count);
    return;
  case kGelu:
    for (int64_t i = 0; i < count; ++i)
      x[i] = x[i] * (1 + erff(x[i] * 0.70710678f)) / 2; /* 1 / sqrt(2) */
    return;
  default:
    for (int64_t i = 0; i < count; ++i)
      x[i] = tanhf(x[i]);
  }
}

/* The signature of row (b, h, i) of value `id`. A layer is its matrix, then its
 * offsets. */
static void sign_row(const sa_encoder *encoder, int32_t id, const float *weights,
                     int64_t b, int64_t h, int64_t i, uint32_t *signature,
                     float *scratch) {
  const sa_encoding *code = encoder->code;
  float *x = scratch, *y = scratch + widest_layer(code);
  int64_t ins = code->head_dim;
  sa_read_row(encoder, id, b, h, i, ins, x);
  for (int64_t layer = 0; layer < layer_count(code); ++layer) {
    int64_t outs = code->parameters[kLayers + layer];
    encoder->project(x, weights, y, ins, outs);
    weights += ins * outs;
    for (int64_t o = 0; o < outs; ++o)
      y[o] += weights[o];
    weights += outs;
    if (layer + 1 < layer_count(code))
      activate(code->parameters[kActivation], y, outs);
    float *next = x;
    x = y;
    y = next;
    ins = outs;
  }
  for (int64_t word = 0; word < ins / kWordBits; ++word) {
    signature[word] = 0;
    for (int bit = 0; bit < kWordBits; ++bit)
      signature[word] |= sa_sign_bit(x[word * kWordBits + bit]) << bit;
  }
}

static void encode_keys(const sa_encoder *encoder, int64_t b, int64_t head, int64_t first,
                        int64_t end, void *const *planes, float *scratch) {
  enum { kMostWords = kWidthEnd / kWordBits };
  const sa_encoding *code = encoder->code;
  const float *weights = sa_weights(encoder, kKeyWeights, 0, 0, head);
  int64_t kv_head = sa_encoder_kv_head(encoder, head);
  uint32_t signature[kMostWords];
  for (int64_t j = first; j < end; ++j) {
    sign_row(encoder, code->k, weights, b, kv_head, j, signature, scratch);
    sa_put_ints(&code->states[0], planes[0], j, signature);
  }
}

static void encode_query(const sa_encoder *encoder, int64_t b, int64_t h, int64_t i0,
                         int64_t i1, void *query, float *scratch) {
  (void)i1;
  sign_row(encoder, encoder->q, sa_weights(encoder, kQueryWeights, 0, 0, h), b, h, i0,
           query, scratch);
}

const sa_encoding_kind sa_encode_hash = {.inputs = 2,
                                         .states = 1,
                                         .parameters = 2,
                                         .is_well_formed = is_well_formed,
                                         .check_weights = check_weights,
                                         .scratch_floats = scratch_floats,
                                         .encode_keys = encode_keys,
                                         .encode_query = encode_query};
