//===- MaskHelpers.cpp - masks that read operands, on a GPU ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MaskHelpers.h"
#include "AttendGPU.h"
#include "sparse_attn/gpu_abi.h"

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

static constexpr int64_t kWord = sizeof(int64_t);

Value HelperBuilder::at(Value row, Value index) {
  return b.loadAt(b.builder.getI32Type(), b.element(row, index, sizeof(int32_t)),
                  b.i32(0), sizeof(int32_t));
}

Value HelperBuilder::sizeOf(Value view, int64_t axis) {
  return b.field(view, offsetof(sa_view, size) + kWord * axis, b.builder.getI32Type());
}

/// The innermost row of an operand of i32. Axes of size 1 have stride 0.
Value HelperBuilder::rowOf(Value view, Value i1, Value i2) {
  Type i64 = b.builder.getI64Type();
  auto stride = [&](int64_t axis) {
    return b.field(view, offsetof(sa_view, stride) + kWord * axis, i64);
  };
  Value index = b.add(b.mul(b.toI64(i1), stride(1)), b.mul(b.toI64(i2), stride(2)));
  Value bytes = b.mul(index, b.toI64(b.i32(sizeof(int32_t))));
  return b.offset(b.toGlobal(b.pointerField(view, offsetof(sa_view, data))), bytes);
}

/// How many of a row are below x, or up to it.
Value HelperBuilder::count(const SortedRow &row, Value x, bool orEqual) {
  auto isBefore = [&](Value index) {
    Value element = at(row.data, index);
    return orEqual ? b.le(element, x) : b.lt(element, x);
  };
  Values found = b.repeat(
      {b.i32(0), row.count}, [&](ValueRange state) { return b.lt(b.i32(1), state[1]); },
      [&](ValueRange state) {
        Value half = b.divU(state[1], 2);
        Value before = isBefore(b.add(state[0], b.sub(half, b.i32(1))));
        return Values{b.add(state[0], b.select(before, half, b.i32(0))),
                      b.sub(state[1], half)};
      });
  return b.choose(
      b.eq(found[1], b.i32(1)),
      [&]() -> Values {
        return {b.add(found[0], b.select(isBefore(found[0]), b.i32(1), b.i32(0)))};
      },
      [&]() -> Values { return {found[0]}; })[0];
}

//===----------------------------------------------------------------------===//
// segments
//===----------------------------------------------------------------------===//

Value HelperBuilder::classifySegments(ValueRange arguments) {
  Value offsets = arguments[0];
  Rectangle r(arguments.take_back(kPairArguments));
  SortedRow starts = {rowOf(offsets, b.i32(0), arguments[1]), sizeOf(offsets, 3)};
  Value one = b.i32(1);
  auto askRows = [&](Value p0, Value p1, Value inside) {
    Value first = b.sub(count(starts, p0, true), one);
    Value last = b.choose(
        b.ge(p1, at(starts.data, b.add(first, one))),
        [&]() -> Values { return {b.sub(count(starts, p1, true), one)}; },
        [&]() -> Values { return {first}; })[0];
    Value begin = at(starts.data, first), end = at(starts.data, b.add(last, one));
    Value any = b.land(b.ge(r.j1, begin), b.lt(r.j0, end));
    Value all = b.land(b.land(inside, b.eq(first, last)),
                       b.land(b.ge(r.j0, begin), b.lt(r.j1, end)));
    return toKind(any, all);
  };
  return b.choose(
      b.lt(starts.count, b.i32(2)), [&]() -> Values { return {kind(Empty)}; },
      [&]() -> Values {
        Value begin = at(starts.data, b.i32(0));
        Value end = at(starts.data, b.sub(starts.count, one));
        Value inside = b.land(b.ge(r.p0, begin), b.lt(r.p1, end));
        Value p0 = b.max(r.p0, begin), p1 = b.min(r.p1, b.sub(end, one));
        return b.choose(
            b.le(p0, p1), [&]() -> Values { return {askRows(p0, p1, inside)}; },
            [&]() -> Values { return {kind(Empty)}; });
      })[0];
}

//===----------------------------------------------------------------------===//
// global
//===----------------------------------------------------------------------===//

