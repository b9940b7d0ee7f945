//===- Explain.h - what a compiled kernel does with a shape ----*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What you see is what runs: the compiled library is linked into a temporary
// folder and opened through the runtime's C interface, and all counts are those
// of the plan that it makes.
//
//   CompiledLibrary, shape, layout operands --> explainLibrary --> Explanation
//   Explanation --> text | SVG | PNG | HTML
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_EXPLAIN_EXPLAIN_H
#define SPARSE_ATTN_EXPLAIN_EXPLAIN_H

#include "dialect/SparseAttn/Semantics.h"
#include "mlir/IR/BuiltinOps.h"
#include "sparse_attn/Explain/CellMap.h"
#include "sparse_attn/Package/Artifact.h"
#include "sparse_attn/runtime.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <optional>
#include <string>
#include <vector>

namespace sparse_attn {

//===----------------------------------------------------------------------===//
// What there is to tell
//===----------------------------------------------------------------------===//

/// A mask and the masks that it combines.
struct MaskTree {
  std::string label;                  ///< "window(left = 1023, right = 0)"
  Binding binding = Binding::Compile; ///< of the whole subtree
  std::vector<MaskTree> parts;
};

struct Plane {
  int64_t b = 0, h = 0;
};

/// Planes (b, h) whose tiles and pairs are the same. Counts are of one plane.
struct PlaneGroup {
  std::vector<Plane> planes;
  sparse_attn_extent extent = {};
  int64_t tiles = 0; ///< those of its rows and keys: what a dense kernel visits
  int64_t full = 0, partial = 0;
  int64_t pairs = 0, keptPairs = 0; ///< of the rows that were looked at
  /// In the first groups and in the chosen plane's.
  std::optional<CellMap> tileMap;
  /// In these, where every row was looked at and there are not too many.
  std::optional<CellMap> pairMap;

  int64_t visited() const { return full + partial; }
  int64_t skipped() const { return tiles - visited(); }
  double pairDensity() const {
    return pairs ? static_cast<double>(keptPairs) / pairs : 0;
  }
};

/// One attention op of the kernel.
struct AttentionFacts {
  std::string expression;   ///< "causal & (window(1023, 0) | sink(4))"
  std::string halfOf;       ///< "the near half of window(7, 0) | strided(64)", or empty
  bool halvesUnion = false; ///< a half that has tiles of its own
  MaskTree mask;
  int64_t headDim = 0, valueDim = 0;
  int64_t keyBlock = 0; ///< tokens of a pooled key, else 0
  sparse_attn_grid grid = {};
  /// A mask may not distinguish heads or batch entries; `groups` then holds one
  /// plane for all of them.
  bool headsAlike = true, batchesAlike = true;
  std::vector<PlaneGroup> groups;
  size_t chosen = 0; ///< the group that a single picture shows
  Plane chosenPlane;
  int64_t rowsSeen = 0; ///< rows of a plane whose pairs were counted

  const PlaneGroup &picture() const { return groups[chosen]; }
  int64_t planes() const { return grid.batch * grid.heads; }
  /// Of all planes.
  int64_t tiles() const;
  int64_t fullTiles() const;
  int64_t partialTiles() const;
  int64_t visitedTiles() const { return fullTiles() + partialTiles(); }
  int64_t skippedTiles() const { return tiles() - visitedTiles(); }
  double tileDensity() const;
  double pairDensity() const;
  /// Predicted work of a visited tile, Q K^T and P V:
  /// 2 * tile_rows * tile_keys * (D + Dv).
  double tileFlop() const;
  /// "every head", "heads 0-3 of batch entry 1", ...
  std::string describe(const PlaneGroup &group) const;

private:
  int64_t sum(int64_t PlaneGroup::*count) const;
};

struct Explanation {
  std::string kernel;
  std::string level; ///< instruction level that runs here, empty if none does
  sparse_attn_shape shape = {};
  uint64_t planBytes = 0;
  /// Of a run with one thread, and of each further thread.
  uint64_t workspaceBytes = 0, workspaceBytesPerThread = 0;
  /// Those that run with this shape.
  std::vector<AttentionFacts> attentions;
  /// Those that the kernel has, to choose from.
  size_t plannedAttentions = 0;
};

//===----------------------------------------------------------------------===//
// Finding it out
//===----------------------------------------------------------------------===//

struct ExplainOptions {
  std::string kernel; ///< which one, where the library has several
  sparse_attn_shape shape = {1, 1, 1, 1024, 1024};
  /// Layout operands: name and .npy file.
  std::vector<std::pair<std::string, std::string>> operands;
  /// The plane that a single picture shows.
  Plane plane;
  /// As in PackageOptions.
  std::string runtimeArchive, linker;
};

/// Explains one kernel of `library`, which was compiled from `module`.
llvm::Expected<Explanation> explainLibrary(mlir::ModuleOp module,
                                           const CompiledLibrary &library,
                                           const ExplainOptions &options);

//===----------------------------------------------------------------------===//
// Telling it
//===----------------------------------------------------------------------===//

enum class ExplainFormat { Text, Svg, Png, Html };

/// Numbers, and a picture in block characters.
void printText(const Explanation &explanation, llvm::raw_ostream &os);

/// The chosen plane of every attention: tiles, and pairs where they are few.
std::string buildSvg(const Explanation &explanation);

/// The same picture in pixels, without words; the numbers are in its text chunks.
llvm::Expected<std::string> buildPng(const Explanation &explanation);

/// One page without references: numbers, and the picture of every group of planes.
std::string buildHtml(const Explanation &explanation);

/// The explanation as the contents of a file.
llvm::Expected<std::string> buildExplanation(const Explanation &explanation,
                                             ExplainFormat format);

} // namespace sparse_attn

#endif // SPARSE_ATTN_EXPLAIN_EXPLAIN_H
