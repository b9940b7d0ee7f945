//===- Text.cpp - the explanation in a terminal ---------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MaskTree.h"
#include "Numbers.h"
#include "Picture.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace sparse_attn;
using llvm::formatv;
using llvm::raw_ostream;

/// Characters of a picture. A character is about twice as high as wide.
static constexpr int64_t kMostColumns = 64, kMostLines = 64;
/// Where values begin.
static constexpr int kValueColumn = 14;
/// Where binding times begin at least.
static constexpr size_t kBindingColumn = 64;

/// Characters of a UTF-8 text.
static size_t countCharacters(llvm::StringRef text) {
  return llvm::count_if(text, [](char c) { return (c & 0xc0) != 0x80; });
}

static void pad(raw_ostream &os, size_t done, size_t column) {
  os.indent(done < column ? column - done : 1);
}

static void printRow(raw_ostream &os, llvm::StringRef name, const llvm::Twine &value) {
  os << "  " << name;
  pad(os, 2 + name.size(), kValueColumn);
  os << value << "\n";
}

//===----------------------------------------------------------------------===//
// The mask
//===----------------------------------------------------------------------===//

/// The width of the longest line of printTree.
static size_t getWidth(const MaskTree &tree, size_t depth = 0) {
  size_t width = 2 + 3 * depth + countCharacters(tree.label);
  for (const MaskTree &part : tree.parts)
    width = std::max(width, getWidth(part, depth + 1));
  return width;
}

static void printTree(const MaskTree &tree, const std::string &before,
                      const std::string &below, size_t column, raw_ostream &os) {
  std::string line = "  " + before + tree.label;
  os << line;
  pad(os, countCharacters(line), column);
  os << getBindingName(tree.binding) << "\n";
  for (const MaskTree &part : tree.parts) {
    bool last = &part == &tree.parts.back();
    printTree(part, below + (last ? "└─ " : "├─ "), below + (last ? "   " : "│  "),
              column, os);
  }
}

//===----------------------------------------------------------------------===//
// The numbers
//===----------------------------------------------------------------------===//

/// "head 3", "head 3 of batch entry 1"
static std::string describeShown(const AttentionFacts &facts) {
  std::string text = "head " + std::to_string(facts.chosenPlane.h);
  if (!facts.batchesAlike && facts.grid.batch > 1)
    text += " of batch entry " + std::to_string(facts.chosenPlane.b);
  return text;
}

static void printCounts(const AttentionFacts &facts, raw_ostream &os) {
  int64_t all = facts.tiles();
  const PlaneGroup &group = facts.picture();
  bool perHead = facts.planes() > 1;
  std::string shown = facts.groups.size() == 1 ? "each head" : describeShown(facts);
  os << "\n";
  os.indent(kValueColumn) << llvm::right_justify(perHead ? "all heads" : "tiles", 16)
                          << llvm::right_justify("share", 10);
  if (perHead)
    os << llvm::right_justify(shown, 24);
  os << "\n";
  auto line = [&](llvm::StringRef name, int64_t count, int64_t one) {
    os << "  " << name;
    pad(os, 2 + name.size(), kValueColumn);
    os << llvm::right_justify(formatCount(count), 16)
       << llvm::right_justify(formatPercent(all ? static_cast<double>(count) / all : 0),
                              10);
    if (perHead)
      os << llvm::right_justify(formatCount(one), 24);
    os << "\n";
  };
  line("visited", facts.visitedTiles(), group.visited());
  line("- full", facts.fullTiles(), group.full);
  line("- partial", facts.partialTiles(), group.partial);
  line("skipped", facts.skippedTiles(), group.skipped());
}

static void printWork(const Explanation &explanation, const AttentionFacts &facts,
                      raw_ostream &os) {
  os << "\n";
  double dense = facts.tiles() * facts.tileFlop();
  double work = facts.visitedTiles() * facts.tileFlop();
  std::string factor = work == dense ? "as much as"
                       : work > 0    ? formatFactor(dense / work) + " times less than"
                                     : "instead of";
  printRow(os, "density",
           formatPercent(facts.tileDensity()) + " of tiles, " +
               formatPairs(facts, facts.pairDensity()));
  printRow(os, "work",
           formatFlop(work) + ", " + factor + " the " + formatFlop(dense) +
               " of a dense kernel");
  printRow(os, "",
           formatTileFlop(facts) + " = " + formatFlop(facts.tileFlop()) +
               " for each tile visited");
}

