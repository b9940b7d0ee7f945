//===- Tune.cpp - measuring tiles on this machine -------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   candidates   the cheapest tiles by the cost model
//   build        each as a library of this machine's level in a temporary folder
//   measure      rounds in which each runs once on the same random inputs, so that a
//                machine that slows down slows all of them
//   choose       the least median
//
//===----------------------------------------------------------------------===//

#include "Tune.h"
#include "dialect/BlockPlan/BlockPlan.h"
#include "sparse_attn/Conversion/KernelValues.h"
#include "sparse_attn/Package/Package.h"
#include "sparse_attn/Session/Session.h"
#include "sparse_attn/Support/ScratchFolder.h"
#include "sparse_attn/Target/Host.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Threading.h"

using namespace mlir;
using namespace sparse_attn;
using llvm::createStringError;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;
using llvm::Twine;

namespace {
/// One tile, built and loaded. What is declared later is destroyed first.
struct Candidate {
  TileShape tile;
  run::Library library;
  run::PreparedRun run;
  std::vector<double> seconds;

  double median() const {
    std::vector<double> sorted = seconds;
    llvm::sort(sorted);
    size_t middle = sorted.size() / 2;
    return sorted.size() % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }
};

/// Tunes one kernel of a module.
class Tuner {
public:
  Tuner(ModuleOp module, func::FuncOp kernel, const Options &options,
        StringRef runtimeArchive, StringRef folder)
      : module(module), kernel(kernel), options(options), request(*options.tune),
        runtimeArchive(runtimeArchive), folder(folder) {}

  /// The facts of the manifest, once the kernel has its tile.
  Expected<llvm::json::Object> run();

private:
  llvm::SmallVector<TileShape> chooseTiles();
  Expected<run::Library> build(TileShape tile);
  Error takeInputs(const sparse_attn_kernel &code);
  Error prepare();
  Error measure();
  void report(const Candidate &best);
  llvm::json::Object describe();

  /// A line on stderr.
  template <typename... Ts> void tell(const char *format, Ts &&...values) {
    llvm::errs() << "tune " << kernel.getSymName() << ": "
                 << llvm::formatv(format, std::forward<Ts>(values)...) << "\n";
  }
  static std::string print(TileShape tile) {
    return std::to_string(tile.rows) + "x" + std::to_string(tile.keys);
  }

  ModuleOp module;
  func::FuncOp kernel;
  const Options &options;
  const TuneRequest &request;
  StringRef runtimeArchive, folder;
  /// Levels to build: all until the first library tells which one runs here.
  llvm::SmallVector<const CPULevel *> levels;
  std::string level;
  llvm::StringMap<Array> inputs;
  std::vector<Candidate> candidates;
};
} // namespace

/// The cheapest tiles of the kernel's first attention.
llvm::SmallVector<TileShape> Tuner::chooseTiles() {
  llvm::SmallVector<TileShape> tiles;
  auto attentions = kernel.getBody().getOps<AttentionOp>();
  if (attentions.empty())
    return tiles;
  TileProblem problem = getTileProblem(*attentions.begin(), *options.levels.back());
  for (const RankedTile &ranked : rankTiles(problem, options.caches))
    if (static_cast<int>(tiles.size()) < request.tiles)
      tiles.push_back(ranked.tile);
  return tiles;
}

/// The library of this kernel alone, with tiles of this size.
Expected<run::Library> Tuner::build(TileShape tile) {
  OwningOpRef<ModuleOp> copy = module.clone();
  for (func::FuncOp other : getKernels(*copy))
    if (other.getSymName() != kernel.getSymName())
      other.erase();
    else
      other->setAttr(block_plan::kTileAttr,
                     DenseI64ArrayAttr::get(copy->getContext(), {tile.rows, tile.keys}));
  FailureOr<CompiledLibrary> compiled =
      compileLibrary(*copy, {options.libraryName, levels, options.caches});
  if (failed(compiled))
    return createStringError("a kernel that does not compile cannot be tuned");
  PackageOptions package{(folder + "/" + kernel.getSymName() + "_" + print(tile)).str(),
                         runtimeArchive.str(), options.linker};
  Expected<PackagedFiles> files = packageLibrary(*compiled, package);
  if (!files)
    return files.takeError();
  return run::Library::open(files->sharedLibrary);
}

Error Tuner::takeInputs(const sparse_attn_kernel &code) {
  llvm::StringMap<std::string> files;
  for (int32_t i = 0; i < code.input_count; ++i) {
    auto file = request.files.find(code.inputs[i].name);
    if (file != request.files.end())
      files[file->first()] = file->second;
  }
  Expected<llvm::StringMap<Array>> arrays = run::takeInputs(
      code, files, run::RandomRequest{request.shape, /*seed=*/0, "--tune"});
  if (!arrays)
    return arrays.takeError();
  inputs = std::move(*arrays);
  return Error::success();
}

