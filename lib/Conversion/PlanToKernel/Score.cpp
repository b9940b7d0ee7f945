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

static constexpr int64_t kWordBytes = sizeof(float);

namespace {
/// The function of one score, and what it says of a few groups at a time.
class ScoreFunction final : public UnitScoreBuilder {
public:
  ScoreFunction(KernelBuilder &b, const AttendContext &context, ScoreOpInterface score,
                int64_t block, Value args)
      : b(b), context(context),
        states(score.getKeyStates(context.shape.headDim, context.shape.valueDim, block)),
        args(args), units(b.indexField(args, offsetof(sa_score_args, units))),
        queryWords(b.pointerField(args, offsetof(sa_score_args, query))),
        scores(b.pointerField(args, offsetof(sa_score_args, scores))) {
    Value pointers = b.pointerField(args, offsetof(sa_score_args, states));
    for (size_t n = 0; n < states.size(); ++n)
      arrays.push_back(b.pointerField(pointers, n * sizeof(void *)));
  }

  void sumWords(function_ref<Lanes(Value, Lanes)> add,
                function_ref<Lanes(Lanes)> finish) override;
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
  Lanes max(const Lanes &x, const Lanes &y) override {
    // Which zero is larger makes no difference to a sum.
    return map<arith::MaximumFOp>(x, y, arith::FastMathFlags::nsz);
  }
  Lanes toReal(const Lanes &integers) override;
  Lanes bitXor(const Lanes &x, const Lanes &y) override {
    return map<arith::XOrIOp>(x, y);
  }
  Lanes popcount(const Lanes &x) override;
  Lanes bits(const Lanes &x, int64_t first, int64_t count) override;

private:
  static constexpr int64_t kLanes = SA_STATE_LANES;

  OpBuilder &types() { return b.builder; }
  Lanes spread(Value scalar) { return Lanes(groups, b.splat(scalar, kLanes)); }
  template <typename Op, typename... Rest>
  Lanes map(const Lanes &x, const Lanes &y, Rest... rest) {
    Lanes result;
    for (auto [a, c] : llvm::zip_equal(x, y))
      result.push_back(Op::create(b.builder, b.loc, a, c, rest...));
    return result;
  }
  Value loadQuery(Value word, Type type) {
    return LLVM::LoadOp::create(b.builder, b.loc, type,
                                b.advance(queryWords, b.mul(word, kWordBytes)));
  }
  void scoreGroups(Value first, int64_t count, function_ref<Lanes(Value, Lanes)> add,
                   function_ref<Lanes(Lanes)> finish);
  Lanes sum(function_ref<Lanes(Value, Lanes)> add);
  void dotKeys(Value first, bool whole, ArrayRef<Value> query);

  KernelBuilder &b;
  const AttendContext &context;
  SmallVector<KeyState> states;
  Value args, units, queryWords, scores;
  SmallVector<Value> arrays; ///< of the states

  // The groups that are scored now.
  int64_t groups = 1;
  Value firstGroup;
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
  }
  llvm_unreachable("every word has a type");
}