/// Groups of planes that differ, one a line.
static void printGroups(const AttentionFacts &facts, raw_ostream &os) {
  if (facts.groups.size() < 2)
    return;
  os << "\n";
  os.indent(2) << llvm::right_justify("visited", 11) << llvm::right_justify("full", 11)
               << llvm::right_justify("partial", 11) << llvm::right_justify("skipped", 11)
               << llvm::right_justify("pairs", 11) << "  heads\n";
  constexpr size_t kMostGroups = 32;
  for (const PlaneGroup &group : llvm::ArrayRef(facts.groups).take_front(kMostGroups))
    os.indent(2) << llvm::right_justify(formatCount(group.visited()), 11)
                 << llvm::right_justify(formatCount(group.full), 11)
                 << llvm::right_justify(formatCount(group.partial), 11)
                 << llvm::right_justify(formatCount(group.skipped()), 11)
                 << llvm::right_justify(formatPercent(group.pairDensity()), 11) << "  "
                 << facts.describe(group) << "\n";
  if (facts.groups.size() > kMostGroups)
    os.indent(2) << "... and " << formatCount(facts.groups.size() - kMostGroups)
                 << " more\n";
}

//===----------------------------------------------------------------------===//
// The picture
//===----------------------------------------------------------------------===//

static llvm::StringRef getBlock(Share share, bool exact) {
  constexpr double kNothing = 1e-9;
  if (share.visited() < kNothing)
    return "·";
  if (share.full > 1 - kNothing)
    return "█";
  if (exact)
    return "▒";
  return share.visited() >= 0.5 ? "▓" : "░";
}

/// Labels under the lower edge: key positions, each under its column.
static void printKeyAxis(int64_t keys, int64_t columns, raw_ostream &os) {
  std::string line;
  int64_t step = chooseTickStep(keys, std::max<int64_t>(1, columns / 12));
  for (int64_t key = 0; key < keys; key += step) {
    size_t column = static_cast<size_t>(key * columns / keys);
    if (line.size() < column)
      line.resize(column, ' ');
    line += formatPosition(key);
  }
  os.indent(kValueColumn) << line << "\n";
}

/// A label at the left of every eighth line.
static void printQueryLabel(int64_t line, int64_t lines, const Panel &panel,
                            raw_ostream &os) {
  std::string label;
  if (line % 8 == 0)
    label = formatPosition(panel.firstPosition + line * panel.queries / lines);
  os << llvm::right_justify(label, kValueColumn - 1) << " ";
}

/// Tiles: characters are whole tiles where these are few.
static void printTiles(const Panel &panel, const AttentionFacts &facts, raw_ostream &os) {
  const CellMap &cells = panel.cells;
  double tileShape = static_cast<double>(facts.grid.tile_keys) / facts.grid.tile_rows;
  int64_t perTile = 2;
  while (perTile < 2 * tileShape)
    perTile *= 2;
  while (perTile > 1 && cells.unitColumns() * perTile > kMostColumns)
    perTile /= 2;
  int64_t columns = std::min(cells.unitColumns() * perTile, kMostColumns);
  // Lines that keep the shape of the map, two characters a square.
  double square = static_cast<double>(cells.unitColumns()) * tileShape / columns * 2;
  int64_t lines = std::clamp<int64_t>(std::llround(cells.unitRows() / square), 1,
                                      std::min(cells.unitRows(), kMostLines));
  bool exact = columns % cells.unitColumns() == 0 && lines == cells.unitRows();
  std::vector<Share> shares = cells.resample(lines, columns);
  for (int64_t line = 0; line < lines; ++line) {
    printQueryLabel(line, lines, panel, os);
    for (int64_t column = 0; column < columns; ++column)
      os << getBlock(shares[line * columns + column], exact);
    os << "\n";
  }
  int64_t reach = cells.unitColumns() * facts.grid.tile_keys;
  printKeyAxis(panel.keys, std::max<int64_t>(1, columns * panel.keys / reach), os);
  os.indent(kValueColumn) << (exact ? "█ full  ▒ partial  · skipped\n"
                                    : "█ all full  ▓ half or more visited  ░ fewer  "
                                      "· none\n");
}

