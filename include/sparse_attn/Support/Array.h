//===- Array.h - a dense array that owns its elements ----------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_SUPPORT_ARRAY_H
#define SPARSE_ATTN_SUPPORT_ARRAY_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace sparse_attn {

enum class ElementKind : uint8_t { F64, F32, F16, I64, I32, I8, U8, BF16 };

unsigned getElementBytes(ElementKind type);
/// "f32", "i8", ...
llvm::StringRef getElementName(ElementKind type);

/// The product of `shape`, nullopt where it is negative or does not fit an
/// int64_t. An axis of size 0 makes it 0 whatever the others are.
std::optional<int64_t> countElements(llvm::ArrayRef<int64_t> shape);

/// "[2, 8, 64]"
std::string formatShape(llvm::ArrayRef<int64_t> shape);

/// A dense array in row-major order that owns its elements, aligned to 64 bytes.
class Array {
public:
  Array() = default;

  /// Elements are zero. Fails where the array does not fit memory.
  static llvm::Expected<Array> create(ElementKind type, llvm::ArrayRef<int64_t> shape);

  ElementKind type() const { return elementType; }
  llvm::ArrayRef<int64_t> shape() const { return sizes; }
  int64_t rank() const { return sizes.size(); }
  int64_t elements() const { return count; }
  size_t bytes() const {
    return static_cast<size_t>(count) * getElementBytes(elementType);
  }
  void *data() { return buffer.get(); }
  const void *data() const { return buffer.get(); }
  template <typename T> T *as() { return static_cast<T *>(data()); }
  template <typename T> const T *as() const { return static_cast<const T *>(data()); }

  /// The element at a row-major position as a double; i64 beyond 2^53 rounds.
  double get(int64_t position) const;
  /// Row-major position of an index inside the shape.
  int64_t position(llvm::ArrayRef<int64_t> index) const;

  /// The same elements as `type`: itself where they have it, i64 to i32 where
  /// every value fits, and i8 to and from u8 bit for bit. Any other change of
  /// type could lose something and is an error.
  llvm::Expected<Array> convertTo(ElementKind type) &&;
  /// f32 as f16 or bf16, rounded to nearest even, or those as f32, exactly;
  /// everything else as convertTo.
  llvm::Expected<Array> roundTo(ElementKind type) &&;

private:
  struct Free {
    void operator()(void *pointer) const;
  };
  ElementKind elementType = ElementKind::F32;
  llvm::SmallVector<int64_t, 4> sizes;
  int64_t count = 0;
  std::unique_ptr<void, Free> buffer;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_SUPPORT_ARRAY_H
