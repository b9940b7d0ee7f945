//===- MatrixDescriptor.h - where wgmma finds a matrix in shared memory --*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A descriptor says where a matrix begins (bits 0-13), its two byte offsets (bits 16-29:
// leading, 32-45: stride), each in units of 16 bytes, a base offset (bits 49-51) and the
// swizzle (bits 62-63: 0 none, 1 128 bytes, 2 64 bytes, 3 32 bytes).
//
// "Major" is the dimension along which elements are neighbours. A chunk is 16 bytes along
// it; `w` chunks (1, 2, 4, 8 for the four swizzles) make a row of the swizzle pattern.
//
//                   K major                          M or N major
//   no swizzle      8 rows of one chunk, 16 bytes    8 k of one chunk, 16 bytes apart;
//                   apart; the next 8 rows after     the next chunk along M or N after
//                   `stride`, the next chunk along   `stride`, the next 8 k after
//                   K after `leading`                `leading`
//   swizzle         8 rows of w chunks, 16 w bytes   8 k of w chunks, 16 w bytes apart;
//                   apart; the next 8 rows after     the next w chunks along M or N
//                   `stride`; chunks along K are     after `leading`, the next 8 k after
//                   neighbours                       `stride`
//
// The swizzle exchanges chunks by bits of the address: bits 4, 5, 6 ^= bits 7, 8, 9, as
// many as it has.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_MATRIXDESCRIPTOR_H
#define SPARSE_ATTN_LIB_EMULATOR_MATRIXDESCRIPTOR_H

#include <cstdint>

namespace sparse_attn::emulator {

struct MatrixDescriptor {
  uint64_t start;
  uint64_t leading;
  uint64_t stride;
  unsigned baseOffset;
  /// log2 of the chunks in a row of the swizzle pattern.
  unsigned swizzle;

  explicit MatrixDescriptor(uint64_t bits)
      : start((bits & 0x3fff) << 4), leading((bits >> 16 & 0x3fff) << 4),
        stride((bits >> 32 & 0x3fff) << 4), baseOffset(bits >> 49 & 7),
        swizzle((4 - (bits >> 62)) & 3) {}

  /// The address of chunk `chunk` along K of row `row`, K major.
  uint64_t addressInK(unsigned row, unsigned chunk) const {
    uint64_t rows = row / 8 * stride;
    if (swizzle == 0)
      return start + rows + row % 8 * 16 + chunk * leading;
    return permute(start + rows + row % 8 * (16u << swizzle) + chunk * 16);
  }

  /// The address of chunk `chunk` along M or N at `k`, M or N major.
  uint64_t addressInMN(unsigned k, unsigned chunk) const {
    if (swizzle == 0)
      return start + chunk * stride + k % 8 * 16 + k / 8 * leading;
    unsigned width = 1u << swizzle;
    return permute(start + chunk / width * leading + k / 8 * stride +
                   k % 8 * (16u << swizzle) + chunk % width * 16);
  }

private:
  uint64_t permute(uint64_t address) const {
    return address ^ (address >> 7 & ((1u << swizzle) - 1)) << 4;
  }
};

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_MATRIXDESCRIPTOR_H
