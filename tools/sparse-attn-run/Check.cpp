//===- Check.cpp - comparing outputs with the reference -------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Check.h"
#include <cmath>
#include <limits>
#include <random>
#include <set>

using namespace llvm;
using namespace sparse_attn;
using namespace sparse_attn::run;

/// Beyond this many pairs a sample of rows is checked.
static constexpr double kMostPairs = 1 << 28;

/// `count` rows in order, the first and the last among them.
static std::vector<Row> sampleRows(const Reference &reference, int64_t count,
                                   uint64_t seed) {
  int64_t heads = reference.heads(), queries = reference.queries();
  int64_t all = reference.batch() * heads * queries;
  std::mt19937_64 generator(seed);
  std::set<int64_t> chosen = {0, all - 1};
  while (static_cast<int64_t>(chosen.size()) < std::min(count, all))
    chosen.insert(static_cast<int64_t>(generator() % static_cast<uint64_t>(all)));
  std::vector<Row> rows;
  for (int64_t row : chosen)
    rows.push_back({row / queries / heads, row / queries % heads, row % queries});
  return rows;
}

static std::vector<Row> chooseRows(const Reference &reference,
                                   const CheckRequest &request) {
  int64_t all = reference.batch() * reference.heads() * reference.queries();
  int64_t count = request.rows;
  // A sample costs a quarter of the largest complete check, at least 16 rows.
  if (count == 0 && reference.pairs() > kMostPairs)
    count =
        std::max<int64_t>(16, static_cast<int64_t>(kMostPairs / 4 / reference.keys()));
  if (count == 0 || count >= all)
    return reference.allRows();
  return sampleRows(reference, count, request.seed);
}

/// |a - b|; values that are not finite agree where both are not, since inf and
/// NaN are two results of the same overflow, but -inf is an LSE like any other.
static double getDistance(double a, double b) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (std::isfinite(a) && std::isfinite(b))
    return std::abs(a - b);
  bool agree =
      !std::isfinite(a) && !std::isfinite(b) && (a == -kInfinity) == (b == -kInfinity);
  return agree ? 0 : kInfinity;
}

Expected<CheckResult> run::checkOutputs(Oracle &oracle, const CheckRequest &request,
                                        llvm::ArrayRef<Array> outputs) {
  CheckResult result;
  // What the inputs have been rounded to bounds what is computed with them.
  result.outBound = std::max(oracle.inputBound(), request.leastBound);
  Reference &reference = oracle.reference();
  std::vector<Row> rows = chooseRows(reference, request);
  Expected<std::vector<Array>> expected =
      reference.evaluate(rows, request.threads, request.progress);
  if (!expected)
    return expected.takeError();
  if (expected->size() != outputs.size())
    return createStringError("the library's kernel has " + Twine(outputs.size()) +
                             " outputs, its source " + Twine(expected->size()));

  result.rows = rows.size();
  result.allRows = reference.batch() * reference.heads() * reference.queries();
  double difference = 0, norm = 0;
  for (auto [wanted, got] : llvm::zip_equal(*expected, outputs)) {
    int64_t width = got.rank() == 4 ? got.shape()[3] : 1;
    if (got.rank() == 4)
      result.outBound = std::max(result.outBound, getOutBound(got.type()));
    if (wanted.elements() != width * result.rows)
      return createStringError("the library's outputs and its source differ in shape");
    for (auto [r, row] : llvm::enumerate(rows)) {
      int64_t start =
          ((row.b * reference.heads() + row.h) * reference.queries() + row.i) * width;
      for (int64_t d = 0; d < width; ++d) {
        double want = wanted.as<double>()[r * width + d];
        double distance = getDistance(got.get(start + d), want);
        if (got.rank() != 4) {
          result.lseError = std::max(result.lseError, distance);
          continue;
        }
        difference += distance * distance;
        norm += std::isfinite(want) ? want * want : 0;
      }
    }
  }
  result.outError = std::sqrt(norm > 0 ? difference / norm : difference);
  return result;
}
