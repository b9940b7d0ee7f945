/*===- real.h - f16 and bf16 in terms of f32 ------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Conversions by bits, in integers and IEEE arithmetic alone, so that any C11
 * compiler for any processor gives the same ones. To 16 bits they round to nearest
 * even; a NaN stays one. Every branch is computed and one chosen, which compilers
 * turn into vector code.
 *
 *===----------------------------------------------------------------------===*/
#ifndef SPARSE_ATTN_RUNTIME_REAL_H
#define SPARSE_ATTN_RUNTIME_REAL_H

#include <dlpack/dlpack.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Element types of queries, keys, values and outputs. */
typedef enum sa_real { SA_F32, SA_F16, SA_BF16 } sa_real;

/* The type with DLPack's `code` and `bits`; false where there is none. */
static inline bool sa_find_real(int32_t code, int32_t bits, sa_real *type) {
  *type = bits == 32 ? SA_F32 : code == kDLBfloat ? SA_BF16 : SA_F16;
  return (code == kDLFloat && (bits == 32 || bits == 16)) ||
         (code == kDLBfloat && bits == 16);
}

static inline int32_t sa_real_bytes(sa_real type) { return type == SA_F32 ? 4 : 2; }

static inline uint32_t sa_bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

static inline float sa_float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

/*===--- bf16: the upper half of an f32 -----------------------------------===*/

static inline float sa_from_bf16(uint16_t half) {
  return sa_float_of((uint32_t)half << 16);
}

static inline uint16_t sa_to_bf16(float value) {
  uint32_t bits = sa_bits_of(value);
  uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  uint32_t nan = bits >> 16 | 0x40; /* quiet: its payload's lower half may be all */
  return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

/*===--- f16: 5 bits of exponent (bias 15), 10 of mantissa ----------------===*/

static inline float sa_from_f16(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16;
  uint32_t magnitude = (uint32_t)(half & 0x7fff) << 13;
  uint32_t normal = magnitude + (UINT32_C(112) << 23);  /* 127 - 15 */
  uint32_t special = magnitude + (UINT32_C(224) << 23); /* inf, NaN: 31 becomes 255 */
  /* m 2^-24 as (2^-14 + m 2^-24) - 2^-14 */
  uint32_t subnormal = sa_bits_of(sa_float_of(magnitude + (UINT32_C(113) << 23)) -
                                  sa_float_of(UINT32_C(113) << 23));
  uint32_t bits = magnitude < UINT32_C(1) << 23    ? subnormal
                  : magnitude < UINT32_C(31) << 23 ? normal
                                                   : special;
  return sa_float_of(sign | bits);
}

static inline uint16_t sa_to_f16(float value) {
  uint32_t bits = sa_bits_of(value);
  uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  uint32_t normal =
      (magnitude - (UINT32_C(112) << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
  /* In the sum with 1/2 the last bit stands for 2^-24: the addition rounds. */
  uint32_t subnormal = sa_bits_of(sa_float_of(magnitude) + 0.5f) - sa_bits_of(0.5f);
  uint32_t nan = 0x7e00 | (magnitude >> 13 & 0x3ff);
  uint32_t half = magnitude < UINT32_C(113) << 23    ? subnormal
                  : magnitude < UINT32_C(0x477ff000) ? normal /* less than 65520 */
                  : magnitude > UINT32_C(0x7f800000) ? nan
                                                     : 0x7c00;
  return (uint16_t)(sign | half);
}

/*===--- Rows -------------------------------------------------------------===*/

/* `value` as f32, rounded to odd: rounded again, to 16 bits, it gives what `value`
 * rounded once would, which it would not after rounding to nearest. */
static inline float sa_round_to_odd(double value) {
  float nearest = (float)value;
  uint32_t bits = sa_bits_of(nearest);
  if ((double)nearest == value || value != value)
    return nearest;
  if (fabs((double)nearest) > fabs(value))
    --bits; /* towards zero */
  return sa_float_of(bits | 1);
}

/* `count` elements at `from` as f32. */
static inline void sa_read_reals(sa_real type, const void *from, int64_t count,
                                 float *to) {
  const uint16_t *halves = (const uint16_t *)from;
  if (type == SA_F32)
    memcpy(to, from, (size_t)count * sizeof(float));
  else if (type == SA_F16)
    for (int64_t i = 0; i < count; ++i)
      to[i] = sa_from_f16(halves[i]);
  else
    for (int64_t i = 0; i < count; ++i)
      to[i] = sa_from_bf16(halves[i]);
}

/* `count` values to elements at `to`, each rounded once. */
static inline void sa_write_reals(sa_real type, const double *from, int64_t count,
                                  void *to) {
  float *floats = (float *)to;
  uint16_t *halves = (uint16_t *)to;
  if (type == SA_F32)
    for (int64_t i = 0; i < count; ++i)
      floats[i] = (float)from[i];
  else if (type == SA_F16)
    for (int64_t i = 0; i < count; ++i)
      halves[i] = sa_to_f16(sa_round_to_odd(from[i]));
  else
    for (int64_t i = 0; i < count; ++i)
      halves[i] = sa_to_bf16(sa_round_to_odd(from[i]));
}

#endif /* SPARSE_ATTN_RUNTIME_REAL_H */
