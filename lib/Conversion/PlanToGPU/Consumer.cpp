//===- Consumer.cpp - the warpgroups that compute -------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The softmax of a tile runs while the weights of the tile before are multiplied with V:
//
//   start S' = Q K'^T     start O += P V     wait for S'     softmax of S'
//   wait for O     O *= 2^(m - m') where m' > m     P = S' in 16 bits
//
//===----------------------------------------------------------------------===//

#include "Warpgroups.h"

using namespace mlir;
using namespace sparse_attn;

static constexpr int64_t kStep = 16; // elements that a product contracts

namespace {
/// A consumer at one item.
class Consumer {
public:
  Consumer(GPUBuilder &b, WarpgroupContext &shared, Value item)
      : b(b), shared(shared), context(shared.context), shape(context.shape), item(item),
        frame(b, context, shared.args, shared.shared, item),
        leads(b.eq(frame.lane, b.i32(0))) {
    frame.findRows(b, shape);
  }

  /// All tiles of the item; returns the uses after it.
  Values run(Value round, Value keyUse, Value valueUse);

private:
  /// What goes from one tile to the next.
  struct State {
    GPUTile tile; ///< the next one, whose K is there
    Value keyUse, valueUse;
    Values weights; ///< words of two, of the tile before
    RowStates rows;

    Values flatten() const;
  };
  State restore(ValueRange values) const;

  GPUTile take(Value keyUse);
  void release(RingBuilder &ring, Value use);
  Values startScores(Value keyUse);
  Values startOutputs(const Values &weights, Value valueUse, const Values &outputs);
  Values pack(const Values &weights);
  State begin(const GPUTile &tile, Value keyUse, Value valueUse);
  State advance(State state, bool full);
  void finishOutputs(State &state);

  GPUBuilder &b;
  WarpgroupContext &shared;
  const GPUContext &context;
  const GPUShape &shape;
  Value item;
  GPUFrame frame;
  Value leads;   ///< whether it is the one thread of its warp that releases buffers
  Value queries; ///< descriptor
  bool listed = !findsTilesOnGPU(context.plan);
  bool hasHops = context.plan.getHopTable().has_value();
};
} // namespace

Values Consumer::State::flatten() const {
  Values values = tile.flatten();
  values.append({keyUse, valueUse});
  llvm::append_range(values, weights);
  llvm::append_range(values, rows.flatten());
  return values;
}

Consumer::State Consumer::restore(ValueRange values) const {
  auto take = [&](size_t count) {
    ValueRange front = values.take_front(count);
    values = values.drop_front(count);
    return front;
  };
  State state;
  state.tile = GPUTile::restore(take(2 + listed + hasHops));
  ValueRange uses = take(2);
  state.keyUse = uses[0], state.valueUse = uses[1];
  state.weights = Values(take(shape.keys / 4));
  state.rows = RowStates::restore(shape, values);
  return state;
}

/// The tile in a buffer of K.
GPUTile Consumer::take(Value keyUse) {
  shared.keys.waitFull(keyUse);
  Value words = b.loadAt(b.vectorType(4, b.builder.getI32Type()),
                         shared.tileOf(b, keyUse), b.i32(0), 16);
  auto word = [&](int64_t i) {
    return b.ofFirstLane(vector::ExtractOp::create(b.builder, b.loc, words, i));
  };
  return {word(0), b.ne(word(1), b.i32(0)), listed ? word(2) : Value(),
          hasHops ? word(3) : Value()};
}

void Consumer::release(RingBuilder &ring, Value use) {
  b.branch(leads, [&] { ring.release(use); });
}

/// Starts S = Q K^T.
Values Consumer::startScores(Value keyUse) {
  int64_t queryPanel = shape.rows * kPanelRowBytes,
          keyPanel = shape.keys * kPanelRowBytes;
  Value keys = buildDescriptor(b, shared.shared, shared.keys.getBuffer(keyUse), keyPanel);
  Value nothing = LLVM::UndefOp::create(b.builder, b.loc, b.builder.getF32Type());
  Values scores(shape.keys / 2, nothing);
  for (int64_t column = 0; column < shape.paddedHeadDim; column += kStep) {
    int64_t panel = column / kPanel, bytes = column % kPanel * shape.elementBytes;
    Value left = advanceDescriptor(b, queries, b.i32(panel * queryPanel + bytes));
    Value right = advanceDescriptor(b, keys, b.i32(panel * keyPanel + bytes));
    scores = buildWarpgroupProduct(b, left, right, /*transposed=*/false, scores,
                                   /*accumulate=*/column > 0, shape.element);
  }
  buildCommitProducts(b);
  return scores;
}

/// Starts O += P V. Columns past the last whole panel have products of their own.
Values Consumer::startOutputs(const Values &weights, Value valueUse,
                              const Values &outputs) {
  int64_t panelBytes = shape.keys * kPanelRowBytes;
  Value values =
      buildDescriptor(b, shared.shared, shared.values.getBuffer(valueUse), panelBytes);
  int64_t whole = shape.paddedValueDim / kPanel * kPanel;
  Values results;
  for (auto [first, end] :
       {std::pair(int64_t(0), whole), {whole, shape.paddedValueDim}}) {
    if (first == end)
      continue;
    Values sums(ValueRange(outputs).slice(first / 2, (end - first) / 2));
    for (int64_t key = 0; key < shape.keys; key += kStep) {
      int64_t at = first / kPanel * panelBytes + key * kPanelRowBytes;
      sums = buildWarpgroupProduct(b, ValueRange(weights).slice(key / 4, 4),
                                   advanceDescriptor(b, values, b.i32(at)),
                                   /*transposed=*/true, sums, /*accumulate=*/true,
                                   shape.element);
    }
    llvm::append_range(results, sums);
  }
  buildCommitProducts(b);
  return results;
}

