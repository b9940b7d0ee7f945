//===- ListTiles.cpp - a plan's lists, made where its operands lie --------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block lists the tiles of one query tile. Its warps find the tiles that may hold a
// pair as those of a mask with a closed form are found (TileSource), and its threads
// decide the pairs of those that are not called full, a word of a row at a time:
//
//   keys      0        8        16       24       31
//   asked     |---------- 32, unknown -----------|
//             |-- 16, all -------|
//                                |-- 16, unknown --|
//                                |-- 8, none --|...
//
// A kernel counts first, so that lists take the room that they need and lie in the order
// of the query tiles; then one decides again, and writes. Where a step or a way is to be
// chosen, it has counted some query tiles before that, as their classes say.
//
//===----------------------------------------------------------------------===//

#include "AttendGPU.h"
#include "sparse_attn/gpu_abi.h"

using namespace mlir;
using namespace sparse_attn;

namespace {
/// Where a list is. All threads of a block have the same one.
struct Place {
  Value tiles, bits, bitKeys;    ///< that it has; of the last, see sa_gpu_list
  Value run, first, count, mask; ///< the last run; its number
  Value share;

  Values flatten() const {
    return {tiles, bits, bitKeys, run, first, count, mask, share};
  }
  static Place restore(ValueRange v) {
    return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]};
  }
};

class Lister {
public:
  Lister(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame, bool writes)
      : b(b), context(context), frame(frame), writes(writes),
        unitKeys(context.shape.keys % 32 ? 16 : 32),
        rowUnits(context.shape.keys / unitKeys),
        own(b.element(
            b.toGlobal(b.pointerField(frame.args, offsetof(sa_gpu_args, lists))),
            frame.number, sizeof(sa_gpu_list))) {
    Type i32 = b.builder.getI32Type();
    auto field = [&](size_t offset) { return b.loadAt(i32, own, b.i32(offset), 4); };
    firstRun = field(offsetof(sa_gpu_list, first_run));
    firstBits = field(offsetof(sa_gpu_list, first_bits));
    firstShare = field(offsetof(sa_gpu_list, first_share));
    shares = field(offsetof(sa_gpu_list, shares));
    allTiles = writes ? field(offsetof(sa_gpu_list, tiles)) : Value();
    unitCount = b.mul(frame.bitRows, rowUnits);
    if (!writes)
      byClass = b.ne(b.field(frame.args, offsetof(sa_gpu_args, by_class), i32), b.i32(0));
    isFirst = b.eq(frame.thread, b.i32(0));
  }

  void build();

private:
  Place append(const GPUTile &tile, const Place &place);
  Value countKeys(Value firstKey);
  std::pair<Value, Value> decide(Value tile);
  Value decideUnit(Value position, Value key, Value count);
  TileClass ask(Value position, Value j0, Value j1);
  void copyBits(Value number);
  Place cut(const Place &place);
  void writeRun(const Place &place);
  Value shareAt(Value share);

  GPUBuilder &b;
  const GPUContext &context;
  const GPUFrame &frame;
  bool writes;
  int64_t unitKeys, rowUnits; ///< units are words of bits, of 16 or 32 keys
  Value own;                  ///< sa_gpu_list
  Value firstRun, firstBits, firstShare, shares, allTiles;
  Value unitCount; ///< of a bit tile
  Value byClass;   ///< no pair is decided
  Value isFirst;   ///< of the threads
};
} // namespace

//===----------------------------------------------------------------------===//
// Pairs
//===----------------------------------------------------------------------===//

TileClass Lister::ask(Value position, Value j0, Value j1) {
  SmallVector<Value> answer =
      makeCloner(b, context, frame)
          .clone(context.plan.getClassify(),
                 {frame.batch, frame.head, position, position, j0, j1, frame.step});
  return {answer[0], answer[1]};
}

/// Of a row and `count` keys from `key` on, at most a word of them: asks about all of
/// them, then about half as many where that is not decided, as a single pair is.
Value Lister::decideUnit(Value position, Value key, Value count) {
  Value none = b.i32(0), one = b.i32(1);
  auto keyAt = [&](Value number) { return b.add(key, b.mulI32(number, frame.step)); };
  Values decided = b.repeat(
      {none, count, none}, [&](ValueRange state) { return b.lt(state[0], count); },
      [&](ValueRange state) -> Values {
        Value at = state[0], asked = state[1], word = state[2];
        Value after = b.add(at, asked);
        TileClass kind = ask(position, keyAt(at), keyAt(b.sub(after, one)));
        Value known = b.lor(kind.must, b.lnot(kind.may));
        Value bits = b.shl(b.shr(b.i32(-1), b.sub(b.i32(32), asked)), at);
        Value next = b.select(known, after, at);
        Value more = b.min(b.mul(asked, 2), b.sub(count, next));
        return {next, b.select(known, more, b.max(b.divU(asked, 2), one)),
                b.bor(word, b.select(kind.must, bits, none))};
      });
  return decided[2];
}

