//===- Products.cpp - the matrix products of a warp -----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Operands come from shared memory, but for the weights: sums of one product are where
// the next one wants its left operand, apart from the order of the keys, in which a sum
// does not care.
//
// f32 is multiplied as tf32, of 11 significant bits: x = high + low, and of the four
// products all but low * low count. What is left out is below 2^-22 of |a| |b|.
//
//===----------------------------------------------------------------------===//

#include "AttendGPU.h"

using namespace mlir;
using namespace sparse_attn;

static int64_t fragmentsOf(int64_t columns) { return columns / 8; }

static ValueRange sumsOf(const Values &row, int64_t fragment) {
  return ValueRange(row).slice(4 * fragment, 4);
}
static void replaceSums(Values &row, int64_t fragment, const Values &sums) {
  std::copy(sums.begin(), sums.end(), row.begin() + 4 * fragment);
}

//===----------------------------------------------------------------------===//
// 16-bit elements
//===----------------------------------------------------------------------===//

/// Rows [first, first + 16) and elements [column, column + 16) as a left operand.
static Values loadLeftHalves(GPUBuilder &b, const GPUFrame &frame, Value first,
                             int64_t at, int64_t pitch, int64_t column) {
  Value row = b.add(first, b.remU(frame.lane, 16));
  Value chunk = b.mul(b.divU(frame.lane, 16), 16);
  Value bytes = b.add(b.add(b.mul(row, pitch), chunk), b.i32(at + column * 2));
  return b.loadMatrices(b.offset(frame.shared, bytes), /*transposed=*/false);
}

/// Keys [key, key + 16) past key `first` and elements [column, column + 16) of K, as
/// right operands of two fragments of 8 keys.
static Values loadKeyHalves(GPUBuilder &b, const GPUContext &context,
                            const GPUFrame &frame, Value first, int64_t key,
                            int64_t column) {
  const GPUShape &shape = context.shape;
  Value row = b.add(b.remU(frame.lane, 8), b.mul(b.divU(frame.lane, 16), 8));
  row = b.add(row, first);
  Value chunk = b.mul(b.remU(b.divU(frame.lane, 8), 2), 16);
  Value bytes = b.add(b.mul(row, shape.pitch), chunk);
  int64_t at = shape.keysAt + key * shape.pitch + column * 2;
  return b.loadMatrices(b.offset(frame.shared, b.add(bytes, b.i32(at))),
                        /*transposed=*/false);
}

/// Keys [key, key + 16) past key `firstKey` and elements [column, column + 16) past
/// element `first` of V, as right operands of two fragments of 8 columns.
static Values loadValueHalves(GPUBuilder &b, const GPUContext &context,
                              const GPUFrame &frame, Value firstKey, int64_t key,
                              Value first, int64_t column) {
  const GPUShape &shape = context.shape;
  Value row = b.add(b.remU(frame.lane, 16), firstKey);
  Value chunk = b.mul(b.divU(frame.lane, 16), 16);
  Value bytes = b.add(b.mul(row, shape.valuePitch), b.add(chunk, b.mul(first, 2)));
  int64_t at = shape.valuesAt + key * shape.valuePitch + column * 2;
  return b.loadMatrices(b.offset(frame.shared, b.add(bytes, b.i32(at))),
                        /*transposed=*/true);
}

static void buildHalfScores(GPUBuilder &b, const GPUContext &context,
                            const GPUFrame &frame, const KeyRange &range,
                            Fragments &scores) {
  const GPUShape &shape = context.shape;
  Value firstRow = b.mul(frame.warp, 16 * shape.rowTiles);
  for (int64_t column = 0; column < shape.paddedHeadDim; column += 16) {
    SmallVector<Values> queries;
    for (int64_t tile = 0; tile < shape.rowTiles; ++tile)
      queries.push_back(loadLeftHalves(b, frame, b.add(firstRow, b.i32(16 * tile)),
                                       shape.queriesAt, shape.pitch, column));
    for (int64_t key = 0; key < range.count; key += 16) {
      Values keys = loadKeyHalves(b, context, frame, range.first, key, column);
      for (int64_t tile = 0; tile < shape.rowTiles; ++tile)
        for (int64_t half = 0; half < 2; ++half) {
          int64_t fragment = key / 8 + half;
          replaceSums(scores[tile], fragment,
                      b.multiply(queries[tile], ValueRange(keys).slice(2 * half, 2),
                                 sumsOf(scores[tile], fragment), shape.element));
        }
    }
  }
}

