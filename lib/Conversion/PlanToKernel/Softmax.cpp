//===- Softmax.cpp - online softmax over one tile of scores ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// For each row, with s in units of log2 (scores times c = scale log2 e):
//
//   m' = max(m, max_j s_j)          l' = l 2^(m - m') + sum_j 2^(s_j - m')
//   S_j <- 2^(s_j - m')             O  <- O 2^(m - m')
//
// (Milakov and Gimelshein, Online normalizer calculation for softmax, 2018.)
// A full tile uses every score; a partial tile first replaces the scores of pairs
// that the mask leaves out by -inf. l is kept as one sum for each lane.
//
// Scores are plain dot products: one fused multiply-add makes s_j - m' of a score,
// without an operation, or a rounding, for the scale.
//
//===----------------------------------------------------------------------===//

#include "ScoreEditor.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "sparse_attn/abi.h"
#include <cmath>

using namespace mlir;
using namespace sparse_attn;

/// Independent chains of the row loops: the latency of max and add.
static constexpr int64_t kUnroll = 4;

/// Edits the scores of a row and returns their maximum for each lane.
static Value buildRowMaximum(KernelBuilder &b, const KernelShape &shape,
                             ScoreEditor &editor, Value scores, const Row &row) {
  int64_t step = std::min(kUnroll * shape.lanes, shape.keys);
  int64_t unroll = step / shape.lanes;
  Value lowest = b.splat(b.f32(-kInfinity), shape.lanes);
  SmallVector<Value> maxima =
      b.loop(b.index(0), b.index(shape.keys), step, SmallVector<Value>(unroll, lowest),
             [&](Value first, ValueRange carried) {
               SmallVector<Value> next;
               for (int64_t u = 0; u < unroll; ++u) {
                 Value column = b.add(first, b.index(u * shape.lanes));
                 Value score = b.loadVector(scores, {row.number, column},
                                            b.vectorType(shape.lanes));
                 if (editor.changesScores()) {
                   score = editor.edit(score, row, column);
                   b.storeVector(score, scores, {row.number, column});
                 }
                 next.push_back(b.maximum(score, carried[u]));
               }
               return next;
             });
  while (maxima.size() > 1) {
    Value last = maxima.pop_back_val();
    maxima.front() = b.maximum(last, maxima.front());
  }
  return maxima.front();
}

/// One over the probabilities of the listed keys from number `key` on.
static Value loadListWeights(KernelBuilder &b, const KernelShape &shape,
                             const Frame &frame, Value key) {
  Value pointer = b.advance(frame.listWeights, b.mul(key, sizeof(float)));
  return b.loadVector(b.arrayAt(pointer, {shape.lanes}, b.builder.getF32Type()),
                      {b.index(0)}, b.vectorType(shape.lanes));
}

/// Makes the weights of a row of its scores and returns their sum for each lane.
///
/// The sum is that of the weights before they are rounded to bf16, and LSE is as exact
/// as with f32. Then O = sum (1 + e_j) w_j v_j / sum w_j with |e_j| <= 2^-8 is off by at
/// most 2^-8 of sum w_j |v_j| / sum w_j, to which the rounding of O to bf16 adds as much:
/// 7.8e-3 where all errors agree, while docs/semantics.md allows 4e-3 of the norm of a
/// tensor, in which they do not. To divide by the sum of the rounded weights would keep
/// this bound of O, but put up to 2^-8 of error into LSE. A polynomial of degree 4 adds
/// 3e-6 to both.
static Value buildRowWeights(KernelBuilder &b, const AttendContext &context,
                             const Frame &frame, Value scores, Value row, Value maximum,
                             Value firstKey) {
  const KernelShape &shape = context.shape;
  int64_t step = std::min(kUnroll * shape.lanes, shape.keys);
  int64_t unroll = step / shape.lanes, size = shape.words.size;
  Value zero = b.splat(b.f32(0), shape.lanes);
  Value shift = b.splat(arith::NegFOp::create(b.builder, b.loc, maximum), shape.lanes);
  Value factor = b.splat(b.f32(context.getLog2Factor()), shape.lanes);
  SmallVector<Value> sums = b.loop(
      b.index(0), b.index(shape.keys), step, SmallVector<Value>(unroll, zero),
      [&](Value first, ValueRange carried) {
        SmallVector<Value> weights, next;
        for (int64_t u = 0; u < unroll; ++u) {
          Value column = b.add(first, b.index(u * shape.lanes));
          Value score = b.loadVector(scores, {row, column}, b.vectorType(shape.lanes));
          Value power = vector::FMAOp::create(b.builder, b.loc, score, factor, shift);
          weights.push_back(b.exp2(power, shape.level, size == 1 ? 5 : 4));
          if (context.plan.isSampled())
            weights.back() = arith::MulFOp::create(
                b.builder, b.loc, weights.back(),
                loadListWeights(b, shape, frame, b.add(firstKey, column)));
          next.push_back(
              arith::AddFOp::create(b.builder, b.loc, carried[u], weights.back()));
        }
        for (int64_t u = 0; u < unroll; u += size)
          b.storeVector(b.round(ArrayRef(weights).slice(u, size), shape.words),
                        frame.weights, {row, b.add(first, b.index(u * shape.lanes))});
        return next;
      });
  while (sums.size() > 1) {
    Value last = sums.pop_back_val();
    sums.front() = arith::AddFOp::create(b.builder, b.loc, sums.front(), last);
  }
  return sums.front();
}

