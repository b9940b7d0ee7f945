//===- ReachHelper.cpp - which nodes of a graph reach each other, on a GPU ===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// sa_classify_reach (runtime/src/reach.c) of a table in the device's memory, which the
// host has found in the graph (sa_gpu_reach):
//
//   position --> chunk that holds it --> slot of its node --> intervals of tokens
//
//===----------------------------------------------------------------------===//

#include "MaskHelpers.h"
#include "sparse_attn/gpu_abi.h"

using namespace mlir;
using namespace sparse_attn;

namespace {
/// An sa_gpu_reach.
class ReachTable {
public:
  ReachTable(GPUBuilder &b, Value table) : b(b), table(b.toGlobal(table)) {}

  /// The array whose offset is the i64 at `offset`.
  Value array(size_t offset) { return b.offset(table, load(table, offset)); }
  /// The same of the batch entry.
  Value arrayOf(Value batch, size_t offset) {
    return b.offset(table, load(batch, offset));
  }
  Value batchOf(Value number) {
    Value alike = b.eq(b.loadAt(b.builder.getI32Type(), table,
                                b.i32(offsetof(sa_gpu_reach, batch_count)), 8),
                       b.i32(1));
    Value first = b.offset(table, b.i32(offsetof(sa_gpu_reach, batches)));
    return b.element(first, b.select(alike, b.i32(0), number),
                     sizeof(sa_gpu_reach_batch));
  }
  /// Element `index` of an array of i64.
  Value wordAt(Value array, Value index) {
    return load(b.element(array, index, sizeof(int64_t)), 0);
  }

private:
  Value load(Value pointer, size_t offset) {
    return b.loadAt(b.builder.getI64Type(), pointer, b.i32(offset), 8);
  }

  GPUBuilder &b;
  Value table;
};
} // namespace

/// The tokens that slot `slot` reaches, among keys [j0, j1].
HelperBuilder::Kept HelperBuilder::askSlot(Value pointer, Value slot,
                                           const Rectangle &r) {
  ReachTable table(b, pointer);
  Value one = b.i32(1), none = b.i32(0);
  Value slots = table.array(offsetof(sa_gpu_reach, slot_begin));
  Value begin = table.wordAt(slots, slot);
  Value length = b.sub(table.wordAt(slots, b.add(slot, one)), begin);
  length = arith::TruncIOp::create(b.builder, b.loc, b.builder.getI32Type(), length);
  Value bytes = b.mul(begin, b.toI64(b.i32(sizeof(int32_t))));
  SortedRow first = {b.offset(table.array(offsetof(sa_gpu_reach, first)), bytes), length};
  Value ends = b.offset(table.array(offsetof(sa_gpu_reach, end)), bytes);
  // A slot reaches itself, so that it has an interval at least.
  Value next = count(first, r.j0, true);
  Value end = at(ends, b.max(b.sub(next, one), none));
  Value covers = b.land(b.gt(next, none), b.gt(end, r.j0));
  Value nextFirst = at(first.data, b.min(next, b.sub(length, one)));
  Value follows = b.land(b.lt(next, length), b.le(nextFirst, r.j1));
  return {b.lor(covers, follows), b.land(covers, b.gt(end, r.j1))};
}

/// Positions [p0, p1], if there are any, that are in no chunk see themselves only.
HelperBuilder::Kept HelperBuilder::askOutside(const Rectangle &r, Value p0, Value p1) {
  Value exists = b.le(p0, p1);
  Value any = b.land(exists, b.land(b.le(p0, r.j1), b.le(r.j0, p1)));
  Value pair = b.land(b.eq(p0, p1), b.eq(r.j0, r.j1));
  return {any, b.lor(b.lnot(exists), b.land(any, pair))};
}

Value HelperBuilder::classifyReach(ValueRange arguments) {
  ReachTable table(b, arguments[0]);
  Rectangle r(arguments.take_back(kPairArguments));
  Value one = b.i32(1);
  Value batch = table.batchOf(arguments[1]);
  Value chunks = b.loadAt(b.builder.getI32Type(), batch,
                          b.i32(offsetof(sa_gpu_reach_batch, chunk_count)), 8);
  Value starts = table.arrayOf(batch, offsetof(sa_gpu_reach_batch, start));
  Value slots = table.arrayOf(batch, offsetof(sa_gpu_reach_batch, slot));
  Value begin = at(starts, b.i32(0)), end = at(starts, chunks);

  Kept before = askOutside(r, r.p0, b.min(r.p1, b.sub(begin, one)));
  Kept after = askOutside(r, b.max(r.p0, end), r.p1);
  Value any = b.lor(before.any, after.any), all = b.land(before.all, after.all);
  Value p0 = b.max(r.p0, begin), p1 = b.min(r.p1, b.sub(end, one));
  Value isOpen = b.land(b.le(p0, p1), b.lnot(isDecided(any, all)));
  Values found = b.choose(
      isOpen,
      [&]() -> Values {
        Value chunk = b.sub(count({starts, chunks}, p0, true), one);
        Values last = b.repeat(
            {chunk, b.i32(-1), any, all},
            [&](ValueRange state) {
              Value more = b.le(at(starts, state[0]), p1);
              return b.land(more, b.lnot(isDecided(state[2], state[3])));
            },
            [&](ValueRange state) -> Values {
              Value slot = at(slots, state[0]);
              Values kept = b.choose(
                  b.eq(slot, state[1]), [&]() -> Values { return {state[2], state[3]}; },
                  [&]() -> Values {
                    Kept own = askSlot(arguments[0], slot, r);
                    return {b.lor(state[2], own.any), b.land(state[3], own.all)};
                  });
              return {b.add(state[0], one), slot, kept[0], kept[1]};
            });
        return {last[2], last[3]};
      },
      [&]() -> Values { return {any, all}; });
  return toKind(found[0], found[1]);
}