/// Which of [first, last] are in the set: none, all, or some.
Value HelperBuilder::classifyMembers(const SortedRow &set, Value first, Value last) {
  Value begin = count(set, first, false), end = count(set, last, true), one = b.i32(1);
  Value wanted = b.add(b.sub(last, first), one);
  // An index may be listed twice.
  Value enough = b.ge(b.sub(end, begin), wanted);
  Values counted = b.repeat(
      {b.select(enough, b.add(begin, one), end), one},
      [&](ValueRange state) { return b.lt(state[0], end); },
      [&](ValueRange state) -> Values {
        Value differs = b.ne(at(set.data, state[0]), at(set.data, b.sub(state[0], one)));
        return {b.add(state[0], one), b.add(state[1], b.select(differs, one, b.i32(0)))};
      });
  Value all = b.land(enough, b.eq(counted[1], wanted));
  return toKind(b.lt(begin, end), all);
}

Value HelperBuilder::classifyGlobal(ValueRange arguments) {
  Value index = arguments[0];
  Rectangle r(arguments.take_back(kPairArguments));
  SortedRow all = {rowOf(index, b.i32(0), arguments[1]), sizeOf(index, 3)};
  Value padding = count(all, b.i32(-1), true);
  SortedRow set = {b.element(all.data, padding, sizeof(int32_t)),
                   b.sub(all.count, padding)};
  // Below 0 there are no members.
  Value rows = classifyMembers(set, r.p0, r.p1);
  Value keys = classifyMembers(set, r.j0, r.j1);
  Value full = b.lor(b.eq(rows, kind(Full)), b.eq(keys, kind(Full)));
  Value any = b.lor(b.ne(rows, kind(Empty)), b.ne(keys, kind(Empty)));
  return toKind(any, full);
}

//===----------------------------------------------------------------------===//
// block_mask
//===----------------------------------------------------------------------===//

/// Rows [r0, r1] x keys [c0, c1] inside a block.
Value HelperBuilder::classifyBits(Value bits, Value batch, Value block, Value r0,
                                  Value r1, Value c0, Value c1) {
  Type i8 = b.builder.getI8Type(), i64 = b.builder.getI64Type();
  auto stride = [&](int64_t axis) {
    return b.field(bits, offsetof(sa_view, stride) + kWord * axis, i64);
  };
  Value base =
      b.offset(b.toGlobal(b.pointerField(bits, offsetof(sa_view, data))),
               b.add(b.mul(b.toI64(batch), stride(0)), b.mul(b.toI64(block), stride(1))));
  Value one = b.i32(1), firstByte = b.divU(c0, 8), lastByte = b.divU(c1, 8);
  Value rowBytes = b.add(b.sub(lastByte, firstByte), one);
  Value total = b.mulI32(b.add(b.sub(r1, r0), one), rowBytes);
  Values found = b.repeat(
      {b.i32(0), b.truth(false), b.truth(true)},
      [&](ValueRange state) {
        return b.land(b.lt(state[0], total), b.lnot(isDecided(state[1], state[2])));
      },
      [&](ValueRange state) -> Values {
        Value row = b.add(r0, b.divU(state[0], rowBytes));
        Value byte = b.add(firstByte, b.remU(state[0], rowBytes));
        Value place =
            b.offset(base, b.add(b.mul(b.toI64(row), stride(2)), b.toI64(byte)));
        Value loaded = b.loadAt(i8, place, b.i32(0), 1);
        loaded = arith::ExtUIOp::create(b.builder, b.loc, b.builder.getI32Type(), loaded);
        Value low = b.select(b.eq(byte, firstByte), b.shl(b.i32(0xff), b.remU(c0, 8)),
                             b.i32(0xff));
        Value high =
            b.select(b.eq(byte, lastByte),
                     b.shr(b.i32(0xff), b.sub(b.i32(7), b.remU(c1, 8))), b.i32(0xff));
        Value wanted = b.band(b.band(low, high), b.i32(0xff));
        Value set = b.band(loaded, wanted);
        return {b.add(state[0], one), b.lor(state[1], b.ne(set, b.i32(0))),
                b.land(state[2], b.eq(set, wanted))};
      });
  return toKind(found[1], found[2]);
}

