//===- Report.h - what sparse-attn-run prints ------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TOOLS_RUN_REPORT_H
#define SPARSE_ATTN_TOOLS_RUN_REPORT_H

#include "Check.h"
#include "Options.h"
#include "sparse_attn/Explain/Rows.h"
#include <map>

namespace sparse_attn::run {

struct Report {
  const sparse_attn_kernel *kernel = nullptr;
  sparse_attn_shape shape = {};
  RunResult run;
  std::optional<CheckResult> check;
  std::vector<RowFacts> rows; ///< of --explain-rows
  /// Of --statistics: what launches of each kernel of the GPU have executed.
  std::map<std::string, emulator::Statistics> executed;
};

/// Prints to stdout, as text or as JSON.
void printReport(const Report &report, const Options &options);
void printKernels(const Library &library, const Options &options);

} // namespace sparse_attn::run

#endif // SPARSE_ATTN_TOOLS_RUN_REPORT_H
