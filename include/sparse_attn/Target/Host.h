//===- Host.h - the machine that this program runs on ----------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TARGET_HOST_H
#define SPARSE_ATTN_TARGET_HOST_H

#include "sparse_attn/Analysis/TileCosts.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace sparse_attn {

/// The folder where Linux describes the caches of a core.
inline constexpr llvm::StringLiteral kHostCaches = "/sys/devices/system/cpu/cpu0/cache";

/// The data caches as the files below `folder` tell; a level that they do not tell is
/// as large as the one before it.
llvm::Expected<CacheSizes> readCacheSizes(llvm::StringRef folder = kHostCaches);

/// The processor's name for people.
std::string getHostName();

} // namespace sparse_attn

#endif // SPARSE_ATTN_TARGET_HOST_H
