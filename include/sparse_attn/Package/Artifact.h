//===- Artifact.h - what a compiled library consists of --------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The contract between compilation and packaging. lib/Pipelines fills a
// CompiledLibrary; lib/Package writes the constant data, the manifest, the C
// header, the archive and the shared library from it, and reads no IR.
//
// The structures mirror runtime/include/sparse_attn/abi.h, with vectors for
// pointer and count, and symbol names for function pointers. A value id numbers
// the values of a kernel: its inputs first, then the results of every step.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_PACKAGE_ARTIFACT_H
#define SPARSE_ATTN_PACKAGE_ARTIFACT_H

#include "sparse_attn/Target/CPUArchitecture.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/JSON.h"
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sparse_attn {

/// sa_tensor: an input or an output of a kernel.
struct TensorDesc {
  std::string name;
  bool layout = false;  ///< given to plan_create, not to run
  int32_t typeCode = 2; ///< DLDataTypeCode: 0 int, 1 unsigned, 2 float, 4 bfloat
  int32_t typeBits = 32;
  int32_t rank = 0;
  std::array<int64_t, 4> dims = {-1, -1, -1, -1}; ///< -1 where free
  std::array<int32_t, 4> axis = {0, 0, 0, 0};     ///< sa_tensor::axis
  int32_t value = -1;                             ///< value id
};

/// sa_table: what the runtime derives from layout operands.
struct TableDesc {
  int32_t kind = 0;
  std::vector<int32_t> inputs; ///< value ids, -1 where absent
  std::vector<int64_t> parameters;
};

/// sa_check: what layout operands must satisfy.
struct CheckDesc {
  int32_t kind = 0;
  std::vector<int32_t> inputs; ///< value ids, -1 where absent
  std::vector<int64_t> parameters;
  std::string op; ///< mnemonic of the op that asks
};

/// sa_key_state.
struct KeyStateDesc {
  std::string name;
  int32_t word = 1, width = 1, block = 1;
  bool perQueryHead = false;

  bool operator==(const KeyStateDesc &) const = default;
};

/// sa_encoding.
struct EncodingDesc {
  int32_t kind = 0;
  int32_t k = -1, v = -1; ///< value ids
  int32_t headDim = 0, valueDim = 0, queryWords = 0;
  std::vector<KeyStateDesc> states;
  std::vector<int32_t> inputs; ///< value ids, -1 where absent
  std::vector<int64_t> parameters;
  std::vector<double> reals;

  bool operator==(const EncodingDesc &) const = default;
};

/// sa_score.
struct ScoreDesc {
  int32_t encoding = -1;
  int32_t granularity = 0;
  bool shareGroup = false;
  int32_t block = 1;
  int32_t levels = 0; ///< 0: scores are f32
  double best = 0, step = 0;
};

/// sa_set.
struct SetDesc {
  int32_t kind = 0;
  int32_t score = -1, encoding = -1;
  int32_t blockQ = 1, blockK = 1;
  bool sampled = false;
  std::vector<int32_t> operands, inputs;
  std::vector<int64_t> parameters;
  std::vector<double> reals;
  std::string classifySymbol; ///< an sa_classify_fn, or empty
};

/// sa_level: one instruction level of an attention.
struct LevelDesc {
  int32_t level = 0;
  std::string name; ///< "avx2", "neon", ...
  int64_t scratchBytes = 0;
  int64_t packedBytes = 0;               ///< of one key tile
  int64_t stackRows = 0;                 ///< rows that a call takes
  int64_t stateBytes = 0;                ///< of one row
  std::string packSymbol;                ///< an sa_pack_fn
  std::string attendSymbol;              ///< an sa_attend_fn
  std::string combineSymbol;             ///< an sa_attend_fn
  std::string fillSymbol;                ///< an sa_fill_fn, or empty
  std::vector<std::string> scoreSymbols; ///< sa_score_fn
  std::string keyScoresSymbol;           ///< an sa_key_scores_fn, or empty
  std::string projectSymbol;             ///< an sa_project_fn, or empty
};

/// sa_gpu_kernel.
struct GPUKernelDesc {
  unsigned module = 0;      ///< among those of the library
  std::string run, combine; ///< names in the module; combine may be empty
  int32_t threads = 0, sharedBytes = 0;
  int32_t tileRows = 0, tileKeys = 0;
  bool findsTiles = false, hasMaps = false;
  std::string check, count, list; ///< where the host makes lists, empty
  int32_t listThreads = 0, listSharedBytes = 0;
};

/// sa_gpu_module.
struct GPUModuleDesc {
  std::string target; ///< "sm_80"
  int32_t capability = 0;
  bool exact = false;
  std::string ptx, cubin, bitcode; ///< the last two may be empty
};

/// sa_attention.
struct AttentionDesc {
  int32_t headDim = 0, valueDim = 0;
  int32_t tileRows = 64, tileKeys = 128;
  int32_t binding = 0; ///< SA_BINDING_*
  bool perBatch = false, perHead = false;
  int32_t keyBlock = 0;
  int32_t period = 1;
  /// Value ids, -1 where absent.
  int32_t q = -1, k = -1, v = -1, kvLen = -1, qLen = -1, qOffset = -1, sinks = -1;
  int32_t out = -1, lse = -1;
  int32_t hopTable = -1;
  bool gathered = false;
  std::vector<SetDesc> sets; ///< of a mask that a run decides
  std::vector<ScoreDesc> scores;
  std::vector<TableDesc> tables;
  std::vector<CheckDesc> checks;
  std::string classifySymbol;    ///< an sa_classify_fn
  std::string extentSymbol;      ///< an sa_extent_fn, or empty
  std::vector<LevelDesc> levels; ///< ascending, best last
};

/// sa_step.
struct StepDesc {
  enum Kind : int32_t { Attention = 1, Pool = 2, Merge = 3, Choose = 4 };
  Kind kind = Attention;
  std::vector<int32_t> inputs;
  int32_t firstResult = -1;
  int32_t block = 0;
  int32_t typeCode = 2, typeBits = 32; ///< of O or of the means, as in TensorDesc
  std::optional<AttentionDesc> attention;
  std::vector<GPUKernelDesc> gpus; ///< one for each module of the library
};

/// sparse_attn_kernel, and what the manifest and the header tell about it.
struct CompiledKernel {
  std::string name;
  std::vector<TensorDesc> inputs, outputs;
  int32_t valueCount = 0;
  std::vector<StepDesc> steps;
  std::vector<EncodingDesc> encodings;
  std::string source;       ///< MLIR text of the kernel's function
  llvm::json::Object facts; ///< merged into the kernel's object of the manifest
};

/// An object file in memory; `name` is its member name in the archive.
struct ObjectFile {
  std::string name;
  llvm::SmallVector<char, 0> bytes;
};

struct CompiledLibrary {
  std::string name; ///< a C identifier
  const CPUArchitecture *architecture = findHostArchitecture();
  std::vector<CompiledKernel> kernels;
  std::vector<GPUModuleDesc> gpuModules; ///< ascending
  /// Define every symbol named above, with hidden visibility.
  std::vector<ObjectFile> objects;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_PACKAGE_ARTIFACT_H
