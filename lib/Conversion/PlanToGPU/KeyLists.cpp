//===- KeyLists.cpp - keys that an operand lists, as tiles ----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block has elements [begin, end) of the lists that its rows share. It takes a few
// hundred at a time and makes a list of keys of them, without a sort, and in the same
// order whatever threads do first:
//
//   operand   7 -1 3 7 | 9 3 5 ..       elements, in pieces
//   table     7: 0  3: 2                the first element that names a key of the piece
//   kept      1  0 1 0                  elements that are their key's first, and whose
//   list      7 3                       key some row keeps
//
// Elements before the piece count among the first ones, so that a key is visited once
// whatever part of the list names it again. Of several lists the table has a column each,
// which tells of each key what names it. Two lists of keys take turns: when the next one
// is made, scores of the last tile of this one still wait for their mask.
//
//===----------------------------------------------------------------------===//

#include "KeyLists.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sparse_attn;

static constexpr int64_t kWord = 4; // bytes
// The fewest tiles that a part of a list has: its state is written and read again.
static constexpr int64_t kLeastTiles = 4;

Value KeyLists::shared(int64_t at, Value number) {
  return b.offset(frame.shared, b.add(b.mul(number, kWord), at));
}

Value KeyLists::wordAt(int64_t at, Value number) {
  return b.loadAt(b.builder.getI32Type(), shared(at, number), b.i32(0), kWord);
}

Value KeyLists::keyAt(Value place) { return wordAt(context.shape.listsAt, place); }
Value KeyLists::biasAt(Value place) {
  return b.loadAt(b.builder.getF32Type(), shared(context.shape.biasesAt, place), b.i32(0),
                  kWord);
}

//===----------------------------------------------------------------------===//
// The keys of a piece
//===----------------------------------------------------------------------===//

/// A hash table in shared memory, half full at most: the keys of a piece, and of each
/// list the number of its first element that names the key, or -1.
struct KeyLists::Table {
  Table(KeyLists &lists)
      : lists(lists), b(lists.b), shape(lists.context.shape), at(shape.tableAt) {}

  void clear() {
    b.loop(b.toIndex(lists.frame.thread), b.index(shape.tableWords()), shape.threads,
           [&](Value index) {
             b.storeAt(b.i32(-1), lists.shared(at, b.toI32(index)), b.i32(0), kWord);
           });
  }
  Value insert(Value key) {
    return probe(key, [&](Value slot) {
      return b.exchangeAtomic(keyOf(slot), b.i32(-1), key);
    })[0];
  }
  /// The key's slot, and what that holds: the key, or -1.
  Values find(Value key) {
    return probe(key, [&](Value slot) { return lists.wordAt(at, slot); });
  }
  void mention(Value slot, Value number, const Element &element) {
    Value column = b.mul(b.add(element.list, b.i32(1)), shape.slots());
    b.minAtomic(lists.shared(at, b.add(column, slot)), number);
  }
  Value getFirst(Value slot, size_t list) {
    return lists.wordAt(at + (1 + list) * shape.slots() * kWord, slot);
  }
  /// Of all lists that bound the mask.
  Value getFirst(Value slot) {
    Value first = getFirst(slot, 0);
    for (int64_t list = 1; list < shape.lists.bounding; ++list)
      first = arith::MinUIOp::create(b.builder, b.loc, first, getFirst(slot, list));
    return first;
  }
  /// A bit for each list that names the key; null where there is one.
  Value getMembers(Value slot) {
    if (!shape.severalLists())
      return Value();
    Value members = b.i32(0);
    for (size_t list = 0; list < shape.lists.masks.size(); ++list) {
      Value names = b.ne(getFirst(slot, list), b.i32(-1));
      Value bit = b.i32(static_cast<int32_t>(1u << list));
      members = b.bor(members, b.select(names, bit, b.i32(0)));
    }
    return members;
  }

private:
  Value keyOf(Value slot) { return lists.shared(at, slot); }
  /// From the key's hash on: the slot in which `look` finds the key or nothing.
  Values probe(Value key, function_ref<Value(Value slot)> look) {
    constexpr int32_t kGolden = static_cast<int32_t>(0x9e3779b1); // 2^32 / 1.618
    int64_t bits = llvm::Log2_64(shape.slots());
    Value slot = b.shr(b.mul(key, kGolden), b.i32(32 - bits));
    return b.repeat(
        {slot, look(slot)},
        [&](ValueRange values) {
          return b.land(b.ne(values[1], b.i32(-1)), b.ne(values[1], key));
        },
        [&](ValueRange values) {
          Value next = b.band(b.add(values[0], 1), b.i32(shape.slots() - 1));
          return Values{next, look(next)};
        });
  }

