//===- sparse-attn-compile.cpp - a mask in, a library out -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Options.h"
#include "Tune.h"
#include "dialect/BlockPlan/BlockPlan.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "sparse_attn/Conversion/KernelValues.h"
#include "sparse_attn/Package/Package.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/WithColor.h"
#include <chrono>

using namespace mlir;
using namespace sparse_attn;
using llvm::Error;
using llvm::Expected;

namespace {
/// Prints what each phase takes, if asked to.
class PhaseTimer {
public:
  explicit PhaseTimer(bool enabled) : enabled(enabled) {}
  void finish(llvm::StringRef phase) {
    auto now = std::chrono::steady_clock::now();
    if (enabled)
      llvm::errs() << llvm::formatv("{0,-8} {1,8:f3} s\n", phase,
                                    std::chrono::duration<double>(now - start).count());
    start = now;
  }

private:
  bool enabled;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};
} // namespace

/// An error that has no place in the input.
static LogicalResult report(Error error) {
  llvm::handleAllErrors(std::move(error), [](const llvm::ErrorInfoBase &info) {
    llvm::WithColor::error(llvm::errs(), "sparse-attn-compile") << info.message() << "\n";
  });
  return failure();
}

/// The module to compile, or null after a diagnostic.
static OwningOpRef<ModuleOp> readInput(const Options &options, llvm::SourceMgr &sourceMgr,
                                       MLIRContext &context) {
  if (options.spec) {
    addExpressionBuffers(sourceMgr, *options.spec);
    OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
    if (failed(buildKernel(*module, *options.spec)))
      return nullptr;
    return module;
  }
  std::string reason;
  std::unique_ptr<llvm::MemoryBuffer> buffer = openInputFile(options.inputFile, &reason);
  if (!buffer) {
    (void)report(llvm::createStringError(reason));
    return nullptr;
  }
  sourceMgr.AddNewSourceBuffer(std::move(buffer), {});
  return parseSourceFile<ModuleOp>(sourceMgr, &context);
}

/// Writes `contents` to the file of -o, or to the screen.
static LogicalResult writeOutput(llvm::StringRef contents, const Options &options) {
  if (options.output != "-") {
    Error error = writeFileAtomically(options.output, contents);
    return error ? report(std::move(error)) : success();
  }
  llvm::outs() << contents;
  llvm::outs().flush();
  std::error_code code = llvm::outs().error();
  llvm::outs().clear_error();
  return code ? report(llvm::createStringError(code, "cannot write the output: " +
                                                         code.message()))
              : success();
}

/// `what` is no text, and the output is the screen.
static bool isUnreadable(bool binary, llvm::StringRef what, const Options &options) {
  if (!binary || options.output != "-" || !llvm::sys::Process::StandardOutIsDisplayed())
    return false;
  (void)report(llvm::createStringError(what + " is not text; name the file with -o"));
  return true;
}

static LogicalResult printStage(ModuleOp module, const Options &options) {
  if (isUnreadable(options.stage == Stage::Obj, "an object file", options))
    return failure();
  std::string text;
  llvm::raw_string_ostream stream(text);
  LogicalResult emitted =
      options.levels.empty()
          ? emitStage(module, *options.stage, *options.gpus.front(), stream)
          : emitStage(module, *options.stage, *options.levels.front(), options.caches,
                      stream);
  if (failed(emitted))
    return failure();
  return writeOutput(text, options);
}

static void setAttribute(ModuleOp module, llvm::StringRef name, Attribute value) {
  for (func::FuncOp kernel : getKernels(module))
    kernel->setAttr(name, value);
}

/// Writes what --tile and --unions say to every kernel.
static void setPlanAttributes(ModuleOp module, const Options &options) {
  MLIRContext *context = module.getContext();
  if (options.tile)
    setAttribute(
        module, block_plan::kTileAttr,
        DenseI64ArrayAttr::get(context, {options.tile->rows, options.tile->keys}));
  context->loadDialect<block_plan::BlockPlanDialect>();
  if (options.unions)
    setAttribute(module, block_plan::kUnionsAttr,
                 block_plan::UnionsAttr::get(context, *options.unions));
}

