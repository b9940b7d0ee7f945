//===- Fill.cpp - the bits of a partial tile ------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The classifier of a plan-time mask, asked about single pairs: a row of them at a
// time, a vector of keys at once. Its helpers answer for the whole tile beforehand:
//
//   sa_classify_segments(%offsets, %b, p0, p1, j0, j1)    one rectangle
//   sa_fill_segments(%offsets, %b, pairs, bits)           every pair of the tile
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "sparse_attn/abi.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;
using namespace sparse_attn;

static ValueRange getPairArguments(Region &classify) {
  return ValueRange(classify.getArguments()).slice(2, kPairArguments);
}

/// `roots` and what depends on them.
static llvm::DenseSet<Value> findDependents(Region &classify, ValueRange roots) {
  llvm::DenseSet<Value> found(roots.begin(), roots.end());
  for (Operation &op : classify.front())
    if (llvm::any_of(op.getOperands(), [&](Value x) { return found.contains(x); }))
      found.insert(op.result_begin(), op.result_end());
  return found;
}

bool sparse_attn::canFill(block_plan::AttentionOp plan) {
  // Listed keys are decided one by one.
  if (plan.getBinding() != block_plan::PlanBinding::Plan || plan.getChoice())
    return false;
  Region &classify = plan.getClassify();
  ValueRange pair = getPairArguments(classify);
  llvm::DenseSet<Value> varying = findDependents(classify, pair);
  llvm::DenseSet<Value> vectors = findDependents(classify, pair.take_back(2));
  for (Operation &op : classify.front()) {
    if (auto helper = dyn_cast<block_plan::HelperOp>(op)) {
      ValueRange arguments = helper.getArguments();
      if (arguments.take_back(kPairArguments) != pair ||
          llvm::any_of(arguments.drop_back(kPairArguments),
                       [&](Value x) { return varying.contains(x); }))
        return false;
    }
    // Elements of several rows are no vector.
    if (auto extract = dyn_cast<tensor::ExtractOp>(op))
      if (llvm::any_of(extract.getIndices().drop_back(),
                       [&](Value x) { return vectors.contains(x); }))
        return false;
  }
  return true;
}

/// As many keys at once as a register has bytes, since their bits are then made and
/// stored in few instructions; whole bytes of bits, and whole vectors of a row.
static int64_t getFillLanes(const KernelShape &shape) {
  int64_t lanes = shape.lanes * sizeof(float);
  while (shape.keys % lanes)
    lanes /= 2;
  return std::max<int64_t>(lanes, 8);
}

namespace {
class FillBuilder {
public:
  FillBuilder(KernelBuilder &b, const AttendContext &context, Value args)
      : b(b), context(context), args(args), classify(context.plan.getClassify()),
        lanes(getFillLanes(context.shape)),
        tile({context.shape.rows, context.shape.keys / 8}),
        mask(b.pointerField(args, offsetof(sa_fill_args, context))),
        cloner(b, context.ids, b.pointerField(mask, offsetof(sa_mask_context, values)),
               lanes) {
    Type i32 = b.builder.getI32Type();
    cloner.keys = b.field(mask, offsetof(sa_mask_context, keys), i32);
    cloner.heads = b.field(mask, offsetof(sa_mask_context, heads), i32);
    cloner.tables = b.pointerField(mask, offsetof(sa_mask_context, tables));
  }

