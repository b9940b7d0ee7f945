//===- Options.cpp - the command line of sparse-attn-compile --------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Options.h"
#include "sparse_attn/Package/Package.h"
#include "sparse_attn/Target/CPUArchitecture.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Path.h"

using namespace sparse_attn;
using llvm::createStringError;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;
namespace cl = llvm::cl;

//===----------------------------------------------------------------------===//
// Declarations
//===----------------------------------------------------------------------===//

static constexpr StringRef kOverview = R"(Compiles attention masks to a library.

From a file that holds one or more kernels:
  sparse-attn-compile pattern.mlir -o build
From an expression:
  sparse-attn-compile --pattern 'causal & (window(1023, 0) | sink(4))' \
                      --head-dim 128 --name longctx -o build
With layout operands, score modifiers and lengths of padded sequences:
  sparse-attn-compile --pattern 'causal & segments(offsets)' --kv-len \
                      --modifiers 'softcap(30.0), alibi(slopes)' \
                      --head-dim 64 --name packed -o build

Both write lib<name>.so, lib<name>.a, <name>.h and <name>.json into the folder.
--target compiles for another architecture, such as aarch64 on x86-64.
--emit prints an intermediate stage instead, for NVIDIA GPUs too:
  sparse-attn-compile pattern.mlir --emit=plan
  sparse-attn-compile pattern.mlir --emit=asm --target=sm_80
--tune measures tile sizes on this machine and keeps the fastest:
  sparse-attn-compile pattern.mlir --tune=1,8,2,8192,8192 -o build
--explain tells what the kernel does with a shape, with a picture of its tiles:
  sparse-attn-compile pattern.mlir --explain --explain-shape 1,8,8,4096,4096
)";

namespace {
enum class Emit { Mlir, Plan, Kernel, Llvm, Asm, Obj, Library };
enum class OutType { Input, F32 };
} // namespace

cl::OptionCategory &sparse_attn::getCompileCategory() {
  static cl::OptionCategory category("Options of sparse-attn-compile");
  return category;
}
static cl::OptionCategory patternCategory("Options that go with --pattern");

static cl::opt<std::string> inputFile(cl::Positional, cl::desc("[pattern.mlir]"),
                                      cl::cat(getCompileCategory()));
static cl::opt<std::string> output("o", cl::value_desc("path"),
                                   cl::cat(getCompileCategory()),
                                   cl::desc("folder of the library (default: .), or with "
                                            "--emit or --explain the file (default: -)"));
static cl::opt<Emit> emit(
    "emit", cl::desc("what to write"), cl::init(Emit::Library),
    cl::cat(getCompileCategory()),
    cl::values(clEnumValN(Emit::Mlir, "mlir", "the kernel as written, in MLIR"),
               clEnumValN(Emit::Plan, "plan", "the block-sparse plan"),
               clEnumValN(Emit::Kernel, "kernel", "loops and vectors"),
               clEnumValN(Emit::Llvm, "llvm", "LLVM IR, optimised"),
               clEnumValN(Emit::Asm, "asm", "assembly, or PTX"),
               clEnumValN(Emit::Obj, "obj", "an object file"),
               clEnumValN(Emit::Library, "library",
                          "shared library, archive, header and manifest (default)")));
static cl::opt<std::string>
    name("name", cl::value_desc("name"), cl::cat(getCompileCategory()),
         cl::desc("name of the library (default: that of the file), and of the kernel "
                  "with --pattern"));
static cl::opt<std::string>
    runtimeArchive("runtime-archive", cl::value_desc("file"),
                   cl::cat(getCompileCategory()),
                   cl::desc("the runtime to put into the library (default: the "
                            "libsparse_attn_runtime.a of this installation)"));
static cl::opt<std::string>
    linker("linker", cl::value_desc("program"), cl::cat(getCompileCategory()),
           cl::desc("linker of the shared library (default: ld.lld, else cc)"));