/// For lanes of rows at once: the new maximum m', what to subtract from scores
/// (left in `rowMaxima`) and 2^(m - m').
static void buildDecays(KernelBuilder &b, const AttendContext &context, Value maxima,
                        Value rowMaxima, Value decays, Value rows) {
  const KernelShape &shape = context.shape;
  OpBuilder &builder = b.builder;
  VectorType vector = b.vectorType(shape.lanes);
  Value lowest = b.splat(b.f32(-kInfinity), shape.lanes);
  Value zero = b.splat(b.f32(0), shape.lanes);
  Value factor = b.splat(b.f32(context.getLog2Factor()), shape.lanes);
  b.loop(b.index(0), rows, shape.lanes, [&](Value first) {
    Value before = b.loadVector(maxima, {first}, vector);
    Value highest = arith::MulFOp::create(
        builder, b.loc, b.loadVector(rowMaxima, {first}, vector), factor);
    Value after = b.maximum(highest, before);
    b.storeVector(after, maxima, {first});
    // A row without a key so far: subtract 0, and 2^-inf is 0.
    Value empty =
        arith::CmpFOp::create(builder, b.loc, arith::CmpFPredicate::OEQ, after, lowest);
    Value shift = arith::SelectOp::create(builder, b.loc, empty, zero, after);
    b.storeVector(shift, rowMaxima, {first});
    Value decay =
        b.exp2(arith::SubFOp::create(builder, b.loc, before, shift), shape.level);
    b.storeVector(decay, decays, {first});
  });
}

/// softmax(sa_attend_args, bits, hops, first key, keys)
func::FuncOp sparse_attn::buildSoftmax(const AttendContext &context, bool full) {
  const KernelShape &shape = context.shape;
  OpBuilder types(context.module.getContext());
  Type pointer = LLVM::LLVMPointerType::get(types.getContext()), i = types.getIndexType();
  return buildFunction(
      context.module, context.plan->getLoc(),
      context.prefix + (full ? "_softmax_full" : "_softmax_partial"),
      {pointer, pointer, pointer, i, i}, /*isPrivate=*/true,
      [&](KernelBuilder &b, ValueRange arguments) {
        OpBuilder &builder = b.builder;
        Type f32 = builder.getF32Type();
        Frame frame(b, shape, arguments[0]);
        auto array = [&](int64_t offset, ArrayRef<int64_t> sizes) {
          return b.arrayAt(b.advance(frame.scratch, offset), sizes, f32);
        };
        auto scores = array(shape.scores, {shape.paddedRows, shape.keys});
        auto rowMaxima = array(shape.rowMaxima, {shape.paddedRows});
        auto decays = array(shape.decays, {shape.paddedRows});
        VectorType vector = b.vectorType(shape.lanes);
        ScoreEditor editor(
            b, context,
            {arguments[0], arguments[3], arguments[4], arguments[1], arguments[2]}, full);

        // One pass for the maxima of all rows, one for their weights: within a pass
        // rows are independent, so that the chains of one run under the next.
        frame.forEachRow(b, [&](Value row, Value index, Value head) {
          Value maximum = b.reduce(
              buildRowMaximum(b, shape, editor, scores, {row, index, b.toI32(head)}),
              [&](Value x, Value y) { return b.maximum(x, y); });
          b.store(maximum, rowMaxima, {row});
        });
        buildDecays(b, context, frame.maxima, rowMaxima, decays, frame.total);
        b.loop(b.index(0), frame.total, 1, [&](Value row) {
          Value sum = buildRowWeights(b, context, frame, scores, row,
                                      b.load(rowMaxima, {row}), arguments[3]);
          Value decay = b.load(decays, {row});
          Value total = b.loadVector(frame.sums, {row, b.index(0)}, vector);
          total = vector::FMAOp::create(builder, b.loc, total,
                                        b.splat(decay, shape.lanes), sum);
          b.storeVector(total, frame.sums, {row, b.index(0)});
          Value moved = arith::CmpFOp::create(builder, b.loc, arith::CmpFPredicate::UNE,
                                              decay, b.f32(1));
          b.branch(moved, [&] {
            b.loop(b.index(0), b.index(shape.paddedValueDim), shape.lanes,
                   [&](Value column) {
                     Value output = b.loadVector(frame.outputs, {row, column}, vector);
                     output = arith::MulFOp::create(builder, b.loc, output,
                                                    b.splat(decay, shape.lanes));
                     b.storeVector(output, frame.outputs, {row, column});
                   });
          });
        });
      });
}
