//===- Explain.cpp - what a compiled kernel does with a shape -------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Explain/Explain.h"
#include "MaskTree.h"
#include "Plan.h"
#include "dialect/SparseAttn/SparseAttn.h"
#include "sparse_attn/Package/Package.h"
#include "sparse_attn/Pipelines/Pipelines.h"
#include "sparse_attn/Support/Safetensors.h"
#include "sparse_attn/Support/ScratchFolder.h"
#include "sparse_attn/Transforms/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"

using namespace mlir;
using namespace sparse_attn;
using llvm::createStringError;
using llvm::Error;
using llvm::Expected;
using llvm::Twine;

//===----------------------------------------------------------------------===//
// The library, loaded
//===----------------------------------------------------------------------===//

namespace {

struct CloseLibrary {
  void operator()(const sparse_attn_library *library) const {
    sparse_attn_library_close(library);
  }
};
struct DestroyPlan {
  void operator()(sparse_attn_plan *plan) const { sparse_attn_plan_destroy(plan); }
};
using LoadedLibrary = std::unique_ptr<const sparse_attn_library, CloseLibrary>;
using LoadedPlan = std::unique_ptr<sparse_attn_plan, DestroyPlan>;

} // namespace

/// Links the library and loads it; its file is gone again.
static Expected<LoadedLibrary> load(const CompiledLibrary &library,
                                    const ExplainOptions &options) {
  Expected<ScratchFolder> folder = ScratchFolder::create("sparse-attn-explain");
  if (!folder)
    return folder.takeError();
  Expected<PackagedFiles> files = packageLibrary(
      library, {folder->getPath(), options.runtimeArchive, options.linker});
  if (!files)
    return files.takeError();
  const sparse_attn_library *handle = nullptr;
  if (sparse_attn_library_open(files->sharedLibrary.c_str(), &handle))
    return makeRuntimeError();
  return LoadedLibrary(handle);
}

static Expected<const CompiledKernel *> findKernel(const CompiledLibrary &library,
                                                   StringRef name) {
  if (name.empty() && library.kernels.size() == 1)
    return &library.kernels.front();
  SmallVector<StringRef> names;
  for (const CompiledKernel &kernel : library.kernels) {
    if (kernel.name == name)
      return &kernel;
    names.push_back(kernel.name);
  }
  std::string list = llvm::join(names, ", ");
  if (name.empty())
    return createStringError("there are " + Twine(names.size()) +
                             " kernels; choose one with --explain-kernel: " + list);
  return createStringError("there is no kernel '" + name + "'; there are: " + list);
}

//===----------------------------------------------------------------------===//
// Layout operands
//===----------------------------------------------------------------------===//

/// "i32 [B or 1, any]"
static std::string describeTensor(const TensorDesc &tensor) {
  SmallVector<std::string> axes;
  for (int32_t axis = 0; axis < tensor.rank; ++axis)
    axes.push_back(describeAxis(tensor, axis));
  return describeType(tensor) + " [" + llvm::join(axes, ", ") + "]";
}

/// Refuses operands that the plan does not read.
static Error checkNames(const CompiledKernel &kernel, const ExplainOptions &options) {
  SmallVector<StringRef> layout;
  for (const TensorDesc &input : kernel.inputs)
    if (input.layout)
      layout.push_back(input.name);
  llvm::StringSet<> seen;
  for (const auto &[name, file] : options.operands) {
    if (!seen.insert(name).second)
      return createStringError("operand '" + name + "' is given twice");
    if (llvm::is_contained(layout, name))
      continue;
    bool isInput = llvm::any_of(kernel.inputs, [name = name](const TensorDesc &input) {
      return input.name == name;
    });
    if (isInput)
      return createStringError("'" + name + "' is read by a run of kernel '" +
                               kernel.name + "', not by its plan; leave it out");
    return createStringError(
        "kernel '" + kernel.name + "' has no layout operand '" + name + "'; it " +
        (layout.empty() ? "takes none" : "takes " + llvm::join(layout, ", ")));
  }
  return Error::success();
}

/// The type of `tensor`, which is one of a mask's operands or a length.
static ElementKind getElementKind(const TensorDesc &tensor) {
  if (tensor.typeCode == 2)
    return ElementKind::F32;
  if (tensor.typeBits == 32)
    return ElementKind::I32;
  return tensor.typeCode == 0 ? ElementKind::I8 : ElementKind::U8;
}

namespace {
/// The layout operands as the runtime takes them.
struct Operands {
  std::vector<Array> arrays;
  std::vector<SmallVector<int64_t, 4>> shapes;
  std::vector<DLTensor> tensors;
  std::vector<const DLTensor *> pointers;
};
} // namespace