static cl::opt<block_plan::Unions> unions(
    "unions",
    cl::desc("what becomes of a union of masks with different periods (default: what "
             "the kernel says, else choose)"),
    cl::cat(getCompileCategory()),
    cl::values(clEnumValN(block_plan::Unions::Choose, "choose",
                          "a plan takes the cheaper of the next two"),
               clEnumValN(block_plan::Unions::Whole, "whole", "one attention"),
               clEnumValN(block_plan::Unions::Split, "split",
                          "an attention for each half, and a merge")));
static cl::opt<bool> printTime("time", cl::cat(getCompileCategory()),
                               cl::desc("print what each phase takes"));

static cl::opt<std::string>
    pattern("pattern", cl::value_desc("expression"), cl::cat(patternCategory),
            cl::desc("a mask: names of patterns, | union, & intersection, - difference, "
                     "~ complement"));
static cl::opt<std::string>
    modifiers("modifiers", cl::value_desc("list"), cl::cat(patternCategory),
              cl::desc("score modifiers in order: 'softcap(30.0), alibi(slopes)'"));
static cl::opt<int64_t> headDim("head-dim", cl::value_desc("D"), cl::cat(patternCategory),
                                cl::desc("size of a query and of a key"));
static cl::opt<int64_t> valueDim("value-dim", cl::value_desc("Dv"),
                                 cl::cat(patternCategory),
                                 cl::desc("size of a value (default: D)"));
static cl::opt<ElementType>
    dtype("dtype", cl::desc("type of Q, K and V"), cl::init(ElementType::F32),
          cl::cat(patternCategory),
          cl::values(clEnumValN(ElementType::F32, "f32", "32-bit floats (default)"),
                     clEnumValN(ElementType::F16, "f16", "16-bit floats"),
                     clEnumValN(ElementType::BF16, "bf16", "bfloat16")));
static cl::opt<OutType>
    outDtype("out-dtype", cl::desc("type of O"), cl::init(OutType::Input),
             cl::cat(patternCategory),
             cl::values(clEnumValN(OutType::Input, "input", "that of Q (default)"),
                        clEnumValN(OutType::F32, "f32", "32-bit floats, not rounded")));
static cl::opt<double> scale("scale", cl::value_desc("factor"), cl::cat(patternCategory),
                             cl::desc("factor of the scores (default: 1 / sqrt(D))"));
static cl::opt<bool> kvLen("kv-len", cl::cat(patternCategory),
                           cl::desc("take the operand kv_len [B]"));
static cl::opt<bool> qLen("q-len", cl::cat(patternCategory),
                          cl::desc("take the operand q_len [B]"));
static cl::opt<bool> qOffset("q-offset", cl::cat(patternCategory),
                             cl::desc("take the operand q_offset [B]"));
static cl::opt<bool> sinks("sinks", cl::cat(patternCategory),
                           cl::desc("take the operand sinks [H]"));

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

static Expected<KernelSpec> makeSpec() {
  if (!headDim.getNumOccurrences())
    return createStringError("--pattern needs --head-dim, the size of a query");
  for (const cl::opt<int64_t> *size : {&headDim, &valueDim})
    if (size->getNumOccurrences() && *size < 1)
      return createStringError("--" + size->ArgStr + " must be at least 1, got " +
                               llvm::Twine(static_cast<int64_t>(*size)));
  KernelSpec spec;
  spec.pattern = pattern;
  spec.modifiers = modifiers;
  spec.headDim = headDim;
  spec.valueDim = valueDim;
  spec.elementType = dtype;
  spec.wideOut = outDtype == OutType::F32;
  if (scale.getNumOccurrences())
    spec.scale = scale;
  spec.kvLen = kvLen;
  spec.qLen = qLen;
  spec.qOffset = qOffset;
  spec.sinks = sinks;
  return spec;
}

