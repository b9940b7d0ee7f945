//===- TileSource.cpp - the key tiles that a block visits -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A mask with a closed form needs no list of tiles: the 32 lanes of a warp ask it about
// 32 rectangles at once, and a ballot makes two words of their answers. First about spans
// of 32 tiles, then about the tiles of a span that may hold a pair:
//
//   spans   . . # # # . . .      one bit for every 32 tiles, 32 spans at a time
//   tiles       . + # # # # ..   may: # or +, must: #
//
// so that a window in a sequence of a million keys is found in some hundred instructions.
//
//===----------------------------------------------------------------------===//

#include "KeyLists.h"
#include "sparse_attn/gpu_abi.h"

using namespace mlir;
using namespace sparse_attn;

Values GPUTile::flatten() const {
  Values values = {number, full};
  for (Value known : {bits, hops})
    if (known)
      values.push_back(known);
  return values;
}
GPUTile GPUTile::restore(ValueRange values) {
  return {values[0], values[1], values.size() > 2 ? values[2] : Value(),
          values.size() > 3 ? values[3] : Value()};
}

TileSource::TileSource(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame)
    : b(b), context(context), frame(frame), listed(!findsTilesOnGPU(context.plan)) {}

TileSource TileSource::ofMask(GPUBuilder &b, const GPUContext &context,
                              const GPUFrame &frame) {
  TileSource source(b, context, frame);
  source.listed = false;
  return source;
}

namespace {
/// The state while tiles are found.
struct Search {
  /// The end of the 32 spans that were asked about, and those of them that are left.
  Value asked, spans;
  Value firstTile, may, must; ///< of one span

  explicit Search(ValueRange state)
      : asked(state[0]), spans(state[1]), firstTile(state[2]), may(state[3]),
        must(state[4]) {}
  Values flatten() const { return {asked, spans, firstTile, may, must}; }
};
} // namespace

Values TileSource::begin() {
  if (context.shape.listed)
    return KeyLists(b, context, frame).begin();
  Value none = b.i32(0);
  if (!listed)
    return {frame.first, none, none, none, none};
  return {frame.first, none};
}

std::pair<GPUTile, Values> TileSource::next(ValueRange state) {
  if (context.shape.listed)
    return KeyLists(b, context, frame).next(state);
  return listed ? nextOfRuns(state) : nextOfMask(state);
}

/// Of the rows of the block and `tiles` key tiles from `firstTile` on. Where the tiles
/// begin in one residue class and end in another, some pair may be kept.
TileClass TileSource::classOf(Value firstTile, int64_t tiles) {
  Value end = b.min(b.add(firstTile, tiles - 1), b.sub(frame.end, b.i32(1)));
  Value exists = b.lt(firstTile, frame.end);
  Value j0 = frame.firstKeyOf(b, context.shape, firstTile);
  Value last = frame.lastKey(b);
  if (frame.hasSteps) // of the residue class, where it has one from j0 on
    last = b.sub(last, b.remU(b.max(b.sub(last, j0), b.i32(0)), frame.step));
  Value lastOfTile = b.mul(b.i32(context.shape.keys - 1), frame.step);
  Value j1 = b.add(frame.firstKeyOf(b, context.shape, end), lastOfTile);
  GPURow row = frame.rowOf(b, b.i32(0));
  GPURow lastRow = frame.rowOf(b, b.i32(context.shape.rows - 1));

  SmallVector<Value> answer =
      makeCloner(b, context, frame)
          .clone(context.plan.getClassify(),
                 {frame.batch, frame.head, row.position, lastRow.position, j0,
                  b.min(j1, last), frame.step});
  Value may = answer[0];
  if (tiles > 1) {
    Value sameClass = b.eq(frame.residueOf(b, firstTile), frame.residueOf(b, end));
    may = b.lor(may, b.lnot(sameClass));
  } else {
    // Residue classes may differ by a tile.
    exists = b.land(exists, b.le(j0, last));
  }
  Value whole = b.le(j1, last);
  return {b.land(exists, may), b.land(b.land(exists, whole), answer[1])};
}

