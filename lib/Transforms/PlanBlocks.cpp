//===- PlanBlocks.cpp - masks become block plans --------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// sparse_attn.attention -> block_plan.attention
//
//   mask        --buildTileClass over a rectangle-->   region classify
//   mask        --buildKeyExtent of its keys------>    region extent
//   mask        --buildTileClass over one pair---->    region predicate
//   modifiers   --buildScore---------------------->    region modify
//
// No op kind is named here: the mask and modifier interfaces answer everything.
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "sparse_attn/Analysis/TileCosts.h"
#include "sparse_attn/Transforms/Passes.h"
#include "llvm/ADT/SetVector.h"
#include <functional>

using namespace mlir;
using namespace sparse_attn;

namespace sparse_attn {
#define GEN_PASS_DEF_PLANBLOCKSPASS
#include "sparse_attn/Transforms/Passes.h.inc"
} // namespace sparse_attn

//===----------------------------------------------------------------------===//
// What a mask and the modifiers need
//===----------------------------------------------------------------------===//

namespace {
/// Layout operands, checks and tables of one attention, in a stable order.
struct Needs {
  llvm::SetVector<Value> layout;
  SmallVector<Attribute> checks, tables;
  llvm::DenseMap<Operation *, int64_t> tableOf;
  bool perBatch = false, perHead = false;
  std::optional<int64_t> hopTable;
  Binding binding = Binding::Compile;
  int64_t period = 1;
  Value choice; ///< the mask, where a run decides it

  Attribute describe(int32_t kind, ArrayRef<Value> inputs, ArrayRef<int64_t> parameters,
                     Operation *op) {
    SmallVector<int64_t> indices;
    for (Value input : inputs) {
      if (input)
        layout.insert(input);
      indices.push_back(input ? llvm::find(layout, input) - layout.begin() : -1);
    }
    StringRef name = op->getName().stripDialect();
    return block_plan::NeedAttr::get(op->getContext(), kind, indices, parameters,
                                     StringAttr::get(op->getContext(), name));
  }

  /// Masks and modifiers ask for the same things.
  template <typename OpInterface> void add(OpInterface op) {
    for (const PlanCheck &check : op.getPlanChecks())
      checks.push_back(describe(check.kind, check.inputs, check.parameters, op));
    if (std::optional<PlanTable> table = op.getPlanTable()) {
      tableOf[op] = tables.size();
      tables.push_back(describe(table->kind, table->inputs, table->parameters, op));
    }
  }
};
} // namespace

/// Whether the query heads of a group see different keys.
static bool isPerHead(MaskOpInterface mask) {
  auto selection = dyn_cast<SelectionOpInterface>(mask.getOperation());
  return mask.isPerHead() && !(selection && selection.getSharing() == Sharing::Group);
}

static Needs computeNeeds(AttentionOp attention) {
  Needs needs;
  for (Operation *op : collectOps(attention.getMask())) {
    auto mask = dyn_cast<MaskOpInterface>(op);
    if (!mask)
      continue; // a selection's score
    needs.perBatch |= mask.isPerBatch();
    needs.perHead |= isPerHead(mask);
    needs.add(mask);
    needs.binding = std::max(needs.binding, mask.getOwnBinding());
    if (mask.getOwnBinding() == Binding::Run) {
      needs.choice = attention.getMask();
      continue; // its tensors are values of the run
    }
    needs.period = combinePeriods(needs.period, mask.getPeriod());
    for (Value operand : op->getOperands())
      if (!isa<MaskType>(operand.getType()))
        needs.layout.insert(operand);
  }
  for (Value value : attention.getModifiers()) {
    auto modifier = cast<ModifierOpInterface>(value.getDefiningOp());
    needs.add(modifier);
    auto table = needs.tableOf.find(modifier);
    if (table == needs.tableOf.end())
      continue;
    // Distances come from the plan, one table for a kernel.
    needs.hopTable = table->second;
    needs.binding = std::max(needs.binding, Binding::Plan);
    needs.perBatch = true;
  }
  return needs;
}

