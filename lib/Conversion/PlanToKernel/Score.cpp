//===- Score.cpp - scores of key units from their states ------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An sa_score_fn of any score op:
//
//   for each few groups of SA_STATE_LANES units
//     for each word of the states     sums += what the op makes of it and the query
//     scores = what the op makes of the sums
//
// A score without states multiplies the query with the rows of K themselves.
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "sparse_attn/abi.h"

using namespace mlir;
using namespace sparse_attn;

static constexpr int64_t kWordBytes = sizeof(float), kLineBytes = 64;

namespace {
/// The function of one score, and what it says of a few groups at a time.
class ScoreFunction final : public UnitScoreBuilder {
public:
  ScoreFunction(KernelBuilder &b, const AttendContext &context, ScoreOpInterface score,
                int64_t block, Value args)
      : b(b), context(context),
        states(score.getKeyStates(context.shape.headDim, context.shape.valueDim, block)),
        queryCount(score.getEncoding(context.shape.headDim, block, context.getScale())
                       .queryWords),
        levels(score.getLevels()), isOfBytes(score.getByteLevels().has_value()),
        args(args), units(b.indexField(args, offsetof(sa_score_args, units))),
        queryWords(b.pointerField(args, offsetof(sa_score_args, query))),
        scores(b.pointerField(args, offsetof(sa_score_args, scores))) {
    for (KeyState &state : states)
      state.setKeyType(context.shape.element);
    Value pointers = b.pointerField(args, offsetof(sa_score_args, states));
    for (size_t n = 0; n < states.size(); ++n)
      arrays.push_back(b.pointerField(pointers, n * sizeof(void *)));
  }

  using AddWord = function_ref<Lanes(Value word, Lanes sum)>;
  using Finish = function_ref<Lanes(Lanes sum)>;

  void sumWords(AddWord add, Finish finish) override { sumAllGroups(add, finish); }
  void sumLevels(AddWord add) override;
  void sumLastWords(AddWord add) override;
  void dotKeys() override;

  Lanes state(unsigned number, Value word) override;
  Lanes query(Value word) override {
    return spread(loadQuery(word, types().getF32Type()));
  }
  Lanes queryBits(Value word) override {
    return spread(loadQuery(word, types().getI32Type()));
  }
  Lanes lookup(Value first, const Lanes &offsets) override;
  Value place(Value word, int64_t factor, int64_t offset) override {
    return b.add(b.mul(word, factor), b.index(offset));
  }
  Value place(int64_t word) override { return b.index(word); }

  Lanes real(double value) override { return spread(b.f32(value)); }
  Lanes add(const Lanes &x, const Lanes &y) override { return map<arith::AddFOp>(x, y); }
  Lanes mul(const Lanes &x, const Lanes &y) override { return map<arith::MulFOp>(x, y); }
  Lanes fma(const Lanes &x, const Lanes &y, const Lanes &z) override;
  Lanes addLargerProduct(Value word, unsigned low, unsigned high,
                         const Lanes &c) override;
  Lanes ifNegativeZero(const Lanes &x, const Lanes &a, const Lanes &c) override;
  Lanes toReal(const Lanes &integers) override;
  Lanes addInts(const Lanes &x, const Lanes &y) override {
    return map<arith::AddIOp>(x, y);
  }
  Lanes bitXor(const Lanes &x, const Lanes &y) override {
    return map<arith::XOrIOp>(x, y);
  }
  Lanes popcount(const Lanes &x) override;
  Lanes bits(const Lanes &x, int64_t first, int64_t count) override;

private:
  static constexpr int64_t kLanes = SA_STATE_LANES;

