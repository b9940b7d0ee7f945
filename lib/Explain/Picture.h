//===- Picture.h - what the pictures have in common ------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EXPLAIN_PICTURE_H
#define SPARSE_ATTN_LIB_EXPLAIN_PICTURE_H

#include "sparse_attn/Explain/Explain.h"

namespace sparse_attn {

/// Cells of a map along an axis: enough for every picture.
inline constexpr int64_t kMostMapCells = 512;

/// A map as it goes on a page: queries down, keys to the right.
struct Panel {
  std::string title;
  bool isPairs = false;
  CellMap cells;
  /// Pixels of a whole cell. The last ones of an axis may reach over the edge of
  /// the sequence and are cut.
  double cellWidth = 1, cellHeight = 1;
  /// Pixels that show.
  double width = 0, height = 0;
  int64_t queries = 0, keys = 0, firstPosition = 0;

  /// Whether cells are large enough to be told apart by a line.
  bool hasGaps() const { return cells.isExact() && std::min(cellWidth, cellHeight) >= 5; }
};

/// ", both in the order of ..." where tiles do not hold neighbours, else nothing.
std::string describeOrder(const AttentionFacts &facts);

/// The panels of a group of planes: its pairs, where they are known and there is
/// more to see than in its tiles, and its tiles where there are several. The longer
/// side has about `pixels`, and at most `cells`.
std::vector<Panel> makePanels(const AttentionFacts &facts, const PlaneGroup &group,
                              int64_t pixels, int64_t cells = kMostMapCells);

/// The distance of axis labels: a power of two that leaves at most `most` steps.
int64_t chooseTickStep(int64_t length, int64_t most);

// Blue and orange differ in lightness too, and for every kind of colour vision.
namespace colors {
inline constexpr llvm::StringLiteral kPage = "#ffffff", kInk = "#1b1f24",
                                     kMuted = "#5c6673", kEmpty = "#e8ebf0",
                                     kFull = "#1f6fb4", kPartial = "#f2a33a";
inline constexpr llvm::StringLiteral kDarkPage = "#12161b", kDarkInk = "#e6e9ee",
                                     kDarkMuted = "#9aa4b2", kDarkEmpty = "#262d37",
                                     kDarkFull = "#58a6e8", kDarkPartial = "#f4b35c";
} // namespace colors

/// Text for SVG and HTML.
std::string escape(llvm::StringRef text);

/// A figure: panels with axes, and a legend. `width` and `height` are its size.
struct Figure {
  std::string body; ///< SVG elements
  double width = 0, height = 0;
};
Figure drawFigure(const AttentionFacts &facts, const PlaneGroup &group);

/// The classes of drawFigure in CSS, with light colours or dark ones.
std::string getFigureStyle(bool dark);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_EXPLAIN_PICTURE_H