//===----------------------------------------------------------------------===//
// Builders into the regions
//===----------------------------------------------------------------------===//

/// tensor[index], with i32 indices.
static Value buildExtract(OpBuilder &builder, Location loc, Value tensor,
                          ValueRange index) {
  SmallVector<Value> indices;
  for (Value i : index)
    indices.push_back(
        arith::IndexCastOp::create(builder, loc, builder.getIndexType(), i).getResult());
  return tensor::ExtractOp::create(builder, loc, tensor, indices);
}

namespace {
class PlanTileBuilder final : public TileBuilder {
public:
  PlanTileBuilder(OpBuilder &builder, Location loc, const Needs &needs)
      : TileBuilder(builder, loc), needs(needs) {}

  Value keys() override { return size(block_plan::PlanSize::Keys); }
  Value heads() override { return size(block_plan::PlanSize::Heads); }
  Value load(Value tensor, ValueRange index) override {
    return buildExtract(builder, loc, tensor, index);
  }
  TileClass callHelper(StringRef symbol, ValueRange arguments) override {
    return call(symbol, arguments, IntegerAttr());
  }
  TileClass callTableHelper(StringRef symbol, Operation *op,
                            ValueRange arguments) override {
    return call(symbol, arguments, builder.getI64IntegerAttr(needs.tableOf.lookup(op)));
  }

  KeyExtent callExtentHelper(StringRef symbol, Operation *op,
                             ValueRange arguments) override {
    Value answer =
        ask(symbol, arguments,
            op ? builder.getI64IntegerAttr(needs.tableOf.lookup(op)) : IntegerAttr());
    Value kind = land(answer, constant(3));
    Value stop = builder.createOrFold<arith::ShRUIOp>(loc, answer, constant(2));
    return {{ne(kind, constant(0)), eq(kind, constant(1))}, stop};
  }

private:
  Value size(block_plan::PlanSize what) {
    return block_plan::SizeOp::create(builder, loc, builder.getI32Type(), what);
  }
  TileClass call(StringRef symbol, ValueRange arguments, IntegerAttr table) {
    Value answer = ask(symbol, arguments, table);
    return {ne(answer, constant(0)), eq(answer, constant(1))};
  }
  Value ask(StringRef symbol, ValueRange arguments, IntegerAttr table) {
    SmallVector<Value> present;
    SmallVector<int64_t> absent;
    for (auto [index, argument] : llvm::enumerate(arguments))
      if (argument)
        present.push_back(argument);
      else
        absent.push_back(index);
    return block_plan::HelperOp::create(builder, loc, builder.getI32Type(),
                                        builder.getStringAttr(symbol), present,
                                        builder.getDenseI64ArrayAttr(absent), table);
  }

  const Needs &needs;
};

class PlanScoreBuilder final : public ScoreBuilder {
public:
  using ScoreBuilder::ScoreBuilder;
  Value load(Value tensor, ValueRange index) override {
    return buildExtract(builder, loc, tensor, index);
  }
  Value size(Value tensor, unsigned axis) override {
    Value dim = tensor::DimOp::create(builder, loc, tensor, axis);
    return arith::IndexCastOp::create(builder, loc, builder.getI32Type(), dim);
  }
};
} // namespace

/// The position of key `j`: itself, or the last token of a pooled key, as the
/// semantics define it: min((j + 1) * block, n) - 1.
static Value buildKeyPosition(TileBuilder &b, Value j, int64_t block) {
  if (block == 0)
    return j;
  return b.sub(b.min(b.mul(b.add(j, 1), block), b.keys()), 1);
}

/// The mask, and what modifiers exclude.
static TileClass buildClass(TileBuilder &b, AttentionOp attention) {
  TileClass result = b.classOf(attention.getMask());
  for (Value value : attention.getModifiers()) {
    auto modifier = cast<ModifierOpInterface>(value.getDefiningOp());
    if (std::optional<TileClass> kept = modifier.buildTileClass(b))
      result = b.intersect(result, *kept);
  }
  return result;
}

