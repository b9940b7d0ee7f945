//===- Project.cpp - a vector times a matrix ------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An sa_project_fn: out[o] = sum over i of x[i] w[i][o]. As many outputs as registers
// hold go at once; where few are left, several sums of each, so that there are always
// enough chains of multiply-adds.
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"

using namespace mlir;
using namespace sparse_attn;

static constexpr int64_t kWordBytes = sizeof(float);
static constexpr int64_t kSums = 8; // the latency of a multiply-add, two in a cycle

namespace {
struct Projection {
  KernelBuilder &b;
  int64_t lanes;
  Value x, w, out, ins, outs;

  Value at(Value pointer, Value number) {
    return b.advance(pointer, b.mul(number, kWordBytes));
  }
  /// `lanes` words at `pointer`, those of `mask` where there is one.
  Value load(Value pointer, Value mask);
  void store(Value value, Value pointer, Value mask);

  void project(Value first, int64_t vectors, Value mask);
};
} // namespace

Value Projection::load(Value pointer, Value mask) {
  auto words = b.arrayAt(pointer, {lanes}, b.builder.getF32Type());
  VectorType type = b.vectorType(lanes);
  if (!mask)
    return b.loadVector(words, {b.index(0)}, type);
  return vector::MaskedLoadOp::create(b.builder, b.loc, type, words, b.index(0), mask,
                                      b.zero(type));
}
void Projection::store(Value value, Value pointer, Value mask) {
  auto words = b.arrayAt(pointer, {lanes}, b.builder.getF32Type());
  if (!mask)
    return b.storeVector(value, words, {b.index(0)});
  vector::MaskedStoreOp::create(b.builder, b.loc, words, b.index(0), mask, value);
}

/// `vectors` vectors of outputs from `first` on; inputs go round robin to the sums of
/// each.
void Projection::project(Value first, int64_t vectors, Value mask) {
  int64_t chains = kSums / vectors;
  auto addInput = [&](Value i, ArrayRef<Value> sums) {
    Value word = b.load(b.arrayAt(at(x, i), {1}, b.builder.getF32Type()), b.index(0));
    Value factor = b.splat(word, lanes), row = at(w, b.add(b.mul(i, outs), first));
    SmallVector<Value> next;
    for (auto [v, sum] : llvm::enumerate(sums)) {
      Value weights = load(b.advance(row, v * lanes * kWordBytes), mask);
      next.push_back(vector::FMAOp::create(b.builder, b.loc, factor, weights, sum));
    }
    return next;
  };
  Value whole = b.sub(ins, b.remainder(ins, chains));
  SmallVector<Value> zeros(kSums, b.splat(b.f32(0), lanes));
  SmallVector<Value> sums =
      b.loop(b.index(0), whole, chains, zeros, [&](Value i, ValueRange carried) {
        SmallVector<Value> sums(carried), next;
        for (int64_t chain = 0; chain < chains; ++chain)
          llvm::append_range(next,
                             addInput(b.add(i, b.index(chain)),
                                      ArrayRef(sums).slice(chain * vectors, vectors)));
        return next;
      });
  SmallVector<Value> total(ArrayRef(sums).take_front(vectors));
  for (int64_t n = vectors; n < kSums; ++n)
    total[n % vectors] =
        arith::AddFOp::create(b.builder, b.loc, total[n % vectors], sums[n]);
  total = b.loop(whole, ins, 1, total, [&](Value i, ValueRange carried) {
    return addInput(i, SmallVector<Value>(carried));
  });
  for (auto [v, sum] : llvm::enumerate(total))
    store(sum, at(out, b.add(first, b.index(v * lanes))), mask);
}

void sparse_attn::buildProject(const AttendContext &context, StringRef symbol) {
  OpBuilder types(context.module.getContext());
  Type pointer = LLVM::LLVMPointerType::get(types.getContext()), i = types.getI64Type();
  buildFunction(
      context.module, context.plan->getLoc(), symbol, {pointer, pointer, pointer, i, i},
      /*isPrivate=*/false, [&](KernelBuilder &b, ValueRange arguments) {
        int64_t lanes = context.shape.lanes;
        Projection projection = {b,
                                 lanes,
                                 arguments[0],
                                 arguments[1],
                                 arguments[2],
                                 b.toIndex(arguments[3]),
                                 b.toIndex(arguments[4])};
        Value outs = projection.outs, done = b.index(0);
        for (int64_t vectors = kSums; vectors >= 1; vectors /= 2) {
          Value end = b.sub(outs, b.remainder(outs, vectors * lanes));
          b.loop(done, end, vectors * lanes,
                 [&](Value first) { projection.project(first, vectors, Value()); });
          done = end;
        }
        b.loop(done, outs, lanes, [&](Value first) {
          Value mask = arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::slt,
                                             b.lanesFrom(b.toI32(first), b.i32(1), lanes),
                                             b.splat(b.toI32(outs), lanes));
          projection.project(first, 1, mask);
        });
      });
}
