//===- PlanToGPU.cpp - block plans become GPU kernels ---------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Means.h"
#include "Merge.h"
#include "Warpgroups.h"
#include "sparse_attn/gpu_abi.h"

using namespace mlir;
using namespace sparse_attn;

namespace sparse_attn {
#define GEN_PASS_DEF_CONVERTPLANTOGPUPASS
#include "sparse_attn/Conversion/Passes.h.inc"
} // namespace sparse_attn

static constexpr int64_t kTensorMapBytes = 128, kTensorMapAlignment = 64;
static constexpr StringLiteral kShared = "sparse_attn_shared";

static LLVM::LLVMPointerType getSharedPointer(MLIRContext *context) {
  return LLVM::LLVMPointerType::get(context,
                                    static_cast<unsigned>(NVVM::NVVMMemorySpace::Shared));
}

/// The shared memory that a launch asks for.
static LLVM::GlobalOp declareShared(ModuleOp module) {
  if (auto global = module.lookupSymbol<LLVM::GlobalOp>(kShared))
    return global;
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  Type bytes = LLVM::LLVMArrayType::get(builder.getI8Type(), 0);
  return LLVM::GlobalOp::create(builder, module.getLoc(), bytes, /*isConstant=*/false,
                                LLVM::Linkage::External, kShared, Attribute(),
                                /*alignment=*/1024, // of swizzled tiles
                                static_cast<unsigned>(NVVM::NVVMMemorySpace::Shared));
}

/// Bytes and alignments of structures.
using Parameters = SmallVector<std::pair<int64_t, int64_t>>;

static Parameters getParameters(const KernelValues &ids) {
  return {{sizeof(sa_gpu_args) + ids.count() * sizeof(sa_view), 8}};
}

/// A kernel; `body` gets pointers to its parameters, which are structures of so many
/// bytes and such alignments. Registers are to do for so many blocks of a multiprocessor,
/// where that is not 0.
static void buildKernel(ModuleOp module, Location loc, StringRef symbol, int64_t threads,
                        int64_t blocks, ArrayRef<std::pair<int64_t, int64_t>> parameters,
                        function_ref<void(GPUBuilder &, ValueRange)> body) {
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  MLIRContext *context = module.getContext();
  Type pointer = LLVM::LLVMPointerType::get(context);
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context),
                                          SmallVector<Type>(parameters.size(), pointer));
  auto kernel = LLVM::LLVMFuncOp::create(builder, loc, symbol, type);
  kernel->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), builder.getUnitAttr());
  kernel->setAttr(NVVM::NVVMDialect::getReqntidAttrName(),
                  builder.getDenseI32ArrayAttr({static_cast<int32_t>(threads)}));
  if (blocks)
    kernel->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(),
                    builder.getI32IntegerAttr(blocks));
  // By value: words, so that the structure is aligned as C aligns it.
  for (auto [i, parameter] : llvm::enumerate(parameters)) {
    Type words = LLVM::LLVMArrayType::get(builder.getI64Type(), parameter.first / 8);
    kernel.setArgAttr(i, LLVM::LLVMDialect::getByValAttrName(), TypeAttr::get(words));
    kernel.setArgAttr(i, LLVM::LLVMDialect::getAlignAttrName(),
                      builder.getI64IntegerAttr(parameter.second));
    kernel.setArgAttr(i, NVVM::NVVMDialect::getGridConstantAttrName(),
                      builder.getUnitAttr());
  }
  builder.setInsertionPointToStart(kernel.addEntryBlock(builder));
  GPUBuilder b(builder, loc);
  body(b, kernel.getArguments());
  LLVM::ReturnOp::create(builder, loc, ValueRange());
}

/// While a block multiplies Q and K of one tile, V of it comes; while it makes weights
/// and multiplies them with V, K of the next one does.
static void buildTiles(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame) {
  TileSource source(b, context, frame);
  auto hasTile = [&](Value number) { return b.ge(number, b.i32(0)); };
  auto copyKeys = [&](const GPUTile &tile) {
    b.branch(hasTile(tile.number), [&] {
      buildCopyKeys(b, context, frame, tile.number, b.i32(context.shape.keysAt));
    });
    b.commitCopies();
  };
  auto [first, search] = source.next(source.begin());
  buildCopyQueries(b, context, frame, b.i32(context.shape.queriesAt));
  copyKeys(first);
  Values init = first.flatten();
  size_t tileSize = init.size(), searchSize = search.size();
  llvm::append_range(init, search);
  llvm::append_range(init, RowStates::start(b, context.shape).flatten());
  Values last = b.repeat(
      init, [&](ValueRange values) { return hasTile(values[0]); },
      [&](ValueRange values) {
        GPUTile tile = GPUTile::restore(values.take_front(tileSize));
        ValueRange search = values.slice(tileSize, searchSize);
        RowStates states =
            RowStates::restore(context.shape, values.drop_front(tileSize + searchSize));
        b.waitForCopies();
        b.barrier();
        buildCopyValues(b, context, frame, tile.number, b.i32(context.shape.valuesAt));
        b.commitCopies();
        // Before there are scores, which would wait in registers.
        auto [next, state] = source.next(search);
        KeyRange keys = KeyRange::all(b, context.shape);
        Fragments scores = buildScores(b, context, frame, keys);
        b.waitForCopies();
        b.barrier();
        copyKeys(next);
        buildEdit(b, context, frame, tile, keys, scores);
        RowValues before = states.maxima;
        buildSoftmax(b, context, scores, states);
        buildRescale(b, before, states.maxima, states.outputs);
        buildAccumulate(b, context, frame, keys, b.i32(0), context.shape.paddedValueDim,
                        ValueSum{scores, states.outputs, {}});
        Values result = next.flatten();
        llvm::append_range(result, state);
        llvm::append_range(result, states.flatten());
        return result;
      });
  b.waitForCopies();
  RowStates states = RowStates::restore(
      context.shape, ValueRange(last).drop_front(tileSize + searchSize));
  states.combineSums(b);
  buildKeepStates(b, context, frame, states);
  Value nonFinite = b.anyInBlock(buildAnyNonFinite(b, states.outputs));
  buildFinish(b, context, frame, states, b.i32(0));
  b.branch(nonFinite, [&] {
    // A frame of its own: what tiles need does not wait in registers for this.
    GPUFrame again(b, context, frame.args, frame.shared, b.block());
    buildFinishNonFinite(b, context, again);
  });
}