Error Tuner::prepare() {
  llvm::SmallVector<TileShape> tiles = chooseTiles();
  candidates.reserve(tiles.size());
  for (auto [index, tile] : llvm::enumerate(tiles)) {
    Expected<run::Library> library = build(tile);
    if (!library)
      return library.takeError();
    Expected<const sparse_attn_kernel *> code = library->find(kernel.getSymName());
    if (!code)
      return code.takeError();
    if (candidates.empty()) {
      const char *name = sparse_attn_kernel_level(*code);
      if (!name)
        return run::runtimeError();
      level = name;
      levels = {findLevel(level)};
      if (Error error = takeInputs(**code))
        return error;
    }
    run::RunPlace place;
    place.threads = request.threads;
    Expected<run::PreparedRun> prepared =
        run::PreparedRun::create(**code, request.shape, inputs, place);
    if (!prepared)
      return prepared.takeError();
    Expected<double> seconds = prepared->run(); // warms up, and says what is to come
    if (!seconds)
      return seconds.takeError();
    tell("tile {0} of {1}: {2}, first run {3:f3} ms", index + 1, tiles.size(),
         print(tile), *seconds * 1e3);
    candidates.push_back({tile, std::move(*library), std::move(*prepared), {}});
  }
  return Error::success();
}

Error Tuner::measure() {
  for (int round = 0; round < request.rounds; ++round) {
    tell("round {0} of {1}", round + 1, request.rounds);
    for (Candidate &candidate : candidates) {
      Expected<double> seconds = candidate.run.run();
      if (!seconds)
        return seconds.takeError();
      candidate.seconds.push_back(*seconds);
    }
  }
  return Error::success();
}

void Tuner::report(const Candidate &best) {
  for (auto [index, candidate] : llvm::enumerate(candidates))
    tell("tile {0} of {1}: {2}, median {3:f3} ms, {4:f3} of the best{5}", index + 1,
         candidates.size(), print(candidate.tile), candidate.median() * 1e3,
         candidate.median() / best.median(), &candidate == &best ? ", chosen" : "");
}

llvm::json::Object Tuner::describe() {
  llvm::json::Array measured;
  for (const Candidate &candidate : candidates)
    measured.push_back(llvm::json::Object{{"tile_rows", candidate.tile.rows},
                                          {"tile_keys", candidate.tile.keys},
                                          {"seconds", candidate.median()}});
  const sparse_attn_shape &shape = request.shape;
  int64_t threads = request.threads ? request.threads
                                    : llvm::hardware_concurrency().compute_thread_count();
  return llvm::json::Object{
      {"machine", llvm::json::fixUTF8(getHostName())},
      {"level", level},
      {"threads", threads},
      {"shape", llvm::json::Array{shape.batch, shape.heads, shape.kv_heads, shape.queries,
                                  shape.keys}},
      {"rounds", request.rounds},
      {"candidates", std::move(measured)}};
}

Expected<llvm::json::Object> Tuner::run() {
  levels = options.levels;
  const sparse_attn_shape &shape = request.shape;
  tell("shape {0},{1},{2},{3},{4}", shape.batch, shape.heads, shape.kv_heads,
       shape.queries, shape.keys);
  if (Error error = prepare())
    return error;
  if (candidates.empty())
    return createStringError("kernel '" + Twine(kernel.getSymName()) +
                             "' has no attention to tune");
  if (Error error = measure())
    return error;
  const Candidate &best = *llvm::min_element(
      candidates, [](auto &a, auto &b) { return a.median() < b.median(); });
  report(best);
  kernel->setAttr(
      block_plan::kTileAttr,
      DenseI64ArrayAttr::get(kernel.getContext(), {best.tile.rows, best.tile.keys}));
  return describe();
}

/// Every file that --operand names is some kernel's input.
static Error checkFiles(ModuleOp module, const TuneRequest &request) {
  llvm::StringSet<llvm::MallocAllocator> names;
  for (func::FuncOp kernel : getKernels(module))
    for (unsigned i = 0; i < kernel.getNumArguments(); ++i)
      if (auto name = kernel.getArgAttrOfType<StringAttr>(i, kNameAttr))
        names.insert(name.getValue());
  for (StringRef name : request.files.keys())
    if (!names.contains(name))
      return createStringError("no kernel has an argument '" + name +
                               "', which --operand gives");
  return Error::success();
}

Expected<TuningFacts> sparse_attn::tuneKernels(ModuleOp module, const Options &options,
                                               StringRef runtimeArchive) {
  if (Error error = checkFiles(module, *options.tune))
    return error;
  Expected<ScratchFolder> folder = ScratchFolder::create("sparse-attn-tune");
  if (!folder)
    return folder.takeError();
  TuningFacts facts;
  for (func::FuncOp kernel : getKernels(module)) {
    Expected<llvm::json::Object> tuned =
        Tuner(module, kernel, options, runtimeArchive, folder->getPath()).run();
    if (!tuned)
      return tuned.takeError();
    facts[kernel.getSymName()] = std::move(*tuned);
  }
  return facts;
}
