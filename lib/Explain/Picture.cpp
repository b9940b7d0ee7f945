//===- Picture.cpp - what the pictures have in common ---------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Picture.h"
#include <cmath>

using namespace sparse_attn;

/// A map is at least this thick, also that of a single query.
static constexpr double kLeastPixels = 28;
static constexpr int64_t kMostCellPixels = 28;

/// Sets sizes in pixels. A unit of the map is `unitRows` x `unitKeys` pairs.
static void setSize(Panel &panel, int64_t unitRows, int64_t unitKeys, int64_t pixels) {
  double rows = static_cast<double>(panel.cells.rowUnits() * unitRows);
  double keys = static_cast<double>(panel.cells.columnUnits() * unitKeys);
  double scale = static_cast<double>(pixels) / std::max(panel.queries, panel.keys);
  // Whole pixels keep edges sharp; the ratio of the sides comes second.
  double small = std::min(rows, keys);
  double side = std::clamp<double>(std::round(small * scale), 1, kMostCellPixels);
  auto fit = [&](double pairs, int64_t length) {
    double cell = std::max(1.0, std::round(side * pairs / small));
    return std::max(cell, std::ceil(kLeastPixels * pairs / length));
  };
  panel.cellHeight = fit(rows, panel.queries);
  panel.cellWidth = fit(keys, panel.keys);
  panel.height = panel.cellHeight * panel.queries / rows;
  panel.width = panel.cellWidth * panel.keys / keys;
}

/// Gives `panel` the size of `model`.
static void copySize(Panel &panel, const Panel &model) {
  panel.cellHeight *= model.height / panel.height;
  panel.cellWidth *= model.width / panel.width;
  panel.height = model.height;
  panel.width = model.width;
}

std::string sparse_attn::describeOrder(const AttentionFacts &facts) {
  if (facts.grid.step == 1)
    return "";
  return ", both in the order of their numbers modulo " + std::to_string(facts.grid.step);
}

static Panel makePanel(const AttentionFacts &facts, const PlaneGroup &group, bool isPairs,
                       int64_t pixels, int64_t cells) {
  Panel panel;
  panel.isPairs = isPairs;
  panel.title = isPairs ? "pairs kept"
                        : "tiles visited, " + std::to_string(facts.grid.tile_rows) +
                              " queries x " + std::to_string(facts.grid.tile_keys) +
                              " keys each" + describeOrder(facts);
  const CellMap &map = isPairs ? *group.pairMap : *group.tileMap;
  panel.cells = map.reduce(std::min(pixels / 2, cells));
  panel.queries = facts.grid.queries;
  panel.keys = facts.grid.keys;
  panel.firstPosition = group.extent.first_position;
  if (!isPairs && facts.grid.step > 1) {
    // The axes count rows and keys in the order of the tiles.
    panel.queries = facts.grid.row_tiles * facts.grid.tile_rows;
    panel.keys = facts.grid.key_tiles * facts.grid.tile_keys;
    panel.firstPosition = 0;
  }
  if (isPairs)
    setSize(panel, 1, 1, pixels);
  else
    setSize(panel, facts.grid.tile_rows, facts.grid.tile_keys, pixels);
  return panel;
}

std::vector<Panel> sparse_attn::makePanels(const AttentionFacts &facts,
                                           const PlaneGroup &group, int64_t pixels,
                                           int64_t cells) {
  std::vector<Panel> panels;
  if (group.pairMap)
    panels.push_back(makePanel(facts, group, true, pixels, cells));
  bool oneTile = group.tileMap && group.tileMap->unitRows() == 1 &&
                 group.tileMap->unitColumns() == 1;
  if (group.tileMap && !(oneTile && group.pairMap))
    panels.push_back(makePanel(facts, group, false, pixels, cells));
  if (panels.size() == 2)
    copySize(panels[0], panels[1]);
  return panels;
}

int64_t sparse_attn::chooseTickStep(int64_t length, int64_t most) {
  int64_t step = 1;
  while (step * most < length)
    step *= 2;
  return step;
}

std::string sparse_attn::escape(llvm::StringRef text) {
  std::string result;
  for (char c : text)
    switch (c) {
    case '&':
      result += "&amp;";
      break;
    case '<':
      result += "&lt;";
      break;
    case '>':
      result += "&gt;";
      break;
    case '"':
      result += "&quot;";
      break;
    default:
      result += c;
    }
  return result;
}
