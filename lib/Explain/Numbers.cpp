//===- Numbers.cpp - numbers as people read them --------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Numbers.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace sparse_attn;
using llvm::formatv;

std::string sparse_attn::formatCount(int64_t count) { return formatv("{0:N}", count); }

/// Three digits that count; a whole number from 100 on.
static std::string formatDigits(double value) {
  if (value >= 99.95 || value == 0)
    return formatv("{0:N}", static_cast<int64_t>(std::llround(value)));
  int decimals = value >= 9.995 ? 1 : value >= 0.9995 ? 2 : 3;
  std::string text;
  llvm::raw_string_ostream os(text);
  os << llvm::format("%.*f", decimals, value);
  return text;
}

std::string sparse_attn::formatPercent(double share) {
  if (share > 0 && share < 0.00001)
    return "< 0.001 %";
  // A share that only rounds to 100 % is not all.
  if (share < 1 && share * 100 >= 99.95)
    return "> 99.9 %";
  return formatDigits(share * 100) + " %";
}

static std::string scale(double value, double base, llvm::ArrayRef<const char *> units) {
  size_t unit = 0;
  while (unit + 1 < units.size() && value >= base) {
    value /= base;
    ++unit;
  }
  std::string digits =
      unit == 0 ? formatCount(static_cast<int64_t>(value)) : formatDigits(value);
  return digits + " " + units[unit];
}

std::string sparse_attn::formatBytes(uint64_t bytes) {
  return scale(static_cast<double>(bytes), 1024, {"bytes", "KiB", "MiB", "GiB", "TiB"});
}

std::string sparse_attn::formatFlop(double flop) {
  return scale(flop, 1000, {"FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"});
}

std::string sparse_attn::formatFactor(double factor) { return formatDigits(factor); }

std::string sparse_attn::formatPosition(int64_t position) {
  if (position != 0 && position % (1 << 20) == 0)
    return formatv("{0}M", position >> 20);
  if (position != 0 && position % 1024 == 0)
    return formatv("{0}k", position / 1024);
  if (position > 1024 && position % 512 == 0)
    return formatv("{0}.5k", position / 1024);
  return std::to_string(position);
}

std::string sparse_attn::formatShape(const Explanation &explanation,
                                     const AttentionFacts &facts) {
  const sparse_attn_shape &shape = explanation.shape;
  return formatv("B {0}, H {1}, Hkv {2}, M {3}, N {4}, D {5}, Dv {6}",
                 formatCount(shape.batch), formatCount(shape.heads),
                 formatCount(shape.kv_heads), formatCount(shape.queries),
                 formatCount(shape.keys), facts.headDim, facts.valueDim);
}

std::string sparse_attn::formatPairs(const AttentionFacts &facts, double density) {
  std::string text = formatPercent(density) + " of pairs kept";
  // Padded rows are no rows to look at.
  bool sampled = llvm::any_of(facts.groups, [&](const PlaneGroup &group) {
    return facts.rowsSeen < group.extent.queries;
  });
  if (sampled)
    text += formatv(" ({0} of {1} rows)", formatCount(facts.rowsSeen),
                    formatCount(facts.grid.queries));
  return text;
}

std::string sparse_attn::formatTileFlop(const AttentionFacts &facts) {
  return formatv("2 * {0} * {1} * ({2} + {3})", facts.grid.tile_rows,
                 facts.grid.tile_keys, facts.headDim, facts.valueDim);
}

std::string sparse_attn::formatPlan(const Explanation &explanation) {
  bool tables = llvm::any_of(explanation.attentions, [](const AttentionFacts &facts) {
    return facts.grid.plan_time;
  });
  return formatBytes(explanation.planBytes) + (tables ? "" : ", no table");
}

std::string sparse_attn::formatWorkspace(const Explanation &explanation) {
  if (explanation.level.empty())
    return "unknown here: no instruction level of the library runs on this machine";
  return formatBytes(explanation.workspaceBytes) + " with one thread, " +
         formatBytes(explanation.workspaceBytesPerThread) + " for each more";
}

std::string sparse_attn::formatUnions(const Explanation &explanation) {
  if (llvm::any_of(explanation.attentions,
                   [](const AttentionFacts &facts) { return facts.halvesUnion; }))
    return "split in halves with tiles of their own, whose states are merged";
  if (explanation.attentions.size() < explanation.plannedAttentions)
    return "whole; two halves and a merge are more work with this shape";
  return "";
}
