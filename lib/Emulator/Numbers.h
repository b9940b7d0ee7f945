//===- Numbers.h - the number formats of the GPU as lanes -------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_NUMBERS_H
#define SPARSE_ATTN_LIB_EMULATOR_NUMBERS_H

#include <bit>
#include <cmath>
#include <cstdint>

namespace sparse_attn::emulator {

inline float bf16ToFloat(uint32_t bits) { return std::bit_cast<float>(bits << 16); }

inline uint32_t floatToBf16(float value) {
  auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return 0x7fff; // The NaN that cvt makes.
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

inline float halfToFloat(uint32_t bits) {
  uint32_t sign = (bits & 0x8000) << 16;
  uint32_t rest = bits & 0x7fff;
  // Scaling by 2^112 gives normal and subnormal numbers their exponent.
  float value = std::bit_cast<float>(rest << 13) * 0x1p112f;
  uint32_t special = rest >= 0x7c00 ? 0x7f800000u : 0u;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | special | sign);
}

inline uint32_t floatToHalf(float value) {
  auto bits = std::bit_cast<uint32_t>(value);
  uint32_t sign = (bits >> 16) & 0x8000;
  bits &= 0x7fffffff;
  if (bits > 0x7f800000)
    return 0x7fff;
  if (bits >= 0x477ff000) // Rounds to 2^16 or more.
    return sign | 0x7c00;
  if (bits < 0x38800000) { // Subnormal: the adder rounds to multiples of 2^-24.
    float rounded = std::bit_cast<float>(bits) + 0.5f;
    return sign | (std::bit_cast<uint32_t>(rounded) - 0x3f000000u);
  }
  uint32_t rounded = bits + 0xfff + ((bits >> 13) & 1);
  return sign | ((rounded - 0x38000000u) >> 13);
}

/// What a tensor core reads of an f32: the 10 upper bits of the mantissa.
inline float tf32ToFloat(uint32_t bits) {
  return std::bit_cast<float>(bits & 0xffffe000u);
}

/// cvt.rna.tf32: to nearest, ties away from zero.
inline uint32_t floatToTf32(float value) {
  auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7f800000) == 0x7f800000)
    return bits;
  return (bits + 0x1000) & 0xffffe000u;
}

/// .ftz: subnormal numbers count as zero.
inline float flush(float value) {
  return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value) : value;
}

// A format says how a lane holds a number and in what it is computed.

struct F32Format {
  using Lane = float;
  using Value = float;
  static float get(float lane) { return lane; }
  static float put(float value) { return value; }
};

struct F64Format {
  using Lane = double;
  using Value = double;
  static double get(double lane) { return lane; }
  static double put(double value) { return value; }
};

struct F16Format {
  using Lane = uint32_t;
  using Value = float;
  static float get(uint32_t lane) { return halfToFloat(lane); }
  static uint32_t put(float value) { return floatToHalf(value); }
};

struct BF16Format {
  using Lane = uint32_t;
  using Value = float;
  static float get(uint32_t lane) { return bf16ToFloat(lane); }
  static uint32_t put(float value) { return floatToBf16(value); }
};

/// The value of an integer of `width` bits that is kept zero-extended.
inline int32_t signExtend(uint32_t value, unsigned width) {
  return static_cast<int32_t>(value << (32 - width)) >> (32 - width);
}
inline int64_t signExtend(uint64_t value, unsigned width) {
  return static_cast<int64_t>(value << (64 - width)) >> (64 - width);
}
template <typename T> inline T lowBits(unsigned width) {
  return width >= sizeof(T) * 8 ? ~T(0) : (T(1) << width) - 1;
}

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_NUMBERS_H
