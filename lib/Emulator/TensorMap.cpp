//===- TensorMap.cpp - the tensor maps of the emulated TMA ----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Emulator/TensorMap.h"
#include <cstring>

using namespace llvm;
using namespace sparse_attn::emulator;

namespace {

constexpr char kMagic[8] = {'s', 'a', 'e', 'm', 'u', 'T', 'M', '1'};

/// TensorMapInfo in 128 bytes: sizes, boxes and element strides are small.
struct Packed {
  char magic[8];
  uint64_t base;
  uint64_t strides[4];
  uint32_t sizes[5];
  uint16_t box[5];
  uint8_t elementStrides[5];
  uint8_t element, rank, swizzle, fill;
};
static_assert(sizeof(Packed) <= sizeof(TensorMap));

} // namespace

unsigned sparse_attn::emulator::sizeOf(TensorElement element) {
  switch (element) {
  case TensorElement::U8:
    return 1;
  case TensorElement::U16:
  case TensorElement::F16:
  case TensorElement::BF16:
    return 2;
  case TensorElement::U64:
  case TensorElement::I64:
  case TensorElement::F64:
    return 8;
  default:
    return 4;
  }
}

Expected<TensorMap> sparse_attn::emulator::encodeTensorMap(const TensorMapInfo &info) {
  auto no = [](const Twine &why) { return createStringError("tensor map: " + why); };
  if (info.rank < 1 || info.rank > 5)
    return no("rank " + Twine(info.rank) + " is not from 1 to 5");
  if (info.element > TensorElement::BF16)
    return no("no such element type");
  if (reinterpret_cast<uint64_t>(info.base) % 16)
    return no("the base address is no multiple of 16 bytes");
  for (unsigned i = 0; i < info.rank; ++i) {
    if (info.sizes[i] == 0 || info.sizes[i] > (1ull << 32))
      return no("size " + Twine(info.sizes[i]) + " of dimension " + Twine(i) +
                " is not from 1 to 2^32");
    if (info.box[i] == 0 || info.box[i] > 256)
      return no("box " + Twine(info.box[i]) + " of dimension " + Twine(i) +
                " is not from 1 to 256");
    if (info.elementStrides[i] != 1)
      return no("element strides other than 1 are not known to the emulator");
    if (i + 1 < info.rank &&
        (info.strides[i] % 16 || info.strides[i] >= (1ull << 40) || !info.strides[i]))
      return no("stride " + Twine(info.strides[i]) + " of dimension " + Twine(i + 1) +
                " is no multiple of 16 bytes below 2^40");
  }
  unsigned inner = info.box[0] * sizeOf(info.element);
  if (inner % 16)
    return no("a row of the box has " + Twine(inner) + " bytes, no multiple of 16");
  if (info.swizzle != TensorSwizzle::None) {
    unsigned most = 16u << unsigned(info.swizzle);
    if (inner > most)
      return no("a row of the box has " + Twine(inner) + " bytes, more than the " +
                Twine(most) + " of the swizzle");
  }
  if (info.fill == TensorFill::NaN && info.element < TensorElement::F16)
    return no("integers have no NaN to fill with");
  Packed packed = {};
  std::memcpy(packed.magic, kMagic, sizeof(kMagic));
  packed.base = reinterpret_cast<uint64_t>(info.base);
  for (unsigned i = 0; i < 5; ++i) {
    packed.sizes[i] = i < info.rank ? uint32_t(info.sizes[i] - 1) : 0;
    packed.box[i] = i < info.rank ? uint16_t(info.box[i]) : 1;
    packed.elementStrides[i] = 1;
  }
  for (unsigned i = 0; i + 1 < info.rank; ++i)
    packed.strides[i] = info.strides[i];
  packed.element = uint8_t(info.element);
  packed.rank = uint8_t(info.rank);
  packed.swizzle = uint8_t(info.swizzle);
  packed.fill = uint8_t(info.fill);
  TensorMap map = {};
  std::memcpy(map.opaque, &packed, sizeof(packed));
  return map;
}

Expected<TensorMapInfo> sparse_attn::emulator::decodeTensorMap(const void *map) {
  Packed packed;
  std::memcpy(&packed, map, sizeof(packed));
  if (std::memcmp(packed.magic, kMagic, sizeof(kMagic)) != 0)
    return createStringError("these 128 bytes are no tensor map of the emulator");
  TensorMapInfo info;
  info.element = TensorElement(packed.element);
  info.rank = packed.rank;
  info.base = reinterpret_cast<const void *>(packed.base);
  for (unsigned i = 0; i < 5; ++i) {
    info.sizes[i] = uint64_t(packed.sizes[i]) + 1;
    info.box[i] = packed.box[i];
  }
  for (unsigned i = 0; i < 4; ++i)
    info.strides[i] = packed.strides[i];
  info.swizzle = TensorSwizzle(packed.swizzle);
  info.fill = TensorFill(packed.fill);
  return info;
}
