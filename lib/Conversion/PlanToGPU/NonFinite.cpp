//===- NonFinite.cpp - O where V holds an inf or NaN ----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A matrix instruction multiplies a weight of 0 with a NaN too, which must not reach a
// row that leaves the key out, nor must an inf become NaN in a row whose weight is too
// small for its type. Whatever goes wrong leaves an inf or NaN in O. So a block whose O
// has one visits its tiles again, a few columns of V at a time:
//
//   W = 2^(s - m)                 m is final: no sum is scaled any more
//   A = s > -inf, unordered       what a row attends to, as 1 or 0
//
//   O = W finite(V)               +inf  where A is_inf_or_nan(V) > 0
//                                 -inf  where A is_minus_inf_or_nan(V) > 0
//                                  NaN  where both are
//
// That is slow, and costs the tiles of other blocks nothing.
//
//===----------------------------------------------------------------------===//

#include "AttendGPU.h"

using namespace mlir;
using namespace sparse_attn;

namespace {
/// The elements of words: one of f32, or two of 16 bits.
class Elements {
public:
  Elements(GPUBuilder &b, Type element) : b(b), bits(element.getIntOrFloatBitWidth()) {
    const llvm::fltSemantics &kind = cast<FloatType>(element).getFloatSemantics();
    infinity = llvm::APFloat::getInf(kind).bitcastToAPInt().getZExtValue();
    one = llvm::APFloat::getOne(kind).bitcastToAPInt().getZExtValue();
  }

  /// Others become 0.
  Value keepFinite(Value word) {
    return forEach(word, [&](Value x) {
      return b.select(b.lt(magnitude(x), b.i32(infinity)), x, b.i32(0));
    });
  }
  /// 1 of NaN and of the infinity of that sign, else 0.
  Value mark(Value word, bool negative) {
    int64_t wanted = infinity | (negative ? int64_t(1) << (bits - 1) : 0);
    return forEach(word, [&](Value x) {
      Value isNaN = b.gt(magnitude(x), b.i32(infinity));
      Value isInfinity = b.eq(x, b.i32(static_cast<int32_t>(wanted)));
      return b.select(b.lor(isNaN, isInfinity), b.i32(one), b.i32(0));
    });
  }

private:
  /// All of i32, elements of 16 bits in its lower half.
  Value forEach(Value word, function_ref<Value(Value)> change) {
    Type type = word.getType();
    if (type.isF32())
      return b.bitcast(change(b.bitcast(word, b.builder.getI32Type())), type);
    Value low = change(b.band(word, b.i32(0xffff)));
    return b.bor(low, b.shl(change(b.shr(word, b.i32(bits))), b.i32(bits)));
  }
  Value magnitude(Value x) { return b.band(x, b.i32((int64_t(1) << (bits - 1)) - 1)); }

  GPUBuilder &b;
  int64_t bits, infinity, one;
};

/// Some columns of O while tiles are visited.
struct Columns {
  Fragments finite, positive, negative;

  Values flatten() const {
    Values values;
    for (const Fragments *sums : {&finite, &positive, &negative})
      for (const Values &row : *sums)
        llvm::append_range(values, row);
    return values;
  }
  static Columns restore(const GPUShape &shape, ValueRange values) {
    Columns columns;
    size_t size = values.size() / 3 / shape.rowTiles;
    for (Fragments *sums : {&columns.finite, &columns.positive, &columns.negative})
      for (int64_t tile = 0; tile < shape.rowTiles; ++tile) {
        sums->emplace_back(values.take_front(size));
        values = values.drop_front(size);
      }
    return columns;
  }
};
} // namespace

/// Keys and columns at a time: few, so that few scores and sums wait in registers.
static constexpr int64_t kKeys = 16;
static int64_t countColumns(const GPUShape &shape) {
  return shape.paddedValueDim % 16 ? 8 : 16;
}

static Value toOutput(GPUBuilder &b, Value finite, Value positive, Value negative) {
  Value none = b.f32(0);
  Value above = b.select(b.eqF(positive, none), none, b.f32(kInfinity));
  Value below = b.select(b.eqF(negative, none), none, b.f32(-kInfinity));
  Value special = b.addF(above, below);
  return b.select(b.eqF(special, none), finite, special);
}

/// Where m and l of a row wait.
static Value getState(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                      int64_t tile, int64_t half) {
  GPURow row = frame.fragmentRow(b, context.shape, tile, half);
  Value at = b.add(b.mul(row.number, 8), b.i32(context.shape.statesAt));
  return b.offset(frame.shared, at);
}

void sparse_attn::buildKeepStates(GPUBuilder &b, const GPUContext &context,
                                  const GPUFrame &frame, const RowStates &states) {
  for (int64_t tile = 0; tile < context.shape.rowTiles; ++tile)
    for (int64_t half = 0; half < 2; ++half) {
      Value pointer = getState(b, context, frame, tile, half);
      b.storeAt(states.maxima[tile][half], pointer, b.i32(0), 4);
      b.storeAt(states.sums[tile][half], pointer, b.i32(4), 4);
    }
}