/// A file states itself what these options say for a pattern.
static Error checkNoPatternOptions() {
  for (const cl::Option *option : std::initializer_list<const cl::Option *>{
           &modifiers, &headDim, &valueDim, &dtype, &outDtype, &scale, &kvLen, &qLen,
           &qOffset, &sinks})
    if (option->getNumOccurrences())
      return createStringError("--" + option->ArgStr +
                               " goes with --pattern; the kernels of a .mlir file say it "
                               "themselves");
  return Error::success();
}

static Error checkInput(Options &options) {
  bool hasPattern = pattern.getNumOccurrences();
  bool hasFile = inputFile.getNumOccurrences();
  if (hasPattern && hasFile)
    return createStringError("give either a .mlir file or --pattern, not both");
  if (!hasPattern && !hasFile)
    return createStringError(
        "nothing to compile; give a .mlir file or --pattern (see --help)");
  if (hasFile) {
    options.inputFile = inputFile;
    return checkNoPatternOptions();
  }
  Expected<KernelSpec> spec = makeSpec();
  if (!spec)
    return spec.takeError();
  options.spec = std::move(*spec);
  return Error::success();
}

static Error checkName(Options &options) {
  bool given = name.getNumOccurrences();
  std::string chosen = name;
  if (!given)
    chosen = options.spec ? "kernel" : llvm::sys::path::stem(options.inputFile).str();
  if (!options.isPrinted() && !given && (options.spec || options.inputFile == "-"))
    return createStringError("name the library with --name");
  if (!isValidName(chosen)) {
    // What is printed needs no name.
    if (options.isPrinted() && !given)
      chosen = "kernel";
    else
      return createStringError(
          "'" + chosen +
          "' cannot name a library: use letters, digits and '_', beginning "
          "with a letter" +
          (given ? "" : "; choose one with --name"));
  }
  options.libraryName = chosen;
  if (options.spec)
    options.spec->name = chosen;
  return Error::success();
}

/// --explain loads what it compiles.
static Error checkExplainTarget(Options &options) {
  if (!options.explainFormat || (!options.levels.empty() && options.gpus.empty() &&
                                 getArchitecture(*options.levels.front()).isHost()))
    return Error::success();
  return createStringError(
      "--explain runs the plan on this machine, whatever the target (tiles do "
      "not depend on it); leave out --target");
}

static std::optional<Stage> getStage() {
  switch (emit) {
  case Emit::Mlir:
    return Stage::Mlir;
  case Emit::Plan:
    return Stage::Plan;
  case Emit::Kernel:
    return Stage::Kernel;
  case Emit::Llvm:
    return Stage::Llvm;
  case Emit::Asm:
    return Stage::Asm;
  case Emit::Obj:
    return Stage::Obj;
  case Emit::Library:
    return std::nullopt;
  }
  llvm_unreachable("every kind of output is handled");
}

Expected<Options> sparse_attn::parseOptions(int argc, char **argv) {
  cl::HideUnrelatedOptions({&getCompileCategory(), &patternCategory, &getTileCategory(),
                            &getExplainCategory()});
  cl::SetVersionPrinter([](llvm::raw_ostream &os) {
    os << "sparse-attn-compile " SPARSE_ATTN_VERSION " with LLVM " LLVM_VERSION_STRING
          "\n";
  });
  cl::ParseCommandLineOptions(argc, argv, kOverview);
  Options options;
  options.stage = getStage();
  options.runtimeArchive = runtimeArchive;
  options.linker = linker;
  options.time = printTime;
  if (unions.getNumOccurrences())
    options.unions = unions;
  for (auto parse : {parseExplain, parseTiles})
    if (Error error = parse(options))
      return error;
  options.output = output;
  if (options.output.empty())
    options.output = options.isPrinted() ? "-" : ".";
  for (auto check : {checkInput, checkName, parseTargets, checkExplainTarget})
    if (Error error = check(options))
      return error;
  return options;
}