/// The keys that the mask, and what modifiers exclude, call alike.
static KeyExtent buildExtent(TileBuilder &b, AttentionOp attention) {
  KeyExtent result = b.extentOf(attention.getMask());
  for (Value value : attention.getModifiers()) {
    auto modifier = cast<ModifierOpInterface>(value.getDefiningOp());
    if (std::optional<TileClass> kept = modifier.buildTileClass(b))
      result = b.intersect(result, b.alikeIfDecided(*kept));
  }
  return result;
}

/// Adds the block (b, h, p0, p1, j0, j1, step) of a region about rectangles, and sets
/// what `b` builds from.
static Block *addRectangleBlock(Region &region, AttentionOp attention, int64_t period,
                                OpBuilder &builder, TileBuilder &b) {
  Location loc = attention.getLoc();
  SmallVector<Type> types(7, builder.getI32Type());
  Block *block = builder.createBlock(&region, {}, types, SmallVector<Location>(7, loc));
  b.period = period;
  int64_t pooled = attention.getKeyBlock();
  b.b = block->getArgument(0), b.h = block->getArgument(1);
  b.p0 = block->getArgument(2), b.p1 = block->getArgument(3);
  b.j0 = buildKeyPosition(b, block->getArgument(4), pooled);
  b.j1 = buildKeyPosition(b, block->getArgument(5), pooled);
  b.step = block->getArgument(6);
  return block;
}

static void buildClassify(Region &region, AttentionOp attention, const Needs &needs,
                          int64_t period, OpBuilder builder) {
  PlanTileBuilder b(builder, attention.getLoc(), needs);
  addRectangleBlock(region, attention, period, builder, b);
  TileClass result = buildClass(b, attention);
  block_plan::YieldOp::create(builder, b.loc, ValueRange{result.may, result.must});
}

/// The class of a part of a mask that a run decides.
static void buildStructure(Region &region, AttentionOp attention, Value structure,
                           const Needs &needs, OpBuilder builder) {
  PlanTileBuilder b(builder, attention.getLoc(), needs);
  addRectangleBlock(region, attention, /*period=*/1, builder, b);
  TileClass result = b.classOf(structure);
  block_plan::YieldOp::create(builder, b.loc, ValueRange{result.may, result.must});
}

/// The first of pooled keys [j, end) whose position is not before `stop`, or `end` if
/// there is none.
static Value buildPooledStop(TileBuilder &b, Value stop, Value j, Value end,
                             int64_t block) {
  Value past = b.lt(b.j1, stop);
  return b.select(past, end, b.max(j, b.floorDiv(stop, block)));
}

static void buildKeyExtent(Region &region, AttentionOp attention, const Needs &needs,
                           int64_t period, OpBuilder builder) {
  PlanTileBuilder b(builder, attention.getLoc(), needs);
  Block *block = addRectangleBlock(region, attention, period, builder, b);
  KeyExtent result = buildExtent(b, attention);
  if (int64_t pooled = attention.getKeyBlock())
    result.stop = buildPooledStop(b, result.stop, block->getArgument(4),
                                  b.add(block->getArgument(5), 1), pooled);
  block_plan::YieldOp::create(builder, b.loc,
                              {result.kind.may, result.kind.must, result.stop});
}

static void buildPredicate(Region &region, AttentionOp attention, const Needs &needs,
                           OpBuilder builder) {
  Location loc = attention.getLoc();
  SmallVector<Type> types(4, builder.getI32Type());
  Block *block = builder.createBlock(&region, {}, types, SmallVector<Location>(4, loc));
  PlanTileBuilder b(builder, loc, needs);
  b.b = block->getArgument(0), b.h = block->getArgument(1);
  b.p0 = b.p1 = block->getArgument(2);
  b.j0 = b.j1 = buildKeyPosition(b, block->getArgument(3), attention.getKeyBlock());
  // A single pair is decided: may == must.
  block_plan::YieldOp::create(builder, loc, ValueRange{buildClass(b, attention).must});
}