static Expected<Array> readOperand(const CompiledKernel &kernel, const TensorDesc &tensor,
                                   const ExplainOptions &options) {
  auto given = llvm::find_if(options.operands, [&](const auto &operand) {
    return operand.first == tensor.name;
  });
  if (given == options.operands.end())
    return createStringError("the plan of kernel '" + kernel.name + "' depends on '" +
                             tensor.name + "', " + describeTensor(tensor) +
                             "; give it with --operand " + tensor.name + "=FILE.npy");
  Expected<Array> array = readArrayFile(given->second);
  if (!array)
    return array.takeError();
  Expected<Array> converted = std::move(*array).convertTo(getElementKind(tensor));
  if (!converted)
    return createStringError("'" + tensor.name + "' from '" + given->second + "' " +
                             llvm::toString(converted.takeError()));
  return converted;
}

static Expected<Operands> readOperands(const CompiledKernel &kernel,
                                       const ExplainOptions &options) {
  if (Error error = checkNames(kernel, options))
    return error;
  Operands operands;
  SmallVector<const TensorDesc *> descs;
  for (const TensorDesc &tensor : kernel.inputs) {
    if (!tensor.layout)
      continue;
    Expected<Array> array = readOperand(kernel, tensor, options);
    if (!array)
      return array.takeError();
    operands.arrays.push_back(std::move(*array));
    operands.shapes.emplace_back(operands.arrays.back().shape());
    descs.push_back(&tensor);
  }
  for (auto [array, shape, desc] :
       llvm::zip_equal(operands.arrays, operands.shapes, descs)) {
    DLTensor tensor = {};
    tensor.data = array.data();
    tensor.device = {kDLCPU, 0};
    tensor.ndim = static_cast<int32_t>(shape.size());
    tensor.dtype = {static_cast<uint8_t>(desc->typeCode),
                    static_cast<uint8_t>(desc->typeBits), 1};
    tensor.shape = shape.data();
    operands.tensors.push_back(tensor);
  }
  for (const DLTensor &tensor : operands.tensors)
    operands.pointers.push_back(&tensor);
  return operands;
}

//===----------------------------------------------------------------------===//
// The explanation
//===----------------------------------------------------------------------===//

static Error checkShape(const ExplainOptions &options) {
  const sparse_attn_shape &shape = options.shape;
  for (int64_t size :
       {shape.batch, shape.heads, shape.kv_heads, shape.queries, shape.keys})
    if (size < 1)
      return createStringError("every size of the shape must be at least 1, got " +
                               Twine(size));
  const Plane &plane = options.plane;
  if (plane.b < 0 || plane.b >= shape.batch || plane.h < 0 || plane.h >= shape.heads)
    return createStringError(
        "there is no head " + Twine(plane.h) + " of batch entry " + Twine(plane.b) +
        "; the shape has H = " + Twine(shape.heads) + ", B = " + Twine(shape.batch));
  return Error::success();
}

static Expected<LoadedPlan> makePlan(const sparse_attn_kernel *kernel,
                                     const sparse_attn_shape &shape,
                                     const Operands &operands) {
  sparse_attn_plan *plan = nullptr;
  if (sparse_attn_plan_create(kernel, &shape, operands.pointers.data(),
                              operands.pointers.size(), nullptr, &plan))
    return makeRuntimeError();
  return LoadedPlan(plan);
}

static Error readSizes(const sparse_attn_kernel *kernel, const sparse_attn_plan *plan,
                       Explanation &explanation) {
  explanation.planBytes = sparse_attn_plan_bytes(plan);
  const char *level = sparse_attn_kernel_level(kernel);
  if (!level)
    return Error::success();
  explanation.level = level;
  size_t bytes[2];
  for (int threads : {1, 2}) {
    sparse_attn_options options = {};
    options.threads = threads;
    if (sparse_attn_workspace_size(plan, &options, &bytes[threads - 1]))
      return makeRuntimeError();
  }
  explanation.workspaceBytes = bytes[0];
  explanation.workspaceBytesPerThread = bytes[1] - bytes[0];
  return Error::success();
}

namespace {
/// The mask of an attention that is planned.
struct PlannedMask {
  MaskTree tree;
  std::string expression, halfOf;
  bool halvesUnion = false;
};
} // namespace