Lanes ScoreFunction::state(unsigned number, Value word) {
  const KeyState &state = states[number];
  Type type = getWordType(types(), state.word);
  Lanes result;
  for (int64_t group = 0; group < groups; ++group) {
    Value at = b.mul(b.add(firstGroup, b.index(group)), kLanes * state.bytes());
    auto words = b.arrayAt(b.advance(arrays[number], at), {state.width, kLanes}, type);
    Value lanes = b.loadVector(words, {word, b.index(0)}, b.vectorType(kLanes, type));
    if (type.getIntOrFloatBitWidth() < 32)
      lanes = arith::ExtUIOp::create(b.builder, b.loc,
                                     b.vectorType(kLanes, types().getI32Type()), lanes);
    result.push_back(lanes);
  }
  return result;
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

/// Groups, and chains of sums of one group where its words are many, that go at once:
/// the latency of an addition.
static constexpr int64_t kAtOnce = 4;

Lanes ScoreFunction::sum(function_ref<Lanes(Value, Lanes)> add) {
  int64_t width = states.front().width, chains = width < kAtOnce ? 1 : kAtOnce;
  SmallVector<Value> zeros(chains * groups, b.splat(b.f32(0), kLanes));
  SmallVector<Value> sums = b.forEachPart(
      width, chains, zeros, [&](Value word, int64_t count, ValueRange carried) {
        SmallVector<Value> next(carried);
        for (int64_t chain = 0; chain < count; ++chain) {
          auto own = MutableArrayRef(next).slice(chain * groups, groups);
          llvm::copy(add(b.add(word, b.index(chain)), Lanes(own)), own.begin());
        }
        return next;
      });
  Lanes total(ArrayRef(sums).take_front(groups));
  for (int64_t chain = 1; chain < chains; ++chain)
    total = this->add(total, Lanes(ArrayRef(sums).slice(chain * groups, groups)));
  return total;
}

void ScoreFunction::scoreGroups(Value first, int64_t count,
                                function_ref<Lanes(Value, Lanes)> add,
                                function_ref<Lanes(Lanes)> finish) {
  groups = count;
  firstGroup = first;
  for (auto [group, score] : llvm::enumerate(finish(sum(add)))) {
    Value at = b.mul(b.add(first, b.index(group)), kLanes * kWordBytes);
    auto place = b.arrayAt(b.advance(scores, at), {kLanes}, types().getF32Type());
    b.storeVector(score, place, {b.index(0)});
  }
}

void ScoreFunction::sumWords(function_ref<Lanes(Value, Lanes)> add,
                             function_ref<Lanes(Lanes)> finish) {
  Value full = b.div(units, b.index(kLanes));
  Value whole = b.sub(full, b.remainder(full, kAtOnce));
  exist = Value();
  b.loop(b.index(0), whole, kAtOnce,
         [&](Value group) { scoreGroups(group, kAtOnce, add, finish); });
  b.loop(whole, b.ceilDiv(units, kLanes), 1, [&](Value group) {
    Value first = b.toI32(b.mul(group, kLanes));
    exist = arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::slt,
                                  b.lanesFrom(first, b.i32(1), kLanes),
                                  b.splat(b.toI32(units), kLanes));
    scoreGroups(group, 1, add, finish);
  });
}

//===----------------------------------------------------------------------===//
// Sums over K
//===----------------------------------------------------------------------===//

/// The scores of a vector of keys from `first` on; unless all exist, the last one stands
/// for those after it.
void ScoreFunction::dotKeys(Value first, bool whole, ArrayRef<Value> query) {
  const KernelShape &shape = context.shape;
  int64_t lanes = shape.lanes, dim = shape.headDim;
  Value values = b.pointerField(args, offsetof(sa_score_args, values));
  Value k = b.viewOf(values, context.ids.id(context.plan.getK()), shape.element);
  TileKeys keys = {b.indexField(args, offsetof(sa_score_args, b)),
                   b.indexField(args, offsetof(sa_score_args, kv_head)), b.index(0),
                   b.index(1), Value()};
  SmallVector<Value> products;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    Value number = b.add(first, b.index(lane));
    buildPrefetchAhead(b, keys, k, number, dim);
    Value key = whole ? number : b.min(number, b.sub(units, b.index(1)));
    Value sums[2];
    for (auto [n, words] : llvm::enumerate(query)) {
      int64_t column = n * lanes;
      Value x = b.loadRealVector(k, keys.at(b, key, b.index(column)), lanes,
                                 std::min(lanes, dim - column));
      Value &sum = sums[n % 2];
      sum = vector::FMAOp::create(b.builder, b.loc, x, words,
                                  sum ? sum : b.splat(b.f32(0), lanes));
    }
    products.push_back(sums[1] ? arith::AddFOp::create(b.builder, b.loc, sums[0], sums[1])
                               : sums[0]);
  }
  auto place = b.arrayAt(b.advance(scores, b.mul(first, kWordBytes)), {lanes},
                         types().getF32Type());
  b.storeVector(buildSumsOfLanes(b, products), place, {b.index(0)});
}

void ScoreFunction::dotKeys() {
  int64_t lanes = context.shape.lanes, dim = context.shape.headDim;
  auto words = b.arrayAt(queryWords, {dim}, types().getF32Type());
  SmallVector<Value> query;
  for (int64_t column = 0; column < dim; column += lanes)
    query.push_back(
        b.loadRealVector(words, {b.index(column)}, lanes, std::min(lanes, dim - column)));
  Value whole = b.sub(units, b.remainder(units, lanes));
  b.loop(b.index(0), whole, lanes,
         [&](Value first) { dotKeys(first, /*whole=*/true, query); });
  b.loop(whole, units, lanes, [&](Value first) { dotKeys(first, false, query); });
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
