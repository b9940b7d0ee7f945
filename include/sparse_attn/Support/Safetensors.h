//===- Safetensors.h - reading .safetensors files --------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   bytes 0-7  length of the header, little-endian
//   then       {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
//               ..., "__metadata__": {"key": "text"}}, padded with spaces
//   then       the elements of all tensors, without holes; offsets count from here
//
// Nothing in such a file is executed, unlike a pickle.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_SUPPORT_SAFETENSORS_H
#define SPARSE_ATTN_SUPPORT_SAFETENSORS_H

#include "sparse_attn/Support/Array.h"

namespace sparse_attn {

/// Reads the tensor called `name`; bool comes back as u8. The whole header is checked,
/// of the elements only those of that tensor are read. Every failure is one sentence
/// that names the file.
llvm::Expected<Array> readSafetensor(llvm::StringRef path, llvm::StringRef name);

/// The same from memory; errors do not name a file.
llvm::Expected<Array> parseSafetensor(llvm::StringRef bytes, llvm::StringRef name);

/// Reads "file.npy", or "file.safetensors:name".
llvm::Expected<Array> readArrayFile(llvm::StringRef file);

} // namespace sparse_attn

#endif // SPARSE_ATTN_SUPPORT_SAFETENSORS_H
