//===- Instructions.cpp - what only some processors have ------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every instruction that a level has as a fact, by its LLVM intrinsic.
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"

using namespace mlir;
using namespace sparse_attn;

static Value call(KernelBuilder &b, Type result, StringRef intrinsic,
                  ValueRange operands) {
  return LLVM::CallIntrinsicOp::create(b.builder, b.loc, result,
                                       b.builder.getStringAttr(intrinsic), operands)
      .getResult(0);
}

static Value bitcast(KernelBuilder &b, Value vector, Type element) {
  auto type = cast<VectorType>(vector.getType());
  int64_t bits = type.getNumElements() * type.getElementTypeBitWidth();
  VectorType to = b.vectorType(bits / element.getIntOrFloatBitWidth(), element);
  return vector::BitCastOp::create(b.builder, b.loc, to, vector);
}

//===----------------------------------------------------------------------===//
// Powers of two
//===----------------------------------------------------------------------===//

Value KernelBuilder::scaleByPower(Value a, Value exponent) {
  auto constant = [&](Type type, int64_t value) -> Value {
    return LLVM::ConstantOp::create(builder, loc, type,
                                    builder.getIntegerAttr(type, value));
  };
  constexpr int64_t kAllLanes = -1, kCurrentRounding = 4;
  return call(*this, a.getType(), "llvm.x86.avx512.mask.scalef.ps.512",
              {a, exponent, a, constant(builder.getI16Type(), kAllLanes),
               constant(builder.getI32Type(), kCurrentRounding)});
}

//===----------------------------------------------------------------------===//
// Words
//===----------------------------------------------------------------------===//

Value KernelBuilder::loadWords(Value memref, ValueRange indices, const Words &words,
                               int64_t lanes, int64_t count) {
  if (words.size == 1)
    return loadRealVector(memref, indices, lanes, count);
  return bitcast(*this, loadPart(memref, indices, lanes * words.size, count), words.type);
}

Value KernelBuilder::interleave(ArrayRef<Value> vectors, const Words &words) {
  if (words.size == 1)
    return vectors.front();
  int64_t lanes = cast<VectorType>(vectors.front().getType()).getNumElements();
  SmallVector<int64_t> order;
  for (int64_t lane = 0; lane < lanes; ++lane)
    order.append({lane, lanes + lane});
  Value pairs = vector::ShuffleOp::create(builder, loc, vectors[0], vectors[1], order);
  return bitcast(*this, pairs, words.type);
}

// Within each 128 bits, of which a vector of elements has eight: the first four elements
// of both vectors go to the first result, the others to the second.
static constexpr int64_t kLaneElements = 8, kHalf = kLaneElements / 2;

SmallVector<Value> KernelBuilder::interleaveTwo(ArrayRef<Value> vectors,
                                                const Words &words) {
  int64_t count = cast<VectorType>(vectors.front().getType()).getNumElements();
  SmallVector<Value> results;
  for (int64_t half = 0; half < 2; ++half) {
    SmallVector<int64_t> order;
    for (int64_t lane = 0; lane < count; lane += kLaneElements)
      for (int64_t i = lane + half * kHalf; i < lane + (half + 1) * kHalf; ++i)
        order.append({i, count + i});
    Value pairs = vector::ShuffleOp::create(builder, loc, vectors[0], vectors[1], order);
    results.push_back(bitcast(*this, pairs, words.type));
  }
  return results;
}

std::pair<Value, Value> KernelBuilder::orderTwo(Value first, Value second) {
  int64_t lanes = cast<VectorType>(first.getType()).getNumElements();
  SmallVector<int64_t> order;
  for (int64_t word = 0; word < 2 * lanes; ++word) {
    int64_t lane = word / kLaneElements, i = word % kLaneElements;
    order.push_back(i / kHalf * lanes + lane * kHalf + i % kHalf);
  }
  auto take = [&](ArrayRef<int64_t> part) -> Value {
    return vector::ShuffleOp::create(builder, loc, first, second, part);
  };
  return {take(ArrayRef(order).take_front(lanes)),
          take(ArrayRef(order).drop_front(lanes))};
}

Value KernelBuilder::elementOf(Value vector, Value number, const Words &words) {
  if (words.size == 1)
    return vector;
  // The bits of a bf16 are the upper half of those of the same f32.
  int64_t lanes = cast<VectorType>(vector.getType()).getNumElements();
  Value shift = mul(sub(index(1), number), 16);
  Value upper = arith::ShLIOp::create(builder, loc, vector, splat(toI32(shift), lanes));
  upper = arith::AndIOp::create(builder, loc, upper,
                                splat(i32(static_cast<int32_t>(0xffff0000)), lanes));
  return bitcast(*this, upper, builder.getF32Type());
}

Value KernelBuilder::round(ArrayRef<Value> vectors, const Words &words) {
  if (words.size == 1)
    return vectors.front();
  int64_t lanes = cast<VectorType>(vectors.front().getType()).getNumElements();
  return call(*this, vectorType(2 * lanes, words.element),
              "llvm.x86.avx512bf16.cvtne2ps2bf16.512", {vectors[1], vectors[0]});
}

Value KernelBuilder::multiplyAdd(Value a, Value b, Value sums) {
  if (getElementTypeOrSelf(a).isF32())
    return vector::FMAOp::create(builder, loc, a, b, sums);
  Type bf16 = builder.getBF16Type();
  return call(*this, sums.getType(), "llvm.x86.avx512bf16.dpbf16ps.512",
              {sums, bitcast(*this, a, bf16), bitcast(*this, b, bf16)});
}
