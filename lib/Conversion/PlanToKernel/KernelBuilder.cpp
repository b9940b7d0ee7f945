//===- KernelBuilder.cpp - vocabulary of generated kernels ----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "sparse_attn/abi.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

static constexpr int64_t kLine = 64; // bytes of a cache line, alignment of arrays

// Rows of several heads share every key tile that they load; more than this and Q,
// the scores and O push the tile out of a second-level cache of 1 MiB.
static constexpr int64_t kStackRows = 128;

KernelShape::KernelShape(block_plan::AttentionOp plan, const CPULevel &level)
    : level(level) {
  element = plan.getKeyTensorType().getElementType();
  Builder types(plan.getContext());
  if (level.bf16Dot && element.isBF16())
    words = {element, types.getI32Type(), 2};
  else
    words = {types.getF32Type(), types.getF32Type(), 1};
  lanes = level.lanes;
  panel = level.panel();
  rows = plan.getTileRows();
  stackRows = std::max(rows, kStackRows);
  paddedRows = llvm::alignTo(llvm::alignTo(stackRows, level.tileRows), lanes);
  rowsInPlace = level.tileRows;
  keys = plan.getTileKeys();
  headDim = plan.getHeadDim();
  paddedHeadDim = llvm::alignTo(headDim, words.size);
  valueDim = plan.getValueDim();
  paddedValueDim = llvm::alignTo(valueDim, lanes);

  int64_t at = 0;
  auto place = [&](int64_t wordCount) {
    int64_t start = at;
    at = llvm::alignTo(at + wordCount * sizeof(float), kLine);
    return start;
  };
  queries = place(paddedRows * words.count(headDim));
  scores = place(paddedRows * keys);
  // A weight takes the place of its score where it is as wide.
  weights = words.size == 1 ? scores : place(paddedRows * words.count(keys));
  maxima = place(paddedRows);
  rowMaxima = place(paddedRows);
  decays = place(paddedRows);
  sums = place(paddedRows * lanes);
  outputs = place(paddedRows * paddedValueDim);
  products = place(rowsInPlace * lanes * lanes);
  tile = at;
  int64_t tileStart = at;

  at = 0;
  packedKeys = place(keys * words.count(headDim));
  packedValues = place(words.count(keys) * paddedValueDim);
  packedFlag = place(1);
  packedBytes = at;
  scratchBytes = tileStart + packedBytes;

  at = 0;
  stateSums = place(lanes);
  stateOutputs = place(paddedValueDim);
  stateMaximum = place(1);
  stateBytes = at;
}

//===----------------------------------------------------------------------===//
// Integers and control
//===----------------------------------------------------------------------===//

Value KernelBuilder::index(int64_t value) {
  return arith::ConstantIndexOp::create(builder, loc, value);
}
Value KernelBuilder::f32(double value) {
  return arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(value));
}
Value KernelBuilder::mul(Value a, int64_t b) {
  return builder.createOrFold<arith::MulIOp>(loc, a, index(b));
}
Value KernelBuilder::zero(Type type) {
  return arith::ConstantOp::create(builder, loc, builder.getZeroAttr(type));
}
Value KernelBuilder::mul(Value a, Value b) {
  return builder.createOrFold<arith::MulIOp>(loc, a, b);
}
Value KernelBuilder::div(Value a, Value b) {
  return builder.createOrFold<arith::DivUIOp>(loc, a, b);
}
Value KernelBuilder::ceilDiv(Value a, Value b) {
  return div(add(a, sub(b, index(1))), b);
}
Value KernelBuilder::ceilDiv(Value a, int64_t b) {
  return div(add(a, index(b - 1)), index(b));
}
Value KernelBuilder::remainder(Value a, int64_t b) {
  return builder.createOrFold<arith::RemUIOp>(loc, a, index(b));
}
Value KernelBuilder::toI32(Value value) {
  return builder.createOrFold<arith::IndexCastOp>(loc, builder.getI32Type(), value);
}
Value KernelBuilder::toIndex(Value value) {
  return builder.createOrFold<arith::IndexCastOp>(loc, builder.getIndexType(), value);
}

void KernelBuilder::loop(Value lower, Value upper, int64_t step,
                         function_ref<void(Value)> body) {
  loop(lower, upper, step, {}, [&](Value i, ValueRange) {
    body(i);
    return SmallVector<Value>();
  });
}

