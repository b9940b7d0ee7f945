//===- PlanToKernel.cpp - block plans become functions --------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Two passes over the same plans: questions about rectangles are built once for all
// levels, the kernels once for each level.
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "sparse_attn/abi.h"

using namespace mlir;
using namespace sparse_attn;

namespace sparse_attn {
#define GEN_PASS_DEF_CONVERTPLANTOCLASSIFIERPASS
#define GEN_PASS_DEF_CONVERTPLANTOKERNELPASS
#include "sparse_attn/Conversion/Passes.h.inc"
} // namespace sparse_attn

/// i32 symbol(context, b, h, p0, p1, j0, j1, step): what `answer` makes of what `region`
/// says of a rectangle.
static void
buildQuestion(block_plan::AttentionOp plan, Region &region, const KernelValues &ids,
              ModuleOp module, StringRef symbol,
              function_ref<Value(KernelBuilder &b, ArrayRef<Value> yielded)> answer) {
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  Location loc = plan.getLoc();
  Type i32 = builder.getI32Type();
  SmallVector<Type> types = {LLVM::LLVMPointerType::get(builder.getContext())};
  types.append(7, i32);
  auto func =
      func::FuncOp::create(builder, loc, symbol, builder.getFunctionType(types, {i32}));
  builder.setInsertionPointToStart(func.addEntryBlock());
  KernelBuilder b(builder, loc);
  Value context = func.getArgument(0);
  RegionCloner cloner(b, ids, b.pointerField(context, offsetof(sa_mask_context, values)),
                      1);
  cloner.keys = b.field(context, offsetof(sa_mask_context, keys), i32);
  cloner.heads = b.field(context, offsetof(sa_mask_context, heads), i32);
  cloner.tables = b.pointerField(context, offsetof(sa_mask_context, tables));
  func::ReturnOp::create(
      builder, loc, answer(b, cloner.clone(region, func.getArguments().drop_front())));
}

/// 0 empty, 1 full, 2 unknown.
static Value buildKind(KernelBuilder &b, Value may, Value must) {
  Value partial = arith::SelectOp::create(b.builder, b.loc, may, b.i32(2), b.i32(0));
  return arith::SelectOp::create(b.builder, b.loc, must, b.i32(1), partial);
}

/// An sa_classify_fn of `region`.
void sparse_attn::buildClassify(block_plan::AttentionOp plan, Region &region,
                                const KernelValues &ids, ModuleOp module,
                                StringRef symbol) {
  buildQuestion(plan, region, ids, module, symbol,
                [](KernelBuilder &b, ArrayRef<Value> yielded) {
                  return buildKind(b, yielded[0], yielded[1]);
                });
}

/// An sa_extent_fn: stop << 2 | kind.
void sparse_attn::buildExtent(block_plan::AttentionOp plan, const KernelValues &ids,
                              ModuleOp module, StringRef symbol) {
  buildQuestion(plan, plan.getExtent(), ids, module, symbol,
                [](KernelBuilder &b, ArrayRef<Value> yielded) -> Value {
                  Value stop =
                      arith::ShLIOp::create(b.builder, b.loc, yielded[2], b.i32(2));
                  Value kind = buildKind(b, yielded[0], yielded[1]);
                  return arith::OrIOp::create(b.builder, b.loc, stop, kind);
                });
}

/// What the sets of a mask that a run decides ask for.
static void buildSelectionFunctions(const AttendContext &context, func::FuncOp kernel,
                                    unsigned index, const CPULevel &level) {
  block_plan::AttentionOp plan = context.plan;
  for (auto [number, score] : llvm::enumerate(plan.getScores()))
    buildScore(context, cast<ScoreOpInterface>(score.getDefiningOp()),
               plan.getScoreBlocks()[number],
               getScoreSymbol(kernel, index, number, level));
  if (std::string scores = getKeyScoresSymbol(kernel, index, plan, level);
      !scores.empty())
    buildKeyScores(context, scores);
  if (std::string project = getProjectSymbol(kernel, index, plan, level);
      !project.empty())
    buildProject(context, project);
}

/// Calls `convert` for every attention of every kernel and erases the kernels.
static void replaceKernels(ModuleOp module,
                           function_ref<void(func::FuncOp, block_plan::AttentionOp,
                                             unsigned, const KernelValues &)>
                               convert) {
  for (func::FuncOp kernel : getKernels(module)) {
    KernelValues ids(kernel);
    unsigned index = 0;
    for (auto plan : kernel.getBody().getOps<block_plan::AttentionOp>())
      convert(kernel, plan, index++, ids);
    kernel.erase();
  }
}

namespace {
struct ConvertPlanToClassifier
    : sparse_attn::impl::ConvertPlanToClassifierPassBase<ConvertPlanToClassifier> {
  void runOnOperation() override {
    replaceKernels(getOperation(), [&](func::FuncOp kernel, block_plan::AttentionOp plan,
                                       unsigned index, const KernelValues &ids) {
      buildClassify(plan, plan.getClassify(), ids, getOperation(),
                    getClassifySymbol(kernel, index));
      for (auto [number, structure] : llvm::enumerate(plan.getStructures()))
        buildClassify(plan, structure, ids, getOperation(),
                      getStructureSymbol(kernel, index, number));
      if (std::string extent = getExtentSymbol(kernel, index, plan); !extent.empty())
        buildExtent(plan, ids, getOperation(), extent);
    });
  }
};

struct ConvertPlanToKernel
    : sparse_attn::impl::ConvertPlanToKernelPassBase<ConvertPlanToKernel> {
  using ConvertPlanToKernelPassBase::ConvertPlanToKernelPassBase;

  void runOnOperation() override {
    const CPULevel *facts = findLevel(level);
    if (!facts) {
      getOperation().emitError()
          << "unknown instruction level '" << level << "'; there are " << listLevels();
      return signalPassFailure();
    }
    replaceKernels(getOperation(), [&](func::FuncOp kernel, block_plan::AttentionOp plan,
                                       unsigned index, const KernelValues &ids) {
      std::string symbol = getAttendSymbol(kernel, index, *facts);
      AttendContext context = {plan,           ids,    KernelShape(plan, *facts),
                               getOperation(), symbol, /*listed=*/plan.getGathered()};
      func::FuncOp packTile = buildPackTile(context);
      buildPack(context, packTile, getPackSymbol(kernel, index, *facts));
      buildAttend(context, packTile, symbol);
      buildCombine(context, getCombineSymbol(kernel, index, *facts));
      if (std::string fill = getFillSymbol(kernel, index, plan, *facts); !fill.empty())
        buildFill(context, fill);
      buildSelectionFunctions(context, kernel, index, *facts);
    });
  }
};
} // namespace