  OpBuilder &types() { return b.builder; }
  Lanes spread(Value scalar) { return Lanes(groups, b.splat(scalar, kLanes)); }
  template <typename Op> Lanes map(const Lanes &x, const Lanes &y) {
    Lanes result;
    for (auto [a, c] : llvm::zip_equal(x, y))
      result.push_back(Op::create(b.builder, b.loc, a, c));
    return result;
  }
  Value loadQuery(Value word, Type type) {
    return LLVM::LoadOp::create(b.builder, b.loc, type,
                                b.advance(queryWords, b.mul(word, kWordBytes)));
  }
  /// Word `word` of the groups entered, of a state of `kind` whose array is `array`.
  Lanes loadState(const KeyState &kind, Value array, Value word, int64_t bytesAhead);
  void prefetch(Value words, Value word, int64_t bytesAhead);
  void enter(Value first, int64_t count);
  /// Calls `body` with some words and their number, `part` where there are so many left,
  /// for all words that are summed.
  void
  forEachPart(int64_t part, SmallVector<Value> &carried,
              function_ref<SmallVector<Value>(Value, int64_t, ValueRange carried)> body);
  void sumAllGroups(AddWord add, Finish finish);
  /// Adds what word first + n does to sum n of the groups entered, n < count.
  SmallVector<Value> addWords(ValueRange sums, Value first, int64_t count, AddWord add);
  /// The sum of sums of the groups entered.
  Lanes addUp(ArrayRef<Value> sums);
  /// What all words add up to, for the groups entered.
  Lanes sumAll(AddWord add);
  Value scoresOf(int64_t group);
  void store(const Lanes &lanes);
  void scoreGroups(AddWord add, Finish finish);
  void scoreByWords(Value groupCount, AddWord add, Finish finish);

  KernelBuilder &b;
  const AttendContext &context;
  SmallVector<KeyState> states;
  int64_t queryCount; ///< words
  std::optional<ScoreLevels> levels;
  bool isOfBytes;
  bool sumsInts = false;
  Value args, units, queryWords, scores;
  SmallVector<Value> arrays; ///< of the states

  Value firstWord; ///< that is summed; null: 0
  // The groups that are scored now.
  int64_t groups = 1;
  Value firstGroup;
  int64_t groupsAhead = 0; ///< how far the next ones are; 0: they follow in memory
  Value exist; ///< which units of the one group there is; null: all of every group
};
} // namespace

//===----------------------------------------------------------------------===//
// Lanes
//===----------------------------------------------------------------------===//

static Type getWordType(OpBuilder &types, KeyState::Word word) {
  switch (word) {
  case KeyState::F32:
    return types.getF32Type();
  case KeyState::I32:
    return types.getI32Type();
  case KeyState::U16:
    return types.getI16Type();
  case KeyState::U8:
    return types.getI8Type();
  case KeyState::F16:
    return types.getF16Type();
  case KeyState::BF16:
    return types.getBF16Type();
  case KeyState::OfKeys:
    break;
  }
  llvm_unreachable("every word has a type");
}

/// How far ahead a stream is asked for, and one of which only some lines are read.
static constexpr int64_t kBytesAhead = 6 << 10, kSomeBytesAhead = 8 << 10;

Lanes ScoreFunction::state(unsigned number, Value word) {
  return loadState(states[number], arrays[number], word, kBytesAhead);
}

Lanes ScoreFunction::loadState(const KeyState &kind, Value array, Value word,
                               int64_t bytesAhead) {
  Type type = getWordType(types(), kind.word);
  Lanes result;
  for (int64_t group = 0; group < groups; ++group) {
    Value at = b.mul(b.add(firstGroup, b.index(group)), kLanes * kind.bytes());
    auto words = b.arrayAt(b.advance(array, at), {kind.width, kLanes}, type);
    Value lanes = b.loadVector(words, {word, b.index(0)}, b.vectorType(kLanes, type));
    prefetch(words, word, bytesAhead);
    if (isa<FloatType>(type) && !type.isF32())
      lanes = arith::ExtFOp::create(b.builder, b.loc, b.vectorType(kLanes), lanes);
    else if (type.getIntOrFloatBitWidth() < 32)
      lanes = arith::ExtUIOp::create(b.builder, b.loc,
                                     b.vectorType(kLanes, types().getI32Type()), lanes);
    result.push_back(lanes);
  }
  return result;
}

