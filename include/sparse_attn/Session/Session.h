//===- Session.h - one kernel of a library on given arrays -----*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_SESSION_SESSION_H
#define SPARSE_ATTN_SESSION_SESSION_H

#include "sparse_attn/Session/GPU.h"
#include "sparse_attn/Support/Array.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/JSON.h"
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace sparse_attn::run {

/// A loaded library, closed at the end.
class Library {
public:
  static llvm::Expected<Library> open(const std::string &path);

  llvm::ArrayRef<sparse_attn_kernel> kernels() const {
    return {handle->kernels, sparse_attn_kernel_count(handle.get())};
  }
  /// The kernel called `name`; where it is empty, the only one there is.
  llvm::Expected<const sparse_attn_kernel *> find(llvm::StringRef name) const;
  /// The MLIR text of a kernel, from the manifest.
  llvm::Expected<std::string> source(const sparse_attn_kernel &kernel) const;

private:
  struct Close {
    void operator()(const sparse_attn_library *library) const {
      sparse_attn_library_close(library);
    }
  };
  std::unique_ptr<const sparse_attn_library, Close> handle;
};

/// What the last failing call of the runtime said.
llvm::Error runtimeError();

/// "f32 [B, H, M, 64]"
std::string describeTensor(const sa_tensor &tensor);

/// The element type of a tensor, nullopt where arrays have none like it.
std::optional<ElementKind> getElementKind(const sa_tensor &tensor);

/// "B,H,Hkv,M,N" as numbers; `option` is what the message names.
llvm::Expected<sparse_attn_shape> parseShape(llvm::StringRef text,
                                             llvm::StringRef option);

/// Sizes that --random gives. Messages name the option that asks for random arrays,
/// and the one that takes files.
struct RandomRequest {
  sparse_attn_shape shape;
  uint64_t seed;
  llvm::StringRef option = "--random", fileOption = "--operand";
};

/// The arrays of one kernel, by name. Inputs that no file gives are drawn where
/// `random` says so; without it they are an error.
llvm::Expected<llvm::StringMap<Array>>
takeInputs(const sparse_attn_kernel &kernel, const llvm::StringMap<std::string> &files,
           std::optional<RandomRequest> random);

/// The sizes that the arrays of a kernel stand for.
llvm::Expected<sparse_attn_shape> getShape(const sparse_attn_kernel &kernel,
                                           const llvm::StringMap<Array> &arrays);

struct TileCounts {
  int64_t full = 0, partial = 0, all = 0;
  int64_t skipped() const { return all - full - partial; }
};

/// What states hold for the whole capacity, and of one key of one batch entry.
struct StateSizes {
  size_t bytes = 0;
  double perKey = 0;
};

/// Outputs and figures of a run.
struct RunResult {
  std::vector<Array> outputs; ///< in the kernel's order
  std::string level;          ///< or the device
  double planSeconds = 0;
  size_t planBytes = 0, workspaceBytes = 0;
  std::vector<double> seconds; ///< one for each timed run
  std::optional<TileCounts> tiles;
  std::optional<StateSizes> states;
};

/// Where a kernel runs, and with what.
struct RunPlace {
  int threads = 0;          ///< of the processor; 0: as many as it has cores
  GPU *gpu = nullptr;       ///< null: the processor
  bool layoutOnGPU = false; ///< so are the operands that the plan gets
  bool withStates = false; ///< runs read states of the keys, made before (docs/states.md)
};

/// A kernel with a plan, outputs and a workspace: ready to run on `arrays`, which must
/// stay where they are; on a GPU, copies of them are used.
class PreparedRun {
public:
  static llvm::Expected<PreparedRun> create(const sparse_attn_kernel &kernel,
                                            const sparse_attn_shape &shape,
                                            llvm::StringMap<Array> &arrays,
                                            const RunPlace &place);
  PreparedRun(PreparedRun &&);
  PreparedRun &operator=(PreparedRun &&);
  ~PreparedRun();

  /// Runs once and returns the seconds. Outputs hold NaN before, so that what a
  /// kernel does not write is seen. Copies to and from a GPU are not timed.
  llvm::Expected<double> run();

  const sparse_attn_plan *plan() const;
  const sparse_attn_states *states() const; ///< null without
  std::vector<Array> takeOutputs();
  double planSeconds() const;
  size_t workspaceBytes() const;

private:
  struct State;
  explicit PreparedRun(std::unique_ptr<State> state);
  std::unique_ptr<State> state;
};

struct RunRequest {
  RunPlace place;
  int repeat = 1;
  bool countTiles = false;
  std::function<void(int64_t done, int64_t total)> progress;
};

/// Builds the plan and runs it. With several runs a first one warms up.
llvm::Expected<RunResult> runKernel(const sparse_attn_kernel &kernel,
                                    const sparse_attn_shape &shape,
                                    llvm::StringMap<Array> &arrays,
                                    const RunRequest &request);

} // namespace sparse_attn::run

#endif // SPARSE_ATTN_SESSION_SESSION_H
