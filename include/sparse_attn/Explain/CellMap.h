//===- CellMap.h - a picture of a plan or of a mask ------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_EXPLAIN_CELLMAP_H
#define SPARSE_ATTN_EXPLAIN_CELLMAP_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <vector>

namespace sparse_attn {

/// The parts of an area that are full and partial, in [0, 1]; the rest is empty.
struct Share {
  double full = 0, partial = 0;
  double visited() const { return full + partial; }
  bool operator==(const Share &) const = default;
};

/// A grid of units (tiles, or pairs), each empty, full or partial. Where there
/// are more than `most` along an axis, a cell is the sum of several (a power of
/// two), so that a map takes the same memory at any length.
class CellMap {
public:
  enum Kind { Full, Partial };

  CellMap() = default;
  CellMap(int64_t unitRows, int64_t unitColumns, int64_t most);

  /// Marks units [first, first + count) of a row. A unit is marked once.
  void add(int64_t row, int64_t first, int64_t count, Kind kind);

  int64_t unitRows() const { return unitSizes[0]; }
  int64_t unitColumns() const { return unitSizes[1]; }
  /// Cells.
  int64_t rows() const { return sizes[0]; }
  int64_t columns() const { return sizes[1]; }
  /// Units of a cell along an axis; the last cell may have fewer.
  int64_t rowUnits() const { return steps[0]; }
  int64_t columnUnits() const { return steps[1]; }
  /// Whether each cell is one unit.
  bool isExact() const { return steps[0] == 1 && steps[1] == 1; }

  /// What cell (row, column) holds.
  Share share(int64_t row, int64_t column) const;

  /// The same map with at most `most` cells along an axis.
  CellMap reduce(int64_t most) const;

  /// The shares of `rows` x `columns` equal rectangles that cover the map, row by
  /// row. A cell that lies in several counts in each by the area that it shares.
  std::vector<Share> resample(int64_t rows, int64_t columns) const;

private:
  struct Count {
    uint32_t full = 0, partial = 0;
  };
  int64_t unitsOf(unsigned axis, int64_t index) const;

  int64_t unitSizes[2] = {0, 0}, sizes[2] = {0, 0}, steps[2] = {1, 1};
  std::vector<Count> cells;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_EXPLAIN_CELLMAP_H