namespace {
struct ConvertPlanToGPU : sparse_attn::impl::ConvertPlanToGPUPassBase<ConvertPlanToGPU> {
  using ConvertPlanToGPUPassBase::ConvertPlanToGPUPassBase;

  LogicalResult convert(func::FuncOp kernel, block_plan::AttentionOp plan, unsigned index,
                        const KernelValues &ids, const GPUTarget &facts) {
    if (std::string reason = getGPUObstacle(plan, facts); !reason.empty())
      return plan.emitError() << "cannot be compiled for " << facts.name << ": "
                              << reason;
    GPUContext context = {plan, ids, GPUShape(plan, facts)};
    LLVM::GlobalOp shared = declareShared(getOperation());
    Parameters parameters = getParameters(ids);
    int64_t threads = context.shape.threads, blocks = context.shape.blocks;
    auto build = [&](StringRef what,
                     function_ref<void(GPUBuilder &, ValueRange, Value shared)> body) {
      buildKernel(getOperation(), plan.getLoc(), getGPUSymbol(kernel, index, what),
                  threads, blocks, parameters, [&](GPUBuilder &b, ValueRange parameters) {
                    Value base = LLVM::AddressOfOp::create(
                        b.builder, b.loc, getSharedPointer(&getContext()),
                        shared.getSymName());
                    body(b, parameters, base);
                  });
    };
    auto buildOfItem =
        [&](void (*body)(GPUBuilder &, const GPUContext &, const GPUFrame &)) {
          return [&, body](GPUBuilder &b, ValueRange parameters, Value shared) {
            body(b, context, GPUFrame(b, context, parameters[0], shared, b.block()));
          };
        };
    if (context.shape.warpgroups) {
      parameters.append(2, {kTensorMapBytes, kTensorMapAlignment});
      build("attend", [&](GPUBuilder &b, ValueRange parameters, Value shared) {
        buildWarpgroups(b, context, parameters[0], shared, parameters.drop_front());
      });
      parameters.pop_back_n(2);
    } else {
      build("attend", buildOfItem(buildTiles));
    }
    build("combine", buildOfItem(buildCombine));
    threads = kListThreads;
    // Left alone, ptxas goes for twice as many, and spills.
    blocks = 4;
    if (checksOperandsOnGPU(plan))
      build("check", [&](GPUBuilder &b, ValueRange parameters, Value) {
        buildCheckOperands(b, context, parameters[0]);
      });
    if (!listsTilesOnGPU(plan))
      return success();
    build("count", buildOfItem(buildCountTiles));
    build("list", buildOfItem(buildListTiles));
    return success();
  }

  void runOnOperation() override {
    const GPUTarget *facts = findGPUTarget(target);
    if (!facts) {
      getOperation().emitError()
          << "unknown GPU '" << target << "'; there are " << listGPUTargets();
      return signalPassFailure();
    }
    for (func::FuncOp kernel : getKernels(getOperation())) {
      KernelValues ids(kernel);
      unsigned index = 0;
      for (auto plan : kernel.getBody().getOps<block_plan::AttentionOp>())
        if (failed(convert(kernel, plan, index++, ids, *facts)))
          return signalPassFailure();
      index = 0;
      for (auto merge : kernel.getBody().getOps<MergeOp>())
        buildKernel(getOperation(), merge.getLoc(),
                    getGPUSymbol(kernel, index++, "merge"), kMergeThreads, 0,
                    getParameters(ids), [&](GPUBuilder &b, ValueRange parameters) {
                      buildMerge(b, merge, ids, parameters[0]);
                    });
      index = 0;
      for (auto pool : kernel.getBody().getOps<PoolOp>())
        buildKernel(getOperation(), pool.getLoc(), getGPUSymbol(kernel, index++, "pool"),
                    kMeansThreads, 0, getParameters(ids),
                    [&](GPUBuilder &b, ValueRange parameters) {
                      buildMeans(b, pool, ids, parameters[0]);
                    });
      kernel.erase();
    }
  }
};
} // namespace
