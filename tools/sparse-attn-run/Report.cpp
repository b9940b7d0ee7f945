//===- Report.cpp - what sparse-attn-run prints ---------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Report.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

using namespace llvm;
using namespace sparse_attn;
using namespace sparse_attn::run;

static void printObject(json::Object object) {
  outs() << formatv("{0:2}", json::Value(std::move(object))) << "\n";
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

static json::Array listTensors(ArrayRef<sa_tensor> tensors) {
  json::Array array;
  for (const sa_tensor &tensor : tensors)
    array.push_back(json::Object{{"name", tensor.name},
                                 {"layout", tensor.layout != 0},
                                 {"type", describeTensor(tensor)}});
  return array;
}

void run::printKernels(const Library &library, const Options &options) {
  json::Array kernels;
  for (const sparse_attn_kernel &kernel : library.kernels()) {
    ArrayRef<sa_tensor> inputs(kernel.inputs, kernel.input_count);
    ArrayRef<sa_tensor> outputs(kernel.outputs, kernel.output_count);
    if (options.json) {
      kernels.push_back(json::Object{{"name", kernel.name},
                                     {"inputs", listTensors(inputs)},
                                     {"outputs", listTensors(outputs)}});
      continue;
    }
    outs() << "kernel " << kernel.name << "\n";
    auto print = [](StringRef role, const sa_tensor &tensor) {
      outs() << "  " << left_justify(role, 8) << left_justify(tensor.name, 16)
             << describeTensor(tensor) << "\n";
    };
    for (const sa_tensor &tensor : inputs)
      print(tensor.layout ? "layout" : "input", tensor);
    for (const sa_tensor &tensor : outputs)
      print("output", tensor);
  }
  if (options.json)
    printObject(json::Object{{"kernels", std::move(kernels)}});
}

//===----------------------------------------------------------------------===//
// Runs
//===----------------------------------------------------------------------===//

static std::string formatTime(double seconds) {
  std::string text;
  raw_string_ostream out(text);
  if (seconds >= 1)
    out << format("%.3f s", seconds);
  else if (seconds >= 1e-3)
    out << format("%.3f ms", seconds * 1e3);
  else
    out << format("%.1f us", seconds * 1e6);
  return text;
}

namespace {
struct Times {
  double median, fastest, slowest;

  explicit Times(std::vector<double> seconds) {
    llvm::sort(seconds);
    size_t middle = seconds.size() / 2;
    median = seconds.size() % 2 ? seconds[middle]
                                : (seconds[middle - 1] + seconds[middle]) / 2;
    fastest = seconds.front();
    slowest = seconds.back();
  }
};
} // namespace

static void printLines(const Report &report, const Options &options) {
  const sparse_attn_shape &shape = report.shape;
  outs() << "kernel " << report.kernel->name << " (" << report.run.level << "), B "
         << shape.batch << ", H " << shape.heads << ", Hkv " << shape.kv_heads << ", M "
         << shape.queries << ", N " << shape.keys << "\n";
  outs() << "plan   " << formatTime(report.run.planSeconds) << ", "
         << report.run.planBytes << " bytes; workspace " << report.run.workspaceBytes
         << " bytes\n";
  if (const std::optional<StateSizes> &states = report.run.states)
    outs() << "states " << states->bytes << " bytes, " << format("%g", states->perKey)
           << " a key\n";
  if (const std::optional<TileCounts> &tiles = report.run.tiles)
    outs() << "tiles  " << tiles->full << " full, " << tiles->partial << " partial, "
           << tiles->skipped() << " skipped\n";
  Times times(report.run.seconds);
  outs() << "time   " << formatTime(times.median);
  if (report.run.seconds.size() > 1)
    outs() << " median of " << report.run.seconds.size() << ", "
           << formatTime(times.fastest) << " to " << formatTime(times.slowest);
  outs() << "\n";
  if (const std::optional<CheckResult> &check = report.check) {
    outs() << "check  " << (check->passed() ? "passed" : "FAILED") << ": ";
    if (check->rows == check->allRows)
      outs() << "all " << check->rows << " rows\n";
    else
      outs() << check->rows << " of " << check->allRows << " rows (random sample, seed "
             << options.seed << ")\n";
    outs() << format(
        "       |O - ref| / |ref| = %.3g (bound %.0e), max |LSE - ref| = %.3g "
        "(bound %.0e)\n",
        check->outError, check->outBound, check->lseError, kLseBound);
  }
  for (const auto &[name, statistics] : report.executed) {
    outs() << "\nexecuted by " << name << "\n";
    statistics.print(outs());
  }
  for (const RowFacts &row : report.rows) {
    outs() << "\n";
    printRow(row, outs());
  }
}

/// JSON has no inf and NaN.
static json::Value toJson(double value) {
  return std::isfinite(value) ? json::Value(value) : json::Value(nullptr);
}

static json::Object toJson(const RowFacts &facts) {
  json::Array parts;
  for (const MaskPart &part : facts.parts) {
    json::Object object{
        {"mask", part.label},
        {"decided", part.binding == Binding::Run ? "run" : "plan"},
        {"keys", json::Array(part.keys)},
        {"probability", json::Array{part.leastProbability, part.mostProbability}}};
    if (part.candidates)
      object["candidates"] = *part.candidates;
    if (part.baseDraws)
      object["base_draws"] = *part.baseDraws;
    parts.push_back(std::move(object));
  }
  return json::Object{{"attention", static_cast<int64_t>(facts.attention)},
                      {"b", facts.row.b},
                      {"h", facts.row.h},
                      {"i", facts.row.i},
                      {"position", facts.position},
                      {"padding", facts.isPadding},
                      {"keys", json::Array(facts.kept)},
                      {"parts", std::move(parts)}};
}

static json::Object toJson(const emulator::Statistics &statistics) {
  json::Object kinds;
  for (size_t i = 0; i < emulator::Statistics::kKinds; ++i) {
    std::string name = nameOf(static_cast<emulator::InstructionKind>(i)).str();
    llvm::replace(name, ' ', '_');
    kinds[name] = statistics.executed[i];
  }
  return json::Object{{"blocks", statistics.blocks},
                      {"warps", statistics.warps},
                      {"instructions", statistics.total()},
                      {"kinds", std::move(kinds)},
                      {"matrix_multiply_adds", statistics.matrixMultiplyAdds},
                      {"shared_wavefronts", statistics.sharedWavefronts},
                      {"shared_wavefronts_ideal", statistics.sharedWavefrontsIdeal},
                      {"wgmma_shared_bytes", statistics.wgmmaSharedBytes},
                      {"global_sectors", statistics.globalSectors},
                      {"bytes_copied_async", statistics.bytesCopiedAsync}};
}

static void printJson(const Report &report, const Options &options) {
  const sparse_attn_shape &shape = report.shape;
  Times times(report.run.seconds);
  json::Object result{
      {"library", options.library},
      {"kernel", report.kernel->name},
      {"level", report.run.level},
      {"threads", options.threads},
      {"shape", json::Object{{"B", shape.batch},
                             {"H", shape.heads},
                             {"Hkv", shape.kv_heads},
                             {"M", shape.queries},
                             {"N", shape.keys}}},
      {"plan", json::Object{{"seconds", report.run.planSeconds},
                            {"bytes", static_cast<int64_t>(report.run.planBytes)}}},
      {"workspace_bytes", static_cast<int64_t>(report.run.workspaceBytes)},
      {"run", json::Object{{"repeat", options.repeat},
                           {"median", times.median},
                           {"min", times.fastest},
                           {"max", times.slowest}}}};
  if (const std::optional<TileCounts> &tiles = report.run.tiles)
    result["tiles"] = json::Object{{"full", tiles->full},
                                   {"partial", tiles->partial},
                                   {"skipped", tiles->skipped()}};
  if (const std::optional<StateSizes> &states = report.run.states)
    result["states"] = json::Object{{"bytes", static_cast<int64_t>(states->bytes)},
                                    {"bytes_per_key", states->perKey}};
  if (const std::optional<CheckResult> &check = report.check)
    result["check"] = json::Object{
        {"passed", check->passed()},    {"rows", check->rows},
        {"all_rows", check->allRows},   {"out_error", toJson(check->outError)},
        {"out_bound", check->outBound}, {"lse_error", toJson(check->lseError)},
        {"lse_bound", kLseBound}};
  if (options.statistics) {
    json::Object executed;
    for (const auto &[name, statistics] : report.executed)
      executed[name] = toJson(statistics);
    result["executed"] = std::move(executed);
  }
  if (!report.rows.empty()) {
    json::Array rows;
    for (const RowFacts &row : report.rows)
      rows.push_back(toJson(row));
    result["rows"] = std::move(rows);
  }
  printObject(std::move(result));
}

void run::printReport(const Report &report, const Options &options) {
  options.json ? printJson(report, options) : printLines(report, options);
}
