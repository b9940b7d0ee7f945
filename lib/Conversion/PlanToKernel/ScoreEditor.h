//===- ScoreEditor.h - mask and modifiers of one tile ----------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_CONVERSION_SCOREEDITOR_H
#define SPARSE_ATTN_LIB_CONVERSION_SCOREEDITOR_H

#include "KernelBuilder.h"

namespace sparse_attn {

/// What a tile's softmax reads, by name.
struct Tile {
  mlir::Value args;     ///< sa_attend_args
  mlir::Value firstKey; ///< of the tile; the others follow in steps, or in the list
  mlir::Value keys;     ///< that exist in the tile
  mlir::Value bits;     ///< the tile's bits; null pointer where a predicate decides
  mlir::Value hops;     ///< the tile's distances, where there are any
};

/// A row of scores: row `number` of the scratch is row `index` of the query tile of
/// head `head` (i32).
struct Row {
  mlir::Value number, index, head;
};

/// Everything about the mask and the modifiers of one tile.
class ScoreEditor {
public:
  ScoreEditor(KernelBuilder &b, const AttendContext &context, Tile tile, bool full);

  bool changesScores() { return !full || !plan.getModify().empty(); }

  /// The scores of `lanes` keys from `column` of the tile, edited.
  mlir::Value edit(mlir::Value score, const Row &row, mlir::Value column);

private:
  /// number * step
  mlir::Value steps(mlir::Value number);
  mlir::Value predicate(mlir::Value head, mlir::Value position, mlir::Value key,
                        mlir::Value inBounds);
  /// The listed keys from `column` of the tile on; past the last one, some key.
  mlir::Value loadListed(mlir::Value column);
  /// One bit for each pair, the tile's keys of a row side by side.
  mlir::Value loadBits(mlir::Value row, mlir::Value column);
  /// `lanes` bits of a byte from bit `column` % 8 on.
  mlir::Value loadPartOfByte(mlir::Value byte, mlir::Value column);
  /// Distances as f32, +inf where there is no path.
  mlir::Value loadHops(mlir::Value row, mlir::Value column);

  KernelBuilder &b;
  block_plan::AttentionOp plan;
  const KernelShape &shape;
  double scale;
  Tile tile;
  bool full, listed;
  mlir::Value values;
  RegionCloner cloner;
  mlir::Value batch, firstRow, firstPosition, firstKey, step;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_CONVERSION_SCOREEDITOR_H
