//===- AttendGPU.h - parts of a GPU attention kernel -----------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A fragment is what one thread has of a 16 x 8 tile of sums: four values, of rows
// lane / 4 (values 0 and 1) and lane / 4 + 8, of columns 2 (lane % 4) + {0, 1}.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_CONVERSION_ATTENDGPU_H
#define SPARSE_ATTN_LIB_CONVERSION_ATTENDGPU_H

#include "GPUBuilder.h"
#include "sparse_attn/Conversion/GPUShape.h"

namespace sparse_attn {

/// What the parts of a kernel share while it is built.
struct GPUContext {
  mutable block_plan::AttentionOp plan; // handles of IR are not const-correct

  const KernelValues &ids;
  GPUShape shape;

  double getScale() const { return plan.getScale().convertToDouble(); }
  /// What takes scores to units of log2: modifiers see, and leave, natural scores, and
  /// products of Q and K are scaled only now.
  double getScoreFactor() const {
    return plan.getModify().empty() ? getScale() * kLog2E : kLog2E;
  }
  /// The same of the scores that the softmax gets: to those of keys with probabilities
  /// buildEdit has added log2(1 / pi) already.
  double getLog2Factor() const { return shape.weighted ? 1 : getScoreFactor(); }
};

/// One of the rows whose scores a thread has. Rows past the last one repeat it.
struct GPURow {
  mlir::Value number;   ///< in the tile
  mlir::Value inTile;   ///< whether it is a row at all
  mlir::Value query;    ///< in the tile, among the rows of its head
  mlir::Value head;     ///< query head
  mlir::Value index;    ///< of Q, O and LSE
  mlir::Value position; ///< p
};

/// What a block works at, read from sa_gpu_args and its sa_gpu_item, and where it keeps
/// it. All values are i32 unless said otherwise.
struct GPUFrame {
  /// Of item `number` of the launch.
  GPUFrame(GPUBuilder &b, const GPUContext &context, mlir::Value args, mlir::Value shared,
           mlir::Value number)
      : GPUFrame(b, context, args, shared, number, b.thread()) {}
  /// The same, all found anew: what tiles need does not wait in registers for what comes
  /// after them.
  GPUFrame again(GPUBuilder &b, const GPUContext &context) const {
    return GPUFrame(b, context, args, shared, b.anew(number), b.anew(b.thread()));
  }

  mlir::Value number; ///< of the item

  mlir::Value args, values; ///< pointers
  mlir::Value shared;       ///< pointer to shared memory
  mlir::Value batch, head, kvHead, firstRow, rowCount, first, end, slot, hops;
  mlir::Value keys, tokens, firstPosition; ///< of the batch entry
  mlir::Value heads, group, stack, step, classTiles, aligned, bitRows;
  mlir::Value thread, lane, warp;
  mlir::Value quad, member; ///< lane / 4 and lane % 4
  bool hasSteps;            ///< whether rows and keys may be more than 1 apart

  GPURow rowOf(GPUBuilder &b, mlir::Value number) const;
  /// Rows of the batch entry; those from there on are padding. Loaded where it is asked
  /// for: it is needed at the end alone.
  mlir::Value loadRows(GPUBuilder &b) const;
  /// Of row half `half` (0 or 1) of row tile `tile` of the warp: found here, or before.
  GPURow fragmentRow(GPUBuilder &b, const GPUShape &shape, int64_t tile,
                     int64_t half) const;
  /// Finds the rows of the warp now, and fragmentRow not again.
  void findRows(GPUBuilder &b, const GPUShape &shape);
  llvm::SmallVector<std::array<GPURow, 2>> foundRows;
  /// The residue class and the first key of a key tile.
  mlir::Value residueOf(GPUBuilder &b, mlir::Value tile) const;
  mlir::Value firstKeyOf(GPUBuilder &b, const GPUShape &shape, mlir::Value tile) const;
  mlir::Value lastKey(GPUBuilder &b) const { return b.sub(keys, b.i32(1)); }

private:
  GPUFrame(GPUBuilder &b, const GPUContext &context, mlir::Value args, mlir::Value shared,
           mlir::Value number, mlir::Value thread);
};

/// A tensor in the device's memory. Strides are i64, in bytes.
struct GPUTensor {
  mlir::Value data;
  std::array<mlir::Value, 3> strides; ///< of batch entries, heads and rows

