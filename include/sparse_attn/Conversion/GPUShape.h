//===- GPUShape.h - shapes and memory of a GPU kernel ----------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_CONVERSION_GPUSHAPE_H
#define SPARSE_ATTN_CONVERSION_GPUSHAPE_H

#include "dialect/BlockPlan/BlockPlan.h"
#include "sparse_attn/Target/GPUTarget.h"

namespace sparse_attn {

/// Buffers in shared memory that go from producers to consumers and back: use number u
/// is round u / size of buffer u % size.
struct GPURing {
  int64_t size = 0;       ///< buffers
  int64_t at = 0, bytes;  ///< of buffer 0; of each
  int64_t barriersAt = 0; ///< mbarriers: `size` of full buffers, then of empty ones
};

/// The lists of a mask that a run brings: first those that name all keys that it keeps,
/// whatever the others name.
struct MaskLists {
  llvm::SmallVector<mlir::Value> masks;
  int64_t bounding = 0; ///< how many those are
};
MaskLists getMaskLists(block_plan::AttentionOp plan);

/// What a thread block works at, and where it keeps that in shared memory.
///
/// Warps:       Q [rows][pitch]   K [keys][pitch]   V [keys][valuePitch]   m, l [rows][2]
///
/// Each warp has `rowTiles` times 16 rows, whose sums stay in its registers. Rows in
/// shared memory lie an odd number of 16 bytes apart, so that the 8 rows of a matrix that
/// a warp reads at once are in different banks. m and l come there after the last tile.
///
/// Where an operand lists the keys, these come after m and l: see KeyLists.cpp.
///
/// Warpgroups:  Q [panels][rows][128]   K, V [buffers][panels][keys][128]
///
/// `consumers` warpgroups of 64 rows each, and one after them that brings what they need.
/// A panel has 64 columns, in the 128-byte swizzle of wgmma and TMA.
struct GPUShape {
  GPUShape(block_plan::AttentionOp plan, const GPUTarget &target);

  bool warpgroups;    ///< the form of the kernel
  mlir::Type element; ///< of Q, K and V
  int64_t elementBytes;
  int64_t step; ///< elements that one matrix instruction contracts
  int64_t warps, threads;
  int64_t copyThreads; ///< that copy rows together
  int64_t rowTiles;    ///< of 16 rows, of each warp
  int64_t rows;        ///< of a query tile
  int64_t keys;        ///< of a key tile
  /// Of a multiprocessor, whose registers they share; 0: as ptxas likes.
  int64_t blocks = 0;
  int64_t headDim, paddedHeadDim;
  int64_t valueDim, paddedValueDim;

  /// In bytes.
  int64_t pitch, valuePitch;
  int64_t queriesAt, keysAt, valuesAt, statesAt, sharedBytes;

  /// Elements of a list that become keys together; 0: the keys are neighbours.
  int64_t listed = 0;
  bool weighted = false; ///< listed keys have probabilities
  bool decided = false;  ///< pairs of a tile of them, before there are scores
  int64_t tableAt = 0, keptAt = 0, listsAt = 0, biasesAt = 0, membersAt = 0, pairsAt = 0;
  MaskLists lists;
  /// Whether keys may be in some lists and not in others.
  bool severalLists() const { return lists.masks.size() > 1; }
  /// Of a hash table, in which the keys of so many elements are; and its words.
  int64_t slots() const { return 2 * listed; }
  int64_t tableWords() const { return slots() * (1 + lists.masks.size()); }
  /// Of a list of keys: those of the elements, and padding up to a whole tile.
  int64_t listSize() const { return listed + keys; }
  /// Of bits of a row of such a tile.
  int64_t pairWords() const { return (keys + 31) / 32; }

  int64_t consumers = 0;
  GPURing queryRing, keyRing, valueRing;
  int64_t tilesAt = 0; ///< what the key tiles of the ring are: 16 bytes each

private:
  void placeWarps(const GPUTarget &target);
  void placeLists();
  int64_t getMostKeys(int64_t outputs) const;
  void placeWarpgroups(block_plan::AttentionOp plan, const GPUTarget &target);
};

/// Threads of a block that merges states, a warp for each row.
inline constexpr int64_t kMergeRows = 4, kMergeThreads = 32 * kMergeRows;

/// Threads of a block of the kernel that makes means of keys or values.
inline constexpr int64_t kMeansThreads = 128;

/// Why `plan` has no GPU kernel; empty where it has one.
std::string getGPUObstacle(block_plan::AttentionOp plan, const GPUTarget &target);

/// The same of a mask that a run decides: kernels make no choices, but read lists.
std::string getListObstacle(block_plan::AttentionOp plan);

/// Whether what a mask combines with lists reads operands.
bool readsStructures(block_plan::AttentionOp plan);

/// Whether a kernel finds the tiles of `plan` by itself: else a plan lists them.
bool findsTilesOnGPU(block_plan::AttentionOp plan);

/// Whether kernels list the tiles of `plan`, whose operands lie in the device's memory:
/// else the host does.
bool listsTilesOnGPU(block_plan::AttentionOp plan);

/// Whether a kernel checks operands of `plan` that lie in the device's memory.
bool checksOperandsOnGPU(block_plan::AttentionOp plan);

/// Of a block that lists the tiles of a query tile, and of one that checks operands.
inline constexpr int64_t kListThreads = 128;

} // namespace sparse_attn

#endif // SPARSE_ATTN_CONVERSION_GPUSHAPE_H