/// Without outputs.
static RowStates loadStates(GPUBuilder &b, const GPUContext &context,
                            const GPUFrame &frame) {
  RowStates states = RowStates::start(b, context.shape);
  states.outputs.clear();
  for (int64_t tile = 0; tile < context.shape.rowTiles; ++tile)
    for (int64_t half = 0; half < 2; ++half) {
      Value pointer = getState(b, context, frame, tile, half);
      auto load = [&](int64_t at) {
        return b.loadAt(b.builder.getF32Type(), pointer, b.i32(at), 4);
      };
      states.maxima[tile][half] = load(0);
      states.sums[tile][half] = load(4);
    }
  return states;
}

Value sparse_attn::buildAnyNonFinite(GPUBuilder &b, const Fragments &values) {
  Value zero = b.f32(0), sum = zero;
  for (const Values &row : values)
    for (Value x : row)
      sum = b.fma(x, zero, sum);
  return b.lnot(b.eqF(sum, zero));
}

/// Makes weights of scores, and returns what a row attends to.
static Fragments buildWeights(GPUBuilder &b, const GPUContext &context,
                              const GPUFrame &frame, Fragments &scores) {
  RowStates states = loadStates(b, context, frame);
  Value factor = b.f32(context.getLog2Factor());
  Fragments attended = scores;
  for (auto [tile, row] : llvm::enumerate(scores)) {
    std::array<Value, 2> negative;
    for (auto [shift, maximum] : llvm::zip_equal(negative, states.maxima[tile]))
      shift = arith::NegFOp::create(b.builder, b.loc, getShift(b, maximum));
    for (auto [i, score] : llvm::enumerate(row)) {
      Value none = b.eqF(score, b.f32(-kInfinity));
      attended[tile][i] = b.select(none, b.f32(0), b.f32(1));
      score = b.power2(b.fma(score, factor, negative[i / 2 % 2]));
    }
  }
  return attended;
}

static void addKeys(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame,
                    const GPUTile &tile, const KeyRange &keys, Value first,
                    Columns &columns) {
  Fragments weights = buildScores(b, context, frame, keys);
  buildEdit(b, context, frame, tile, keys, weights);
  Fragments attended = buildWeights(b, context, frame, weights);
  Elements elements(b, context.shape.element);
  auto keepFinite = [&](Value word) { return elements.keepFinite(word); };
  auto mark = [&](bool negative) {
    return [&, negative](Value word) { return elements.mark(word, negative); };
  };
  buildAccumulate(b, context, frame, keys, first, countColumns(context.shape),
                  {{weights, columns.finite, keepFinite},
                   {attended, columns.positive, mark(false)},
                   {attended, columns.negative, mark(true)}});
}

/// Columns of O from `first` on, of all tiles of the block.
static Fragments buildColumns(GPUBuilder &b, const GPUContext &context,
                              const GPUFrame &frame, Value first) {
  const GPUShape &shape = context.shape;
  TileSource source(b, context, frame);
  auto [tile, search] = source.next(source.begin());
  Values init = tile.flatten();
  size_t tileSize = init.size(), head = tileSize + search.size();
  llvm::append_range(init, search);
  init.append(3 * shape.rowTiles * countColumns(shape) / 2, b.f32(0));
  Values last = b.repeat(
      init, [&](ValueRange values) { return b.ge(values[0], b.i32(0)); },
      [&](ValueRange values) {
        GPUTile tile = GPUTile::restore(values.take_front(tileSize));
        b.barrier();
        buildCopyKeys(b, context, frame, tile.number, b.i32(shape.keysAt));
        buildCopyValues(b, context, frame, tile.number, b.i32(shape.valuesAt));
        b.commitCopies();
        auto [next, state] = source.next(values.slice(tileSize, head - tileSize));
        b.waitForCopies();
        b.barrier();
        Values result = next.flatten();
        llvm::append_range(result, state);
        llvm::append_range(
            result, b.loop(b.index(0), b.index(shape.keys), kKeys,
                           values.drop_front(head), [&](Value key, ValueRange values) {
                             Columns columns = Columns::restore(shape, values);
                             addKeys(b, context, frame, tile, {b.toI32(key), kKeys},
                                     first, columns);
                             return columns.flatten();
                           }));
        return result;
      });
  Columns sums = Columns::restore(shape, ValueRange(last).drop_front(head));
  for (auto [tile, row] : llvm::enumerate(sums.finite))
    for (auto [i, output] : llvm::enumerate(row))
      output = toOutput(b, output, sums.positive[tile][i], sums.negative[tile][i]);
  return sums.finite;
}

void sparse_attn::buildFinishNonFinite(GPUBuilder &b, const GPUContext &context,
                                       const GPUFrame &frame) {
  buildCopyQueries(b, context, frame, b.i32(context.shape.queriesAt));
  b.loop(b.index(0), b.index(context.shape.paddedValueDim), countColumns(context.shape),
         [&](Value column) {
           Value first = b.toI32(column);
           Fragments outputs = buildColumns(b, context, frame, first);
           RowStates states = loadStates(b, context, frame);
           states.outputs = std::move(outputs);
           buildFinish(b, context, frame, states, first);
         });
}