/// The words of V as `sum` wants them.
static Values changeWords(const ValueSum &sum, const Values &words) {
  return sum.change ? llvm::map_to_vector(words, sum.change) : words;
}

static void buildHalfValues(GPUBuilder &b, const GPUContext &context,
                            const GPUFrame &frame, const KeyRange &keys, Value first,
                            int64_t columns, ArrayRef<ValueSum> sums) {
  const GPUShape &shape = context.shape;
  auto packWeights = [&](const Values &weights, int64_t key) {
    Values words;
    for (int64_t pair = 0; pair < 4; ++pair) {
      size_t at = 4 * (key / 8) + 2 * pair;
      words.push_back(b.pack(weights[at], weights[at + 1], shape.element));
    }
    return words;
  };
  for (int64_t key = 0; key < keys.count; key += 16) {
    SmallVector<SmallVector<Values>> left(sums.size());
    for (auto [sum, words] : llvm::zip_equal(sums, left))
      for (const Values &weights : sum.weights)
        words.push_back(packWeights(weights, key));
    for (int64_t column = 0; column < columns; column += 16) {
      Values loaded = loadValueHalves(b, context, frame, keys.first, key, first, column);
      for (auto [sum, words] : llvm::zip_equal(sums, left)) {
        Values values = changeWords(sum, loaded);
        for (int64_t tile = 0; tile < shape.rowTiles; ++tile)
          for (int64_t half = 0; half < 2; ++half) {
            int64_t fragment = column / 8 + half;
            replaceSums(sum.outputs[tile], fragment,
                        b.multiply(words[tile], ValueRange(values).slice(2 * half, 2),
                                   sumsOf(sum.outputs[tile], fragment), shape.element));
          }
      }
    }
  }
}

//===----------------------------------------------------------------------===//
// f32
//===----------------------------------------------------------------------===//

namespace {
/// Operands as what tf32 keeps of them, and what it leaves.
struct SplitOperands {
  Values high, low;

  SplitOperands(GPUBuilder &b, ValueRange operands) {
    Type i32 = b.builder.getI32Type(), f32 = b.builder.getF32Type();
    for (Value x : operands) {
      Value word = b.band(b.bitcast(x, i32), b.i32(~0x1fff));
      // Of an infinity nothing is left; the difference would be NaN.
      Value rest = b.subF(x, b.bitcast(word, f32));
      Value finite =
          arith::CmpFOp::create(b.builder, b.loc, arith::CmpFPredicate::ORD, rest, rest);
      high.push_back(b.select(finite, word, b.bitcast(x, i32)));
      low.push_back(b.bitcast(b.select(finite, rest, b.f32(0)), i32));
    }
  }
};
} // namespace

static Values multiplySplit(GPUBuilder &b, const SplitOperands &left,
                            const SplitOperands &right, ValueRange sums, Type element) {
  Values result = b.multiply(left.low, right.high, sums, element);
  result = b.multiply(left.high, right.low, result, element);
  return b.multiply(left.high, right.high, result, element);
}

static Value loadFloat(GPUBuilder &b, const GPUFrame &frame, Value bytes, int64_t more) {
  return b.loadAt(b.builder.getF32Type(), frame.shared, b.add(bytes, b.i32(more)), 4);
}

