//===- Options.h - the command line of sparse-attn-run ---------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TOOLS_RUN_OPTIONS_H
#define SPARSE_ATTN_TOOLS_RUN_OPTIONS_H

#include "sparse_attn/Session/Session.h"

namespace sparse_attn::run {

struct Options {
  std::string library, kernel, level, device = "cpu";
  llvm::StringMap<std::string> files; ///< by name of the input
  std::optional<RandomRequest> random;
  uint64_t seed = 0;
  std::string out, lse;
  std::optional<int64_t> checkRows; ///< 0: all, or a sample of a large run
  std::vector<int64_t> explainRows; ///< below 0: from the end
  std::optional<int64_t> explainHead, explainBatch; ///< all, or those of a picture: 0
  std::string picture;
  int repeat = 1, threads = 0;
  bool layoutOnDevice = false;
  bool tiles = false, states = false, statistics = false, list = false, json = false;
  bool progress = false;
};

/// Reads the command line; --help and unknown options end the program.
llvm::Expected<Options> parseOptions(int argc, char **argv);

} // namespace sparse_attn::run

#endif // SPARSE_ATTN_TOOLS_RUN_OPTIONS_H
