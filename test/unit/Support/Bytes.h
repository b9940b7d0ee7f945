//===- Bytes.h - numbers as a file holds them ------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_SUPPORT_BYTES_H
#define SPARSE_ATTN_TEST_UNIT_SUPPORT_BYTES_H

#include <cstring>
#include <initializer_list>
#include <string>

template <typename T> std::string toBytes(std::initializer_list<T> values) {
  std::string bytes;
  for (T value : values) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    bytes.append(raw, sizeof(T));
  }
  return bytes;
}

#endif // SPARSE_ATTN_TEST_UNIT_SUPPORT_BYTES_H