/// The archive of the runtime, named or found.
static Expected<std::string> getRuntimeArchive(const Options &options,
                                               llvm::StringRef executable) {
  if (!options.runtimeArchive.empty())
    return options.runtimeArchive;
  return findRuntimeArchive(executable, getArchitecture(*options.levels.front()));
}

static LogicalResult printExplanation(ModuleOp module, const Options &options,
                                      llvm::StringRef executable, PhaseTimer &timer) {
  if (isUnreadable(options.explainFormat == ExplainFormat::Png, "a picture", options))
    return failure();
  ExplainOptions request = options.explain;
  Expected<std::string> archive = getRuntimeArchive(options, executable);
  if (!archive)
    return report(archive.takeError());
  request.runtimeArchive = *archive;
  FailureOr<CompiledLibrary> library =
      compileLibrary(module, {options.libraryName, options.levels, options.caches});
  if (failed(library))
    return failure();
  timer.finish("compile");
  Expected<Explanation> explanation = explainLibrary(module, *library, request);
  if (!explanation)
    return report(explanation.takeError());
  Expected<std::string> contents = buildExplanation(*explanation, *options.explainFormat);
  if (!contents)
    return report(contents.takeError());
  timer.finish("explain");
  return writeOutput(*contents, options);
}

static LogicalResult writeLibrary(ModuleOp module, const Options &options,
                                  llvm::StringRef executable, PhaseTimer &timer) {
  // What is missing is told before time is spent.
  PackageOptions package{options.output, options.runtimeArchive, options.linker};
  Expected<std::string> archive = getRuntimeArchive(options, executable);
  if (!archive)
    return report(archive.takeError());
  package.runtimeArchive = *archive;
  TuningFacts tuning;
  if (options.tune) {
    Expected<TuningFacts> tuned = tuneKernels(module, options, *archive);
    if (!tuned)
      return report(tuned.takeError());
    tuning = std::move(*tuned);
    timer.finish("tune");
  }
  FailureOr<CompiledLibrary> library =
      compileLibrary(module, {options.libraryName,
                              options.levels,
                              options.caches,
                              {options.gpus, options.emulation, options.ptxas}});
  if (failed(library))
    return failure();
  for (CompiledKernel &kernel : library->kernels)
    if (auto facts = tuning.find(kernel.name); facts != tuning.end())
      kernel.facts["tuning"] = std::move(facts->second);
  timer.finish("compile");
  Expected<PackagedFiles> files = packageLibrary(*library, package);
  if (!files)
    return report(files.takeError());
  timer.finish("package");
  return success();
}

int main(int argc, char **argv) {
  llvm::InitLLVM initialise(argc, argv);
  Expected<Options> options = parseOptions(argc, argv);
  if (!options) {
    (void)report(options.takeError());
    return EXIT_FAILURE;
  }
  std::string executable =
      llvm::sys::fs::getMainExecutable(argv[0], reinterpret_cast<void *>(&report));

  PhaseTimer timer(options->time);
  DialectRegistry registry;
  registerDialects(registry);
  MLIRContext context(registry);
  context.printOpOnDiagnostic(false);
  llvm::SourceMgr sourceMgr;
  SourceMgrDiagnosticHandler diagnostics(sourceMgr, &context);
  OwningOpRef<ModuleOp> module = readInput(*options, sourceMgr, context);
  if (!module)
    return EXIT_FAILURE;
  setPlanAttributes(*module, *options);
  timer.finish("read");
  LogicalResult result = success();
  if (options->explainFormat) {
    result = printExplanation(*module, *options, executable, timer);
  } else if (options->stage) {
    result = printStage(*module, *options);
    timer.finish("emit");
  } else {
    result = writeLibrary(*module, *options, executable, timer);
  }
  return succeeded(result) ? EXIT_SUCCESS : EXIT_FAILURE;
}