/// Asks for what is read `bytesAhead` after word `word` of a group: between two pages of
/// memory the processor does not follow by itself.
void ScoreFunction::prefetch(Value words, Value word, int64_t bytesAhead) {
  auto type = cast<MemRefType>(words.getType());
  int64_t wordBytes = kLanes * type.getElementTypeBitWidth() / 8;
  constexpr int64_t kFirstLevel = 3;
  int64_t ahead = groupsAhead ? groupsAhead * type.getDimSize(0) : bytesAhead / wordBytes;
  memref::PrefetchOp::create(b.builder, b.loc, words,
                             {b.add(word, b.index(ahead)), b.index(0)},
                             /*isWrite=*/false, kFirstLevel, /*isDataCache=*/true);
}

/// Where the query is 0, infinite or NaN, a product with the other state may be NaN.
Lanes ScoreFunction::addLargerProduct(Value word, unsigned low, unsigned high,
                                      const Lanes &c) {
  constexpr int64_t kMagnitude = 0x7fffffff, kInfinite = 0x7f800000;
  assert(states[low].word == states[high].word &&
         states[low].width == states[high].width);
  auto compare = [&](arith::CmpIPredicate predicate, Value x, Value y) -> Value {
    return arith::CmpIOp::create(b.builder, b.loc, predicate, x, y);
  };
  Value bits = loadQuery(word, types().getI32Type()), one = b.i32(1);
  Value magnitude = arith::AndIOp::create(b.builder, b.loc, bits, b.i32(kMagnitude));
  Value isPlain = compare(arith::CmpIPredicate::ult,
                          arith::SubIOp::create(b.builder, b.loc, magnitude, one),
                          b.i32(kInfinite - 1));
  Value isNegative = compare(arith::CmpIPredicate::slt, bits, b.i32(0));
  Value larger =
      arith::SelectOp::create(b.builder, b.loc, isNegative, arrays[low], arrays[high]);
  // Groups of an array are this far apart: the next ones meet the same query.
  int64_t groupBytes = states[low].bytes() * kLanes;
  int64_t ahead = llvm::alignTo(kSomeBytesAhead, groupBytes);
  Lanes q = query(word);
  auto yield = [&](const Lanes &sums) { scf::YieldOp::create(b.builder, b.loc, sums); };
  auto branch = scf::IfOp::create(
      b.builder, b.loc, isPlain,
      [&](OpBuilder &, Location) {
        yield(fma(q, loadState(states[low], larger, word, ahead), c));
      },
      [&](OpBuilder &, Location) {
        // Which zero is larger makes no difference to a sum.
        Lanes x = mul(q, state(low, word)), y = mul(q, state(high, word)), sums;
        for (auto [a, other, sum] : llvm::zip_equal(x, y, c))
          sums.push_back(arith::AddFOp::create(
              b.builder, b.loc, sum,
              arith::MaximumFOp::create(b.builder, b.loc, a, other,
                                        arith::FastMathFlags::nsz)));
        yield(sums);
      });
  return Lanes(branch.getResults());
}

Lanes ScoreFunction::lookup(Value first, const Lanes &offsets) {
  VectorType type = b.vectorType(kLanes);
  auto table = b.arrayAt(b.advance(queryWords, b.mul(first, kWordBytes)), {1},
                         types().getF32Type());
  // What is kept for units that do not exist need not be an offset.
  Value mask = exist ? exist : b.tailMask(kLanes, kLanes), zero = b.zero(type);
  Lanes result;
  for (Value offset : offsets)
    result.push_back(vector::GatherOp::create(
        b.builder, b.loc, type, table, ValueRange{b.index(0)}, offset, mask, zero));
  return result;
}

Lanes ScoreFunction::fma(const Lanes &x, const Lanes &y, const Lanes &z) {
  Lanes result;
  for (auto [a, c, d] : llvm::zip_equal(x, y, z))
    result.push_back(vector::FMAOp::create(b.builder, b.loc, a, c, d));
  return result;
}

