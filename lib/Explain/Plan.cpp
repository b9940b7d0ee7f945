//===- Plan.cpp - looking at a plan through the C interface ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Tiles are those that a run visits, whatever their number: runs of them are
// summed into maps of bounded size. Pairs are found by asking the generated
// classifier about a row and halving what it leaves open; where that could take
// long, a sample of rows stands for all.
//
//===----------------------------------------------------------------------===//

#include "Plan.h"
#include "Picture.h"
#include "llvm/ADT/Hashing.h"
#include "llvm/Support/MathExtras.h"
#include <map>
#include <random>

using namespace sparse_attn;
using llvm::Error;

/// Pairs are drawn up to this many rows and keys.
static constexpr int64_t kMostDrawnPairs = 4096;
/// Groups of planes that get a picture.
static constexpr size_t kMostPictures = 16;
/// Pairs that may be asked for in the worst case, a row for which every pair is
/// asked alone.
static constexpr int64_t kMostAskedPairs = int64_t{1} << 24;
static constexpr int64_t kLeastRows = 16;

Error sparse_attn::makeRuntimeError() {
  return llvm::createStringError(sparse_attn_last_error());
}

static Error check(sparse_attn_status status) {
  return status == SPARSE_ATTN_OK ? Error::success() : makeRuntimeError();
}

namespace {

/// Reads one plane.
class PlaneReader {
public:
  PlaneReader(const sparse_attn_plan *plan, size_t attention,
              const sparse_attn_grid &grid, Plane plane)
      : plan(plan), attention(attention), plane(plane), grid(grid) {}

  /// Tiles and pairs; `rows` are those whose pairs are looked at.
  Error read(llvm::ArrayRef<int64_t> rows) {
    if (Error error = readExtent())
      return error;
    if (Error error = readTiles())
      return error;
    return readPairs(rows);
  }

  PlaneGroup group;
  /// Of all that was read: planes with equal values are alike.
  llvm::hash_code hash = 0;

private:
  Error readExtent() {
    if (Error error =
            check(sparse_attn_plan_extent(plan, attention, plane.b, &group.extent)))
      return error;
    group.planes = {plane};
    group.tiles = countTiles(group.extent.queries, grid.tile_rows) *
                  countTiles(group.extent.keys, grid.tile_keys);
    hash = llvm::hash_combine(group.extent.queries, group.extent.keys,
                              group.extent.first_position);
    return Error::success();
  }

  /// Tiles that hold a row, or a key, of `total`.
  int64_t countTiles(int64_t total, int64_t size) const {
    int64_t tiles = 0;
    for (int64_t residue = 0; residue < std::min(grid.step, total); ++residue)
      tiles += llvm::divideCeil(llvm::divideCeil(total - residue, grid.step), size);
    return tiles;
  }

  Error readTiles() {
    group.tileMap.emplace(grid.row_tiles, grid.key_tiles, kMostMapCells);
    for (rowTile = 0; rowTile < grid.row_tiles; ++rowTile)
      if (Error error = check(sparse_attn_plan_visit(plan, attention, plane.b, plane.h,
                                                     rowTile, addTiles, this)))
        return error;
    return Error::success();
  }

  static void addTiles(void *context, int64_t first, int64_t tiles,
                       sparse_attn_tile_class kind) {
    auto *self = static_cast<PlaneReader *>(context);
    bool full = kind == SPARSE_ATTN_TILE_FULL;
    (full ? self->group.full : self->group.partial) += tiles;
    self->group.tileMap->add(self->rowTile, first, tiles,
                             full ? CellMap::Full : CellMap::Partial);
    self->hash = llvm::hash_combine(self->hash, self->rowTile, first, tiles, full);
  }

  Error readPairs(llvm::ArrayRef<int64_t> rows) {
    bool drawn = static_cast<int64_t>(rows.size()) == grid.queries &&
                 std::max(grid.queries, grid.keys) <= kMostDrawnPairs;
    if (drawn)
      group.pairMap.emplace(grid.queries, grid.keys, kMostMapCells);
    for (int64_t row : rows) {
      if (row >= group.extent.queries)
        break;
      group.pairs += group.extent.keys;
      if (group.extent.keys > 0)
        if (Error error = readRow(row, 0, group.extent.keys - 1))
          return error;
    }
    return Error::success();
  }

  /// The kept pairs of `row` among keys [first, last].
  Error readRow(int64_t row, int64_t first, int64_t last) {
    int64_t position = group.extent.first_position + row;
    sparse_attn_tile_class kind;
    if (Error error = check(sparse_attn_plan_classify(
            plan, attention, plane.b, plane.h, position, position, first, last, &kind)))
      return error;
    if (kind == SPARSE_ATTN_TILE_FULL) {
      group.keptPairs += last - first + 1;
      if (group.pairMap)
        group.pairMap->add(row, first, last - first + 1, CellMap::Full);
      hash = llvm::hash_combine(hash, row, first, last);
    }
    if (kind != SPARSE_ATTN_TILE_PARTIAL || first == last)
      return Error::success();
    int64_t middle = first + (last - first) / 2;
    if (Error error = readRow(row, first, middle))
      return error;
    return readRow(row, middle + 1, last);
  }

  const sparse_attn_plan *plan;
  size_t attention;
  Plane plane;
  const sparse_attn_grid &grid;
  int64_t rowTile = 0;
};

} // namespace

