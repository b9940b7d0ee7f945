//===- DrawnBlocks.cpp - key blocks drawn for query blocks, on a GPU ------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// sa_classify_random_blocks (runtime/src/random_blocks.c, which says what is drawn). A
// thread keeps no draws: it makes them again for each question, in registers. Of `count`
// draws out of `total` blocks
//
//   a block below total - count   is drawn if some draw is it
//   one of the others             also in the place of a draw that was drawn before
//
//===----------------------------------------------------------------------===//

#include "MaskHelpers.h"

using namespace mlir;
using namespace sparse_attn;

namespace {
/// The draws of a query block, `count` < `total` of them.
class Draws {
public:
  Draws(GPUBuilder &b, Value seed, Value plane, Value queryBlock, Value count,
        Value total)
      : b(b), seed(seed), plane(plane), queryBlock(queryBlock), count(count),
        firstOther(b.sub(total, count)) {}

  /// Of [first, last]: whether some block is drawn, and whether all are.
  std::pair<Value, Value> classify(Value first, Value last);

private:
  std::pair<Value, Value> multiply(Value a, Value c);
  Value philox(Value number);
  Value draw(Value number);
  Value isDrawn(Value block);

  GPUBuilder &b;
  Value seed, plane, queryBlock, count;
  Value firstOther; ///< block that a draw may be replaced by
};
} // namespace

/// The low and the high word of a product of unsigned words.
std::pair<Value, Value> Draws::multiply(Value a, Value c) {
  auto product = arith::MulUIExtendedOp::create(b.builder, b.loc, a, c);
  return {product.getLow(), product.getHigh()};
}

/// The first word of Philox 4x32-10 at (plane, query block, number, 0).
Value Draws::philox(Value number) {
  constexpr int kRounds = 10;
  constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  auto word = [&](uint32_t value) { return b.i32(static_cast<int32_t>(value)); };
  Type i32 = b.builder.getI32Type();
  Value key0 = b.builder.createOrFold<arith::TruncIOp>(b.loc, i32, seed);
  Value upper = b.shr(seed, b.toI64(b.i32(32)));
  Value key1 = b.builder.createOrFold<arith::TruncIOp>(b.loc, i32, upper);
  std::array<Value, 4> counter = {plane, queryBlock, number, b.i32(0)};
  for (int round = 0; round < kRounds; ++round) {
    auto [low0, high0] = multiply(counter[0], word(kMultiplier0));
    auto [low1, high1] = multiply(counter[2], word(kMultiplier1));
    counter = {b.bxor(b.bxor(high1, counter[1]), key0), low1,
               b.bxor(b.bxor(high0, counter[3]), key1), low0};
    key0 = b.add(key0, word(kWeyl0));
    key1 = b.add(key1, word(kWeyl1));
  }
  return counter[0];
}

/// Draw `number`, from [0, firstOther + number].
Value Draws::draw(Value number) {
  Value bound = b.add(b.add(firstOther, number), b.i32(1));
  return multiply(philox(number), bound).second;
}

/// Whether some draw is `block`, or one of the same draws was drawn before in whose place
/// `block` comes: the same question of fewer draws.
Value Draws::isDrawn(Value block) {
  enum Answer { Open, Yes, No };
  Value none = b.i32(0), open = b.i32(Open), no = b.i32(No);
  Values found = b.repeat(
      {none, count, block, open}, [&](ValueRange state) { return b.eq(state[3], open); },
      [&](ValueRange state) -> Values {
        Value number = state[0], draws = state[1], wanted = state[2];
        Value ends = b.ge(number, draws);
        Value replaced = b.sub(wanted, firstOther);
        Value drawn = draw(b.select(ends, replaced, number));
        Value goesOn = b.land(b.ge(replaced, none), b.lt(replaced, draws));
        Value answer = b.select(b.eq(drawn, wanted), b.i32(Yes), open);
        return {b.select(ends, none, b.add(number, b.i32(1))),
                b.select(ends, replaced, draws), b.select(ends, drawn, wanted),
                b.select(ends, b.select(goesOn, open, no), answer)};
      });
  return b.eq(found[3], b.i32(Yes));
}