Lanes ScoreFunction::ifNegativeZero(const Lanes &x, const Lanes &a, const Lanes &c) {
  constexpr int64_t kNegativeZero = std::numeric_limits<int32_t>::min();
  VectorType type = b.vectorType(kLanes, types().getI32Type());
  Value mark = b.splat(b.i32(kNegativeZero), kLanes);
  Lanes result;
  for (auto [real, then, otherwise] : llvm::zip_equal(x, a, c)) {
    Value bits = arith::BitcastOp::create(b.builder, b.loc, type, real);
    Value is =
        arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::eq, bits, mark);
    result.push_back(arith::SelectOp::create(b.builder, b.loc, is, then, otherwise));
  }
  return result;
}

Lanes ScoreFunction::toReal(const Lanes &integers) {
  Lanes result;
  for (Value x : integers)
    result.push_back(arith::SIToFPOp::create(b.builder, b.loc, b.vectorType(kLanes), x));
  return result;
}

Lanes ScoreFunction::popcount(const Lanes &x) {
  Lanes result;
  for (Value bits : x)
    result.push_back(math::CtPopOp::create(b.builder, b.loc, bits));
  return result;
}

Lanes ScoreFunction::bits(const Lanes &x, int64_t first, int64_t count) {
  Lanes shifted = map<arith::ShRUIOp>(x, spread(b.i32(first)));
  return map<arith::AndIOp>(shifted, spread(b.i32((int64_t{1} << count) - 1)));
}

//===----------------------------------------------------------------------===//
// Sums over the words of the states
//===----------------------------------------------------------------------===//

/// Groups, or sums of one group, that go at once: the latency of an addition.
static constexpr int64_t kAtOnce = 4;

void ScoreFunction::forEachPart(
    int64_t part, SmallVector<Value> &carried,
    function_ref<SmallVector<Value>(Value, int64_t, ValueRange)> body) {
  int64_t width = states.front().width;
  if (!firstWord) {
    carried = b.forEachPart(width, part, carried, body);
    return;
  }
  Value end = b.index(width);
  Value whole = b.sub(end, b.remainder(b.sub(end, firstWord), part));
  auto parts = [&](Value first, Value end, int64_t count) {
    carried = b.loop(first, end, count, carried, [&](Value word, ValueRange carried) {
      return body(word, count, carried);
    });
  };
  parts(firstWord, whole, part);
  if (part > 1)
    parts(whole, end, 1);
}

SmallVector<Value> ScoreFunction::addWords(ValueRange sums, Value first, int64_t count,
                                           AddWord add) {
  SmallVector<Value> next(sums);
  for (int64_t n = 0; n < count; ++n) {
    auto own = MutableArrayRef(next).slice(n * groups, groups);
    llvm::copy(add(b.add(first, b.index(n)), Lanes(own)), own.begin());
  }
  return next;
}

Lanes ScoreFunction::addUp(ArrayRef<Value> sums) {
  Lanes total(sums.take_front(groups));
  for (size_t n = groups; n < sums.size(); n += groups) {
    Lanes next(sums.slice(n, groups));
    total = sumsInts ? addInts(total, next) : add(total, next);
  }
  return total;
}

Lanes ScoreFunction::sumAll(AddWord add) {
  int64_t part = groups == 1 ? std::min(kAtOnce, states.front().width) : 1;
  SmallVector<Value> sums(part * groups, b.splat(sumsInts ? b.i32(0) : b.f32(0), kLanes));
  forEachPart(part, sums, [&](Value word, int64_t count, ValueRange sums) {
    return addWords(sums, word, count, add);
  });
  return addUp(sums);
}

void ScoreFunction::enter(Value first, int64_t count) {
  firstGroup = first;
  groups = count;
}