SmallVector<Value>
KernelBuilder::loop(Value lower, Value upper, int64_t step, ValueRange init,
                    function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto forOp = scf::ForOp::create(
      builder, loc, lower, upper, index(step), init,
      [&](OpBuilder &inner, Location, Value i, ValueRange carried) {
        OpBuilder::InsertionGuard guard(builder);
        builder.setInsertionPoint(inner.getInsertionBlock(), inner.getInsertionPoint());
        SmallVector<Value> next = body(i, carried);
        scf::YieldOp::create(builder, loc, next);
      });
  return SmallVector<Value>(forOp.getResults());
}

SmallVector<Value> KernelBuilder::forEachPart(
    int64_t size, int64_t part, ValueRange init,
    function_ref<SmallVector<Value>(Value, int64_t, ValueRange)> body) {
  int64_t whole = size / part * part;
  SmallVector<Value> carried = init;
  if (whole)
    carried = loop(index(0), index(whole), part, init,
                   [&](Value i, ValueRange carried) { return body(i, part, carried); });
  if (whole < size)
    carried = body(index(whole), size - whole, carried);
  return carried;
}
void KernelBuilder::forEachPart(int64_t size, int64_t part,
                                function_ref<void(Value, int64_t)> body) {
  forEachPart(size, part, {}, [&](Value first, int64_t count, ValueRange) {
    body(first, count);
    return SmallVector<Value>();
  });
}

