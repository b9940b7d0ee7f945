//===- TensorMap.h - the tensor maps of the emulated TMA --------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_EMULATOR_TENSORMAP_H
#define SPARSE_ATTN_EMULATOR_TENSORMAP_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>

namespace sparse_attn::emulator {

/// The element types, with the numbers of CUtensorMapDataType.
enum class TensorElement : uint8_t {
  U8 = 0,
  U16 = 1,
  U32 = 2,
  I32 = 3,
  U64 = 4,
  I64 = 5,
  F16 = 6,
  F32 = 7,
  F64 = 8,
  BF16 = 9,
};

/// How rows lie in shared memory, with the numbers of CUtensorMapSwizzle.
enum class TensorSwizzle : uint8_t { None = 0, B32 = 1, B64 = 2, B128 = 3 };

/// What outside elements read as, with the numbers of CUtensorMapFloatOOBfill.
enum class TensorFill : uint8_t { Zero = 0, NaN = 1 };

/// A tiled tensor in global memory, fastest dimension first, as cuTensorMapEncodeTiled
/// takes it.
struct TensorMapInfo {
  TensorElement element = TensorElement::BF16;
  unsigned rank = 1;
  const void *base = nullptr;
  /// Elements of each dimension.
  uint64_t sizes[5] = {1, 1, 1, 1, 1};
  /// Bytes from one index to the next of dimensions 1, 2, ..., rank - 1.
  uint64_t strides[4] = {0, 0, 0, 0};
  /// Elements of the tile along each dimension.
  uint32_t box[5] = {1, 1, 1, 1, 1};
  uint32_t elementStrides[5] = {1, 1, 1, 1, 1};
  TensorSwizzle swizzle = TensorSwizzle::None;
  TensorFill fill = TensorFill::Zero;
};

/// As large and aligned as a CUtensorMap; what it holds only the emulator reads.
struct alignas(64) TensorMap {
  unsigned char opaque[128];
};

/// Checks what cuTensorMapEncodeTiled checks, and encodes.
llvm::Expected<TensorMap> encodeTensorMap(const TensorMapInfo &info);

/// The inverse; an error where the bytes are no tensor map of encodeTensorMap.
llvm::Expected<TensorMapInfo> decodeTensorMap(const void *map);

/// Bytes of one element.
unsigned sizeOf(TensorElement element);

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_EMULATOR_TENSORMAP_H
