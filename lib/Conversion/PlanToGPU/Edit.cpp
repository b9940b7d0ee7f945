//===- Edit.cpp - mask and modifiers of a tile's scores -------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttendGPU.h"
#include "sparse_attn/gpu_abi.h"

using namespace mlir;
using namespace sparse_attn;

namespace {
/// Edits the scores of one thread.
class Editor {
public:
  Editor(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame, Value tile,
         bool full)
      : b(b), context(context), frame(frame), plan(context.plan), full(full),
        cloner(b, context.ids, frame.values, 1), last(frame.lastKey(b)),
        firstKey(frame.firstKeyOf(b, context.shape, tile)) {
    cloner.keys = frame.tokens;
    cloner.heads = frame.heads;
  }

  /// All scores. `bits` is the number of the bit tile where a plan lists tiles.
  Fragments edit(const Fragments &scores, Value bits);

private:
  Value modify(const GPURow &row, Value score, Value key);
  SmallVector<Value> loadBits(const GPURow &row, Value tile);
  Value isKept(const GPURow &row, Value key, int64_t fragment, int64_t column,
               ArrayRef<Value> words);

  GPUBuilder &b;
  const GPUContext &context;
  const GPUFrame &frame;
  block_plan::AttentionOp plan;
  bool full;
  RegionCloner cloner;
  Value last, firstKey;
};
} // namespace

Value Editor::modify(const GPURow &row, Value score, Value key) {
  if (plan.getModify().empty())
    return score;
  score = b.mulF(score, b.f32(context.getScale()));
  return cloner.clone(plan.getModify(), {score, b.f32(0), frame.batch, row.head,
                                         row.index, row.position, key})[0];
}

/// Of what a thread loads at once of a row of bits.
static int64_t wordBytesOf(const GPUShape &shape) {
  return std::min<int64_t>(shape.keys / 8 & -(shape.keys / 8), 4);
}

/// The bits of the row's pairs.
SmallVector<Value> Editor::loadBits(const GPURow &row, Value tile) {
  const GPUShape &shape = context.shape;
  int64_t rowBytes = shape.keys / 8, wordBytes = wordBytesOf(shape);
  Value base = b.toGlobal(b.pointerField(frame.args, offsetof(sa_gpu_args, bits)));
  Value bytes =
      b.element(b.element(base, tile, shape.rows * rowBytes), row.query, rowBytes);
  SmallVector<Value> words;
  for (int64_t byte = 0; byte < rowBytes; byte += wordBytes) {
    Value word =
        b.loadAt(b.builder.getIntegerType(8 * wordBytes), bytes, b.i32(byte), wordBytes);
    if (wordBytes < 4)
      word = arith::ExtUIOp::create(b.builder, b.loc, b.builder.getI32Type(), word);
    words.push_back(word);
  }
  return words;
}

/// Column `column` of the pair of columns that the lane has of a fragment.
Value Editor::isKept(const GPURow &row, Value key, int64_t fragment, int64_t column,
                     ArrayRef<Value> words) {
  if (words.empty()) {
    Value keep = cloner.clone(plan.getPredicate(),
                              {frame.batch, row.head, row.position, b.min(key, last)})[0];
    return b.land(keep, b.le(key, last));
  }
  int64_t first = 8 * fragment + column, bits = 8 * wordBytesOf(context.shape);
  Value place = b.add(b.mul(frame.member, 2), b.i32(first % bits));
  return b.ne(b.band(b.shr(words[first / bits], place), b.i32(1)), b.i32(0));
}

Fragments Editor::edit(const Fragments &scores, Value bits) {
  Fragments edited = scores;
  for (auto [tile, values] : llvm::enumerate(edited))
    for (int64_t half = 0; half < 2; ++half) {
      GPURow row = frame.fragmentRow(b, context.shape, tile, half);
      SmallVector<Value> words;
      if (!full && bits)
        words = loadBits(row, bits);
      for (size_t i = 2 * half; i < values.size(); i += 4)
        for (int64_t column = 0; column < 2; ++column) {
          int64_t fragment = i / 4;
          Value inTile = b.add(b.mul(frame.member, 2), b.i32(8 * fragment + column));
          Value key = b.add(firstKey, b.mul(inTile, frame.step));
          Value &score = values[i + column];
          score = modify(row, score, full ? key : b.min(key, last));
          if (!full)
            score = b.select(isKept(row, key, fragment, column, words), score,
                             b.f32(-kInfinity));
        }
    }
  return edited;
}

void sparse_attn::buildEdit(GPUBuilder &b, const GPUContext &context,
                            const GPUFrame &frame, const GPUTile &tile,
                            Fragments &scores) {
  auto edit = [&](bool full) {
    Values flat;
    for (const Values &row :
         Editor(b, context, frame, tile.number, full).edit(scores, tile.bits))
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
