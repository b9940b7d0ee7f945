//===- Options.h - the command line of sparse-attn-compile -----*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TOOLS_COMPILE_OPTIONS_H
#define SPARSE_ATTN_TOOLS_COMPILE_OPTIONS_H

#include "dialect/BlockPlan/BlockPlan.h"
#include "sparse_attn/Explain/Explain.h"
#include "sparse_attn/Expression/Expression.h"
#include "sparse_attn/Pipelines/Pipelines.h"
#include "sparse_attn/Session/Session.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Error.h"

namespace sparse_attn {

/// What --tune measures.
struct TuneRequest {
  sparse_attn_shape shape = {1, 4, 1, 4096, 4096};
  llvm::StringMap<std::string> files; ///< .npy files of inputs, by name
  int tiles = 0, rounds = 0, threads = 0;
};

/// What the user asked for, checked.
struct Options {
  std::string inputFile;          ///< a .mlir file, where there is no pattern
  std::optional<KernelSpec> spec; ///< from --pattern and what goes with it
  std::string libraryName;
  /// A stage to print; none to write a library.
  std::optional<Stage> stage;
  std::string output; ///< a folder for a library, else a file or "-"
  llvm::SmallVector<const CPULevel *> levels; ///< none where a GPU's stage is printed
  llvm::SmallVector<const GPUTarget *> gpus;
  bool emulation = false;     ///< keep the GPU's code for the emulator
  std::string ptxas;          ///< empty: no machine code of GPUs
  std::string runtimeArchive; ///< empty: found near the program
  std::string linker;
  bool time = false;
  /// The tile of every kernel, if given; else chosen for these caches or measured.
  std::optional<TileShape> tile;
  CacheSizes caches;
  /// What becomes of unions of different periods, if said.
  std::optional<block_plan::Unions> unions;
  std::optional<TuneRequest> tune;
  /// Instead of a library: how to explain it, and what.
  std::optional<ExplainFormat> explainFormat;
  ExplainOptions explain;

  /// Whether one file is written, to the screen by default.
  bool isPrinted() const { return stage || explainFormat; }
};

llvm::cl::OptionCategory &getCompileCategory();
llvm::cl::OptionCategory &getExplainCategory();
llvm::cl::OptionCategory &getTileCategory();

/// Fills what --explain and the options that go with it say.
llvm::Error parseExplain(Options &options);

/// Fills what --tile, --cache, --tune and the options that go with them say, after
/// parseExplain.
llvm::Error parseTiles(Options &options);

/// Fills what --target and --level say, after the others.
llvm::Error parseTargets(Options &options);

/// Parses the command line. Ends the program for --help, --version and options
/// that do not exist.
llvm::Expected<Options> parseOptions(int argc, char **argv);

} // namespace sparse_attn

#endif // SPARSE_ATTN_TOOLS_COMPILE_OPTIONS_H
