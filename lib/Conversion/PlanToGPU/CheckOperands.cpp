//===- CheckOperands.cpp - values of layout operands, on a GPU ------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What runtime/src/checks.c asks of offsets and block lists, of operands that lie in the
// device's memory: a kernel tells whether something is wrong, not what. Nothing is read
// outside of an operand, whatever its values are.
//
//===----------------------------------------------------------------------===//

#include "AttendGPU.h"
#include "sparse_attn/gpu_abi.h"

using namespace mlir;
using namespace sparse_attn;

namespace {
class Checker {
public:
  Checker(GPUBuilder &b, const GPUContext &context, Value args)
      : b(b), context(context), args(args),
        values(b.offset(args, b.i32(offsetof(sa_gpu_args, values)))), fault(b.i32(0)),
        first(b.add(b.mul(b.block(), kListThreads), b.thread())),
        threads(b.mul(b.blocks(), kListThreads)) {}

  void build();

private:
  /// An operand of i32, whose copies have no gaps.
  struct Operand {
    Value data, rows, columns; ///< rows: of all axes but the last one
    Value batches, heads;      ///< axes 1 and 2
  };
  Operand open(Value tensor);
  Value at(const Operand &operand, Value row, Value column);
  void forEach(Value count, llvm::function_ref<Value(Value number)> isWrong);
  void checkStarts(const Operand &starts, Value limit);
  void checkBlockLists(const Operand &indptr, const Operand &indices, Value blocks);

  GPUBuilder &b;
  const GPUContext &context;
  Value args, values;
  Value fault; ///< not 0: this thread has found one
  Value first, threads;
};
} // namespace

Checker::Operand Checker::open(Value tensor) {
  Value view = b.viewPointer(values, context.ids.id(tensor));
  auto size = [&](int64_t axis) {
    return b.field(view, offsetof(sa_view, size) + sizeof(int64_t) * axis,
                   b.builder.getI32Type());
  };
  Operand operand;
  operand.data = b.toGlobal(b.pointerField(view, offsetof(sa_view, data)));
  operand.batches = size(1);
  operand.heads = size(2);
  operand.rows = b.mulI32(operand.batches, operand.heads);
  operand.columns = size(3);
  return operand;
}

Value Checker::at(const Operand &operand, Value row, Value column) {
  Value index = b.add(b.mul(b.toI64(row), b.toI64(operand.columns)), b.toI64(column));
  Value bytes = b.mul(index, b.toI64(b.i32(sizeof(int32_t))));
  return b.loadAt(b.builder.getI32Type(), b.offset(operand.data, bytes), b.i32(0), 4);
}

/// Every thread takes every so many of [0, count).
void Checker::forEach(Value count, function_ref<Value(Value)> isWrong) {
  fault = b.repeat(
      {first, fault}, [&](ValueRange state) { return b.lt(state[0], count); },
      [&](ValueRange state) -> Values {
        Value found = b.select(isWrong(state[0]), b.i32(1), state[1]);
        return {b.add(state[0], threads), found};
      })[1];
}

/// From 0 on, ascending, up to `limit`.
void Checker::checkStarts(const Operand &starts, Value limit) {
  forEach(b.mulI32(starts.rows, starts.columns), [&](Value number) {
    Value row = b.divU(number, starts.columns), column = b.remU(number, starts.columns);
    Value value = at(starts, row, column);
    Value before = at(starts, row, b.max(b.sub(column, b.i32(1)), b.i32(0)));
    return b.lor(b.lt(value, b.max(before, b.i32(0))), b.lt(limit, value));
  });
}

/// Blocks of a row ascend, from 0 on and below `blocks`. Starts may be wrong, too.
void Checker::checkBlockLists(const Operand &indptr, const Operand &indices,
                              Value blocks) {
  Value zero = b.i32(0), one = b.i32(1);
  Value batches = b.max(indptr.batches, indices.batches);
  Value heads = b.max(indptr.heads, indices.heads);
  Value blockRows = b.sub(indptr.columns, one);
  auto rowOf = [&](const Operand &operand, Value plane) {
    Value batch = b.divU(plane, heads), head = b.remU(plane, heads);
    batch = b.select(b.eq(operand.batches, one), zero, batch);
    head = b.select(b.eq(operand.heads, one), zero, head);
    return b.add(b.mulI32(batch, operand.heads), head);
  };
  forEach(b.mulI32(b.mulI32(batches, heads), blockRows), [&](Value number) {
    Value plane = b.divU(number, blockRows), row = b.remU(number, blockRows);
    Value starts = rowOf(indptr, plane), list = rowOf(indices, plane);
    Value begin = b.max(at(indptr, starts, row), zero);
    Value end = b.min(at(indptr, starts, b.add(row, one)), indices.columns);
    return b.ne(b.repeat(
                    {begin, b.i32(-1), zero},
                    [&](ValueRange state) { return b.lt(state[0], end); },
                    [&](ValueRange state) -> Values {
                      Value block = at(indices, list, state[0]);
                      Value wrong = b.lor(b.le(block, state[1]), b.ge(block, blocks));
                      return {b.add(state[0], one), block,
                              b.select(wrong, one, state[2])};
                    })[2],
                zero);
  });
}

void Checker::build() {
  Value tokens = b.field(args, offsetof(sa_gpu_args, tokens), b.builder.getI32Type());
  auto layout = context.plan.getLayout();
  for (auto check : context.plan.getChecks().getAsRange<block_plan::NeedAttr>()) {
    auto input = [&](unsigned number) { return open(layout[check.getInputs()[number]]); };
    if (check.getKind() == SA_CHECK_OFFSETS)
      checkStarts(input(0), tokens);
    if (check.getKind() == SA_CHECK_BSR) {
      Operand indptr = input(0), indices = input(1);
      checkStarts(indptr, indices.columns);
      int64_t keys = check.getParameters()[1];
      Value blocks = b.divU(b.add(tokens, b.i32(keys - 1)), keys);
      checkBlockLists(indptr, indices, blocks);
    }
  }
  Value any = b.anyInBlock(b.ne(fault, b.i32(0)));
  b.branch(b.eq(b.thread(), b.i32(0)), [&] {
    Value faults = b.toGlobal(b.pointerField(args, offsetof(sa_gpu_args, faults)));
    Value own = b.element(faults, b.block(), sizeof(int32_t));
    b.storeAt(b.select(any, b.i32(1), b.i32(0)), own, b.i32(0), 4);
  });
}

void sparse_attn::buildCheckOperands(GPUBuilder &b, const GPUContext &context,
                                     Value args) {
  Checker(b, context, args).build();
}
