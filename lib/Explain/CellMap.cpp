//===- CellMap.cpp - a picture of a plan or of a mask ---------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Explain/CellMap.h"
#include "llvm/Support/MathExtras.h"
#include <algorithm>
#include <cassert>

using namespace sparse_attn;

/// Units of a cell for at most `most` cells. Powers of two fit the blocks that
/// patterns and tiles are made of.
static int64_t chooseStep(int64_t units, int64_t most) {
  int64_t step = 1;
  while (static_cast<int64_t>(llvm::divideCeil(units, step)) > most)
    step *= 2;
  return step;
}

CellMap::CellMap(int64_t unitRows, int64_t unitColumns, int64_t most) {
  unitSizes[0] = unitRows;
  unitSizes[1] = unitColumns;
  for (unsigned axis : {0, 1}) {
    steps[axis] = chooseStep(unitSizes[axis], most);
    sizes[axis] = llvm::divideCeil(unitSizes[axis], steps[axis]);
  }
  cells.resize(sizes[0] * sizes[1]);
}

void CellMap::add(int64_t row, int64_t first, int64_t count, Kind kind) {
  assert(row < unitSizes[0] && first + count <= unitSizes[1] && "unit outside the map");
  Count *cellRow = &cells[row / steps[0] * sizes[1]];
  for (int64_t unit = first, end = first + count; unit < end;) {
    int64_t column = unit / steps[1];
    int64_t next = std::min((column + 1) * steps[1], end);
    uint32_t &value = kind == Full ? cellRow[column].full : cellRow[column].partial;
    value += next - unit;
    unit = next;
  }
}

int64_t CellMap::unitsOf(unsigned axis, int64_t index) const {
  return std::min(steps[axis], unitSizes[axis] - index * steps[axis]);
}

Share CellMap::share(int64_t row, int64_t column) const {
  const Count &count = cells[row * sizes[1] + column];
  double units = static_cast<double>(unitsOf(0, row) * unitsOf(1, column));
  return {count.full / units, count.partial / units};
}

CellMap CellMap::reduce(int64_t most) const {
  // Cells are joined whole.
  CellMap result;
  for (unsigned axis : {0, 1}) {
    result.unitSizes[axis] = unitSizes[axis];
    result.steps[axis] = std::max(steps[axis], chooseStep(unitSizes[axis], most));
    result.sizes[axis] = llvm::divideCeil(unitSizes[axis], result.steps[axis]);
  }
  result.cells.resize(result.sizes[0] * result.sizes[1]);
  int64_t joined[2] = {result.steps[0] / steps[0], result.steps[1] / steps[1]};
  for (int64_t row = 0; row < sizes[0]; ++row)
    for (int64_t column = 0; column < sizes[1]; ++column) {
      const Count &from = cells[row * sizes[1] + column];
      Count &to = result.cells[row / joined[0] * result.sizes[1] + column / joined[1]];
      to.full += from.full;
      to.partial += from.partial;
    }
  return result;
}

namespace {
/// A cell that overlaps an interval, and by how many units.
struct Overlap {
  int64_t cell;
  double units;
};
} // namespace

/// For each of `parts` equal intervals of [0, units), the cells of `step` units
/// that overlap it.
static std::vector<std::vector<Overlap>> getOverlaps(int64_t units, int64_t step,
                                                     int64_t parts) {
  std::vector<std::vector<Overlap>> result(parts);
  for (int64_t part = 0; part < parts; ++part) {
    double begin = static_cast<double>(units) * part / parts;
    double end = static_cast<double>(units) * (part + 1) / parts;
    for (int64_t cell = static_cast<int64_t>(begin) / step; cell * step < units; ++cell) {
      double from = std::max(begin, static_cast<double>(cell * step));
      double to = std::min(
          {end, static_cast<double>((cell + 1) * step), static_cast<double>(units)});
      if (to <= from)
        break;
      result[part].push_back({cell, to - from});
    }
  }
  return result;
}

std::vector<Share> CellMap::resample(int64_t rows, int64_t columns) const {
  std::vector<Share> result(rows * columns);
  auto rowOverlaps = getOverlaps(unitSizes[0], steps[0], rows);
  auto columnOverlaps = getOverlaps(unitSizes[1], steps[1], columns);
  double area = static_cast<double>(unitSizes[0]) * unitSizes[1] / (rows * columns);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column) {
      Share &sum = result[row * columns + column];
      for (const Overlap &r : rowOverlaps[row])
        for (const Overlap &c : columnOverlaps[column]) {
          Share part = share(r.cell, c.cell);
          double weight = r.units * c.units / area;
          sum.full += part.full * weight;
          sum.partial += part.partial * weight;
        }
    }
  return result;
}