static void buildModify(Region &region, AttentionOp attention, OpBuilder builder) {
  Location loc = attention.getLoc();
  Type f32 = builder.getF32Type(), i32 = builder.getI32Type();
  SmallVector<Type> types = {f32, f32, i32, i32, i32, i32, i32};
  Block *block = builder.createBlock(&region, {}, types, SmallVector<Location>(7, loc));
  PlanScoreBuilder b(builder, loc);
  b.hops = block->getArgument(1);
  b.b = block->getArgument(2), b.h = block->getArgument(3);
  b.i = block->getArgument(4), b.p = block->getArgument(5), b.j = block->getArgument(6);
  Value score = block->getArgument(0);
  for (Value value : attention.getModifiers())
    score = cast<ModifierOpInterface>(value.getDefiningOp()).buildScore(score, b);
  block_plan::YieldOp::create(builder, loc, ValueRange{score});
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

/// What makes a draw: two ops of one kind with one seed draw the same, and so do two uses
/// of one list.
static std::pair<Attribute, const void *> getDraw(Operation *op) {
  if (Attribute seed = op->getAttr("seed"))
    return {seed, op->getName().getAsOpaquePointer()};
  return {Attribute(), op};
}

/// Says whether two parts of `mask` that are combined are one draw, of which
/// probabilities would count as of two. `draws` gets those of `mask`.
static LogicalResult
checkDraws(AttentionOp attention, Value mask,
           llvm::DenseMap<std::pair<Attribute, const void *>, Operation *> &draws) {
  if (!cast<MaskType>(mask.getType()).getSampled())
    return success();
  auto op = cast<MaskOpInterface>(mask.getDefiningOp());
  if (op.getOwnBinding() == Binding::Run) {
    draws.insert({getDraw(op), op});
    return success();
  }
  std::optional<KeySet> set = op.getKeySet();
  for (Value operand : set->operands) {
    std::remove_reference_t<decltype(draws)> own;
    if (failed(checkDraws(attention, operand, own)))
      return failure();
    for (auto [draw, drawn] : own) {
      auto [known, added] = draws.insert({draw, drawn});
      // Heads draw for themselves.
      if (added || set->kind == KeySet::Heads)
        continue;
      InFlightDiagnostic error = attention.emitOpError("has a mask in which '")
                                 << drawn->getName() << "' draws the same keys twice";
      if (draw.first)
        error << ", with seed " << cast<IntegerAttr>(draw.first).getInt()
              << "; give each draw its own seed";
      else
        error << "; use a sampled list once";
      error.attachNote(known->second->getLoc()) << "drawn here";
      if (known->second != drawn)
        error.attachNote(drawn->getLoc()) << "and here";
      return error;
    }
  }
  return success();
}

static constexpr int64_t kMostChoiceRows = 1024; // of a query tile

/// Says why a run cannot decide this attention's mask, if so.
static LogicalResult checkChoice(AttentionOp op, const Needs &needs) {
  if (op.getKeyBlock())
    return op.emitOpError(
        "selects among pooled keys; selections and lists are of tokens");
  if (needs.hopTable)
    return op.emitOpError("has a modifier that needs hop distances, which a plan finds "
                          "tile by tile, and a mask that only a run knows");
  int64_t rows = getChoiceRows(op.getMask());
  if (rows > kMostChoiceRows)
    return op.emitOpError("has a mask in which ")
           << rows << " rows choose together, the least common multiple of its block_q; "
           << "a query tile holds at most " << kMostChoiceRows;
  if (rows > 1 && cast<MaskType>(op.getMask().getType()).getSampled())
    return op.emitOpError("has a mask in which ")
           << rows
           << " rows choose together, beside keys that each row draws for itself; "
           << "select with block_q = 1 where a mask is sampled";
  llvm::DenseMap<std::pair<Attribute, const void *>, Operation *> draws;
  return checkDraws(op, op.getMask(), draws);
}

/// Says why this attention cannot be planned yet, if so.
static LogicalResult checkPlannable(AttentionOp op, const Needs &needs) {
  if (needs.choice && failed(checkChoice(op, needs)))
    return failure();
  unsigned hopTables = llvm::count_if(op.getModifiers(), [&](Value value) {
    return needs.tableOf.contains(value.getDefiningOp());
  });
  if (hopTables > 1)
    return op.emitOpError("has ") << hopTables << " modifiers that need hop distances; "
                                  << "merge them into one";
  if (op.getKeyBlock() && !op.getModifiers().empty())
    return op.emitOpError("has score modifiers on pooled keys, whose positions are "
                          "blocks; apply modifiers to token keys only");
  return success();
}

/// The cheapest tile on the machine that `options` describe.
static SmallVector<int64_t> computeTile(AttentionOp op,
                                        const PlanBlocksPassOptions &options) {
  bool isDot = options.bf16Dot && op.getKeyTensorType().getElementType().isBF16();
  TileProblem problem{op.getHeadDim(),      op.getValueDim(),        options.lanes,
                      options.registerRows, options.registerVectors, isDot ? 2 : 1};
  TileShape tile = chooseTile(problem, {options.l1, options.l2, options.l3});
  return {tile.rows, tile.keys};
}

/// Keys of a tile of what a run decides: few enough for one row's scores in L1.
static constexpr int64_t kChoiceKeys = 128;

/// Whether whole tiles of neighbours are chosen, so that kept keys need not be gathered:
/// every selection's blocks are of that many keys, and lists name single keys.
static bool choosesTiles(Value mask, int64_t keys) {
  return llvm::all_of(collectOps(mask), [&](Operation *op) {
    auto maskOp = dyn_cast<MaskOpInterface>(op);
    if (!maskOp || maskOp.getOwnBinding() != Binding::Run)
      return true;
    auto selection = dyn_cast<SelectionOpInterface>(op);
    return selection && selection.getBlockK() % keys == 0;
  });
}

static int64_t getChoiceKeys(Value mask) {
  constexpr int64_t kFewestKeys = 64;
  return !choosesTiles(mask, kChoiceKeys) && choosesTiles(mask, kFewestKeys)
             ? kFewestKeys
             : kChoiceKeys;
}

/// The tile that the kernel asks for, else the one of the options, else none.
static SmallVector<int64_t> getAskedTile(AttentionOp op,
                                         const PlanBlocksPassOptions &options) {
  Operation *kernel = op->getParentOp();
  if (auto tile = kernel->getAttrOfType<DenseI64ArrayAttr>(block_plan::kTileAttr))
    return SmallVector<int64_t>(tile.asArrayRef());
  if (options.tileRows && options.tileKeys)
    return {options.tileRows, options.tileKeys};
  return {};
}

/// Rows that choose together are in one tile, and those that draw, whose keys have
/// weights of their own, alone.
static SmallVector<int64_t> getChoiceTile(Value mask, ArrayRef<int64_t> asked) {
  int64_t rows = getChoiceRows(mask);
  if (asked.empty())
    return {rows, getChoiceKeys(mask)};
  bool alone = cast<MaskType>(mask.getType()).getSampled();
  int64_t units = alone ? 1 : std::min<int64_t>(asked[0], kMostChoiceRows) / rows;
  return {rows * std::max<int64_t>(units, 1), asked[1]};
}

static SmallVector<int64_t> getTile(AttentionOp op, const Needs &needs,
                                    const PlanBlocksPassOptions &options) {
  SmallVector<int64_t> asked = getAskedTile(op, options);
  if (needs.choice)
    return getChoiceTile(needs.choice, asked);
  return asked.empty() ? computeTile(op, options) : asked;
}

namespace {
/// The scores of a mask, each for the blocks of keys that it is asked about.
struct Scores {
  SmallVector<Value> values;
  SmallVector<int64_t> blocks;
  bool ofKeys = false; ///< a draw asks for the attention's own scores
};
} // namespace

static Scores collectScores(Value mask) {
  Scores scores;
  for (Operation *op : collectOps(mask)) {
    auto selection = dyn_cast<SelectionOpInterface>(op);
    if (!selection)
      continue;
    scores.ofKeys |= selection.readsAttentionScores();
    Value score = selection.getScore();
    auto block = static_cast<int64_t>(selection.getBlockK());
    bool isKnown =
        llvm::any_of(llvm::zip_equal(scores.values, scores.blocks), [&](auto known) {
          return std::get<0>(known) == score && std::get<1>(known) == block;
        });
    if (!score || isKnown)
      continue;
    scores.values.push_back(score);
    scores.blocks.push_back(block);
  }
  return scores;
}

static LogicalResult planAttention(AttentionOp op, const PlanBlocksPassOptions &options) {
  Needs needs = computeNeeds(op);
  if (failed(checkPlannable(op, needs)))
    return failure();
  OpBuilder builder(op);
  bool compile = needs.binding == Binding::Compile;
  SmallVector<int64_t> tile = getTile(op, needs, options);
  bool isGathered = needs.choice && !choosesTiles(needs.choice, tile[1]);
  SmallVector<Value> structures;
  Scores scores;
  if (needs.choice) {
    structures = collectStructures(needs.choice);
    scores = collectScores(needs.choice);
  }
  auto plan = block_plan::AttentionOp::create(
      builder, op.getLoc(), op.getOut().getType(), op.getLse().getType(), op.getQ(),
      op.getK(), op.getV(), op.getKvLen(), op.getQLen(), op.getQOffset(), op.getSinks(),
      needs.layout.getArrayRef(), needs.choice, structures, scores.values,
      compile ? block_plan::PlanBinding::Compile : block_plan::PlanBinding::Plan,
      llvm::APFloat(op.getScaleOrDefault()), tile,
      op.needsNeighbours() || needs.choice ? 1 : needs.period, op.getKeyBlock(),
      needs.perBatch, needs.perHead, isGathered, scores.blocks, scores.ofKeys,
      needs.choice != nullptr, builder.getArrayAttr(needs.checks),
      builder.getArrayAttr(needs.tables),
      needs.hopTable ? builder.getI64IntegerAttr(*needs.hopTable) : IntegerAttr(),
      structures.size());
  if (!op.getModifiers().empty())
    buildModify(plan.getModify(), op, builder);
  buildClassify(plan.getClassify(), op, needs, plan.getPeriod(), builder);
  for (auto [region, structure] : llvm::zip_equal(plan.getStructures(), structures))
    buildStructure(region, op, structure, needs, builder);
  if (!compile && !needs.choice)
    buildKeyExtent(plan.getExtent(), op, needs, plan.getPeriod(), builder);
  if (compile)
    buildPredicate(plan.getPredicate(), op, needs, builder);
  op.replaceAllUsesWith(plan);
  op.erase();
  return success();
}

/// Masks, scores and modifiers are values without effects: erases those that nothing
/// uses.
static void eraseUnusedMasks(ModuleOp module) {
  SmallVector<Operation *> ops;
  module.walk([&](Operation *op) {
    if (isa<MaskOpInterface, ScoreOpInterface, ModifierOpInterface>(op))
      ops.push_back(op);
  });
  for (Operation *op : llvm::reverse(ops))
    if (op->use_empty())
      op->erase();
}

namespace {
struct PlanBlocks : sparse_attn::impl::PlanBlocksPassBase<PlanBlocks> {
  using PlanBlocksPassBase::PlanBlocksPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    PlanBlocksPassOptions options{
        tileRows, tileKeys, lanes, registerRows, registerVectors, bf16Dot, l1, l2, l3};
    if ((tileRows || tileKeys) && !block_plan::isTile({tileRows, tileKeys})) {
      module.emitError("tile-rows and tile-keys go together: 1 to 1024 rows and 64, "
                       "128, ... 1024 keys");
      return signalPassFailure();
    }
    SmallVector<AttentionOp> attentions;
    module.walk([&](AttentionOp op) { attentions.push_back(op); });
    for (AttentionOp op : attentions)
      if (failed(planAttention(op, options)))
        return signalPassFailure();
    eraseUnusedMasks(module);
  }
};
} // namespace