  GPUTensor(GPUBuilder &b, const GPUFrame &frame, int32_t id, int64_t elementBytes);
  /// A pointer; all of i32.
  mlir::Value row(GPUBuilder &b, mlir::Value batch, mlir::Value head,
                  mlir::Value index) const;
};

/// A key tile that a block visits. `number` is negative after the last one; of listed
/// keys it is the place of the first one in shared memory.
struct GPUTile {
  mlir::Value number;
  mlir::Value full; ///< i1
  /// The number of its bit tile, in a plan or, of listed keys, in shared memory; null
  /// where a predicate decides pairs.
  mlir::Value bits;
  mlir::Value hops; ///< its first row of distances; null where the kernel needs none

  Values flatten() const;
  static GPUTile restore(mlir::ValueRange values);
};

/// Whether a kernel can answer in the place of the helper (MaskHelpers.h).
bool isHelperOnGPU(block_plan::HelperOp helper);
/// A cloner of the plan's regions, whose helpers the kernel answers.
RegionCloner makeCloner(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame);

/// Kernels that make the lists of a plan (sa_gpu_list): one that only counts, and one
/// that writes them.
void buildCountTiles(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame);
void buildListTiles(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame);
/// A kernel that checks the operands that plans list tiles of.
void buildCheckOperands(GPUBuilder &b, const GPUContext &context, mlir::Value args);

/// Where the tiles of a block come from: its mask, or a list. All threads of a warp have
/// the same state.
class TileSource {
public:
  TileSource(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame);
  /// The mask, even where lists are made of it.
  static TileSource ofMask(GPUBuilder &b, const GPUContext &context,
                           const GPUFrame &frame);

  Values begin();
  /// The first tile that `state` has not given, and the state after it.
  std::pair<GPUTile, Values> next(mlir::ValueRange state);

private:
  std::pair<GPUTile, Values> nextOfMask(mlir::ValueRange state);
  std::pair<GPUTile, Values> nextOfRuns(mlir::ValueRange state);
  mlir::Value firstHopsOf(mlir::Value number);
  Values refine(mlir::ValueRange state);
  TileClass classOf(mlir::Value firstTile, int64_t tiles);

  GPUBuilder &b;
  const GPUContext &context;
  const GPUFrame &frame;
  bool listed;
};

/// Rows of Q, K or V that go to shared memory.
struct CopiedRows {
  int64_t dim, paddedDim; ///< elements; the padding becomes 0
  int64_t count;
  int64_t pitch;      ///< bytes from row to row in shared memory
  mlir::Value at;     ///< bytes of row 0
  int32_t alignedBit; ///< of sa_gpu_args::aligned
};

/// Starts to copy rows. `rowOf` gets a number in the tile and returns a pointer to a row,
/// and whether that is meant: else zeros are.
void buildCopy(
    GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
    const CopiedRows &rows,
    llvm::function_ref<std::pair<mlir::Value, mlir::Value>(mlir::Value)> rowOf);
/// `at`: bytes of shared memory.
void buildCopyQueries(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                      mlir::Value at);
void buildCopyKeys(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                   mlir::Value tile, mlir::Value at);
void buildCopyValues(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                     mlir::Value tile, mlir::Value at);

/// [row tile][fragment of 8 columns * 4 + value]
using Fragments = llvm::SmallVector<Values>;

/// Keys of the tile in shared memory: `count` of them, a multiple of 16, from `first`, a
/// multiple of `count`.
struct KeyRange {
  mlir::Value first;
  int64_t count;

  static KeyRange all(GPUBuilder &b, const GPUShape &shape) {
    return {b.i32(0), shape.keys};
  }
};

/// Q K^T of these keys.
Fragments buildScores(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                      const KeyRange &keys);
/// What buildAccumulate adds: outputs += weights change(V).
struct ValueSum {
  const Fragments &weights;
  Fragments &outputs;
  /// What becomes of a word of V, of one f32 or of two elements of 16 bits; not null only
  /// where something does.
  std::function<mlir::Value(mlir::Value)> change;
};
/// All of `sums`, of so many columns of V from `first` on.
void buildAccumulate(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                     const KeyRange &keys, mlir::Value first, int64_t columns,
                     llvm::ArrayRef<ValueSum> sums);

/// The pairs of a tile that its mask keeps, by predicate: bits in words, in the order of
/// a thread's scores.
Values buildKept(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                 const GPUTile &tile);
/// Mask and modifiers of a tile, which is full or not. `kept` may be known before.
void buildEdit(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
               const GPUTile &tile, bool full, Fragments &scores,
               llvm::ArrayRef<mlir::Value> kept = {});
/// The same of some keys, where only the kernel knows whether the tile is full.
void buildEdit(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
               const GPUTile &tile, const KeyRange &keys, Fragments &scores);

/// The same of one score, of key `number` of the tile.
mlir::Value buildEditPair(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                          const GPUTile &tile, const GPURow &row, mlir::Value number,
                          mlir::Value score);

/// [row tile][half]
using RowValues = llvm::SmallVector<std::array<mlir::Value, 2>>;

/// The online softmax of the rows of a thread: m in units of log2, l of its own columns
/// until the end, and O.
struct RowStates {
  RowValues maxima, sums;
  Fragments outputs;