void KernelBuilder::branch(Value condition, function_ref<void()> then,
                           function_ref<void()> otherwise) {
  auto ifOp =
      scf::IfOp::create(builder, loc, condition, /*withElseRegion=*/bool(otherwise));
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(ifOp.thenBlock()->getTerminator());
  then();
  if (otherwise) {
    builder.setInsertionPoint(ifOp.elseBlock()->getTerminator());
    otherwise();
  }
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

static Type getPointer(OpBuilder &builder) {
  return LLVM::LLVMPointerType::get(builder.getContext());
}

Value KernelBuilder::advance(Value pointer, Value bytes) {
  Value offset = bytes;
  if (bytes.getType().isIndex())
    offset = arith::IndexCastOp::create(builder, loc, builder.getI64Type(), bytes);
  return LLVM::GEPOp::create(builder, loc, getPointer(builder), builder.getI8Type(),
                             pointer, ValueRange{offset});
}

Value KernelBuilder::field(Value pointer, size_t offset, Type type) {
  return LLVM::LoadOp::create(builder, loc, type, advance(pointer, offset));
}
Value KernelBuilder::pointerField(Value pointer, size_t offset) {
  return field(pointer, offset, getPointer(builder));
}
Value KernelBuilder::indexField(Value pointer, size_t offset) {
  return toIndex(field(pointer, offset, builder.getI64Type()));
}

/// The LLVM structure that a memref of this rank is converted to.
static Type getDescriptorType(OpBuilder &builder, int64_t rank) {
  Type pointer = getPointer(builder), i64 = builder.getI64Type();
  Type sizes = LLVM::LLVMArrayType::get(i64, rank);
  return LLVM::LLVMStructType::getLiteral(builder.getContext(),
                                          {pointer, pointer, i64, sizes, sizes});
}

TypedValue<MemRefType> KernelBuilder::arrayAt(Value pointer, ArrayRef<int64_t> shape,
                                              Type element) {
  Value descriptor =
      LLVM::UndefOp::create(builder, loc, getDescriptorType(builder, shape.size()));
  auto insert = [&](Value value, ArrayRef<int64_t> position) {
    descriptor = LLVM::InsertValueOp::create(builder, loc, descriptor, value, position);
  };
  auto i64 = [&](int64_t value) -> Value {
    return LLVM::ConstantOp::create(builder, loc, builder.getI64IntegerAttr(value));
  };
  insert(pointer, {0});
  insert(pointer, {1});
  insert(i64(0), {2});
  int64_t stride = 1;
  for (int64_t axis = shape.size() - 1; axis >= 0; --axis) {
    insert(i64(shape[axis]), {3, axis});
    insert(i64(stride), {4, axis});
    stride *= shape[axis];
  }
  auto cast = UnrealizedConversionCastOp::create(
      builder, loc, MemRefType::get(shape, element), descriptor);
  return llvm::cast<TypedValue<MemRefType>>(cast.getResult(0));
}

Value KernelBuilder::viewPointer(Value values, int32_t id) {
  return advance(values, id * sizeof(sa_view));
}

TypedValue<MemRefType> KernelBuilder::viewOf(Value values, int32_t id, Type element) {
  Value descriptor = LLVM::LoadOp::create(builder, loc, getDescriptorType(builder, 4),
                                          viewPointer(values, id));
  int64_t dynamic = ShapedType::kDynamic;
  auto layout =
      StridedLayoutAttr::get(builder.getContext(), 0, {dynamic, dynamic, dynamic, 1});
  auto type = MemRefType::get({dynamic, dynamic, dynamic, dynamic}, element, layout);
  auto cast = UnrealizedConversionCastOp::create(builder, loc, type, descriptor);
  return llvm::cast<TypedValue<MemRefType>>(cast.getResult(0));
}

Value KernelBuilder::load(Value memref, ValueRange indices) {
  return memref::LoadOp::create(builder, loc, memref, indices);
}
Value KernelBuilder::loadVector(Value memref, ValueRange indices, VectorType type) {
  return vector::LoadOp::create(builder, loc, type, memref, indices);
}
Value KernelBuilder::loadReal(Value memref, ValueRange indices) {
  Value x = load(memref, indices);
  return x.getType().isF32()
             ? x
             : arith::ExtFOp::create(builder, loc, builder.getF32Type(), x);
}

Value KernelBuilder::loadPart(Value memref, ValueRange indices, int64_t lanes,
                              int64_t count) {
  Type element = cast<MemRefType>(memref.getType()).getElementType();
  VectorType type = vectorType(lanes, element);
  if (count == lanes)
    return loadVector(memref, indices, type);
  return vector::MaskedLoadOp::create(builder, loc, type, memref, indices,
                                      tailMask(count, lanes), zero(type));
}
Value KernelBuilder::loadRealVector(Value memref, ValueRange indices, int64_t lanes,
                                    int64_t count) {
  Value x = loadPart(memref, indices, lanes, count);
  return getElementTypeOrSelf(x).isF32()
             ? x
             : arith::ExtFOp::create(builder, loc, vectorType(lanes), x);
}

void KernelBuilder::storeRealVector(Value value, Value memref, ValueRange indices,
                                    int64_t count) {
  Type element = cast<MemRefType>(memref.getType()).getElementType();
  int64_t lanes = cast<VectorType>(value.getType()).getNumElements();
  if (!element.isF32())
    value = arith::TruncFOp::create(builder, loc, vectorType(lanes, element), value);
  storePart(value, memref, indices, count);
}
void KernelBuilder::storePart(Value value, Value memref, ValueRange indices,
                              int64_t count) {
  int64_t lanes = cast<VectorType>(value.getType()).getNumElements();
  if (count == lanes)
    return storeVector(value, memref, indices);
  vector::MaskedStoreOp::create(builder, loc, memref, indices, tailMask(count, lanes),
                                value);
}

void KernelBuilder::store(Value value, Value memref, ValueRange indices) {
  memref::StoreOp::create(builder, loc, value, memref, indices);
}
void KernelBuilder::storeVector(Value value, Value memref, ValueRange indices) {
  vector::StoreOp::create(builder, loc, value, memref, indices);
}

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

VectorType KernelBuilder::vectorType(int64_t lanes, Type element) {
  return VectorType::get({lanes}, element ? element : builder.getF32Type());
}

Value KernelBuilder::splat(Value scalar, int64_t lanes) {
  return vector::BroadcastOp::create(builder, loc, vectorType(lanes, scalar.getType()),
                                     scalar);
}

Value KernelBuilder::splatLane(Value vector, int64_t lane) {
  int64_t lanes = cast<VectorType>(vector.getType()).getNumElements();
  return vector::ShuffleOp::create(builder, loc, vector, vector,
                                   SmallVector<int64_t>(lanes, lane));
}

Value KernelBuilder::lanesFrom(Value firstI32, Value stepI32, int64_t lanes) {
  SmallVector<int32_t> numbers = llvm::to_vector(llvm::seq<int32_t>(0, lanes));
  auto type = vectorType(lanes, builder.getI32Type());
  Value iota = arith::ConstantOp::create(
      builder, loc, DenseElementsAttr::get(type, ArrayRef<int32_t>(numbers)));
  Value steps = arith::MulIOp::create(builder, loc, splat(stepI32, lanes), iota);
  return arith::AddIOp::create(builder, loc, splat(firstI32, lanes), steps);
}

Value KernelBuilder::maximum(Value a, Value b) {
  Value greater = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, a, b);
  return arith::SelectOp::create(builder, loc, greater, a, b);
}

