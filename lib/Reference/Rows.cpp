//===- Rows.cpp - one row of attention, straight from the page ------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ReferenceDetail.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace sparse_attn;

static constexpr double kInfinity = std::numeric_limits<double>::infinity();

//===----------------------------------------------------------------------===//
// Values that masks and modifiers read
//===----------------------------------------------------------------------===//

class Reference::Worker::Values : public Evaluator, public AttentionValues {
public:
  Values(Worker &worker, const Inputs &inputs) : worker(worker), inputs(inputs) {}

  double at(Value tensor, ArrayRef<int64_t> index) override {
    const Array &array = worker.reference.valueOf(tensor);
    int64_t position = 0;
    for (auto [size, wanted] : llvm::zip_equal(array.shape(), index)) {
      int64_t i = size == 1 ? 0 : wanted;
      if (i < 0 || i >= size) {
        fail("'" + worker.reference.nameOf(tensor) + "' of shape " +
             formatShape(array.shape()) + " is read at " + formatShape(index));
        return 0;
      }
      position = position * size + i;
    }
    return array.get(position);
  }
  ArrayRef<int64_t> shape(Value tensor) override {
    return worker.reference.valueOf(tensor).shape();
  }
  int64_t keys(int64_t b) override { return inputs.n[b]; }
  int64_t heads() override { return worker.reference.heads(); }
  AttentionValues &attention() override { return *this; }
  void fail(const Twine &reason) override {
    if (!worker.failed())
      worker.reason = reason.str();
  }

  int64_t queries(int64_t b) override { return inputs.m[b]; }
  int64_t shift(int64_t b) override { return inputs.shift[b]; }
  int64_t keyHeads() override { return worker.reference.kvHeadCount; }
  double scale() override {
    AttentionOp op = inputs.op;
    return op.getScaleOrDefault();
  }
  ArrayRef<double> query(int64_t b, int64_t h, int64_t i) override {
    return rowOf(inputs.q, b, h, i);
  }
  ArrayRef<double> key(int64_t b, int64_t keyHead, int64_t j) override {
    return rowOf(inputs.k, b, keyHead, j);
  }
  ArrayRef<double> value(int64_t b, int64_t keyHead, int64_t j) override {
    return rowOf(inputs.v, b, keyHead, j);
  }
  double score(const Pair &pair) override { return score(pair, pair.j); }
  /// The same for row t of K, which is not j where keys are pooled.
  double score(const Pair &pair, int64_t t);

private:
  static ArrayRef<double> rowOf(const Array &array, int64_t b, int64_t h, int64_t row) {
    int64_t width = array.shape()[3];
    return {array.as<double>() + array.position({b, h, row, 0}),
            static_cast<size_t>(width)};
  }

  Worker &worker;
  const Inputs &inputs;
};

/// scale * <q, k>, changed by the modifiers in order. What a modifier excludes stays
/// out, whatever the others make of it.
double Reference::Worker::Values::score(const Pair &pair, int64_t t) {
  AttentionOp op = inputs.op;
  for (Value modifier : op.getModifiers())
    if (cast<ModifierOpInterface>(modifier.getDefiningOp()).excludes(pair, *this))
      return -kInfinity;
  double score = 0;
  for (auto [x, y] : llvm::zip_equal(query(pair.b, pair.h, pair.i),
                                     key(pair.b, Evaluator::keyHead(pair.h), t)))
    score += x * y;
  score *= scale();
  for (Value modifier : op.getModifiers())
    score =
        cast<ModifierOpInterface>(modifier.getDefiningOp()).evaluate(score, pair, *this);
  return score;
}

Reference::Worker::Worker(const Reference &reference) : reference(reference) {}
Reference::Worker::~Worker() = default;

