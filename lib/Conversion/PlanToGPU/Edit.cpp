//===- Edit.cpp - mask and modifiers of a tile's scores -------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KeyLists.h"
#include "sparse_attn/gpu_abi.h"

using namespace mlir;
using namespace sparse_attn;

namespace {
/// Edits the scores of one thread.
class Editor {
public:
  Editor(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
         const GPUTile &tile, const KeyRange &keys, bool full)
      : b(b), context(context), frame(frame), plan(context.plan), tile(tile), keys(keys),
        full(full), cloner(makeCloner(b, context, frame)), lists(b, context, frame),
        last(frame.lastKey(b)) {
    if (context.shape.listed)
      firstPlace = b.add(tile.number, keys.first);
    else
      firstKey = b.add(frame.firstKeyOf(b, context.shape, tile.number),
                       b.mul(keys.first, frame.step));
  }

  /// All scores; `kept` are what buildKept returns, or none.
  Fragments edit(const Fragments &scores, ArrayRef<Value> kept);
  Values getKept();
  /// One score, of key `number` of the tile.
  Value editPair(const GPURow &row, Value number, Value score);

private:
  Value modify(const GPURow &row, Value score, Value key, Value distance);
  Value getDistances(const GPURow &row);
  Value toDistance(Value element);
  std::array<Value, 2> loadDistances(Value row, int64_t fragment);
  Value getBits(const GPURow &row);
  SmallVector<Value> loadBits(const GPURow &row);
  Value getPlace(int64_t fragment, int64_t column);
  Value getKey(int64_t fragment, int64_t column);
  Value existing(Value key);
  Value isKept(const GPURow &row, Value key);
  Value isSet(int64_t fragment, int64_t column, ArrayRef<Value> words);

  GPUBuilder &b;
  const GPUContext &context;
  const GPUFrame &frame;
  block_plan::AttentionOp plan;
  const GPUTile &tile;
  const KeyRange &keys;
  bool full;
  RegionCloner cloner;
  KeyLists lists;
  Value last, firstKey;
  Value firstPlace; ///< of listed keys, in shared memory
};
} // namespace

Value Editor::modify(const GPURow &row, Value score, Value key, Value distance) {
  if (plan.getModify().empty())
    return score;
  score = b.mulF(score, b.f32(context.getScale()));
  return cloner.clone(plan.getModify(),
                      {score, distance ? distance : b.f32(0), frame.batch, row.head,
                       row.index, row.position, key})[0];
}

/// Pointer to the row's distances of the keys of the tile; null where there are none.
Value Editor::getDistances(const GPURow &row) {
  if (!tile.hops)
    return Value();
  Type i32 = b.builder.getI32Type();
  constexpr int64_t kNumbers = 2; // elements before those of the rows
  Value index = b.toGlobal(b.pointerField(frame.args, offsetof(sa_gpu_args, hop_index)));
  Value element = b.add(b.add(frame.hops, b.i32(kNumbers)), row.query);
  Value own = b.loadAt(i32, b.element(index, element, sizeof(int32_t)), b.i32(0), 4);
  Value hops = b.toGlobal(b.pointerField(frame.args, offsetof(sa_gpu_args, hops)));
  hops = b.element(hops, b.add(tile.hops, own), context.shape.keys * sizeof(uint16_t));
  return b.element(hops, keys.first, sizeof(uint16_t));
}

/// As f32, inf where there is no path.
Value Editor::toDistance(Value element) {
  Value number =
      arith::UIToFPOp::create(b.builder, b.loc, b.builder.getF32Type(), element);
  return b.select(b.eq(element, b.i32(0xffff)), b.f32(kInfinity), number);
}

/// Of the two columns that the lane has of a fragment.
std::array<Value, 2> Editor::loadDistances(Value row, int64_t fragment) {
  if (!row)
    return {};
  Value first = b.element(row, b.mul(frame.member, 2), sizeof(uint16_t));
  Value word =
      b.loadAt(b.builder.getI32Type(), first, b.i32(8 * fragment * sizeof(uint16_t)), 4);
  return {toDistance(b.band(word, b.i32(0xffff))), toDistance(b.shr(word, b.i32(16)))};
}