  KeyLists &lists;
  GPUBuilder &b;
  const GPUShape &shape;
  int64_t at;
};

/// The frame for questions that search operands: found anew, so that what these need does
/// not wait in registers beside O.
GPUFrame KeyLists::getAskedFrame() const {
  return context.shape.decided ? frame.again(b, context) : frame;
}

/// Leaves a bit for each element of the piece that becomes a key of the list.
void KeyLists::markKept(Table &table, Value first, Value end) {
  const GPUShape &shape = context.shape;
  const GPUFrame asked = getAskedFrame();
  KeyLists lists(b, context, asked);
  Value no = b.truth(false);
  // All lanes of a warp are there to vote.
  b.loop(
      b.toIndex(b.mul(frame.warp, kWarp)), b.index(shape.listed), shape.threads,
      [&](Value index) {
        Value inPiece = b.toI32(index), number = b.add(b.add(first, inPiece), frame.lane);
        Values kept = b.choose(
            b.lt(number, end),
            [&] {
              Element element = load(number);
              return b.choose(
                  element.counts,
                  [&] {
                    Value slot = table.find(element.key)[0];
                    Value isFirst = b.eq(table.getFirst(slot), number);
                    Value p0 = asked.rowOf(b, b.i32(0)).position;
                    Value p1 = asked.rowOf(b, b.i32(shape.rows - 1)).position;
                    Value members = table.getMembers(slot);
                    TileClass kind =
                        lists.classOf(asked.head, p0, p1, element.key, members);
                    return Values{b.land(isFirst, kind.may)};
                  },
                  [&] { return Values{no}; });
            },
            [&] { return Values{no}; });
        Value word = b.ballot(kept[0]);
        b.branch(b.eq(frame.lane, b.i32(0)), [&] {
          b.storeAt(word, shared(shape.keptAt, b.divU(inPiece, kWarp)), b.i32(0), kWord);
        });
      });
}

/// With which the rows, all of one position, keep an element's key.
Value KeyLists::probabilityOf(Table &table, const Element &element, Value slot,
                              Value members) {
  const MaskLists &lists = context.shape.lists;
  if (!members)
    return element.probability;
  Values ofLists;
  for (auto [number, mask] : llvm::enumerate(lists.masks)) {
    Value first = table.getFirst(slot, number), none = b.f32(0);
    ofLists.push_back(b.choose(
        b.ne(first, b.i32(-1)),
        [&]() -> Values {
          return {loadOf(number, b.sub(first, beginOf(number))).probability};
        },
        [&]() -> Values { return {none}; })[0]);
  }
  Value position = frame.rowOf(b, b.i32(0)).position;
  // A product may be too small for f32.
  constexpr double kLeast = 0x1p-126;
  return b.maxF(probabilityOf(position, element.key, members, ofLists), b.f32(kLeast));
}