/// Pairs, two rows in a line, or each pair in two characters where they are few.
static void printPairs(const Panel &panel, raw_ostream &os) {
  const CellMap &cells = panel.cells;
  auto kept = [&](int64_t row, int64_t column) {
    return row < cells.rows() && cells.share(row, column).full > 0;
  };
  bool wide = 2 * cells.columns() <= kMostColumns;
  int64_t perLine = wide ? 1 : 2, lines = (cells.rows() + perLine - 1) / perLine;
  for (int64_t line = 0; line < lines; ++line) {
    printQueryLabel(line * perLine, cells.rows(), panel, os);
    std::string text;
    for (int64_t column = 0; column < cells.columns(); ++column) {
      bool upper = kept(line * perLine, column);
      bool lower = wide ? upper : kept(line * perLine + 1, column);
      if (wide)
        text += upper ? "██" : "· ";
      else
        text += upper && lower ? "█" : upper ? "▀" : lower ? "▄" : "·";
    }
    os << llvm::StringRef(text).rtrim() << "\n";
  }
  printKeyAxis(panel.keys, cells.columns() * (wide ? 2 : 1), os);
  os.indent(kValueColumn) << "█ kept  · not\n";
}

static void printPicture(const AttentionFacts &facts, raw_ostream &os) {
  const PlaneGroup &group = facts.picture();
  std::string of = facts.groups.size() > 1 ? " of " + describeShown(facts) : "";
  for (const Panel &panel : makePanels(facts, group, 2 * kMostMapCells)) {
    bool small = std::max(panel.queries, panel.keys) <= kMostColumns;
    if (panel.isPairs != small)
      continue;
    os << "\n  " << (small ? "pairs kept" : "tiles visited") << of
       << ", queries down, keys to the right" << (small ? "" : describeOrder(facts))
       << "\n\n";
    if (small)
      printPairs(panel, os);
    else
      printTiles(panel, facts, os);
  }
}

//===----------------------------------------------------------------------===//
// All of it
//===----------------------------------------------------------------------===//

static void printAttention(const Explanation &explanation, size_t index,
                           raw_ostream &os) {
  const AttentionFacts &facts = explanation.attentions[index];
  if (explanation.attentions.size() > 1)
    os << "\nattention " << index + 1 << " of " << explanation.attentions.size()
       << (facts.halfOf.empty() ? "" : ": ") << facts.halfOf << "\n";
  size_t column = std::max(kBindingColumn, getWidth(facts.mask) + 2);
  os << "\n  mask";
  pad(os, 6, column);
  os << "known at\n";
  printTree(facts.mask, "", "", column, os);
  os << "\n";
  printRow(os, "shape", formatShape(explanation, facts));
  if (facts.keyBlock)
    printRow(os, "",
             formatCount(facts.grid.keys) + " pooled keys of " +
                 std::to_string(facts.keyBlock) + " tokens");
  printRow(os, "tiles",
           formatv("{0} queries x {1} keys, {2} x {3} a head", facts.grid.tile_rows,
                   facts.grid.tile_keys, formatCount(facts.picture().tileMap->unitRows()),
                   formatCount(facts.picture().tileMap->unitColumns()))
               .str());
  if (facts.grid.step > 1)
    printRow(os, "",
             formatv("of queries that are {0} apart and keys that are {0} apart",
                     facts.grid.step)
                 .str());
  printCounts(facts, os);
  printWork(explanation, facts, os);
  printGroups(facts, os);
  printPicture(facts, os);
}

void sparse_attn::printText(const Explanation &explanation, raw_ostream &os) {
  os << "kernel " << explanation.kernel << "\n\n";
  printRow(os, "plan", formatPlan(explanation));
  printRow(os, "workspace", formatWorkspace(explanation));
  if (!explanation.level.empty())
    printRow(os, "level", explanation.level);
  if (std::string unions = formatUnions(explanation); !unions.empty())
    printRow(os, "unions", unions);
  for (size_t index = 0; index < explanation.attentions.size(); ++index)
    printAttention(explanation, index, os);
}
