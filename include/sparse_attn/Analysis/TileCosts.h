//===- TileCosts.h - what a tile of a given size costs ---------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A kernel works on tiles of R query rows x T keys. For each pair of a row that has
// typical length and two slanted edges, this model adds up cycles:
//
//   products   (D + Dv) (R' / R) / (2 lanes)     R' = R up to whole register tiles;
//                                                two multiply-adds start in a cycle
//   softmax    a constant for each vector of scores
//   rows       of each key tile, for each row: maximum, rescaling, O read, added to
//              and written: (c + c' Dv / lanes) / T
//   caches     bytes that a pass finds in L2 and not in L1, over the bytes that come in
//              a cycle; the products hide most of them
//                Q      for every K panel, unless both fit L1
//                S, P   three passes, unless they fit half of L1
//                V      for every row of register tiles, unless a panel of V and a
//                       row of P fit L1
//                all    where Q, S, O and a packed key tile outgrow L2, they come from
//                       L3 and nothing hides them
//   keys       a packed key tile is read once for R rows: e (D + Dv) / R bytes from
//              L3, or from memory where the keys of a head do not fit L3; the part
//              that prefetching does not hide
//   edges      pairs computed and not kept: a row of `run` keys costs R + T - gcd(R, T)
//              more, since R rows see R other keys and both ends are cut at a tile;
//              edges that move with the rows meet the tiles at multiples of the gcd
//
// All terms but the last are for a computed pair; edges multiply their sum. Constants
// are in TileCosts.cpp, with what they were fitted to.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_ANALYSIS_TILECOSTS_H
#define SPARSE_ATTN_ANALYSIS_TILECOSTS_H

#include "llvm/ADT/SmallVector.h"
#include <cstdint>

namespace sparse_attn {

/// Data caches as one core sees them, in bytes. A server of no particular kind.
struct CacheSizes {
  int64_t l1 = 32 << 10, l2 = 1 << 20, l3 = 32 << 20;
};

/// What the tiles of one attention depend on: the kernel and the registers.
struct TileProblem {
  int64_t headDim = 64, valueDim = 64;
  int64_t lanes = 16;                            ///< f32 of a vector
  int64_t registerRows = 8, registerVectors = 2; ///< of the products
  /// Elements that a lane multiplies and adds at once: 2 where products are bf16.
  int64_t elementsPerLane = 1;
};

struct TileShape {
  int64_t rows = 64, keys = 128;
  bool operator==(const TileShape &other) const = default;
};

/// Cycles for each computed pair, by cause, and what edges multiply them by.
struct TileCost {
  double products = 0, softmax = 0, rows = 0, caches = 0, keys = 0;
  double edges = 1;
  double total() const { return (products + softmax + rows + caches + keys) * edges; }
};

TileCost estimateTileCost(const TileProblem &problem, const CacheSizes &caches,
                          TileShape tile);

struct RankedTile {
  TileShape tile;
  TileCost cost;
};

/// The tile to take where nobody has measured. Costs within 2 % are alike: of those
/// tiles, with at most 64 rows so that there are tasks for many threads, it is the one
/// with the most keys, since plans list fewer of them, and then the most rows.
TileShape chooseTile(const TileProblem &problem, const CacheSizes &caches);

/// Every tile worth trying, the cheapest first.
llvm::SmallVector<RankedTile> rankTiles(const TileProblem &problem,
                                        const CacheSizes &caches);

} // namespace sparse_attn

#endif // SPARSE_ATTN_ANALYSIS_TILECOSTS_H