/// Writes the list and its padding, and returns the number of keys.
Value KeyLists::writeList(Table &table, Value first, Value at) {
  const GPUShape &shape = context.shape;
  auto write = [&](Value place, Value key, Value bias, Value members) {
    b.storeAt(key, shared(shape.listsAt, place), b.i32(0), kWord);
    if (bias)
      b.storeAt(bias, shared(shape.biasesAt, place), b.i32(0), kWord);
    if (members)
      b.storeAt(members, shared(shape.membersAt, place), b.i32(0), kWord);
  };
  Value below = b.sub(b.shl(b.i32(1), frame.lane), b.i32(1)); // bits of lower lanes
  Values count = b.loop(
      b.index(0), b.index(shape.listed / kWarp), 1, {b.i32(0)},
      [&](Value index, ValueRange before) {
        Value number = b.toI32(index);
        Value word = wordAt(shape.keptAt, number);
        Value bit = b.band(b.shr(word, frame.lane), b.i32(1));
        Value isOwn = b.eq(b.remU(number, shape.warps), frame.warp);
        b.branch(b.land(isOwn, b.ne(bit, b.i32(0))), [&] {
          Element element = load(b.add(b.add(first, b.mul(number, kWarp)), frame.lane));
          Value slot, members, bias;
          if (shape.severalLists()) {
            slot = table.find(element.key)[0];
            members = table.getMembers(slot);
          }
          if (shape.weighted)
            bias = arith::NegFOp::create(
                b.builder, b.loc, b.log2(probabilityOf(table, element, slot, members)));
          Value place = b.add(before[0], b.countBits(b.band(word, below)));
          write(b.add(at, place), element.key, bias, members);
        });
        return Values{b.add(before[0], b.countBits(word))};
      });
  Value end = b.add(at, count[0]);
  b.loop(b.toIndex(frame.thread), b.index(shape.keys), shape.threads, [&](Value index) {
    write(b.add(end, b.toI32(index)), b.i32(-1), shape.weighted ? b.f32(0) : Value(),
          shape.severalLists() ? b.i32(0) : Value());
  });
  return count[0];
}

/// Makes a list of the piece [first, end) at a place; returns its number of keys. All
/// threads of the block come here, behind a barrier after which nothing reads what the
/// place held.
Value KeyLists::makeList(Value first, Value end, Value at) {
  Table table(*this);
  table.clear();
  b.barrier();
  forEach(first, end, [&](Value number, const Element &element) {
    table.mention(table.insert(element.key), number, element);
  });
  b.barrier();
  auto mention = [&](Value number, const Element &element) {
    Values found = table.find(element.key);
    b.branch(b.eq(found[1], element.key),
             [&] { table.mention(found[0], number, element); });
  };
  forEach(b.i32(0), first, mention);
  // What other lists name there matters too.
  if (context.shape.severalLists())
    forEach(end, beginOf(context.shape.lists.masks.size()), mention);
  b.barrier();
  markKept(table, first, end);
  b.barrier();
  Value count = writeList(table, first, at);
  b.barrier();
  return count;
}

//===----------------------------------------------------------------------===//
// Pairs
//===----------------------------------------------------------------------===//

Value KeyLists::bitsOf(Value number, const GPURow &row) {
  int64_t words = context.shape.pairWords();
  Value index = b.add(b.mul(number, context.shape.rows), row.query);
  return shared(context.shape.pairsAt, b.mul(index, words));
}