  static RowStates start(GPUBuilder &b, const GPUShape &shape);
  Values flatten() const;
  static RowStates restore(const GPUShape &shape, mlir::ValueRange values);
  /// Makes l that of all columns.
  void combineSums(GPUBuilder &b);
};

/// What all four lanes of a quad have, one after another.
mlir::Value
combineQuad(GPUBuilder &b, mlir::Value value,
            llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine);

/// m where it is a number, else 0: of a row without a key all weights are 2^-inf.
mlir::Value getShift(GPUBuilder &b, mlir::Value maximum);

/// sum * factor, where a factor in [0, 1] that is too small for its type leaves an inf.
mlir::Value buildDecay(GPUBuilder &b, mlir::Value sum, mlir::Value factor);

/// Makes weights of scores, m and l; O is to be rescaled.
void buildSoftmax(GPUBuilder &b, const GPUContext &context, Fragments &scores,
                  RowStates &states);
/// Scales the sums of rows whose maxima have grown, if there is one in the warp.
void buildRescale(GPUBuilder &b, const RowValues &before, const RowValues &maxima,
                  Fragments &outputs);
/// The columns of a row that a thread has: `first`, which is at most `largest`, and on.
struct RowColumns {
  mlir::Value first;
  int64_t largest;
  llvm::SmallVector<int64_t> offsets;
  bool paired; ///< columns 2 i and 2 i + 1, two by two

  /// Of so many fragments from column `first` on.
  static RowColumns ofFragments(GPUBuilder &b, const GPUShape &shape,
                                const GPUFrame &frame, mlir::Value first,
                                int64_t fragments);
  /// Of a lane of a warp that has one row: every 32nd.
  static RowColumns ofWarp(const GPUShape &shape, const GPUFrame &frame);
};

/// The end of a row, of which several threads have some columns each.
struct RowResult {
  GPURow row;
  mlir::Value maximum, sum;
  Values outputs;
};
/// Pointers to what a slot of sa_gpu_args::states has of a row of the tile.
struct StateRow {
  StateRow(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
           mlir::Value slot, mlir::Value row);

  mlir::Value outputs, maximum, sum;
};

/// Writes those columns that V has at a row of elements, which they are rounded to.
void buildStoreColumns(GPUBuilder &b, const GPUContext &context,
                       const RowColumns &columns, llvm::ArrayRef<mlir::Value> outputs,
                       mlir::Value row, mlir::Type element);

/// Writes O, of those `columns` that V has, and LSE by the thread that `isFirst`.
void buildWriteResult(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                      RowResult result, mlir::Value isFirst, const RowColumns &columns);

/// Writes O and LSE, or the state where the item is a part.
void buildFinishRow(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                    const RowResult &result, mlir::Value isFirst,
                    const RowColumns &columns);

/// A kernel that makes O and LSE of states.
void buildCombine(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame);

/// Finishes the rows of the tile, from column `first` on, but for those that `leftOut`,
/// if not empty, names by i1. The sums are combined.
void buildFinish(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                 const RowStates &states, mlir::Value first,
                 const RowValues &leftOut = {});

/// Whether a value is an inf or NaN.
mlir::Value buildAnyNonFinite(GPUBuilder &b, const Fragments &values);
/// Keeps m and l, which are final, in shared memory; a barrier follows.
void buildKeepStates(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                     const RowStates &states);
/// Writes O once more, and right where V holds an inf or NaN, with the m and l that were
/// kept. All threads of the block come here, after a barrier behind which
/// nothing reads Q, K and V in shared memory.
void buildFinishNonFinite(GPUBuilder &b, const GPUContext &context,
                          const GPUFrame &frame);

/// Which rows a warp has to make again (NonFiniteRows.cpp): i1. The sums are combined.
RowValues findNonFiniteRows(GPUBuilder &b, const RowStates &states);
/// Makes these rows again and finishes them, with their m and l.
void buildFinishNonFiniteRows(GPUBuilder &b, const GPUContext &context,
                              const GPUFrame &frame, const RowStates &states,
                              const RowValues &nonFinite);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_CONVERSION_ATTENDGPU_H