static void buildFloatScores(GPUBuilder &b, const GPUContext &context,
                             const GPUFrame &frame, const KeyRange &range,
                             Fragments &scores) {
  const GPUShape &shape = context.shape;
  // Lane's element of row quad: both operands have rows along the quads.
  Value lane = b.add(b.mul(frame.quad, shape.pitch), b.mul(frame.member, 4));
  Value firstRow = b.mul(frame.warp, 16 * shape.rowTiles * shape.pitch);
  Value query = b.add(b.add(lane, firstRow), b.i32(shape.queriesAt));
  Value key = b.add(b.add(lane, b.mul(range.first, shape.pitch)), b.i32(shape.keysAt));
  for (int64_t column = 0; column < shape.paddedHeadDim; column += 8) {
    SmallVector<SplitOperands> queries;
    for (int64_t tile = 0; tile < shape.rowTiles; ++tile) {
      int64_t top = 16 * tile * shape.pitch + column * 4, bottom = top + 8 * shape.pitch;
      queries.emplace_back(b, Values{loadFloat(b, frame, query, top),
                                     loadFloat(b, frame, query, bottom),
                                     loadFloat(b, frame, query, top + 16),
                                     loadFloat(b, frame, query, bottom + 16)});
    }
    for (int64_t fragment = 0; fragment < fragmentsOf(range.count); ++fragment) {
      int64_t at = 8 * fragment * shape.pitch + column * 4;
      SplitOperands keys(
          b, Values{loadFloat(b, frame, key, at), loadFloat(b, frame, key, at + 16)});
      for (int64_t tile = 0; tile < shape.rowTiles; ++tile)
        replaceSums(scores[tile], fragment,
                    multiplySplit(b, queries[tile], keys, sumsOf(scores[tile], fragment),
                                  shape.element));
    }
  }
}

/// A lane has the weights of keys 2 member and 2 member + 1 where the instruction wants
/// those of keys member and member + 4: so that is what they are called, in V too.
static void buildFloatValues(GPUBuilder &b, const GPUContext &context,
                             const GPUFrame &frame, const KeyRange &keys, Value first,
                             int64_t columns, ArrayRef<ValueSum> sums) {
  const GPUShape &shape = context.shape;
  Value value = b.add(b.mul(frame.member, 2 * shape.valuePitch), b.mul(frame.quad, 4));
  value = b.add(value, b.add(b.mul(keys.first, shape.valuePitch), b.mul(first, 4)));
  value = b.add(value, b.i32(shape.valuesAt));
  for (int64_t key = 0; key < keys.count; key += 8) {
    SmallVector<SmallVector<SplitOperands>> left(sums.size());
    for (auto [sum, operands] : llvm::zip_equal(sums, left))
      for (const Values &weights : sum.weights) {
        ValueRange own = sumsOf(weights, key / 8);
        operands.emplace_back(b, Values{own[0], own[2], own[1], own[3]});
      }
    for (int64_t fragment = 0; fragment < fragmentsOf(columns); ++fragment) {
      int64_t at = key * shape.valuePitch + 8 * fragment * 4;
      Values loaded = {loadFloat(b, frame, value, at),
                       loadFloat(b, frame, value, at + shape.valuePitch)};
      for (auto [sum, operands] : llvm::zip_equal(sums, left)) {
        SplitOperands values(b, changeWords(sum, loaded));
        for (int64_t tile = 0; tile < shape.rowTiles; ++tile)
          replaceSums(sum.outputs[tile], fragment,
                      multiplySplit(b, operands[tile], values,
                                    sumsOf(sum.outputs[tile], fragment), shape.element));
      }
    }
  }
}

//===----------------------------------------------------------------------===//
// Either
//===----------------------------------------------------------------------===//

Fragments sparse_attn::buildScores(GPUBuilder &b, const GPUContext &context,
                                   const GPUFrame &frame, const KeyRange &keys) {
  const GPUShape &shape = context.shape;
  Fragments scores(shape.rowTiles, Values(4 * fragmentsOf(keys.count), b.f32(0)));
  if (shape.element.isF32())
    buildFloatScores(b, context, frame, keys, scores);
  else
    buildHalfScores(b, context, frame, keys, scores);
  return scores;
}

void sparse_attn::buildAccumulate(GPUBuilder &b, const GPUContext &context,
                                  const GPUFrame &frame, const KeyRange &keys,
                                  Value first, int64_t columns, ArrayRef<ValueSum> sums) {
  if (context.shape.element.isF32())
    buildFloatValues(b, context, frame, keys, first, columns, sums);
  else
    buildHalfValues(b, context, frame, keys, first, columns, sums);
}
