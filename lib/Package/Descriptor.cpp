//===- Descriptor.cpp - a library's constant data as an object file -------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One function for each structure of runtime/include/sparse_attn/abi.h, its
// fields in the order of that file. Structures are literal LLVM types with natural
// alignment, which x86-64 and AArch64 lay out as C does; checkSize holds each one
// against abi.h.
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Package/Package.h"
#include "sparse_attn/Target/Machine.h"
#include "sparse_attn/gpu_abi.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/raw_ostream.h"

using namespace sparse_attn;
using llvm::Constant;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;
using Constants = llvm::SmallVector<Constant *>;

namespace {
class DescriptorBuilder {
public:
  explicit DescriptorBuilder(llvm::Module &module)
      : module(module), context(module.getContext()),
        pointerType(llvm::PointerType::getUnqual(context)) {}

  void build(const CompiledLibrary &library, StringRef manifest, bool shared);

private:
  //===--- Pieces ---------------------------------------------------------===//

  Constant *i32(int64_t value) {
    return llvm::ConstantInt::getSigned(llvm::Type::getInt32Ty(context), value);
  }
  Constant *i64(int64_t value) {
    return llvm::ConstantInt::getSigned(llvm::Type::getInt64Ty(context), value);
  }
  Constant *f64(double value) {
    return llvm::ConstantFP::get(llvm::Type::getDoubleTy(context), value);
  }
  Constant *null() { return llvm::ConstantPointerNull::get(pointerType); }
  Constant *string(StringRef text) {
    Constant *&global = strings[text];
    if (!global)
      global = makePrivate(llvm::ConstantDataArray::getString(context, text));
    return global;
  }
  /// Aligned data, null where there is none.
  Constant *bytes(StringRef data) {
    if (data.empty())
      return null();
    auto *global = makePrivate(llvm::ConstantDataArray::getString(context, data, false));
    global->setAlignment(llvm::Align(64));
    return global;
  }
  /// A pointer to the elements, null where there are none.
  Constant *pointTo(llvm::ArrayRef<Constant *> elements) {
    if (elements.empty())
      return null();
    return makePrivate(arrayOf(elements));
  }
  template <typename T> Constant *pointTo(const std::vector<T> &numbers) {
    Constants elements;
    for (T number : numbers)
      elements.push_back(sizeof(T) == 4 ? i32(number) : i64(number));
    return pointTo(elements);
  }
  Constant *pointTo(const std::vector<double> &numbers) {
    Constants elements;
    for (double number : numbers)
      elements.push_back(f64(number));
    return pointTo(elements);
  }
  template <typename T, typename Build>
  Constant *pointToEach(const std::vector<T> &items, Build build) {
    return pointTo(llvm::to_vector(llvm::map_range(items, build)));
  }
  /// A generated function, defined by another object of the same library.
  Constant *function(StringRef symbol) {
    if (symbol.empty())
      return null();
    auto *type = llvm::FunctionType::get(llvm::Type::getVoidTy(context), false);
    auto *callee =
        llvm::cast<llvm::Function>(module.getOrInsertFunction(symbol, type).getCallee());
    callee->setVisibility(llvm::GlobalValue::HiddenVisibility);
    return callee;
  }
  Constant *arrayOf(llvm::ArrayRef<Constant *> elements) {
    auto *type = llvm::ArrayType::get(elements.front()->getType(), elements.size());
    return llvm::ConstantArray::get(type, elements);
  }
  /// A structure that must be as large as T of abi.h.
  template <typename T> Constant *structure(llvm::ArrayRef<Constant *> fields) {
    Constant *value = llvm::ConstantStruct::getAnon(context, fields);
    assert(module.getDataLayout().getTypeAllocSize(value->getType()) == sizeof(T) &&
           "the structure differs from the one in abi.h");
    return value;
  }
  llvm::GlobalVariable *makePrivate(Constant *value) {
    auto *global = new llvm::GlobalVariable(module, value->getType(), /*isConstant=*/true,
                                            llvm::GlobalValue::PrivateLinkage, value, "");
    global->setUnnamedAddr(llvm::GlobalValue::UnnamedAddr::Global);
    return global;
  }

  //===--- Structures -----------------------------------------------------===//

  Constant *buildTensor(const TensorDesc &tensor);
  Constant *buildTable(const TableDesc &table);
  Constant *buildCheck(const CheckDesc &check);
  Constant *buildKeyState(const KeyStateDesc &state);
  Constant *buildEncoding(const EncodingDesc &encoding);
  Constant *buildScore(const ScoreDesc &score);
  Constant *buildSet(const SetDesc &set);
  Constant *buildLevel(const LevelDesc &level);
  Constant *buildGPUKernel(const GPUKernelDesc &kernel);
  Constant *buildGPUModule(const GPUModuleDesc &module);
  Constant *buildAttention(const AttentionDesc &attention);
  Constant *buildStep(const StepDesc &step);
  Constant *buildKernel(const CompiledKernel &kernel);
  Constant *buildLibrary(const CompiledLibrary &library, StringRef manifest);