Value HelperBuilder::classifyBlockMask(ValueRange arguments) {
  Value indptr = arguments[0], indices = arguments[1], bits = arguments[2];
  bool hasBits = helper.getAbsent().empty();
  Value blockRows = arguments[3], blockKeys = arguments[4];
  Value batch = arguments[5], head = arguments[6];
  Rectangle r(arguments.take_back(kPairArguments));
  Value begin = rowOf(indptr, batch, head), listed = rowOf(indices, batch, head);
  Value zero = b.i32(0), one = b.i32(1);
  Value lastBlock = b.sub(sizeOf(indptr, 3), b.i32(2));
  Value firstRow = b.divU(b.max(r.p0, zero), blockRows);
  Value lastRow = b.divU(b.max(r.p1, zero), blockRows);
  // Rows outside the lists see nothing.
  Value among = b.land(b.ge(r.p0, zero), b.le(lastRow, lastBlock));
  lastRow = b.select(b.lt(r.p1, zero), b.i32(-1), b.min(lastRow, lastBlock));
  Value firstKey = b.divU(r.j0, blockKeys), lastKey = b.divU(r.j1, blockKeys);
  Value keys = b.add(b.sub(lastKey, firstKey), one);

  auto askBlock = [&](Value row, Value block) {
    Value first = b.mulI32(row, blockRows);
    Value r1 = b.min(b.sub(r.p1, first), b.sub(blockRows, one));
    Value firstOfBlock = b.mulI32(firstKey, blockKeys);
    return classifyBits(bits, batch, block, b.sub(r.p0, first), r1,
                        b.sub(r.j0, firstOfBlock), b.sub(r.j1, firstOfBlock));
  };
  // Bits are read inside one block only; several are a tile to split.
  Value isOneBlock =
      b.land(b.land(b.eq(firstRow, lastRow), b.eq(firstKey, lastKey)), b.ge(r.p0, zero));
  Values found = b.repeat(
      {firstRow, b.truth(false), among},
      [&](ValueRange state) {
        return b.land(b.le(state[0], lastRow), b.lnot(isDecided(state[1], state[2])));
      },
      [&](ValueRange state) -> Values {
        Value row = state[0], start = at(begin, row);
        SortedRow list = {b.element(listed, start, sizeof(int32_t)),
                          b.sub(at(begin, b.add(row, one)), start)};
        Value before = count(list, firstKey, false);
        SortedRow rest = {b.element(list.data, before, sizeof(int32_t)),
                          b.sub(list.count, before)};
        Value hits = count(rest, lastKey, true);
        Value any = b.ne(hits, zero), all = b.eq(hits, keys);
        if (hasBits) {
          Value answer = b.choose(
              b.land(any, isOneBlock),
              [&]() -> Values { return {askBlock(row, b.add(start, before))}; },
              [&]() -> Values { return {b.select(any, kind(Partial), kind(Empty))}; })[0];
          any = b.ne(answer, kind(Empty));
          all = b.eq(answer, kind(Full));
        }
        return {b.add(row, one), b.lor(state[1], any), b.land(state[2], all)};
      });
  return toKind(found[1], found[2]);
}

//===----------------------------------------------------------------------===//
// All of them
//===----------------------------------------------------------------------===//

namespace {
struct Helper {
  StringLiteral name;
  Value (HelperBuilder::*build)(ValueRange arguments);
};
} // namespace

static constexpr Helper kHelpers[] = {
    {"sa_classify_segments", &HelperBuilder::classifySegments},
    {"sa_classify_global", &HelperBuilder::classifyGlobal},
    {"sa_classify_block_mask", &HelperBuilder::classifyBlockMask},
    {"sa_classify_reach", &HelperBuilder::classifyReach},
    {"sa_classify_random_blocks", &HelperBuilder::classifyRandomBlocks}};

static const Helper *findHelper(block_plan::HelperOp op) {
  return llvm::find_if(kHelpers,
                       [&](const Helper &each) { return each.name == op.getCallee(); });
}

bool sparse_attn::isHelperOnGPU(block_plan::HelperOp helper) {
  return findHelper(helper) != std::end(kHelpers);
}

RegionCloner sparse_attn::makeCloner(GPUBuilder &b, const GPUContext &context,
                                     const GPUFrame &frame) {
  RegionCloner cloner(b, context.ids, frame.values, 1);
  cloner.keys = frame.tokens;
  cloner.heads = frame.heads;
  if (!context.plan.getTables().empty())
    cloner.tables = b.pointerField(frame.args, offsetof(sa_gpu_args, tables));
  cloner.answer = [&b](block_plan::HelperOp op, ValueRange arguments) {
    HelperBuilder builder(b, op);
    return (builder.*findHelper(op)->build)(arguments);
  };
  return cloner;
}
