//===- NonFiniteRows.cpp - O where V holds an inf or NaN, row by row -------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What NonFinite.cpp does for a block, for kernels of warpgroups, where a block never
// stands still: its producer is at the next item already. A warp makes each row that has
// an inf or NaN in O again, of the keys that the row attends to and of no others:
//
//   w = 2^(s - m)       O = sum of  w v  where v is finite, and of  v  where it is not
//
// m and l are known and final. The lanes have a key each, then columns of V each. Q, K
// and V come from the device's memory, so that neither other warps nor what is in flight
// to shared memory has a part in it. That is slow, and costs other rows a vote.
//
//===----------------------------------------------------------------------===//

#include "AttendGPU.h"

using namespace mlir;
using namespace sparse_attn;

namespace {
/// A warp at one row.
class RowMaker {
public:
  RowMaker(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
           const GPURow &row, Value maximum)
      : b(b), context(context), shape(context.shape), frame(frame), row(row),
        shift(getShift(b, maximum)), columns(RowColumns::ofWarp(shape, frame)),
        keys(makeTensor(context.plan.getK())), values(makeTensor(context.plan.getV())) {
    GPUTensor queries = makeTensor(context.plan.getQ());
    query = queries.row(b, frame.batch, row.head, row.index);
  }

  /// The lane's columns of O.
  Values run();
  const RowColumns &getColumns() const { return columns; }

private:
  GPUTensor makeTensor(Value tensor) {
    return GPUTensor(b, frame, context.ids.id(tensor), shape.elementBytes);
  }
  Value load(Value pointer, Value column);
  Value keyRow(const GPUTensor &tensor, const GPUTile &tile, Value number);
  Value score(const GPUTile &tile, Value number);
  Values addKeys(const GPUTile &tile, Value first, ValueRange sums);

  GPUBuilder &b;
  const GPUContext &context;
  const GPUShape &shape;
  const GPUFrame &frame;
  const GPURow &row;
  Value shift;
  RowColumns columns;
  GPUTensor keys, values;
  Value query; ///< pointer to a row of Q
};
} // namespace

/// As f32.
Value RowMaker::load(Value pointer, Value column) {
  Value element = b.loadAt(shape.element, pointer, b.mul(column, shape.elementBytes),
                           shape.elementBytes);
  Type f32 = b.builder.getF32Type();
  return shape.element.isF32()
             ? element
             : arith::ExtFOp::create(b.builder, b.loc, f32, element).getResult();
}

/// Of key `number` of the tile, or of the last one that exists.
Value RowMaker::keyRow(const GPUTensor &tensor, const GPUTile &tile, Value number) {
  Value first = frame.firstKeyOf(b, shape, tile.number);
  Value key = b.min(b.add(first, b.mul(number, frame.step)), frame.lastKey(b));
  return tensor.row(b, frame.batch, frame.kvHead, key);
}

Value RowMaker::score(const GPUTile &tile, Value number) {
  Value key = keyRow(keys, tile, number);
  Value product = b.loop(
      b.index(0), b.index(shape.headDim), 1, b.f32(0), [&](Value index, ValueRange sum) {
        Value column = b.toI32(index);
        return Values{b.fma(load(query, column), load(key, column), sum[0])};
      })[0];
  return buildEditPair(b, context, frame, tile, row, number, product);
}

/// Up to 32 keys from number `first` of the tile on.
Values RowMaker::addKeys(const GPUTile &tile, Value first, ValueRange sums) {
  Value number = b.add(first, frame.lane);
  Value isKey = b.lt(number, b.i32(shape.keys));
  Value own = score(tile, b.min(number, b.i32(shape.keys - 1)));
  Value isLeftOut = b.eqF(own, b.f32(-kInfinity));
  Value factor = b.f32(context.getLog2Factor());
  Value negative = arith::NegFOp::create(b.builder, b.loc, shift);
  Value weight = b.power2(b.fma(own, factor, negative));

  Values init = {b.ballot(b.land(isKey, b.lnot(isLeftOut)))};
  llvm::append_range(init, sums);
  Values last = b.repeat(
      init, [&](ValueRange state) { return b.ne(state[0], b.i32(0)); },
      [&](ValueRange state) {
        Value lane = b.trailingZeros(state[0]);
        Value pointer = keyRow(values, tile, b.add(first, lane));
        Value shared = b.ofLane(weight, lane);
        Values next = {b.clearLowestBit(state[0])};
        for (auto [offset, sum] : llvm::zip_equal(columns.offsets, state.drop_front(1))) {
          // Lanes past the last column repeat it, and do not write.
          Value column = b.min(b.add(columns.first, offset), b.i32(shape.valueDim - 1));
          Value value = load(pointer, column);
          Value isFinite = b.eqF(b.mulF(value, b.f32(0)), b.f32(0));
          next.push_back(
              b.select(isFinite, b.fma(shared, value, sum), b.addF(sum, value)));
        }
        return next;
      });
  return Values(ValueRange(last).drop_front(1));
}