std::pair<Value, Value> Draws::classify(Value first, Value last) {
  Value one = b.i32(1), none = b.i32(0);
  Value blocks = b.add(b.sub(last, first), one);
  Value hits = b.repeat(
      {none, none},
      [&](ValueRange state) {
        return b.land(b.lt(state[0], count), b.lt(state[1], blocks));
      },
      [&](ValueRange state) -> Values {
        Value drawn = draw(state[0]);
        Value hit = b.land(b.le(first, drawn), b.le(drawn, last));
        return {b.add(state[0], one), b.add(state[1], b.select(hit, one, none))};
      })[1];
  // Fewer draws than blocks cannot be all of them; then only those that come in the place
  // of a draw are left to ask about. One block that was hit is drawn.
  Value others = b.max(b.sub(b.add(last, one), b.max(first, firstOther)), none);
  Value any = b.lt(none, hits), all = b.ge(b.add(hits, others), blocks);
  Value known = b.land(any, b.eq(blocks, one));
  Value start = b.select(all, first, b.max(first, firstOther));
  start = b.select(known, b.add(last, one), start);
  Values found = b.repeat(
      {start, any, all},
      [&](ValueRange state) {
        Value isOpen = b.lnot(b.land(state[1], b.lnot(state[2])));
        return b.land(b.le(state[0], last), isOpen);
      },
      [&](ValueRange state) -> Values {
        Value drawn = isDrawn(state[0]);
        return {b.add(state[0], one), b.lor(state[1], drawn), b.land(state[2], drawn)};
      });
  return {found[1], found[2]};
}

/// p / block, rounded down, of positions that may be negative.
static Value divideDown(GPUBuilder &b, Value p, Value block) {
  Value ones = b.i32(-1), negative = b.lt(p, b.i32(0));
  Value quotient = b.divU(b.select(negative, b.bxor(p, ones), p), block);
  return b.select(negative, b.bxor(quotient, ones), quotient);
}

Value HelperBuilder::classifyRandomBlocks(ValueRange arguments) {
  // As many as the host asks about.
  constexpr int64_t kMostQueryBlocks = 64;
  Value block = arguments[0], drawCount = arguments[1], seed = arguments[2];
  Value plane = arguments[3], keys = arguments[4];
  Rectangle r(arguments.take_back(kPairArguments));
  Value one = b.i32(1);
  Value total = b.divU(b.add(keys, b.sub(block, one)), block);
  Value firstQuery = divideDown(b, r.p0, block), lastQuery = divideDown(b, r.p1, block);
  Value firstKey = b.divU(r.j0, block), lastKey = b.divU(r.j1, block);
  auto askAll = [&]() -> Values {
    Values found = b.repeat(
        {firstQuery, b.truth(false), b.truth(true)},
        [&](ValueRange state) {
          return b.land(b.le(state[0], lastQuery), b.lnot(isDecided(state[1], state[2])));
        },
        [&](ValueRange state) -> Values {
          Draws draws(b, seed, plane, state[0], drawCount, total);
          auto [any, all] = draws.classify(firstKey, lastKey);
          return {b.add(state[0], one), b.lor(state[1], any), b.land(state[2], all)};
        });
    return {toKind(found[1], found[2])};
  };
  Value isFew = b.le(b.sub(lastQuery, firstQuery), b.i32(kMostQueryBlocks));
  auto ask = [&] {
    return b.choose(isFew, askAll, [&]() -> Values { return {kind(Partial)}; });
  };
  // Without keys nothing is drawn; few blocks are all drawn.
  Value otherwise = b.select(b.eq(total, b.i32(0)), kind(Empty), kind(Full));
  return b.choose(b.lt(drawCount, total), ask,
                  [&]() -> Values { return {otherwise}; })[0];
}
