//===- sparse-attn-run.cpp - run a kernel of a library on .npy files ------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Report.h"
#include "sparse_attn/Support/Npy.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>
#include <cstdlib>
#include <cstring>

using namespace llvm;
using namespace sparse_attn;
using namespace sparse_attn::run;

namespace {
/// A line on stderr, rewritten at most ten times a second and removed at the
/// end. Work that is done within half a second shows nothing. With --progress
/// the line appears without a terminal too, and stays.
class Progress {
public:
  Progress(StringRef what, const Options &options)
      : what(what), stays(options.progress),
        enabled(options.progress || sys::Process::StandardErrIsDisplayed()) {}
  ~Progress() {
    if (shown)
      errs() << (stays ? "\n" : "\r\x1b[K");
  }

  void operator()(int64_t done, int64_t total) {
    Clock::time_point now = Clock::now();
    bool last = stays && done == total;
    if (!enabled || total == 0 || (now < next && !last))
      return;
    next = now + std::chrono::milliseconds(100);
    shown = true;
    errs() << '\r' << what << ": " << 100 * done / total << " %";
  }

private:
  using Clock = std::chrono::steady_clock;
  StringRef what;
  bool stays, enabled, shown = false;
  Clock::time_point next = Clock::now() + std::chrono::milliseconds(500);
};
} // namespace

/// The first output of a rank, null where there is none.
static const Array *findOutput(const Report &report, int64_t rank) {
  for (const Array &output : report.run.outputs)
    if (output.rank() == rank)
      return &output;
  return nullptr;
}

/// A copy to write: .npy has no bf16, f32 holds its values.
static Expected<Array> makeWritable(const Array &output) {
  bool widen = output.type() == ElementKind::BF16;
  Expected<Array> copy =
      Array::create(widen ? ElementKind::F32 : output.type(), output.shape());
  if (!copy)
    return copy.takeError();
  if (!widen)
    std::memcpy(copy->data(), output.data(), output.bytes());
  for (int64_t i = 0; widen && i < output.elements(); ++i)
    copy->as<float>()[i] = static_cast<float>(output.get(i));
  return copy;
}

static Error writeOutputs(const Report &report, const Options &options) {
  struct Request {
    StringRef option, file;
    int64_t rank;
  };
  for (const Request &request :
       {Request{"--out", options.out, 4}, Request{"--lse", options.lse, 3}}) {
    if (request.file.empty())
      continue;
    const Array *output = findOutput(report, request.rank);
    if (!output)
      return createStringError("kernel '" + Twine(report.kernel->name) +
                               "' has no output for " + request.option);
    Expected<Array> writable = makeWritable(*output);
    if (!writable)
      return writable.takeError();
    if (Error error = writeNpy(request.file, *writable))
      return error;
  }
  return Error::success();
}

static Expected<CheckResult> checkReport(Oracle &oracle, const Report &report,
                                         const Options &options) {
  Progress progress("checking", options);
  CheckRequest request;
  request.rows = *options.checkRows;
  request.seed = options.seed;
  request.leastBound = options.device == "cpu" ? 0 : kGPUOutBound;
  request.threads = options.threads;
  request.progress = std::ref(progress);
  return checkOutputs(oracle, request, report.run.outputs);
}

/// The indices below `size` that an option names: one of them, or all.
static Expected<std::vector<int64_t>> chooseIndices(std::optional<int64_t> chosen,
                                                    int64_t size, StringRef option) {
  std::vector<int64_t> indices;
  for (int64_t index = 0; !chosen && index < size; ++index)
    indices.push_back(index);
  if (chosen && (*chosen < 0 || *chosen >= size))
    return createStringError(option + " takes a number from 0 to " + Twine(size - 1) +
                             ", got " + Twine(*chosen));
  if (chosen)
    indices.push_back(*chosen);
  return indices;
}