// 2^x = 2^i 2^f with i = round(x) and |f| <= 1/2, and 2^f as its minimax polynomial
// with the constant fixed at 1, so that 2^0 is exact.
static Value buildPowerOfFraction(KernelBuilder &b, Value f, int degree) {
  static constexpr double kDegree4[] = {9.5828531e-3, 5.5906425e-2, 2.4024099e-1,
                                        6.9312419e-1, 1.0};
  static constexpr double kDegree5[] = {1.3264727e-3, 9.6715129e-3, 5.5507337e-2,
                                        2.4022242e-1, 6.9314698e-1, 1.0};
  assert(degree == 4 || degree == 5);
  ArrayRef<double> coefficients =
      degree == 4 ? ArrayRef<double>(kDegree4) : ArrayRef<double>(kDegree5);
  int64_t lanes = cast<VectorType>(f.getType()).getNumElements();
  Value result = b.splat(b.f32(coefficients.front()), lanes);
  for (double coefficient : coefficients.drop_front())
    result = vector::FMAOp::create(b.builder, b.loc, result, f,
                                   b.splat(b.f32(coefficient), lanes));
  return result;
}

/// p 2^round(x) with integer instructions. Adding 1.5 * 2^23 leaves round(x) in the
/// low bits of the sum, from where a shift takes it into the exponent; at x = -127
/// that makes the factor 0.
static Value buildExp2ByShift(KernelBuilder &b, Value x, int degree) {
  OpBuilder &builder = b.builder;
  auto type = cast<VectorType>(x.getType());
  int64_t lanes = type.getNumElements();
  VectorType integers = b.vectorType(lanes, builder.getI32Type());
  auto integer = [&](int32_t value) { return b.splat(b.i32(value), lanes); };
  // maximum() keeps a NaN in its second operand.
  Value clamped = b.maximum(b.splat(b.f32(-127.0), lanes), x);
  Value magic = b.splat(b.f32(12582912.0), lanes);
  Value shifted = arith::AddFOp::create(builder, b.loc, clamped, magic);
  Value rounded = arith::SubFOp::create(builder, b.loc, shifted, magic);
  Value f = arith::SubFOp::create(builder, b.loc, clamped, rounded);
  Value bits = arith::BitcastOp::create(builder, b.loc, integers, shifted);
  Value exponent = arith::AddIOp::create(
      builder, b.loc, arith::ShLIOp::create(builder, b.loc, bits, integer(23)),
      integer(127 << 23));
  Value scale = arith::BitcastOp::create(builder, b.loc, type, exponent);
  return arith::MulFOp::create(builder, b.loc, buildPowerOfFraction(b, f, degree), scale);
}

Value KernelBuilder::exp2(Value x, const CPULevel &level, int degree) {
  if (!level.scalef)
    return buildExp2ByShift(*this, x, degree);
  Value rounded = math::RoundEvenOp::create(builder, loc, x);
  Value f = arith::SubFOp::create(builder, loc, x, rounded);
  return scaleByPower(buildPowerOfFraction(*this, f, degree), rounded);
}

Value KernelBuilder::reduce(Value vector, function_ref<Value(Value, Value)> combine) {
  int64_t lanes = cast<VectorType>(vector.getType()).getNumElements();
  while (lanes > 1) {
    lanes /= 2;
    auto half = [&](int64_t first) -> Value {
      SmallVector<int64_t> mask =
          llvm::to_vector(llvm::seq<int64_t>(first, first + lanes));
      return vector::ShuffleOp::create(builder, loc, vector, vector, mask);
    };
    vector = combine(half(0), half(lanes));
  }
  return vector::ExtractOp::create(builder, loc, vector, 0);
}

Value KernelBuilder::tailMask(int64_t count, int64_t lanes) {
  SmallVector<bool> bits(lanes, false);
  std::fill_n(bits.begin(), count, true);
  auto type = vectorType(lanes, builder.getI1Type());
  return arith::ConstantOp::create(builder, loc,
                                   DenseElementsAttr::get(type, ArrayRef<bool>(bits)));
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

func::FuncOp
sparse_attn::buildFunction(ModuleOp module, Location loc, StringRef name,
                           TypeRange arguments, bool isPrivate,
                           function_ref<void(KernelBuilder &, ValueRange)> body) {
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  auto func =
      func::FuncOp::create(builder, loc, name, builder.getFunctionType(arguments, {}));
  if (isPrivate) {
    func.setPrivate();
    func->setAttr("llvm.linkage",
                  LLVM::LinkageAttr::get(builder.getContext(), LLVM::Linkage::Internal));
  }
  builder.setInsertionPointToStart(func.addEntryBlock());
  KernelBuilder kernel(builder, loc);
  body(kernel, func.getArguments());
  func::ReturnOp::create(builder, loc);
  return func;
}
