//===- SparseAttnDialect.cpp - the dialect and its types ------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/TypeSwitch.h"
#include <numeric>

using namespace mlir;
using namespace sparse_attn;

#include "dialect/SparseAttn/SparseAttnDialect.cpp.inc"

#include "dialect/SparseAttn/SparseAttnEnums.cpp.inc"

#include "dialect/SparseAttn/SparseAttnInterfaces.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialect/SparseAttn/SparseAttnAttrs.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialect/SparseAttn/SparseAttnTypes.cpp.inc"

void SparseAttnDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialect/SparseAttn/SparseAttnAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialect/SparseAttn/SparseAttnTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialect/SparseAttn/SparseAttnOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

Type MaskType::parse(AsmParser &parser) {
  bool sampled = false;
  if (succeeded(parser.parseOptionalLess())) {
    if (parser.parseKeyword("sampled") || parser.parseGreater())
      return {};
    sampled = true;
  }
  return MaskType::get(parser.getContext(), sampled);
}

void MaskType::print(AsmPrinter &printer) const {
  if (getSampled())
    printer << "<sampled>";
}

LogicalResult PooledType::verify(function_ref<InFlightDiagnostic()> emitError,
                                 RankedTensorType tensor, int64_t block) {
  // (pooled_c1) [B, Hkv, blocks, D]
  if (tensor.getRank() != 4)
    return emitError() << "pooled tensor must have rank 4, [B, Hkv, blocks, D], got rank "
                       << tensor.getRank();
  // (pooled_c2)
  if (block < 1)
    return emitError() << "pooled block must be >= 1, got " << block;
  return success();
}

//===----------------------------------------------------------------------===//
// Evaluation
//===----------------------------------------------------------------------===//

Evaluator::~Evaluator() = default;
AttentionValues::~AttentionValues() = default;

AttentionValues &Evaluator::attention() {
  llvm::report_fatal_error("this evaluator knows no attention");
}

void Evaluator::fail(const Twine &reason) { llvm::report_fatal_error(reason); }

int64_t Evaluator::keyHead(int64_t h) { return h / (heads() / attention().keyHeads()); }

bool Evaluator::isDrawn(Value mask, const Pair &pair) {
  return cast<MaskOpInterface>(mask.getDefiningOp()).isDrawn(pair, *this);
}

double Evaluator::evaluate(Value mask, const Pair &pair) {
  return cast<MaskOpInterface>(mask.getDefiningOp()).evaluate(pair, *this);
}

int64_t sparse_attn::combinePeriods(int64_t a, int64_t b) {
  // Periods are below 2^30, so the multiple does not overflow.
  int64_t period = std::lcm(a, b);
  return period <= kMostPeriod ? period : a;
}

int64_t sparse_attn::getPeriod(Value mask) {
  auto op = cast<MaskOpInterface>(mask.getDefiningOp());
  int64_t period = 1;
  for (Value operand : op->getOperands())
    if (isa<MaskType>(operand.getType()))
      period = combinePeriods(period, getPeriod(operand));
  return combinePeriods(period, op.getPeriod());
}

static void collectOps(Value value, llvm::SmallSetVector<Operation *, 8> &ops) {
  Operation *op = value.getDefiningOp();
  if (ops.contains(op))
    return;
  for (Value operand : op->getOperands())
    if (isa<MaskType, ScoreType>(operand.getType()))
      collectOps(operand, ops);
  ops.insert(op);
}

SmallVector<Operation *> sparse_attn::collectOps(Value value) {
  llvm::SmallSetVector<Operation *, 8> ops;
  ::collectOps(value, ops);
  return ops.takeVector();
}

SmallVector<Value> sparse_attn::collectStructures(Value mask) {
  if (getBinding(mask) != Binding::Run)
    return {mask};
  llvm::SmallSetVector<Value, 4> structures;
  for (Operation *op : collectOps(mask)) {
    auto known = dyn_cast<MaskOpInterface>(op);
    if (!known || getBinding(op->getResult(0)) != Binding::Run)
      continue;
    std::optional<KeySet> set = known.getKeySet();
    for (Value operand : set->operands)
      if (getBinding(operand) != Binding::Run)
        structures.insert(operand);
  }
  return structures.takeVector();
}

int64_t sparse_attn::getChoiceRows(Value mask) {
  int64_t rows = 1;
  for (Operation *op : collectOps(mask))
    if (auto known = dyn_cast<MaskOpInterface>(op))
      if (std::optional<KeySet> set = known.getKeySet())
        rows = std::lcm(rows, set->rows);
  return rows;
}

SmallVector<WeightSize> sparse_attn::getWeightSizes(Value mask, int64_t headDim) {
  SmallVector<WeightSize> sizes;
  for (Operation *op : collectOps(mask)) {
    if (auto score = dyn_cast<ScoreOpInterface>(op))
      llvm::append_range(sizes, score.getWeightSizes(headDim));
    if (auto selection = dyn_cast<SelectionOpInterface>(op))
      llvm::append_range(sizes, selection.getWeightSizes(headDim));
  }
  return sizes;
}

Binding sparse_attn::getBinding(Value mask) {
  auto op = cast<MaskOpInterface>(mask.getDefiningOp());
  Binding binding = op.getOwnBinding();
  for (Value operand : op->getOperands())
    if (isa<MaskType>(operand.getType()))
      binding = std::max(binding, getBinding(operand));
  return binding;
}
