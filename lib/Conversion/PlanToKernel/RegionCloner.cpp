//===- RegionCloner.cpp - regions of a plan inside a kernel ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A region of a block plan is scalar arithmetic on one pair. A kernel asks it for
// a vector of keys at once: whatever depends on a vector argument becomes a
// vector, everything else stays scalar and is computed once.
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "sparse_attn/abi.h"

using namespace mlir;
using namespace sparse_attn;

static constexpr StringLiteral kClassifyPrefix = "sa_classify_";
static constexpr StringLiteral kFillPrefix = "sa_fill_";

static bool isVector(Value value) { return isa<VectorType>(value.getType()); }

static size_t countArguments(block_plan::HelperOp op) {
  return op.getArguments().size() + op.getAbsent().size();
}

Value RegionCloner::lookup(Value value, IRMapping &mapping) {
  if (Value mapped = mapping.lookupOrNull(value))
    return mapped;
  // A constant from outside of the region.
  Operation *constant = kernel.builder.clone(*value.getDefiningOp());
  mapping.map(value, constant->getResult(0));
  return constant->getResult(0);
}

void RegionCloner::hoist(Region &region, ValueRange arguments) {
  for (auto [formal, actual] : llvm::zip_equal(region.getArguments(), arguments))
    if (actual)
      known.map(formal, actual);
  for (Operation &op : region.front().without_terminator())
    if (llvm::all_of(op.getOperands(), [&](Value operand) {
          return known.contains(operand) || !region.isAncestor(operand.getParentRegion());
        }))
      cloneOp(&op, known, region);
}

SmallVector<Value> RegionCloner::clone(Region &region, ValueRange arguments) {
  IRMapping mapping = known;
  mapping.map(region.getArguments(), arguments);
  Block &block = region.front();
  for (Operation &op : block.without_terminator())
    if (!llvm::all_of(op.getResults(), [&](Value x) { return known.contains(x); }))
      cloneOp(&op, mapping, region);
  SmallVector<Value> results;
  for (Value value : block.getTerminator()->getOperands())
    results.push_back(lookup(value, mapping));
  return results;
}

void RegionCloner::cloneOp(Operation *op, IRMapping &mapping, Region &region) {
  if (auto size = dyn_cast<block_plan::SizeOp>(op))
    return mapping.map(size.getResult(),
                       size.getOf() == block_plan::PlanSize::Keys ? keys : heads);
  if (auto helper = dyn_cast<block_plan::HelperOp>(op)) {
    SmallVector<Value> arguments = getArguments(helper, countArguments(helper), mapping);
    Value result =
        answer ? answer(helper, arguments)
               : callRuntime(helper.getCallee(), arguments, kernel.builder.getI32Type())
                     .getResult(0);
    return mapping.map(helper.getResult(), result);
  }
  if (auto dim = dyn_cast<tensor::DimOp>(op)) {
    auto type = cast<RankedTensorType>(dim.getSource().getType());
    int64_t axis = *dim.getConstantIndex() + 4 - type.getRank();
    Value view = kernel.viewPointer(values, ids.id(dim.getSource()));
    return mapping.map(dim.getResult(),
                       kernel.indexField(view, offsetof(sa_view, size) + 8 * axis));
  }
  if (isa<tensor::ExtractOp>(op))
    return mapping.map(op->getResult(0), cloneExtract(op, mapping, region));

  SmallVector<Value> operands;
  for (Value operand : op->getOperands())
    operands.push_back(lookup(operand, mapping));
  bool vectorise = llvm::any_of(operands, isVector);
  SmallVector<Type> types(op->getResultTypes());
  if (vectorise) {
    for (Value &operand : operands)
      if (!isVector(operand))
        operand = kernel.splat(operand, lanes);
    for (Type &type : types)
      type = kernel.vectorType(lanes, type);
  }
  OperationState state(op->getLoc(), op->getName(), operands, types, op->getAttrs());
  Operation *clone = kernel.builder.create(state);
  mapping.map(op->getResults(), clone->getResults());
}