/// Asks about 32 more spans, or about the tiles of the next span.
Values TileSource::refine(ValueRange state) {
  Search search(state);
  Value none = b.i32(0);
  return b.choose(
      b.eq(search.spans, none),
      [&] {
        Value first = b.add(search.asked, b.mul(frame.lane, kWarp));
        Value spans = b.ballot(classOf(first, kWarp).may);
        return Values{b.add(search.asked, kWarp * kWarp), spans, none, none, none};
      },
      [&] {
        Value span = b.trailingZeros(search.spans);
        Value asked = b.sub(search.asked, kWarp * kWarp);
        Value first = b.add(asked, b.mul(span, kWarp));
        TileClass kind = classOf(b.add(first, frame.lane), 1);
        return Values{search.asked, b.clearLowestBit(search.spans), first,
                      b.ballot(kind.may), b.ballot(kind.must)};
      });
}

std::pair<GPUTile, Values> TileSource::nextOfMask(ValueRange state) {
  Value none = b.i32(0);
  Values found = b.repeat(
      state,
      [&](ValueRange values) {
        Search search(values);
        Value more = b.lor(b.ne(search.spans, none), b.lt(search.asked, frame.end));
        return b.land(b.eq(search.may, none), more);
      },
      [&](ValueRange values) { return refine(values); });
  Search search(found);
  Value bit = b.trailingZeros(search.may);
  Value exists = b.ne(search.may, none);
  GPUTile tile;
  tile.number = b.select(exists, b.add(search.firstTile, bit), b.i32(-1));
  Value must = b.band(b.shr(search.must, b.select(exists, bit, none)), b.i32(1));
  tile.full = b.ne(must, none);
  search.may = b.clearLowestBit(search.may);
  return {tile, search.flatten()};
}

/// Of tile `number` among those that have distances.
Value TileSource::firstHopsOf(Value number) {
  Value index = b.toGlobal(b.pointerField(frame.args, offsetof(sa_gpu_args, hop_index)));
  index = b.element(index, frame.hops, sizeof(int32_t));
  auto element = [&](int64_t i) {
    return b.loadAt(b.builder.getI32Type(), index, b.i32(i * sizeof(int32_t)), 4);
  };
  return b.add(element(0), b.mulI32(number, element(1)));
}

/// The state is a run and the number of its tiles that were given.
std::pair<GPUTile, Values> TileSource::nextOfRuns(ValueRange state) {
  Value run = state[0], given = state[1];
  Values found = b.choose(
      b.lt(run, frame.end),
      [&]() -> Values {
        Value runs = b.toGlobal(b.pointerField(frame.args, offsetof(sa_gpu_args, runs)));
        Value pointer = b.element(runs, run, sizeof(sa_run));
        auto field = [&](size_t offset) {
          return b.loadAt(b.builder.getI32Type(), pointer, b.i32(offset), 4);
        };
        Value mask = field(offsetof(sa_run, mask));
        Value after = b.add(given, b.i32(1));
        Value last = b.eq(after, field(offsetof(sa_run, tiles)));
        Values values = {
            b.select(last, b.add(run, b.i32(1)), run), b.select(last, b.i32(0), after),
            b.add(field(offsetof(sa_run, first_tile)), given), mask, b.add(mask, given)};
        if (context.plan.getHopTable())
          values.push_back(firstHopsOf(b.add(field(offsetof(sa_run, hops)), given)));
        return values;
      },
      [&]() -> Values {
        Values values = {run, given};
        values.append(context.plan.getHopTable() ? 4 : 3, b.i32(-1));
        return values;
      });
  Values tile = {found[2], b.eq(found[3], b.i32(SA_RUN_FULL))};
  llvm::append_range(tile, ValueRange(found).drop_front(4));
  return {GPUTile::restore(tile), {found[0], found[1]}};
}