/// Sums of one product are where the next one wants its left operand.
Values Consumer::pack(const Values &weights) {
  Values words;
  for (size_t i = 0; i < weights.size(); i += 2)
    words.push_back(b.pack(weights[i], weights[i + 1], shape.element));
  return words;
}

/// The first tile.
Consumer::State Consumer::begin(const GPUTile &tile, Value keyUse, Value valueUse) {
  State state;
  buildStartProducts(b, {});
  Fragments scores = {buildWaitForProducts(b, 0, startScores(keyUse))};
  release(shared.keys, keyUse);
  buildEdit(b, context, frame, tile, KeyRange::all(b, shape), scores);
  state.rows = RowStates::start(b, shape);
  buildSoftmax(b, context, scores, state.rows);
  state.weights = pack(scores[0]);
  state.keyUse = b.add(keyUse, 1), state.valueUse = valueUse;
  state.tile = take(state.keyUse);
  return state;
}

/// Another tile.
Consumer::State Consumer::advance(State state, bool full) {
  shared.values.waitFull(state.valueUse);
  // While there are no scores in registers.
  Values kept;
  if (!full && !listed)
    kept = buildKept(b, context, frame, state.tile);
  Values inputs = state.weights;
  llvm::append_range(inputs, state.rows.outputs[0]);
  llvm::append_range(inputs, kept);
  inputs = buildStartProducts(b, inputs);
  auto next = [rest = ValueRange(inputs)](size_t count) mutable {
    Values front(rest.take_front(count));
    rest = rest.drop_front(count);
    return front;
  };
  Values weights = next(state.weights.size());
  Values outputs = next(state.rows.outputs[0].size());
  kept = next(kept.size());
  Values started = startScores(state.keyUse);
  outputs = startOutputs(weights, state.valueUse, outputs);
  Fragments scores = {buildWaitForProducts(b, 1, started)};
  release(shared.keys, state.keyUse);
  buildEdit(b, context, frame, state.tile, full, scores, kept);
  RowValues before = state.rows.maxima;
  buildSoftmax(b, context, scores, state.rows);

  size_t count = scores[0].size();
  Values done = scores[0];
  llvm::append_range(done, outputs);
  done = buildWaitForProducts(b, 0, done);
  release(shared.values, state.valueUse);
  outputs.assign(done.begin() + count, done.end());
  state.rows.outputs = {outputs};
  buildRescale(b, before, state.rows.maxima, state.rows.outputs);
  state.weights = pack(Values(ValueRange(done).take_front(count)));
  state.keyUse = b.add(state.keyUse, 1);
  state.valueUse = b.add(state.valueUse, 1);
  state.tile = take(state.keyUse);
  return state;
}

/// After the last tile: O += P V.
void Consumer::finishOutputs(State &state) {
  shared.values.waitFull(state.valueUse);
  Values inputs = state.weights;
  llvm::append_range(inputs, state.rows.outputs[0]);
  inputs = buildStartProducts(b, inputs);
  Values weights(ValueRange(inputs).take_front(state.weights.size()));
  Values outputs(ValueRange(inputs).drop_front(state.weights.size()));
  outputs = startOutputs(weights, state.valueUse, outputs);
  state.rows.outputs[0] = buildWaitForProducts(b, 0, outputs);
  release(shared.values, state.valueUse);
  state.valueUse = b.add(state.valueUse, 1);
}

Values Consumer::run(Value round, Value keyUse, Value valueUse) {
  int64_t ownRows = 64 * kPanelRowBytes;
  Value warpgroup = b.ofFirstLane(b.divU(frame.thread, kWarpgroup));
  Value rows = b.add(shared.queries.getBuffer(round), b.mul(warpgroup, ownRows));
  queries = buildDescriptor(b, shared.shared, rows, shape.rows * kPanelRowBytes);
  shared.queries.waitFull(round);
  GPUTile first = take(keyUse);

  // The buffer that says that there are no more tiles, and Q.
  auto releaseItem = [&](Value keyUse) {
    release(shared.keys, keyUse);
    release(shared.queries, round);
  };
  Values results = b.choose(
      b.ge(first.number, b.i32(0)),
      [&] {
        Values last = b.repeat(
            begin(first, keyUse, valueUse).flatten(),
            [&](ValueRange values) { return b.ge(values[0], b.i32(0)); },
            [&](ValueRange values) {
              State state = restore(values);
              return b.choose(
                  state.tile.full, [&] { return advance(state, true).flatten(); },
                  [&] { return advance(state, false).flatten(); });
            });
        State state = restore(last);
        releaseItem(state.keyUse);
        finishOutputs(state);
        Values results = {b.add(state.keyUse, 1), state.valueUse};
        llvm::append_range(results, state.rows.flatten());
        return results;
      },
      [&] {
        releaseItem(keyUse);
        Values results = {b.add(keyUse, 1), valueUse};
        llvm::append_range(results, RowStates::start(b, shape).flatten());
        return results;
      });
  RowStates states = RowStates::restore(shape, ValueRange(results).drop_front(2));
  states.combineSums(b);
  // A frame of its own: what only the end needs does not wait in registers for it.
  GPUFrame end(b, context, shared.args, shared.shared, item);
  RowValues nonFinite = findNonFiniteRows(b, states);
  buildFinish(b, context, end, states, b.i32(0), nonFinite);
  buildFinishNonFiniteRows(b, context, end, states, nonFinite);
  return {results[0], results[1]};
}

void sparse_attn::buildConsumer(GPUBuilder &b, WarpgroupContext &context) {
  context.forEachItem(b, [&](Value item, Value round, Value keyUse, Value valueUse) {
    return Consumer(b, context, item).run(round, keyUse, valueUse);
  });
}
