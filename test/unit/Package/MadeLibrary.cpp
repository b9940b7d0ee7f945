//===- MadeLibrary.cpp - a compiled library made by hand ------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MadeLibrary.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

using namespace sparse_attn;
using llvm::StringRef;

static std::vector<TensorDesc> makeInputs() {
  return {{"q", false, 2, 32, 4, {-1, -1, -1, 64}, {1, 2, 4, 0}, 0},
          {"k", false, 2, 32, 4, {-1, -1, -1, 64}, {1, 3, 5, 0}, 1},
          {"v", false, 2, 32, 4, {-1, -1, -1, 48}, {1, 3, 5, 0}, 2},
          {"offsets", true, 0, 32, 2, {-1, -1, -1, -1}, {17, 0, 0, 0}, 3},
          {"int", true, 0, 8, 1, {-1, -1, -1, -1}, {18, 0, 0, 0}, 4},
          {"bias", false, 2, 32, 1, {7, -1, -1, -1}, {0, 0, 0, 0}, 5}};
}

static std::vector<TensorDesc> makeOutputs() {
  return {{"out", false, 2, 32, 4, {-1, -1, -1, 48}, {1, 2, 4, 0}, 6},
          {"lse", false, 2, 32, 3, {-1, -1, -1, -1}, {1, 2, 4, 0}, 7}};
}

static AttentionDesc makeAttention() {
  AttentionDesc a;
  a.headDim = 64, a.valueDim = 48;
  a.tileRows = 32, a.tileKeys = 256;
  a.binding = 1;
  a.perBatch = true, a.perHead = false;
  a.keyBlock = 9;
  a.period = 6;
  a.q = 0, a.k = 1, a.v = 2, a.kvLen = 11, a.qLen = 12, a.qOffset = 13, a.sinks = 14;
  a.out = 6, a.lse = 7;
  a.hopTable = 1;
  a.gathered = true;
  SetDesc known, chosen;
  known.kind = 1;
  known.classifySymbol = "made_classify";
  chosen.kind = 12;
  chosen.score = 1, chosen.encoding = 0;
  chosen.blockQ = 4, chosen.blockK = 8;
  chosen.sampled = true;
  chosen.operands = {0}, chosen.inputs = {5, -1};
  chosen.parameters = {1000000000000, -3};
  chosen.reals = {0.25, 1e300};
  a.sets = {known, chosen};
  a.scores = {{0, 2, true, 16}, {1, 0, false, 1, 33, 32, 2}};
  a.tables = {{1, {3, -1}, {2, 0, 1}}, {1, {}, {}}};
  a.checks = {{5, {3, 4}, {1000000000000}, "graph_hop"}};
  a.classifySymbol = "made_classify";
  a.levels = {{1,
               "avx2",
               128,
               64,
               96,
               320,
               "made_pack_avx2",
               "made_attend_avx2",
               "made_combine_avx2",
               "",
               {},
               "",
               ""},
              {2,
               "avx512",
               256,
               192,
               160,
               640,
               "made_pack_avx512",
               "made_attend_avx512",
               "made_combine_avx512",
               "made_fill_avx512",
               {},
               "",
               ""}};
  return a;
}

static std::vector<EncodingDesc> makeEncodings() {
  EncodingDesc bare, full;
  full.kind = 3;
  full.k = 1, full.v = 2;
  full.headDim = 64, full.valueDim = 48, full.queryWords = 17;
  full.states = {{"labels", 2, 4, 8, true}, {"label_low", 1, 1, 8, false}};
  full.inputs = {5, -1};
  full.parameters = {7};
  full.reals = {-0.5};
  return {bare, full};
}

static CompiledKernel makeKernel(StringRef name) {
  CompiledKernel kernel;
  kernel.name = name.str();
  kernel.inputs = makeInputs();
  kernel.outputs = makeOutputs();
  kernel.valueCount = 17;
  StepDesc pool, attention, merge;
  pool.kind = StepDesc::Pool;
  pool.inputs = {1};
  pool.firstResult = 8;
  pool.block = 16;
  pool.typeCode = 4, pool.typeBits = 16;
  attention.firstResult = 6;
  attention.attention = makeAttention();
  merge.kind = StepDesc::Merge;
  merge.inputs = {6, 7, 9, 10};
  merge.firstResult = 15;
  merge.typeBits = 16;
  kernel.steps = {pool, attention, merge};
  kernel.encodings = makeEncodings();
  kernel.source = "func.func @\"a\\b\"";
  kernel.facts = llvm::json::Object{{"density", 0.5}};
  return kernel;
}

CompiledLibrary sparse_attn::makeLibrary(StringRef name) {
  CompiledLibrary library;
  library.name = name.str();
  library.kernels.push_back(makeKernel(name));
  CompiledKernel plain = makeKernel("plain");
  llvm::erase_if(plain.inputs, [](const TensorDesc &tensor) { return tensor.layout; });
  library.kernels.push_back(std::move(plain));
  std::string object = readFile(KERNEL_OBJECT);
  library.objects.push_back({library.name + ".plan.o", {object.begin(), object.end()}});
  return library;
}

//===----------------------------------------------------------------------===//
// Files and programs
//===----------------------------------------------------------------------===//

TemporaryFolder::TemporaryFolder() {
  llvm::SmallString<128> path;
  EXPECT_FALSE(llvm::sys::fs::createUniqueDirectory("sparse-attn-test", path));
  folder = std::string(path);
}

TemporaryFolder::~TemporaryFolder() {
  (void)llvm::sys::fs::remove_directories(folder, /*IgnoreErrors=*/true);
}

std::string TemporaryFolder::file(StringRef name) const {
  llvm::SmallString<128> path(folder);
  llvm::sys::path::append(path, name);
  return std::string(path);
}

std::vector<std::string> TemporaryFolder::list() const {
  std::vector<std::string> names;
  std::error_code code;
  for (llvm::sys::fs::directory_iterator it(folder, code), end; it != end && !code;
       it.increment(code))
    names.push_back(llvm::sys::path::filename(it->path()).str());
  llvm::sort(names);
  return names;
}

PackageOptions sparse_attn::makeOptions(const TemporaryFolder &folder) {
  return {folder.path().str(), RUNTIME_ARCHIVE, ""};
}

int sparse_attn::runProgram(std::vector<std::string> command, std::string &output) {
  TemporaryFolder folder;
  std::string log = folder.file("log");
  std::optional<StringRef> redirects[] = {std::nullopt, StringRef(log), StringRef(log)};
  llvm::ErrorOr<std::string> program = llvm::sys::findProgramByName(command.front());
  if (!program)
    return -1;
  std::vector<StringRef> arguments(command.begin(), command.end());
  int status = llvm::sys::ExecuteAndWait(*program, arguments, std::nullopt, redirects);
  output = readFile(log);
  return status;
}

std::string sparse_attn::readFile(StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  EXPECT_TRUE(static_cast<bool>(buffer)) << path.str();
  return buffer ? (*buffer)->getBuffer().str() : "";
}

void sparse_attn::writeFile(StringRef path, StringRef contents) {
  std::error_code code;
  llvm::raw_fd_ostream stream(path, code);
  ASSERT_FALSE(code) << path.str();
  stream << contents;
}