  llvm::Module &module;
  llvm::LLVMContext &context;
  llvm::PointerType *pointerType;
  llvm::StringMap<Constant *> strings;
  Constants gpuModules; ///< pointers to them
};
} // namespace

Constant *DescriptorBuilder::buildTensor(const TensorDesc &tensor) {
  Constants dims, axes;
  for (unsigned i = 0; i < 4; ++i) {
    dims.push_back(i64(tensor.dims[i]));
    axes.push_back(i32(tensor.axis[i]));
  }
  return structure<sa_tensor>({string(tensor.name), i32(tensor.layout), i32(tensor.rank),
                               i32(tensor.typeCode), i32(tensor.typeBits), arrayOf(dims),
                               arrayOf(axes), i32(tensor.value), i32(0)});
}

Constant *DescriptorBuilder::buildTable(const TableDesc &table) {
  return structure<sa_table>({i32(table.kind), i32(table.inputs.size()),
                              pointTo(table.inputs), i32(table.parameters.size()), i32(0),
                              pointTo(table.parameters)});
}

Constant *DescriptorBuilder::buildCheck(const CheckDesc &check) {
  return structure<sa_check>({i32(check.kind), i32(check.inputs.size()),
                              pointTo(check.inputs), i32(check.parameters.size()), i32(0),
                              pointTo(check.parameters), string(check.op)});
}

Constant *DescriptorBuilder::buildKeyState(const KeyStateDesc &state) {
  return structure<sa_key_state>({string(state.name), i32(state.word), i32(state.width),
                                  i32(state.block), i32(state.perQueryHead)});
}

Constant *DescriptorBuilder::buildEncoding(const EncodingDesc &e) {
  return structure<sa_encoding>(
      {i32(e.kind), i32(e.k), i32(e.v), i32(e.headDim), i32(e.valueDim),
       i32(e.queryWords), i32(e.states.size()), i32(e.inputs.size()),
       i32(e.parameters.size()), i32(e.reals.size()),
       pointToEach(e.states, [&](const KeyStateDesc &s) { return buildKeyState(s); }),
       pointTo(e.inputs), pointTo(e.parameters), pointTo(e.reals)});
}

Constant *DescriptorBuilder::buildScore(const ScoreDesc &score) {
  return structure<sa_score>({i32(score.encoding), i32(score.granularity),
                              i32(score.shareGroup), i32(score.block), i32(score.levels),
                              i32(0), f64(score.best), f64(score.step)});
}

Constant *DescriptorBuilder::buildSet(const SetDesc &s) {
  return structure<sa_set>({i32(s.kind), i32(s.operands.size()), i32(s.inputs.size()),
                            i32(s.parameters.size()), i32(s.reals.size()), i32(s.score),
                            i32(s.encoding), i32(s.blockQ), i32(s.blockK), i32(s.sampled),
                            pointTo(s.operands), pointTo(s.inputs), pointTo(s.parameters),
                            pointTo(s.reals), function(s.classifySymbol)});
}

Constant *DescriptorBuilder::buildLevel(const LevelDesc &level) {
  return structure<sa_level>(
      {i32(level.level), i32(0), string(level.name), i64(level.scratchBytes),
       i64(level.packedBytes), i64(level.stackRows), i64(level.stateBytes),
       function(level.packSymbol), function(level.attendSymbol),
       function(level.combineSymbol), function(level.fillSymbol),
       pointToEach(level.scoreSymbols,
                   [&](StringRef symbol) { return function(symbol); }),
       function(level.keyScoresSymbol), function(level.projectSymbol)});
}

Constant *DescriptorBuilder::buildGPUKernel(const GPUKernelDesc &k) {
  auto optional = [&](StringRef name) { return name.empty() ? null() : string(name); };
  return structure<sa_gpu_kernel>(
      {gpuModules[k.module], string(k.run), optional(k.combine), i32(k.threads),
       i32(k.sharedBytes), i32(k.tileRows), i32(k.tileKeys), i32(k.findsTiles),
       i32(k.hasMaps), optional(k.check), optional(k.count), optional(k.list),
       i32(k.listThreads), i32(k.listSharedBytes)});
}

Constant *DescriptorBuilder::buildGPUModule(const GPUModuleDesc &m) {
  return structure<sa_gpu_module>({string(m.target), i32(m.capability), i32(m.exact),
                                   string(m.ptx), bytes(m.cubin), i64(m.cubin.size()),
                                   bytes(m.bitcode), i64(m.bitcode.size())});
}

