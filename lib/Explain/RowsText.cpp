//===- RowsText.cpp - a row in numbers and a line -------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Numbers.h"
#include "sparse_attn/Explain/Rows.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include <cmath>

using namespace sparse_attn;
using llvm::raw_ostream;

/// Characters of the line that stands for all keys.
static constexpr int64_t kLineCells = 64;
/// Runs of keys that are named.
static constexpr size_t kMostRuns = 8;

/// "0-3, 57, 912-1039, ...": the first runs of neighbours.
static std::string listRuns(llvm::ArrayRef<int64_t> keys) {
  std::string text;
  size_t runs = 0;
  for (size_t i = 0; i < keys.size(); ++runs) {
    if (runs == kMostRuns)
      return text + ", ...";
    size_t end = i + 1;
    while (end < keys.size() && keys[end] == keys[end - 1] + 1)
      ++end;
    text += (i ? ", " : "") + std::to_string(keys[i]);
    if (end - i > 1)
      text += "-" + std::to_string(keys[end - 1]);
    i = end;
  }
  return text;
}

/// One character for each of equal parts of [0, n): how many of its keys are kept.
static std::string drawLine(llvm::ArrayRef<int64_t> keys, int64_t n) {
  static constexpr const char *kHeights[] = {"·", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  int64_t cells = std::min(n, kLineCells);
  std::string line;
  const int64_t *next = keys.begin();
  for (int64_t cell = 0; cell < cells; ++cell) {
    int64_t begin = cell * n / cells, end = (cell + 1) * n / cells, kept = 0;
    for (; next != keys.end() && *next < end; ++next)
      ++kept;
    // Something and everything are told from their neighbours.
    double share = static_cast<double>(kept) / static_cast<double>(end - begin);
    line += kHeights[static_cast<int64_t>(std::ceil(share * 7)) + (kept == end - begin)];
  }
  return line;
}

static std::string formatProbability(double probability) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.4g", probability);
  return text;
}

/// "64 of 910 candidates", and of a sample how it came to that.
static std::string describeCount(const MaskPart &part) {
  std::string text = formatCount(part.keys.size());
  if (part.candidates)
    text += " of " + formatCount(*part.candidates) + " candidates";
  if (part.baseDraws)
    text += ": " + formatCount(*part.baseDraws) + " base draws, budget " +
            formatCount(part.keys.size());
  if (part.isSampled())
    text += ", probability " + formatProbability(part.leastProbability);
  if (part.mostProbability > part.leastProbability)
    text += " to " + formatProbability(part.mostProbability);
  return text;
}

static void printKeys(llvm::ArrayRef<int64_t> keys, int64_t n, raw_ostream &os) {
  if (!keys.empty())
    os << "        " << drawLine(keys, n) << "\n        keys " << listRuns(keys) << "\n";
}

void sparse_attn::printRow(const RowFacts &facts, raw_ostream &os) {
  os << "row " << facts.row.i << " of head " << facts.row.h << ", batch entry "
     << facts.row.b;
  if (facts.isPadding) {
    os << ": padding\n";
    return;
  }
  os << ": position " << facts.position << ", " << formatCount(facts.kept.size())
     << " of " << formatCount(facts.keys) << " keys\n";
  printKeys(facts.kept, facts.keys, os);
  for (const MaskPart &part : facts.parts) {
    os << "  " << (part.binding == Binding::Run ? "run   " : "plan  ") << part.label
       << ": " << describeCount(part) << "\n";
    printKeys(part.keys, facts.keys, os);
  }
}