Value ScoreFunction::scoresOf(int64_t group) {
  Type type = isOfBytes ? Type(types().getI8Type()) : Type(types().getF32Type());
  Value at =
      b.mul(b.add(firstGroup, b.index(group)), isOfBytes ? kLanes : kLanes * kWordBytes);
  return b.arrayAt(b.advance(scores, at), {kLanes}, type);
}
void ScoreFunction::store(const Lanes &lanes) {
  VectorType bytes = b.vectorType(kLanes, types().getI8Type());
  for (auto [group, score] : llvm::enumerate(lanes)) {
    Value words = score;
    if (isOfBytes)
      words = arith::TruncIOp::create(b.builder, b.loc, bytes, words);
    b.storeVector(words, scoresOf(group), {b.index(0)});
  }
}

void ScoreFunction::scoreGroups(AddWord add, Finish finish) {
  store(finish(sumAll(add)));
}

/// Where the encoded query is larger than the first-level cache: what a few words read of
/// it serves many groups, whose sums wait in place of their scores.
void ScoreFunction::scoreByWords(Value groupCount, AddWord add, Finish finish) {
  constexpr int64_t kBlock = 64;
  groupsAhead = kBlock;
  b.loop(b.index(0), groupCount, kBlock, [&](Value first) {
    Value end = b.min(b.add(first, b.index(kBlock)), groupCount);
    auto forEachGroup = [&](function_ref<Lanes()> sums) {
      b.loop(first, end, 1, [&](Value group) {
        enter(group, 1);
        store(sums());
      });
    };
    auto load = [&] {
      return Lanes{b.loadVector(scoresOf(0), {b.index(0)}, b.vectorType(kLanes))};
    };
    forEachGroup([&] { return real(0); });
    SmallVector<Value> none;
    forEachPart(kAtOnce, none, [&](Value word, int64_t count, ValueRange) {
      forEachGroup([&] {
        SmallVector<Value> sums(count, b.splat(b.f32(0), kLanes));
        sums[0] = load()[0];
        return addUp(addWords(sums, word, count, add));
      });
      return SmallVector<Value>();
    });
    forEachGroup([&] { return finish(load()); });
  });
}

void ScoreFunction::sumAllGroups(AddWord add, Finish finish) {
  constexpr int64_t kFirstLevel = 16 << 10; // what a query may take of that cache
  constexpr int64_t kStreams = 1 << 10;     // bytes of groups that are read side by side
  Value full = b.div(units, b.index(kLanes)), done = b.index(0);
  exist = Value();
  if (queryCount * kWordBytes > kFirstLevel && !sumsInts) { // sums wait as f32
    scoreByWords(full, add, finish);
    done = full;
  } else if (states.front().bytes() * kLanes <= kStreams) {
    done = b.sub(full, b.remainder(full, kAtOnce));
    b.loop(b.index(0), done, kAtOnce, [&](Value group) {
      enter(group, kAtOnce);
      scoreGroups(add, finish);
    });
  }
  b.loop(done, b.ceilDiv(units, kLanes), 1, [&](Value group) {
    Value first = b.toI32(b.mul(group, kLanes));
    exist = arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::slt,
                                  b.lanesFrom(first, b.i32(1), kLanes),
                                  b.splat(b.toI32(units), kLanes));
    enter(group, 1);
    scoreGroups(add, finish);
  });
}

void ScoreFunction::sumLevels(AddWord add) {
  assert(levels && "a score of levels says which");
  sumsInts = true;
  sumAllGroups(add, [&](Lanes level) {
    return isOfBytes ? level
                     : fma(real(-levels->step), toReal(level), real(levels->best));
  });
}

void ScoreFunction::sumLastWords(AddWord add) {
  Value first = loadQuery(b.index(queryCount - 1), types().getI32Type());
  firstWord =
      arith::IndexCastUIOp::create(b.builder, b.loc, types().getIndexType(), first);
  sumWords(add, [](Lanes sum) { return sum; });
}

//===----------------------------------------------------------------------===//
// Sums over K
//===----------------------------------------------------------------------===//

