//===- Npy.h - reading and writing .npy files ------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   bytes 0-5  "\x93NUMPY"
//   bytes 6-7  version: 1.0, 2.0 or 3.0
//   then       length of the header, 2 bytes (1.0) or 4 bytes, little-endian
//   then       {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
//   then       the elements
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_SUPPORT_NPY_H
#define SPARSE_ATTN_SUPPORT_NPY_H

#include "sparse_attn/Support/Array.h"

namespace sparse_attn {

/// The largest rank that readNpy and writeNpy take.
inline constexpr int64_t kNpyMaxRank = 4;

/// Reads a file; arrays in Fortran order come back in row-major order and bool
/// as u8. Every failure is one sentence that names the file.
llvm::Expected<Array> readNpy(llvm::StringRef path);

/// The same from memory; errors do not name a file.
llvm::Expected<Array> parseNpy(llvm::StringRef bytes);

/// Writes a file through a temporary one beside it, so that `path` is either
/// untouched or whole. A device or a pipe is written to directly.
llvm::Error writeNpy(llvm::StringRef path, const Array &array);

} // namespace sparse_attn

#endif // SPARSE_ATTN_SUPPORT_NPY_H