Values RowMaker::run() {
  TileSource source(b, context, frame);
  auto [first, search] = source.next(source.begin());
  Values init = first.flatten();
  size_t tileSize = init.size(), head = tileSize + search.size();
  llvm::append_range(init, search);
  init.append(columns.offsets.size(), b.f32(0));
  Values last = b.repeat(
      init, [&](ValueRange state) { return b.ge(state[0], b.i32(0)); },
      [&](ValueRange state) {
        GPUTile tile = GPUTile::restore(state.take_front(tileSize));
        Values sums = b.loop(b.index(0), b.index(shape.keys), kWarp,
                             state.drop_front(head), [&](Value key, ValueRange sums) {
                               return addKeys(tile, b.toI32(key), sums);
                             });
        auto [next, search] = source.next(state.slice(tileSize, head - tileSize));
        Values result = next.flatten();
        llvm::append_range(result, search);
        llvm::append_range(result, sums);
        return result;
      });
  return Values(ValueRange(last).drop_front(head));
}

RowValues sparse_attn::findNonFiniteRows(GPUBuilder &b, const RowStates &states) {
  Value zero = b.f32(0);
  RowValues found;
  for (auto [outputs, sums] : llvm::zip_equal(states.outputs, states.sums)) {
    auto &pair = found.emplace_back();
    for (size_t half = 0; half < 2; ++half) {
      Value sum = zero;
      for (size_t i = 2 * half; i < outputs.size(); i += 4)
        for (size_t column : {0, 1})
          sum = b.fma(outputs[i + column], zero, sum);
      sum = combineQuad(b, sum, [&](Value x, Value y) { return b.addF(x, y); });
      // A score that is NaN has made the whole row NaN, as it is meant to.
      Value hasWeights = b.eqF(sums[half], sums[half]);
      pair[half] = b.land(hasWeights, b.lnot(b.eqF(sum, zero)));
    }
  }
  return found;
}

/// What a quad has of row `number` of its warp.
static Value getOfRow(GPUBuilder &b, const RowValues &values, Value number) {
  Value own;
  Value eighth = b.divU(number, 8);
  for (auto [tile, pair] : llvm::enumerate(values))
    for (auto [half, value] : llvm::enumerate(pair))
      own = own ? b.select(b.eq(eighth, b.i32(2 * tile + half)), value, own) : value;
  return b.ofLane(own, b.mul(b.remU(number, 8), 4));
}

void sparse_attn::buildFinishNonFiniteRows(GPUBuilder &b, const GPUContext &context,
                                           const GPUFrame &frame, const RowStates &states,
                                           const RowValues &nonFinite) {
  RowValues words = nonFinite;
  Value any = b.i32(0);
  for (auto &pair : words)
    for (Value &word : pair) {
      word = b.select(word, b.i32(1), b.i32(0));
      any = b.bor(any, word);
    }
  int64_t rows = 16 * context.shape.rowTiles;
  b.branch(b.ne(b.ballot(b.ne(any, b.i32(0))), b.i32(0)), [&] {
    GPUFrame again = frame.again(b, context);
    b.loop(b.index(0), b.index(rows), 1, [&](Value index) {
      Value number = b.toI32(index);
      Value wanted = b.ne(getOfRow(b, words, number), b.i32(0));
      RowResult result;
      result.row = again.rowOf(b, b.add(b.mul(again.warp, rows), number));
      result.maximum = getOfRow(b, states.maxima, number);
      result.sum = getOfRow(b, states.sums, number);
      b.branch(b.land(wanted, result.row.inTile), [&] {
        RowMaker maker(b, context, again, result.row, result.maximum);
        result.outputs = maker.run();
        buildFinishRow(b, context, again, result, b.eq(again.lane, b.i32(0)),
                       maker.getColumns());
      });
    });
  });
}
