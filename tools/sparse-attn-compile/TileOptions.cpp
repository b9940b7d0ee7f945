//===- TileOptions.cpp - the options that choose tiles --------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Options.h"
#include "dialect/BlockPlan/BlockPlan.h"
#include "sparse_attn/Target/Host.h"

using namespace sparse_attn;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;
using llvm::Twine;
namespace cl = llvm::cl;

cl::OptionCategory &sparse_attn::getTileCategory() {
  static cl::OptionCategory category("Options that choose the size of tiles");
  return category;
}

static cl::opt<std::string>
    tile("tile", cl::value_desc("ROWSxKEYS"), cl::cat(getTileCategory()),
         cl::desc("query rows and keys of a tile, such as 64x128 (default: the cheapest "
                  "by a cost model, or what the kernel says)"));
static cl::opt<std::string>
    cache("cache", cl::value_desc("L1,L2,L3"), cl::cat(getTileCategory()),
          cl::desc("data caches for the cost model, such as 48K,1M,32M, or native for "
                   "this machine's (default: 32K,1M,32M)"));
static cl::opt<std::string>
    tune("tune", cl::ValueOptional, cl::value_desc("B,H,Hkv,M,N"),
         cl::cat(getTileCategory()),
         cl::desc("measure the cheapest tiles on this machine, on random inputs of this "
                  "shape (default: 1,4,1,4096,4096), and take the fastest; layout "
                  "operands come from --operand"));
static cl::opt<int> tuneTiles("tune-tiles", cl::value_desc("n"), cl::init(8),
                              cl::cat(getTileCategory()),
                              cl::desc("how many tiles to measure (default: 8)"));
static cl::opt<int> tuneRounds("tune-rounds", cl::value_desc("n"), cl::init(7),
                               cl::cat(getTileCategory()),
                               cl::desc("times that each is run (default: 7)"));
static cl::opt<int> tuneThreads("tune-threads", cl::value_desc("n"), cl::init(0),
                                cl::cat(getTileCategory()),
                                cl::desc("threads to measure with (default: all)"));

/// "48K" in bytes.
static bool parseSize(StringRef text, int64_t &bytes) {
  unsigned shift = text.consume_back("K")   ? 10
                   : text.consume_back("M") ? 20
                   : text.consume_back("G") ? 30
                                            : 0;
  if (text.getAsInteger(10, bytes) || bytes < 1 || bytes > INT64_MAX >> 34)
    return false;
  bytes <<= shift;
  return true;
}

static Error parseCaches(Options &options) {
  if (!cache.getNumOccurrences())
    return Error::success();
  if (cache == "native") {
    Expected<CacheSizes> sizes = readCacheSizes();
    if (!sizes)
      return sizes.takeError();
    options.caches = *sizes;
    return Error::success();
  }
  llvm::SmallVector<StringRef> parts;
  StringRef(cache).split(parts, ',');
  CacheSizes &sizes = options.caches;
  if (parts.size() == 3 && parseSize(parts[0], sizes.l1) &&
      parseSize(parts[1], sizes.l2) && parseSize(parts[2], sizes.l3) &&
      sizes.l1 <= sizes.l2 && sizes.l2 <= sizes.l3)
    return Error::success();
  return llvm::createStringError(
      "--cache takes three ascending sizes such as 48K,1M,32M, "
      "or native, got '" +
      cache + "'");
}

static Error parseTile(Options &options) {
  if (!tile.getNumOccurrences())
    return Error::success();
  auto [rows, keys] = StringRef(tile).split('x');
  TileShape shape;
  if (rows.getAsInteger(10, shape.rows) || keys.getAsInteger(10, shape.keys) ||
      !block_plan::isTile({shape.rows, shape.keys}))
    return llvm::createStringError("--tile takes 1 to 1024 rows and 64, 128, ... 1024 "
                                   "keys, such as 64x128, got '" +
                                   tile + "'");
  options.tile = shape;
  return Error::success();
}

static Error parseTune(Options &options) {
  if (!tune.getNumOccurrences()) {
    for (const cl::Option *option :
         std::initializer_list<const cl::Option *>{&tuneTiles, &tuneRounds, &tuneThreads})
      if (option->getNumOccurrences())
        return llvm::createStringError("--" + option->ArgStr + " goes with --tune");
    return Error::success();
  }
  if (options.isPrinted())
    return llvm::createStringError("--tune writes a library; leave out --emit and "
                                   "--explain, or give the size with --tile");
  if (options.tile)
    return llvm::createStringError("give either --tile or --tune, not both");
  TuneRequest request;
  if (!tune.empty()) {
    Expected<sparse_attn_shape> shape = run::parseShape(tune, "--tune");
    if (!shape)
      return shape.takeError();
    request.shape = *shape;
  }
  for (auto [option, value, least] : {std::tuple{&tuneTiles, &request.tiles, 1},
                                      {&tuneRounds, &request.rounds, 1},
                                      {&tuneThreads, &request.threads, 0}}) {
    *value = *option;
    if (*value < least)
      return llvm::createStringError("--" + option->ArgStr + " must be at least " +
                                     Twine(least) + ", got " + Twine(*value));
  }
  for (const auto &[name, file] : options.explain.operands)
    if (!request.files.try_emplace(name, file).second)
      return llvm::createStringError("operand '" + name + "' is given twice");
  options.tune = std::move(request);
  return Error::success();
}

Error sparse_attn::parseTiles(Options &options) {
  for (auto parse : {parseCaches, parseTile, parseTune})
    if (Error error = parse(options))
      return error;
  if (!options.tune && !options.explainFormat && !options.explain.operands.empty())
    return llvm::createStringError("--operand goes with --explain or --tune");
  return Error::success();
}
