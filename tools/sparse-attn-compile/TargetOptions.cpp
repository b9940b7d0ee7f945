//===- TargetOptions.cpp - what to compile for ----------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Options.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Program.h"

using namespace sparse_attn;
using llvm::createStringError;
using llvm::Error;
using llvm::StringRef;
namespace cl = llvm::cl;

static cl::list<std::string>
    targets("target", cl::value_desc("architecture,..."), cl::CommaSeparated,
            cl::cat(getCompileCategory()),
            cl::desc("what to compile for: aarch64, x86_64, or cpu (default), the "
                     "architecture that this program runs on; and GPUs: sm_80, sm_90a"));
static cl::opt<std::string>
    level("level", cl::value_desc("name|all"), cl::cat(getCompileCategory()),
          cl::desc("instruction level, such as avx2 (default: all of the target for a "
                   "library, else the best)"));
static cl::opt<bool>
    emulation("emulation", cl::cat(getCompileCategory()),
              cl::desc("keep the LLVM IR of GPU kernels in the library, for "
                       "sparse-attn-run --device=emulated"));

static cl::opt<std::string>
    ptxas("ptxas", cl::value_desc("file|none"), cl::cat(getCompileCategory()),
          cl::desc("NVIDIA's assembler, which puts machine code of GPUs beside the PTX "
                   "(default: that of PATH, if there is one)"));

static const CPUArchitecture *findCPU(StringRef name) {
  return name == "cpu" ? findHostArchitecture() : findArchitecture(name);
}

static Error reportUnknownTarget(StringRef name) {
  if (name == "cpu")
    return createStringError(
        "there are no instruction levels for this machine; name another one "
        "with --target");
  std::string names = "cpu";
  for (const CPUArchitecture *each : getArchitectures())
    names += ", " + each->name.str();
  return createStringError("unknown target '" + name + "'; there are " + names + ", " +
                           listGPUTargets());
}

/// The levels of `architecture` that --level asks for.
static Error chooseLevels(const CPUArchitecture &architecture, Options &options) {
  llvm::ArrayRef<CPULevel> known = architecture.levels;
  if (!level.getNumOccurrences() || level == "all") {
    if (options.stage && level == "all")
      return createStringError("--level=all is for a library; choose one level to print");
    if (options.stage)
      options.levels = {&known.back()};
    else
      for (const CPULevel &each : known)
        options.levels.push_back(&each);
    return Error::success();
  }
  const CPULevel *found = findLevel(level);
  if (!found) {
    llvm::SmallVector<StringRef> names;
    for (const CPULevel &each : known)
      names.push_back(each.name);
    return createStringError("unknown level '" + level + "'; there are " +
                             llvm::join(names, ", ") + " and all");
  }
  if (const CPUArchitecture &owner = getArchitecture(*found); &owner != &architecture)
    return createStringError("level '" + level + "' is one of " + owner.name +
                             "; add --target=" + owner.name);
  options.levels = {found};
  return Error::success();
}

/// The path of the assembler, empty for none.
static llvm::Expected<std::string> findAssembler() {
  if (ptxas == "none")
    return "";
  StringRef name = ptxas.empty() ? StringRef("ptxas") : StringRef(ptxas);
  // A path is taken as it is.
  auto found = llvm::sys::findProgramByName(name);
  if (found && llvm::sys::fs::can_execute(*found))
    return *found;
  if (ptxas.empty())
    return "";
  return createStringError("there is no program '" + name + "'");
}

Error sparse_attn::parseTargets(Options &options) {
  options.emulation = emulation;
  llvm::Expected<std::string> assembler = findAssembler();
  if (!assembler)
    return assembler.takeError();
  options.ptxas = *assembler;
  const CPUArchitecture *architecture = nullptr;
  llvm::SmallVector<std::string> names(targets.begin(), targets.end());
  if (names.empty())
    names = {"cpu"};
  for (StringRef name : names) {
    if (const GPUTarget *gpu = findGPUTarget(name)) {
      if (!llvm::is_contained(options.gpus, gpu))
        options.gpus.push_back(gpu);
      continue;
    }
    const CPUArchitecture *found = findCPU(name);
    if (!found)
      return reportUnknownTarget(name);
    if (architecture && architecture != found)
      return createStringError("a library is for one processor; choose " +
                               architecture->name + " or " + found->name);
    architecture = found;
  }
  llvm::sort(options.gpus, [](const GPUTarget *a, const GPUTarget *b) {
    return a->capability < b->capability;
  });
  if (options.stage && options.gpus.size() + (architecture ? 1 : 0) > 1)
    return createStringError(
        "--emit prints what one target gets; choose one with --target");
  // A library needs the processor's code beside that of GPUs: plans are made there.
  if (!architecture && !options.stage)
    architecture = findCPU("cpu");
  if (architecture)
    return chooseLevels(*architecture, options);
  if (level.getNumOccurrences())
    return createStringError("--level is one of a processor; leave it out for " +
                             options.gpus.front()->name);
  return Error::success();
}