/// Decides the pairs of the tile at a place of the list, a word of a row at a time: bit
/// tile `number`. A barrier comes before these are read.
void KeyLists::decidePairs(Value place, Value number) {
  const GPUShape &shape = context.shape;
  const GPUFrame asked = getAskedFrame();
  KeyLists lists(b, context, asked);
  int64_t words = shape.pairWords();
  Value queries = b.divU(asked.rowCount, asked.stack), last = b.i32(shape.keys - 1);
  b.loop(
      b.toIndex(asked.warp), b.toIndex(b.mul(queries, words)), shape.warps,
      [&](Value index) {
        Value unit = b.toI32(index), query = b.divU(unit, words);
        Value first = b.mul(b.remU(unit, words), kWarp);
        Value own = b.add(place, b.min(b.add(first, asked.lane), last));
        Value key = keyAt(own), members;
        if (shape.severalLists())
          members = wordAt(shape.membersAt, own);
        GPURow row = asked.rowOf(b, b.mulI32(query, asked.stack));
        Values kept = b.choose(
            b.ge(key, b.i32(0)),
            [&]() -> Values {
              return {
                  lists.classOf(row.head, row.position, row.position, key, members).must};
            },
            [&]() -> Values { return {b.truth(false)}; });
        Value word = b.ballot(kept[0]);
        b.branch(b.eq(asked.lane, b.i32(0)), [&] {
          Value at = b.mul(b.divU(first, kWarp), kWord);
          b.storeAt(word, b.offset(bitsOf(number, row), at), b.i32(0), kWord);
        });
      });
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

namespace {
/// Where a block is in its part of the list.
struct Reading {
  Value next, end;        ///< elements that no list has been made of
  Value place, placesEnd; ///< keys of the list in shared memory that no tile had
  Value list;             ///< where that begins
  Value bits;             ///< number of the last bit tile; null where there are none

  explicit Reading(ValueRange state)
      : next(state[0]), end(state[1]), place(state[2]), placesEnd(state[3]),
        list(state[4]), bits(state.size() > 5 ? state[5] : Value()) {}
  Values flatten() const {
    Values values = {next, end, place, placesEnd, list};
    if (bits)
      values.push_back(bits);
    return values;
  }
};
} // namespace

/// An item has part `first` of `end` of the lists that bound the mask.
Values KeyLists::begin() {
  Value length = beginOf(context.shape.lists.bounding);
  auto divideUp = [&](Value x, Value divisor) {
    return b.divU(b.sub(b.add(x, divisor), b.i32(1)), divisor);
  };
  Value keys = b.i32(context.shape.keys);
  Value elements = b.mul(divideUp(divideUp(length, frame.end), keys), context.shape.keys);
  elements = b.max(elements, b.i32(kLeastTiles * context.shape.keys));
  Value begin = b.min(b.mulI32(elements, frame.first), length);
  Value none = b.i32(0);
  Values state = {begin, b.min(b.add(begin, elements), length), none, none, none};
  if (context.shape.decided)
    state.push_back(none);
  return state;
}

std::pair<GPUTile, Values> KeyLists::next(ValueRange state) {
  const GPUShape &shape = context.shape;
  Values found = b.repeat(
      state,
      [&](ValueRange values) {
        Reading at(values);
        return b.land(b.ge(at.place, at.placesEnd), b.lt(at.next, at.end));
      },
      [&](ValueRange values) {
        Reading at(values);
        Value end = b.min(b.add(at.next, shape.listed), at.end);
        Value other = b.sub(b.i32(shape.listSize()), at.list);
        Value count = makeList(at.next, end, other);
        // Of a list without keys the place is free again.
        at.list = b.select(b.eq(count, b.i32(0)), at.list, other);
        at.next = end, at.place = other, at.placesEnd = b.add(other, count);
        return at.flatten();
      });
  Reading at(found);
  Value after = b.add(at.place, shape.keys), exists = b.lt(at.place, at.placesEnd);
  GPUTile tile;
  tile.number = b.select(exists, at.place, b.i32(-1));
  tile.full = b.le(after, at.placesEnd);
  // The keys of a list are those of its only query row; more rows may differ in them.
  if (!context.plan.getKnown().empty())
    tile.full = b.land(tile.full, b.le(frame.rowCount, frame.stack));
  if (shape.decided) {
    // Two take turns, as lists do.
    at.bits = tile.bits = b.sub(b.i32(1), at.bits);
    b.branch(b.land(exists, b.lnot(tile.full)),
             [&] { decidePairs(at.place, tile.bits); });
  }
  at.place = after;
  return {tile, at.flatten()};
}
