//===- Array.cpp - a dense array that owns its elements -------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Support/Array.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include <cstdlib>
#include <cstring>
#include <limits>

using namespace llvm;
using namespace sparse_attn;

unsigned sparse_attn::getElementBytes(ElementKind type) {
  switch (type) {
  case ElementKind::F64:
  case ElementKind::I64:
    return 8;
  case ElementKind::F32:
  case ElementKind::I32:
    return 4;
  case ElementKind::F16:
  case ElementKind::BF16:
    return 2;
  case ElementKind::I8:
  case ElementKind::U8:
    return 1;
  }
  llvm_unreachable("unknown element type");
}

StringRef sparse_attn::getElementName(ElementKind type) {
  switch (type) {
  case ElementKind::F64:
    return "f64";
  case ElementKind::F32:
    return "f32";
  case ElementKind::F16:
    return "f16";
  case ElementKind::BF16:
    return "bf16";
  case ElementKind::I64:
    return "i64";
  case ElementKind::I32:
    return "i32";
  case ElementKind::I8:
    return "i8";
  case ElementKind::U8:
    return "u8";
  }
  llvm_unreachable("unknown element type");
}

std::optional<int64_t> sparse_attn::countElements(ArrayRef<int64_t> shape) {
  if (any_of(shape, [](int64_t size) { return size < 0; }))
    return std::nullopt;
  if (is_contained(shape, 0))
    return 0;
  int64_t count = 1;
  for (int64_t size : shape)
    if (MulOverflow(count, size, count))
      return std::nullopt;
  return count;
}

std::string sparse_attn::formatShape(ArrayRef<int64_t> shape) {
  std::string text = "[";
  for (size_t axis = 0; axis < shape.size(); ++axis)
    text += (axis ? ", " : "") + std::to_string(shape[axis]);
  return text + "]";
}

void Array::Free::operator()(void *pointer) const { std::free(pointer); }

Expected<Array> Array::create(ElementKind type, ArrayRef<int64_t> shape) {
  std::optional<int64_t> count = countElements(shape);
  int64_t bytes = 0;
  if (!count || MulOverflow<int64_t>(*count, getElementBytes(type), bytes) ||
      bytes > std::numeric_limits<int64_t>::max() - 64)
    return createStringError("an array of shape " + formatShape(shape) +
                             " does not fit the address space");
  Array array;
  array.elementType = type;
  array.sizes.assign(shape.begin(), shape.end());
  array.count = *count;
  // aligned_alloc wants a multiple of the alignment; empty arrays own 64 bytes
  // so that data() is never null.
  size_t allocated = alignTo(std::max<int64_t>(bytes, 1), 64);
  array.buffer.reset(std::aligned_alloc(64, allocated));
  if (!array.buffer)
    return createStringError("an array of shape " + formatShape(shape) + " needs " +
                             Twine(bytes) + " bytes, more than there is memory");
  std::memset(array.data(), 0, allocated);
  return array;
}

static const fltSemantics &getSemantics(ElementKind type) {
  return type == ElementKind::F16 ? APFloat::IEEEhalf() : APFloat::BFloat();
}

static bool isShort(ElementKind type) {
  return type == ElementKind::F16 || type == ElementKind::BF16;
}

Expected<Array> Array::roundTo(ElementKind type) && {
  bool narrows = elementType == ElementKind::F32 && isShort(type);
  bool widens = isShort(elementType) && type == ElementKind::F32;
  if (!narrows && !widens)
    return std::move(*this).convertTo(type);
  Expected<Array> result = create(type, sizes);
  if (!result)
    return result.takeError();
  for (int64_t i = 0; i < count; ++i) {
    if (widens) {
      result->as<float>()[i] = static_cast<float>(get(i));
      continue;
    }
    APFloat value(as<float>()[i]);
    bool losesInfo;
    value.convert(getSemantics(type), APFloat::rmNearestTiesToEven, &losesInfo);
    result->as<uint16_t>()[i] =
        static_cast<uint16_t>(value.bitcastToAPInt().getZExtValue());
  }
  return result;
}

double Array::get(int64_t position) const {
  switch (elementType) {
  case ElementKind::F64:
    return as<double>()[position];
  case ElementKind::F32:
    return as<float>()[position];
  case ElementKind::F16:
  case ElementKind::BF16:
    return APFloat(getSemantics(elementType), APInt(16, as<uint16_t>()[position]))
        .convertToDouble();
  case ElementKind::I64:
    return static_cast<double>(as<int64_t>()[position]);
  case ElementKind::I32:
    return as<int32_t>()[position];
  case ElementKind::I8:
    return as<int8_t>()[position];
  case ElementKind::U8:
    return as<uint8_t>()[position];
  }
  llvm_unreachable("unknown element type");
}

int64_t Array::position(ArrayRef<int64_t> index) const {
  int64_t result = 0;
  for (auto [size, i] : zip_equal(sizes, index))
    result = result * size + i;
  return result;
}

Expected<Array> Array::convertTo(ElementKind type) && {
  if (type == elementType)
    return std::move(*this);
  bool bytes = (type == ElementKind::I8 && elementType == ElementKind::U8) ||
               (type == ElementKind::U8 && elementType == ElementKind::I8);
  if (bytes) {
    elementType = type;
    return std::move(*this);
  }
  if (type != ElementKind::I32 || elementType != ElementKind::I64)
    return createStringError("holds " + getElementName(elementType) + ", wants " +
                             getElementName(type));
  Expected<Array> result = create(type, sizes);
  if (!result)
    return result.takeError();
  for (int64_t i = 0; i < count; ++i) {
    int64_t value = as<int64_t>()[i];
    if (!isInt<32>(value))
      return createStringError("holds " + Twine(value) + ", which does not fit i32");
    result->as<int32_t>()[i] = static_cast<int32_t>(value);
  }
  return result;
}