static Error explainRows(Reference &reference, const Options &options, Report &report) {
  auto heads = chooseIndices(options.explainHead, reference.heads(), "--explain-head");
  if (!heads)
    return heads.takeError();
  auto batches =
      chooseIndices(options.explainBatch, reference.batch(), "--explain-batch");
  if (!batches)
    return batches.takeError();
  int64_t queries = reference.queries();
  for (int64_t given : options.explainRows) {
    int64_t i = given < 0 ? queries + given : given;
    if (i < 0 || i >= queries)
      return createStringError("--explain-rows: there is no row " + Twine(given) +
                               ", M = " + Twine(queries));
    for (int64_t b : *batches)
      for (int64_t h : *heads)
        for (size_t attention = 0; attention < reference.attentions(); ++attention) {
          Expected<RowFacts> facts = explainRow(reference, attention, {b, h, i});
          if (!facts)
            return facts.takeError();
          report.rows.push_back(std::move(*facts));
        }
  }
  return Error::success();
}

static Error writePicture(Reference &reference, const Report &report,
                          const Options &options) {
  Plane plane = {options.explainBatch.value_or(0), options.explainHead.value_or(0)};
  Expected<Explanation> pairs = explainPairs(reference, report.kernel->name, plane);
  if (!pairs)
    return pairs.takeError();
  std::error_code error;
  raw_fd_ostream out(options.picture, error);
  if (error)
    return createStringError("cannot write '" + options.picture +
                             "': " + error.message());
  out << buildSvg(*pairs);
  return Error::success();
}

/// What the float64 reference is asked for.
static Error askOracle(Oracle &oracle, const Options &options, Report &report) {
  if (options.checkRows) {
    Expected<CheckResult> check = checkReport(oracle, report, options);
    if (!check)
      return check.takeError();
    report.check = *check;
  }
  if (Error error = explainRows(oracle.reference(), options, report))
    return error;
  return options.picture.empty() ? Error::success()
                                 : writePicture(oracle.reference(), report, options);
}

/// False where the check did not pass.
static Expected<bool> runTool(const Options &options) {
  // The runtime reads it when it chooses a level.
  if (!options.level.empty() && setenv("SPARSE_ATTN_LEVEL", options.level.c_str(), 1))
    return createStringError("no memory to set SPARSE_ATTN_LEVEL");
  Expected<Library> library = Library::open(options.library);
  if (!library)
    return library.takeError();
  if (options.list) {
    printKernels(*library, options);
    return true;
  }

  Expected<const sparse_attn_kernel *> kernel = library->find(options.kernel);
  if (!kernel)
    return kernel.takeError();
  Expected<StringMap<Array>> arrays = takeInputs(**kernel, options.files, options.random);
  if (!arrays)
    return arrays.takeError();
  Expected<sparse_attn_shape> shape = getShape(**kernel, *arrays);
  if (!shape)
    return shape.takeError();

  std::unique_ptr<GPU> gpu;
  if (options.device != "cpu") {
    auto opened = GPU::open(options.device);
    if (!opened)
      return opened.takeError();
    gpu = std::move(*opened);
  }

  Report report;
  report.kernel = *kernel;
  report.shape = *shape;
  if (options.statistics)
    gpu->getEmulator()->onLaunch = [&](StringRef name,
                                       const emulator::Statistics &statistics) {
      report.executed[name.str()].add(statistics);
    };
  {
    Progress progress("running", options);
    RunRequest request;
    request.place.threads = options.threads;
    request.place.gpu = gpu.get();
    request.place.layoutOnGPU = options.layoutOnDevice;
    request.place.withStates = options.states;
    request.repeat = options.repeat;
    request.countTiles = options.tiles;
    request.progress = std::ref(progress);
    Expected<RunResult> result = runKernel(**kernel, *shape, *arrays, request);
    if (!result)
      return result.takeError();
    report.run = std::move(*result);
  }
  // Written before the check: a failed one is looked into with the outputs.
  if (Error error = writeOutputs(report, options))
    return error;
  if (options.checkRows || !options.explainRows.empty() || !options.picture.empty()) {
    Expected<std::string> source = library->source(**kernel);
    if (!source)
      return source.takeError();
    auto oracle = Oracle::create(*source, report.kernel->name, std::move(*arrays));
    if (!oracle)
      return oracle.takeError();
    if (Error error = askOracle(**oracle, options, report))
      return error;
  }
  printReport(report, options);
  return !report.check || report.check->passed();
}

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  Expected<Options> options = parseOptions(argc, argv);
  Expected<bool> passed = options ? runTool(*options) : options.takeError();
  if (!passed) {
    errs() << "sparse-attn-run: error: " << toString(passed.takeError()) << "\n";
    return 1;
  }
  return *passed ? 0 : 1;
}