Reference::Worker::Values &Reference::Worker::valuesOf(const Inputs &inputs) {
  std::unique_ptr<Values> &slot = values[&inputs];
  if (!slot)
    slot = std::make_unique<Values>(*this, inputs);
  return *slot;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

std::vector<double> Reference::Worker::membership(const Inputs &inputs, Row row,
                                                  Value mask) {
  std::vector<double> kept(inputs.k.shape()[2], 0);
  if (row.i >= inputs.m[row.b])
    return kept;
  Values &values = valuesOf(inputs);
  Pair pair{row.b, row.h, row.i, row.i + inputs.shift[row.b], 0};
  for (int64_t t = 0; t < inputs.keys(row.b); ++t) {
    pair.j = inputs.position(row.b, t);
    if (values.isDrawn(mask, pair))
      kept[t] = values.evaluate(mask, pair);
  }
  return kept;
}

/// w_j = exp(s_j) / pi_j; O = sum w_j v_j / (sum w_j + exp(sink)); LSE = log of
/// the denominator. Every exponent is taken relative to the largest.
RowState Reference::Worker::attend(const Inputs &inputs, Row row) {
  AttentionOp op = inputs.op;
  int64_t valueWidth = op.getValueDim();
  RowState state{std::vector<double>(valueWidth, 0.0), -kInfinity};
  if (row.i >= inputs.m[row.b])
    return state;

  // A pair that the mask or a modifier excludes, or whose score ends up as -inf, is
  // not there: its value is not read, whatever it holds.
  struct Kept {
    int64_t t;
    double exponent; ///< s - log(pi)
  };
  std::vector<Kept> kept;
  Values &values = valuesOf(inputs);
  double sink = inputs.sinks ? inputs.sinks->get(row.h) : -kInfinity;
  double top = sink;
  Pair pair{row.b, row.h, row.i, row.i + inputs.shift[row.b], 0};
  for (int64_t t = 0; t < inputs.keys(row.b); ++t) {
    pair.j = inputs.position(row.b, t);
    if (!values.isDrawn(op.getMask(), pair))
      continue;
    double probability = values.evaluate(op.getMask(), pair);
    double score = values.score(pair, t);
    if (score == -kInfinity)
      continue;
    kept.push_back({t, score - std::log(probability)});
    top = std::max(top, kept.back().exponent);
  }
  if (top == -kInfinity && kept.empty())
    return state;

  double total = std::exp(sink - top);
  int64_t keyHead = values.Evaluator::keyHead(row.h);
  for (const Kept &pair : kept) {
    double weight = std::exp(pair.exponent - top);
    total += weight;
    for (auto [out, v] : llvm::zip_equal(state.out, values.value(row.b, keyHead, pair.t)))
      out += weight * v;
  }
  for (double &out : state.out)
    out /= total;
  // exp(inf) makes the denominator infinite and every quotient undefined.
  state.lse = top == kInfinity ? kInfinity : top + std::log(total);
  return state;
}

//===----------------------------------------------------------------------===//
// Merge
//===----------------------------------------------------------------------===//

/// The row of an LSE.
double Reference::Worker::elementOf(Value tensor, Row row) {
  if (isa<BlockArgument>(tensor)) {
    const Array &array = reference.valueOf(tensor);
    return array.get(array.position({row.b, row.h, row.i}));
  }
  return stateOf(tensor.getDefiningOp(), row).lse;
}

/// LSE = logsumexp(LSE_k), O = sum exp(LSE_k - LSE) O_k; a state with LSE = -inf
/// is neutral.
RowState Reference::Worker::merge(MergeOp op, Row row) {
  int64_t width = cast<RankedTensorType>(op.getOut().getType()).getDimSize(3);
  RowState state{std::vector<double>(width, 0.0), -kInfinity};
  SmallVector<double> lses;
  double top = -kInfinity;
  for (Value lse : op.getLses()) {
    lses.push_back(elementOf(lse, row));
    top = std::max(top, lses.back());
  }
  double total = 0;
  for (double lse : lses)
    total += lse == -kInfinity ? 0 : std::exp(lse - top);
  if (total == 0)
    return state;
  state.lse = top == kInfinity ? kInfinity : top + std::log(total);
  for (auto [lse, out] : llvm::zip_equal(lses, op.getOuts())) {
    if (lse == -kInfinity)
      continue;
    double share = std::exp(lse - state.lse);
    if (isa<BlockArgument>(out)) {
      const Array &array = reference.valueOf(out);
      for (int64_t d = 0; d < width; ++d)
        state.out[d] += share * array.get(array.position({row.b, row.h, row.i, d}));
    } else {
      const RowState &part = stateOf(out.getDefiningOp(), row);
      for (int64_t d = 0; d < width; ++d)
        state.out[d] += share * part.out[d];
    }
  }
  return state;
}

const RowState &Reference::Worker::stateOf(Operation *op, Row row) {
  if (row.b != current.b || row.h != current.h || row.i != current.i) {
    states.clear();
    current = row;
  }
  auto known = states.find(op);
  if (known != states.end())
    return known->second;
  // Computing may add other states: look the slot up afterwards.
  auto merged = dyn_cast<MergeOp>(op);
  RowState state =
      merged ? merge(merged, row) : attend(*reference.inputsOf.lookup(op), row);
  return states[op] = std::move(state);
}
