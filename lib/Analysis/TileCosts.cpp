//===- TileCosts.cpp - what a tile of a given size costs ------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Analysis/TileCosts.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>
#include <tuple>

using namespace sparse_attn;

// Fitted to 96 times of f32 kernels at D = 64 and 128 on an AMD EPYC of family 26
// (AVX-512; 48 KiB, 1 MiB, 32 MiB): 12 tiles, dense and causal at 8k tokens, windows of
// 1k at 8k and 64k. The model is off by 2.5 % (root of the mean square), which is about
// what two runs differ by.

/// Multiply-adds that start in a cycle.
static constexpr double kProductsPerCycle = 2;
/// For a vector of scores: the exponential and what is around it.
static constexpr double kSoftmaxCycles = 10;
/// For a row and a key tile, and for each vector of its O.
static constexpr double kRowCycles = 6, kOutputCycles = 1;
/// Bytes that come in a cycle from L2, L3 and memory.
static constexpr double kL2Bytes = 64, kL3Bytes = 16, kMemoryBytes = 6;
/// The share of what comes from L2, and of a stream of keys, that the products do not
/// hide.
static constexpr double kVisible = 0.125, kVisibleKeys = 0.1;
/// Keys of a typical row, and of a typical head.
static constexpr double kRun = 2048, kKeys = 16384;
/// What a pair outside of the mask costs, of one inside.
static constexpr double kEdgePair = 0.85;

static constexpr int64_t kFloat = sizeof(float);

TileCost sparse_attn::estimateTileCost(const TileProblem &problem,
                                       const CacheSizes &caches, TileShape tile) {
  double lanes = problem.lanes, headDim = problem.headDim;
  double valueDim = llvm::alignTo(problem.valueDim, problem.lanes);
  double rows = tile.rows, keys = tile.keys, panel = problem.registerVectors * lanes;
  double paddedRows = llvm::alignTo(tile.rows, problem.registerRows);
  double element = static_cast<double>(kFloat) / problem.elementsPerLane;
  double padding = paddedRows / rows;

  TileCost cost;
  cost.products = (headDim + valueDim) * padding /
                  (kProductsPerCycle * lanes * problem.elementsPerLane);
  cost.softmax = kSoftmaxCycles / lanes;
  cost.rows = (kRowCycles + kOutputCycles * valueDim / lanes) / keys;

  // Bytes for each pair, had none of it stayed in L1.
  double queries = paddedRows * headDim * element, scores = paddedRows * keys * kFloat;
  double bytes = 0;
  if (queries + panel * headDim * element > caches.l1)
    bytes += headDim * element / panel;
  if (scores > caches.l1 / 2)
    bytes += 3 * kFloat;
  if (keys * panel * element + problem.registerRows * keys * kFloat > caches.l1)
    bytes += valueDim * element / problem.registerRows;
  double workingSet = queries + scores + paddedRows * valueDim * kFloat +
                      keys * (headDim + valueDim) * element;
  cost.caches = workingSet > caches.l2 ? bytes / kL3Bytes : kVisible * bytes / kL2Bytes;

  double headBytes = kKeys * (headDim + valueDim) * element;
  cost.keys = kVisibleKeys * (headDim + valueDim) * element / rows /
              (headBytes > caches.l3 ? kMemoryBytes : kL3Bytes);
  double aligned = std::gcd(tile.rows, tile.keys);
  cost.edges = 1 + kEdgePair * (rows + keys - aligned) / kRun;
  return cost;
}

TileShape sparse_attn::chooseTile(const TileProblem &problem, const CacheSizes &caches) {
  constexpr double kAlike = 1.02;
  constexpr int64_t kMostRows = 64;
  llvm::SmallVector<RankedTile> ranked = rankTiles(problem, caches);
  TileShape chosen = ranked.front().tile;
  for (const RankedTile &other : ranked) {
    if (other.cost.total() > kAlike * ranked.front().cost.total())
      break;
    bool fits = other.tile.rows <= kMostRows;
    if (fits && (chosen.rows > kMostRows || std::pair(other.tile.keys, other.tile.rows) >
                                                std::pair(chosen.keys, chosen.rows)))
      chosen = other.tile;
  }
  return chosen;
}

llvm::SmallVector<RankedTile> sparse_attn::rankTiles(const TileProblem &problem,
                                                     const CacheSizes &caches) {
  llvm::SmallVector<RankedTile> ranked;
  for (int64_t rows : {16, 32, 48, 64, 96, 128, 192, 256})
    for (int64_t keys : {64, 128, 192, 256, 384, 512})
      ranked.push_back({{rows, keys}, estimateTileCost(problem, caches, {rows, keys})});
  llvm::sort(ranked, [](const RankedTile &a, const RankedTile &b) {
    return std::tuple(a.cost.total(), a.tile.rows, a.tile.keys) <
           std::tuple(b.cost.total(), b.tile.rows, b.tile.keys);
  });
  return ranked;
}