/// The masks of the attentions that are planned, as written but for halves: compilation
/// leaves out what nobody uses and joins what is equal. The attentions of a copy tell by
/// their locations which ones are left.
static FailureOr<SmallVector<PlannedMask>> getMasks(ModuleOp module,
                                                    StringRef kernelName) {
  SmallVector<Value> written;
  module.lookupSymbol<func::FuncOp>(kernelName).walk([&](AttentionOp attention) {
    written.push_back(attention.getMask());
  });
  OwningOpRef<ModuleOp> copy = module.clone();
  llvm::DenseMap<Location, size_t> numbers;
  copy->lookupSymbol<func::FuncOp>(kernelName).walk([&](AttentionOp attention) {
    std::string name = "attention " + std::to_string(numbers.size());
    Location place = NameLoc::get(StringAttr::get(module.getContext(), name));
    numbers.try_emplace(place, numbers.size());
    attention->setLoc(place);
  });
  if (failed(lowerToMasks(*copy)))
    return failure();
  SmallVector<PlannedMask> masks;
  copy->lookupSymbol<func::FuncOp>(kernelName).walk([&](AttentionOp attention) {
    auto place = cast<NameLoc>(attention.getLoc());
    std::string halves; // of halves
    bool halvesUnion = false;
    for (; !numbers.contains(place); place = cast<NameLoc>(place.getChildLoc())) {
      StringRef name = place.getName().getValue();
      halves += ("the " + name + " of ").str();
      halvesUnion |= name == kNearHalf || name == kFarHalf;
    }
    Value whole = written[numbers.lookup(place)];
    Value mask = halves.empty() ? whole : attention.getMask();
    PlannedMask &planned = masks.emplace_back();
    planned.tree = buildMaskTree(mask);
    planned.expression = printExpression(mask);
    planned.halvesUnion = halvesUnion;
    if (!halves.empty())
      planned.halfOf = halves + printExpression(whole);
  });
  return masks;
}

Expected<Explanation> sparse_attn::explainLibrary(ModuleOp module,
                                                  const CompiledLibrary &library,
                                                  const ExplainOptions &options) {
  if (Error error = checkShape(options))
    return error;
  Expected<const CompiledKernel *> desc = findKernel(library, options.kernel);
  if (!desc)
    return desc.takeError();
  Expected<Operands> operands = readOperands(**desc, options);
  if (!operands)
    return operands.takeError();
  Expected<LoadedLibrary> loaded = load(library, options);
  if (!loaded)
    return loaded.takeError();
  const sparse_attn_kernel *kernel = nullptr;
  if (sparse_attn_kernel_find(loaded->get(), (*desc)->name.c_str(), &kernel))
    return makeRuntimeError();
  Expected<LoadedPlan> plan = makePlan(kernel, options.shape, *operands);
  if (!plan)
    return plan.takeError();

  Explanation explanation;
  explanation.kernel = (*desc)->name;
  explanation.shape = options.shape;
  if (Error error = readSizes(kernel, plan->get(), explanation))
    return error;
  FailureOr<SmallVector<PlannedMask>> masks = getMasks(module, (*desc)->name);
  if (failed(masks))
    return createStringError("kernel '" + (*desc)->name + "' has no plan");
  SmallVector<const AttentionDesc *> attentions;
  for (const StepDesc &step : (*desc)->steps)
    if (step.attention)
      attentions.push_back(&*step.attention);
  explanation.plannedAttentions = attentions.size();
  for (size_t index = 0; index < sparse_attn_plan_attention_count(plan->get()); ++index) {
    sparse_attn_grid grid;
    if (sparse_attn_plan_grid(plan->get(), index, &grid))
      return makeRuntimeError();
    AttentionFacts &facts = explanation.attentions.emplace_back();
    PlannedMask &mask = (*masks)[grid.number];
    facts.mask = std::move(mask.tree);
    facts.expression = std::move(mask.expression);
    facts.halfOf = std::move(mask.halfOf);
    facts.halvesUnion = mask.halvesUnion;
    if (Error error =
            readPlan(plan->get(), index, *attentions[grid.number], options.plane, facts))
      return error;
  }
  return explanation;
}

Expected<std::string> sparse_attn::buildExplanation(const Explanation &explanation,
                                                    ExplainFormat format) {
  switch (format) {
  case ExplainFormat::Text: {
    std::string text;
    llvm::raw_string_ostream os(text);
    printText(explanation, os);
    return text;
  }
  case ExplainFormat::Svg:
    return buildSvg(explanation);
  case ExplainFormat::Png:
    return buildPng(explanation);
  case ExplainFormat::Html:
    return buildHtml(explanation);
  }
  llvm_unreachable("every format is built");
}