/// Whether `value` is the key, which the region's last argument stands for, as an
/// index.
static bool isKey(Value value, Region &region, const IRMapping &mapping) {
  if (auto cast = value.getDefiningOp<arith::IndexCastOp>())
    value = cast.getIn();
  return isa<BlockArgument>(value) &&
         mapping.lookup(value) == mapping.lookup(region.getArguments().back());
}

Value RegionCloner::cloneExtract(Operation *op, IRMapping &mapping, Region &region) {
  auto extract = cast<tensor::ExtractOp>(op);
  auto type = cast<RankedTensorType>(extract.getTensor().getType());
  auto memref = kernel.viewOf(values, ids.id(extract.getTensor()), type.getElementType());
  // Ranks below 4 are padded in front; axes of size 1 have stride 0.
  SmallVector<Value> indices(4 - type.getRank(), kernel.index(0));
  for (Value index : extract.getIndices())
    indices.push_back(lookup(index, mapping));
  Value last = indices.back();
  bool broadcast = type.getDimSize(type.getRank() - 1) == 1;
  if (broadcast)
    last = indices.back() = kernel.index(0);
  if (!llvm::any_of(indices, isVector))
    return kernel.load(memref, indices);

  OpBuilder &builder = kernel.builder;
  VectorType result = kernel.vectorType(lanes, type.getElementType());
  Value zero =
      arith::ConstantOp::create(builder, kernel.loc, builder.getZeroAttr(result));
  Value mask = inBounds ? inBounds : kernel.tailMask(lanes, lanes);
  bool contiguous = neighbours && isKey(extract.getIndices().back(), region, mapping);
  for (Value index : llvm::drop_end(indices))
    contiguous &= !isVector(index);
  if (contiguous) {
    indices.back() = vector::ExtractOp::create(builder, kernel.loc, last, 0);
    return vector::MaskedLoadOp::create(builder, kernel.loc, result, memref, indices,
                                        mask, zero);
  }
  // An arbitrary column: one row, gathered. Only the last index may be a vector.
  indices.back() = kernel.index(0);
  return vector::GatherOp::create(builder, kernel.loc, result, memref, indices, last,
                                  mask, zero);
}

/// The first `count` arguments, not counting the plan table in front of them.
SmallVector<Value> RegionCloner::getArguments(block_plan::HelperOp op, size_t count,
                                              IRMapping &mapping) {
  Type pointer = LLVM::LLVMPointerType::get(op.getContext());
  SmallVector<Value> arguments;
  if (std::optional<int64_t> table = op.getTable())
    arguments.push_back(kernel.pointerField(tables, *table * sizeof(void *)));
  size_t next = 0;
  for (size_t i = 0; i < count; ++i) {
    if (llvm::is_contained(op.getAbsent(), static_cast<int64_t>(i))) {
      arguments.push_back(LLVM::ZeroOp::create(kernel.builder, kernel.loc, pointer));
      continue;
    }
    Value argument = op.getArguments()[next++];
    if (isa<TensorType>(argument.getType()))
      arguments.push_back(kernel.viewPointer(values, ids.id(argument)));
    else
      arguments.push_back(lookup(argument, mapping));
  }
  return arguments;
}

func::CallOp RegionCloner::callRuntime(StringRef symbol, ValueRange arguments,
                                       TypeRange results) {
  OpBuilder &builder = kernel.builder;
  auto module = builder.getInsertionBlock()->getParentOp()->getParentOfType<ModuleOp>();
  if (!module.lookupSymbol(symbol)) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(module.getBody());
    auto type = builder.getFunctionType(arguments.getTypes(), results);
    func::FuncOp::create(builder, kernel.loc, symbol, type).setPrivate();
  }
  return func::CallOp::create(builder, kernel.loc, symbol, results, arguments);
}

void RegionCloner::callFill(block_plan::HelperOp helper, Value pairs, Value bits) {
  SmallVector<Value> arguments =
      getArguments(helper, countArguments(helper) - kPairArguments, known);
  arguments.append({pairs, bits});
  StringRef name = helper.getCallee();
  bool classifies = name.consume_front(kClassifyPrefix);
  assert(classifies && "a helper of the runtime");
  (void)classifies;
  callRuntime((kFillPrefix + name).str(), arguments, {});
}