/// Of what a thread loads at once of a row of bits.
static int64_t wordBytesOf(const GPUShape &shape, const KeyRange &keys) {
  int64_t bytes = shape.keys / 8 | keys.count / 8;
  return std::min<int64_t>(bytes & -bytes, 4);
}

/// Pointer to the bits of the row's pairs.
Value Editor::getBits(const GPURow &row) {
  if (firstPlace)
    return lists.bitsOf(tile.bits, row);
  int64_t rowBytes = context.shape.keys / 8;
  Value base = b.toGlobal(b.pointerField(frame.args, offsetof(sa_gpu_args, bits)));
  Value tileBytes = b.toI64(b.mul(frame.bitRows, rowBytes));
  Value bits = b.offset(base, b.mul(b.toI64(tile.bits), tileBytes));
  return b.element(bits, row.query, rowBytes);
}

SmallVector<Value> Editor::loadBits(const GPURow &row) {
  Value bytes = b.offset(getBits(row), b.divU(keys.first, 8));
  int64_t wordBytes = wordBytesOf(context.shape, keys);
  SmallVector<Value> words;
  for (int64_t byte = 0; byte < keys.count / 8; byte += wordBytes) {
    Value word =
        b.loadAt(b.builder.getIntegerType(8 * wordBytes), bytes, b.i32(byte), wordBytes);
    if (wordBytes < 4)
      word = arith::ExtUIOp::create(b.builder, b.loc, b.builder.getI32Type(), word);
    // The lane's first column of a fragment is its lowest bit.
    words.push_back(b.shr(word, b.mul(frame.member, 2)));
  }
  return words;
}

/// Of column `column` of the pair of columns that the lane has of a fragment: the place
/// in the tile, or in the list.
Value Editor::getPlace(int64_t fragment, int64_t column) {
  Value inTile = b.add(b.mul(frame.member, 2), b.i32(8 * fragment + column));
  return firstPlace ? b.add(firstPlace, inTile) : inTile;
}

Value Editor::getKey(int64_t fragment, int64_t column) {
  Value place = getPlace(fragment, column);
  return firstPlace ? lists.keyAt(place) : b.add(firstKey, b.mul(place, frame.step));
}

/// Some key that exists where this one does not.
Value Editor::existing(Value key) {
  return firstPlace ? b.max(key, b.i32(0)) : b.min(key, last);
}

Value Editor::isKept(const GPURow &row, Value key) {
  if (firstPlace) {
    Value exists = b.ge(key, b.i32(0));
    TileClass kind = lists.classOf(row.head, row.position, row.position, key);
    return b.land(exists, kind.must);
  }
  Value keep = cloner.clone(plan.getPredicate(),
                            {frame.batch, row.head, row.position, existing(key)})[0];
  return b.land(keep, b.le(key, last));
}

static constexpr int64_t kWordBits = 32;
/// A word with the bit of score `number` of a thread.
static Value getBit(GPUBuilder &b, size_t number) {
  return b.i32(static_cast<int32_t>(1u << number % kWordBits));
}

Values Editor::getKept() {
  Values words;
  for (int64_t tile = 0; tile < context.shape.rowTiles; ++tile) {
    GPURow rows[2];
    for (int64_t half = 0; half < 2; ++half)
      rows[half] = frame.fragmentRow(b, context.shape, tile, half);
    for (int64_t i = 0; i < context.shape.keys / 2; ++i) {
      Value kept = isKept(rows[i / 2 % 2], getKey(i / 4, i % 2));
      Value bit = b.select(kept, getBit(b, i), b.i32(0));
      if (i % kWordBits == 0)
        words.push_back(bit);
      else
        words.back() = b.bor(words.back(), bit);
    }
  }
  return words;
}

/// Of the words of a row of bits.
Value Editor::isSet(int64_t fragment, int64_t column, ArrayRef<Value> words) {
  int64_t first = 8 * fragment + column, bits = 8 * wordBytesOf(context.shape, keys);
  Value bit = b.i32(static_cast<int32_t>(1u << first % bits));
  return b.ne(b.band(words[first / bits], bit), b.i32(0));
}

