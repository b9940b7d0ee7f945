//===- ExplainOptions.cpp - the options of --explain ----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Options.h"
#include "llvm/Support/CommandLine.h"
#include <memory>

using namespace sparse_attn;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;
namespace cl = llvm::cl;

cl::OptionCategory &sparse_attn::getExplainCategory() {
  static cl::OptionCategory category("Options that go with --explain");
  return category;
}

static cl::opt<ExplainFormat> explain(
    "explain", cl::ValueOptional, cl::cat(getExplainCategory()),
    cl::desc("tell what a kernel does with a shape, in text or another format, instead "
             "of writing a library; -o names the file"),
    cl::init(ExplainFormat::Text),
    cl::values(clEnumValN(ExplainFormat::Text, "text", "numbers and block characters"),
               clEnumValN(ExplainFormat::Text, "", ""),
               clEnumValN(ExplainFormat::Svg, "svg", "a picture in vectors"),
               clEnumValN(ExplainFormat::Png, "png", "a picture in pixels"),
               clEnumValN(ExplainFormat::Html, "html", "one page with everything")));
static cl::opt<std::string>
    explainShape("explain-shape", cl::value_desc("B,H,Hkv,M,N"),
                 cl::cat(getExplainCategory()),
                 cl::desc("the shape (default: 1,1,1,1024,1024)"));
static cl::list<std::string>
    operands("operand", cl::value_desc("name=file"), cl::cat(getExplainCategory()),
             cl::desc("the value of a layout operand, from file.npy or "
                      "file.safetensors:tensor; once for each (with --tune: of any "
                      "input)"));
static cl::opt<std::string> explainKernel("explain-kernel", cl::value_desc("name"),
                                          cl::cat(getExplainCategory()),
                                          cl::desc("which one, where there are several"));
static cl::opt<int64_t>
    explainHead("explain-head", cl::value_desc("h"), cl::cat(getExplainCategory()),
                cl::desc("the head that a single picture shows (default: 0)"));
static cl::opt<int64_t>
    explainBatch("explain-batch", cl::value_desc("b"), cl::cat(getExplainCategory()),
                 cl::desc("the batch entry that a single picture shows (default: 0)"));

static Expected<sparse_attn_shape> parseShape(StringRef text) {
  llvm::SmallVector<StringRef> parts;
  text.split(parts, ',');
  int64_t sizes[5];
  bool valid = parts.size() == std::size(sizes);
  for (size_t i = 0; valid && i < std::size(sizes); ++i)
    valid = !parts[i].trim().getAsInteger(10, sizes[i]);
  if (!valid)
    return llvm::createStringError("--explain-shape takes five sizes B,H,Hkv,M,N such as "
                                   "1,8,8,4096,4096, got '" +
                                   text + "'");
  return sparse_attn_shape{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]};
}

/// Options that say nothing without --explain.
static Error checkNoExplainOptions() {
  for (const cl::Option *option : std::initializer_list<const cl::Option *>{
           &explainShape, &explainKernel, &explainHead, &explainBatch})
    if (option->getNumOccurrences())
      return llvm::createStringError("--" + option->ArgStr + " goes with --explain");
  return Error::success();
}

static Error parseOperands(ExplainOptions &request) {
  for (StringRef operand : operands) {
    auto [name, file] = operand.split('=');
    if (name.empty() || file.empty())
      return llvm::createStringError("--operand takes NAME=FILE, got '" + operand + "'");
    request.operands.emplace_back(name, file);
  }
  return Error::success();
}

Error sparse_attn::parseExplain(Options &options) {
  if (Error error = parseOperands(options.explain))
    return error;
  if (!explain.getNumOccurrences())
    return checkNoExplainOptions();
  if (options.stage)
    return llvm::createStringError("give either --emit or --explain, not both");
  ExplainOptions &request = options.explain;
  if (explainShape.getNumOccurrences()) {
    Expected<sparse_attn_shape> shape = parseShape(explainShape);
    if (!shape)
      return shape.takeError();
    request.shape = *shape;
  }
  request.kernel = explainKernel;
  request.plane = {explainBatch, explainHead};
  request.runtimeArchive = options.runtimeArchive;
  request.linker = options.linker;
  options.explainFormat = explain;
  return Error::success();
}