namespace {
/// The product of one query with K, a vector of keys at a time.
struct KeyProducts {
  KernelBuilder &b;
  const KernelShape &shape;
  Value k;
  TileKeys keys;
  Value last;               ///< key
  Value products;           ///< one vector for each key, before its lanes are summed
  SmallVector<Value> query; ///< vectors

  /// Of one key, lane by lane.
  Value multiply(Value key);
  /// Of keys first, first + 1, ...; unless all exist, the last one stands for others.
  Value sums(Value first, bool whole);
};
} // namespace

Value KeyProducts::multiply(Value key) {
  Value sums[2];
  for (auto [n, words] : llvm::enumerate(query)) {
    int64_t column = n * shape.lanes;
    Value x = b.loadRealVector(k, keys.at(b, key, b.index(column)), shape.lanes,
                               std::min<int64_t>(shape.lanes, shape.headDim - column));
    Value &sum = sums[n % 2];
    sum = sum ? vector::FMAOp::create(b.builder, b.loc, x, words, sum).getResult()
              : arith::MulFOp::create(b.builder, b.loc, x, words).getResult();
  }
  return sums[1] ? arith::AddFOp::create(b.builder, b.loc, sums[0], sums[1]) : sums[0];
}

/// Key by key: unrolled, LLVM moves the loads of all keys before everything else, and
/// most of what they load to the stack.
Value KeyProducts::sums(Value first, bool whole) {
  b.loop(b.index(0), b.index(shape.lanes), 1, [&](Value lane) {
    Value key = b.add(first, lane);
    buildPrefetchAhead(b, keys, k, key, shape.headDim);
    b.storeVector(multiply(whole ? key : b.min(key, last)), products, {lane, b.index(0)});
  });
  SmallVector<Value> vectors;
  for (int64_t lane = 0; lane < shape.lanes; ++lane)
    vectors.push_back(
        b.loadVector(products, {b.index(lane), b.index(0)}, b.vectorType(shape.lanes)));
  return buildSumsOfLanes(b, vectors);
}

void ScoreFunction::dotKeys() {
  const KernelShape &shape = context.shape;
  int64_t lanes = shape.lanes, dim = shape.headDim;
  Value values = b.pointerField(args, offsetof(sa_score_args, values));
  KeyProducts products = {
      b,
      shape,
      b.viewOf(values, context.ids.id(context.plan.getK()), shape.element),
      {b.indexField(args, offsetof(sa_score_args, b)),
       b.indexField(args, offsetof(sa_score_args, kv_head)), b.index(0), b.index(1),
       Value()},
      b.sub(units, b.index(1)),
      memref::AllocaOp::create(b.builder, b.loc,
                               MemRefType::get({lanes, lanes}, types().getF32Type()),
                               types().getI64IntegerAttr(kLineBytes)),
      {}};
  auto words = b.arrayAt(queryWords, {dim}, types().getF32Type());
  for (int64_t column = 0; column < dim; column += lanes)
    products.query.push_back(
        b.loadRealVector(words, {b.index(column)}, lanes, std::min(lanes, dim - column)));
  auto score = [&](Value first, bool whole) {
    auto place = b.arrayAt(b.advance(scores, b.mul(first, kWordBytes)), {lanes},
                           types().getF32Type());
    b.storeVector(products.sums(first, whole), place, {b.index(0)});
  };
  Value whole = b.sub(units, b.remainder(units, lanes));
  b.loop(b.index(0), whole, lanes, [&](Value first) { score(first, /*whole=*/true); });
  b.loop(whole, units, lanes, [&](Value first) { score(first, /*whole=*/false); });
}

void sparse_attn::buildScore(const AttendContext &context, ScoreOpInterface score,
                             int64_t block, StringRef symbol) {
  Type pointer = LLVM::LLVMPointerType::get(context.module.getContext());
  buildFunction(context.module, context.plan->getLoc(), symbol, {pointer},
                /*isPrivate=*/false, [&](KernelBuilder &b, ValueRange arguments) {
                  ScoreFunction function(b, context, score, block, arguments[0]);
                  score.buildScore(function);
                });
}
