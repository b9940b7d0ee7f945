//===- Options.cpp - the command line of sparse-attn-run ------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Options.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace sparse_attn;
using namespace sparse_attn::run;

/// "2,8,2,64,64" as sizes.
static Expected<std::optional<RandomRequest>> parseRandom(StringRef text, uint64_t seed) {
  if (text.empty())
    return std::nullopt;
  Expected<sparse_attn_shape> shape = parseShape(text, "--random");
  if (!shape)
    return shape.takeError();
  return RandomRequest{*shape, seed};
}

static Error addFile(StringMap<std::string> &files, StringRef name, StringRef file) {
  if (files.try_emplace(name, file).second)
    return Error::success();
  return createStringError("'" + name + "' is given twice");
}

Expected<Options> run::parseOptions(int argc, char **argv) {
  // libLLVM has options of its own, among them another --threads.
  cl::ResetCommandLineParser();
  Options options;
  cl::OptionCategory category("sparse-attn-run options");
  cl::opt<std::string, true> library(cl::Positional, cl::desc("library.so"), cl::Required,
                                     cl::location(options.library), cl::cat(category));
  cl::opt<std::string, true> kernel("kernel", cl::value_desc("name"),
                                    cl::desc("Kernel to run, if there are several"),
                                    cl::location(options.kernel), cl::cat(category));
  cl::opt<std::string> q("q", cl::value_desc("file"),
                         cl::desc("Q [B, H, M, D], the kernel's input 'q'"),
                         cl::cat(category));
  cl::opt<std::string> k("k", cl::value_desc("file"),
                         cl::desc("K [B, Hkv, N, D], the kernel's input 'k'"),
                         cl::cat(category));
  cl::opt<std::string> v("v", cl::value_desc("file"),
                         cl::desc("V [B, Hkv, N, Dv], the kernel's input 'v'"),
                         cl::cat(category));
  cl::list<std::string> operands("operand", cl::value_desc("name=file"),
                                 cl::desc("Any other input, by name"), cl::cat(category));
  cl::opt<std::string, true> out("out", cl::value_desc("file.npy"),
                                 cl::desc("Where to write O"), cl::location(options.out),
                                 cl::cat(category));
  cl::opt<std::string, true> lse("lse", cl::value_desc("file.npy"),
                                 cl::desc("Where to write LSE"),
                                 cl::location(options.lse), cl::cat(category));
  cl::opt<std::string> random(
      "random", cl::value_desc("B,H,Hkv,M,N"),
      cl::desc("Draw the inputs that no file gives from a normal distribution; layout "
               "operands always come from files"),
      cl::cat(category));
  cl::opt<uint64_t, true> seed("seed", cl::value_desc("number"),
                               cl::desc("Seed of --random and of --check's sample"),
                               cl::location(options.seed), cl::cat(category));
  cl::opt<std::string> check(
      "check", cl::ValueOptional, cl::value_desc("rows"),
      cl::desc("Compare with the float64 reference: all rows, or a "
               "random sample above 2^28 pairs or of the given size"),
      cl::cat(category));
  cl::list<int64_t> explainRows(
      "explain-rows", cl::CommaSeparated, cl::value_desc("i,..."),
      cl::desc("Tell which keys rows attend to, and what every part of the mask keeps of "
               "them, as the float64 reference decides; -1 is the last row"),
      cl::cat(category));
  cl::opt<int64_t> explainHead(
      "explain-head", cl::value_desc("h"),
      cl::desc("The head of --explain-rows (default: all) and of --explain-picture (0)"),
      cl::cat(category));
  cl::opt<int64_t> explainBatch(
      "explain-batch", cl::value_desc("b"),
      cl::desc("The batch entry of --explain-rows (default: all) and of "
               "--explain-picture (0)"),
      cl::cat(category));
  cl::opt<std::string, true> picture(
      "explain-picture", cl::value_desc("file.svg"),
      cl::desc("Draw the pairs of a head, up to 512 queries and keys"),
      cl::location(options.picture), cl::cat(category));
  cl::opt<int, true> repeat(
      "repeat", cl::value_desc("n"),
      cl::desc("Timed runs; with several, one before them warms up"),
      cl::location(options.repeat), cl::cat(category));
  cl::opt<int, true> threads("threads", cl::value_desc("n"),
                             cl::desc("Threads, 0 for OpenMP's default"),
                             cl::location(options.threads), cl::cat(category));
  cl::opt<std::string, true> level("level", cl::value_desc("name"),
                                   cl::desc("Instruction level, such as avx2; by default "
                                            "the best that runs here"),
                                   cl::location(options.level), cl::cat(category));
  cl::opt<std::string, true> device(
      "device", cl::value_desc("name"),
      cl::desc("Where to run: cpu (default), cuda or cuda:NUMBER, or emulated:sm_80 for "
               "GPU kernels of a library that was compiled with --emulation"),
      cl::location(options.device), cl::cat(category));
  cl::opt<bool, true> layoutOnDevice(
      "layout-on-device",
      cl::desc("Give the plan its layout operands in the memory of --device"),
      cl::location(options.layoutOnDevice), cl::cat(category));
  cl::opt<bool, true> tiles("tiles", cl::desc("Count full, partial and skipped tiles"),
                            cl::location(options.tiles), cl::cat(category));
  cl::opt<bool, true> states(
      "states",
      cl::desc("Make the states of the keys before, as a decode loop keeps them: runs "
               "read them in place of making them"),
      cl::location(options.states), cl::cat(category));
  cl::opt<bool, true> statistics(
      "statistics",
      cl::desc("Count what kernels execute, with --device=emulated: instructions of "
               "warps by kind, and work of the units"),
      cl::location(options.statistics), cl::cat(category));
  cl::opt<bool, true> list("list",
                           cl::desc("List the library's kernels and their tensors"),
                           cl::location(options.list), cl::cat(category));
  cl::opt<bool, true> json("json", cl::desc("Print the result as one JSON object"),
                           cl::location(options.json), cl::cat(category));
  cl::opt<bool, true> progress("progress",
                               cl::desc("Show progress even where stderr is no terminal"),
                               cl::location(options.progress), cl::cat(category));
  cl::SetVersionPrinter([](raw_ostream &os) {
    os << "sparse-attn-run " SPARSE_ATTN_VERSION " with LLVM " LLVM_VERSION_STRING "\n";
  });
  cl::ParseCommandLineOptions(argc, argv,
                              "Runs a kernel of a library from sparse-attn-compile\n\n"
                              "A file that is read is file.npy, or one tensor of a "
                              "file: file.safetensors:tensor\n");

  if (options.repeat < 1)
    return createStringError("--repeat takes a number >= 1, got " +
                             Twine(options.repeat));
  if (options.statistics && !StringRef(options.device).starts_with("emulated"))
    return createStringError("--statistics goes with --device=emulated");
  if (options.layoutOnDevice && options.device == "cpu")
    return createStringError("--layout-on-device goes with --device");
  if (options.threads < 0)
    return createStringError("--threads takes a number >= 0, got " +
                             Twine(options.threads));
  // --check without a number lets the tool choose.
  if (check.getNumOccurrences()) {
    options.checkRows = 0;
    if (!check.empty() &&
        (StringRef(check).getAsInteger(10, *options.checkRows) || *options.checkRows < 1))
      return createStringError("--check takes a number of rows >= 1, got '" + check +
                               "'");
  }
  options.explainRows.assign(explainRows.begin(), explainRows.end());
  for (auto [given, option] : {std::pair{&explainHead, &options.explainHead},
                               {&explainBatch, &options.explainBatch}}) {
    if (!given->getNumOccurrences())
      continue;
    if (options.explainRows.empty() && options.picture.empty())
      return createStringError("--" + given->ArgStr +
                               " goes with --explain-rows or --explain-picture");
    *option = *given;
  }
  Expected<std::optional<RandomRequest>> request = parseRandom(random, options.seed);
  if (!request)
    return request.takeError();
  options.random = *request;

  for (auto [name, file] : {std::pair{"q", &q}, {"k", &k}, {"v", &v}})
    if (!file->empty())
      options.files[name] = *file;
  for (StringRef operand : operands) {
    auto [name, file] = operand.split('=');
    if (name.empty() || file.empty())
      return createStringError("--operand takes NAME=FILE, got '" + operand + "'");
    if (Error error = addFile(options.files, name, file))
      return error;
  }
  return options;
}