/// Rows in order. Where not all of them, one anywhere in each of equal parts: evenly
/// spaced ones would meet a mask with a period always at the same place.
static std::vector<int64_t> chooseRows(const sparse_attn_grid &grid, int64_t planes) {
  int64_t rows = kMostAskedPairs / std::max<int64_t>(1, planes * grid.keys);
  rows = std::min(std::max(rows, kLeastRows), grid.queries);
  std::mt19937_64 generator(0);
  std::vector<int64_t> chosen(rows);
  for (int64_t i = 0; i < rows; ++i) {
    int64_t first = i * grid.queries / rows, end = (i + 1) * grid.queries / rows;
    chosen[i] =
        first + static_cast<int64_t>(generator() % static_cast<uint64_t>(end - first));
  }
  return chosen;
}

Error sparse_attn::readPlan(const sparse_attn_plan *plan, size_t index,
                            const AttentionDesc &desc, Plane plane,
                            AttentionFacts &facts) {
  facts.headDim = desc.headDim;
  facts.valueDim = desc.valueDim;
  facts.keyBlock = desc.keyBlock;
  facts.headsAlike = !desc.perHead;
  facts.batchesAlike =
      !desc.perBatch && desc.kvLen < 0 && desc.qLen < 0 && desc.qOffset < 0;
  if (Error error = check(sparse_attn_plan_grid(plan, index, &facts.grid)))
    return error;
  const sparse_attn_grid &grid = facts.grid;
  facts.chosenPlane = plane;
  Plane shown = {facts.batchesAlike ? 0 : plane.b, facts.headsAlike ? 0 : plane.h};
  int64_t batches = facts.batchesAlike ? 1 : grid.batch;
  int64_t heads = facts.headsAlike ? 1 : grid.heads;
  std::vector<int64_t> rows = chooseRows(grid, batches * heads);
  facts.rowsSeen = rows.size();

  std::map<size_t, size_t> groupOf;
  for (int64_t b = 0; b < batches; ++b)
    for (int64_t h = 0; h < heads; ++h) {
      PlaneReader reader(plan, index, grid, {b, h});
      if (Error error = reader.read(rows))
        return error;
      auto [known, isNew] = groupOf.try_emplace(reader.hash, facts.groups.size());
      if (b == shown.b && h == shown.h)
        facts.chosen = known->second;
      if (!isNew) {
        facts.groups[known->second].planes.push_back({b, h});
        continue;
      }
      if (facts.groups.size() >= kMostPictures && facts.chosen != known->second) {
        reader.group.tileMap.reset();
        reader.group.pairMap.reset();
      }
      facts.groups.push_back(std::move(reader.group));
    }
  return Error::success();
}

//===----------------------------------------------------------------------===//
// AttentionFacts
//===----------------------------------------------------------------------===//

int64_t AttentionFacts::sum(int64_t PlaneGroup::*count) const {
  int64_t total = 0;
  for (const PlaneGroup &group : groups)
    total += group.*count * static_cast<int64_t>(group.planes.size());
  return total * (headsAlike ? grid.heads : 1) * (batchesAlike ? grid.batch : 1);
}

int64_t AttentionFacts::tiles() const { return sum(&PlaneGroup::tiles); }
int64_t AttentionFacts::fullTiles() const { return sum(&PlaneGroup::full); }
int64_t AttentionFacts::partialTiles() const { return sum(&PlaneGroup::partial); }

double AttentionFacts::tileDensity() const {
  int64_t all = tiles();
  return all ? static_cast<double>(visitedTiles()) / all : 0;
}

double AttentionFacts::pairDensity() const {
  int64_t pairs = sum(&PlaneGroup::pairs);
  return pairs ? static_cast<double>(sum(&PlaneGroup::keptPairs)) / pairs : 0;
}

double AttentionFacts::tileFlop() const {
  return 2.0 * grid.tile_rows * grid.tile_keys * (headDim + valueDim);
}

/// "head 3", "heads 0-3, 8"
static std::string describeNumbers(llvm::StringRef one, llvm::StringRef many,
                                   llvm::ArrayRef<int64_t> numbers) {
  std::string text = (numbers.size() == 1 ? one : many).str() + " ";
  for (size_t i = 0; i < numbers.size();) {
    size_t end = i + 1;
    while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1)
      ++end;
    text += (i ? ", " : "") + std::to_string(numbers[i]);
    if (end - i > 1)
      text += "-" + std::to_string(numbers[end - 1]);
    i = end;
  }
  return text;
}

std::string AttentionFacts::describe(const PlaneGroup &group) const {
  std::map<int64_t, std::vector<int64_t>> headsOf;
  for (const Plane &plane : group.planes)
    headsOf[plane.b].push_back(plane.h);
  auto describeHeads = [&](const std::vector<int64_t> &heads) {
    bool all = headsAlike || static_cast<int64_t>(heads.size()) == grid.heads;
    return all ? std::string("every head") : describeNumbers("head", "heads", heads);
  };
  // Entries with the same heads are told together.
  std::map<std::vector<int64_t>, std::vector<int64_t>> batchesOf;
  for (const auto &[batch, heads] : headsOf)
    batchesOf[heads].push_back(batch);
  std::string text;
  for (const auto &[heads, batches] : batchesOf) {
    text += (text.empty() ? "" : "; ") + describeHeads(heads);
    bool all = batchesAlike || static_cast<int64_t>(batches.size()) == grid.batch;
    if (!all)
      text += " of " + describeNumbers("batch entry", "batch entries", batches);
  }
  return text;
}