  void build() {
    SmallVector<Value> arguments(classify.getNumArguments());
    arguments[0] = i32Field(offsetof(sa_fill_args, b));
    arguments[1] = i32Field(offsetof(sa_fill_args, h));
    arguments[6] = i32Field(offsetof(sa_fill_args, step));
    cloner.hoist(classify, arguments);
    for (auto helper : classify.getOps<block_plan::HelperOp>())
      if (!cloner.known.contains(helper.getResult()))
        askHelper(helper);

    Value bits = bytesAt(b.pointerField(args, offsetof(sa_fill_args, bits)));
    Value rows = b.indexField(args, offsetof(sa_fill_args, rows));
    Value keys = b.indexField(args, offsetof(sa_fill_args, keys));
    Value firstPosition = i32Field(offsetof(sa_fill_args, first_position));
    Value firstKey = i32Field(offsetof(sa_fill_args, first_key));
    bool neighbours = context.plan.getPeriod() == 1;
    Value step = neighbours ? b.i32(1) : i32Field(offsetof(sa_fill_args, step));
    auto inSteps = [&](Value first, Value number) {
      Value distance =
          b.builder.createOrFold<arith::MulIOp>(b.loc, b.toI32(number), step);
      return b.add(first, distance);
    };
    cloner.neighbours = neighbours;
    b.loop(b.index(0), rows, 1, [&](Value row) {
      arguments[2] = arguments[3] = inSteps(firstPosition, row);
      b.loop(b.index(0), keys, lanes, [&](Value column) {
        Value lane = b.lanesFrom(b.toI32(column), b.i32(1), lanes);
        Value inBounds = b.lt(lane, b.splat(b.toI32(keys), lanes));
        arguments[4] = arguments[5] = b.lanesFrom(inSteps(firstKey, column), step, lanes);
        storeBits(decide(arguments, inBounds, row, column), bits, row, column);
      });
    });
  }

private:
  Value i32Field(size_t offset) { return b.toI32(b.indexField(args, offset)); }
  Value bytesAt(Value pointer) { return b.arrayAt(pointer, tile, b.builder.getI8Type()); }
  VectorType byteType() { return b.vectorType(lanes / 8, b.builder.getI8Type()); }
  VectorType bitType() { return b.vectorType(lanes, b.builder.getI1Type()); }

  /// Has the helper decide the whole tile.
  void askHelper(block_plan::HelperOp helper) {
    Type pointer = LLVM::LLVMPointerType::get(b.builder.getContext());
    Type i8 = b.builder.getI8Type(), i64 = b.builder.getI64Type();
    Value bytes = arith::ConstantOp::create(
        b.builder, b.loc, b.builder.getIntegerAttr(i64, tile[0] * tile[1]));
    Value room = LLVM::AllocaOp::create(b.builder, b.loc, pointer, i8, bytes,
                                        /*alignment=*/64);
    cloner.callFill(helper, args, room);
    answers.push_back({helper, bytesAt(room)});
  }

  /// Whether the pairs of `lanes` keys from `column` are kept.
  Value decide(ValueRange arguments, Value inBounds, Value row, Value column) {
    for (auto [helper, bits] : answers) {
      Value kept = vector::BitCastOp::create(
          b.builder, b.loc, bitType(),
          b.loadVector(bits, {row, byteOf(column)}, byteType()));
      // As the helper would say it: 0 or 1.
      Type integers = b.vectorType(lanes, b.builder.getI32Type());
      cloner.known.map(
          helper.getResult(),
          arith::ExtUIOp::create(b.builder, b.loc, integers, kept).getResult());
    }
    cloner.inBounds = inBounds;
    Value must = cloner.clone(classify, arguments)[1];
    if (!isa<VectorType>(must.getType()))
      must = b.splat(must, lanes);
    return arith::AndIOp::create(b.builder, b.loc, must, inBounds);
  }

  void storeBits(Value kept, Value bits, Value row, Value column) {
    b.storeVector(vector::BitCastOp::create(b.builder, b.loc, byteType(), kept), bits,
                  {row, byteOf(column)});
  }

  Value byteOf(Value column) {
    return arith::DivUIOp::create(b.builder, b.loc, column, b.index(8));
  }

  KernelBuilder &b;
  const AttendContext &context;
  Value args;
  Region &classify;
  int64_t lanes;
  SmallVector<int64_t> tile; ///< rows x bytes
  Value mask;
  RegionCloner cloner;
  SmallVector<std::pair<block_plan::HelperOp, Value>> answers;
};
} // namespace

void sparse_attn::buildFill(const AttendContext &context, StringRef symbol) {
  Type pointer = LLVM::LLVMPointerType::get(context.module.getContext());
  buildFunction(context.module, context.plan->getLoc(), symbol, {pointer},
                /*isPrivate=*/false, [&](KernelBuilder &b, ValueRange arguments) {
                  FillBuilder(b, context, arguments[0]).build();
                });
}