/// Keys of the batch entry from the first one of a tile on: those of the tile, or more.
Value Lister::countKeys(Value firstKey) {
  Value left = b.sub(frame.lastKey(b), firstKey);
  if (frame.hasSteps)
    left = b.divU(left, frame.step);
  return b.add(left, b.i32(1));
}

/// Decides all pairs of a tile, and leaves their bits in shared memory, each where the
/// same thread finds it again. Returns whether some pair is kept, and whether all are:
/// those with keys past the last one are not.
std::pair<Value, Value> Lister::decide(Value tile) {
  Value none = b.i32(0);
  Value firstKey = frame.firstKeyOf(b, context.shape, tile);
  Value existing = countKeys(firstKey);
  Value whole = b.i32(unitKeys == 32 ? -1 : 0xffff);
  Values found = b.repeat(
      {frame.thread, b.truth(false), b.truth(false)},
      [&](ValueRange state) { return b.lt(state[0], unitCount); },
      [&](ValueRange state) -> Values {
        Value unit = state[0], row = b.divU(unit, rowUnits);
        Value at = b.mul(b.remU(unit, rowUnits), unitKeys);
        Value isRow = b.lt(row, frame.rowCount);
        Value count = b.max(b.min(b.sub(existing, at), b.i32(unitKeys)), none);
        Value word = b.choose(
            isRow,
            [&]() -> Values {
              Value key = b.add(firstKey, b.mulI32(at, frame.step));
              return {decideUnit(frame.rowOf(b, row).position, key, count)};
            },
            [&]() -> Values { return {none}; })[0];
        Value stored = word;
        if (unitKeys == 16)
          stored =
              arith::TruncIOp::create(b.builder, b.loc, b.builder.getI16Type(), word);
        b.storeAt(stored, frame.shared, b.mul(unit, unitKeys / 8), unitKeys / 8);
        return {b.add(unit, b.i32(kListThreads)), b.lor(state[1], b.ne(word, none)),
                b.lor(state[2], b.land(isRow, b.ne(word, whole)))};
      });
  Value any = b.anyInBlock(found[1]);
  return {any, b.lnot(b.anyInBlock(found[2]))};
}

/// Makes what decide() left bit tile `number`.
void Lister::copyBits(Value number) {
  Value base = b.toGlobal(b.pointerField(frame.args, offsetof(sa_gpu_args, bits)));
  int64_t bytes = unitKeys / 8;
  Value tile = b.offset(base, b.mul(b.toI64(number), b.toI64(b.mul(unitCount, bytes))));
  Type word = b.builder.getIntegerType(unitKeys);
  b.repeat(
      {frame.thread}, [&](ValueRange state) { return b.lt(state[0], unitCount); },
      [&](ValueRange state) -> Values {
        Value at = b.mul(state[0], bytes);
        b.storeAt(b.loadAt(word, frame.shared, at, bytes), tile, at, bytes);
        return {b.add(state[0], b.i32(kListThreads))};
      });
}

//===----------------------------------------------------------------------===//
// Lists
//===----------------------------------------------------------------------===//

Value Lister::shareAt(Value share) {
  Value base = b.toGlobal(b.pointerField(frame.args, offsetof(sa_gpu_args, shares)));
  return b.element(base, b.add(firstShare, share), sizeof(sa_gpu_share));
}

/// The place with a new share before the next tile, where one begins there.
Place Lister::cut(const Place &place) {
  Value next = b.add(place.share, b.i32(1));
  Value begin = arith::DivUIOp::create(
      b.builder, b.loc, b.mul(b.toI64(allTiles), b.toI64(next)), b.toI64(shares));
  Value begins = b.land(b.lt(next, shares), b.eq(b.toI64(place.tiles), begin));
  b.branch(b.land(isFirst, begins), [&] {
    Value run = b.add(place.run, b.i32(1));
    b.storeAt(run, shareAt(place.share), b.i32(offsetof(sa_gpu_share, end)), 4);
    b.storeAt(run, shareAt(next), b.i32(offsetof(sa_gpu_share, first)), 4);
  });
  Place after = place;
  after.share = b.select(begins, next, place.share);
  after.count = b.select(begins, b.i32(0), place.count); // nothing joins the last run
  return after;
}