Fragments Editor::edit(const Fragments &scores, ArrayRef<Value> kept) {
  Fragments edited = scores;
  for (auto [number, values] : llvm::enumerate(edited))
    for (int64_t half = 0; half < 2; ++half) {
      GPURow row = frame.fragmentRow(b, context.shape, number, half);
      SmallVector<Value> words;
      if (!full && tile.bits)
        words = loadBits(row);
      Value distances = getDistances(row);
      for (size_t i = 2 * half; i < values.size(); i += 4) {
        std::array<Value, 2> hops = loadDistances(distances, i / 4);
        for (int64_t column = 0; column < 2; ++column) {
          int64_t fragment = i / 4;
          Value key = getKey(fragment, column);
          Value &score = values[i + column];
          score = modify(row, score, full ? key : existing(key), hops[column]);
          if (context.shape.weighted)
            score = b.fma(score, b.f32(context.getScoreFactor()),
                          lists.biasAt(getPlace(fragment, column)));
          if (full)
            continue;
          Value keep;
          if (!kept.empty()) {
            size_t place = number * values.size() + i + column;
            Value bit = b.band(kept[place / kWordBits], getBit(b, place));
            keep = b.ne(bit, b.i32(0));
          } else {
            keep = words.empty() ? isKept(row, key) : isSet(fragment, column, words);
          }
          score = b.select(keep, score, b.f32(-kInfinity));
        }
      }
    }
  return edited;
}

Value Editor::editPair(const GPURow &row, Value number, Value score) {
  assert(!firstPlace && "warps alone cannot follow a list");
  Value key = b.add(firstKey, b.mul(number, frame.step));
  Value distance;
  if (Value distances = getDistances(row)) {
    Value element = b.loadAt(b.builder.getI16Type(),
                             b.element(distances, number, sizeof(uint16_t)), b.i32(0), 2);
    distance = toDistance(
        arith::ExtUIOp::create(b.builder, b.loc, b.builder.getI32Type(), element));
  }
  score = modify(row, score, existing(key), distance);
  if (full)
    return score;
  Value keep;
  if (tile.bits) {
    Value byte = b.loadAt(b.builder.getI8Type(), getBits(row), b.divU(number, 8), 1);
    byte = arith::ExtUIOp::create(b.builder, b.loc, b.builder.getI32Type(), byte);
    keep = b.ne(b.band(b.shr(byte, b.remU(number, 8)), b.i32(1)), b.i32(0));
  } else {
    keep = isKept(row, key);
  }
  return b.select(keep, score, b.f32(-kInfinity));
}

Values sparse_attn::buildKept(GPUBuilder &b, const GPUContext &context,
                              const GPUFrame &frame, const GPUTile &tile) {
  KeyRange keys = KeyRange::all(b, context.shape);
  return Editor(b, context, frame, tile, keys, /*full=*/false).getKept();
}

void sparse_attn::buildEdit(GPUBuilder &b, const GPUContext &context,
                            const GPUFrame &frame, const GPUTile &tile, bool full,
                            Fragments &scores, ArrayRef<Value> kept) {
  KeyRange keys = KeyRange::all(b, context.shape);
  scores = Editor(b, context, frame, tile, keys, full).edit(scores, kept);
}

void sparse_attn::buildEdit(GPUBuilder &b, const GPUContext &context,
                            const GPUFrame &frame, const GPUTile &tile,
                            const KeyRange &keys, Fragments &scores) {
  auto edit = [&](bool full) {
    Fragments edited = Editor(b, context, frame, tile, keys, full).edit(scores, {});
    Values flat;
    for (const Values &row : edited)
      llvm::append_range(flat, row);
    return flat;
  };
  Values flat =
      b.choose(tile.full, [&] { return edit(true); }, [&] { return edit(false); });
  size_t at = 0;
  for (Values &row : scores)
    for (Value &score : row)
      score = flat[at++];
}

Value sparse_attn::buildEditPair(GPUBuilder &b, const GPUContext &context,
                                 const GPUFrame &frame, const GPUTile &tile,
                                 const GPURow &row, Value number, Value score) {
  KeyRange keys = KeyRange::all(b, context.shape);
  auto edit = [&](bool full) {
    Editor editor(b, context, frame, tile, keys, full);
    return Values{editor.editPair(row, number, score)};
  };
  return b.choose(tile.full, [&] { return edit(true); }, [&] { return edit(false); })[0];
}
