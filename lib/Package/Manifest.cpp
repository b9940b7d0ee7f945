//===- Manifest.cpp - what a library tells about itself, as JSON ----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// docs/manifest.md describes every field.
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Package/Package.h"
#include "sparse_attn/runtime.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace sparse_attn;
namespace json = llvm::json;

static json::Object describeTensor(const TensorDesc &tensor) {
  json::Array shape;
  for (int axis = 0; axis < tensor.rank; ++axis) {
    if (tensor.dims[axis] >= 0)
      shape.push_back(tensor.dims[axis]);
    else
      shape.push_back(describeAxis(tensor, axis));
  }
  return json::Object{{"name", tensor.name},
                      {"dtype", describeType(tensor)},
                      {"shape", std::move(shape)}};
}

static json::Array describeInputs(const CompiledKernel &kernel) {
  json::Array inputs;
  for (const TensorDesc &tensor : kernel.inputs) {
    json::Object object = describeTensor(tensor);
    object["given_to"] = tensor.layout ? "plan" : "run";
    inputs.push_back(std::move(object));
  }
  return inputs;
}

static json::Array describeOutputs(const CompiledKernel &kernel) {
  json::Array outputs;
  for (const TensorDesc &tensor : kernel.outputs)
    outputs.push_back(describeTensor(tensor));
  return outputs;
}

static json::Object describeAttention(const AttentionDesc &attention) {
  json::Array levels;
  for (const LevelDesc &level : attention.levels)
    levels.push_back(json::Object{{"name", level.name},
                                  {"scratch_bytes", level.scratchBytes},
                                  {"packed_bytes", level.packedBytes}});
  json::Array checks;
  for (const CheckDesc &check : attention.checks)
    checks.push_back(check.op);
  return json::Object{{"head_dim", attention.headDim},
                      {"value_dim", attention.valueDim},
                      {"binding", attention.binding == 0 ? "compile" : "plan"},
                      {"tile_rows", attention.tileRows},
                      {"tile_keys", attention.tileKeys},
                      {"per_head", attention.perHead},
                      {"per_batch", attention.perBatch},
                      {"key_block", attention.keyBlock},
                      {"period", attention.period},
                      {"checked_by", std::move(checks)},
                      {"levels", std::move(levels)}};
}

static json::Object describeKernel(const CompiledLibrary &library,
                                   const CompiledKernel &kernel) {
  json::Array attentions;
  json::Object object{{"name", kernel.name},
                      {"prefix", getPrefix(library, kernel)},
                      {"source", json::fixUTF8(kernel.source)},
                      {"inputs", describeInputs(kernel)},
                      {"outputs", describeOutputs(kernel)}};
  for (const StepDesc &step : kernel.steps) {
    if (!step.attention)
      continue;
    // A kernel's own sizes are those of its first attention.
    if (attentions.empty()) {
      object["head_dim"] = step.attention->headDim;
      object["value_dim"] = step.attention->valueDim;
    }
    attentions.push_back(describeAttention(*step.attention));
  }
  if (!kernel.inputs.empty())
    object["dtype"] = describeType(kernel.inputs.front());
  object["attentions"] = std::move(attentions);
  for (const auto &fact : kernel.facts)
    object[fact.first] = fact.second;
  return object;
}

std::string sparse_attn::buildManifest(const CompiledLibrary &library) {
  json::Array kernels;
  for (const CompiledKernel &kernel : library.kernels)
    kernels.push_back(describeKernel(library, kernel));
  json::Array gpus;
  for (const GPUModuleDesc &gpu : library.gpuModules)
    gpus.push_back(json::Object{{"target", gpu.target},
                                {"cubin", !gpu.cubin.empty()},
                                {"emulation", !gpu.bitcode.empty()}});
  json::Value manifest = json::Object{{"name", library.name},
                                      {"abi", SPARSE_ATTN_ABI_VERSION},
                                      {"version", SPARSE_ATTN_VERSION},
                                      {"target", "cpu"},
                                      {"architecture", library.architecture->name},
                                      {"gpus", std::move(gpus)},
                                      {"kernels", std::move(kernels)}};
  std::string text;
  llvm::raw_string_ostream(text) << llvm::formatv("{0:2}", manifest) << "\n";
  return text;
}