void Lister::writeRun(const Place &place) {
  b.branch(isFirst, [&] {
    Value base = b.toGlobal(b.pointerField(frame.args, offsetof(sa_gpu_args, runs)));
    Value run = b.element(base, place.run, sizeof(sa_run));
    auto store = [&](size_t offset, Value value) {
      b.storeAt(value, run, b.i32(offset), 4);
    };
    store(offsetof(sa_run, first_tile), place.first);
    store(offsetof(sa_run, tiles), place.count);
    store(offsetof(sa_run, mask), place.mask);
    store(offsetof(sa_run, hops), b.i32(-1));
  });
}

/// Appends a tile as runtime/src/list.c does.
Place Lister::append(const GPUTile &tile, const Place &before) {
  Place place = writes ? cut(before) : before;
  Value none = b.i32(0), one = b.i32(1);
  Value bits = b.add(firstBits, place.bits);
  Value mask = b.select(tile.full, b.i32(SA_RUN_FULL), bits);
  Value follows =
      b.land(b.ne(place.count, none), b.eq(b.add(place.first, place.count), tile.number));
  Value sameKind = b.eq(
      b.select(b.lt(place.mask, none), place.mask, b.add(place.mask, place.count)), mask);
  Value joins = b.land(follows, sameKind);
  Place after;
  after.tiles = b.add(place.tiles, one);
  after.bits = b.add(place.bits, b.select(tile.full, none, one));
  after.bitKeys = place.bitKeys;
  if (!writes) {
    Value keys = countKeys(frame.firstKeyOf(b, context.shape, tile.number));
    Value groups =
        b.divU(b.add(b.min(keys, b.i32(context.shape.keys)), b.i32(SA_KEY_GROUP - 1)),
               SA_KEY_GROUP);
    after.bitKeys =
        b.add(place.bitKeys, b.select(tile.full, none, b.mul(groups, SA_KEY_GROUP)));
  }
  after.run = b.select(joins, place.run, b.add(place.run, one));
  after.first = b.select(joins, place.first, tile.number);
  after.count = b.select(joins, b.add(place.count, one), one);
  after.mask = b.select(joins, place.mask, mask);
  after.share = place.share;
  if (writes) {
    writeRun(after);
    b.branch(b.lnot(tile.full), [&] { copyBits(bits); });
  }
  return after;
}

void Lister::build() {
  TileSource source = TileSource::ofMask(b, context, frame);
  Value none = b.i32(0);
  Place start = {none, none, none, b.sub(firstRun, b.i32(1)), none, none, none, none};
  auto [first, search] = source.next(source.begin());
  Values init = first.flatten();
  size_t tileSize = init.size(), searchSize = search.size();
  llvm::append_range(init, search);
  llvm::append_range(init, start.flatten());
  Values last = b.repeat(
      init, [&](ValueRange values) { return b.ge(values[0], none); },
      [&](ValueRange values) {
        GPUTile tile = GPUTile::restore(values.take_front(tileSize));
        Place place = Place::restore(values.drop_front(tileSize + searchSize));
        Values known = b.choose(
            writes ? tile.full : b.lor(tile.full, byClass),
            [&]() -> Values { return {b.truth(true), tile.full}; },
            [&]() -> Values {
              auto [any, all] = decide(tile.number);
              return {any, all};
            });
        tile.full = known[1];
        Values result = b.choose(
            known[0], [&] { return append(tile, place).flatten(); },
            [&] { return place.flatten(); });
        auto [next, search] = source.next(values.slice(tileSize, searchSize));
        Values all = next.flatten();
        llvm::append_range(all, search);
        llvm::append_range(all, result);
        return all;
      });
  Place end = Place::restore(ValueRange(last).drop_front(tileSize + searchSize));
  b.branch(isFirst, [&] {
    Value runs = b.add(end.run, b.i32(1));
    // Cuts have made more of them than were counted.
    b.storeAt(b.sub(runs, firstRun), own, b.i32(offsetof(sa_gpu_list, runs)), 4);
    if (writes) {
      b.storeAt(firstRun, shareAt(none), b.i32(offsetof(sa_gpu_share, first)), 4);
      b.storeAt(runs, shareAt(end.share), b.i32(offsetof(sa_gpu_share, end)), 4);
      return;
    }
    b.storeAt(end.tiles, own, b.i32(offsetof(sa_gpu_list, tiles)), 4);
    b.storeAt(end.bits, own, b.i32(offsetof(sa_gpu_list, bits)), 4);
    b.storeAt(end.bitKeys, own, b.i32(offsetof(sa_gpu_list, bit_keys)), 4);
  });
}

void sparse_attn::buildCountTiles(GPUBuilder &b, const GPUContext &context,
                                  const GPUFrame &frame) {
  Lister(b, context, frame, /*writes=*/false).build();
}

void sparse_attn::buildListTiles(GPUBuilder &b, const GPUContext &context,
                                 const GPUFrame &frame) {
  Lister(b, context, frame, /*writes=*/true).build();
}