Constant *DescriptorBuilder::buildAttention(const AttentionDesc &a) {
  Constants fields;
  for (int32_t number : {a.headDim,
                         a.valueDim,
                         a.tileRows,
                         a.tileKeys,
                         a.binding,
                         int32_t(a.perBatch),
                         int32_t(a.perHead),
                         a.keyBlock,
                         a.q,
                         a.k,
                         a.v,
                         a.kvLen,
                         a.qLen,
                         a.qOffset,
                         a.sinks,
                         a.out,
                         a.lse,
                         a.hopTable,
                         int32_t(a.gathered),
                         0,
                         int32_t(a.sets.size()),
                         int32_t(a.scores.size())})
    fields.push_back(i32(number));
  fields.push_back(
      pointToEach(a.sets, [&](const SetDesc &set) { return buildSet(set); }));
  fields.push_back(
      pointToEach(a.scores, [&](const ScoreDesc &score) { return buildScore(score); }));
  fields.push_back(i32(a.tables.size()));
  fields.push_back(i32(a.checks.size()));
  fields.push_back(
      pointToEach(a.tables, [&](const TableDesc &table) { return buildTable(table); }));
  fields.push_back(
      pointToEach(a.checks, [&](const CheckDesc &check) { return buildCheck(check); }));
  fields.push_back(function(a.classifySymbol));
  fields.push_back(function(a.extentSymbol));
  fields.push_back(i32(a.levels.size()));
  fields.push_back(i32(a.period));
  fields.push_back(
      pointToEach(a.levels, [&](const LevelDesc &level) { return buildLevel(level); }));
  return structure<sa_attention>(fields);
}

Constant *DescriptorBuilder::buildStep(const StepDesc &step) {
  Constant *attention =
      step.attention ? makePrivate(buildAttention(*step.attention)) : null();
  Constant *gpus = pointToEach(
      step.gpus, [&](const GPUKernelDesc &kernel) { return buildGPUKernel(kernel); });
  return structure<sa_step>({i32(step.kind), i32(step.inputs.size()),
                             pointTo(step.inputs), i32(step.firstResult), i32(step.block),
                             i32(step.typeCode), i32(step.typeBits), attention, gpus,
                             i32(step.gpus.size()), i32(0)});
}

Constant *DescriptorBuilder::buildKernel(const CompiledKernel &kernel) {
  auto tensors = [&](const std::vector<TensorDesc> &list) {
    return pointToEach(list,
                       [&](const TensorDesc &tensor) { return buildTensor(tensor); });
  };
  return structure<sparse_attn_kernel>(
      {string(kernel.name), i32(kernel.inputs.size()), i32(kernel.outputs.size()),
       tensors(kernel.inputs), tensors(kernel.outputs), i32(kernel.valueCount),
       i32(kernel.steps.size()),
       pointToEach(kernel.steps, [&](const StepDesc &step) { return buildStep(step); }),
       i32(kernel.encodings.size()), i32(0),
       pointToEach(kernel.encodings,
                   [&](const EncodingDesc &e) { return buildEncoding(e); })});
}

Constant *DescriptorBuilder::buildLibrary(const CompiledLibrary &library,
                                          StringRef manifest) {
  for (const GPUModuleDesc &gpu : library.gpuModules)
    gpuModules.push_back(makePrivate(buildGPUModule(gpu)));
  Constant *kernels = pointToEach(
      library.kernels, [&](const CompiledKernel &kernel) { return buildKernel(kernel); });
  return structure<sparse_attn_library>(
      {i64(SA_LIBRARY_MAGIC), i32(SPARSE_ATTN_ABI_VERSION), i32(library.kernels.size()),
       kernels, string(manifest)});
}

void DescriptorBuilder::build(const CompiledLibrary &library, StringRef manifest,
                              bool shared) {
  Constant *value = buildLibrary(library, manifest);
  auto *descriptor = new llvm::GlobalVariable(
      module, value->getType(), /*isConstant=*/true, llvm::GlobalValue::ExternalLinkage,
      value, library.name + "_library_descriptor");
  if (shared)
    llvm::GlobalAlias::create(SA_LIBRARY_SYMBOL, descriptor);
  auto *accessor = llvm::Function::Create(llvm::FunctionType::get(pointerType, false),
                                          llvm::GlobalValue::ExternalLinkage,
                                          library.name + "_library", module);
  llvm::IRBuilder<> builder(llvm::BasicBlock::Create(context, "", accessor));
  builder.CreateRet(descriptor);
}

Expected<ObjectFile> sparse_attn::buildDescriptor(const CompiledLibrary &library,
                                                  StringRef manifest, bool shared) {
  Expected<std::unique_ptr<llvm::TargetMachine>> machine =
      createMachine(*library.architecture, library.architecture->baselineCpu, "");
  if (!machine)
    return machine.takeError();
  llvm::LLVMContext context;
  llvm::Module module(library.name + ".descriptor", context);
  module.setTargetTriple((*machine)->getTargetTriple());
  module.setDataLayout((*machine)->createDataLayout());
  module.setPICLevel(llvm::PICLevel::BigPIC);
  DescriptorBuilder(module).build(library, manifest, shared);

  Expected<llvm::SmallVector<char, 0>> bytes =
      emitCode(module, **machine, llvm::CodeGenFileType::ObjectFile);
  if (!bytes)
    return bytes.takeError();
  return ObjectFile{library.name + ".descriptor.o", std::move(*bytes)};
}
